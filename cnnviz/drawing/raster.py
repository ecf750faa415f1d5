"""A sheet as one picture, pixel for pixel."""

from __future__ import annotations

import math
import statistics

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cnnviz.drawing.colour import colour_bar
from cnnviz.drawing.layout import Layout, ScaleBar, Style, Text
from cnnviz.drawing.paper import fit_size
from cnnviz.drawing.sheet import Sheet, lay_out
from cnnviz.drawing.text import ascent, draw_text, line_height, text_width
from cnnviz.errors import ParameterError

__all__ = ["montage", "paint_layout", "resize"]

_TINY = 64
_LIGHT = (255, 255, 255), (32, 32, 32), (104, 104, 104)
_HAIRLINE = (208, 208, 208)
_DARK = (18, 18, 18), (232, 232, 232), (160, 160, 160)


def montage(sheet: Sheet, *, cell: int | None = None, gap: int = 8, dark: bool = False) -> NDArray[np.uint8]:
    """Draw a sheet as one picture.

    A sheet of nothing but pictures has no margin, so that a single one comes back exactly as it is.

    Args:
        sheet: What to draw.
        cell: Scale every picture so that its longer side has so many pixels; small maps (up to 64 pixels) keep hard
            pixels. None draws each at its own size.
        gap: Pixels between cells; where there are words, at least two thirds of a letter's height.
        dark: Light words on black instead of dark words on white.

    Returns:
        ``(H, W, 3)`` uint8, RGB.

    Raises:
        ParameterError: cell is below 1 or gap below 0.
    """
    if cell is not None and cell < 1:
        raise ParameterError(f"cell is a number of pixels from 1, not {cell}.")
    if gap < 0:
        raise ParameterError(f"gap is a number of pixels from 0, not {gap}.")
    sizes = [[fit_size(each.size, cell) if each else (0, 0) for each in row] for row in sheet.rows]
    layout = lay_out(sheet, sizes, _style(sheet, sizes, gap))
    return paint_layout(layout, dark=dark)


def resize(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Pixels at another height and width: small maps keep hard pixels when enlarged, all else is resampled finely."""
    if pixels.shape[:2] == size:
        return pixels
    hard = max(pixels.shape[:2]) <= _TINY and size[0] >= pixels.shape[0]
    way = Image.Resampling.NEAREST if hard else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), way))


def _style(sheet: Sheet, sizes: list[list[tuple[int, int]]], gap: int) -> Style:
    """Letters that suit the cells and are still legible when the whole montage is as wide as a page."""
    widths = [max(column[1] for column in columns) for columns in zip(*sizes, strict=True)]
    typical = statistics.median(widths)
    wanted = max(0.95 * math.sqrt(typical), sum(widths) / 90)
    em = max(9, round(min(wanted, typical / 11)))
    return Style(em=em, gap=gap) if sheet.bare else Style(em=em, gap=max(gap, round(em * 2 / 3)), margin=max(gap, em))


def paint_layout(layout: Layout, *, dark: bool = False) -> NDArray[np.uint8]:
    """A layout as pixels ``(H, W, 3)`` uint8, exactly as large as it says."""
    paper, ink, faint = _DARK if dark else _LIGHT
    canvas = Image.new("RGB", (layout.width, layout.height), paper)
    draw = ImageDraw.Draw(canvas)
    for cell, box in layout.pictures:
        if layout.outlined and not dark and not cell.paper:
            draw.rectangle((box.left - 1, box.top - 1, box.left + box.width, box.top + box.height), outline=_HAIRLINE)
        canvas.paste(Image.fromarray(resize(cell.pixels, (box.height, box.width))), (box.left, box.top))
    for bar in layout.bars:
        _paint_bar(canvas, draw, bar, ink)
    for text in layout.texts:
        _paint_text(draw, text, faint if text.faint else ink)
    return np.array(canvas)


def _paint_bar(canvas: Image.Image, draw: ImageDraw.ImageDraw, bar: ScaleBar, ink: tuple[int, int, int]) -> None:
    box = bar.box
    canvas.paste(Image.fromarray(colour_bar(bar.scale, box.height, box.width)), (box.left, box.top))
    baseline = box.top + box.height + ascent(bar.size)
    for share, number in bar.numbers:
        left = box.left + share * (box.width - text_width(number, bar.size))
        draw_text(draw, (round(left), baseline), number, bar.size, fill=ink)


def _paint_text(draw: ImageDraw.ImageDraw, text: Text, colour: tuple[int, int, int]) -> None:
    before = {"left": 0.0, "centre": 0.5, "right": 1.0}[text.align]
    for index, line in enumerate(text.lines):
        left = text.x - before * text_width(line, text.size, bold=text.bold)
        baseline = text.top + index * line_height(text.size) + ascent(text.size)
        draw_text(draw, (round(left), baseline), line, text.size, fill=colour, bold=text.bold)
