"""Patches: what of a data set excites the units of a layer most, cut from the photographs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.errors import UsageError
from cnnviz.provenance import Provenance
from cnnviz.results.class_matrix import TILE, ClassMatrix
from cnnviz.results.drawn import Drawn
from cnnviz.results.grid import Grid
from cnnviz.results.patch_cells import drawn
from cnnviz.results.sized_grid import SizedGrid

__all__ = ["Patches", "Strip", "View"]

View = Literal["field", "image"]
"""Whether a patch is what the unit sees, or the whole image with the places marked where it responds."""

SIDE = 132
WITHOUT_EFFECT = ("index", "workers")
MARKED = "the unit sees most of the image, so all of it is shown, faded where it responds at less than half its peak"
CUT = "each patch is what the unit sees, cut from the picture; grey is beyond what the network saw of it"


@dataclass(frozen=True, eq=False)
class Strip:
    """For each unit a row of patches.

    Attributes:
        values: ``(U, K)`` float32: the unit's value; NaN where there is no patch.
        images: ``(U, K)`` int64: the picture's number in the data set; -1 where there is no patch.
        keys: ``(U, K)`` text: the picture's key.
        positions: ``(U, K, 2)``: row and column of the value in the layer.
        boxes: ``(U, K, 4)``: what that place sees: top, left, bottom, right in pixels of the network's input; it may
            reach beyond it.
        pixels: ``(U, K, h, w, 3)`` uint8: the patches.
        marks: ``(U, K, h, w)``: where on a whole image the unit responds; None if the patches are what it sees.
        projections: ``(U, K, C, b, a)`` float32: the activation projected back to the pixels of its box (deconvnet);
            NaN beyond the network's input. None if it was not asked for.
    """

    values: NDArray[np.float32] = field(repr=False)
    images: NDArray[np.int64] = field(repr=False)
    keys: NDArray[np.str_] = field(repr=False)
    positions: NDArray[np.int64] = field(repr=False)
    boxes: NDArray[np.int64] = field(repr=False)
    pixels: NDArray[np.uint8] = field(repr=False)
    marks: NDArray[np.bool_] | None = field(default=None, repr=False)
    projections: NDArray[np.float32] | None = field(default=None, repr=False)

    def arrays(self, before: str = "") -> dict[str, NDArray[Any]]:
        """Everything there is, by name."""
        names = ("values", "images", "keys", "positions", "boxes", "pixels", "marks", "projections")
        return {f"{before}{name}": getattr(self, name) for name in names if getattr(self, name) is not None}

    def describe(self, row: int) -> list[dict[str, Any]]:
        """One unit's patches as plain values."""
        found = np.flatnonzero(self.images[row] >= 0)
        return [
            {
                "value": float(self.values[row, rank]),
                "image": int(self.images[row, rank]),
                "key": str(self.keys[row, rank]),
                "position": self.positions[row, rank].tolist(),
                "box": self.boxes[row, rank].tolist(),
            }
            for rank in found
        ]


@dataclass(frozen=True, eq=False)
class Patches(Drawn):
    """Units of one layer, each with the patches of a data set that excite it most, the strongest first.

    Attributes:
        layer: The layer.
        units: The units' numbers.
        top: Their strongest patches, one an image.
        samples: Patches of images at random from every tenth of each unit's range, the highest tenth first.
        ranked: Which tensor the values are of.
        view: Whether a patch is what the unit sees, or the whole image with the places marked where it responds.
        counts: ``(U,)``: images that counted.
        active: ``(U,)``: those whose value is above zero.
        means: ``(U,)``: mean of the value over the images.
        ties: ``(U,)``: images whose value is exactly the largest.
        dead: ``(U,)``: whether the unit tells no image from another.
        matrix: Mean value of all units of the layer for each class; None for a data set without classes.
        model: The network's name.
        data: The data set's name.
        checks: What the user should know.
        provenance: How it was made.
    """

    layer: str
    units: tuple[int, ...]
    top: Strip
    samples: Strip | None
    ranked: str
    view: View
    counts: NDArray[np.int64] = field(repr=False)
    active: NDArray[np.int64] = field(repr=False)
    means: NDArray[np.float64] = field(repr=False)
    ties: NDArray[np.int64] = field(repr=False)
    dead: NDArray[np.bool_] = field(repr=False)
    matrix: ClassMatrix | None
    model: str
    data: str
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    def __len__(self) -> int:
        return len(self.units)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.top.pixels, dtype=dtype, copy=True if copy is None else copy)

    def grid(self) -> Grid:
        """A row a unit: its strongest patches with their values; below, if they were asked for, the random ones."""
        rows: list[tuple[Cell | None, ...]] = []
        headings: list[str] = []
        for row in range(len(self)):
            rows.append(drawn(self.top, row))
            headings.append(self._heading(row))
            if self.samples is not None:
                rows.append(drawn(self.samples, row))
                headings.append("at random, from the highest tenth to the lowest")
        title = " · ".join(part for part in (self.provenance.method, self.model, self.layer, self.data) if part)
        notes = (f"{CUT if self.view == 'field' else MARKED}; below it the value of {self.ranked}", *self._said())
        sheet = Sheet(tuple(rows), row_headings=tuple(headings), title=title, notes=notes)
        return SizedGrid(sheet, self.provenance, SIDE if self.top.projections is None else 2 * SIDE)

    def classes(self, view: Literal["classes", "units"] = "classes", *, most: int = 3) -> Grid:
        """How much every class excites single units.

        Args:
            view: ``"classes"`` shows for each class the units that are most selective for it; ``"units"`` shows the
                units of this result, whatever they respond to.
            most: How many units a class.

        Raises:
            UsageError: If the data set has no classes.
        """
        if self.matrix is None:
            raise UsageError(f"The data set '{self.data}' has no classes, so there is no matrix of units and classes.")
        units = self.units if view == "units" else None
        title = " · ".join(part for part in (self.model, self.layer, self.data, "mean value by class") if part)
        return SizedGrid(self.matrix.sheet(units, most=most, title=title), self.provenance, TILE[1])

    def plot(self, ax: Axes | None = None) -> Figure:
        """A matplotlib figure of the grid."""
        return self.grid().plot(ax)

    def describe(self) -> dict[str, Any]:
        """What there is to say without a picture, as plain values."""
        return {
            "layer": self.layer,
            "ranked": self.ranked,
            "view": self.view,
            "units": [self._described(row) for row in range(len(self))],
            "classes": None if self.matrix is None else self.matrix.describe(),
            "checks": list(self.checks),
        }

    def stamped(self, method: str, settings: Mapping[str, Any]) -> Self:
        """The same with method and settings in its provenance, but for those that change nothing in it."""
        told = {name: value for name, value in settings.items() if name not in WITHOUT_EFFECT}
        return replace(self, provenance=self.provenance.stamped(method, told))

    def _record_of_arrays(self) -> Provenance:
        return self.provenance

    def _heading(self, row: int) -> str:
        unit = f"unit {self.units[row]}"
        if self.dead[row]:
            return f"{unit}\ndead: it tells no image from another"
        tied = f"{self.ties[row]} equal firsts" if self.ties[row] > 1 else ""
        often = f"above 0 in {self.active[row] / self.counts[row]:.0%}" if self.counts[row] else ""
        likes = self.matrix.preference(self.units[row]) if self.matrix else ""
        return "\n".join(filter(None, (unit, likes, tied or often)))

    def _said(self) -> tuple[str, ...]:
        projected = ("beside each patch that activation projected back (deconvnet), each on a scale of its own",)
        classes = (
            ("the class under a unit is the one it is most selective for; 1 would be for it alone",)
            if self.matrix
            else ()
        )
        return (*(() if self.top.projections is None else projected), *classes, *self.checks)

    def _described(self, row: int) -> dict[str, Any]:
        facts = {name: getattr(self, name)[row].item() for name in ("counts", "active", "means", "ties", "dead")}
        said = {"unit": self.units[row], **facts, "patches": self.top.describe(row)}
        return said if self.samples is None else {**said, "samples": self.samples.describe(row)}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        arrays = self.top.arrays() | {"units": np.array(self.units, dtype=np.int64)}
        arrays |= {name: getattr(self, name) for name in ("counts", "active", "means", "ties", "dead")}
        if self.samples is not None:
            arrays |= self.samples.arrays("samples_")
        if self.matrix is not None:
            arrays |= {"class_means": self.matrix.means, "classes": np.array(self.matrix.classes)}
        return arrays
