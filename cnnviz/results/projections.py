"""Projections: what in the pixels a layer's units respond to, beside the pixels themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.picture import Picture
from cnnviz.core.sample import Sample
from cnnviz.core.target import Unit
from cnnviz.drawing.colour import NO_VALUE, paint_alone
from cnnviz.drawing.plots import paste_window, plot_alone, plot_window
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.provenance import Provenance, cautions, remarks
from cnnviz.results.result import DrawnResult, Grid

__all__ = ["Projections"]

BLOCKS_ACROSS: Final = 3
SEAM: Final = 2
SMALLEST_MOSAIC: Final = 240


@dataclass(frozen=True, eq=False)
class Projections(DrawnResult):
    """Units of one layer, each with the pictures that excite it most, the strongest first.

    Attributes:
        values: ``(U, K, C, H, W)`` float32: the activation projected back to the network's input, raw and signed; of
            signals and volumes with their own axes of places.
        activations: ``(U, K)`` float32: the activation that was projected.
        places: ``(U, K, 2)``: its row and column in the layer; a number for each axis of places.
        boxes: ``(U, K, 4)``: what that place sees: top, left, bottom, right in pixels of the network's input; for each
            axis the first place, then for each one past the last.
        rows: ``(U, K)``: which of the pictures it is.
        units: Each unit's layer and channel.
        seen: ``(N, H, W, 3)`` uint8: the pictures as the network saw them; of signals and volumes their values
            ``(N, C, ...)`` float32.
        pictures: The pictures.
        model: The network's name.
        checks: What the user should know.
        provenance: How it was made.
    """

    values: NDArray[np.float32] = field(repr=False)
    activations: NDArray[np.float32] = field(repr=False)
    places: NDArray[np.int64] = field(repr=False)
    boxes: NDArray[np.int64] = field(repr=False)
    rows: NDArray[np.int64] = field(repr=False)
    units: tuple[Unit, ...]
    seen: NDArray[np.uint8] | NDArray[np.float32] = field(repr=False)
    pictures: tuple[Sample, ...] = field(repr=False)
    model: str
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    def __len__(self) -> int:
        return len(self.units)

    def grid(self) -> Grid:
        """A block a unit: its patches, and beside them what of each the unit responds to."""
        blocks = [self._draw_unit(number) for number in range(len(self))]
        across = min(BLOCKS_ACROSS, len(blocks))
        rows = tuple(sum(blocks[start : start + across], ()) for start in range(0, len(blocks), across))
        pictured = isinstance(self.pictures[0], Picture)
        what, zero = ("picture", "; grey is zero") if pictured else ("input", "")
        legend = (
            f"Left: the part of the {what} in the unit's receptive field. Right: its activation projected back{zero}"
        )
        notes, title = (legend, *cautions(self.checks)), self._title(self.model, self.units[0].layer)
        return Grid(Sheet(rows, title=title, notes=notes, details=remarks(self.checks)), self.provenance)

    def describe(self) -> dict[str, Any]:
        """What there is to say without a picture, as plain values."""
        cases = zip(self.units, self.activations, self.rows, self.places, strict=True)
        return {
            "layer": self.units[0].layer,
            "units": [
                {
                    "unit": unit.channel,
                    "images": [self.pictures[row].name for row in rows],
                    "activations": [float(value) for value in values],
                    "places": places.tolist(),
                }
                for unit, values, rows, places in cases
            ],
            "checks": list(self.checks),
        }

    def _arrays(self) -> dict[str, NDArray[Any]]:
        names = ("values", "activations", "places", "boxes", "rows")
        arrays: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in names}
        arrays["units"] = np.array([str(unit) for unit in self.units])
        arrays["images"] = np.array([picture.name for picture in self.pictures])
        return arrays

    def _draw_unit(self, number: int) -> tuple[Cell, ...]:
        patches, drawn = [], []
        for row, box, values in zip(self.rows[number], self.boxes[number], self.values[number], strict=True):
            first, second = self._draw_case(int(row), box, values)
            patches.append(first)
            drawn.append(second)
        strongest = float(self.activations[number].max())
        caption = f"unit {self.units[number].channel} (max {strongest:.4g})"
        silent = "" if strongest > 0 else "never active here"
        return Cell(_draw_mosaic(patches), caption), Cell(_draw_mosaic(drawn), silent)

    def _draw_case(
        self, row: int, box: NDArray[np.int64], values: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """One patch, and what of it the unit responds to."""
        count = len(box) // 2
        cut = tuple(slice(first, last) for first, last in zip(box[:count], box[count:], strict=True))
        if isinstance(self.pictures[row], Picture):
            projected = paint_alone(values[(slice(None), *cut)])
            return self._pad_patch(self.seen[row][cut], box), self._pad_patch(projected, box)
        sides = (self.boxes[..., count:] - self.boxes[..., :count]).reshape(-1, count).max(axis=0).tolist()
        seen = self.seen[row].astype(np.float32)
        ends = zip(box[:count].tolist(), box[count:].tolist(), sides, strict=True)
        start = [last - side if first == 0 else first for first, last, side in ends]
        patch, projection = (paste_window(each, start, sides) for each in (seen, values))
        return plot_window(patch, seen), plot_alone(projection)

    def _pad_patch(self, patch: NDArray[np.uint8], box: NDArray[np.int64]) -> NDArray[np.uint8]:
        """A patch as large as the largest; where the picture's border cut it off, the rest is grey."""
        sizes = self.boxes[..., 2:] - self.boxes[..., :2]
        height, width = (int(side) for side in sizes.reshape(-1, 2).max(axis=0))
        canvas = np.full((height, width, 3), NO_VALUE, dtype=np.uint8)
        top = height - patch.shape[0] if box[0] == 0 else 0
        left = width - patch.shape[1] if box[1] == 0 else 0
        canvas[top : top + patch.shape[0], left : left + patch.shape[1]] = patch
        return canvas


def _draw_mosaic(patches: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Patches of one size in a square, row by row, as large as is easily seen."""
    side = math.ceil(math.sqrt(len(patches)))
    height, width = patches[0].shape[:2]
    factor = max(1, math.ceil(SMALLEST_MOSAIC / (side * max(height, width))))
    patches = [patch.repeat(factor, axis=0).repeat(factor, axis=1) for patch in patches]
    height, width = height * factor + SEAM, width * factor + SEAM
    canvas = np.full((math.ceil(len(patches) / side) * height - SEAM, side * width - SEAM, 3), 255, dtype=np.uint8)
    for number, patch in enumerate(patches):
        top, left = number // side * height, number % side * width
        canvas[top : top + patch.shape[0], left : left + patch.shape[1]] = patch
    return canvas
