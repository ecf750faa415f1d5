"""Patches cut out: where on the input a unit's patch lies, where on a whole image it responds, and the rows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.dimensions import PICTURE, Size
from cnnviz.core.field import Box, Field, Span
from cnnviz.core.picture import Picture
from cnnviz.images.crop import cut_out
from cnnviz.images.datasets.dataset import Dataset
from cnnviz.methods.patches.reread import RereadPicture
from cnnviz.results.patch_index import NO_IMAGE
from cnnviz.results.patches import Strip, View, draw_window

__all__ = ["PatchGeometry", "PatchRows", "PatchSelection"]

MOST_OF_THE_IMAGE = 0.6
LONGEST = 192
HALF = 0.5


@dataclass(frozen=True)
class PatchGeometry:
    """Where the patches of one layer lie on the input, and how large they are drawn.

    Attributes:
        field: What the layer's units see; None if nothing is known.
        input: Height and width of the network's input; of signals and volumes the length of each axis.
        scale: Pixels of the photographs for each pixel of the input.
    """

    field: Field | None
    input: Size
    scale: float = 1.0

    @property
    def view(self) -> View:
        """A patch is what the unit sees, unless that is more than three fifths of the image or not known."""
        placed = self.field is not None and self.field.placed
        return "field" if placed and prod(self.size) <= MOST_OF_THE_IMAGE * prod(self.input) else "image"

    @property
    def caveat(self) -> tuple[str, ...]:
        """What a patch does not tell of what the unit sees."""
        if self.field is None or self.field.kind == "unknown":
            why = f" ({self.field.because})" if self.field and self.field.because else ""
            return (f"the receptive field of this layer is unknown{why}, so whole images are shown",)
        if self.field.kind == "gated" and self.view == "field":
            return (f"the rest of the image affects these units too, but only through {self.field.because}",)
        return ()

    @property
    def size(self) -> Size:
        """Lengths of what a unit sees, of pictures height and width in pixels of the input, as if that had no end."""
        return (self.field.size if self.field else None) or self.input

    @property
    def zoom(self) -> int:
        """Pixels of a patch for each pixel of the input: as fine as the photographs, within reason.

        1 of signals and volumes.
        """
        if len(self.input) != PICTURE:
            return 1
        longest = max(self.size if self.view == "field" else self.input)
        return max(1, min(round(self.scale), LONGEST // longest))

    @property
    def shape(self) -> Size:
        """Lengths of a patch in its own pixels: of pictures height and width."""
        return tuple(side * self.zoom for side in (self.size if self.view == "field" else self.input))

    def box(self, *place: int) -> Box:
        """What the unit at a place of the layer sees of the input; may reach beyond it."""
        if self.field is None or not self.field.placed:
            return *(0 for _ in self.input), *self.input
        centre = self.field.centre(*place)
        starts = [round(middle - (side - 1) / 2) for middle, side in zip(centre, self.size, strict=True)]
        return *starts, *(start + side for start, side in zip(starts, self.size, strict=True))

    def window(self, *place: int) -> Box:
        """What is cut out for it."""
        return self.box(*place) if self.view == "field" else (*(0 for _ in self.input), *self.input)

    def mark(self, response: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Where on a whole image a response ``(h, w)`` (of as many axes as it) is at least half its largest value.

        That is nowhere if the largest is not above zero, and everywhere if the layer has no places.
        """
        peak = response.max()
        if peak <= 0:
            return np.zeros(self.shape, dtype=np.bool_)
        if response.size == 1:
            return np.ones(self.shape, dtype=np.bool_)
        spans = self.field.spans if self.field and self.field.placed else (None,) * len(self.input)
        spread = response.astype(np.float64)
        for axis, each in enumerate(zip(spans, response.shape, self.input, strict=True)):
            spread = np.moveaxis(np.tensordot(_interpolation_weights(*each), spread, axes=(1, axis)), 0, axis)
        marked: NDArray[np.bool_] = spread >= HALF * peak
        for axis in range(marked.ndim):
            marked = marked.repeat(self.zoom, axis=axis)
        return marked

    def draw(self, reread: RereadPicture, window: Box, mark: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
        """One patch: of a picture ``shape`` pixels, of anything else lines or slices of what the network saw."""
        sample, seen = reread.picture, reread.seen
        if isinstance(sample, Picture):
            top, left, bottom, right = window
            return cut_out(sample, (top, left, bottom, right), self.zoom)
        assert seen is not None
        return draw_window(seen, window[: len(self.input)], self.size if self.view == "field" else self.input, mark)


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
    """The patches to be shown: values and images ``(U, K)``, -1 for none, and places ``(U, K, axes)`` in the layer."""

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
        self._pixels: NDArray[np.uint8] | None = None
        self._marks = np.zeros(shape, dtype=np.bool_) if geometry.view == "image" else None
        self._filled = np.zeros(selection.images.shape, dtype=np.bool_)
        self.worst = 0.0
        self.moved = 0

    def add(self, image: int, reread: RereadPicture) -> None:
        """Cut the patches of one picture."""
        for row, rank in np.argwhere(self._selection.images == image):
            place, mark = tuple(self._selection.positions[row, rank].tolist()), None
            if self._marks is not None and reread.maps is not None:
                mark = self._marks[row, rank] = self._geometry.mark(reread.maps[row])
            drawn = self._geometry.draw(reread, self._geometry.window(*place), mark)
            if self._pixels is None:
                self._pixels = np.zeros((*self._filled.shape, *drawn.shape), dtype=np.uint8)
            self._pixels[row, rank] = drawn
            self._filled[row, rank] = True
            self._compare(row, rank, reread.peaks[self._units[row]])
            self.moved += place != tuple(reread.places[self._units[row]].tolist())

    def boxes(self) -> NDArray[np.int64]:
        """What every place sees, ``(U, K, 2 axes)``; zeros where there is no patch."""
        found = np.zeros((*self._filled.shape, 2 * len(self._geometry.input)), dtype=np.int64)
        for row, rank in np.argwhere(self._filled):
            found[row, rank] = self._geometry.box(*self._selection.positions[row, rank].tolist())
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
            pixels=self._nothing() if self._pixels is None else self._pixels,
            marks=self._marks,
        )

    def _nothing(self) -> NDArray[np.uint8]:
        """The pixels of no patch at all, as large as those of pictures would be."""
        size = self._geometry.shape if len(self._geometry.shape) == PICTURE else (1,) * PICTURE
        return np.zeros((*self._filled.shape, *size, 3), dtype=np.uint8)

    def _compare(self, row: int, rank: int, now: np.float32) -> None:
        then = float(self._selection.values[row, rank])
        largest = float(np.nanmax(np.abs(self._selection.values[row])))
        difference = abs(float(now) - then)
        if difference:
            self.worst = max(self.worst, difference / largest if largest else np.inf)
