"""What results that are drawn as a grid have in common: saving as arrays, stamping, showing themselves."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from cnnviz.drawing.files import ARRAY_SUFFIXES, SUFFIXES, ensure_writable, write_arrays
from cnnviz.provenance import Provenance
from cnnviz.results.grid import Grid

__all__ = ["Drawn"]


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
