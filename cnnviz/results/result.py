"""The bases of all results, which are drawn and saved as a grid of pictures."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from cnnviz.catalogue import proper_name
from cnnviz.core.sample import Sample
from cnnviz.drawing.colour import Scale
from cnnviz.drawing.figure import DRAWN_SUFFIXES, Grid
from cnnviz.drawing.files import ARRAY_SUFFIXES, SUFFIXES, ensure_writable, write_arrays
from cnnviz.drawing.paper import Paper
from cnnviz.drawing.samples import is_wide
from cnnviz.drawing.sheet import Cell
from cnnviz.provenance import Measure, Provenance

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

MOST_ACROSS: Final = 6
"""Maps of one picture side by side."""


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
        return " · ".join(filter(None, (proper_name(self.provenance.method), *words)))


class DrawnResult(Result):
    """A result that is drawn as a grid of pictures."""

    _SUFFIXES: ClassVar[tuple[str, ...]] = SUFFIXES
    """The kinds of file that it can be saved as."""

    @abstractmethod
    def grid(self) -> Grid:
        """The result as a grid of pictures."""

    def save(self, path: str | os.PathLike[str], *, cell: int | None = None, **how: Any) -> Path:
        """Write it: .png, .jpg, .webp, .svg, .pdf as its grid, .npz as the arrays that the class names.

        Args:
            path: Where to; an existing file is replaced.
            cell: Longer side of a cell in pixels.
            **how: How it is drawn, as :meth:`grid` takes it, and how it is set on paper, as
                :class:`cnnviz.drawing.paper.Paper` has it: ``width``, ``columns``, ``dpi``, ``font``, ``font_size``,
                ``notes``, ``title``, ``rename``.

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
        """
        where = Path(path)
        if self._save_arrays(where):
            return where
        paper, look = Paper.split(how)
        return self._save_grid(self.grid(**look), where, paper, cell)

    def plot(self, ax: Axes | None = None, **how: Any) -> Figure:
        """A matplotlib figure; with ``ax`` a grid of a single picture is drawn into it.

        Args:
            ax: Axes to draw into, as matplotlib's ``rcParams`` say but for a ``font`` and ``font_size`` given here.
            **how: As :meth:`save` takes it.
        """
        paper, look = Paper.split(how)
        return self.grid(**look).plot(ax, **paper.describe())

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

    def _save_grid(self, grid: Grid, where: Path, paper: Paper, cell: int | None = None) -> Path:
        """Write a grid of it; its cells are as large as usual where nothing says how large."""
        sized = cell is not None or paper.inches is not None or paper.dpi or paper.font_size
        return grid.save(where, cell=cell if sized else self._usual_cell(grid), **paper.describe())

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
        return self._with_parts(self._items[rows], self.provenance.only(rows))

    def _with_parts(self, parts: tuple[P, ...], provenance: Provenance) -> Self:
        """The same for some of the pictures; what was measured of each is said of a single one alone."""
        some = self._replace(**{self._PARTS: parts}, provenance=provenance)
        measured = len(parts) == 1 and any(isinstance(each, Measure) for each in self.checks)
        return some._replace(checks=parts[0].checks) if measured else some


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

    def save(self, path: str | os.PathLike[str], *, cell: int | None = None, **look: Any) -> Path:
        """Write it: .png, .jpg, .webp, .svg, .pdf as pictures, .npz as the raw values that the class names.

        Args:
            path: Where to; an existing file is replaced.
            cell: Longer side of a cell in pixels.
            **look: As :meth:`grid` takes it, and how it is set on paper (``width``, ``columns``, ``dpi``, ``font``,
                ``font_size``, ``notes``, ``title``, ``rename``).

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
            ParameterError: As :meth:`grid` raises it.
        """
        paper, chosen = self._read_both(look)
        return self._write(Path(path), chosen, self._shared_scale(chosen), paper, cell)

    def save_each(self, paths: Iterable[str | os.PathLike[str]], **look: Any) -> tuple[Path, ...]:
        """Write each picture's part into a file of its own, as :meth:`save` does; ``shared=True`` gives all one scale.

        Args:
            paths: Where to, a path a picture.
            **look: As :meth:`save` takes it.

        Raises:
            OutputError: If a suffix is unknown or a file cannot be written.
            ValueError: If there are not as many paths as pictures.
        """
        paper, chosen = self._read_both(look)
        scale = self._shared_scale(chosen)
        each = {"each": True} if scale else {}
        alone = [self._with_parts((one,), one.provenance.drawn(**each)) for one in self]
        return tuple(one._write(Path(path), chosen, scale, paper) for one, path in zip(alone, paths, strict=True))

    def plot(self, ax: Axes | None = None, **look: Any) -> Figure:
        """A matplotlib figure; with ``ax`` a single picture's part is drawn into it, without what stands around it."""
        paper, others = Paper.split(look)
        styled = others if ax is None else {"style": self._INTO_AXES, **others}
        return self.grid(**styled).plot(ax, **paper.describe())

    def _read_both(self, options: Mapping[str, Any]) -> tuple[Paper, Way]:
        """Paper and look from options by name."""
        paper, look = Paper.split(options)
        return paper, self._read_look(look)

    def _write(self, where: Path, look: Way, scale: Scale | None, paper: Paper, cell: int | None = None) -> Path:
        if self._save_arrays(where):
            return where
        return self._save_grid(self._draw(look, scale), where, paper, cell)

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
