"""What results that are drawn as a grid have in common: saving as arrays, stamping, showing themselves."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, Protocol, Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.picture import Picture
from cnnviz.drawing.colour import Scale
from cnnviz.drawing.files import ARRAY_SUFFIXES, SUFFIXES, ensure_writable, write_arrays
from cnnviz.drawing.sheet import Cell
from cnnviz.provenance import Provenance
from cnnviz.results.grid import Grid

__all__ = ["Drawn", "Batch", "Parts", "Styled", "rows_of"]


class Drawn(ABC):
    """A result that is drawn as a grid; a frozen dataclass.

    Attributes:
        checks: What the user should know about it.
        provenance: How it was made.
    """

    checks: tuple[str, ...]
    provenance: Provenance

    @abstractmethod
    def grid(self) -> Grid:
        """The result as a grid of pictures."""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the grid as a picture or figure, or all arrays as ``.npz``.

        Args:
            path: Where to; an existing file is replaced.

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
        """
        where = Path(path)
        return self._saved_as_arrays(where) or self.grid().save(where)

    def stamped(self, method: str, settings: Mapping[str, Any]) -> Self:
        """The same with method and settings in its provenance."""
        return self._with(provenance=self.provenance.stamped(method, settings, self.checks))

    def _repr_png_(self) -> bytes:
        return self.grid()._repr_png_()

    @abstractmethod
    def _arrays(self) -> Mapping[str, NDArray[Any]]:
        """What an ``.npz`` holds, besides its provenance."""

    def _saved_as_arrays(self, where: Path) -> Path | None:
        """Write an ``.npz``, where the suffix asks for one; None leaves a picture or figure to be written.

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
        """
        ensure_writable(where, force=True, suffixes=SUFFIXES)
        if where.suffix.lower() not in ARRAY_SUFFIXES:
            return None
        write_arrays(where, self._arrays(), self._record_of_arrays().to_json())
        return where

    def _record_of_arrays(self) -> Provenance:
        return self.provenance.drawn(format="npz")

    def _with(self, **values: Any) -> Self:
        """The same with other values of some fields."""
        this: Any = self
        changed: Self = replace(this, **values)
        return changed


MOST_ACROSS: Final = 6
"""Maps of one picture side by side."""


class Recorded(Protocol):
    """Anything that knows how it was made."""

    @property
    def provenance(self) -> Provenance:
        """How it was made."""
        ...


Part = TypeVar("Part", bound=Recorded)
Way = TypeVar("Way")


class Parts(Sequence[Part]):
    """A sequence of parts that have arrays of one shape."""

    _PARTS: ClassVar[str] = "parts"

    @overload
    def __getitem__(self, index: int) -> Part: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Part | Self:
        return self._sliced(index) if isinstance(index, slice) else self._held[index]

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Part]:
        return iter(self._held)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(np.stack([np.asarray(one) for one in self._held]), dtype=dtype)

    @property
    def _held(self) -> tuple[Part, ...]:
        held: tuple[Part, ...] = getattr(self, self._PARTS)
        return held

    @abstractmethod
    def _sliced(self, rows: slice) -> Self: ...


class Batch(Parts[Part], Drawn):
    """A result with a part for each picture."""

    def stamped(self, method: str, settings: Mapping[str, Any]) -> Self:
        """The same with method and settings in its provenance, and in that of every part."""
        said = method, settings, self.checks
        parts = tuple(self._recorded(one, one.provenance.stamped(*said)) for one in self._held)
        return self._with(**{self._PARTS: parts}, provenance=self.provenance.stamped(*said))

    def _sliced(self, rows: slice) -> Self:
        return self._with(**{self._PARTS: self._held[rows]}, provenance=self.provenance.only(rows))

    def _recorded(self, one: Part, record: Provenance) -> Part:
        """A part with another record."""
        part: Any = one
        changed: Part = replace(part, provenance=record)
        return changed


class Styled(Batch[Part], Generic[Part, Way]):
    """A result with a part for each picture, which can be drawn in several ways."""

    def grid(self, **look: Any) -> Grid:
        """The result as a grid, one picture below the other.

        Args:
            **look: How it is drawn: the fields of the look that the class names.

        Raises:
            ParameterError: If there is no such field, or no such value of one.
        """
        chosen = self._look(look)
        return self._drawn(chosen, self._shared_scale(chosen))

    def save(self, path: str | os.PathLike[str], **look: Any) -> Path:
        """Write it: .png, .jpg, .webp, .svg, .pdf as pictures, .npz as the raw values that the class names.

        Args:
            path: Where to; an existing file is replaced.
            **look: As :meth:`grid` takes it.

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
            ParameterError: As :meth:`grid` raises it.
        """
        chosen = self._look(look)
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
        chosen = self._look(look)
        scale = self._shared_scale(chosen)
        each = {"each": True} if scale else {}
        alone = [self._with(**{self._PARTS: (one,)}, provenance=one.provenance.drawn(**each)) for one in self._held]
        return tuple(one._write(Path(path), chosen, scale) for one, path in zip(alone, paths, strict=True))

    def _write(self, where: Path, look: Way, scale: Scale | None) -> Path:
        return self._saved_as_arrays(where) or self._drawn(look, scale).save(where)

    @abstractmethod
    def _look(self, fields: Mapping[str, Any]) -> Way:
        """A look from its fields by name."""

    @abstractmethod
    def _drawn(self, look: Way, scale: Scale | None) -> Grid: ...

    @abstractmethod
    def _shared_scale(self, look: Way) -> Scale | None:
        """The one scale of all parts, where they share one."""


def rows_of(
    pictures: Sequence[Picture], cells: Sequence[tuple[Cell, ...]], *, photographed: bool
) -> tuple[tuple[Cell | None, ...], ...]:
    """Cells in rows, a row a picture; what was explained about the same picture in turn stands side by side.

    Args:
        pictures: The pictures.
        cells: For each of them its cells.
        photographed: Whether the first of these is the photograph, which a row has once.
    """
    rows: list[tuple[Cell | None, ...]] = []
    for _, group in groupby(zip(pictures, cells, strict=True), lambda each: (each[0].name, each[0].digest)):
        shown = [each for _, each in group]
        across = max(1, MOST_ACROSS // (len(shown[0]) - photographed))
        first: list[Cell | None] = [shown[0][0]] if photographed else []
        for start in range(0, len(shown), across):
            rows.append((*first, *(cell for each in shown[start : start + across] for cell in each[photographed:])))
            first = [None] * len(first)
    return tuple(rows)
