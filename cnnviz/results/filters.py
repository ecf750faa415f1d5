"""Filters: the kernels of a layer, with what can be said about them without a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.dimensions import PICTURE, SIGNAL, VOLUME, Size, count_places, spell_size
from cnnviz.drawing.colour import Normalisation, Scale, scale_of
from cnnviz.drawing.layout import well_across
from cnnviz.drawing.plots import plot, plot_channels
from cnnviz.drawing.sheet import Cell, Sheet, legend
from cnnviz.provenance import Provenance, cautions, remarks
from cnnviz.results.result import DrawnResult, Grid

__all__ = ["Filters", "Scaling"]

Scaling: TypeAlias = Literal["shared", "own"]

SMALLEST, LARGEST, WIDEST = 64, 320, 1920
PER_WEIGHT: Final = 32
"""Pixels of a weight of a small kernel, at most."""
WEIGHT: Final = "weight"
LEGENDS: Final = {
    "colour": "Colours are the weights on red, green and blue; mid grey is zero.",
    "map": "Blue is a negative weight, white is zero and red a positive one.",
    "compressed": "Each colour is a group of input channels; brighter: larger weights on it. "
    "Below, the share of the unit's squared weights that the three colours show.",
}


@dataclass(frozen=True, eq=False)
class Filters(DrawnResult):
    """The kernels of one layer.

    Saved as ``.npz`` they are ``values``, ``drawn``, ``inputs``, ``norms``, ``dead``, ``duplicates`` (unit, earlier
    unit) with their ``cosines``, ``colours`` and ``shares`` where there are any, and ``provenance`` (JSON text).

    Attributes:
        values: ``(U, C, kh, kw)``, of signals ``(U, C, k)``, of volumes ``(U, C, kd, kh, kw)`` float32: of every unit,
            its kernels on the ``C`` input channels that it reads.
        layer: The layer.
        drawn: The units that are drawn, in this order.
        inputs: ``(D, m)``: for each drawn unit the input channels whose kernels are drawn, counted in the layer's
            whole input.
        groups: In how many groups the units read the input channels.
        coloured: Whether the three channels are the picture's colours.
        scaling: Whether all kernels are drawn on one scale, or each unit on its own.
        colours: ``(D, 3, ...)`` float32, at least 0: the kernels compressed to three colours; or None.
        shares: ``(D,)``: how much of each unit's squared weights the three colours hold; empty without them.
        norms: ``(U,)`` float32: Euclidean norm of every unit.
        dead: Units with a norm below a thousandth of the median.
        duplicates: By unit an earlier unit that it repeats, with their cosine; negative is the opposite.
        model: The network's name.
        checks: What the user should know.
        provenance: How it was made.
    """

    values: NDArray[np.float32] = field(repr=False)
    layer: str
    drawn: tuple[int, ...]
    inputs: NDArray[np.int64] = field(repr=False)
    groups: int
    coloured: bool
    scaling: Scaling
    colours: NDArray[np.float32] | None = field(repr=False)
    shares: NDArray[np.float32] = field(repr=False)
    norms: NDArray[np.float32] = field(repr=False)
    dead: tuple[int, ...]
    duplicates: Mapping[int, tuple[int, float]]
    model: str
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def in_rows(self) -> bool:
        """Whether each unit has a row, with a picture for each of its strongest input channels."""
        return self.colours is None and not self.coloured and self.inputs.shape[1] > 1

    def scale(self, number: int | None = None) -> Scale:
        """What the colours mean: up to the 99th percentile of all units, or to the largest of one drawn unit alone.

        Args:
            number: Which of the drawn units; None for all units of the layer.
        """
        way: Normalisation = "percentile" if number is None else "max"
        if self.colours is not None:
            return scale_of(
                self.colours if number is None else self.colours[number], cmap="gray", normalise=way, measures=WEIGHT
            )
        shown = self.values if number is None else self.values[self.drawn[number]]
        cmap = "gray" if self.coloured else None
        return scale_of(shown, signed=True, cmap=cmap, normalise=way, measures=WEIGHT)

    def grid(self) -> Grid:
        """The drawn units: one picture a unit, or a row a unit with its strongest input channels."""
        own = self.scaling == "own"
        scales = [self.scale(number if own else None) for number in range(len(self.drawn))]
        drawn = self._draw_rows(scales) if self.in_rows else self._draw_units(scales)
        rows = (*drawn, *(() if own else ((legend(scales[0]),),)))
        same = self.in_rows and bool((self.inputs == self.inputs[0]).all())
        kind = "colour" if self.coloured else "map"
        notes = (LEGENDS["compressed" if self.colours is not None else kind], *self._notes(), *cautions(self.checks))
        sheet = Sheet(
            rows,
            (*map(self._name_unit, self.drawn), *(() if own else ("",))) if self.in_rows else (),
            tuple(f"input {channel}" for channel in self.inputs[0]) if same else (),
            self._title(self.model, self.layer, f"{len(self)} units, {_spell_kernel(self.values.shape[2:])}"),
            notes,
            details=remarks(self.checks),
        )
        return Grid(sheet, self.provenance)

    def describe(self) -> dict[str, Any]:
        """What there is to say without a picture, as plain values."""
        doubles = [{"unit": unit, "like": other, "cosine": cos} for unit, (other, cos) in self.duplicates.items()]
        return {
            "layer": self.layer,
            "shape": list(self.values.shape),
            "groups": self.groups,
            "drawn": list(self.drawn),
            "scale": self.scale().high if self.scaling == "shared" else None,
            "norms": [float(norm) for norm in self.norms],
            "dead": list(self.dead),
            "duplicates": doubles,
            "checks": list(self.checks),
        }

    def _arrays(self) -> dict[str, NDArray[Any]]:
        pairs = [(unit, other) for unit, (other, _) in self.duplicates.items()]
        arrays: dict[str, NDArray[Any]] = {"values": self.values, "norms": self.norms, "inputs": self.inputs}
        arrays |= {"drawn": np.array(self.drawn), "dead": np.array(self.dead, dtype=np.int64)}
        arrays |= {"duplicates": np.array(pairs, dtype=np.int64).reshape(-1, 2)}
        arrays |= {"cosines": np.array([cosine for _, cosine in self.duplicates.values()], dtype=np.float32)}
        return arrays if self.colours is None else {**arrays, "colours": self.colours, "shares": self.shares}

    def _draw_units(self, scales: list[Scale]) -> list[tuple[Cell, ...]]:
        across = self._count_across()
        cells = [self._draw_unit(number, scale) for number, scale in enumerate(scales)]
        return [tuple(cells[start : start + across]) for start in range(0, len(cells), across)]

    def _draw_unit(self, number: int, scale: Scale) -> Cell:
        unit = self.drawn[number]
        if self.colours is not None:
            pixels = plot_channels(self.colours[number], scale)
        elif self.coloured:
            pixels = plot_channels(self.values[unit], scale)
        else:
            pixels = plot(self.values[unit, 0], scale)
        words = [self._name_unit(unit)]
        words += [f"{self.shares[number]:.0%}"] if self.colours is not None else []
        words += [_format_scale(scale)] if self.scaling == "own" else []
        return Cell(pixels, "\n".join(words))

    def _draw_rows(self, scales: list[Scale]) -> list[tuple[Cell, ...]]:
        same = bool((self.inputs == self.inputs[0]).all())
        rows = []
        for unit, channels, scale in zip(self.drawn, self.inputs, scales, strict=True):
            kernels = self.values[unit][channels % self.values.shape[1]]
            words = ["" if same else f"input {channel}" for channel in channels]
            words[0] = "\n".join(filter(None, (words[0], _format_scale(scale) if self.scaling == "own" else "")))
            cells = zip(kernels, words, strict=True)
            rows.append(tuple(Cell(plot(kernel, scale), caption) for kernel, caption in cells))
        return rows

    def _name_unit(self, unit: int) -> str:
        """A unit's number, and whether it is dead or like an earlier one."""
        said = [f"unit {unit}" if self.in_rows else str(unit)]
        said += ["dead"] if unit in self.dead else []
        if unit in self.duplicates:
            other, cosine = self.duplicates[unit]
            said.append(f"\N{ALMOST EQUAL TO} {'' if cosine > 0 else chr(0x2212)}{other}")
        return " ".join(said)

    def _notes(self) -> tuple[str, ...]:
        """What the shapes mean, where they are no pictures."""
        places = count_places(self.values.shape)
        if places == SIGNAL:
            return ("A line is a kernel over time, its height the weight.",)
        return ("A kernel's slices stand side by side, the first one first.",) if places == VOLUME else ()

    def _count_across(self) -> int:
        if self.in_rows:
            return int(self.inputs.shape[1])
        return well_across(len(self.drawn))

    def _usual_cell(self, grid: Grid) -> int | None:  # noqa: ARG002 - the rows say it
        flat = count_places(self.values.shape) == PICTURE
        most = min(LARGEST, PER_WEIGHT * max(self.values.shape[2:])) if flat else LARGEST
        return max(SMALLEST, min(most, WIDEST // self._count_across()))


def _spell_kernel(size: Size) -> str:
    return spell_size(size) if len(size[1:]) else f"{size[0]} long"


def _format_scale(scale: Scale) -> str:
    if scale.blank:
        return "all zero"
    return f"{chr(0xB1) if scale.signed else 'to '}{scale.high:.2g}"
