"""Paper, how a figure is set; and a sheet laid out for a width in inches: what gives way where that is narrow."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Final, Self, get_args

from cnnviz.catalogue import CATALOGUE, command_name, proper_name
from cnnviz.drawing.colour import Scale, ticks
from cnnviz.drawing.layout import Box, Layout, ScaleBar, Style
from cnnviz.drawing.sheet import Cell, Sheet, SheetBlock, Shown, lay_out_blocks, sheet_width
from cnnviz.drawing.text import current_style, style, text_width
from cnnviz.errors import ParameterError, UnknownNameError

__all__ = ["COLUMNS", "PER_INCH", "PER_POINT", "SMALLEST_PICTURE", "Paper", "fit", "fit_size", "fold"]

COLUMNS: Final = {1: 3.25, 2: 6.75}
"""Width in inches of one column of a paper, and of two."""
UNTITLED: Final = "none"
SEPARATOR: Final = " \N{MIDDLE DOT} "
PER_INCH = 300
PER_POINT = PER_INCH / 72
WIDEST_PAPER = 100
LEAST_DPI, MOST_DPI = 72, 1200
SMALLEST_PICTURE = 0.4
"""Inches that the longer side of a picture has at least, so that something can be seen in it."""

HIGHEST_PAGE = 22
"""Inches, two sheets of paper, from which on pictures get smaller, down to an inch."""

_SMALLER_TO = 1
_GAP, _MARGIN = 0.08, 0.05
_SMALLER_SIZES = (7.5, 7.0, 6.5, 6.0, 5.5)
_EMS_PER_PICTURE = 8
_LEAST_POINTS = 5.5
_STEP = 0.05
"""Inches to which the narrowest width is named."""


@dataclass(frozen=True)
class Paper:
    """How a figure is set on paper.

    Attributes:
        width: In inches.
        columns: Instead of that, 1 (3.25 inches) or 2 (6.75) of a paper's columns.
        dpi: Pixels an inch of a picture whose width is given, and of the pictures in a figure; 300 if left out.
        font: A family that matplotlib finds; left out, that of :func:`cnnviz.style`.
        font_size: Of the ordinary text in points; left out, likewise.
        notes: ``"short"``: what changes how it must be read, in at most three lines; ``"full"``: all that there is to
            say; ``"none"``: nothing.
        title: Instead of its own; ``"none"`` for none.
        rename: Other names for methods, by their functions' or commands' names: ``{"gradcam": "ours"}``.

    Raises:
        ParameterError: A value is none of these, or both width and columns are given.
        UnknownNameError: There is no such method to rename, or no such kind of notes.
    """

    width: float | None = None
    columns: int | None = None
    dpi: int | None = None
    font: str | None = None
    font_size: float | None = None
    notes: Shown = "short"
    title: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.columns is not None and self.width is not None:
            raise ParameterError("columns and width both say how wide a figure is; give one.")
        if self.columns is not None and (isinstance(self.columns, bool) or self.columns not in COLUMNS):
            raise ParameterError(f"columns is 1 ({COLUMNS[1]} inches) or 2 ({COLUMNS[2]}), not {self.columns!r}.")
        for name in ("width", "dpi", "font_size"):
            value = getattr(self, name)
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf
            ):
                raise ParameterError(f"{name} is a number above 0, not {value!r}.")
        if self.notes not in get_args(Shown):
            raise UnknownNameError("kind of notes", str(self.notes), get_args(Shown))
        if not isinstance(self.title, (str, type(None))):
            raise ParameterError(f"title is a text, or 'none', not {self.title!r}.")
        object.__setattr__(self, "rename", _read_names(self.rename))

    @classmethod
    def split(cls, how: Mapping[str, Any]) -> tuple[Self, dict[str, Any]]:
        """The paper that some options name, and the other options.

        Args:
            how: Options by name; None stands for one that was left out.
        """
        names = {each.name for each in fields(cls)}
        given = {name: value for name, value in how.items() if name in names and value is not None}
        return cls(**given), {name: value for name, value in how.items() if name not in names}

    @property
    def inches(self) -> float | None:
        """The width, where it or columns are given."""
        return self.width if self.columns is None else COLUMNS[self.columns]

    def describe(self) -> dict[str, Any]:
        """What was given, as plain values."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        usual = {each.name: {} if each.default is MISSING else each.default for each in fields(self)}
        return {name: value for name, value in found.items() if value != usual[name]}

    def lettering(self) -> style:
        """A context in which words are set as this says."""
        return style(font=self.font, size=self.font_size)

    def apply(self, sheet: Sheet) -> Sheet:
        """A sheet with the title, the names and the notes that are asked for."""
        parts = sheet.title.split(SEPARATOR)
        named = {*parts, *sheet.row_headings, *sheet.column_headings}
        for old in self.rename:
            if named.isdisjoint(_names_of(old)):
                raise ParameterError(f"'{command_name(old)}' cannot be renamed: no heading of this figure names it.")
        title = SEPARATOR.join(map(self._name, parts)) if self.title is None else self.title
        return replace(
            sheet,
            title="" if self.title == UNTITLED else title,
            row_headings=tuple(map(self._name, sheet.row_headings)),
            column_headings=tuple(map(self._name, sheet.column_headings)),
            notes=tuple(map(self._rename_within, sheet.notes)),
            details=tuple(map(self._rename_within, sheet.details)),
            shown=self.notes,
        )

    def _rename_within(self, note: str) -> str:
        """A note with the other names of the methods that it names."""
        for old, new in self.rename.items():
            note = re.sub(rf"(?<![\w-]){re.escape(proper_name(old))}(?![\w+-])", lambda _, new=new: new, note)  # type: ignore[misc]
        return note

    def _name(self, heading: str) -> str:
        """A heading with another name for the method that it names, if it names one that is renamed."""
        return next((new for old, new in self.rename.items() if heading in _names_of(old)), heading)


def _names_of(method: str) -> tuple[str, ...]:
    """All that a method is called."""
    return method, command_name(method), proper_name(method)


def _read_names(rename: Any) -> dict[str, str]:
    """New names by the functions' names of the methods that have them."""
    if not isinstance(rename, Mapping) or not all(isinstance(each, str) for pair in rename.items() for each in pair):
        raise ParameterError(f"rename is a dictionary such as {{'gradcam': 'ours'}}, not {rename!r}.")
    known = {called: method for method in CATALOGUE for called in _names_of(method)}
    odd = next((name for name in rename if name not in known), None)
    if odd is not None:
        raise UnknownNameError("method", odd, map(command_name, CATALOGUE), "'cnnviz methods' lists them all.")
    return {known[name]: new for name, new in rename.items()}


def fit_size(size: tuple[int, int], longer: int | None) -> tuple[int, int]:
    """Height and width scaled so that the longer one is ``longer``; unchanged when that is None."""
    if longer is None:
        return size
    factor = longer / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def fit(sheet: Sheet, width: float, size: float | None = None, dpi: int = PER_INCH) -> Layout:
    """Lay a sheet out for a width, which it has exactly.

    Where there is little room, the text gets smaller (not below 5.5 points), the colour bars lose their middle number,
    then one bar serves all pictures of a colour map, and then the columns go on in further rows. The longer side of a
    picture is never below 0.4 inches.

    Args:
        sheet: What is drawn.
        width: In inches.
        size: Of the ordinary text, in points. Left out, that of ``style``.
        dpi: Pixels an inch.

    Raises:
        ParameterError: width or size is not above 0, the width is that of no paper or too narrow for the sheet, or dpi
            is out of bounds.
    """
    size = current_style().size if size is None else size
    _check(width, size, dpi)
    asked = round(width * dpi)
    for plan in _plans(sheet, size, dpi):
        longer = plan.longest_side(asked)
        if longer is not None:
            return plan.laid_within(round(HIGHEST_PAGE * dpi), longer, asked)
    least = _narrowest(sheet, size, dpi)
    raise ParameterError(
        f"{width:g} inches are too narrow for this figure; the narrowest it can be is {least:g} inches."
    )


def _check(width: float, size: float, dpi: int) -> None:
    if not (width > 0 and size > 0):
        raise ParameterError(f"A figure's width and text size are above 0, not {width:g} inches and {size:g} points.")
    if width > WIDEST_PAPER:
        raise ParameterError(f"A figure's width is in inches, at most {WIDEST_PAPER}, not {width:g}.")
    if not LEAST_DPI <= dpi <= MOST_DPI:
        raise ParameterError(f"dpi is a number of pixels an inch from {LEAST_DPI} to {MOST_DPI}, not {dpi}.")


def _plans(sheet: Sheet, size: float, dpi: int) -> Iterator[_PaperPlan]:
    """Ways to lay a sheet out, the best first; each with text as large as its pictures allow."""
    blocks: tuple[Sheet, ...] = ()
    for count in range(1, sheet.shape[1] + 1):
        before, blocks = blocks, fold(sheet, count)
        if count > 1 and [each.shape for each in before] == [each.shape for each in blocks]:
            continue
        for common in (False, True):
            if common and not _legends(blocks):
                continue
            for points, needed in _text_sizes(size):
                yield _PaperPlan(sheet, blocks, common, points, dpi, needed)


def _text_sizes(size: float) -> Iterator[tuple[float, int]]:
    """Text sizes, the largest first, with how many ems a picture has at least; at last any number of the smallest."""
    smaller = [each for each in _SMALLER_SIZES if each < size]
    yield from ((each, _EMS_PER_PICTURE) for each in (size, *smaller))
    yield (smaller or [size])[-1], 0


def _narrowest(sheet: Sheet, size: float, dpi: int) -> float:
    """The width in inches from which on a sheet can be laid out, in steps that are easily said."""
    widths = []
    for plan in _plans(sheet, size, dpi):
        needed = sheet_width(plan.blocks_of(plan.least), plan.style, common=plan.common)
        widths.append(max(needed, plan.widest_legend))
    return math.ceil(min(widths) / dpi / _STEP - 1e-9) * _STEP


@dataclass(frozen=True)
class _PaperPlan:
    """One way to lay a sheet out: its columns in blocks, bars in common or not, and the size of text in points."""

    sheet: Sheet
    blocks: tuple[Sheet, ...]
    common: bool
    points: float
    dpi: int
    ems: int

    @property
    def style(self) -> Style:
        gap, margin = round(_GAP * self.dpi), round(_MARGIN * self.dpi)
        smallest = math.ceil(min(_LEAST_POINTS, self.points) * self.dpi / 72)
        return Style(round(self.points * self.dpi / 72), gap, margin, smallest)

    @property
    def least(self) -> int:
        """Pixels that the longer side of a picture has at least."""
        return max(math.ceil(SMALLEST_PICTURE * self.dpi), self.ems * self.style.em)

    def blocks_of(self, longer: int) -> tuple[SheetBlock, ...]:
        return tuple(
            SheetBlock(each, [[fit_size(cell.size, longer) if cell else (0, 0) for cell in row] for row in each.rows])
            for each in self.blocks
        )

    def longest_side(self, width: int) -> int | None:
        """Of the largest pictures with which the sheet is not wider; None where that is too small."""
        if self.widest_legend > width:
            return None
        least, most = self.least - 1, max(width, self.least)
        while least < most:
            longer = (least + most + 1) // 2
            if sheet_width(self.blocks_of(longer), self.style, common=self.common) <= width:
                least = longer
            else:
                most = longer - 1
        return least if least >= self.least else None

    def laid_within(self, height: int, longer: int, width: int) -> Layout:
        """With pictures so much smaller that the page is not higher, but not below an inch for that."""
        layout = self.laid(longer, width)
        if layout.height <= height:
            return layout
        least, most = min(longer, max(self.least, round(_SMALLER_TO * self.dpi))), longer
        while least < most:
            middle = (least + most + 1) // 2
            if self.laid(middle, width).height <= height:
                least = middle
            else:
                most = middle - 1
        return self.laid(least, width)

    def laid(self, longer: int, width: int) -> Layout:
        bars = self.legends if self.common else ()
        return lay_out_blocks(self.sheet, self.blocks_of(longer), self.style, width=width, bars=bars)

    @property
    def widest_legend(self) -> int:
        style = self.style
        return max((bar.box.width + 2 * style.margin for bar, _ in self.legends), default=0)

    @cached_property
    def legends(self) -> tuple[tuple[ScaleBar, str], ...]:
        """The bars that serve all pictures, as wide as their words need."""
        style = self.style
        found = []
        for words, scale, measures in _legends(self.blocks) if self.common else ():
            reach = sum(text_width(word, style.small) for _, word in words) + 2 * len(words) * style.small
            box = Box(0, 0, max(math.ceil(reach), 12 * style.em), style.bar)
            found.append((ScaleBar(box, scale, style.small, words), measures))
        return tuple(found)


def _legends(blocks: Sequence[Sheet]) -> list[tuple[tuple[tuple[float, str], ...], Scale, str]]:
    """A bar for each colour map, with numbers at its ends where all pictures share them, and words otherwise."""
    cells = (cell for sheet in blocks for row in sheet.rows for cell in row)
    scales = [cell.scale for cell in cells if cell and cell.scale and not cell.scale.blank]
    kinds = dict.fromkeys((one.cmap, one.signed) for one in scales)
    return [_legend_of([one for one in scales if (one.cmap, one.signed) == kind]) for kind in kinds]


def _legend_of(scales: Sequence[Scale]) -> tuple[tuple[tuple[float, str], ...], Scale, str]:
    first = scales[0]
    measures = "; ".join(dict.fromkeys(one.measures for one in scales if one.measures))
    if len({(one.low, one.high) for one in scales}) == 1:
        low, _, high = ticks(first)
        return ((0.0, low[1]), (1.0, high[1])), first, measures
    if first.signed:
        return ((0.0, "\N{MINUS SIGN}max"), (1.0, "max of each map")), first, measures
    low_word = "0" if all(one.low == 0 for one in scales) else "min"
    return ((0.0, low_word), (1.0, "max of each map")), first, measures


def fold(sheet: Sheet, count: int) -> tuple[Sheet, ...]:
    """A sheet's columns in so many blocks to be drawn below each other, each of as many columns.

    Where there are no headings, every row goes on in rows below it instead. The leading columns stand in every block,
    but once where there is a single row.

    Args:
        sheet: What is folded.
        count: How many blocks, from 1.
    """
    if count == 1:
        return (sheet,)
    lead = sheet.lead if len(sheet.rows) > 1 and sheet.column_headings else 0
    columns = range(lead, sheet.shape[1])
    across = math.ceil(len(columns) / count)
    groups = [columns[start : start + across] for start in range(0, len(columns), across)]
    if not sheet.column_headings and not sheet.row_headings:
        pieces = [[row[at] for at in group] for row in sheet.rows for group in groups]
        return (replace(sheet, rows=tuple(tuple(piece) for piece in pieces if any(piece))),)
    blocks = [_block(sheet, [*range(lead), *group], lead + across) for group in groups]
    return tuple(each for each in blocks if each)


def _block(sheet: Sheet, columns: Sequence[int], across: int) -> Sheet | None:
    """Some columns of a sheet, with empty ones behind them; None where there is no picture."""
    behind: list[Cell | None] = [None] * (across - len(columns))
    rows = tuple((*(row[at] for at in columns), *behind) for row in sheet.rows)
    if not any(itertools.chain.from_iterable(rows)):
        return None
    headings = tuple(sheet.column_headings[at] for at in columns) if sheet.column_headings else ()
    return replace(sheet, rows=rows, column_headings=(*headings, *("" for _ in behind)) if headings else ())
