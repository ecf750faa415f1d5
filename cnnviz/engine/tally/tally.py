"""Tally: what a scan keeps of the images it has seen, of one size however many they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["BlockPeaks", "Tally", "NOWHERE", "TopK", "BINS", "DESCRIPTION", "bins_of", "quantiles"]

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


AN_OCTAVE: Final = 16
LOWEST, HIGHEST = -12, 16
SHIFT: Final = 19  # of a float32's 23 bits after the point, four tell an octave's sixteenths apart
BASE: Final = (127 + LOWEST) * AN_OCTAVE
SIDE: Final = (HIGHEST - LOWEST) * AN_OCTAVE
MIDDLE: Final = SIDE + 1
BINS: Final = 2 * MIDDLE + 1
DESCRIPTION: Final = f"{AN_OCTAVE} an octave from 2^{LOWEST} to 2^{HIGHEST}, either sign; what is smaller is zero"


def bins_of(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """The bin of each value, from 0 to ``BINS - 1``, read off the bits of the number: exact, and the same everywhere.

    Args:
        values: Finite, of any shape.
    """
    bits = np.ascontiguousarray(values, np.float32).view(np.int32)
    size = np.clip((bits & 0x7FFFFFFF) // (1 << SHIFT) - (BASE - 1), 0, SIDE + 1)
    found: NDArray[np.int32] = np.where(bits < 0, MIDDLE - size, MIDDLE + size).astype(np.int32)
    return found


def quantiles(
    counts: NDArray[np.uint32],
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    levels: Sequence[float],
) -> NDArray[np.float64]:
    """Values below which given shares of the counted values lie, interpolated within a bin.

    Args:
        counts: ``(U, BINS)``: how many values of each unit lie in each bin.
        low: ``(U,)``: the smallest value of each unit.
        high: ``(U,)``: the largest.
        levels: Q shares between 0 and 1.

    Returns:
        ``(U, Q)``; NaN for a unit without values.
    """
    filled = np.flatnonzero(counts.any(axis=0))
    first, last = (filled[0], filled[-1] + 1) if len(filled) else (0, 1)
    counts = counts[:, first:last]
    reached = counts.cumsum(axis=1, dtype=np.int64)
    total = reached[:, -1:]
    found = np.full((len(counts), len(levels)), np.nan)
    low, high = (np.where(total[:, 0] > 0, each, np.float32(0)) for each in (low, high))
    units = np.arange(len(counts))
    edges = _bin_edges()
    for column, level in enumerate(levels):
        rank = level * np.maximum(total[:, 0] - 1, 0)
        place = (reached <= rank[:, None]).sum(axis=1).clip(max=last - first - 1)
        inside = np.maximum(counts[units, place], 1)
        share = (rank - (reached[units, place] - inside) + 0.5) / inside
        left, right = (np.clip(edges[place + first + side], low, high) for side in (0, 1))
        value = np.where(place + first == MIDDLE, np.clip(0.0, low, high), left + share.clip(0, 1) * (right - left))
        found[:, column] = np.where(total[:, 0] > 0, value, np.nan)
    return found


def _bin_edges() -> NDArray[np.float64]:
    """``(BINS + 1,)``: where each bin begins and the last one ends."""
    sizes = ((BASE + np.arange(SIDE + 1)) << SHIFT).astype(np.int32).view(np.float32).astype(np.float64)
    return np.concatenate([[-np.inf], -sizes[::-1], sizes, [np.inf]])


NO_CLASS = -1


@dataclass(frozen=True)
class BlockPeaks:
    """The largest value of every unit in each image of one block, and where it is.

    Attributes:
        values: ``(n, U)`` float32, finite.
        places: ``(n, U)`` int32, counted row by row.
        images: ``(n,)`` int64, ascending.
        labels: ``(n,)``: classes, -1 for none.
        sampled: ``(n,)`` bool: images that belong to the random sample.
    """

    values: NDArray[np.float32]
    places: NDArray[np.int32]
    images: NDArray[np.int64]
    labels: NDArray[np.int32]
    sampled: NDArray[np.bool_]


@dataclass(eq=False)
class Tally:
    """Running statistics of U units.

    Attributes:
        top: Their largest values.
        images: How many images there were.
        sums: ``(U,)`` float64: sums over images, a block at a time.
        lowest: ``(U,)`` float32: smallest values.
        active: ``(U,)`` int64: images with a value above zero.
        ties: ``(U,)`` int64: images with exactly the largest value.
        histogram: ``(U, BINS)`` uint32.
        class_counts: Images of each class.
        class_sums: ``(U,)`` float64 for each class, a block at a time.
        sample: Numbers, values ``(U,)`` and places ``(U,)`` of the images of the random sample.
        failures: Number and sentence of images that could not be used.
        passing: Numbers of those among them that could not be read, and perhaps can be another time.
        keys: Names of images by number, at least of those that ``occurring`` gives.
    """

    top: TopK
    images: int
    sums: NDArray[np.float64]
    lowest: NDArray[np.float32]
    active: NDArray[np.int64]
    ties: NDArray[np.int64]
    histogram: NDArray[np.uint32]
    class_counts: dict[int, int] = field(default_factory=dict)
    class_sums: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    sample: list[tuple[int, NDArray[np.float32], NDArray[np.int32]]] = field(default_factory=list)
    failures: list[tuple[int, str]] = field(default_factory=list)
    passing: set[int] = field(default_factory=set)
    keys: dict[int, str] = field(default_factory=dict)

    @classmethod
    def empty(cls, units: int, k: int) -> Tally:
        """Of no image."""
        return cls(
            top=TopK.empty(units, k),
            images=0,
            sums=np.zeros(units),
            lowest=np.full(units, np.inf, np.float32),
            active=np.zeros(units, np.int64),
            ties=np.zeros(units, np.int64),
            histogram=np.zeros((units, BINS), np.uint32),
        )

    @property
    def highest(self) -> NDArray[np.float32]:
        """``(U,)``: the largest values; minus infinity before the first image."""
        return self.top.values[:, 0]

    def absorb(self, peaks: BlockPeaks) -> None:
        """Count one block's images; whatever order blocks come in is the order that sums are added up in."""
        values = peaks.values
        if not len(values):
            return
        before, highest = self.highest.copy(), values.max(axis=0)
        self._count_ties(before, highest, (values == highest).sum(axis=0))
        self.top.absorb(values, peaks.images, peaks.places)
        self.images += len(values)
        self.sums += values.sum(axis=0, dtype=np.float64)
        np.minimum(self.lowest, values.min(axis=0), out=self.lowest)
        self.active += (values > 0).sum(axis=0)
        units = np.arange(values.shape[1])
        for row in bins_of(values):
            self.histogram[units, row] += np.uint32(1)
        for label in np.unique(peaks.labels[peaks.labels != NO_CLASS]):
            rows = peaks.labels == label
            self._count_class(int(label), int(rows.sum()), values[rows].sum(axis=0, dtype=np.float64))
        for row in np.flatnonzero(peaks.sampled):
            self.sample.append((int(peaks.images[row]), values[row].copy(), peaks.places[row].copy()))

    def absorb_tally(self, later: Tally) -> None:
        """Count what another tally counted."""
        self._count_ties(self.highest.copy(), later.highest, later.ties)
        self.top = self.top.merged(later.top)
        self.images += later.images
        self.sums += later.sums
        np.minimum(self.lowest, later.lowest, out=self.lowest)
        self.active += later.active
        self.histogram += later.histogram
        for label, count in later.class_counts.items():
            self._count_class(label, count, later.class_sums[label])
        self.sample += later.sample
        self.failures += later.failures
        self.passing |= later.passing
        named = self.keys | later.keys
        self.keys = {image: named[image] for image in self.occurring()}

    def occurring(self) -> list[int]:
        """Numbers, ascending, of the images among the largest values, in the sample and among the failures."""
        found = set(np.unique(self.top.images[self.top.held]).tolist())
        return sorted(found | {image for image, _, _ in self.sample} | {image for image, _ in self.failures})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All but ``images``, ``failures`` and ``keys`` as arrays, the histogram without its zeros."""
        filled = np.flatnonzero(self.histogram)
        labels = sorted(self.class_counts)
        units = len(self.sums)
        return {
            "values": self.top.values,
            "images": self.top.images,
            "places": self.top.places,
            "sums": self.sums,
            "lowest": self.lowest,
            "active": self.active,
            "ties": self.ties,
            "bins": filled.astype(np.uint32),
            "binned": self.histogram.reshape(-1)[filled],
            "classes": np.array(labels, np.int64),
            "class_counts": np.array([self.class_counts[label] for label in labels], np.int64),
            "class_sums": np.array([self.class_sums[label] for label in labels]).reshape(-1, units),
            "sample_images": np.array([number for number, _, _ in self.sample], np.int64),
            "sample_values": np.array([values for _, values, _ in self.sample], np.float32).reshape(-1, units),
            "sample_places": np.array([places for _, _, places in self.sample], np.int32).reshape(-1, units),
        }

    @classmethod
    def of_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], images: int, failures: list[tuple[int, str]], keys: dict[int, str]
    ) -> Tally:
        """The tally that ``arrays`` took apart."""
        units = len(arrays["sums"])
        histogram = np.zeros(units * BINS, np.uint32)
        histogram[arrays["bins"]] = arrays["binned"]
        labels = [int(label) for label in arrays["classes"]]
        sample = zip(arrays["sample_images"], arrays["sample_values"], arrays["sample_places"], strict=True)
        return cls(
            top=TopK(arrays["values"], arrays["images"], arrays["places"]),
            images=images,
            histogram=histogram.reshape(units, BINS),
            class_counts=dict(zip(labels, map(int, arrays["class_counts"]), strict=True)),
            class_sums=dict(zip(labels, arrays["class_sums"], strict=True)),
            sample=[(int(number), values, places) for number, values, places in sample],
            failures=failures,
            keys=keys,
            sums=arrays["sums"],
            lowest=arrays["lowest"],
            active=arrays["active"],
            ties=arrays["ties"],
        )

    def _count_ties(self, before: NDArray[np.float32], highest: NDArray[np.float32], ties: NDArray[np.int64]) -> None:
        self.ties = np.where(highest > before, ties, self.ties + np.where(highest == before, ties, 0))

    def _count_class(self, label: int, count: int, sums: NDArray[np.float64]) -> None:
        self.class_counts[label] = self.class_counts.get(label, 0) + count
        self.class_sums[label] = self.class_sums[label] + sums if label in self.class_sums else sums.copy()

    def ensure_sound(self, units: int, k: int) -> None:
        """Refuse arrays that are not of so many units and k values, or hold what no scan counts.

        Raises:
            ValueError: If one is.
        """
        expected: list[tuple[NDArray[Any], type, tuple[int, ...]]] = [
            (self.top.values, np.float32, (units, k)),
            (self.top.images, np.int64, (units, k)),
            (self.top.places, np.int32, (units, k)),
            (self.sums, np.float64, (units,)),
            (self.lowest, np.float32, (units,)),
            (self.active, np.int64, (units,)),
            (self.ties, np.int64, (units,)),
            *((sums, np.float64, (units,)) for sums in self.class_sums.values()),
            *((values, np.float32, (units,)) for _, values, _ in self.sample),
            *((places, np.int32, (units,)) for _, _, places in self.sample),
        ]
        if any(held.dtype != kind or held.shape != shape for held, kind, shape in expected):
            raise ValueError("an array is of another shape or type")
        held = self.top.held
        empty = ~held & ((self.top.values != -np.inf) | (self.top.places != NOWHERE))
        if empty.any() or not np.isfinite(self.top.values[held]).all() or not np.isfinite(self.sums).all():
            raise ValueError("a value is not finite")
        if self.images < 0 or min(self.class_counts.values(), default=1) < 1:
            raise ValueError("a number is not positive")

    def ensure_within(self, ends: NDArray[np.int64], *, images: int, classes: int) -> None:
        """Refuse places, images and classes that there are not.

        Args:
            ends: ``(U,)``: how many places each unit's layer has.
            images: How many images the data set has.
            classes: How many classes.

        Raises:
            ValueError: If there is one.
        """
        sampled = [places for _, _, places in self.sample]
        places = np.concatenate([self.top.places, *(each[:, None] for each in sampled)], axis=1)
        numbers = self.occurring()
        if (places >= ends[:, None]).any() or (places < NOWHERE).any() or any((each < 0).any() for each in sampled):
            raise ValueError("a place lies outside the layer")
        if (self.top.places[self.top.held] < 0).any() or any(not 0 <= number < images for number in numbers):
            raise ValueError("an image is none of the data set")
        if not self.keys.keys() >= set(numbers) or any(not 0 <= label < classes for label in self.class_counts):
            raise ValueError("an image has no name, or a class is none of the data set")
