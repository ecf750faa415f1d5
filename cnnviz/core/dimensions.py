"""How many axes of places there are: one in a signal, two in a picture, three in a volume; counted nowhere else.

Places are what lies behind images and channels: ``(N, C, T)``, ``(N, C, H, W)`` or ``(N, C, D, H, W)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "INTERPOLATION",
    "KINDS",
    "PICTURE",
    "SIGNAL",
    "VOLUME",
    "Size",
    "count_places",
    "has_places",
    "is_dense",
    "is_one_input",
    "kernel_places",
    "own_dims",
    "place_dims",
    "reorder_places",
    "size_of",
    "spell_shape",
    "spell_size",
]

Size: TypeAlias = tuple[int, ...]
"""Lengths of the axes of places: of a signal ``(T,)``, of a picture ``(H, W)``, of a volume ``(D, H, W)``."""

SIGNAL: Final = 1
PICTURE: Final = 2
VOLUME: Final = 3

KINDS: Final = {SIGNAL: "signal", PICTURE: "picture", VOLUME: "volume"}
"""What an input with so many axes of places is called."""

INTERPOLATION: Final = {SIGNAL: "linear", PICTURE: "bilinear", VOLUME: "trilinear"}
"""What torch calls interpolation that is linear along so many axes."""

AXES: Final = {SIGNAL: "T", PICTURE: "HW", VOLUME: "DHW"}
BEFORE = 2
"""Images and channels."""


def count_places(shape: Sequence[int]) -> int:
    """How many axes of places a batch ``(N, C, ...)`` of that shape has."""
    return len(shape) - BEFORE


def has_places(tensor: Tensor, places: int) -> bool:
    """Whether it is a batch ``(N, C, ...)`` with so many axes of places."""
    return tensor.dim() == BEFORE + places


def is_dense(answer: Tensor) -> bool:
    """Whether a network's answer has classes for every pixel, ``(N, K, h, w)``, or voxel, and not for the picture."""
    return has_places(answer, PICTURE) or has_places(answer, VOLUME)


def is_one_input(shape: Sequence[int], places: int) -> bool:
    """Whether it is the shape ``(C, ...)`` of one input with so many axes of places."""
    return len(shape) == places + 1


def kernel_places(weight: Tensor) -> int | None:
    """How many axes of places a weight with the shape of a kernel slides along; None of any other.

    One of a signal's kernels has the shape of many other weights, and does not tell.
    """
    places = weight.dim() - BEFORE
    return places if places in (PICTURE, VOLUME) else None


def own_dims(tensor: Tensor) -> tuple[int, ...]:
    """All dimensions of a tensor but the first: of each image its own, or of each channel."""
    return tuple(range(1, tensor.dim()))


def place_dims(tensor: Tensor) -> tuple[int, ...]:
    """The dimensions of a batch ``(N, C, ...)`` that are places."""
    return tuple(range(BEFORE, tensor.dim()))


def size_of(tensor: Tensor) -> Size:
    """The lengths of a batch's axes of places."""
    return tuple(int(length) for length in tensor.shape[BEFORE:])


def reorder_places(places: int, *, last: bool) -> tuple[int, ...]:
    """The order of axes that brings channels first to last, or last to first."""
    axes = range(places)
    return (0, *(2 + axis for axis in axes), 1) if last else (0, places + 1, *(1 + axis for axis in axes))


def spell_size(size: Sequence[int]) -> str:
    """Lengths in words, such as ``"64 x 64"``."""
    return " x ".join(map(str, size))


def spell_shape(places: int, channels: object = "C", *, images: object = "N") -> str:
    """The shape of a batch in letters, such as ``"(N, C, H, W)"``; without ``images`` that of one input."""
    return f"({', '.join(str(each) for each in (images, channels, *AXES[places]) if each is not None)})"
