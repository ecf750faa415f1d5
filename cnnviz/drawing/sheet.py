"""What a montage or a figure shows: pictures in rows and columns, with words around them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cnnviz.drawing.colour import Scale, colour_bar, ticks
from cnnviz.errors import ParameterError

__all__ = ["Cell", "Sheet", "well_across", "legend"]

LEAST, MOST = 4, 16


def well_across(count: int) -> int:
    """How many of ``count`` pictures make a row, so that their block is a little wider than high and nearly full.

    Args:
        count: From 1.
    """
    wide = math.sqrt(1.5 * count)
    least, most = math.ceil(math.sqrt(1.2 * count)), max(LEAST, math.ceil(math.sqrt(2.2 * count)))
    choices = range(min(least, count, MOST), min(most, count, MOST) + 1)
    return min(choices, key=lambda across: (-count % across, abs(across - wide)))


_COLOUR_NDIM = 3


@dataclass(frozen=True, eq=False)
class Cell:
    """One picture of a sheet.

    Attributes:
        pixels: ``(h, w, 3)`` uint8, RGB.
        caption: Drawn below the picture; may have several lines.
        scale: What the colours mean; when given, a colour bar with numbers is drawn below the picture.
        note: Drawn small below the caption; may have several lines.

    Raises:
        ParameterError: The pixels have another shape or type, or there are none.
    """

    pixels: NDArray[np.uint8] = field(repr=False)
    caption: str = ""
    scale: Scale | None = None
    note: str = ""

    def __post_init__(self) -> None:
        shape, kind = self.pixels.shape, self.pixels.dtype
        if len(shape) != _COLOUR_NDIM or shape[2] != _COLOUR_NDIM or 0 in shape or kind != np.uint8:
            raise ParameterError(f"A cell's pixels are uint8 of shape (h, w, 3), not {kind} of shape {shape}.")

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
        notes: Small lines under the grid.

    Raises:
        ParameterError: There is no cell, or not one heading a row (column).
    """

    rows: tuple[tuple[Cell | None, ...], ...]
    row_headings: tuple[str, ...] = ()
    column_headings: tuple[str, ...] = ()
    title: str = ""
    notes: tuple[str, ...] = ()

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
    def bare(self) -> bool:
        """Whether there is nothing but pictures: no words and no colour bars."""
        cells = [cell for row in self.rows for cell in row if cell]
        words = [
            *self.row_headings,
            *self.column_headings,
            self.title,
            *self.notes,
            *(cell.caption + cell.note for cell in cells),
        ]
        return not any(words) and all(cell.scale is None for cell in cells)

    @property
    def only(self) -> Cell | None:
        """The one cell of a sheet of one place; None when there are more."""
        return self.rows[0][0] if self.shape == (1, 1) else None


THICK: Final = 16


def legend(scale: Scale) -> Cell:
    """A bar with the values at its ends, and how many values lie beyond them.

    Args:
        scale: What the colours mean.
    """
    (_, low), _, (_, high) = ticks(scale)
    words = "nothing but zero" if scale.blank else f"\N{PLUS-MINUS SIGN}{high}" if scale.signed else f"{low} to {high}"
    beyond = f"\n{scale.clipped:.1%} beyond" if scale.clipped else ""
    return Cell(colour_bar(scale, THICK, 8 * THICK), f"{words}{beyond}")
