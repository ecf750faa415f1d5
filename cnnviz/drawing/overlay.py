"""A map on its picture: enlarged, put back where the network looked, and blended in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.dimensions import Size
from cnnviz.core.field import Field, Span
from cnnviz.core.picture import LUMA, Geometry
from cnnviz.drawing.colour import Scale, colourise, fractions
from cnnviz.errors import ParameterError

__all__ = ["outlined", "overlay", "place", "transparent", "upsample", "masked", "veiled"]

LEFT: Final = 0.22
GROUND: Final = 40

LIFT: Final = 64
NEUTRAL: Final = 0.5
"""Under a signed map: the grey that black becomes, and how much of the strongest colour's opacity zero's colour has."""

LINE: Final = (60, 60, 60)
LINES: Final = 400
"""The outline of what the network saw, and how many such lines fit into the picture's shorter side."""


def masked(pixels: NDArray[np.uint8], shown: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A photograph, dark and without colour but for some places.

    Args:
        pixels: ``(H, W, 3)`` RGB.
        shown: ``(H, W)``: the places that keep their colour.

    Raises:
        ParameterError: The places are not as many as the picture's.
    """
    if shown.shape != pixels.shape[:2]:
        raise ParameterError(f"The mask is {shown.shape}, but the picture is {pixels.shape[:2]}.")
    grey = grey_of(pixels)
    dark = np.rint(GROUND + LEFT * grey).astype(np.uint8)
    return np.where(shown[..., None], pixels, dark[..., None])


def grey_of(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Luma ``(H, W)`` of RGB pixels ``(H, W, 3)``, from 0 to 255."""
    red, green, blue = np.moveaxis(pixels.astype(np.float32), -1, 0)
    luma: NDArray[np.float32] = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return luma


_BAND_PIXELS = 1 << 16


def upsample(values: NDArray[Any], size: Size, field: Field | None = None) -> NDArray[np.float32]:
    """Maps on a finer (or coarser) grid: linear along every axis, no smoothing when shrinking.

    Without a field the values are spread evenly, the edges held: the same arithmetic as
    ``torch.nn.functional.interpolate(mode="bilinear", align_corners=False)``, or linear and trilinear. With one, each
    value lies at the centre of what its unit sees; the outer values are held for half a stride and as far as their
    units' fields reach, and what lies farther out is NaN.

    Args:
        values: ``(..., h, w)``, or with one or three axes of places.
        size: Lengths wanted, of pictures height and width.
        field: What the units see of an input of that size; one without places, or of another number of units, counts
            as none.

    Returns:
        ``(..., H, W)`` float32.
    """
    values = np.asarray(values, dtype=np.float32)
    grid = values.shape[values.ndim - len(size) :]
    spans = _axes_of(field, grid)
    covered = field is not None and field.input == tuple(size)
    each_axis = zip(spans, grid, size, strict=True)
    places = [_positions(span, count, length, covered=covered) for span, count, length in each_axis]
    beside = [_find_neighbours(np.nan_to_num(own), count) for own, count in zip(places, grid, strict=True)]
    enlarged = _interpolate(values, beside)
    for axis, own in enumerate(places):
        np.moveaxis(enlarged, axis - len(size), 0)[np.isnan(own)] = np.nan
    return enlarged


def _axes_of(field: Field | None, grid: Size) -> Sequence[Span | None]:
    """A field's axes, if it places maps of that many units along each."""
    return field.spans if field is not None and field.grid == grid else (None,) * len(grid)


def _positions(span: Span | None, count: int, length: int, *, covered: bool) -> NDArray[np.float64]:
    """Where the centres of an input's pixels lie among values."""
    if span is None:
        return (2 * np.arange(length) + 1) * count / (2 * length) - 0.5
    return span.units_at(np.arange(length), length, covered=covered)


def place(values: NDArray[Any], geometry: Geometry, fill: float = np.nan) -> NDArray[np.float32]:
    """A map of the network's input, on the picture the input was cut from.

    Args:
        values: ``(h, w)``, one value a pixel of the network's input; of signals and volumes likewise.
        geometry: How the input was cut from the picture; ``h`` and ``w`` are its crop's height and width.
        fill: What stands where there is no value.

    Returns:
        ``(H, W)`` float32 on the whole picture, linear along every axis; without a value where the network saw nothing.

    Raises:
        ParameterError: The map is not as large as the input.
    """
    values = np.asarray(values, dtype=np.float32)
    if values.shape != geometry.size:
        raise ParameterError(f"The map is {values.shape}, but the network's input is {geometry.size}.")
    axes = zip(geometry.original, geometry.resized, geometry.start, geometry.size, strict=True)
    covered, places = zip(*(_covered_pixels(*each) for each in axes), strict=True)
    beside = [_find_neighbours(own, length) for own, length in zip(places, geometry.size, strict=True)]
    placed = np.full(geometry.original, np.nan, dtype=np.float32)
    placed[covered] = _interpolate(values, beside)
    return placed if np.isnan(fill) else np.where(np.isnan(placed), np.float32(fill), placed)


def overlay(
    pixels: NDArray[np.uint8],
    values: NDArray[Any],
    scale: Scale,
    *,
    alpha: float = 0.7,
    seen: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """A map over its picture: the stronger a value, the more of its colour, so that cold places show the photograph.

    Under a signed map the photograph is grey, no pixel of it black, and zero is drawn in the colour map's middle: the
    lightness falls from zero both ways whatever the photograph, so that no line is seen where the sign changes.

    Args:
        pixels: ``(H, W, 3)`` RGB.
        values: ``(H, W)``; where it is NaN, the photograph is drawn as it is, or faded.
        scale: What the colours mean; a blank scale leaves the photograph as it is.
        alpha: How much of the colour the strongest value gets, 0 to 1; 0 leaves the photograph as it is.
        seen: ``(H, W)``: what the network saw; the rest is faded. Default: it saw whatever is not NaN.

    Raises:
        ParameterError: The map is not as large as the picture, or alpha is out of bounds.
    """
    values = np.asarray(values)
    if values.shape != pixels.shape[:2]:
        raise ParameterError(f"The map is {values.shape}, but the picture is {pixels.shape[:2]}.")
    if not 0 <= alpha <= 1:
        raise ParameterError(f"alpha lies between 0 and 1, not at {alpha}.")
    seen = ~np.isnan(values) if seen is None else seen
    drawn = np.empty_like(pixels)
    band = max(1, _BAND_PIXELS // values.shape[1])
    for top in range(0, len(drawn), band):
        rows = slice(top, top + band)
        drawn[rows] = _blend(pixels[rows], values[rows].astype(np.float64), scale, alpha, seen[rows])
    return drawn


def _blend(
    pixels: NDArray[np.uint8],
    values: NDArray[np.float64],
    scale: Scale,
    alpha: float,
    seen: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    known = ~np.isnan(values)
    along = fractions(np.where(known, values, 0.0), scale)
    strength = _strength_of(along, scale)
    signed = scale.signed and not scale.blank and alpha > 0
    share = NEUTRAL + (1 - NEUTRAL) * strength**2 if signed else _opacity_of(strength)
    opacity = (alpha * share * known)[..., None].astype(np.float32)
    ground = np.where(known[..., None], _lighten(pixels), pixels) if signed else pixels
    blended = ground * (1 - opacity) + colourise(values, scale) * opacity
    if not seen.all():
        blended = np.where(seen[..., None], blended, _fade(pixels))
    return np.rint(blended).astype(np.uint8)


def transparent(values: NDArray[Any], scale: Scale, alpha: float = 1.0) -> NDArray[np.uint8]:
    """A map alone ``(H, W, 4)`` RGBA: the stronger a value, the more opaque its colour.

    Laid over a photograph, an unsigned map looks as in :func:`overlay`; a signed one leaves its colours as they are.

    Args:
        values: ``(H, W)``; zero and where it is NaN, nothing is seen.
        scale: What the colours mean; a blank scale shows nothing.
        alpha: Opacity of the strongest colour, 0 to 1.
    """
    known = ~np.isnan(values)
    along = fractions(np.where(known, values, 0.0).astype(np.float64), scale)
    opacity = alpha * _opacity_of(_strength_of(along, scale)) * known * (not scale.blank)
    return np.dstack([colourise(values, scale), np.rint(255 * opacity).astype(np.uint8)])


def _strength_of(along: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
    """How far places along a scale are from zero, 0 to 1."""
    return np.abs(2 * along - 1) if scale.signed else along


def _opacity_of(strength: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half-strong places stay visible on dark and on bright photographs, and the weakest leave no veil."""
    return 1 - (1 - strength) ** 2


def _lighten(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A photograph without colour ``(H, W, 1)`` whose darkest places are still light enough for colours over them."""
    return np.asarray(LIFT + (1 - LIFT / 255) * grey_of(pixels)[..., None], dtype=np.float32)


def outlined(drawn: NDArray[np.uint8], seen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """What was drawn over a photograph, with one thin line around the part that the network saw.

    The line lies outside that part, where there is anything outside.

    Args:
        drawn: ``(H, W, 3)`` RGB; left as it is.
        seen: ``(H, W)``: what the network saw, a rectangle.
    """
    if seen.all() or not seen.any():
        return drawn
    thick = max(1, round(min(seen.shape) / LINES))
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    framed = np.zeros_like(seen)
    top, left = max(rows[0] - thick, 0), max(columns[0] - thick, 0)
    framed[top : rows[-1] + 1 + thick, left : columns[-1] + 1 + thick] = True
    framed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = False
    return np.where(framed[..., None], np.array(LINE, np.uint8), drawn)


def veiled(pixels: NDArray[np.uint8], drawn: NDArray[np.uint8], seen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """What was drawn over a photograph, but faded where the network did not look.

    Args:
        pixels: The photograph ``(H, W, 3)``.
        drawn: What was drawn over it.
        seen: ``(H, W)``: where the network looked.
    """
    if seen.all():
        return drawn
    return outlined(np.where(seen[..., None], drawn, np.rint(_fade(pixels)).astype(np.uint8)), seen)


def _fade(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    grey = grey_of(pixels)
    return np.asarray(0.62 * (0.35 * pixels + 0.65 * grey[..., None]) + 0.38 * 255, dtype=np.float32)


class _Neighbours(NamedTuple):
    """Along one axis, for every position the two values beside it, and the second one's weight."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    weight: NDArray[np.float32]


def _find_neighbours(positions: NDArray[np.float64], length: int) -> _Neighbours:
    held = np.clip(positions, 0, length - 1)
    first = np.floor(held).astype(np.intp)
    weight = (held - first).astype(np.float32)
    second = np.where(weight > 0, np.minimum(first + 1, length - 1), first)
    return _Neighbours(first, second, weight)


def _interpolate(values: NDArray[np.float32], beside: Sequence[_Neighbours]) -> NDArray[np.float32]:
    """Values at places between them, the last axis first.

    Args:
        values: ``(..., h, w)``.
        beside: The neighbours along each of the last axes.
    """
    found: NDArray[Any] = values
    for behind, own in enumerate(reversed(beside)):
        weight, axis = own.weight.reshape(-1, *[1] * behind), -1 - behind
        found = found.take(own.first, axis) * (1 - weight) + found.take(own.second, axis) * weight
    return np.asarray(found, dtype=np.float32)


def _covered_pixels(original: int, resized: int, start: int, length: int) -> tuple[slice, NDArray[np.float64]]:
    """Along one axis: which of the picture's pixels the input covers, and where each lies on the input."""
    edges = (2 * np.arange(original) + 1) * resized / (2 * original) - start
    inside = np.flatnonzero((edges >= 0) & (edges < length))
    if not inside.size:
        return slice(0, 0), np.empty(0)
    return slice(int(inside[0]), int(inside[-1]) + 1), edges[inside] - 0.5
