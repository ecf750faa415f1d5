"""What is assumed of a network's preprocessing where it was not given, and said in a note."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from cnnviz.core.dimensions import PICTURE, SIGNAL, VOLUME, Size
from cnnviz.models.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess

__all__ = ["assume_preprocess", "spread_size"]

USUAL: Final = {SIGNAL: 1024, PICTURE: 224, VOLUME: 64}
"""The side of an input of which nothing is known, by its axes of places."""


def assume_preprocess(
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    input_size: int | Size | None,
    resize: int | Size | Literal["whole"] | None,
    *,
    channels: int | None,
    entrance: tuple[int, int],
    standardise: bool | None = None,
) -> tuple[Preprocess, tuple[str, ...]]:
    """A preprocessing with what is usual in the place of what is not given, and a note of that.

    Args:
        mean: As :class:`Preprocess` takes it, or None.
        std: Likewise.
        input_size: Side, or a length for each axis, or None.
        resize: As :class:`Preprocess` takes it; None for the input's shorter side.
        channels: The network's input channels, or None.
        entrance: The channels and axes of places that its first convolution takes, where nothing else says.
        standardise: Whether inputs are standardised one by one, so that mean 0 and std 1 go without saying.
    """
    channels, places = channels or entrance[0], entrance[1]
    size = spread_size(USUAL[places] if input_size is None else input_size, places)
    kept = input_size is None and len(size) != PICTURE
    guesses = ["input size 224"] if input_size is None and not kept else []
    if mean is None or std is None:
        imagenet = channels == len(IMAGENET_MEAN) and len(size) == PICTURE
        usual_values = "ImageNet's mean and std" if imagenet else "mean 0 and std 1"
        guesses += [] if standardise else [usual_values]
        mean = mean if mean is not None else (IMAGENET_MEAN if imagenet else (0.0,))
        std = std if std is not None else (IMAGENET_STD if imagenet else (1.0,))
    notes = (f"preprocessing was not given: {' and '.join(guesses)} assumed",) if guesses else ()
    usual = {PICTURE: min(size), VOLUME: None if kept else size}.get(len(size))
    known = Preprocess(
        input_size=size,
        resize=resize if resize is not None else usual,
        mean=tuple(mean),
        std=tuple(std),
        channels=channels,
        keeps_size=kept,
    )
    return known, notes


def spread_size(size: int | Size, places: int) -> Size:
    """A side for every axis, or the lengths as they are."""
    given: Any = size
    return (int(given),) * places if hasattr(given, "__index__") else tuple(given)
