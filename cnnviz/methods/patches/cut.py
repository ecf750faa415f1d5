"""Patches cut out: where on the input a unit's patch lies, where on a whole image it responds, and the rows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.dimensions import Size
from cnnviz.core.field import Box, Field, Span
from cnnviz.core.picture import Picture
from cnnviz.images.crop import cut_out
from cnnviz.images.datasets.dataset import Dataset
from cnnviz.methods.patches.reread import RereadPicture
from cnnviz.results.patch_index import NO_IMAGE
from cnnviz.results.patches import Strip, View

__all__ = ["PatchGeometry", "PatchRows", "PatchSelection"]

MOST_OF_THE_IMAGE = 0.6
LONGEST = 192
HALF = 0.5


@dataclass(frozen=True)
class PatchGeometry:
    """Where the patches of one layer lie on the input, and how large they are drawn.

    Attributes:
        field: What the layer's units see; None if nothing is known.
        input: Height and width of the network's input.
        scale: Pixels of the photographs for each pixel of the input.
    """

    field: Field | None
    input: Size
    scale: float = 1.0

    @property
    def view(self) -> View:
        """A patch is what the unit sees, unless that is more than three fifths of the image or not known."""
        height, width = self.size
        placed = self.field is not None and self.field.placed
        return "field" if placed and height * width <= MOST_OF_THE_IMAGE * self.input[0] * self.input[1] else "image"

    @property
    def caveat(self) -> tuple[str, ...]:
        """What a patch does not tell of what the unit sees."""
        if self.field is None or self.field.kind == "unknown":
            why = f" ({self.field.because})" if self.field and self.field.because else ""
            return (f"how far the units of this layer see is not known{why}, so whole images are shown",)
        if self.field.kind == "gated" and self.view == "field":
            return (f"the rest of the image reaches these units too, but only through {self.field.because}",)
        return ()

    @property
    def size(self) -> Size:
        """Height and width of what a unit sees, in pixels of the input, as if that had no end."""
        return (self.field.size if self.field else None) or self.input

    @property
    def zoom(self) -> int:
        """Pixels of a patch for each pixel of the input: as fine as the photographs, within reason."""
        longest = max(self.size if self.view == "field" else self.input)
        return max(1, min(round(self.scale), LONGEST // longest))

    @property
    def shape(self) -> Size:
        """Height and width of a patch in its own pixels."""
        height, width = self.size if self.view == "field" else self.input
        return height * self.zoom, width * self.zoom

    def box(self, y: int, x: int) -> Box:
        """What the unit at a place of the layer sees of the input; may reach beyond it."""
        if self.field is None or not self.field.placed:
            return 0, 0, *self.input
        centre, (height, width) = self.field.centre(y, x), self.size
        top, left = round(centre[0] - (height - 1) / 2), round(centre[1] - (width - 1) / 2)
        return top, left, top + height, left + width

    def window(self, y: int, x: int) -> Box:
        """What is cut out for it."""
        return self.box(y, x) if self.view == "field" else (0, 0, *self.input)

    def mark(self, response: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Where on a whole image a response ``(h, w)`` is at least half its largest value.

        That is nowhere if the largest is not above zero, and everywhere if the layer has no places.
        """
        peak = response.max()
        if peak <= 0:
            return np.zeros(self.shape, dtype=np.bool_)
        if response.size == 1:
            return np.ones(self.shape, dtype=np.bool_)
        spans = (self.field.rows, self.field.columns) if self.field and self.field.placed else (None, None)
        down, across = (_interpolation_weights(*each) for each in zip(spans, response.shape, self.input, strict=True))
        marked: NDArray[np.bool_] = down @ response.astype(np.float64) @ across.T >= HALF * peak
        return marked.repeat(self.zoom, axis=0).repeat(self.zoom, axis=1)


def _interpolation_weights(span: Span | None, units: int, pixels: int) -> NDArray[np.float64]:
    """How much of each unit every pixel along an axis gets, ``(pixels, units)``.

    It is linear between the units' centres, held for half a stride beyond the outer ones, and then nothing.
    """
    stride = span.stride if span else pixels / units
    centres = np.array([span.centre(unit) if span else (unit + HALF) * stride - HALF for unit in range(units)])
    along = np.arange(pixels)
    shares = np.stack([np.interp(along, centres, row) for row in np.eye(units)], axis=1)
    outside = (along < centres[0] - stride / 2) | (along > centres[-1] + stride / 2)
    shares[outside] = 0
    return shares


@dataclass(frozen=True, eq=False)
class PatchSelection:
    """The patches to be shown: values and images ``(U, K)``, -1 for none, and places ``(U, K, 2)`` in the layer."""

    values: NDArray[np.float32]
    images: NDArray[np.int64]
    positions: NDArray[np.int32]


class PatchRows:
    """A row of patches for each unit, filled picture by picture.

    Args:
        selection: What is to be shown.
        units: The units' numbers.
        geometry: Where their patches lie.

    Attributes:
        worst: The largest difference between a value and what its picture gave now, as a share of the unit's largest.
        moved: How many patches lie elsewhere than where their picture gives the value now.
    """

    def __init__(self, selection: PatchSelection, units: Sequence[int], geometry: PatchGeometry) -> None:
        self._selection, self._units, self._geometry = selection, list(units), geometry
        shape = (*selection.images.shape, *geometry.shape)
        self._pixels = np.zeros((*shape, 3), dtype=np.uint8)
        self._marks = np.zeros(shape, dtype=np.bool_) if geometry.view == "image" else None
        self._filled = np.zeros(selection.images.shape, dtype=np.bool_)
        self.worst = 0.0
        self.moved = 0

    def add(self, image: int, reread: RereadPicture) -> None:
        """Cut the patches of one picture."""
        for row, rank in np.argwhere(self._selection.images == image):
            y, x = map(int, self._selection.positions[row, rank])
            top, left, bottom, right = self._geometry.window(y, x)
            assert isinstance(reread.picture, Picture)
            self._pixels[row, rank] = cut_out(reread.picture, (top, left, bottom, right), self._geometry.zoom)
            if self._marks is not None and reread.maps is not None:
                self._marks[row, rank] = self._geometry.mark(reread.maps[row])
            self._filled[row, rank] = True
            self._compare(row, rank, reread.peaks[self._units[row]])
            self.moved += (y, x) != tuple(reread.places[self._units[row]].tolist())

    def boxes(self) -> NDArray[np.int64]:
        """What every place sees, ``(U, K, 4)``; zeros where there is no patch."""
        shape = self._selection.images.shape
        found = np.zeros((*shape, 4), dtype=np.int64)
        for row, rank in np.argwhere(self._filled):
            y, x = map(int, self._selection.positions[row, rank])
            found[row, rank] = self._geometry.box(y, x)
        return found

    def strip(self, data: Dataset) -> Strip:
        """The rows as they are now."""
        selection, filled = self._selection, self._filled
        images = np.where(filled, selection.images, NO_IMAGE)
        keys = [[data.keys[image] if image != NO_IMAGE else "" for image in row] for row in images.tolist()]
        return Strip(
            values=np.where(filled, selection.values, np.float32(np.nan)),
            images=images,
            keys=np.array(keys, dtype=np.str_).reshape(images.shape),
            positions=selection.positions.astype(np.int64),
            boxes=self.boxes(),
            pixels=self._pixels,
            marks=self._marks,
        )

    def _compare(self, row: int, rank: int, now: np.float32) -> None:
        then = float(self._selection.values[row, rank])
        largest = float(np.nanmax(np.abs(self._selection.values[row])))
        difference = abs(float(now) - then)
        if difference:
            self.worst = max(self.worst, difference / largest if largest else np.inf)
