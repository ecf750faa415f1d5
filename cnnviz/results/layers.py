"""Effective receptive fields: how much each pixel really moves a unit."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cnnviz.core.field import Field
from cnnviz.drawing.colour import colourise, scale_of
from cnnviz.drawing.files import ARRAY_SUFFIXES, ensure_writable, write_arrays
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.provenance import Provenance
from cnnviz.results.grid import Grid
from cnnviz.results.heatmap import Heatmap

__all__ = ["EffectiveField", "LayerRanking", "RankedLayer"]


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


LEAST = 1 - 0.9545


@dataclass(frozen=True, eq=False)
class EffectiveField:
    """How much each pixel moves the unit in the middle of a layer.

    Attributes:
        values: ``(H, W)`` float32, at least 0: the mean magnitude of the unit's gradient, summed over channels.
        layer: The layer.
        place: Row and column of the unit.
        field: What the unit can see at all; None if nothing is known.
        inputs: How many inputs the mean is over.
        checks: What the user should know.
        provenance: How it was made.
    """

    values: NDArray[np.float32]
    layer: str
    place: tuple[int, int]
    field: Field | None
    inputs: int
    checks: tuple[str, ...] = ()
    provenance: Provenance = dataclasses.field(default_factory=Provenance, repr=False)

    @property
    def centre(self) -> tuple[float, float]:
        """Where the unit lies, in pixels: its field's centre, or the values' centre of mass."""
        if self.field is not None and self.field.placed:
            return self.field.centre(*self.place)
        total = float(self.values.sum(dtype=np.float64)) or 1.0
        rows, columns = np.indices(self.values.shape)
        return float((rows * self.values).sum() / total), float((columns * self.values).sum() / total)

    @property
    def size(self) -> float:
        """Side in pixels: the root of the number of pixels above 4.55 % of the largest value; 0 where all are 0."""
        most = float(self.values.max())
        return float(np.sqrt((self.values > LEAST * most).sum())) if most > 0 else 0.0

    def radius(self, share: float) -> float:
        """Distance from the unit's centre, in pixels, within which a share of the whole lies; 0 where all is 0."""
        y, x = self.centre
        rows, columns = np.indices(self.values.shape)
        away = np.hypot(rows - y, columns - x).ravel()
        order = np.argsort(away, kind="stable")
        mass = np.cumsum(self.values.ravel()[order], dtype=np.float64)
        return float(away[order][np.searchsorted(mass, share * mass[-1])]) if mass[-1] > 0 else 0.0

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The values in colours ``(H, W, 3)``, from 0 to the largest."""
        return colourise(self.values, scale_of(self.values))

    def caption(self) -> str:
        """The unit with its size and half-mass radius."""
        y, x = self.place
        return f"unit {y},{x}: {self.size:.0f} px; half the mass within {self.radius(0.5):.0f} px"

    def grid(self) -> Grid:
        """The values on the input's pixels, with the numbers."""
        notes = (f"mean magnitude of the unit's gradient over {self.inputs} inputs", *self.checks)
        cell = Cell(self.pixels, self.caption(), scale_of(self.values))
        return Grid(Sheet(((cell,),), (), (self.layer,), "effective receptive field", notes), self.provenance)

    def describe(self) -> dict[str, Any]:
        """What there is to say without a picture, as plain values."""
        return {
            "layer": self.layer,
            "place": list(self.place),
            "centre": list(self.centre),
            "size": self.size,
            "radius_50": self.radius(0.5),
            "radius_90": self.radius(0.9),
            "inputs": self.inputs,
            "checks": list(self.checks),
        }

    def save(self, path: str | os.PathLike[str], *, width: float | None = None) -> Path:
        """Write it: .png, .jpg, .webp, .svg, .pdf as a picture, .npz as raw ``values``.

        Args:
            path: Where to; an existing file is replaced.
            width: Width in inches; left out, 7 for a figure.

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
        """
        where = Path(path)
        if where.suffix.lower() not in ARRAY_SUFFIXES:
            return self.grid().save(where, width=width)
        ensure_writable(where, force=True)
        write_arrays(where, {"values": self.values}, self.provenance.to_json())
        return where

    def plot(self, ax: Axes | None = None) -> Figure:
        """A matplotlib figure of it."""
        return self.grid().plot(ax)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.values, dtype=dtype, copy=copy)

    def _repr_png_(self) -> bytes:
        return self.grid()._repr_png_()
