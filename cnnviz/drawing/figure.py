"""Grid, which is pictures in rows and columns; and a sheet as a matplotlib Figure, for PDF and SVG."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnviz.drawing.colour import Scale, colour_bar, ticks
from cnnviz.drawing.files import (
    FIGURE_SUFFIXES,
    PICTURE_SUFFIXES,
    ensure_writable,
    steady_settings,
    write_figure,
    write_pixels,
)
from cnnviz.drawing.fonts.families import complete
from cnnviz.drawing.fonts.lines import check_matplotlib
from cnnviz.drawing.layout import NOTHING, Box, Layout, Text
from cnnviz.drawing.paper import PER_INCH, PER_POINT, Paper, fit
from cnnviz.drawing.raster import montage, paint_layout, resize
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.drawing.text import ascent, current_style, families, line_height
from cnnviz.errors import ParameterError, UnknownNameError
from cnnviz.provenance import Provenance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text as MatplotlibText

__all__ = ["DRAWN_SUFFIXES", "Grid", "figure"]

SMALLEST_CELL, LARGEST_CELL, WIDEST = 320, 800, 3600
USUAL_WIDTH: Final = 7.0
DRAWN_SUFFIXES: Final = (*PICTURE_SUFFIXES, *FIGURE_SUFFIXES)
ON_SCREEN = 200

_BAR_LEVELS = 256
_INK, _FAINT, _HAIRLINE = "#202020", "#686868", "#d0d0d0"
_HARD_SIDE = 256


def figure(
    sheet: Sheet,
    *,
    width: float = USUAL_WIDTH,
    ax: Axes | None = None,
    dpi: int | None = None,
    size: float | None = None,
    font: str | None = None,
) -> Figure:
    """Draw a sheet as a matplotlib Figure.

    Args:
        sheet: What to draw.
        width: The figure's width in inches.
        ax: Draw a sheet of one cell into these axes instead.
        dpi: Pixels an inch, of its pictures and when it becomes pixels. Default: 300 and 200.
        size: Of the ordinary text, in points; as little as 5.5 in narrow columns. Default: that of ``style``, and in
            given axes those of matplotlib's ``rcParams``.
        font: The family of words in given axes. Default: that of ``rcParams``.

    Returns:
        A new figure, high enough for everything on the sheet, or the one that ``ax`` belongs to.

    Raises:
        ParameterError: ``ax`` is given and the sheet has more than one cell, or width or size is not above 0.
    """
    if ax is not None:
        return _draw_into_axes(sheet, ax, {"family": font, "size": size})
    from matplotlib.figure import Figure

    layout = fit(sheet, width, size)
    drawn = Figure(figsize=(layout.width / PER_INCH, layout.height / PER_INCH), dpi=dpi or ON_SCREEN, facecolor="white")
    for cell, box in layout.pictures:
        finest = round(box.height * (dpi or PER_INCH) / PER_INCH), round(box.width * (dpi or PER_INCH) / PER_INCH)
        _add_picture(_add_axes(drawn, layout, box), cell, finest, outlined=layout.outlined and not cell.paper)
    for bar in layout.bars:
        axes = _add_axes(drawn, layout, bar.box)
        axes.tick_params(labelsize=bar.size / PER_POINT, labelcolor=_INK, labelfontfamily=current_style().font)
        _fill_bar(axes, bar.scale, bar.numbers)
    for text in layout.texts:
        _draw_text(drawn, layout, text)
    return drawn


def _add_axes(drawn: Figure, layout: Layout, box: Box) -> Axes:
    left, bottom = box.left / layout.width, 1 - (box.top + box.height) / layout.height
    return drawn.add_axes((left, bottom, box.width / layout.width, box.height / layout.height))


def _add_picture(axes: Axes, cell: Cell, finest: tuple[int, int], *, outlined: bool) -> None:
    """Photographs at most as fine as print needs."""
    pixels = resize(cell.pixels, finest) if cell.size[0] > finest[0] else _enlarge(cell.pixels)
    axes.imshow(pixels, aspect="auto", interpolation="auto", origin="upper")
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set(visible=outlined, linewidth=0.4, color=_HAIRLINE)


def _enlarge(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Small maps with each value as many pixels, because viewers of PDF and SVG smooth what they enlarge."""
    height, width = pixels.shape[:2]
    factor = max(1, _HARD_SIDE // max(height, width))
    return resize(pixels, (height * factor, width * factor))


def _fill_bar(axes: Axes, scale: Scale, numbers: tuple[tuple[float, str], ...]) -> None:
    """A picture of the colours and not matplotlib's 256 patches, between which viewers of PDF show white lines."""
    axes.imshow(colour_bar(scale, _BAR_LEVELS // 16, _BAR_LEVELS), aspect="auto", extent=(0, 1, 0, 1))
    axes.set_xticks([share for share, _ in numbers], labels=[text for _, text in numbers])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.tick_params(length=0, pad=1.5)
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
            fontfamily=families(line),
            fontweight="bold" if text.bold else "normal",
            color=_FAINT if text.faint else _INK,
            ha={"left": "left", "centre": "center", "right": "right"}[text.align],
            va="baseline",
            parse_math=False,
        )


def _draw_into_axes(sheet: Sheet, axes: Axes, words: Mapping[str, Any]) -> Figure:
    """A sheet's one cell in axes of the user's, whose fonts, sizes and colours hold where no others are named."""
    cell = sheet.only
    if cell is None:
        raise ParameterError(f"One axes holds one cell, and this sheet has {sheet.shape[0]} x {sheet.shape[1]}.")
    named = {name: value for name, value in words.items() if value is not None}
    axes.imshow(_enlarge(cell.pixels), origin="upper")
    axes.set_axis_off()
    lines = [sheet.title, *sheet.row_headings, *sheet.column_headings, cell.caption]
    _complete(axes.set_title("\n".join(filter(None, lines)), parse_math=False, **named))
    if cell.scale and cell.scale.blank:
        from matplotlib import rcParams

        like = {"size": rcParams["xtick.labelsize"], **named}
        axes.text(0.5, -0.03, NOTHING, transform=axes.transAxes, ha="center", va="top", **like)
    elif cell.scale:
        _add_bar_below(axes, cell.scale, named)
    return axes.figure.figure


def _add_bar_below(axes: Axes, scale: Scale, named: Mapping[str, Any]) -> None:
    """A colour bar whose numbers are set as those of axes are."""
    bar = axes.inset_axes((0, -0.07, 1, 0.04))
    bar.tick_params(**{{"size": "labelsize", "family": "labelfontfamily"}[name]: named[name] for name in named})
    _fill_bar(bar, scale, tuple(zip((0.0, 0.5, 1.0), (text for _, text in ticks(scale)), strict=True)))
    _complete(bar.set_xlabel(scale.measures, parse_math=False, **named))


def _complete(text: MatplotlibText) -> None:
    """Let other fonts draw what those of a text lack."""
    check_matplotlib(text.get_text())
    words, families = complete(text.get_fontfamily(), text.get_text())
    text.set_text(words)
    text.set_fontfamily(list(families))


@dataclass(frozen=True, eq=False)
class Grid:
    """Rows x columns of pictures with headings and captions.

    Attributes:
        sheet: The cells and the words around them.
        provenance: How they were made; written into every file.
        cell: Longer side of a cell in pixels where no other is asked for; None fits the pictures.
    """

    sheet: Sheet
    provenance: Provenance = field(default_factory=Provenance, repr=False)
    cell: int | None = field(default=None, repr=False)

    def pixels(self, cell: int | None = None, **paper: Any) -> NDArray[np.uint8]:
        """The montage ``(H, W, 3)`` uint8.

        Args:
            cell: Longer side of a cell in pixels; None fits the pictures (320 to 800), and leaves a bare one as it is.
            **paper: How it is set on paper, as :class:`Paper` has it: ``width`` (or ``columns``) instead of ``cell``.

        Raises:
            ParameterError: If a size is given in two ways, or a value is none.
        """
        return self._paint(cell, _read_paper(paper, cell))

    def layout(self, **paper: Any) -> Layout:
        """Where everything goes on paper.

        Args:
            **paper: As :meth:`pixels` takes it.
        """
        how = _read_paper(paper, None)
        with how.lettering():
            return fit(how.apply(self.sheet), how.inches or USUAL_WIDTH, dpi=how.dpi or PER_INCH)

    def plot(self, ax: Axes | None = None, **paper: Any) -> Figure:
        """A matplotlib figure, or one cell drawn into given axes.

        Args:
            ax: Axes to draw a one-cell grid into; words in them are set as matplotlib's ``rcParams`` say, but for a
                ``font`` and ``font_size`` that are given here.
            **paper: How it is set on paper, as :class:`Paper` has it: ``width`` in inches, 7 if left out.
        """
        return self._figure(ax, _read_paper(paper, None))

    def save(self, path: str | os.PathLike[str], *, cell: int | None = None, **paper: Any) -> Path:
        """Write the grid; the suffix decides: .png, .jpg, .webp as exact pixels, .svg, .pdf as a figure.

        Args:
            path: Where to; an existing file is replaced.
            cell: Longer side of a cell in pixels.
            **paper: How it is set on paper, as :class:`Paper` has it: ``width`` in inches (or ``columns`` of a paper),
                7 for a figure if left out, and ``dpi`` pixels each for a picture if given; ``font``, ``font_size``,
                ``notes``, ``title``, ``rename``.

        Returns:
            The path.

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
            ParameterError: As :meth:`pixels` raises it.
        """
        where, how = Path(path), _read_paper(paper, cell)
        ensure_writable(where, force=True, suffixes=DRAWN_SUFFIXES)
        sized = {} if cell is None else {"cell": cell}
        note = self.provenance.drawn(format=where.suffix.lower()[1:], **sized, **how.describe()).to_json()
        if where.suffix.lower() in FIGURE_SUFFIXES:
            with steady_settings(), how.lettering():
                write_figure(where, self._figure(None, how), note)
        else:
            write_pixels(where, self._paint(cell, how), note)
        return where

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.pixels(), dtype=dtype)

    def _repr_png_(self) -> bytes:
        held = io.BytesIO()
        Image.fromarray(self.pixels()).save(held, "PNG")
        return held.getvalue()

    def _paint(self, cell: int | None, paper: Paper) -> NDArray[np.uint8]:
        sheet = paper.apply(self.sheet)
        with paper.lettering():
            if paper.inches is not None or (cell is None and (paper.dpi or paper.font_size)):
                return paint_layout(fit(sheet, paper.inches or USUAL_WIDTH, dpi=paper.dpi or PER_INCH))
            return montage(sheet, cell=cell if cell is not None else self._usual_cell(sheet))

    def _figure(self, ax: Axes | None, paper: Paper) -> Figure:
        with paper.lettering():
            sheet, width = paper.apply(self.sheet), paper.inches or USUAL_WIDTH
            return figure(sheet, ax=ax, width=width, dpi=paper.dpi, size=paper.font_size, font=paper.font)

    def _usual_cell(self, sheet: Sheet) -> int | None:
        """Longer side of a cell in pixels, where nothing is asked for; None leaves the pictures as they are."""
        if self.cell is not None or sheet.bare:
            return self.cell
        longest = max(max(cell.size) for row in sheet.rows for cell in row if cell)
        if any(cell.paper for row in sheet.rows for cell in row if cell):
            return max(SMALLEST_CELL, min(longest, WIDEST // sheet.shape[1]))
        return max(SMALLEST_CELL, min(longest, LARGEST_CELL, WIDEST // sheet.shape[1]))


def _read_paper(options: Mapping[str, Any], cell: int | None) -> Paper:
    """The paper that options name; a cell's size excludes a width."""
    paper, others = Paper.split(options)
    if others:
        raise UnknownNameError("option of a figure", next(iter(others)), [each.name for each in fields(Paper)])
    if cell is not None and paper.inches is not None:
        raise ParameterError("A picture's size is given by cell or by width, not by both.")
    return paper
