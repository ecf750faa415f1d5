"""Effective receptive fields: how much each pixel really moves a unit."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.dimensions import PICTURE, SIGNAL, VOLUME, Size, spell_size
from cnnviz.core.field import Field
from cnnviz.drawing.colour import colourise, scale_of
from cnnviz.drawing.plots import plot
from cnnviz.drawing.samples import is_wide, pixels_of
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.provenance import Provenance, cautions, remarks
from cnnviz.results.heatmap import Heatmap
from cnnviz.results.result import DRAWN_SUFFIXES, DrawnResult, Grid, Parts

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
class LayerRanking(Parts[RankedLayer], DrawnResult):
    """Candidate layers, the one with the most evidence first.

    Attributes:
        layers: The candidates.
        share: Share of the picture that is shown or hidden.
        provenance: How it was made.
        checks: What the user should know.
    """

    _PARTS = "layers"
    _ARRAY = "evidence"
    _SUFFIXES = DRAWN_SUFFIXES

    layers: tuple[RankedLayer, ...]
    share: float
    provenance: Provenance
    checks: tuple[str, ...] = ()

    @property
    def evidence(self) -> NDArray[np.float64]:
        """``(L,)``: every candidate's evidence."""
        return np.array([one.evidence for one in self])

    def grid(self) -> Grid:
        """A strip: the photograph, then each candidate's map with its evidence; of signals and volumes downwards."""
        first = self.layers[0].heatmap
        wide = is_wide(first.picture)
        cells = [Cell(first.boxed(pixels_of(first.picture)), first.caption().partition("\n")[0], paper=wide)]
        cells += [
            Cell(one.heatmap.overlay(), _describe_evidence(one), one.heatmap.scale(), paper=wide) for one in self.layers
        ]
        headings = (first.picture.name, *(one.name for one in self.layers))
        note = (
            f"kept: what is left of the target when only the map's highest {self.share:.0%} of the picture is shown; "
            "lost: what hiding it takes away."
        )
        if wide:
            return Grid(Sheet(tuple((cell,) for cell in cells), headings, (), first.model, (note,)), self.provenance)
        return Grid(Sheet((tuple(cells),), (), headings, first.model, (note,)), self.provenance)

    def describe(self) -> dict[str, Any]:
        """What there is to say without a picture, as plain values."""
        layers = [{"layer": one.name, "kept": one.kept, "lost": one.lost, "evidence": one.evidence} for one in self]
        return {"layers": layers, "share": self.share, "checks": list(self.checks)}


def _describe_evidence(one: RankedLayer) -> str:
    places = "x".join(map(str, one.heatmap.values.shape))
    return f"{places}\nkept {one.kept:.0%}, lost {one.lost:.0%}"


LEAST = 1 - 0.9545
STEPS = {SIGNAL: "samples", PICTURE: "px", VOLUME: "voxels"}


def _root(count: int, places: int) -> float:
    """The side of a cube of so many axes that holds so many pixels."""
    return float(np.sqrt(count)) if places == PICTURE else float(np.cbrt(count)) if places == VOLUME else float(count)


def _distances(shape: Size, centre: tuple[float, ...]) -> NDArray[np.float64]:
    """How far every pixel is from a centre."""
    along = [each - middle for each, middle in zip(np.indices(shape), centre, strict=True)]
    return np.asarray(np.hypot.reduce(along) if len(along) > 1 else np.abs(along[0]))


@dataclass(frozen=True, eq=False)
class EffectiveField(DrawnResult):
    """How much each pixel moves the unit in the middle of a layer.

    Attributes:
        values: ``(H, W)`` (or ``(T,)``, ``(D, H, W)``) float32, at least 0: the mean magnitude of the unit's gradient,
            summed over channels.
        layer: The layer.
        place: Where the unit is: of pictures row and column.
        field: What the unit can see at all; None if nothing is known.
        inputs: How many inputs the mean is over.
        checks: What the user should know.
        provenance: How it was made.
    """

    values: NDArray[np.float32]
    layer: str
    place: Size
    field: Field | None
    inputs: int
    checks: tuple[str, ...] = ()
    provenance: Provenance = dataclasses.field(default_factory=Provenance, repr=False)

    @property
    def centre(self) -> tuple[float, ...]:
        """Where the unit lies, in pixels: its field's centre, or the values' centre of mass."""
        if self.field is not None and self.field.placed:
            return self.field.centre(*self.place)
        total = float(self.values.sum(dtype=np.float64)) or 1.0
        return tuple(float((along * self.values).sum() / total) for along in np.indices(self.values.shape))

    @property
    def size(self) -> float:
        """Side in pixels: the root of the number of pixels above 4.55 % of the largest value; 0 where all are 0.

        The square root of pictures, the cube root of volumes, and the number itself of signals.
        """
        most = float(self.values.max())
        return _root(int((self.values > LEAST * most).sum()), self.values.ndim) if most > 0 else 0.0

    def radius(self, share: float) -> float:
        """Distance from the unit's centre, in pixels, within which a share of the whole lies; 0 where all is 0."""
        away = _distances(self.values.shape, self.centre).ravel()
        order = np.argsort(away, kind="stable")
        mass = np.cumsum(self.values.ravel()[order], dtype=np.float64)
        return float(away[order][np.searchsorted(mass, share * mass[-1])]) if mass[-1] > 0 else 0.0

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The values in colours ``(H, W, 3)``, from 0 to the largest; of signals a line, of volumes some slices."""
        return plot(self.values, scale_of(self.values))

    def caption(self) -> str:
        """The unit with its size and half-mass radius."""
        place = ",".join(map(str, self.place))
        unit = STEPS[len(self.place)]
        return f"unit {place}: {self.size:.0f} {unit}; half the mass within {self.radius(0.5):.0f} {unit}"

    def grid(self) -> Grid:
        """The values on the input's pixels, with the numbers."""
        notes = (f"mean magnitude of the unit's gradient over {self.inputs} inputs", *cautions(self.checks))
        cells = self._draw_planes() or (Cell(self.pixels, self.caption(), scale_of(self.values)),)
        headings = (self.layer, *("" for _ in cells[1:]))
        sheet = Sheet((cells,), (), headings, "effective receptive field", notes, remarks(self.checks))
        return Grid(sheet, self.provenance)

    def _draw_planes(self) -> tuple[Cell, ...]:
        """Of a volume the three planes through the unit's centre, each with the lengths of its sides; else nothing."""
        if len(self.place) != VOLUME:
            return ()
        scale, cells = scale_of(self.values), []
        for axis, name in enumerate(("slice", "row", "column")):
            at = min(max(round(self.centre[axis]), 0), self.values.shape[axis] - 1)
            plane = np.take(self.values, at, axis=axis)
            caption = f"{name} {at}, {spell_size(plane.shape)}"
            cells.append(Cell(colourise(plane, scale), caption, None if axis else scale))
        first = Cell(cells[0].pixels, f"{self.caption()}\n{cells[0].caption}", cells[0].scale)
        return (first, *cells[1:])

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

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"values": self.values}

    def _record_of_arrays(self) -> Provenance:
        return self.provenance
