"""Effective receptive fields: how much each pixel really moves a unit."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Final

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
TITLE: Final = "Effective receptive field"
SENSITIVITY: Final = "mean |gradient|"
MARGIN: Final = 0.12
"""Of a field's side, how much around it is drawn."""
SHORTEST: Final = 240
"""Pixels of a drawing's longer side, at least."""
OUTLINE: Final = (0, 255, 255)
STEPS = {SIGNAL: "samples", PICTURE: "px", VOLUME: "voxels"}


def _root(count: int, places: int) -> float:
    """The side of a cube of so many axes that holds so many pixels."""
    return float(np.sqrt(count)) if places == PICTURE else float(np.cbrt(count)) if places == VOLUME else float(count)


def _distances(shape: Size, centre: tuple[float, ...]) -> NDArray[np.float64]:
    """How far every pixel is from a centre."""
    along = [each - middle for each, middle in zip(np.indices(shape), centre, strict=True)]
    return np.asarray(np.hypot.reduce(along) if len(along) > 1 else np.abs(along[0]))


def _draw_outline(
    drawn: NDArray[np.uint8], box: tuple[int, int, int, int], window: tuple[slice, slice], factor: int
) -> None:
    """Draw a line just within the edges of a box, in place; pixels of the input are ``factor`` wide."""
    down, across = (part.start or 0 for part in window)
    top, left, bottom, right = (
        factor * (end - start) for end, start in zip(box, (down, across, down, across), strict=True)
    )
    wide = max(1, round(max(drawn.shape[:2]) / 160))
    inside = drawn[top + wide : bottom - wide, left + wide : right - wide].copy()
    drawn[top:bottom, left:right] = OUTLINE
    drawn[top + wide : bottom - wide, left + wide : right - wide] = inside


def _draw_bar(width: int, length: int) -> NDArray[np.uint8]:
    """A strip of paper with a bar of a length in its middle."""
    high = max(3, round(width / 60))
    strip = np.full((3 * high, width, 3), 255, dtype=np.uint8)
    left = (width - length) // 2
    strip[high : 2 * high, left : left + length] = 32
    return strip


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
    def box(self) -> tuple[int, int, int, int] | None:
        """What the unit can see of a picture, by arithmetic: top, left, bottom, right, each end one past the last.

        None of signals and volumes, and where the field is no box or nothing is known of it.
        """
        if len(self.place) != PICTURE or self.field is None or not self.field.placed:
            return None
        top, left, bottom, right = self.field.box(*self.place, *self.values.shape)
        return top, left, bottom, right

    @property
    def window(self) -> tuple[slice, slice]:
        """The part of a picture that is drawn: the unit's field and a margin, or all of it where there is no box."""
        if self.box is None or any(first >= last for first, last in (self.box[::2], self.box[1::2])):
            return slice(None), slice(None)
        margin = max(1, round(MARGIN * max(self.box[2] - self.box[0], self.box[3] - self.box[1])))
        ends = zip(self.box[:2], self.box[2:], self.values.shape, strict=True)
        down, across = (slice(max(low - margin, 0), min(high + margin, length)) for low, high, length in ends)
        return down, across

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The values in colours ``(h, w, 3)``, from 0 to the largest; of signals a line, of volumes some slices.

        Of a picture what lies around the unit's field, each of its pixels enlarged, with an outline around the field
        and a scale bar of :attr:`scale_bar` pixels below.
        """
        if len(self.place) != PICTURE:
            return plot(self.values, scale_of(self.values))
        drawn = plot(self.values[self.window], scale_of(self.values))
        factor = max(1, math.ceil(SHORTEST / max(drawn.shape[:2])))
        drawn = drawn.repeat(factor, axis=0).repeat(factor, axis=1)
        if self.box is not None:
            _draw_outline(drawn, self.box, self.window, factor)
        return np.concatenate([drawn, _draw_bar(drawn.shape[1], self.scale_bar * factor)])

    @property
    def scale_bar(self) -> int:
        """How many pixels of the input the scale bar of a picture is long: 1, 2 or 5 times a power of ten."""
        width = int(self.values[self.window].shape[1])
        steps: list[int] = [step * 10**power for power in range(5) for step in (1, 2, 5)]
        return max(step for step in steps if step <= max(width / 2, 1))

    def caption(self) -> str:
        """The unit with its size and the radius that holds half of its sensitivity, its field, and the scale."""
        place = ",".join(map(str, self.place))
        unit = STEPS[len(self.place)]
        words = f"unit {place}: {self.size:.0f} {unit}; half the sensitivity within {self.radius(0.5):.0f} {unit}"
        if len(self.place) != PICTURE:
            return words
        size = self.field.size if self.field is not None and self.box is not None else None
        field = f"\noutline: theoretical field, {spell_size(size)} {unit}" if size else ""
        return f"{words}{field}\nscale bar: {self.scale_bar} {unit} of the input"

    def grid(self) -> Grid:
        """The values on the input's pixels, with the numbers."""
        details = (f"Mean magnitude of the unit's gradient over {self.inputs} inputs.", *remarks(self.checks))
        cells = self._draw_planes() or (Cell(self.pixels, self.caption(), scale_of(self.values, measures=SENSITIVITY)),)
        title = " \N{MIDDLE DOT} ".join(filter(None, (TITLE, str(self.provenance.model.get("name") or ""), self.layer)))
        return Grid(Sheet((cells,), title=title, notes=cautions(self.checks), details=details), self.provenance)

    def _draw_planes(self) -> tuple[Cell, ...]:
        """Of a volume the three planes through the unit's centre, each with the lengths of its sides; else nothing."""
        if len(self.place) != VOLUME:
            return ()
        scale, cells = scale_of(self.values, measures=SENSITIVITY), []
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
