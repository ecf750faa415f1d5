"""Targets of pictures that are made: besides those of other methods a whole layer, and a direction in it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnviz.core.layer import is_layer_name
from cnnviz.core.parse_target import parse_target
from cnnviz.core.target import Target
from cnnviz.core.untrusted import open_ordinary
from cnnviz.errors import TargetError, UnknownNameError

__all__ = ["Direction", "WholeLayer", "parse_aim"]

EVERYTHING, VECTOR = ":*", ".npy"
LARGEST_VECTOR = 1 << 26
"""Bytes of a file with a number for each channel: more than any layer has."""


@dataclass(frozen=True)
class WholeLayer(Target):
    """All of a layer: the mean of its squared activations, which amplifies whatever it sees (DeepDream).

    Attributes:
        layer: The layer's name.
    """

    layer: str

    def __str__(self) -> str:
        return f"{self.layer}{EVERYTHING}"


@dataclass(frozen=True)
class Direction(Target):
    """A direction in a layer's space of channels: the mean over all places of its product with the activation.

    Attributes:
        layer: The layer's name.
        vector: A number for each channel, not all zero; its length does not matter.
        name: What to call it in captions and files.

    Raises:
        TargetError: If the vector is empty, zero or not finite.
    """

    layer: str
    vector: tuple[float, ...]
    name: str = "direction"

    def __post_init__(self) -> None:
        import numpy as np

        numbers = np.asarray(self.vector, dtype=np.float64)
        if numbers.ndim != 1 or not np.isfinite(numbers).all() or not numbers.any():
            raise TargetError("A direction is one finite number for each channel, not all of them zero.")
        object.__setattr__(self, "vector", tuple(numbers.tolist()))

    def __str__(self) -> str:
        return f"{self.layer}:{self.name}"


def parse_aim(like: Any, labels: Sequence[str] | None = None, layers: Iterable[str] = ()) -> Target:
    """A target from what a user writes, for a picture that is to be made.

    Args:
        like: What :func:`cnnviz.core.parse_target.parse_target` takes, ``"layer4:*"`` (a whole layer), or
            ``"layer4:FILE.npy"`` (a direction: an array with a number for each channel).
        labels: The network's class names.
        layers: Names of the network's layers.

    Raises:
        TargetError: If it is none of these, or the file holds no such array.
        UnknownNameError: If no label or layer is called so; the message offers the nearest names.
    """
    text = like.strip() if isinstance(like, str) else ""
    if text.endswith(EVERYTHING):
        return WholeLayer(_check_layer(text.removesuffix(EVERYTHING), layers))
    layer, mark, file = text.partition(":")
    if mark and file.endswith(VECTOR):
        return Direction(_check_layer(layer, layers), _read_vector(file), Path(file).stem)
    found = parse_target(like, labels, layers)
    if isinstance(found, (WholeLayer, Direction)):
        _check_layer(found.layer, layers)
    return found


def _check_layer(layer: str, layers: Iterable[str]) -> str:
    names = list(layers)
    if not is_layer_name(layer, names):
        raise UnknownNameError("layer", layer, names, "'cnnviz layers' lists them all.")
    return layer


def _read_vector(file: str) -> tuple[float, ...]:
    import numpy as np

    damaged = TargetError(f"'{file}' cannot be read; expected an .npy file with a number for each channel.")
    try:
        with open_ordinary(file) as held:
            small = os.fstat(held.fileno()).st_size <= LARGEST_VECTOR
            found = np.lib.format.read_array(held, allow_pickle=False) if small else np.array(None)
    except Exception:  # noqa: BLE001 - what reads a damaged header can raise anything
        raise damaged from None
    if found.dtype.kind not in "biuf":
        raise damaged
    return tuple(found.astype(np.float64).reshape(-1).tolist())
