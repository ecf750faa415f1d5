"""Tally: what a scan keeps of the images it has seen, of one size however many they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.probing.bins import BINS, bins_of
from cnnviz.probing.topk import TopK

__all__ = ["Peaks", "Tally"]

NO_CLASS = -1


@dataclass(frozen=True)
class Peaks:
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

    def absorb(self, peaks: Peaks) -> None:
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
            **{name: arrays[name] for name in ("sums", "lowest", "active", "ties")},
        )

    def _count_ties(self, before: NDArray[np.float32], highest: NDArray[np.float32], ties: NDArray[np.int64]) -> None:
        self.ties = np.where(highest > before, ties, self.ties + np.where(highest == before, ties, 0))

    def _count_class(self, label: int, count: int, sums: NDArray[np.float64]) -> None:
        self.class_counts[label] = self.class_counts.get(label, 0) + count
        self.class_sums[label] = self.class_sums[label] + sums if label in self.class_sums else sums.copy()
