"""Filling rows of patches picture by picture, and comparing each value with what the picture gives now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnnviz.images.cutting import cut_out
from cnnviz.images.dataset import Dataset
from cnnviz.methods.patch_frames import Frame
from cnnviz.methods.patch_rereading import Seen
from cnnviz.results.patch_index import NO_IMAGE
from cnnviz.results.patches import Strip

__all__ = ["Draft", "Wanted"]


@dataclass(frozen=True, eq=False)
class Wanted:
    """Values ``(U, K)``, the images they are of (-1 for none), and their places ``(U, K, 2)`` in the layer."""

    values: NDArray[np.float32]
    images: NDArray[np.int64]
    positions: NDArray[np.int32]


class Draft:
    """Rows of patches that are being filled.

    Args:
        wanted: What is to be shown.
        units: The units' numbers.
        frame: Where their patches lie.

    Attributes:
        worst: The largest difference between a value and what its picture gave now, as a share of the unit's largest.
    """

    def __init__(self, wanted: Wanted, units: Sequence[int], frame: Frame) -> None:
        self._wanted, self._units, self._frame = wanted, list(units), frame
        shape = (*wanted.images.shape, *frame.shape)
        self._pixels = np.zeros((*shape, 3), dtype=np.uint8)
        self._marks = np.zeros(shape, dtype=np.bool_) if frame.view == "image" else None
        self._filled = np.zeros(wanted.images.shape, dtype=np.bool_)
        self.worst = 0.0

    def add(self, image: int, seen: Seen) -> None:
        """Cut the patches of one picture."""
        for row, rank in np.argwhere(self._wanted.images == image):
            y, x = map(int, self._wanted.positions[row, rank])
            self._pixels[row, rank] = cut_out(seen.picture, self._frame.window(y, x), self._frame.zoom)
            if self._marks is not None and seen.maps is not None:
                self._marks[row, rank] = self._frame.mark(seen.maps[row])
            self._filled[row, rank] = True
            self._compare(row, rank, seen.peaks[self._units[row]])

    def boxes(self) -> NDArray[np.int64]:
        """What every place sees, ``(U, K, 4)``; zeros where there is no patch."""
        shape = self._wanted.images.shape
        found = np.zeros((*shape, 4), dtype=np.int64)
        for row, rank in np.argwhere(self._filled):
            y, x = map(int, self._wanted.positions[row, rank])
            found[row, rank] = self._frame.box(y, x)
        return found

    def strip(self, data: Dataset) -> Strip:
        """The rows as they are now."""
        wanted, filled = self._wanted, self._filled
        images = np.where(filled, wanted.images, NO_IMAGE)
        keys = [[data.keys[image] if image != NO_IMAGE else "" for image in row] for row in images.tolist()]
        return Strip(
            values=np.where(filled, wanted.values, np.float32(np.nan)),
            images=images,
            keys=np.array(keys, dtype=np.str_).reshape(images.shape),
            positions=wanted.positions.astype(np.int64),
            boxes=self.boxes(),
            pixels=self._pixels,
            marks=self._marks,
        )

    def _compare(self, row: int, rank: int, now: np.float32) -> None:
        then = float(self._wanted.values[row, rank])
        largest = float(np.nanmax(np.abs(self._wanted.values[row])))
        difference = abs(float(now) - then)
        if difference:
            self.worst = max(self.worst, difference / largest if largest else np.inf)
