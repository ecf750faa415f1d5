"""LayerRanking: how much of a class each candidate layer's map finds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.provenance import Provenance
from cnnviz.results.grid import Grid
from cnnviz.results.heatmap import Heatmap

__all__ = ["LayerRanking", "RankedLayer"]


@dataclass(frozen=True)
class RankedLayer:
    """One candidate layer.

    Attributes:
        name: The layer.
        heatmap: Its map.
        kept: Share of the target's probability (or score) that is left when only the places where the map is highest
            are shown and the rest is the mean colour; can exceed 1.
        lost: Share that is lost when just those places are hidden.
    """

    name: str
    heatmap: Heatmap
    kept: float
    lost: float

    @property
    def evidence(self) -> float:
        """Mean of what the map's highest places keep and what hiding them takes away."""
        return (self.kept + self.lost) / 2


@dataclass(frozen=True)
class LayerRanking(Sequence[RankedLayer]):
    """Candidate layers, the one with the most evidence first.

    Attributes:
        layers: The candidates.
        share: Share of the picture that is shown or hidden.
        provenance: How it was made.
    """

    layers: tuple[RankedLayer, ...]
    share: float
    provenance: Provenance

    @overload
    def __getitem__(self, index: int) -> RankedLayer: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[RankedLayer, ...]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self.layers[index]

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[RankedLayer]:
        return iter(self.layers)

    def grid(self) -> Grid:
        """A strip: the photograph, then each candidate's map with its evidence."""
        first = self.layers[0].heatmap
        cells = [Cell(first.picture.pixels, first.caption().partition("\n")[0])]
        cells += [Cell(one.heatmap.overlay(), _caption(one), one.heatmap.scale()) for one in self.layers]
        headings = (first.picture.name, *(one.name for one in self.layers))
        note = (
            f"kept: what is left of the target when only the map's highest {self.share:.0%} of the picture is shown; "
            "lost: what hiding it takes away."
        )
        return Grid(Sheet((tuple(cells),), (), headings, first.model, (note,)), self.provenance)

    def save(self, path: str | os.PathLike[str], *, cell: int | None = None, width: float | None = None) -> Path:
        """Write the strip as .png, .jpg, .webp, .svg or .pdf.

        Args:
            path: Where to; an existing file is replaced.
            cell: Longer side of a cell in pixels.
            width: Width in inches; left out, 7 for a figure.

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
        """
        return self.grid().save(path, cell=cell, width=width)

    def plot(self, ax: Axes | None = None, *, width: float = 7.0) -> Figure:
        """A matplotlib figure of the strip."""
        return self.grid().plot(ax, width=width)

    def _repr_png_(self) -> bytes:
        return self.grid()._repr_png_()


def _caption(one: RankedLayer) -> str:
    height, width = one.heatmap.values.shape
    return f"{height}x{width}\nkept {one.kept:.0%}, lost {one.lost:.0%}"
