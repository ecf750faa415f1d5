"""topk: the largest values of many units over many images, whose merge is associative and knows no order.

Entries stand in a total order: the higher value first, then the lower number of the image, then the earlier place. So
the k first of any entries are one and the same set in one and the same order, however they were brought together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["NOWHERE", "TopK"]

NOWHERE = -1
LAST = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class TopK:
    """The k first entries of every unit, in order.

    Attributes:
        values: ``(U, k)`` float32; minus infinity where there is no entry.
        images: ``(U, k)`` int64: numbers of images; the largest int64 where there is no entry.
        places: ``(U, k)`` int32: where in the map, counted row by row; -1 where there is no entry.
    """

    values: NDArray[np.float32]
    images: NDArray[np.int64]
    places: NDArray[np.int32]

    @classmethod
    def empty(cls, units: int, k: int) -> TopK:
        """No entry at all."""
        shape = units, k
        return cls(
            np.full(shape, -np.inf, np.float32), np.full(shape, LAST, np.int64), np.full(shape, NOWHERE, np.int32)
        )

    @property
    def held(self) -> NDArray[np.bool_]:
        """``(U, k)``: where there is an entry."""
        return np.not_equal(self.images, LAST)

    def merged(self, other: TopK) -> TopK:
        """The first entries of both; an entry that is in both is there twice."""
        values = np.concatenate([self.values, other.values], axis=1)
        images = np.concatenate([self.images, other.images], axis=1)
        places = np.concatenate([self.places, other.places], axis=1)
        order = np.lexsort((places, images, -values), axis=1)[:, : self.values.shape[1]]
        return TopK(*(np.take_along_axis(each, order, axis=1) for each in (values, images, places)))

    def absorb(self, values: NDArray[np.float32], images: NDArray[np.int64], places: NDArray[np.int32]) -> None:
        """Merge one entry an image and unit into this, in place.

        Args:
            values: ``(n, U)``, finite.
            images: ``(n,)``: their numbers, none of which is here already.
            places: ``(n, U)``.
        """
        bar, barred = self.values[:, -1], self.images[:, -1]
        units = np.flatnonzero(((values > bar) | ((values == bar) & (images[:, None] < barred))).any(axis=0))
        numbers = np.broadcast_to(images, (len(units), len(images)))
        held = TopK(self.values[units], self.images[units], self.places[units])
        found = held.merged(TopK(values[:, units].T, numbers, places[:, units].T))
        self.values[units], self.images[units], self.places[units] = found.values, found.images, found.places
