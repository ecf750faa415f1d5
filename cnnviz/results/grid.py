"""Grid: rows and columns of pictures with headings, as exact pixels or as a figure; and how any result is saved."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from cnnviz.drawing.figure import figure
from cnnviz.drawing.files import FIGURE_SUFFIXES, PICTURE_SUFFIXES, ensure_writable, write_figure, write_pixels
from cnnviz.drawing.raster import fit, montage, painted
from cnnviz.drawing.sheet import Sheet
from cnnviz.errors import ParameterError
from cnnviz.provenance import Provenance

__all__ = ["Grid", "SizedGrid"]

SMALLEST_CELL, LARGEST_CELL, WIDEST = 320, 800, 3600
USUAL_WIDTH = 7.0


@dataclass(frozen=True, eq=False)
class Grid:
    """Rows x columns of pictures with headings and captions.

    Attributes:
        sheet: The cells and the words around them.
        provenance: How they were made; written into every file.
    """

    sheet: Sheet
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    def pixels(self, cell: int | None = None, *, width: float | None = None) -> NDArray[np.uint8]:
        """The montage ``(H, W, 3)`` uint8.

        Args:
            cell: Longer side of a cell in pixels; None fits the pictures (320 to 800), and leaves a bare one as it is.
            width: Instead of that, width on paper in inches, of 300 pixels each.

        Raises:
            ParameterError: If both are given, or one is not above 0.
        """
        if width is not None:
            if cell is not None:
                raise ParameterError("A picture's size is given by cell or by width, not by both.")
            return painted(fit(self.sheet, width))
        return montage(self.sheet, cell=cell if cell is not None else self._fitting())

    def plot(self, ax: Axes | None = None, *, width: float = USUAL_WIDTH) -> Figure:
        """A matplotlib figure, or one cell drawn into given axes.

        Args:
            ax: Axes to draw a one-cell grid into.
            width: Width of the figure in inches.
        """
        return figure(self.sheet, ax=ax, width=width)

    def save(self, path: str | os.PathLike[str], *, cell: int | None = None, width: float | None = None) -> Path:
        """Write the grid; the suffix decides: .png, .jpg, .webp as exact pixels, .svg, .pdf as a figure.

        Args:
            path: Where to; an existing file is replaced.
            cell: Longer side of a cell in pixels.
            width: Width in inches, such as 3.25 for one column of a paper and 6.75 for two: 7 for a figure if left out,
                and 300 pixels each for a picture if given.

        Returns:
            The path.

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
        """
        where = Path(path)
        ensure_writable(where, force=True, suffixes=(*PICTURE_SUFFIXES, *FIGURE_SUFFIXES))
        sized = {name: value for name, value in (("cell", cell), ("width", width)) if value is not None}
        note = self.provenance.drawn(format=where.suffix.lower()[1:], **sized).to_json()
        if where.suffix.lower() in FIGURE_SUFFIXES:
            write_figure(where, self.plot(width=USUAL_WIDTH if width is None else width), note)
        else:
            write_pixels(where, self.pixels(cell, width=width), note)
        return where

    def stamped(self, method: str, settings: Mapping[str, Any]) -> Self:
        """The same with method and settings in its provenance."""
        return replace(self, provenance=self.provenance.stamped(method, settings))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.pixels(), dtype=dtype)

    def _repr_png_(self) -> bytes:
        held = io.BytesIO()
        Image.fromarray(self.pixels()).save(held, "PNG")
        return held.getvalue()

    def _fitting(self) -> int | None:
        if self.sheet.bare:
            return None
        longest = max(max(cell.size) for row in self.sheet.rows for cell in row if cell)
        columns = max(len(row) for row in self.sheet.rows)
        return max(SMALLEST_CELL, min(longest, LARGEST_CELL, WIDEST // columns))


@dataclass(frozen=True, eq=False)
class SizedGrid(Grid):
    """A grid whose cells have a size of their own where no other is asked for.

    Attributes:
        cell: Longer side of a cell in pixels.
    """

    cell: int = 132

    def _fitting(self) -> int | None:
        return self.cell
