"""What a network was asked about, as pixels, with or without a map over it: the one place that looks at its kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.picture import Picture
from cnnviz.core.sample import Sample, Signal, Volume
from cnnviz.drawing.colour import ColourMap, Scale, colourise
from cnnviz.drawing.overlay import overlay
from cnnviz.drawing.signals import draw_signal
from cnnviz.drawing.volumes import THROUGH, Shades, Slicing, draw_volume

__all__ = ["draw_alone", "draw_in_place", "draw_over", "draw_panel", "is_wide", "name_place", "pixels_of", "usual_cmap"]


def is_wide(sample: Sample) -> bool:
    """Whether it is drawn in one wide picture with the map in it, so that several stand one below the other."""
    return not isinstance(sample, Picture)


GLOW = ("#ffffff", "#ffe36e", "#ff9d2e", "#e8000b")
"""Colours of positive maps under the lines of a signal: on white paper, what is strong has to be darker."""


def usual_cmap(sample: Sample, *, signed: bool) -> ColourMap | None:
    """The colour map of its maps where none is named; None for that of photographs."""
    if signed or not isinstance(sample, Signal):
        return None
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("glow", GLOW)


def pixels_of(sample: Sample, slicing: Slicing = THROUGH) -> NDArray[np.uint8]:
    """A picture as it is, a signal as lines, a volume as slices; ``(H, W, 3)`` RGB.

    Args:
        sample: What the network was asked about.
        slicing: Which slices of a volume.
    """
    if isinstance(sample, Signal):
        return draw_signal(sample)
    if isinstance(sample, Volume):
        return draw_volume(sample, slicing=slicing)
    assert isinstance(sample, Picture)
    return sample.pixels


def draw_over(
    sample: Sample,
    values: NDArray[Any],
    scale: Scale,
    *,
    alpha: float = 0.7,
    seen: NDArray[np.bool_] | None = None,
    slicing: Slicing = THROUGH,
) -> NDArray[np.uint8]:
    """A map over what it is of: the stronger a value, the more of its colour.

    Args:
        sample: What the network was asked about.
        values: As long as it along each axis; where NaN, there is no value. Of a signal also ``(C, T)``.
        scale: What the colours mean.
        alpha: How much of the colour the strongest value gets, 0 to 1.
        seen: What the network saw; the rest is faded. Left out, it saw whatever is not NaN.
        slicing: Which slices of a volume.

    Returns:
        ``(H, W, 3)`` RGB.

    Raises:
        ParameterError: The map is not as large as it, or alpha is out of bounds.
    """
    if isinstance(sample, Signal):
        return draw_signal(sample, values, scale, alpha=alpha, seen=seen)
    if isinstance(sample, Volume):
        return draw_volume(sample, Shades(values, scale, alpha, seen), slicing)
    return overlay(pixels_of(sample), values, scale, alpha=alpha, seen=seen)


def draw_panel(
    sample: Sample, values: NDArray[Any], scale: Scale, *, alpha: float, seen: NDArray[np.bool_], slicing: Slicing
) -> NDArray[np.uint8]:
    """What is drawn wide together with a map: a volume also without it, the same slices above.

    Args:
        sample: A signal or a volume.
        values: As :func:`draw_over` takes them.
        scale: What the colours mean.
        alpha: How much of the colour the strongest value gets, 0 to 1.
        seen: What the network saw.
        slicing: Which slices of a volume.
    """
    if isinstance(sample, Volume):
        return draw_volume(sample, Shades(values, scale, alpha, seen), slicing, both=True)
    return draw_over(sample, values, scale, alpha=alpha, seen=seen)


def draw_alone(sample: Sample, values: NDArray[Any], scale: Scale, slicing: Slicing = THROUGH) -> NDArray[np.uint8]:
    """A map without what it is of, its places where they lie on it.

    Args:
        sample: A signal or a volume.
        values: As :func:`draw_over` takes them.
        scale: What the colours mean.
        slicing: Which slices of a volume.
    """
    if isinstance(sample, Signal):
        return draw_signal(sample, values, scale, alpha=1.0, lines=False)
    assert isinstance(sample, Volume)
    return draw_volume(sample, Shades(values, scale, alone=True), slicing)


def draw_in_place(sample: Sample, values: NDArray[Any], scale: Scale) -> NDArray[np.uint8]:
    """A map that is too fine for an overlay: in the place of the photograph that the network saw, faded around.

    Lines and slices are seen under any map, and stay.

    Args:
        sample: What the network was asked about.
        values: As :func:`draw_over` takes them.
        scale: What the colours mean.
    """
    if is_wide(sample):
        return draw_over(sample, values, scale)
    around = draw_over(sample, values, scale, alpha=0.0)
    return np.where(np.isfinite(values)[..., None], colourise(values, scale), around)


def name_place(sample: Sample, place: Sequence[int]) -> str:
    """Where a place lies, in words: in seconds or millimetres where they are known.

    Args:
        sample: A signal or a volume.
        place: Along each axis, the first axis first.
    """
    if isinstance(sample, Signal):
        return f"sample {place[0]}" if sample.rate is None else _spell_time(place[0] / sample.rate, sample.seconds or 0)
    assert isinstance(sample, Volume)
    if sample.rate is not None:
        lasting = sample.size[0] / sample.rate
        return f"{_spell_time(place[0] / sample.rate, lasting)}, pixel {place[2]}, {place[1]}"
    if sample.spacing is None:
        return f"voxel {', '.join(map(str, reversed(place)))}"
    lengths = [f"{at * each:.3g}" for at, each in zip(reversed(place), reversed(sample.spacing), strict=True)]
    return f"{', '.join(lengths)} mm"


def _spell_time(seconds: float, whole: float) -> str:
    """A time in three digits of the whole, such as ``"1.32 s"``."""
    return f"{1000 * seconds:.4g} ms" if whole < 1 else f"{seconds:.2f} s"
