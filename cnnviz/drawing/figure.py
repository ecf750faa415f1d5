"""A sheet as a matplotlib Figure, for PDF and SVG and for whoever wants to go on drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cnnviz.drawing.colour import Scale, colour_bar, ticks
from cnnviz.drawing.raster import PER_INCH, PER_POINT, fit, resize
from cnnviz.drawing.sheet import NOTHING, Box, Cell, Layout, Sheet, Text
from cnnviz.drawing.text import ascent, current_style, line_height
from cnnviz.errors import ParameterError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figure"]

_BAR_LEVELS = 256
_INK, _FAINT, _HAIRLINE = "#202020", "#686868", "#d0d0d0"
_HARD_SIDE = 256


def figure(
    sheet: Sheet, *, width: float = 7.0, ax: Axes | None = None, dpi: float = 200.0, size: float | None = None
) -> Figure:
    """Draw a sheet as a matplotlib Figure.

    Args:
        sheet: What to draw.
        width: The figure's width in inches; less for a single picture higher than wide, more where the words of many
            columns need it.
        ax: Draw a sheet of one cell into these axes instead.
        dpi: Dots an inch when the figure becomes pixels.
        size: Of the ordinary text, in points; as little as 5.5 in narrow columns. Default: that of ``style``.

    Returns:
        A new figure, high enough for everything on the sheet, or the one that ``ax`` belongs to.

    Raises:
        ParameterError: ``ax`` is given and the sheet has more than one cell, or width or size is not above 0.
    """
    if ax is not None:
        return _draw_into_axes(sheet, ax, current_style().size if size is None else size)
    from matplotlib.figure import Figure

    layout = fit(sheet, width, size)
    drawn = Figure(figsize=(layout.width / PER_INCH, layout.height / PER_INCH), dpi=dpi, facecolor="white")
    for cell, box in layout.pictures:
        _add_picture(_add_axes(drawn, layout, box), cell, box, outlined=layout.outlined and not cell.paper)
    for bar in layout.bars:
        _fill_bar(_add_axes(drawn, layout, bar.box), bar.scale, bar.numbers, bar.size / PER_POINT)
    for text in layout.texts:
        _draw_text(drawn, layout, text)
    return drawn


def _add_axes(drawn: Figure, layout: Layout, box: Box) -> Axes:
    left, bottom = box.left / layout.width, 1 - (box.top + box.height) / layout.height
    return drawn.add_axes((left, bottom, box.width / layout.width, box.height / layout.height))


def _add_picture(axes: Axes, cell: Cell, box: Box, *, outlined: bool) -> None:
    """Photographs at most as fine as print needs."""
    pixels = resize(cell.pixels, (box.height, box.width)) if cell.size[0] > box.height else _enlarge(cell.pixels)
    axes.imshow(pixels, aspect="auto", interpolation="auto", origin="upper")
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set(visible=outlined, linewidth=0.4, color=_HAIRLINE)


def _enlarge(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Small maps with each value as many pixels, because viewers of PDF and SVG smooth what they enlarge."""
    height, width = pixels.shape[:2]
    factor = max(1, _HARD_SIDE // max(height, width))
    return resize(pixels, (height * factor, width * factor))


def _fill_bar(axes: Axes, scale: Scale, numbers: tuple[tuple[float, str], ...], size: float) -> None:
    """A picture of the colours and not matplotlib's 256 patches, between which viewers of PDF show white lines."""
    axes.imshow(colour_bar(scale, _BAR_LEVELS // 16, _BAR_LEVELS), aspect="auto", extent=(0, 1, 0, 1))
    axes.set_xticks([share for share, _ in numbers], labels=[text for _, text in numbers])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.tick_params(length=0, pad=1.5, labelsize=size, labelcolor=_INK, labelfontfamily=current_style().font)
    axes.spines[:].set_visible(False)
    labels = axes.get_xticklabels()
    labels[0].set_horizontalalignment("left")
    labels[-1].set_horizontalalignment("right")


def _draw_text(drawn: Figure, layout: Layout, text: Text) -> None:
    for index, line in enumerate(text.lines):
        baseline = text.top + index * line_height(text.size) + ascent(text.size)
        drawn.text(
            text.x / layout.width,
            1 - baseline / layout.height,
            line,
            fontsize=text.size / PER_POINT,
            fontfamily=current_style().font,
            fontweight="bold" if text.bold else "normal",
            color=_FAINT if text.faint else _INK,
            ha={"left": "left", "centre": "center", "right": "right"}[text.align],
            va="baseline",
            parse_math=False,
        )


def _draw_into_axes(sheet: Sheet, axes: Axes, size: float) -> Figure:
    cell = sheet.only
    if cell is None:
        raise ParameterError(f"One axes holds one cell, and this sheet has {sheet.shape[0]} x {sheet.shape[1]}.")
    axes.imshow(_enlarge(cell.pixels), interpolation="auto", origin="upper")
    axes.set_axis_off()
    words = [sheet.title, *sheet.row_headings, *sheet.column_headings, cell.caption]
    axes.set_title("\n".join(filter(None, words)), fontsize=size, parse_math=False)
    if cell.scale and cell.scale.blank:
        axes.text(0.5, -0.03, NOTHING, transform=axes.transAxes, fontsize=size, color=_FAINT, ha="center", va="top")
    elif cell.scale:
        numbers = tuple(zip((0.0, 0.5, 1.0), (text for _, text in ticks(cell.scale)), strict=True))
        _fill_bar(axes.inset_axes((0, -0.07, 1, 0.04)), cell.scale, numbers, size)
    return axes.figure.figure
