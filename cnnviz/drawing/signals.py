"""A signal as lines, one below the other, with a map as colour under them and a time axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cnnviz.core.sample import Signal
from cnnviz.drawing.colour import Scale, colourise
from cnnviz.drawing.text import ascent, draw_text, line_height, text_width, wrap
from cnnviz.errors import ParameterError

__all__ = ["WIDTH", "SignalPanel", "Ticks", "draw_signal", "draw_traces", "panel_of", "time_ticks"]

WIDTH: Final = 1600
"""Pixels across: twice those of an ordinary picture, so that lines stay crisp on paper."""

EM, SMALL, LEAST_EM = 38, 32, 15
LINE, HALO = 4, 4
"""Pixels of a line, and of the paper left free on either side of it."""

TALLEST, SHORTEST, ALL_ROWS = 420, 14, 1800
"""Pixels of the row of a single channel, of the lowest row, and of many rows together."""

ROOM: Final = 0.08
"""The part of a row that stays free above the highest value and below the lowest."""

NUMBERED: Final = 150
"""Pixels of a row from which on its values have numbers."""

MOST_GUTTER: Final = 0.22
"""The part of the width that names may take."""

THINNEST: Final = 5
"""Pixels that the colour of a single sample is wide, at least."""

WELL_APART: Final = 190
"""Pixels from one tick to the next, or more."""

PAPER, UNSEEN, INK, PALE_INK, FAINT, HAIRLINE = 255, 232, 30, 165, 104, 190
BITS: Final = 4
"""Of fractions of a pixel in which OpenCV takes places."""


class SignalPanel(NamedTuple):
    """Where the parts of a drawn signal lie, in pixels.

    Attributes:
        left: Where the lines begin, right of the names.
        width: How wide the lines' part is.
        row: How high each channel's row is.
        height: How high everything is.
    """

    left: int
    width: int
    row: int
    height: int

    def column(self, place: float, length: int) -> float:
        """Where the middle of a sample lies from the left, of so many."""
        return self.left + (place + 0.5) * self.width / length


class Ticks(NamedTuple):
    """Round numbers along a signal: the samples they stand at, what stands there, and the unit."""

    places: tuple[float, ...]
    words: tuple[str, ...]
    unit: str


def draw_signal(
    signal: Signal,
    values: NDArray[Any] | None = None,
    scale: Scale | None = None,
    *,
    alpha: float = 0.7,
    seen: NDArray[np.bool_] | None = None,
    lines: bool = True,
) -> NDArray[np.uint8]:
    """A signal with a map as bands of colour under its lines.

    Where there are more samples than pixels, each column of pixels shows the lowest to the highest of its samples, and
    the colour of the strongest, so that nothing short is lost.

    Args:
        signal: The signal.
        values: ``(T,)``, the same under every channel, or ``(C, T)``; where NaN, no colour. None for no map.
        scale: What the colours mean.
        alpha: How much of the colours is seen on the white paper, 0 to 1.
        seen: ``(T,)``: what the network saw; the rest is faded. Default: it saw whatever has a value.
        lines: Whether the lines are drawn, and not the colours alone.

    Returns:
        ``(H, 1600, 3)`` RGB.

    Raises:
        ParameterError: The map is not as long as the signal, or alpha is out of bounds.
    """
    length, panel = signal.size[0], panel_of(signal)
    if not 0 <= alpha <= 1:
        raise ParameterError(f"alpha lies between 0 and 1, not at {alpha}.")
    if values is not None and np.shape(values) not in ((length,), (signal.channels, length)):
        raise ParameterError(f"The map is {np.shape(values)}, but the signal is {signal.values.shape}.")
    maps = np.full((1, length), np.nan) if values is None else np.atleast_2d(np.asarray(values, dtype=np.float64))
    if seen is None:
        seen = np.ones(length, bool) if values is None else ~np.isnan(maps).all(axis=0)
    canvas = np.full((panel.height, WIDTH, 3), PAPER, dtype=np.uint8)
    looked = seen[_starts(length, panel.width)]
    bands = [_colour_band(each, scale, alpha, looked, panel.width) for each in maps]
    for channel in range(signal.channels):
        top = channel * panel.row
        row = canvas[top : top + panel.row, panel.left : panel.left + panel.width]
        row[:] = bands[min(channel, len(bands) - 1)]
        if lines:
            _draw_line(row, signal.values[channel], looked)
        row[-1 if panel.row < NUMBERED else -2 :] = HAIRLINE
    return _add_words(canvas, signal, panel)


def draw_traces(
    signal: Signal, values: NDArray[Any], names: Sequence[str], scales: Sequence[Scale]
) -> NDArray[np.uint8]:
    """Values over a signal's time as lines of their own, one below the other, with their colours under them.

    Args:
        signal: What they are of.
        values: ``(U, T)``; where NaN, there is no value.
        names: Of each line.
        scales: What the colours under each line mean; all have the same colours and sign.
    """
    width = [scale.high if scale.signed else scale.high - scale.low for scale in scales]
    low = [0.0 if scale.signed else scale.low for scale in scales]
    shares = (np.asarray(values, dtype=np.float64) - np.array(low)[:, None]) / np.array(width)[:, None]
    common = replace(scales[0], low=-1.0 if scales[0].signed else 0.0, high=1.0, clipped=0.0, blank=False)
    lines = Signal(np.nan_to_num(values).astype(np.float32), signal.name, rate=signal.rate, channel_names=tuple(names))
    return draw_signal(lines, shares, common)


def panel_of(signal: Signal) -> SignalPanel:
    """Where the parts of a drawn signal lie."""
    count = max(1, signal.channels)
    row = max(SHORTEST, min(round(TALLEST / math.sqrt(count)), ALL_ROWS // count))
    size, most = _name_size(row), int(MOST_GUTTER * WIDTH)
    words = [text_width(line, size) for name in signal.channel_names for line in wrap(name, most, size, most=1)]
    if row >= NUMBERED:
        words += [text_width(number, SMALL) for channel in signal.values for number in _end_numbers(channel)]
    words.append(text_width(time_ticks(signal).unit, SMALL))
    left = math.ceil(max(words)) + EM * 2 // 3
    return SignalPanel(left, WIDTH - left - EM, row, count * row + EM // 4 + line_height(SMALL) + EM // 4)


def time_ticks(signal: Signal, room: int = WIDTH) -> Ticks:
    """Round places along a signal: in seconds or milliseconds where its rate is known, else in samples.

    Args:
        signal: The signal.
        room: Pixels that there are for it.
    """
    seconds, length = signal.seconds, signal.size[0]
    if seconds is None or signal.rate is None:
        step = max(1.0, _round_step(length, room))
        return Ticks(*_ticks_at(step, 1.0, length), "samples")
    unit, name = (1e-3, "ms") if seconds < 1 else (1.0, "seconds")
    return Ticks(*_ticks_at(_round_step(seconds / unit, room), signal.rate * unit, length), name)


def _round_step(whole: float, room: int) -> float:
    """The least of 1, 2 and 5 times a power of ten of which not more than fit go into the whole."""
    least = max(whole, 1e-12) * WELL_APART / room
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _ticks_at(step: float, each: float, length: int) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Multiples of a step: the samples they stand at, and their numbers; ``each`` is how many samples one is."""
    count = math.floor((length - 1) / each / step + 1e-9) + 1
    return tuple(number * step * each for number in range(count)), tuple(f"{k * step:.12g}" for k in range(count))


def _starts(length: int, width: int) -> NDArray[np.intp]:
    """The first sample of every column of pixels."""
    return np.asarray(np.arange(width) * length // width, dtype=np.intp)


def _strongest(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Of every column of pixels the value of largest magnitude; NaN where none has one."""
    starts = _starts(len(values), width)
    high, low = values[starts], values[starts]
    if len(values) > width:
        high, low = np.fmax.reduceat(values, starts), np.fmin.reduceat(values, starts)
    if len(values) * THINNEST > width:
        high, low = (_spread(each, way) for each, way in ((high, np.fmax), (low, np.fmin)))
    return np.asarray(np.where(-low > high, low, high))


def _spread(values: NDArray[np.float64], way: np.ufunc) -> NDArray[np.float64]:
    """The highest (or lowest) of the pixels around each: what is narrower than they are would not be seen."""
    beyond = THINNEST // 2
    padded = np.pad(values, beyond, constant_values=np.nan)
    return np.asarray(way.reduce([padded[start : start + len(values)] for start in range(THINNEST)]))


def _colour_band(
    values: NDArray[np.float64], scale: Scale | None, alpha: float, looked: NDArray[np.bool_], width: int
) -> NDArray[np.uint8]:
    """The ground of a channel's row, ``(1, width, 3)``."""
    ground = np.full((1, width, 3), PAPER, dtype=np.float64)
    if scale is not None and not scale.blank:
        shown = _strongest(values, width)[None]
        mixed = alpha * colourise(shown, scale) + (1 - alpha) * PAPER
        ground = np.where(np.isnan(shown)[..., None], ground, mixed)
    ground[:, ~looked] = UNSEEN
    return np.rint(ground).astype(np.uint8)


def _draw_line(row: NDArray[np.uint8], values: NDArray[np.float32], looked: NDArray[np.bool_]) -> None:
    """One channel's line over its row ``(h, w, 3)``, with paper left free along it so that it shows on any colour."""
    height, width = row.shape[:2]
    places = _line_places(values.astype(np.float64), height, width)
    thick = LINE if height >= NUMBERED else max(2, round(LINE * min(1.0, height / 60)))
    ink = np.where(looked, INK, PALE_INK)[None, :, None]
    halo = HALO if height >= NUMBERED else thick // 2
    for pixels, colour, most in ((thick + 2 * halo, np.full_like(ink, PAPER), 0.55), (thick, ink, 1.0)):
        drawn = np.zeros((height, width), np.uint8)
        cv2.polylines(drawn, [places], isClosed=False, color=255, thickness=pixels, lineType=cv2.LINE_AA, shift=BITS)
        opacity = drawn[..., None] * (most / 255)
        row[:] = np.rint(row * (1 - opacity) + colour * opacity).astype(np.uint8)


def _line_places(values: NDArray[np.float64], height: int, width: int) -> NDArray[np.int32]:
    """The corners of a line ``(P, 1, 2)``, in sixteenths of a pixel."""
    low, high = float(values.min()), float(values.max())
    room = ROOM * height
    inner = max(1.0, height - 2 * room - 2)
    share = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
    down = room + (1 - share) * inner
    if len(values) == 1:
        across, down = np.array([0.0, width - 1.0]), np.repeat(down, 2)
    elif len(values) <= 2 * width:
        across = (np.arange(len(values)) + 0.5) * width / len(values) - 0.5
    else:
        starts = _starts(len(values), width)
        ends = np.append(starts[1:], len(values)) - 1
        some = down[starts], np.minimum.reduceat(down, starts), np.maximum.reduceat(down, starts), down[ends]
        across, down = np.repeat(np.arange(width), len(some)).astype(np.float64), np.stack(some, axis=1).ravel()
    places = np.stack([across, down], axis=1) * (1 << BITS)
    return np.asarray(np.rint(places)[:, None], dtype=np.int32)


def _add_words(canvas: NDArray[np.uint8], signal: Signal, panel: SignalPanel) -> NDArray[np.uint8]:
    """Names at the left, the ends of each channel's values where there is room, and the time axis below."""
    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    right, below = panel.left - EM * 2 // 3, signal.channels * panel.row
    size = _name_size(panel.row)
    every = max(1, math.ceil(size / panel.row))
    for channel, name in enumerate(signal.channel_names[: signal.channels]):
        line = next(iter(wrap(name, int(MOST_GUTTER * WIDTH), size, most=1)), "")
        if channel % every == 0:
            middle = channel * panel.row + panel.row // 2
            _write(draw, line, (right, middle), "rm", size=size, grey=INK)
    if panel.row >= NUMBERED:
        for channel, values in enumerate(signal.values):
            low, high = _end_numbers(values)
            top = channel * panel.row
            ends = ((high, ROOM), (low, 1 - ROOM)) if low != high else ((low, 1 - ROOM),)
            for number, share in ends:
                _write(draw, number, (right, top + round(share * panel.row)), "rm", size=SMALL, grey=FAINT)
    ticks = time_ticks(signal, panel.width)
    baseline = below + EM // 4 + ascent(SMALL)
    for place, word in zip(ticks.places, ticks.words, strict=True):
        middle = round(panel.column(place, signal.size[0]))
        draw.rectangle((middle - 1, below, middle + 1, below + EM // 4), fill=(FAINT,) * 3)
        _write(draw, word, (middle, baseline), "ms", size=SMALL, grey=FAINT)
    _write(draw, ticks.unit, (right, baseline), "rs", size=SMALL, grey=FAINT)
    return np.array(image)


def _write(draw: ImageDraw.ImageDraw, words: str, place: tuple[int, int], anchor: str, **ink: int) -> None:
    """Words of a grey and a size, at a place that ``anchor`` names."""
    draw_text(draw, place, words, ink["size"], fill=(ink["grey"],) * 3, anchor=anchor)


def _name_size(row: int) -> int:
    """Pixels an em of the names beside rows of that height."""
    return max(LEAST_EM, min(EM, round(0.8 * row)))


def _end_numbers(values: NDArray[np.float32]) -> tuple[str, str]:
    """A channel's lowest and highest value, in three digits."""
    low, high = (f"{float(each):.3g}".replace("-", "\N{MINUS SIGN}") for each in (values.min(), values.max()))
    return low, high
