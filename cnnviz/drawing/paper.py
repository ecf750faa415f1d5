"""Grid, which is pictures in rows and columns, and Paper, how one is set on paper: width, words and notes."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnviz.catalogue import CATALOGUE, command_name, proper_name
from cnnviz.drawing.figure import figure
from cnnviz.drawing.files import (
    FIGURE_SUFFIXES,
    PICTURE_SUFFIXES,
    ensure_writable,
    steady_settings,
    write_figure,
    write_pixels,
)
from cnnviz.drawing.raster import PER_INCH, fit, montage, paint_layout
from cnnviz.drawing.sheet import Layout, Sheet, Shown
from cnnviz.drawing.text import style
from cnnviz.errors import ParameterError, UnknownNameError
from cnnviz.provenance import Provenance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLUMNS", "DRAWN_SUFFIXES", "Grid", "Paper"]

SMALLEST_CELL, LARGEST_CELL, WIDEST = 320, 800, 3600
USUAL_WIDTH: Final = 7.0
COLUMNS: Final = {1: 3.25, 2: 6.75}
"""Width in inches of one column of a paper, and of two."""
UNTITLED: Final = "none"
DRAWN_SUFFIXES: Final = (*PICTURE_SUFFIXES, *FIGURE_SUFFIXES)


@dataclass(frozen=True)
class Paper:
    """How a figure is set on paper.

    Attributes:
        width: In inches.
        columns: Instead of that, 1 (3.25 inches) or 2 (6.75) of a paper's columns.
        dpi: Pixels an inch of a picture whose width is given, and of the pictures in a figure; 300 if left out.
        font: A family that matplotlib finds; left out, that of :func:`cnnviz.style`.
        size: Of the ordinary text in points; left out, likewise.
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
    size: float | None = None
    notes: Shown = "short"
    title: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.columns is not None and self.width is not None:
            raise ParameterError("columns and width both say how wide a figure is; give one.")
        if self.columns is not None and (isinstance(self.columns, bool) or self.columns not in COLUMNS):
            raise ParameterError(f"columns is 1 ({COLUMNS[1]} inches) or 2 ({COLUMNS[2]}), not {self.columns!r}.")
        for name in ("width", "dpi", "size"):
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
        return style(font=self.font, size=self.size)

    def apply(self, sheet: Sheet) -> Sheet:
        """A sheet with the title, the names and the notes that are asked for."""
        title = sheet.title if self.title is None else "" if self.title == UNTITLED else self.title
        first, mark, rest = title.partition(SEPARATOR)
        return replace(
            sheet,
            title=title if self.title else f"{self._name(first)}{mark}{rest}",
            row_headings=tuple(map(self._name, sheet.row_headings)),
            column_headings=tuple(map(self._name, sheet.column_headings)),
            shown=self.notes,
        )

    def _name(self, heading: str) -> str:
        """A heading with another name for the method that it names, if it names one that is renamed."""
        return next((new for old, new in self.rename.items() if heading in _names_of(old)), heading)


SEPARATOR: Final = " \N{MIDDLE DOT} "


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
            ax: Axes to draw a one-cell grid into.
            **paper: How it is set on paper, as :class:`Paper` has it: ``width`` in inches, 7 if left out.
        """
        return self._figure(ax, _read_paper(paper, None))

    def save(self, path: str | os.PathLike[str], *, cell: int | None = None, **paper: Any) -> Path:
        """Write the grid; the suffix decides: .png, .jpg, .webp as exact pixels, .svg, .pdf as a figure.

        Args:
            path: Where to; an existing file is replaced.
            cell: Longer side of a cell in pixels.
            **paper: How it is set on paper, as :class:`Paper` has it: ``width`` in inches (or ``columns`` of a paper),
                7 for a figure if left out, and ``dpi`` pixels each for a picture if given; ``font``, ``size``,
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
            if paper.inches is not None or (cell is None and (paper.dpi or paper.size)):
                return paint_layout(fit(sheet, paper.inches or USUAL_WIDTH, dpi=paper.dpi or PER_INCH))
            return montage(sheet, cell=cell if cell is not None else self._usual_cell(sheet))

    def _figure(self, ax: Axes | None, paper: Paper) -> Figure:
        more = {} if paper.dpi is None else {"dpi": float(paper.dpi)}
        with paper.lettering():
            return figure(paper.apply(self.sheet), ax=ax, width=paper.inches or USUAL_WIDTH, **more)

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
