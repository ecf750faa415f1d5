"""Sheet: pictures in rows and columns with words around them, and its layout, where everything on it goes.

A layout is in whole pixels; a montage and a figure are two ways of drawing the same one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnviz.drawing.colour import Scale, colour_bar, ticks
from cnnviz.drawing.layout import (
    NOTHING,
    Box,
    Layout,
    ScaleBar,
    Style,
    Text,
    add_faint,
    bar_reach,
    fits_middle,
    short_notes,
)
from cnnviz.drawing.text import line_height, text_width, widest_piece, wrap
from cnnviz.errors import ParameterError

__all__ = [
    "SheetBlock",
    "Cell",
    "Sheet",
    "Shown",
    "check_pixels",
    "lay_out",
    "lay_out_blocks",
    "legend",
    "sheet_width",
]

Shown: TypeAlias = Literal["short", "full", "none"]


def check_pixels(pixels: NDArray[np.uint8], what: str) -> None:
    """Refuse what are no pixels ``(h, w, 3)`` uint8.

    Args:
        pixels: What is given for them.
        what: Whose pixels they are.

    Raises:
        ParameterError: The pixels have another shape or type, or there are none.
    """
    shape, kind = pixels.shape, pixels.dtype
    if len(shape) != 3 or shape[2] != 3 or 0 in shape or kind != np.uint8:
        raise ParameterError(f"{what} pixels are uint8 of shape (h, w, 3), not {kind} of shape {shape}.")


@dataclass(frozen=True, eq=False)
class Cell:
    """One picture of a sheet.

    Attributes:
        pixels: ``(h, w, 3)`` uint8, RGB.
        caption: Drawn below the picture; may have several lines.
        scale: What the colours mean; when given, a colour bar with numbers is drawn below the picture.
        note: Drawn small below the caption; may have several lines.
        paper: Whether it is drawn on white paper of its own, and needs no outline there.

    Raises:
        ParameterError: The pixels have another shape or type, or there are none.
    """

    pixels: NDArray[np.uint8] = field(repr=False)
    caption: str = ""
    scale: Scale | None = None
    note: str = ""
    paper: bool = False

    def __post_init__(self) -> None:
        check_pixels(self.pixels, "A cell's")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.pixels.shape[0]), int(self.pixels.shape[1])


@dataclass(frozen=True, eq=False)
class Sheet:
    """Cells in rows and columns.

    Attributes:
        rows: The cells; None leaves a place empty, and shorter rows are filled up with None.
        row_headings: None at all, or one a row.
        column_headings: None at all, or one a column.
        title: Drawn above everything.
        notes: Small lines under the grid: what changes how it must be read.
        details: What else there is to say; drawn below the notes only where all of it is asked for.
        lead: How many of the first columns, such as that of the photographs, stand before the other columns again where
            these go on further below because the paper is narrow.
        shown: ``"short"``: the notes in few lines; ``"full"``: notes and details, whole; ``"none"``: neither.

    Raises:
        ParameterError: There is no cell, or not one heading a row (column).
    """

    rows: tuple[tuple[Cell | None, ...], ...]
    row_headings: tuple[str, ...] = ()
    column_headings: tuple[str, ...] = ()
    title: str = ""
    notes: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    lead: int = 0
    shown: Shown = "short"

    def __post_init__(self) -> None:
        columns = max((len(row) for row in self.rows), default=0)
        rows = tuple(tuple(row) + (None,) * (columns - len(row)) for row in self.rows)
        object.__setattr__(self, "rows", rows)
        if all(cell is None for row in rows for cell in row):
            raise ParameterError("A sheet needs at least one picture.")
        for what, headings, count in (
            ("row", self.row_headings, len(rows)),
            ("column", self.column_headings, columns),
        ):
            if headings and len(headings) != count:
                raise ParameterError(f"A sheet of {count} {what}s cannot have {len(headings)} {what} headings.")

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return len(self.rows), len(self.rows[0])

    @property
    def said(self) -> tuple[str, ...]:
        """The notes that are drawn, each whole."""
        return {"none": (), "short": self.notes, "full": (*self.notes, *self.details)}[self.shown]

    @property
    def bare(self) -> bool:
        """Whether there is nothing but pictures: no words and no colour bars."""
        cells = [cell for row in self.rows for cell in row if cell]
        words = [
            *self.row_headings,
            *self.column_headings,
            self.title,
            *self.said,
            *(cell.caption + cell.note for cell in cells),
        ]
        return not any(words) and all(cell.scale is None for cell in cells)

    @property
    def only(self) -> Cell | None:
        """The one cell of a sheet of one place; None when there are more."""
        return self.rows[0][0] if self.shape == (1, 1) else None


THICK: Final = 16


def legend(scale: Scale) -> Cell:
    """A bar with the values at its ends, and how many values are clipped to them.

    Args:
        scale: What the colours mean.
    """
    (_, low), _, (_, high) = ticks(scale)
    words = "nothing but zero" if scale.blank else f"\N{PLUS-MINUS SIGN}{high}" if scale.signed else f"{low} to {high}"
    clipped = f"{scale.clipped:.1%} clipped" if scale.clipped else ""
    caption = "\n".join(filter(None, (words, clipped, scale.measures)))
    return Cell(colour_bar(scale, THICK, 8 * THICK), caption)


_PALE = 235
_HEADING_EMS = 9
_CAPTION_EMS = 7
MOST_CAPTION_LINES = 5
_ALL_LINES = 40


Sizes = Sequence[Sequence[tuple[int, int]]]


class SheetBlock(NamedTuple):
    """Some columns of a sheet, and of every place's picture the height and width; (0, 0) where there is none."""

    sheet: Sheet
    sizes: Sizes


def sheet_width(blocks: Sequence[SheetBlock], style: Style, *, common: bool = False) -> int:
    """How wide blocks below each other are.

    Args:
        blocks: Of as many columns each.
        style: Sizes of text, gaps and margins.
        common: Whether no picture has a bar of its own.
    """
    last = _columns(blocks, style, common=common)[-1]
    return last.left + last.width + style.margin


def lay_out(sheet: Sheet, sizes: Sizes, style: Style) -> Layout:
    """Put everything in its place, as wide as it needs to be.

    Args:
        sheet: What is drawn.
        sizes: Height and width of every place's picture, row by row; (0, 0) where there is none.
        style: Sizes of text, gaps and margins.
    """
    return lay_out_blocks(sheet, (SheetBlock(sheet, sizes),), style)


def lay_out_blocks(
    sheet: Sheet,
    blocks: Sequence[SheetBlock],
    style: Style,
    *,
    width: int | None = None,
    bars: Sequence[tuple[ScaleBar, str]] = (),
) -> Layout:
    """Put everything in its place, some columns below others.

    Args:
        sheet: What is drawn: its title and notes.
        blocks: Its columns, as many in each block.
        style: Sizes of text, gaps and margins.
        width: Of the whole; the blocks stand in its middle. Left out, as wide as they are.
        bars: Colour bars that hold for several pictures, with what they measure; drawn below the blocks, and no picture
            has one of its own then.
    """
    common = bool(bars)
    natural = sheet_width(blocks, style, common=common)
    shift = 0 if width is None else (width - natural) // 2
    columns = [column._replace(left=column.left + shift) for column in _columns(blocks, style, common=common)]
    layout = Layout(natural if width is None else width, outlined=style.margin > 0 and _pale(sheet))
    top = _add_title(layout, sheet, style)
    layout.worded, alike = _worded(blocks, common=common)
    layout.numbered = all(fits_middle(scale, column.width, style) for scale, column in _barred(blocks, columns, common))
    for index, block in enumerate(blocks):
        top = _add_block(layout, block, columns, top + (2 * style.gap if index else 0), style, common=common)
    for bar, measures in bars:
        top = _add_common_bar(layout, bar, measures, top + style.em, style)
    if alike:
        top = add_faint(layout, alike, Box(0, top + style.em // 2, layout.width, 0), style.small)
    layout.height = _add_notes(layout, sheet, top, style) + style.margin
    return layout


def _add_block(
    layout: Layout, block: SheetBlock, columns: list[_Column], top: int, style: Style, *, common: bool
) -> int:
    sheet, sizes = block
    top = _add_column_headings(layout, sheet, columns, top, style)
    worded = any(cell and (cell.caption or cell.note or cell.scale) for row in sheet.rows for cell in row)
    for index, row in enumerate(sheet.rows):
        if index:
            top += style.gap + (style.em // 2 if worded else 0)
        heading = _wrap_row_heading(sheet.row_headings[index], style) if sheet.row_headings else ()
        height = max(len(heading) * line_height(style.em), *(height for height, _ in sizes[index]))
        if heading:
            _add_row_heading(layout, heading, columns[0].left, top + height // 2, style)
        slots = [Box(column.left, top, column.width, height) for column in columns]
        top = _add_row(layout, row, sizes[index], slots, style, common=common)
    return top


def _worded(blocks: Sequence[SheetBlock], *, common: bool) -> tuple[frozenset[Cell], str]:
    """Below which cells' bars it stands what they measure; or the words that are said once, as they hold for all bars.

    The last bar of a column, or else of a row, says it where all of the column or row measure the same.
    """
    columns = [line for sheet, _ in blocks for line in _measured(zip(*sheet.rows, strict=True))]
    rows = [line for sheet, _ in blocks for line in _measured(sheet.rows)]
    every = {words for line in rows for _, words in line}
    if common or (len(every) == 1 and len(columns) > 1 and any(every)):
        return frozenset(), "" if common else f"Colours: {every.pop()}"
    lines = columns if all(map(_alike, columns)) else rows
    return frozenset(cell for line in lines for cell, _ in (line[-1:] if _alike(line) else line)), ""


def _measured(lines: Iterable[Sequence[Cell | None]]) -> Iterator[list[tuple[Cell, str]]]:
    """Of every line the cells with a bar, and what these measure."""
    for line in lines:
        found = [(cell, cell.scale.measures) for cell in line if cell and cell.scale and not cell.scale.blank]
        if found:
            yield found


def _alike(line: Sequence[tuple[Cell, str]]) -> bool:
    return len({words for _, words in line}) == 1


def _barred(blocks: Sequence[SheetBlock], columns: list[_Column], common: bool) -> Iterator[tuple[Scale, _Column]]:
    """The scales that have a bar with numbers of their own, each with its column."""
    if common:
        return
    for block in blocks:
        for row in block.sheet.rows:
            for cell, column in zip(row, columns, strict=True):
                if cell and cell.scale and not cell.scale.blank:
                    yield cell.scale, column


def _pale(sheet: Sheet) -> bool:
    """Whether some picture's edge could not be told from white paper."""
    pictures = [cell.pixels for row in sheet.rows for cell in row if cell and not cell.paper]
    return any(min(np.median(each[0]), np.median(each[-1])) >= _PALE for each in pictures)


class _Column(NamedTuple):
    left: int
    width: int


def _wrap_row_heading(text: str, style: Style) -> tuple[str, ...]:
    return wrap(text, _HEADING_EMS * style.em, style.em, most=MOST_CAPTION_LINES)


def _indent(sheet: Sheet, style: Style) -> int:
    """Where the first column starts: after the margin and the row headings."""
    lines = [line for text in sheet.row_headings for line in _wrap_row_heading(text, style)]
    widest = max((text_width(line, style.em) for line in lines), default=0)
    return style.margin + (math.ceil(widest) + max(style.gap, style.em // 2) if widest else 0)


def _columns(blocks: Sequence[SheetBlock], style: Style, *, common: bool) -> list[_Column]:
    """Each as wide as its widest picture; where there are words, wide enough for them and a bar's numbers."""
    least = 0 if all(block.sheet.bare for block in blocks) else 4 * style.em
    columns = []
    left = max(_indent(block.sheet, style) for block in blocks)
    for place in range(blocks[0].sheet.shape[1]):
        width = least
        for sheet, sizes in blocks:
            cells = [row[place] for row in sheet.rows]
            words = [_words_reach(cell, style, common=common) for cell in cells if cell]
            heading = sheet.column_headings[place] if sheet.column_headings else ""
            named = min(widest_piece(heading, style.em), _HEADING_EMS * style.em) - style.gap + style.em // 3
            width = max(width, math.ceil(named), *words, *(row[place][1] for row in sizes))
        columns.append(_Column(left, width))
        left += width + style.gap
    return columns


def _words_reach(cell: Cell, style: Style, *, common: bool) -> int:
    """How wide a column has to be for the words and the numbers below a picture."""
    bar = bar_reach(cell.scale, style) if cell.scale and not common else 0
    measures = cell.scale.measures if cell.scale and not cell.scale.blank and not common else ""
    widest = max(widest_piece(cell.caption, style.em), widest_piece(measures, style.small))
    return max(bar, math.ceil(min(widest, _CAPTION_EMS * style.em)))


def _add_title(layout: Layout, sheet: Sheet, style: Style) -> int:
    room = layout.width - 2 * style.margin
    lines = wrap(sheet.title, room, style.large, bold=True)
    if not lines:
        return style.margin
    layout.texts.append(Text(style.margin, style.margin, lines, style.large, bold=True))
    return style.margin + len(lines) * line_height(style.large) + style.em // 2


def _add_column_headings(layout: Layout, sheet: Sheet, columns: list[_Column], top: int, style: Style) -> int:
    headings = [
        wrap(text, column.width + style.gap - style.em // 3, style.em)
        for text, column in zip(sheet.column_headings, columns, strict=False)
    ]
    most = max((len(lines) for lines in headings), default=0)
    for lines, column in zip(headings, columns, strict=False):
        start = top + (most - len(lines)) * line_height(style.em)
        layout.texts.append(Text(column.left + column.width // 2, start, lines, style.em, align="centre"))
    return top + most * line_height(style.em) + (style.pad if most else 0)


def _add_row_heading(layout: Layout, lines: tuple[str, ...], right: int, middle: int, style: Style) -> None:
    top = middle - len(lines) * line_height(style.em) // 2
    layout.texts.append(Text(right - max(style.gap, style.em // 2), top, lines, style.em, align="right"))


def _add_row(
    layout: Layout,
    row: Sequence[Cell | None],
    sizes: Sequence[tuple[int, int]],
    slots: list[Box],
    style: Style,
    *,
    common: bool,
) -> int:
    """One row of pictures, below each its colour bar and its caption; returns where the row ends."""
    below = slots[0].top + slots[0].height
    ends = [below]
    for cell, (height, width), slot in zip(row, sizes, slots, strict=True):
        if cell is None:
            continue
        left = slot.left + (slot.width - width) // 2
        layout.pictures.append((cell, Box(left, below - height, width, height)))
        end = below
        if cell.scale and (not common or cell.scale.blank):
            reach = max(width, bar_reach(cell.scale, style))
            box = Box(slot.left + (slot.width - reach) // 2, below + style.pad, reach, style.bar)
            end = _add_bar(layout, cell.scale, box, style)
            said = cell.scale.measures if cell in layout.worded else ""
            end = add_faint(layout, said, slot._replace(top=end), style.small)
        for words, size, faint in ((cell.caption, style.em, False), (cell.note, style.small, True)):
            lines = wrap(words, slot.width, size, most=MOST_CAPTION_LINES)
            if lines:
                middle, start = slot.left + slot.width // 2, end + style.pad // 2
                layout.texts.append(Text(middle, start, lines, size, "centre", faint=faint))
                end = start + len(lines) * line_height(size)
        ends.append(end)
    return max(ends)


def _add_bar(layout: Layout, scale: Scale, box: Box, style: Style) -> int:
    if scale.blank:
        lines = wrap(NOTHING, box.width, style.small)
        layout.texts.append(Text(box.left + box.width // 2, box.top, lines, style.small, "centre", faint=True))
        return box.top + box.height + len(lines) * line_height(style.small)
    numbers = tuple(((value - scale.low) / (scale.high - scale.low), text) for value, text in ticks(scale))
    layout.bars.append(ScaleBar(box, scale, style.small, numbers if layout.numbered else (numbers[0], numbers[2])))
    return box.top + box.height + line_height(style.small)


def _add_common_bar(layout: Layout, bar: ScaleBar, measures: str, top: int, style: Style) -> int:
    """A bar for several pictures in the middle of the sheet; returns where it and its words end."""
    box = bar.box._replace(left=(layout.width - bar.box.width) // 2, top=top)
    layout.bars.append(replace(bar, box=box))
    end = top + box.height + line_height(bar.size)
    return add_faint(layout, measures, Box(style.margin, end, layout.width - 2 * style.margin, 0), style.small)


def _add_notes(layout: Layout, sheet: Sheet, top: int, style: Style) -> int:
    room = layout.width - 2 * style.margin
    if sheet.shown == "full":
        lines = tuple(line for note in sheet.said for line in wrap(note, room, style.small, most=_ALL_LINES))
    else:
        lines = short_notes(sheet.said, room, top + style.em + style.margin, style)
    if not lines:
        return top
    top += style.em
    layout.texts.append(Text(style.margin, top, lines, style.small, faint=True))
    return top + len(lines) * line_height(style.small)
