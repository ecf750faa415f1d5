"""Comparison: the maps of several methods on the same images."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cnnviz.drawing.files import ARRAY_SUFFIXES, ensure_writable, write_arrays
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.provenance import Provenance
from cnnviz.results.grid import Grid
from cnnviz.results.heatmap import Look
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["Comparison"]

PIXELS = Look(normalise="percentile")


@dataclass(frozen=True, eq=False)
class Comparison(Mapping[str, Heatmaps]):
    """Maps by the name of their method, as a grid with a row an image and a column a method.

    Attributes:
        maps: The result of every method.
        coincidences: Which methods gave the same maps.
        pixelwise: Methods with a value for each pixel, too fine for an overlay: drawn alone, to the 99th percentile.
    """

    maps: Mapping[str, Heatmaps]
    coincidences: tuple[str, ...] = field(default=())
    pixelwise: frozenset[str] = frozenset()

    def __getitem__(self, name: str) -> Heatmaps:
        return self.maps[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.maps)

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def checks(self) -> tuple[str, ...]:
        """What the user should know: coincidences, then what every method said, named where not all said it."""
        said: dict[str, list[str]] = {}
        for name, maps in self.maps.items():
            for check in maps.checks:
                said.setdefault(check, []).append(name)
        named = [
            check if len(names) == len(self.maps) else f"{', '.join(names)}: {check}" for check, names in said.items()
        ]
        return (*self.coincidences, *named)

    @property
    def provenance(self) -> Provenance:
        """How it was made: what the methods have in common, and each method's settings."""
        first = next(iter(self.maps.values())).provenance
        layers = sorted({maps.provenance.layer for maps in self.maps.values() if maps.provenance.layer})
        settings = {name: dict(maps.provenance.settings) for name, maps in self.maps.items()}
        return replace(first, method="compare", settings=settings, layer=", ".join(layers) or None)

    def grid(self) -> Grid:
        """A row an image: the photograph with what is explained, then each method's map with its scale."""
        firsts = next(iter(self.maps.values()))
        rows = []
        for row, one in enumerate(firsts):
            cells = [Cell(one.picture.pixels, f"{one.picture.name}\n{self._explained(row)}")]
            for name, maps in self.maps.items():
                own = maps[row]
                look = PIXELS if name in self.pixelwise else Look()
                (drawn,) = own.cells(replace(look, style="map" if look is PIXELS else "overlay"))
                cells.append(replace(drawn, caption=own.blank_note() if own.blank else "", scale=own.scale(look)))
            rows.append(tuple(cells))
        title = " · ".join(part for part in (firsts[0].model, self.provenance.layer) if part)
        notes = self.checks
        return Grid(Sheet(tuple(rows), (), ("", *self.maps), title, notes), self.provenance)

    def save(self, path: str | os.PathLike[str], *, cell: int | None = None, width: float = 7.0) -> Path:
        """Write the grid as .png, .jpg, .webp, .svg or .pdf, or every method's raw maps under its name as .npz.

        Args:
            path: Where to; an existing file is replaced.
            cell: Longer side of a cell in pixels.
            width: Width of a figure in inches.

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
        """
        where = Path(path)
        if where.suffix.lower() not in ARRAY_SUFFIXES:
            return self.grid().save(where, cell=cell, width=width)
        arrays: dict[str, NDArray[Any]] = {name: maps.values for name, maps in self.maps.items()}
        firsts = next(iter(self.maps.values()))
        arrays |= {"images": np.array([one.picture.name for one in firsts])}
        arrays |= {"targets": np.array([[str(each) for each in maps.targets] for maps in self.maps.values()])}
        ensure_writable(where, force=True)
        write_arrays(where, arrays, self.provenance.to_json())
        return where

    def plot(self, ax: Axes | None = None, *, width: float = 7.0) -> Figure:
        """A matplotlib figure of the grid."""
        return self.grid().plot(ax, width=width)

    def _explained(self, row: int) -> str:
        """What the methods that explain something explain in an image."""
        captions = [maps[row] for maps in self.maps.values() if str(maps[row].target) != "no target"]
        one = (captions or [next(iter(self.maps.values()))[row]])[0]
        return one.caption().partition("\n")[0]

    def _repr_png_(self) -> bytes:
        return self.grid()._repr_png_()
