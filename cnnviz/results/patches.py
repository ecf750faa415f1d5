"""Patches: what of a data set excites the units of a layer most, cut from the photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from cnnviz.core.dimensions import PICTURE
from cnnviz.drawing.colour import Scale
from cnnviz.drawing.plots import paste_window, plot_alone, plot_table, plot_window
from cnnviz.drawing.raster import resize
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.errors import ParameterError, UsageError
from cnnviz.provenance import Provenance, cautions, remarks
from cnnviz.results.result import DrawnResult, Grid

__all__ = [
    "ClassMatrix",
    "Patches",
    "Strip",
    "View",
    "draw_strip",
    "draw_window",
    "format_number",
    "paste_window",
]

SEAM = 2
PALER = 0.62
OUTLINE = (255, 214, 0)
PLAIN = 1e-3, 1e6


def draw_strip(strip: Strip, row: int) -> tuple[Cell | None, ...]:
    """One unit's patches with their values; None where there is none."""
    return tuple(
        _draw_patch(strip, row, rank) if strip.images[row, rank] >= 0 else None for rank in range(strip.images.shape[1])
    )


def draw_window(
    seen: NDArray[np.float32], start: Sequence[int], sides: Sequence[int], mark: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """A part of a signal or volume as lines or slices ``(h, w, 3)``.

    Args:
        seen: ``(C, ...)``: its values as the network saw them.
        start: Where the part begins along each axis; may lie before the values.
        sides: How long it is along each axis.
        mark: ``(...)``: what of it is to be seen clearly, the rest paler; None for all.
    """
    return plot_window(paste_window(seen, start, sides), seen, mark)


def format_number(value: float) -> str:
    """Three digits, without an exponent where that is short, with a true minus sign."""
    short = f"{float(f'{value:.3g}'):,.15g}" if PLAIN[0] <= abs(value) < PLAIN[1] else f"{value:.3g}"
    return short.replace("-", "\N{MINUS SIGN}")


def _draw_patch(strip: Strip, row: int, rank: int) -> Cell:
    patch = strip.pixels[row, rank]
    if strip.marks is not None and strip.marks.shape == strip.pixels.shape[:-1]:  # others have it in their lines
        patch = _draw_mark(patch, strip.marks[row, rank])
    if strip.projections is not None:
        patch = _put_beside(patch, plot_alone(strip.projections[row, rank]))
    return Cell(patch, format_number(float(strip.values[row, rank])))


def _draw_mark(pixels: NDArray[np.uint8], mark: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """An image, paler outside the mark, with a line around it; where nothing is marked, the image as it is."""
    if not mark.any() or mark.all():
        return pixels
    grey = pixels.mean(axis=2, keepdims=True)
    pale = PALER * (0.5 * pixels + 0.5 * grey) + (1 - PALER) * 255
    shown = np.where(mark[..., None], pixels, np.rint(pale)).astype(np.uint8)
    contours, _ = cv2.findContours(mark.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    width = max(1, round(max(pixels.shape[:2]) / 110))
    return np.asarray(cv2.drawContours(np.ascontiguousarray(shown), contours, -1, OUTLINE, width), np.uint8)


def _put_beside(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two pictures of one size, the smaller enlarged, with a seam between."""
    size = max(left.shape[0], right.shape[0]), max(left.shape[1], right.shape[1])
    seam = np.full((size[0], SEAM, 3), 255, dtype=np.uint8)
    return np.concatenate([resize(left, size), seam, resize(right, size)], axis=1)


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
        """A heat map of units and classes: as colour the share of the unit's largest class mean, as number the mean.

        A frame marks the class with the highest mean of each unit, which its row names.

        Args:
            units: The units; None takes for each class those that are most selective for it.
            most: How many a class.
            title: Drawn above.

        Raises:
            ParameterError: If no unit is selective for any class.
        """
        shown = self._choose_classes()
        pairs = [(unit, -1) for unit in units] if units is not None else self._choose_units(shown, most)
        if not pairs:
            raise ParameterError("No unit responds to one class more than to the others.")
        scale = Scale(0.0, 1.0, cmap=CMAP)
        means = self.means[[unit for unit, _ in pairs]]
        most_of = np.nanmax(np.abs(means), axis=1, keepdims=True)
        shares = np.divide(means, most_of, out=np.zeros_like(means), where=most_of > 0)[:, shown]
        names = tuple(self.classes[index] for index in shown)
        words = [[format_number(float(value)) for value in row] for row in means[:, shown]]
        headings = [self._name_row(unit, index) for unit, index in pairs]
        drawn = plot_table(shares, scale, words, (headings, names))
        notes = (
            "Number: the unit's mean over the images of the class. Colour: its share of the unit's largest class mean.",
            *([] if units is not None else ["In brackets the selectivity: 1 = only this class."]),
            *([f"{len(shown)} of {len(self.classes)} classes, those with the most selective units"]
              if len(shown) < len(self.classes) else []),
        )  # fmt: skip
        return Sheet(((Cell(drawn, scale=scale, paper=True),),), title=title, notes=notes)

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

    def _choose_classes(self) -> list[int]:
        """Classes in order; of too many those for which a unit is most selective."""
        seen = [index for index in range(len(self.classes)) if self.images[index]]
        if len(seen) <= MOST_CLASSES:
            return seen
        best = self.selectivity()[:, seen].max(axis=0)
        return sorted(seen[place] for place in np.argsort(-best, kind="stable")[:MOST_CLASSES])

    def _choose_units(self, shown: Sequence[int], most: int) -> list[tuple[int, int]]:
        return [(unit, index) for index in shown for unit in self.most_selective(index, most)]

    def _name_row(self, unit: int, index: int) -> str:
        row = np.nan_to_num(self.means[unit], nan=-np.inf)
        best = int(row.argmax())
        highest = f", highest: {self.classes[best]}"
        if index < 0:
            return f"unit {unit}{highest if row[best] > 0 else ''}"
        name = f"unit {unit}: {self.classes[index]} ({self.selectivity()[unit, index]:.2f})"
        return name if best == index else f"{name}{highest}"


View = Literal["field", "image"]
"""Whether a patch is what the unit sees, or the whole image with the places marked where it responds."""

SIDE = 132
WITHOUT_EFFECT = ("index", "workers")
MARKED = (
    "the receptive field covers most of the image, so the whole image is shown, faded where the response is below "
    "half its peak"
)
CUT = "each patch is the unit's receptive field; grey: outside what the network saw"


@dataclass(frozen=True, eq=False)
class Strip:
    """For each unit a row of patches.

    Attributes:
        values: ``(U, K)`` float32: the unit's value; NaN where there is no patch.
        images: ``(U, K)`` int64: the picture's number in the data set; -1 where there is no patch.
        keys: ``(U, K)`` text: the picture's key.
        positions: ``(U, K, 2)``: row and column of the value in the layer; a number for each axis of places.
        boxes: ``(U, K, 4)``: what that place sees: top, left, bottom, right in pixels of the network's input (of each
            axis the first place, then of each one past the last); it may reach beyond it.
        pixels: ``(U, K, h, w, 3)`` uint8: the patches as they are drawn.
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
class Patches(DrawnResult):
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
        dead: ``(U,)``: whether the unit is constant over all images.
        matrix: Mean value of all units of the layer for each class; None for a data set without classes.
        model: The network's name.
        data: The data set's name.
        checks: What the user should know.
        provenance: How it was made.
    """

    _ARRAY = "top.pixels"

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

    def grid(self) -> Grid:
        """A row a unit: its strongest patches with their values; below, if they were asked for, the random ones."""
        rows: list[tuple[Cell | None, ...]] = []
        headings: list[str] = []
        for row in range(len(self)):
            rows.append(draw_strip(self.top, row))
            headings.append(self._name_row(row))
            if self.samples is not None:
                rows.append(draw_strip(self.samples, row))
                headings.append("at random, from the highest tenth to the lowest")
        title = self._title(self.model, self.layer, self.data)
        shown = CUT if self.view == "field" else MARKED
        if self.top.positions.shape[-1] != PICTURE:
            shown = shown.replace("image", "input").replace("picture", "input")
        notes = (f"{shown}; below it the value of {self.ranked}", *self._notes())
        sheet = Sheet(tuple(rows), row_headings=tuple(headings), title=title, notes=notes, details=remarks(self.checks))
        return Grid(sheet, self.provenance, SIDE if self.top.projections is None else 2 * SIDE)

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
        sheet = self.matrix.sheet(units, most=most, title=title)
        return Grid(sheet, self.provenance, max(cell.size) if (cell := sheet.only) else None)

    def describe(self) -> dict[str, Any]:
        """What there is to say without a picture, as plain values."""
        return {
            "layer": self.layer,
            "ranked": self.ranked,
            "view": self.view,
            "units": [self._describe_unit(row) for row in range(len(self))],
            "classes": None if self.matrix is None else self.matrix.describe(),
            "checks": list(self.checks),
        }

    def stamped(self, method: str, settings: Mapping[str, Any]) -> Self:
        """The same with method and settings in its provenance, but for those that change nothing in it."""
        told = {name: value for name, value in settings.items() if name not in WITHOUT_EFFECT}
        return self._replace(provenance=self.provenance.stamped(method, told))

    def _record_of_arrays(self) -> Provenance:
        return self.provenance

    def _name_row(self, row: int) -> str:
        unit = f"unit {self.units[row]}"
        if self.dead[row]:
            return f"{unit}\ndead: constant over all images"
        tied = f"{self.ties[row]} images tie for first" if self.ties[row] > 1 else ""
        often = f"active in {self.active[row] / self.counts[row]:.0%} of images" if self.counts[row] else ""
        likes = self.matrix.preference(self.units[row]) if self.matrix else ""
        return "\n".join(filter(None, (unit, likes, tied or often)))

    def _notes(self) -> tuple[str, ...]:
        projected = ("beside each patch that activation projected back (deconvnet), each on a scale of its own",)
        classes = (
            ("under a unit the class it is most selective for, and its selectivity: 1 = only this class",)
            if self.matrix
            else ()
        )
        return (*(() if self.top.projections is None else projected), *classes, *cautions(self.checks))

    def _describe_unit(self, row: int) -> dict[str, Any]:
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
