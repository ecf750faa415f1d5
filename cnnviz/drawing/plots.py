"""Values on their own, without what they lie on: a plane in colours, a line over time, the slices of a volume.

The one place that looks at how many axes such values have.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cnnviz.core.dimensions import PICTURE, SIGNAL, is_one_input
from cnnviz.drawing.colour import COLOUR_CHANNELS, NO_VALUE, SHARPEST, Scale, colourise, paint, scale_of
from cnnviz.drawing.text import ascent, draw_text, line_height, text_width, wrap

__all__ = ["paste_window", "plot", "plot_table", "plot_alone", "plot_channels", "plot_window"]

NARROWEST, WIDEST, HIGH, TALLEST = 240, 640, 0.6, 320
"""Pixels across of a line: the fewest and the most; and its height as a share of at most so many of them."""

LINE_HIGH: Final = 80
"""Pixels of each of several lines below each other."""

MOST_LINES: Final = 6
MOST_SLICES: Final = 9
SEAM: Final = 2
SMALLEST_SLICE: Final = 24
PALER: Final = 0.3
EM: Final = 20
"""Pixels of a letter in a table."""
LONGEST: Final = 20 * EM
"""Pixels of a name in a table, at most; what is longer ends in an ellipsis."""
FRAME: Final = (240, 130, 0)
MOST_WIDE, DARK = 5 * EM, 120
"""Pixels of a column that has its name across, at most; and the brightness below which words are white."""
INK, AXIS, PAPER = (40, 40, 40), (190, 190, 190), (255, 255, 255)


def plot(values: NDArray[Any], scale: Scale) -> NDArray[np.uint8]:
    """One number a place, drawn.

    Args:
        values: ``(H, W)`` becomes a picture, a pixel a number; ``(T,)`` a line with its area in colours; ``(D, H, W)``
            its slices, at most nine, of which one goes through the largest magnitude.
        scale: What the colours mean; a line's height is on it too.

    Returns:
        ``(h, w, 3)`` RGB.
    """
    if is_one_input(values.shape, SIGNAL - 1):
        return _draw_line(np.asarray(values, dtype=np.float64), scale, _line_size(len(values)))
    if is_one_input(values.shape, PICTURE - 1):
        return colourise(values, scale)
    return tile_slices([colourise(values[at], scale) for at in choose_slices(values)])


def plot_channels(values: NDArray[Any], scale: Scale) -> NDArray[np.uint8]:
    """One or three numbers a place, drawn as colours around the middle of the scale; of signals as lines.

    Args:
        values: ``(C, H, W)`` or ``(C, D, H, W)`` with one or three channels, or ``(C, T)``.
        scale: What the colours, or the heights, mean.
    """
    if is_one_input(values.shape, SIGNAL):
        return plot_lines(values, scale)
    if is_one_input(values.shape, PICTURE):
        return paint(values, scale)
    return tile_slices([paint(values[:, at], scale) for at in choose_slices(np.abs(values).sum(axis=0))])


def plot_alone(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Signed values ``(C, ...)`` on a scale of their own: 1 or 3 channels as colours, of others the sum as grey.

    Those of a signal are a line a channel, of the six strongest.
    """
    lines = is_one_input(values.shape, SIGNAL)
    shown = values if lines or len(values) in COLOUR_CHANNELS else values.sum(axis=0, keepdims=True)
    scale = scale_of(shown, signed=True, normalise="percentile", percentile=SHARPEST)
    return plot_channels(shown, scale)


def plot_window(
    values: NDArray[np.float32], whole: NDArray[np.float32], mark: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """A part of a signal as lines, or of a volume as grey (or colour) slices.

    Args:
        values: ``(C, ...)``: the part; NaN where it reaches beyond the whole.
        whole: ``(C, ...)``: what it is of, from whose lowest to whose highest value the drawing reaches.
        mark: ``(...)``: what is to be seen clearly, the rest paler; None for all.
    """
    if is_one_input(values.shape, SIGNAL):
        drawn = plot_lines(values, _scale_between(float(whole.min()), float(whole.max())), filled=False)
        if mark is None or not mark.any():
            return drawn
        across = drawn.shape[1]
        return _fade(drawn, np.broadcast_to(mark[np.arange(across) * len(mark) // across], drawn.shape[:2]))
    mean, all_of_it = (each if len(each) in COLOUR_CHANNELS else each.mean(axis=0)[None] for each in (values, whole))
    scale = _scale_between(float(all_of_it.min()), float(all_of_it.max()))
    if mark is None or not mark.any():
        return plot_channels(mean, scale)
    shown = choose_slices(mark.astype(np.float32) * np.abs(np.nan_to_num(mean)).sum(axis=0))
    return tile_slices([_fade(paint(mean[:, at], scale), mark[at]) for at in shown])


def _fade(pixels: NDArray[np.uint8], mark: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pixels ``(h, w, 3)``, nearly white outside the mark."""
    pale = np.rint(PALER * pixels + (1 - PALER) * 255)
    return np.where(mark[..., None], pixels, pale).astype(np.uint8)


def paste_window(values: NDArray[np.float32], start: Sequence[int], sides: Sequence[int]) -> NDArray[np.float32]:
    """A part of values ``(C, ...)``; NaN where there are none.

    Args:
        values: What it is cut from.
        start: Where the part begins along each axis; may lie before the values.
        sides: How long it is along each axis; may reach beyond them.
    """
    canvas = np.full((len(values), *sides), np.nan, dtype=np.float32)
    source, where = [slice(None)], [slice(None)]
    for first, length, side in zip(map(int, start), values.shape[1:], map(int, sides), strict=True):
        begin, end = min(max(first, 0), length), max(min(first + side, length), 0)
        source.append(slice(begin, max(begin, end)))
        where.append(slice(max(0, -first), max(0, -first) + max(begin, end) - begin))
    canvas[tuple(where)] = values[tuple(source)]
    return canvas


def _scale_between(low: float, high: float) -> Scale:
    """Grey from the one to the other."""
    return Scale(low, high if high > low else low + max(1.0, abs(low)), cmap="gray")


def plot_lines(values: NDArray[Any], scale: Scale, *, filled: bool = True) -> NDArray[np.uint8]:
    """Channels ``(C, T)`` as lines below each other, the six that move most, in their order; their areas if filled."""
    held = np.asarray(values, dtype=np.float64)
    if len(held) > MOST_LINES:
        strongest = np.argsort(-np.ptp(np.nan_to_num(held), axis=1), kind="stable")[:MOST_LINES]
        held = held[np.sort(strongest)]
    height, width = _line_size(held.shape[1])
    if len(held) == 1:
        return _draw_line(held[0], scale, (height, width), filled=filled)
    size = max(LINE_HIGH, height // len(held)), width
    seam = np.full((SEAM, width, 3), AXIS, dtype=np.uint8)
    rows = [part for one in held for part in (_draw_line(one, scale, size, filled=filled), seam)][:-1]
    return np.concatenate(rows)


def plot_table(
    shares: NDArray[np.float64],
    scale: Scale,
    words: Sequence[Sequence[str]],
    names: tuple[Sequence[str], Sequence[str]],
) -> NDArray[np.uint8]:
    """A heat map ``(R, C)`` without gaps, with words in its cells, and a frame around the largest of each row.

    Args:
        shares: What the colours are of; NaN where there is nothing.
        scale: What they mean.
        words: What stands in each cell.
        names: Of the rows, at their left, and of the columns, above them, upright where they are long.

    Returns:
        ``(h, w, 3)`` RGB, letters of :data:`EM` pixels on white.
    """
    pad, high = EM // 2, 2 * EM
    names = _shorten_names(names[0]), _shorten_names(names[1])
    wide = math.ceil(max(text_width(word, EM) for row in words for word in row)) + 2 * pad
    longest = math.ceil(max(text_width(name, EM) for name in names[1]))
    upright = longest + pad > max(wide, MOST_WIDE)
    wide = wide if upright else max(wide, longest + pad)
    left = math.ceil(max(text_width(name, EM) for name in names[0])) + 2 * pad
    top = longest + 2 * pad if upright else line_height(EM) + pad
    tiles = colourise(shares, scale)
    canvas = Image.new("RGB", (left + wide * shares.shape[1], top + high * shares.shape[0]), PAPER)
    draw = ImageDraw.Draw(canvas)
    for column, name in enumerate(names[1]):
        if upright:
            turned = Image.new("RGB", (longest + pad, line_height(EM)), PAPER)
            _write(ImageDraw.Draw(turned), 0, ascent(EM), name)
            canvas.paste(turned.rotate(90, expand=True), (left + column * wide + (wide - line_height(EM)) // 2, 0))
        else:
            start = left + column * wide + wide / 2 - text_width(name, EM) / 2
            _write(draw, round(start), ascent(EM), name)
    for row, (name, said) in enumerate(zip(names[0], words, strict=True)):
        baseline = top + row * high + (high - line_height(EM)) // 2 + ascent(EM)
        _write(draw, left - pad - round(text_width(name, EM)), baseline, name)
        for column, word in enumerate(said):
            box = (left + column * wide, top + row * high, left + (column + 1) * wide - 1, top + (row + 1) * high - 1)
            ground = tuple(map(int, tiles[row, column]))
            draw.rectangle(box, fill=ground)
            middle = box[0] + round((wide - text_width(word, EM)) / 2)
            _write(draw, middle, baseline, word, PAPER if np.mean(ground) < DARK else INK)
        if np.nanmax(shares[row], initial=0.0) > 0:
            best = left + int(np.nanargmax(shares[row])) * wide
            draw.rectangle(
                (best, top + row * high, best + wide - 1, top + (row + 1) * high - 1), outline=FRAME, width=3
            )
    return np.array(canvas)


def _write(draw: ImageDraw.ImageDraw, left: int, baseline: int, word: str, colour: tuple[int, int, int] = INK) -> None:
    draw_text(draw, (left, baseline), word, EM, fill=colour)


def _shorten_names(names: Sequence[str]) -> list[str]:
    return [(wrap(name, LONGEST, EM, most=1) or ("",))[0] for name in names]


def choose_slices(values: NDArray[Any]) -> list[int]:
    """Slices of values ``(D, H, W)``: all of few, or nine that are evenly spread, one through the largest magnitude."""
    count = len(values)
    if count <= MOST_SLICES:
        return list(range(count))
    most = np.nan_to_num(np.abs(values)).reshape(count, -1).max(axis=1)
    even = np.linspace(0, count - 1, MOST_SLICES).round().astype(int)
    even[np.abs(even - most.argmax()).argmin()] = most.argmax()
    return [int(at) for at in even]


def tile_slices(slices: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Slices ``(h, w, 3)`` of one size in rows, small ones enlarged, with seams between."""
    height, width = slices[0].shape[:2]
    factor = max(1, math.ceil(SMALLEST_SLICE / max(height, width)))
    slices = [each.repeat(factor, axis=0).repeat(factor, axis=1) for each in slices]
    height, width, across = height * factor, width * factor, _count_across(len(slices))
    down = math.ceil(len(slices) / across)
    canvas = np.full(((height + SEAM) * down - SEAM, (width + SEAM) * across - SEAM, 3), 255, dtype=np.uint8)
    for number, each in enumerate(slices):
        top, left = number // across * (height + SEAM), number % across * (width + SEAM)
        canvas[top : top + height, left : left + width] = each
    return canvas


def _count_across(count: int) -> int:
    """How many slices stand beside each other: few in one row, others in a square or nearly."""
    square = math.ceil(math.sqrt(count))
    return count if count <= square + 1 else min((square, square + 1), key=lambda across: -count % across)


def _line_size(length: int) -> tuple[int, int]:
    """Height and width in pixels of the drawing of a line of so many values: a whole number of pixels a value."""
    width = min(WIDEST, length * max(1, math.ceil(NARROWEST / length)))
    return max(LINE_HIGH, round(HIGH * min(width, TALLEST))), width


def _draw_line(
    values: NDArray[np.float64], scale: Scale, size: tuple[int, int], *, filled: bool = True
) -> NDArray[np.uint8]:
    """A line of steps, its area to zero in the colours of the scale; grey where there is no value."""
    height, width = size
    drawn = np.full((height, width, 3), PAPER, dtype=np.uint8)
    low, high = (scale.low, scale.high) if scale.signed or not filled else (min(scale.low, 0.0), scale.high)
    at = np.arange(width) * len(values) // width
    until = np.maximum((np.arange(width) + 1) * len(values) // width, at + 1)
    finite = np.nan_to_num(values, nan=0.0)
    spans = list(zip(at, until, strict=True))
    lows = np.array([finite[first:last].min() for first, last in spans])
    highs = np.array([finite[first:last].max() for first, last in spans])
    strong = np.where(np.abs(highs) >= np.abs(lows), highs, lows)
    colours = _on_paper(colourise(strong[None], scale)[0], strong, scale)
    zero = _row_of(np.zeros(1), low, high, height)[0]
    tops, bottoms = (_row_of(each, low, high, height) for each in (highs, lows))
    rows = np.arange(height)[:, None]
    area = (rows >= np.minimum(tops, zero)) & (rows <= np.maximum(bottoms, zero)) & (strong != 0)
    if filled:
        drawn = np.where(area[..., None], colours[None], drawn).astype(np.uint8)
    if low <= 0 <= high:
        drawn[zero] = AXIS
    ink = (rows >= tops) & (rows <= bottoms)
    before = np.concatenate([bottoms[:1], bottoms[:-1]]), np.concatenate([tops[:1], tops[:-1]])
    ink |= (rows >= np.minimum(tops, before[0])) & (rows <= np.maximum(bottoms, before[1]))
    drawn[cv2.dilate(ink.astype(np.uint8), np.ones((2, 1), np.uint8)) > 0] = INK
    drawn[:, np.isnan(values)[at]] = NO_VALUE
    return np.ascontiguousarray(drawn)


def _on_paper(colours: NDArray[np.uint8], values: NDArray[np.float64], scale: Scale) -> NDArray[np.uint8]:
    """Colours that are seen on white: a signed scale has its own, of others what is near zero is the paper's."""
    if scale.signed:
        return colours
    share = np.clip(np.abs(values) / max(abs(scale.low), abs(scale.high)), 0, 1)[:, None] ** 0.5
    mixed: NDArray[np.uint8] = np.rint(share * colours + (1 - share) * 255).astype(np.uint8)
    return mixed


def _row_of(values: NDArray[np.float64], low: float, high: float, height: int) -> NDArray[np.int64]:
    """Rows of pixels that values lie on, the highest at the top."""
    along = (np.clip(values, low, high) - low) / (high - low)
    return np.asarray(np.rint((1 - along) * (height - 3)) + 1, dtype=np.int64)
