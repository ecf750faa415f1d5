"""A grid of many small pictures."""

from __future__ import annotations

from dataclasses import dataclass

from cnnviz.results.grid import Grid

__all__ = ["SizedGrid"]


@dataclass(frozen=True, eq=False)
class SizedGrid(Grid):
    """A grid whose cells have a size of their own where no other is asked for.

    Attributes:
        cell: Longer side of a cell in pixels.
    """

    cell: int = 132

    def _fitting(self) -> int | None:
        return self.cell
