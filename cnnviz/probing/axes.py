"""What the places along one axis of an activation see of the input, and how that passes through an operation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.field import Span

__all__ = ["Axis", "Taps"]

Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
NOWHERE = 1 << 40


@dataclass(frozen=True, eq=False)
class Taps:
    """Which places of its input each place of an operation's output reads, along one axis.

    Attributes:
        places: ``(n, k)``: for each of ``n`` outputs up to ``k`` inputs; some may lie beyond the ends.
        used: ``(n, k)``: which of them there are.
        step: Inputs from one output to the next, on average.
        padding: ``(n, k)``: the places as they would be if the input had no end; the same unless given.
    """

    places: Ints
    used: Bools
    step: float
    padding: Ints | None = None

    @classmethod
    def all_used(cls, places: Ints, step: float, padding: Ints | None = None) -> Taps:
        """Taps that are all there."""
        return cls(places, np.ones(places.shape, dtype=bool), step, padding)


@dataclass(frozen=True, eq=False)
class Axis:
    """Intervals of the input, in pixels, both ends included; ``first > last`` where a place sees nothing.

    Attributes:
        first: ``(n,)``: the first pixel that each place really sees.
        last: ``(n,)``: the last.
        low: ``(n,)``: the first pixel it would see if neither the input nor any activation had an end.
        high: ``(n,)``: the last.
        step: Pixels from one place to the next, on average.
        aligned: Whether all branches so far had the same centres.
    """

    first: Ints
    last: Ints
    low: Ints
    high: Ints
    step: float
    aligned: bool = True

    @classmethod
    def of_pixels(cls, length: int) -> Axis:
        """The input itself: each pixel sees itself."""
        pixels = np.arange(length, dtype=np.int64)
        return cls(pixels, pixels, pixels, pixels, 1.0)

    def __len__(self) -> int:
        return len(self.first)

    def through(self, taps: Taps) -> Axis:
        """The places of an operation's output, each seeing what its taps see."""
        inside = taps.used & (taps.places >= 0) & (taps.places < len(self))
        held = np.clip(taps.places, 0, len(self) - 1)
        first = np.where(inside, self.first[held], NOWHERE).min(axis=1)
        last = np.where(inside, self.last[held], -NOWHERE).max(axis=1)
        places = taps.places if taps.padding is None else taps.padding
        low = np.where(taps.used, self._beyond(self.low, places), NOWHERE).min(axis=1)
        high = np.where(taps.used, self._beyond(self.high, places), -NOWHERE).max(axis=1)
        return Axis(first, last, *_filled(low, high), self.step * taps.step, self.aligned)

    def joined(self, other: Axis) -> Axis:
        """Each place seeing what both see: two branches that meet."""
        same = np.array_equal(self.low + self.high, other.low + other.high)
        return Axis(
            np.minimum(self.first, other.first),
            np.maximum(self.last, other.last),
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            self.step,
            self.aligned and other.aligned and same,
        )

    def repeated(self, count: int) -> Axis:
        """A single place broadcast to many."""
        first, last, low, high = (np.repeat(each, count) for each in (self.first, self.last, self.low, self.high))
        return Axis(first, last, low, high, 0.0, self.aligned)

    def blocks(self, count: int) -> Axis:
        """As many blocks of equally many neighbours, each seeing all that its places see."""
        size = len(self) // count
        places = np.arange(len(self), dtype=np.int64).reshape(count, size)
        return self.through(Taps.all_used(places, size))

    def together(self) -> Axis:
        """One place that sees all."""
        return self.blocks(1)

    @staticmethod
    def in_a_row(axes: Sequence[Axis]) -> Axis:
        """Maps put one after another."""
        first, last = (np.concatenate(each) for each in ([axis.first for axis in axes], [axis.last for axis in axes]))
        low, high = (np.concatenate(each) for each in ([axis.low for axis in axes], [axis.high for axis in axes]))
        return Axis(first, last, low, high, axes[0].step, all(axis.aligned for axis in axes))

    def span(self, length: int) -> Span:
        """The axis as plain numbers, for an input of that many pixels."""
        centres = (self.low + self.high) / 2
        sizes = self.high - self.low + 1
        steps = np.diff(centres)
        regular = not steps.size or bool(np.ptp(steps) == 0 and np.ptp(sizes) == 0)
        stride = float(steps[0]) if regular and steps.size else self.step
        offset = float(centres[0]) if regular else float(centres.mean() - stride * (len(self) - 1) / 2)
        empty = self.first > self.last
        nearest = np.clip(np.rint(centres).astype(np.int64), 0, length - 1)
        starts, stops = np.where(empty, nearest, self.first), np.where(empty, nearest, self.last + 1)
        return Span(
            size=int(sizes.max()),
            stride=stride,
            offset=offset,
            seen=tuple(zip(starts.tolist(), stops.tolist(), strict=True)),
            centres=None if regular else tuple(centres.tolist()),
            aligned=self.aligned,
        )

    def _beyond(self, ends: Ints, places: Ints) -> Ints:
        """Interval ends at places that may lie beyond the axis, where they go on by the step."""
        held = np.clip(places, 0, len(self) - 1)
        return np.asarray(ends[held] + np.floor((places - held) * self.step), dtype=np.int64)


def _filled(low: Ints, high: Ints) -> tuple[Ints, Ints]:
    """Where an output reads nothing at all, the middle between the outputs around it."""
    missing = low > high
    if not missing.any() or missing.all():
        return (np.zeros_like(low), np.zeros_like(high)) if missing.all() else (low, high)
    known, all_places = np.flatnonzero(~missing), np.arange(len(low))
    middle = np.interp(all_places, known, (low[known] + high[known]) / 2)
    return np.where(missing, np.floor(middle), low).astype(np.int64), np.where(missing, np.ceil(middle), high).astype(
        np.int64
    )
