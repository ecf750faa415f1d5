"""What a source of networks hands over, before it becomes a Model."""

from __future__ import annotations

import copy
import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from cnnviz.core.change import contextmanager, undoing
from cnnviz.core.dimensions import PICTURE, Size, kernel_places
from cnnviz.core.head import HeadLike
from cnnviz.engine.detections import DetectionReader
from cnnviz.engine.logits import OutputSelector
from cnnviz.engine.state.modes import inference
from cnnviz.errors import ModelError
from cnnviz.models.formats import wants_random
from cnnviz.models.preprocess import Preprocess
from cnnviz.provenance import Caution

__all__ = ["RANDOM", "OpenedNetwork", "one_line", "quiet", "file_digest", "describe_opening", "names_code"]

BLOCK = 1 << 20


def describe_opening(
    model: str,
    *,
    weights: str | os.PathLike[str] | None,
    labels: Sequence[str] | str | os.PathLike[str] | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    input_size: int | Size | None,
    logits: OutputSelector,
    head: HeadLike,
    embedding: str | None,
    value_range: Sequence[float] | str | None,
    rate: float | None,
    spacing: Sequence[float] | None,
    standardise: bool | None,
    grid: Size | None,
    name: str | None,
    seed: int,
) -> dict[str, Any]:
    """What :func:`cnnviz.load_model` was asked for, as plain values: what was given, and no more.

    A file stands there by its name and the hash of its content. The arguments are those of ``load_model``.
    """
    given = {
        "weights": _name_or_file(weights),
        "labels": _name_or_file(labels) if isinstance(labels, (str, os.PathLike)) else _plain_list(labels),
        "mean": _plain_list(mean),
        "std": _plain_list(std),
        "input_size": input_size if isinstance(input_size, int) else _plain_list(input_size),
        "logits": _describe_selector(logits),
        "head": None if head is None else str(head),
        "embedding": embedding,
        "value_range": value_range if isinstance(value_range, str) else _plain_list(value_range),
        "rate": None if rate is None else _plain_number(rate),
        "spacing": _plain_list(spacing),
        "standardise": standardise,
        "grid": _plain_list(grid),
        "name": name,
        "seed": seed if wants_random(weights) else None,
    }
    return {"model": _describe_network(model), **{name: value for name, value in given.items() if value is not None}}


def file_digest(file: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _describe_network(model: str) -> Any:
    return _describe_code(model) or _name_or_file(model)


def _describe_code(where: str) -> dict[str, str] | None:
    """``FILE.py:FUNCTION`` by the file's name and hash; None for anything else."""
    source, mark, function = where.rpartition(":")
    return {**_describe_file(Path(source)), "function": function} if mark and names_code(where) else None


def names_code(where: Any) -> bool:
    """Whether it is ``FILE.py:FUNCTION``."""
    return isinstance(where, str) and where.rpartition(":")[0].lower().endswith(".py")


def _describe_selector(selector: OutputSelector) -> Any:
    if callable(selector):
        return {"function": _function_name(selector)}
    return (_describe_code(selector) if isinstance(selector, str) else None) or selector


def _name_or_file(given: str | os.PathLike[str] | None) -> Any:
    """A name as it is, a file by its name and hash."""
    if given is None:
        return None
    path = Path(given).expanduser()
    return _describe_file(path) if path.is_file() else os.fspath(given)


def _describe_file(path: Path) -> dict[str, str]:
    path = path.expanduser()
    return {"file": path.name, "sha256": file_digest(path)}


def _plain_list(values: Sequence[Any] | None) -> list[Any] | None:
    return None if values is None else [each if isinstance(each, str) else _plain_number(each) for each in values]


def _plain_number(value: Any) -> float | int:
    return int(value) if hasattr(value, "__index__") else float(value)


def _function_name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


RANDOM: Final = Caution("the weights are random")


@dataclass(frozen=True)
class OpenedNetwork:
    """A network as its source opened it.

    Attributes:
        module: The network.
        name: What to call it.
        origin: Where it came from, for provenance; never a folder.
        preprocess: The preprocessing its source knows; None if it knows none.
        labels: Names of the classes, if the source knows them.
        classes: Number of classes, if the source knows it.
        notes: What the user should know about how it was opened.
        assumed: A note on preprocessing that was guessed; said unless mean and std are given.
        logits: Which part of the network's output is the logits.
        head: What those numbers mean.
        detections: Reads the boxes in its output, where it is a detector of another form than torchvision's.
        embedding: The layer whose output is its embedding.
        fixed_batch: The only batch size it takes.
        fixed_size: The only lengths of its input that it takes: of pictures height and width.
        input_size: Lengths of its input, where there is no preprocessing.
        channels: Its input channels, where they are known.
        grid: Rows and columns on which its tokens lie, where that was said.
    """

    module: nn.Module
    name: str
    origin: Mapping[str, Any]
    preprocess: Preprocess | None = None
    labels: Sequence[str] | None = None
    classes: int | None = None
    notes: tuple[str, ...] = field(default=())
    assumed: str = ""
    logits: OutputSelector = None
    head: HeadLike = None
    detections: DetectionReader | None = None
    embedding: str | None = None
    fixed_batch: int | None = None
    fixed_size: Size | None = None
    input_size: Size | None = None
    channels: int | None = None
    grid: Size | None = None


@contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Keep libraries' loggers from printing what an error message of ours says in one sentence."""
    known = [logging.getLogger(name) for name in loggers]
    levels = [logger.level for logger in known]

    def put_back() -> None:
        for logger, level in zip(known, levels, strict=True):
            logger.setLevel(level)

    with undoing(put_back):
        for logger in known:
            logger.setLevel(logging.CRITICAL)
        yield


def one_line(error: BaseException, most: int = 200) -> str:
    """An exception's kind and message on one line, cut where it is long."""
    said = " ".join(str(error).split())
    kind = type(error).__name__
    text = f"{kind}: {said}" if said else kind
    return text if len(text) <= most else f"{text[: most - 3]}..."


def plain_module(module: nn.Module) -> nn.Module:
    """A network without the wrapper of ``torch.compile``; weights made in inference mode are copied.

    Raises:
        ModelError: If it cannot be hooked, is a wrapper over several devices, or has weights that are not made yet.
    """
    module = getattr(module, "_orig_mod", module)
    if isinstance(module, torch.jit.ScriptModule):
        raise ModelError(
            "A TorchScript network cannot be hooked; open its Python class with a state dict, "
            "or export it anew with torch.export.save to a .pt2 file."
        )
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        raise ModelError(f"{type(module).__name__} splits batches over devices; pass its .module instead.")
    if not isinstance(module, nn.Module):
        raise ModelError(f"A network must be a torch.nn.Module, not {type(module).__name__}.")
    unmade = [name for name, weight in module.named_parameters() if isinstance(weight, UninitializedParameter)]
    if unmade:
        raise ModelError(
            f"This network has lazy layers whose weights are not made yet, such as '{unmade[0]}'; run it once on an "
            "input and load its trained weights first."
        )
    if any(tensor.is_inference() for tensor in [*module.parameters(), *module.buffers()]):
        with inference(mode=False):
            return copy.deepcopy(module)
    return module


def guess_entrance(module: nn.Module) -> tuple[int, int]:
    """Input channels and axes of places, as the first convolution or the first weight like a kernel has them.

    Without either they are those of a colour picture: 3 channels, 2 axes.
    """
    for part in module.modules():
        quantised = type(part).__module__.startswith("torch.ao.nn.quantized") and "Conv" in type(part).__name__
        if (quantised or isinstance(part, nn.modules.conv._ConvNd)) and part.in_channels:
            return int(cast("Any", part).in_channels), _places_of_convolution(part)
        scripted = part.parameters() if isinstance(part, torch.jit.ScriptModule) else ()
        if kernels := [weight for weight in scripted if kernel_places(weight)]:
            return int(kernels[0].shape[1]), kernel_places(kernels[0]) or PICTURE
    weights = (weight for weight in module.parameters() if kernel_places(weight))
    first = next(weights, None)
    return (3, PICTURE) if first is None else (int(first.shape[1]), kernel_places(first) or PICTURE)


def _places_of_convolution(part: nn.Module) -> int:
    """How many axes of places a convolution slides along, by its kernel's sides or its name."""
    sides = getattr(part, "kernel_size", None)
    return len(sides) if isinstance(sides, tuple) else PICTURE
