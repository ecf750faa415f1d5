"""Units by classes: how much each class excites each unit, and which units are selective for a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.drawing.colour import colourise, scale_of
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.errors import ParameterError
from cnnviz.results.patch_cells import number

__all__ = ["TILE", "ClassMatrix"]

TILE = 28, 64
"""Height and width of a tile in pixels."""

MOST_CLASSES = 20
CMAP = "Blues"


@dataclass(frozen=True, eq=False)
class ClassMatrix:
    """Mean value of each unit for each class.

    Attributes:
        means: ``(C, K)`` float64: over the images of the class; NaN for a class without images.
        classes: The classes' names.
        images: ``(K,)``: images of each class.
    """

    means: NDArray[np.float64] = field(repr=False)
    classes: tuple[str, ...]
    images: NDArray[np.int64] = field(repr=False)

    def selectivity(self) -> NDArray[np.float64]:
        """How much more a class excites a unit than the other classes do, ``(C, K)``, -1 to 1.

        It is ``(a - b) / (|a| + |b|)`` of the unit's mean ``a`` for the class and the mean ``b`` of its means for the
        others (Morcos et al., On the importance of single directions for generalization, ICLR 2018, for every class
        instead of the largest alone); 0 for a unit that never responds, NaN for a class without images.
        """
        known = np.isfinite(self.means)
        held = np.where(known, self.means, 0.0)
        others = (known.sum(axis=1, keepdims=True) - known).clip(1)
        rest = (held.sum(axis=1, keepdims=True) - held) / others
        size = np.abs(held) + np.abs(rest)
        ratio = np.divide(held - rest, size, out=np.zeros_like(size), where=size > 0)
        return np.where(known, ratio, np.nan)

    def most_selective(self, index: int, most: int) -> list[int]:
        """The units that are most selective for a class, the most selective first; of equal ones the lower number."""
        column = np.nan_to_num(self.selectivity()[:, index], nan=-np.inf)
        order = np.lexsort((np.arange(len(column)), -self.means[:, index], -column))
        return [int(unit) for unit in order[:most] if column[unit] > 0]

    def preference(self, unit: int) -> str:
        """The class that a unit is most selective for, and how much; empty if it is for none."""
        row = np.nan_to_num(self.selectivity()[unit], nan=-1.0)
        best = int(row.argmax())
        return f"{self.classes[best]} {row[best]:.2f}" if row[best] > 0 else ""

    def sheet(self, units: Sequence[int] | None = None, *, most: int = 3, title: str = "") -> Sheet:
        """A tile for each unit and class, white for nothing and darkest for the unit's largest class mean.

        Args:
            units: The units; None takes for each class those that are most selective for it.
            most: How many a class.
            title: Drawn above.

        Raises:
            ParameterError: If no unit is selective for any class.
        """
        shown = self._classes_shown()
        pairs = [(unit, -1) for unit in units] if units is not None else self._pairs(shown, most)
        if not pairs:
            raise ParameterError("No unit responds to one class more than to the others.")
        rows = tuple(tuple(self._tile(unit, index) for index in shown) for unit, _ in pairs)
        headings = tuple(self._heading(unit, index) for unit, index in pairs)
        names = tuple(self.classes[index] for index in shown)
        notes = (
            "Each row on a scale of its own, from 0 (white) to the unit's largest class mean; under a tile the mean.",
            *([] if units is not None else ["In brackets the selectivity: 1 is a unit for one class, 0 for none."]),
            *([f"{len(shown)} of {len(self.classes)} classes, those with the most selective units"]
              if len(shown) < len(self.classes) else []),
        )  # fmt: skip
        return Sheet(rows, row_headings=headings, column_headings=names, title=title, notes=notes)

    def describe(self) -> list[dict[str, Any]]:
        """For each class its name, its images, and its most selective units, as plain values."""
        selectivity = self.selectivity()
        return [
            {
                "class": name,
                "images": int(self.images[index]),
                "units": [
                    {
                        "unit": unit,
                        "selectivity": float(selectivity[unit, index]),
                        "mean": float(self.means[unit, index]),
                    }
                    for unit in self.most_selective(index, 3)
                ],
            }
            for index, name in enumerate(self.classes)
        ]

    def _classes_shown(self) -> list[int]:
        """Classes in order; of too many those for which a unit is most selective."""
        seen = [index for index in range(len(self.classes)) if self.images[index]]
        if len(seen) <= MOST_CLASSES:
            return seen
        best = self.selectivity()[:, seen].max(axis=0)
        return sorted(seen[place] for place in np.argsort(-best, kind="stable")[:MOST_CLASSES])

    def _pairs(self, shown: Sequence[int], most: int) -> list[tuple[int, int]]:
        return [(unit, index) for index in shown for unit in self.most_selective(index, most)]

    def _heading(self, unit: int, index: int) -> str:
        if index < 0:
            return f"unit {unit}"
        return f"{self.classes[index]}: unit {unit} ({self.selectivity()[unit, index]:.2f})"

    def _tile(self, unit: int, index: int) -> Cell:
        row = self.means[unit]
        scale = scale_of(row, cmap=CMAP)
        tile = colourise(np.full(TILE, row[index]), scale)
        return Cell(tile, number(float(row[index])))
