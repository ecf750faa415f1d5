"""What a colour means: from a map's values to a colour map's colours, and the bar that says so."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from cnnviz.errors import ParameterError, UnknownNameError

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

__all__ = [
    "COLOUR_CHANNELS",
    "ColourMap",
    "NO_VALUE",
    "Normalisation",
    "Scale",
    "colour_bar",
    "cmap_name",
    "colourise",
    "fractions",
    "paint",
    "paint_alone",
    "scale_of",
    "ticks",
]

ColourMap: TypeAlias = "str | Colormap"
"""A matplotlib colour map or its name."""

Normalisation = Literal["none", "max", "minmax", "percentile"]

COLOUR_CHANNELS: Final = (1, 3)
"""How many channels can be drawn as colours: one is grey, three are red, green and blue."""

NO_VALUE = (128, 128, 128)
"""The colour of a place without a value (NaN): mid grey, which no default colour map contains."""

SHARPEST: Final = 99.5
_LEVELS = 256
_MOST_DIGITS = 6
_LEAST, _MOST = 1e-300, 1e300
_LEAST_PLAIN, _MOST_PLAIN = 1e-3, 1e5


@dataclass(frozen=True)
class Scale:
    """What a colour means: ``low`` and ``high`` get the colour map's two ends.

    Attributes:
        low: The value of the first colour; always below ``high``.
        high: The value of the last colour.
        signed: Whether zero is the middle, with ``low == -high``.
        cmap: A matplotlib colour map's name.
        clipped: The share (0..1) of values beyond the ends, drawn in the end's colour.
        blank: The map says nothing (empty, constant, or nothing above zero) and is drawn as the colour of zero.
        measures: What the values are, with their unit, such as ``"score change (logit)"``.
    """

    low: float
    high: float
    signed: bool = False
    cmap: str = "inferno"
    clipped: float = 0.0
    blank: bool = False
    measures: str = ""


def scale_of(
    values: NDArray[Any],
    *,
    normalise: Normalisation = "max",
    signed: bool = False,
    cmap: ColourMap | None = None,
    percentile: float = 99.0,
    measures: str = "",
) -> Scale:
    """The scale that shows a map; several maps stacked in one array get one scale in common.

    A signed scale is symmetric whatever the normalisation, so that zero always has the colour map's centre.

    Args:
        values: Any shape. NaN and infinities are ignored.
        normalise: ``"max"`` runs from 0 to the largest value, ``"minmax"`` from the smallest to the largest,
            ``"percentile"`` from 0 to the given percentile, and ``"none"`` from 0 to 1; signed, these run from minus
            to plus the largest magnitude (the percentile of magnitudes, 1).
        signed: Whether values below zero mean the opposite of values above it.
        cmap: A matplotlib colour map or its name; ``inferno``, or ``RdBu_r`` when signed, unless given.
        percentile: Where ``"percentile"`` clips, above 0 and up to 100.
        measures: What the values are, with their unit.

    Raises:
        UnknownNameError: There is no such colour map.
        ParameterError: There is no such normalisation, or the percentile is out of bounds.
    """
    if normalise not in get_args(Normalisation):
        raise ParameterError(f"normalise is one of {', '.join(get_args(Normalisation))}, not '{normalise}'.")
    if not 0 < percentile <= 100:
        raise ParameterError(f"percentile lies above 0 and up to 100, not at {percentile}.")
    name = cmap_name(cmap) or ("RdBu_r" if signed else "inferno")
    known = np.asarray(values, dtype=np.float64)
    known = np.clip(known[np.isfinite(known)], -_MOST, _MOST)
    low, high = _signed_ends(known, normalise, percentile) if signed else _ends(known, normalise, percentile)
    blank = _blank(known, normalise, signed=signed)
    if high - low < _LEAST:
        high = low + max(1.0, abs(low))
        low = -high if signed else low
    clipped = float(np.mean((known < low) | (known > high))) if known.size else 0.0
    return Scale(float(low), float(high), signed, name, clipped, blank, measures)


def colourise(values: NDArray[Any], scale: Scale) -> NDArray[np.uint8]:
    """A map in colours.

    Args:
        values: ``(h, w)``; beyond the scale's ends (infinities too) the end's colour is used.
        scale: What the colours mean. A blank scale draws every value as zero.

    Returns:
        ``(h, w, 3)`` RGB. NaN becomes mid grey (128, 128, 128).
    """
    values = np.asarray(values, dtype=np.float64)
    missing = np.isnan(values)
    level = np.minimum(fractions(np.where(missing, scale.low, values), scale) * _LEVELS, _LEVELS - 1)
    pixels: NDArray[np.uint8] = _table(scale.cmap)[level.astype(np.intp)]
    pixels[missing] = NO_VALUE
    return pixels


def paint(values: NDArray[Any], scale: Scale) -> NDArray[np.uint8]:
    """Values that have a colour of their own as a picture: mid grey is the middle of the scale.

    Args:
        values: ``(3, h, w)``, red, green and blue; or ``(1, h, w)``.
        scale: Its low end is black, its high end full colour.

    Returns:
        ``(h, w, 3)`` RGB. NaN in any of them becomes mid grey.
    """
    values = np.asarray(values, dtype=np.float64)
    missing = np.isnan(values).any(axis=0)
    level = np.rint(fractions(np.where(missing, scale.low, values), scale) * (_LEVELS - 1)).astype(np.uint8)
    pixels = np.array(np.broadcast_to(level, (3, *level.shape[1:])).transpose(1, 2, 0), order="C")
    pixels[missing] = NO_VALUE
    return pixels


def paint_alone(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Signed values ``(C, h, w)`` on a scale of their own: 1 or 3 channels as colours, of others the sum as grey."""
    shown = values if len(values) in COLOUR_CHANNELS else values.sum(axis=0, keepdims=True)
    return paint(shown, scale_of(shown, signed=True, normalise="percentile", percentile=SHARPEST))


def fractions(values: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
    """How far along the colour map each value lies, 0 to 1; at zero's place everywhere when the scale is blank."""
    if scale.blank:
        return np.full(values.shape, 0.5 if scale.signed else 0.0)
    held = np.clip(values, scale.low, scale.high)
    along: NDArray[np.float64] = (held - scale.low) / (scale.high - scale.low)
    return along


def colour_bar(scale: Scale, height: int, width: int) -> NDArray[np.uint8]:
    """The scale's colours in a bar: low to high upwards, or rightwards when it is wider than high.

    Returns:
        ``(height, width, 3)`` uint8, RGB.
    """
    across = width > height
    length = width if across else height
    along = np.linspace(scale.low, scale.high, length)
    line = colourise(along[None] if across else along[::-1, None], scale)
    return np.ascontiguousarray(np.broadcast_to(line, (height, width, 3)))


def ticks(scale: Scale) -> tuple[tuple[float, str], ...]:
    """The numbers beside a colour bar, as (value, text): its low end, middle and high end.

    They have two significant digits, and more only where the ends would look the same; three where they are the same.
    """
    values = scale.low, 0.0 if scale.signed else (scale.low + scale.high) / 2, scale.high
    for digits in range(2, _MOST_DIGITS + 1) if scale.low < scale.high else (3,):
        words = [_number(value, digits) for value in values]
        if words[0] != words[-1]:
            break
    return tuple(zip(values, words, strict=True))


def _number(value: float, digits: int) -> str:
    """So many significant digits, as short as they can be written."""
    rounded = float(f"{value:.{digits - 1}e}")
    if rounded == 0 or _LEAST_PLAIN <= abs(rounded) < _MOST_PLAIN:
        text = f"{rounded:.15g}"
    else:
        mantissa, exponent = f"{rounded:.{digits - 1}e}".split("e")
        text = f"{float(mantissa):g}e{int(exponent)}"
    return text.replace("-", "\N{MINUS SIGN}")


def _ends(known: NDArray[np.float64], normalise: Normalisation, percentile: float) -> tuple[float, float]:
    if normalise == "none":
        return 0.0, 1.0
    if not known.size:
        return 0.0, 0.0
    most = float(known.max())
    if normalise == "minmax":
        return float(known.min()), most
    if normalise == "percentile":
        high = float(np.percentile(known, percentile))
        most = high if high > _LEAST else most  # a map that is zero almost everywhere still has a peak
    return 0.0, max(most, 0.0)


def _signed_ends(known: NDArray[np.float64], normalise: Normalisation, percentile: float) -> tuple[float, float]:
    high = _ends(np.abs(known), "max" if normalise == "minmax" else normalise, percentile)[1]
    return -high, high


def _blank(known: NDArray[np.float64], normalise: Normalisation, *, signed: bool) -> bool:
    if not known.size or not np.any(np.abs(known) > _LEAST):
        return True
    if normalise == "none":
        return False
    constant = bool(known.max() - known.min() < _LEAST)
    nothing_positive = not signed and normalise != "minmax" and bool(known.max() <= _LEAST)
    return constant or nothing_positive


def cmap_name(cmap: ColourMap | None) -> str | None:
    """The name that a colour map goes by here: its own, marked by its colours where matplotlib has another of it.

    Raises:
        UnknownNameError: If a name is none of matplotlib's.
        ParameterError: If it is neither a name nor a colour map.
    """
    if cmap is None or isinstance(cmap, str):
        if cmap:
            _table(cmap)
        return cmap or None
    from matplotlib import colormaps
    from matplotlib.colors import Colormap

    if not isinstance(cmap, Colormap):
        raise ParameterError(f"cmap is a matplotlib colour map or its name, not {type(cmap).__name__}.")
    table = _sample(cmap)
    if cmap.name in colormaps and np.array_equal(_table(cmap.name), table):
        return cmap.name
    name = f"{cmap.name}-{hashlib.sha256(table.tobytes()).hexdigest()[:6]}"
    _GIVEN[name] = table
    return name


_GIVEN: dict[str, NDArray[np.uint8]] = {}
"""Colours of the colour maps that were given as objects, by the names they go by here."""


def _table(name: str) -> NDArray[np.uint8]:
    return _GIVEN[name] if name in _GIVEN else _known_table(name)


@cache
def _known_table(name: str) -> NDArray[np.uint8]:
    from matplotlib import colormaps, rcParamsOrig

    if name not in colormaps:
        raise UnknownNameError("colour map", name, sorted(colormaps), "Any matplotlib colour map can be named.")
    found, coarse = colormaps[name], rcParamsOrig["image.lut"]
    # matplotlib's own have as many colours as the user's matplotlibrc says, and the same picture must not depend on it
    return _sample(found.resampled(_LEVELS) if found.N == coarse != _LEVELS else found)


def _sample(cmap: Colormap) -> NDArray[np.uint8]:
    return np.ascontiguousarray(cmap(np.linspace(0, 1, _LEVELS), bytes=True)[:, :3], dtype=np.uint8)
