"""Features: the feature maps of a layer for some pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.dimensions import spell_size
from cnnviz.core.picture import Picture
from cnnviz.core.sample import Sample, Signal
from cnnviz.core.target import Unit
from cnnviz.drawing.colour import Scale, ticks
from cnnviz.drawing.layout import well_across
from cnnviz.drawing.overlay import masked
from cnnviz.drawing.plots import plot
from cnnviz.drawing.samples import draw_over, is_wide, pixels_of
from cnnviz.drawing.sheet import Cell, Sheet, legend
from cnnviz.drawing.signals import draw_traces
from cnnviz.errors import ParameterError
from cnnviz.provenance import Provenance, cautions, remarks
from cnnviz.results.heatmap import EVENLY, Align, Heatmap, Look, look_of
from cnnviz.results.result import Grid, Part, Parts, StyledBatch

__all__ = ["Features", "NORMALISED", "FeatureLook", "FeatureMaps", "FeatureStyle", "feature_look"]

FeatureStyle: TypeAlias = Literal["maps", "overlay", "masked"]

NORMALISED: Final = "percentile"
ACTIVATION: Final = "activation"


@dataclass(frozen=True)
class FeatureLook:
    """How feature maps are drawn; changes no value.

    Attributes:
        style: ``"maps"`` at the layer's own resolution, ``"overlay"`` on the photograph, or the photograph ``"masked"``
            to where each unit responds.
        quantile: Where a unit responds: above this share of the places of its own map.
        look: Scale and colours, as heat maps have them; scales end at the 99th percentile unless it says otherwise.

    Raises:
        ParameterError: If there is no such style, or the quantile is not within 0 and 1.
    """

    style: FeatureStyle = "maps"
    quantile: float = 0.95
    look: Look = field(default_factory=Look)

    def __post_init__(self) -> None:
        if self.style not in get_args(FeatureStyle):
            raise ParameterError(f"style is one of {', '.join(get_args(FeatureStyle))}, not '{self.style}'.")
        if not 0 < self.quantile < 1:
            raise ParameterError(f"quantile lies between 0 and 1, not at {self.quantile}.")

    def describe(self) -> dict[str, Any]:
        """The look as plain values, for provenance."""
        return {**self.look.describe(), "style": self.style, "quantile": self.quantile}


@dataclass(frozen=True, eq=False)
class FeatureMaps(Parts[Heatmap], Part):
    """Some units' maps of one picture; a sequence of :class:`Heatmap`, each of one unit.

    Attributes:
        parts: The maps, in the order in which they are drawn.
        total: How many units the layer has.
        silent: How many of them are zero everywhere on this picture.
        checks: What the user should know.
        provenance: How they were made.
        before: Each unit's largest value before the ceiling of the function that the layer ends in (ReLU6, ...); empty
            where it ends in none.
    """

    parts: tuple[Heatmap, ...]
    total: int
    silent: int
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)
    before: tuple[float, ...] = field(default=(), repr=False)

    @property
    def values(self) -> NDArray[np.float32]:
        """``(U, h, w)`` float32 (or ``(U, t)``, ``(U, d, h, w)``): the layer's own values at its own resolution."""
        return np.stack([one.values for one in self.parts])

    @property
    def units(self) -> tuple[int, ...]:
        """The units' numbers."""
        return tuple(one.target.channel for one in self.parts if isinstance(one.target, Unit))

    @property
    def picture(self) -> Sample:
        """The picture, with the geometry of the network's input."""
        return self.parts[0].picture

    @property
    def layer(self) -> str:
        """The layer."""
        return self.parts[0].layer or ""

    def threshold(self, number: int, quantile: float) -> float:
        """The value from which on a unit responds: what a share ``1 - quantile`` of its own map's places reaches.

        A unit that is zero at so many places responds wherever it is above zero; infinite where it never is.
        """
        values = self.parts[number].values
        least = float(np.quantile(values, quantile))
        if least > 0 or not self.parts[number].rectified:
            return least
        return float(values[values > 0].min(initial=np.inf))

    def responds(self, number: int, quantile: float, align: Align = "field") -> NDArray[np.bool_]:
        """Where a unit responds on the original picture, ``(H, W)``; ``align`` as heat maps have it."""
        return np.asarray(self.parts[number].on_original(align) >= self.threshold(number, quantile))

    def scale(self, number: int | None, look: Look) -> Scale:
        """What the colours mean: of one unit's map, or of all of this picture in common."""
        values = self.values if number is None else self.parts[number].values
        signed = not all(one.rectified for one in self.parts)
        suited = look.suited(self.picture, signed=signed)
        return suited.scale_of(values, signed=signed, usual=NORMALISED, measures=ACTIVATION)

    def rows(self, look: FeatureLook, scale: Scale | None = None) -> tuple[tuple[Cell, ...], ...]:
        """The photograph and every unit, in rows.

        Args:
            look: How they are drawn.
            scale: One for all of them; None gives each its own.
        """
        wide = is_wide(self.picture)
        first = Cell(pixels_of(self.picture)[self._seen_part()], self.picture.name, paper=wide)
        if look.style == "maps" and isinstance(self.picture, Signal):
            return (first,), (self._draw_lines(self.picture, look, scale),)
        cells = [first, *(self._draw_cell(number, look, scale) for number in range(len(self)))]
        across = PAIR if wide and look.style != "maps" else well_across(len(cells))
        return tuple(tuple(cells[start : start + across]) for start in range(0, len(cells), across))

    def describe(self) -> dict[str, Any]:
        """What there is to say without a picture, as plain values."""
        found = [
            {
                "unit": unit,
                "highest": float(one.values.max()),
                "lowest": float(one.values.min()),
                "mean": float(one.score),
                "peak": None if one.blank else list(one.peak()),
            }
            for unit, one in zip(self.units, self.parts, strict=True)
        ]
        about = {"layer": self.layer, "units_in_layer": self.total, "silent": self.silent}
        for one, peak in zip(found, self.before, strict=False):
            one["highest_before_ceiling"] = peak
        return {**about, "units": found, "checks": list(self.checks)}

    def _slice(self, rows: slice) -> Self:
        return self._replace(parts=self.parts[rows], before=self.before[rows])

    def _draw_lines(self, signal: Signal, look: FeatureLook, scale: Scale | None) -> Cell:
        """All units' values over the time of a signal, each unit's as a line."""
        scales = [scale or self.scale(number, look.look) for number in range(len(self))]
        values = np.stack([one.on_original(look.look.align) for one in self.parts])
        return Cell(draw_traces(signal, values, [f"unit {unit}" for unit in self.units], scales), paper=True)

    def _draw_cell(self, number: int, look: FeatureLook, scale: Scale | None) -> Cell:
        one, unit = self.parts[number], self.units[number]
        own, seen = scale or self.scale(number, look.look), self._seen_part()
        if look.style == "maps":
            return Cell(plot(one.values, own), self._caption(number))
        if look.style == "overlay":
            return Cell(one.overlay(look.look, own)[seen], self._caption(number), paper=is_wide(self.picture))
        least = self.threshold(number, look.quantile)
        said = f"shown above {_format_ends(least, least)[0]}" if np.isfinite(least) else "silent"
        where = self.responds(number, look.quantile, look.look.align)
        if not isinstance(self.picture, Picture):
            shown = look.look.suited(self.picture, signed=False).scale_of(np.array([0.0, 1.0]))
            drawn = draw_over(self.picture, where.astype(np.float32), shown, slicing=look.look.slicing)
            return Cell(drawn, f"unit {unit} ({said})", paper=True)
        return Cell(masked(pixels_of(self.picture), where)[seen], f"unit {unit} ({said})")

    def _caption(self, number: int) -> str:
        """A unit and its range, and its peak before the ceiling where that is another."""
        values = self.parts[number].values
        above, peak = "", self.before[number] if self.before else None
        if peak is not None and math.isfinite(peak) and peak > 0:
            cut = _format_ends(peak, peak)[0]
            above = f"\n{cut} before the ceiling" if cut != _format_ends(*(float(values.max()),) * 2)[0] else ""
        return f"unit {self.units[number]} ({_describe_range(values)}){above}"

    def _seen_part(self) -> tuple[slice, slice]:
        """The part of the picture that the network saw; of what is no picture all that is drawn."""
        if not isinstance(self.picture, Picture):
            return slice(None), slice(None)
        height, width = self.picture.size
        left, top, right, bottom = self.parts[0].geometry.box
        rows = slice(max(round(top), 0), max(min(round(bottom), height), 1))
        return rows, slice(max(round(left), 0), max(min(round(right), width), 1))

    def _as_batch(self) -> Features:
        return Features((self,), self.checks, self.provenance)


def feature_look(fields: Mapping[str, Any]) -> FeatureLook:
    """A look from its fields by name: ``style``, ``quantile``, and those of :class:`Look`.

    Raises:
        ParameterError: If there is no such field, style or quantile.
    """
    own = {name: fields[name] for name in ("style", "quantile") if name in fields}
    return FeatureLook(**own, look=look_of({name: value for name, value in fields.items() if name not in own}))


def _describe_range(values: NDArray[np.float32]) -> str:
    low, high = float(values.min()), float(values.max())
    if not math.isfinite(low) or not math.isfinite(high):
        return "not finite"
    if low == high == 0:
        return "silent"
    first, last = _format_ends(low, high)
    return f"max {last}" if low >= 0 else f"{first} to {last}"


def _format_ends(low: float, high: float) -> tuple[str, str]:
    """Two values as they are written at the ends of a colour bar."""
    first, _, last = ticks(Scale(low + 0.0, high + 0.0))  # a negative zero becomes a plain one
    return first[1], last[1]


SMALLEST, LARGEST, WIDEST = 112, 320, 2000
PAIR: Final = 2
"""Signals and volumes with units' maps side by side."""


@dataclass(frozen=True, eq=False)
class Features(StyledBatch[FeatureMaps, FeatureLook]):
    """The feature maps of a layer for a batch of pictures; a sequence of :class:`FeatureMaps`.

    They are drawn as ``style`` (``"maps"``, ``"overlay"`` or ``"masked"``), ``quantile`` and the other fields of
    :class:`Look` say; ``shared=True`` gives all maps one scale. Saved as ``.npz`` they are ``values``
    ``(N, U, h, w)``, ``units`` ``(N, U)``, ``images`` (names), ``boxes`` (left, top, right, bottom of the network's
    input on each picture, in its pixels) and ``provenance`` (JSON text).

    Attributes:
        parts: The maps of each picture.
        checks: What the user should know about the result as a whole.
        provenance: How it was made.
    """

    _INTO_AXES = "maps"

    parts: tuple[FeatureMaps, ...]
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    @property
    def values(self) -> NDArray[np.float32]:
        """``(N, U, h, w)`` float32: of each picture its units' maps, the layer's own values."""
        return np.stack([one.values for one in self.parts])

    @property
    def units(self) -> NDArray[np.int64]:
        """``(N, U)``: the units that are shown of each picture."""
        return np.array([one.units for one in self.parts], dtype=np.int64)

    @property
    def layer(self) -> str:
        """The layer."""
        return self.parts[0].layer

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "values": self.values,
            "units": self.units,
            "images": np.array([one.picture.name for one in self.parts]),
            "boxes": np.array([one[0].geometry.box for one in self.parts], dtype=np.float64),
        }

    def _read_look(self, fields: Mapping[str, Any]) -> FeatureLook:
        return feature_look(fields)

    def _usual_cell(self, grid: Grid) -> int | None:
        if any(cell.paper for row in grid.sheet.rows for cell in row if cell):
            return None
        return max(SMALLEST, min(LARGEST, WIDEST // grid.sheet.shape[1]))

    def _draw(self, look: FeatureLook, scale: Scale | None) -> Grid:
        first = self.parts[0]
        rows = tuple(row for one in self.parts for row in one.rows(look, scale))
        bar = ((legend(scale),),) if scale is not None and look.style != "masked" else ()
        shown = f"{len(first)} of {first.total} units, {spell_size(first[0].values.shape)} places"
        title = self._title(first[0].model, first.layer, shown)
        notes = *self._notes(look), *cautions(self.checks)
        sheet = Sheet((*rows, *bar), title=title, notes=notes, details=remarks(self.checks))
        return Grid(sheet, self.provenance.drawn(**look.describe()))

    def _notes(self, look: FeatureLook) -> list[str]:
        notes = [f"{one.silent} of {one.total} units are zero all over {one.picture.name}" for one in self.parts]
        notes = [note for note, one in zip(notes, self.parts, strict=True) if one.silent]
        if look.style == "masked":
            share = f"{100 * (1 - look.quantile):.3g} %"
            notes.insert(
                0, f"In colour: where a unit is at least as strong as at the strongest {share} of its map's places."
            )
        elif not look.look.shared:
            end = "" if look.look.normalise else ", up to its 99th percentile"
            notes.insert(0, f"Each map has a scale of its own{end}.")
        seen = self.parts[0][0].field
        if look.style != "maps" and look.look.align == "pixel" and seen is not None and seen.placed:
            notes.append(EVENLY)
        return notes

    def _shared_scale(self, look: FeatureLook) -> Scale | None:
        if not look.look.shared:
            return None
        signed = not all(map_.rectified for one in self.parts for map_ in one)
        suited = look.look.suited(self.parts[0].picture, signed=signed)
        return suited.scale_of(self.values, signed=signed, usual=NORMALISED, measures=ACTIVATION)
