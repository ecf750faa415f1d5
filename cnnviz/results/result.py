"""Grid, which is pictures in rows and columns, and the bases of all results, which are drawn and saved as one."""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnviz.core.sample import Sample
from cnnviz.drawing.colour import Scale
from cnnviz.drawing.figure import figure
from cnnviz.drawing.files import (
    ARRAY_SUFFIXES,
    FIGURE_SUFFIXES,
    PICTURE_SUFFIXES,
    SUFFIXES,
    ensure_writable,
    steady_settings,
    write_arrays,
    write_figure,
    write_pixels,
)
from cnnviz.drawing.paper import fit
from cnnviz.drawing.raster import montage, paint_layout
from cnnviz.drawing.samples import is_wide
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.errors import ParameterError
from cnnviz.provenance import Provenance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "DRAWN_SUFFIXES",
    "DrawnParts",
    "DrawnResult",
    "Grid",
    "Part",
    "Parts",
    "Result",
    "ResultBatch",
    "StyledBatch",
    "rows_of",
]

SMALLEST_CELL, LARGEST_CELL, WIDEST = 320, 800, 3600
USUAL_WIDTH: Final = 7.0
MOST_ACROSS: Final = 6
"""Maps of one picture side by side."""

DRAWN_SUFFIXES: Final = (*PICTURE_SUFFIXES, *FIGURE_SUFFIXES)


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
            return paint_layout(fit(self.sheet, width))
        return montage(self.sheet, cell=cell if cell is not None else self._usual_cell())

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
        ensure_writable(where, force=True, suffixes=DRAWN_SUFFIXES)
        sized = {name: value for name, value in (("cell", cell), ("width", width)) if value is not None}
        note = self.provenance.drawn(format=where.suffix.lower()[1:], **sized).to_json()
        if where.suffix.lower() in FIGURE_SUFFIXES:
            with steady_settings():
                write_figure(where, self.plot(width=USUAL_WIDTH if width is None else width), note)
        else:
            write_pixels(where, self.pixels(cell, width=width), note)
        return where

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.pixels(), dtype=dtype)

    def _repr_png_(self) -> bytes:
        held = io.BytesIO()
        Image.fromarray(self.pixels()).save(held, "PNG")
        return held.getvalue()

    def _usual_cell(self) -> int | None:
        """Longer side of a cell in pixels, where nothing is asked for; None leaves the pictures as they are."""
        if self.cell is not None or self.sheet.bare:
            return self.cell
        longest = max(max(cell.size) for row in self.sheet.rows for cell in row if cell)
        if any(cell.paper for row in self.sheet.rows for cell in row if cell):
            return max(SMALLEST_CELL, min(longest, WIDEST // self.sheet.shape[1]))
        return max(SMALLEST_CELL, min(longest, LARGEST_CELL, WIDEST // self.sheet.shape[1]))


class Result(ABC):
    """What a method returns: numbers, what there is to know about them, and how they were made; a frozen dataclass."""

    _ARRAY: ClassVar[str] = "values"
    """The attribute that a result is as an array."""

    if TYPE_CHECKING:

        @property
        def checks(self) -> tuple[str, ...]:
            """What the user should know about it."""

        @property
        def provenance(self) -> Provenance:
            """How it was made."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What there is to say without a picture, as plain values."""

    def stamped(self, method: str, settings: Mapping[str, Any]) -> Self:
        """The same with method and settings in its provenance."""
        return self._replace(provenance=self.provenance.stamped(method, settings, self.checks))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(attrgetter(self._ARRAY)(self), dtype=dtype, copy=copy)

    def _replace(self, **values: Any) -> Self:
        """The same with other values of some fields."""
        this: Any = self
        changed: Self = replace(this, **values)
        return changed

    def _title(self, *words: str | None) -> str:
        """The method's name and some words as one line."""
        return " · ".join(filter(None, (self.provenance.method, *words)))


class DrawnResult(Result):
    """A result that is drawn as a grid of pictures."""

    _SUFFIXES: ClassVar[tuple[str, ...]] = SUFFIXES
    """The kinds of file that it can be saved as."""

    @abstractmethod
    def grid(self) -> Grid:
        """The result as a grid of pictures."""

    def save(
        self, path: str | os.PathLike[str], *, cell: int | None = None, width: float | None = None, **how: Any
    ) -> Path:
        """Write it: .png, .jpg, .webp, .svg, .pdf as its grid, .npz as the arrays that the class names.

        Args:
            path: Where to; an existing file is replaced.
            cell: Longer side of a cell in pixels.
            width: Instead of that, width in inches, such as 3.25 for one column of a paper and 6.75 for two; pictures
                get 300 pixels an inch then.
            **how: How it is drawn, as :meth:`grid` takes it.

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
        """
        where = Path(path)
        if self._save_arrays(where):
            return where
        grid = self.grid(**how)
        return grid.save(where, cell=self._usual_cell(grid) if cell is width is None else cell, width=width)

    def plot(self, ax: Axes | None = None, *, width: float = USUAL_WIDTH, **how: Any) -> Figure:
        """A matplotlib figure; with ``ax`` a grid of a single picture is drawn into it.

        Args:
            ax: Axes to draw into.
            width: Width of the figure in inches.
            **how: How it is drawn, as :meth:`grid` takes it.
        """
        return self.grid(**how).plot(ax, width=width)

    def _repr_png_(self) -> bytes:
        return self.grid()._repr_png_()

    def _save_arrays(self, where: Path) -> bool:
        """Write an ``.npz``, where the suffix asks for one; otherwise a picture or figure is left to be written.

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
        """
        ensure_writable(where, force=True, suffixes=self._SUFFIXES)
        if where.suffix.lower() not in ARRAY_SUFFIXES:
            return False
        write_arrays(where, self._arrays(), self._record_of_arrays().to_json())
        return True

    def _arrays(self) -> Mapping[str, NDArray[Any]]:
        """What an ``.npz`` holds, besides its provenance."""
        return {}

    def _record_of_arrays(self) -> Provenance:
        return self.provenance.drawn(format="npz")

    def _usual_cell(self, grid: Grid) -> int | None:  # noqa: ARG002 - kinds that have one look at it
        """Longer side of a saved picture's cells in pixels, where neither it nor a width is asked for."""
        return None


class Part(DrawnResult):
    """A result about one picture, which is drawn and saved as a batch of one."""

    @abstractmethod
    def _as_batch(self) -> ResultBatch[Any]:
        """The batch that holds nothing else."""

    def grid(self, **how: Any) -> Grid:
        """The result as a grid, as its batch's ``grid`` draws it."""
        return self._as_batch().grid(**how)

    def save(self, path: str | os.PathLike[str], **how: Any) -> Path:
        """Write it alone, as its batch's ``save`` does."""
        return self._as_batch().save(path, **how)

    def plot(self, ax: Axes | None = None, **how: Any) -> Figure:
        """A matplotlib figure, as its batch's ``plot`` draws it; with ``ax`` the result alone is drawn into it."""
        return self._as_batch().plot(ax, **how)


Item = TypeVar("Item")
P = TypeVar("P", bound=Result)
Way = TypeVar("Way")


class Parts(Sequence[Item]):
    """A sequence of what a field of the class holds."""

    _PARTS: ClassVar[str] = "parts"

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        return self._slice(index) if isinstance(index, slice) else self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    @property
    def _items(self) -> tuple[Item, ...]:
        held: tuple[Item, ...] = getattr(self, self._PARTS)
        return held

    def _slice(self, rows: slice) -> Sequence[Item]:
        return self._items[rows]


class DrawnParts(Parts[Item], DrawnResult):
    """A drawn result of which a slice is such a result too, for some of the pictures."""

    @abstractmethod
    def _slice(self, rows: slice) -> Self:
        """The same for some of the pictures."""

    def save_each(self, paths: Iterable[str | os.PathLike[str]], **how: Any) -> tuple[Path, ...]:
        """Write what there is of each picture into a file of its own, as :meth:`save` does.

        Args:
            paths: Where to, a path a picture.
            **how: As :meth:`save` takes it.

        Raises:
            OutputError: If a suffix is unknown or a file cannot be written.
            ValueError: If there are not as many paths as pictures.
        """
        alone = [self._slice(slice(row, row + 1)) for row in range(len(self))]
        return tuple(one.save(path, **how) for one, path in zip(alone, paths, strict=True))


class ResultBatch(Parts[P], DrawnResult):
    """A result with a part for each picture; a slice is a batch too."""

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, index: int) -> P: ...
        @overload
        def __getitem__(self, index: slice) -> Self: ...
        def __getitem__(self, index: int | slice) -> P | Self: ...

    def describe(self) -> dict[str, Any]:
        """What there is to say without pictures, as plain values."""
        return {"images": [one.describe() for one in self], "checks": list(self.checks)}

    def stamped(self, method: str, settings: Mapping[str, Any]) -> Self:
        """The same with method and settings in its provenance, and in that of every part."""
        said = method, settings, self.checks
        parts = tuple(one._replace(provenance=one.provenance.stamped(*said)) for one in self)
        return self._replace(**{self._PARTS: parts}, provenance=self.provenance.stamped(*said))

    def _slice(self, rows: slice) -> Self:
        return self._replace(**{self._PARTS: self._items[rows]}, provenance=self.provenance.only(rows))


class StyledBatch(ResultBatch[P], Generic[P, Way]):
    """A result with a part for each picture, which can be drawn in several ways."""

    _INTO_AXES: ClassVar[str]
    """The style in which a part is drawn into axes that are given."""

    def grid(self, **look: Any) -> Grid:
        """The result as a grid, one picture below the other.

        Args:
            **look: How it is drawn: the fields of the look that the class names.

        Raises:
            ParameterError: If there is no such field, or no such value of one.
        """
        chosen = self._read_look(look)
        return self._draw(chosen, self._shared_scale(chosen))

    def save(self, path: str | os.PathLike[str], **look: Any) -> Path:
        """Write it: .png, .jpg, .webp, .svg, .pdf as pictures, .npz as the raw values that the class names.

        Args:
            path: Where to; an existing file is replaced.
            **look: As :meth:`grid` takes it.

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
            ParameterError: As :meth:`grid` raises it.
        """
        chosen = self._read_look(look)
        return self._write(Path(path), chosen, self._shared_scale(chosen))

    def save_each(self, paths: Iterable[str | os.PathLike[str]], **look: Any) -> tuple[Path, ...]:
        """Write each picture's part into a file of its own, as :meth:`save` does; ``shared=True`` gives all one scale.

        Args:
            paths: Where to, a path a picture.
            **look: As :meth:`grid` takes it.

        Raises:
            OutputError: If a suffix is unknown or a file cannot be written.
            ValueError: If there are not as many paths as pictures.
        """
        chosen = self._read_look(look)
        scale = self._shared_scale(chosen)
        each = {"each": True} if scale else {}
        alone = [self._replace(**{self._PARTS: (one,)}, provenance=one.provenance.drawn(**each)) for one in self]
        return tuple(one._write(Path(path), chosen, scale) for one, path in zip(alone, paths, strict=True))

    def plot(self, ax: Axes | None = None, **look: Any) -> Figure:
        """A matplotlib figure; with ``ax`` a single picture's part is drawn into it, without what stands around it."""
        return self.grid(**(look if ax is None else {"style": self._INTO_AXES, **look})).plot(ax)

    def _write(self, where: Path, look: Way, scale: Scale | None) -> Path:
        if self._save_arrays(where):
            return where
        grid = self._draw(look, scale)
        return grid.save(where, cell=self._usual_cell(grid))

    @abstractmethod
    def _read_look(self, fields: Mapping[str, Any]) -> Way:
        """A look from its fields by name."""

    @abstractmethod
    def _draw(self, look: Way, scale: Scale | None) -> Grid: ...

    @abstractmethod
    def _shared_scale(self, look: Way) -> Scale | None:
        """The one scale of all parts, where they share one."""


def rows_of(
    pictures: Sequence[Sample], cells: Sequence[tuple[Cell, ...]], *, photographed: bool
) -> tuple[tuple[Cell | None, ...], ...]:
    """Cells in rows, a row a picture; what was explained about the same picture in turn stands side by side.

    Signals and volumes are drawn wide, and all that there is of them stands one below the other.

    Args:
        pictures: The pictures.
        cells: For each of them its cells.
        photographed: Whether the first of these is the photograph, which a row has once.
    """
    if any(map(is_wide, pictures)):
        return tuple((cell,) for shown in cells for cell in shown)
    rows: list[tuple[Cell | None, ...]] = []
    for _, group in groupby(zip(pictures, cells, strict=True), lambda each: (each[0].name, each[0].digest)):
        shown = [each for _, each in group]
        across = max(1, MOST_ACROSS // (len(shown[0]) - photographed))
        first: list[Cell | None] = [shown[0][0]] if photographed else []
        for start in range(0, len(shown), across):
            rows.append((*first, *(cell for each in shown[start : start + across] for cell in each[photographed:])))
            first = [None] * len(first)
    return tuple(rows)
