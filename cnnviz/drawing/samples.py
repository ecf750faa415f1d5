"""What a network was asked about, as pixels, with or without a map over it: the one place that looks at its kind."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.picture import Picture
from cnnviz.core.sample import Sample
from cnnviz.drawing.colour import Scale
from cnnviz.drawing.overlay import overlay

__all__ = ["draw_over", "pixels_of"]


def pixels_of(sample: Sample) -> NDArray[np.uint8]:
    """A picture as it is, ``(H, W, 3)`` RGB."""
    assert isinstance(sample, Picture)
    return sample.pixels


def draw_over(
    sample: Sample,
    values: NDArray[Any],
    scale: Scale,
    *,
    alpha: float = 0.7,
    seen: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """A map over what it is of: the stronger a value, the more of its colour.

    Args:
        sample: What the network was asked about.
        values: As long as it along each axis; where NaN, there is no value.
        scale: What the colours mean.
        alpha: How much of the colour the strongest value gets, 0 to 1.
        seen: What the network saw; the rest is faded. Left out, it saw whatever is not NaN.

    Returns:
        ``(H, W, 3)`` RGB.

    Raises:
        ParameterError: The map is not as large as it, or alpha is out of bounds.
    """
    return overlay(pixels_of(sample), values, scale, alpha=alpha, seen=seen)
