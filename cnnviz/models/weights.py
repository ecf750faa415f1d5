"""Reading weights from a file, without running any code that it may hold."""

from __future__ import annotations

import argparse
import os
import pickle
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.errors import WeightsError
from cnnviz.models.formats import SWOLLEN_ADVICE, TORCHSCRIPT_ADVICE, existing_file, file_kind

__all__ = ["Checkpoint", "read_checkpoint"]

WRAPPERS: Final = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "model_weights")
AVERAGES: Final = ("model_ema", "ema", "ema_state_dict", "state_dict_ema", "model_ema_state_dict")
NOT_WEIGHTS: Final = re.compile(r"optim|sched|scaler|amp|loop|callback", re.IGNORECASE)
UNREADABLE: Final = (
    pickle.UnpicklingError, RuntimeError, ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError,
    OSError, AssertionError, struct.error,
)  # fmt: skip
DEEPEST: Final = 4


@dataclass(frozen=True)
class Checkpoint:
    """Weights read from a file.

    Attributes:
        name: The file's name, without its folder.
        state: The weights by name.
        notes: What was chosen where the file holds more than one set of weights.
    """

    name: str
    state: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read the weights in a safetensors file, a state dict or a training checkpoint.

    Args:
        path: The file; what it is, is seen by its content.

    Raises:
        WeightsError: If there is no such file, it holds no weights, or reading it would run code.
    """
    file = existing_file(path, "weights file", WeightsError)
    try:
        kind = file_kind(file)
    except OSError as error:
        raise WeightsError(f"The weights file '{path}' cannot be read: {error.strerror or error}.") from None
    if kind == "torchscript":
        raise WeightsError(f"'{file.name}' {TORCHSCRIPT_ADVICE}")
    if kind == "swollen":
        raise WeightsError(f"'{file.name}' {SWOLLEN_ADVICE}")
    if kind == "exported":
        raise WeightsError(f"'{file.name}' is an exported network with its own weights; give it as the model itself.")
    if kind == "unknown":
        raise WeightsError(f"'{file.name}' is neither a safetensors file nor a PyTorch checkpoint, or it is damaged.")
    content = _read_safetensors(file) if kind == "safetensors" else _read_pickle(file)
    found = _find_weights(content)
    if found is None:
        raise WeightsError(f"'{file.name}' holds no weights by name, but {_describe_content(content)}.")
    return Checkpoint(file.name, found[1], _note_averages(content, found[0]))


def _read_safetensors(file: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights: dict[str, Tensor] = load_file(file)
    except (SafetensorError, *UNREADABLE) as error:
        if ran_out_of_memory(error):
            raise MemoryError(str(error)) from error
        raise WeightsError(f"The safetensors file '{file.name}' is damaged: {_first_line(error)}.") from None
    return weights


def _read_pickle(file: Path) -> Any:
    with torch.serialization.safe_globals(_harmless_classes()):
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except UNREADABLE as error:
            if ran_out_of_memory(error):
                raise MemoryError(str(error)) from error
            refused = _refused_classes(file, error)
    if not refused:
        raise WeightsError(f"'{file.name}' is not a PyTorch checkpoint, or it is damaged.")
    whole = [name for name in refused if name.startswith("torch.nn.") and not name.startswith("torch.nn.utils.")]
    if whole:
        own = [name for name in refused if not name.startswith(("torch.nn.", "torch._"))]
        raise WeightsError(
            f"'{file.name}' holds a whole pickled network ({(own or whole)[0]}), which would run code when opened; "
            "save its weights instead with torch.save(model.state_dict(), file)."
        )
    raise WeightsError(
        f"'{file.name}' is refused, because opening it would run code ({', '.join(refused[:3])}); "
        "expected tensors only, saved with torch.save(model.state_dict(), file)."
    )


def _harmless_classes() -> list[Any]:
    """What training scripts leave in checkpoints besides tensors; building these runs no code of the file's."""
    scalar, array = np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]
    older = [(scalar, "numpy.core.multiarray.scalar"), (array, "numpy.core.multiarray._reconstruct")]
    kinds = {type(np.dtype(code)) for code in "?bBhHiIlLqQefdFD"}
    return [argparse.Namespace, type(Path()), np.ndarray, np.dtype, *kinds, scalar, array, *older]


def _refused_classes(file: Path, error: Exception) -> list[str]:
    """The classes and functions in a pickle that a reader of weights may not touch."""
    first = re.search(r"GLOBAL (\S+)", str(error))
    outermost = [first.group(1).strip("`")] if first else []
    try:
        others = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    except UNREADABLE:
        others = []
    return list(dict.fromkeys(outermost + others))


def _find_weights(content: Any, depth: int = 0) -> tuple[str, Mapping[str, Tensor]] | None:
    """The key path and entries of the weights in whatever a training script saved."""
    if not isinstance(content, Mapping) or depth > DEEPEST:
        return None
    for key in (*WRAPPERS, *AVERAGES):
        inner = _find_weights(content.get(key), depth + 1)
        if inner:
            return (f"{key}.{inner[0]}".rstrip("."), inner[1])
    own = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    found: list[tuple[str, Mapping[str, Tensor]]] = [("", _keep_versions(own, content))] if own else []
    for key, value in content.items():
        inner = None if NOT_WEIGHTS.search(str(key)) else _find_weights(value, depth + 1)
        if inner:
            found.append((f"{key}.{inner[0]}".rstrip("."), inner[1]))
    return max(found, key=lambda pair: len(pair[1]), default=None)


def _keep_versions(own: dict[str, Tensor], content: Mapping[Any, Any]) -> Mapping[str, Tensor]:
    """The original mapping where nothing was left out: it carries the version of each module's weights."""
    return content if len(own) == len(content) else own


def _note_averages(content: Any, path: str) -> tuple[str, ...]:
    averages = [key for key in AVERAGES if isinstance(content, Mapping) and _find_weights(content.get(key))]
    if not averages or path.split(".", 1)[0] in averages:
        return ()
    return (f"the file holds averaged weights '{averages[0]}' too; '{path or 'the plain ones'}' were used",)


def _describe_content(content: Any) -> str:
    if isinstance(content, Mapping):
        keys = ", ".join(repr(key) for key in list(content)[:5])
        return f"a dict with the keys {keys}" if keys else "an empty dict"
    return f"a {type(content).__name__}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
