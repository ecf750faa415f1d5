"""What the places along one axis of an activation see of the input, and how that passes through an operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.field import Span
from cnnviz.engine.fields.reads import Ints, Reads

__all__ = ["AxisCoverage"]

NOWHERE = 1 << 40


@dataclass(frozen=True, eq=False)
class AxisCoverage:
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
    def of_pixels(cls, length: int) -> AxisCoverage:
        """The input itself: each pixel sees itself."""
        pixels = np.arange(length, dtype=np.int64)
        return cls(pixels, pixels, pixels, pixels, 1.0)

    def __len__(self) -> int:
        return len(self.first)

    def through(self, reads: Reads) -> AxisCoverage:
        """The places of an operation's output, each seeing what the inputs that it reads see."""
        inside = reads.used & (reads.places >= 0) & (reads.places < len(self))
        held = np.clip(reads.places, 0, len(self) - 1)
        first = np.where(inside, self.first[held], NOWHERE).min(axis=1)
        last = np.where(inside, self.last[held], -NOWHERE).max(axis=1)
        places = reads.places if reads.padding is None else reads.padding
        low = np.where(reads.used, self._extrapolate(self.low, places), NOWHERE).min(axis=1)
        high = np.where(reads.used, self._extrapolate(self.high, places), -NOWHERE).max(axis=1)
        return AxisCoverage(first, last, *_fill_gaps(low, high), self.step * reads.step, self.aligned)

    def joined(self, other: AxisCoverage) -> AxisCoverage:
        """Each place seeing what both see: two branches that meet."""
        same = np.array_equal(self.low + self.high, other.low + other.high)
        return AxisCoverage(
            np.minimum(self.first, other.first),
            np.maximum(self.last, other.last),
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            self.step,
            self.aligned and other.aligned and same,
        )

    def overlaid(self, other: AxisCoverage, written: NDArray[np.bool_]) -> AxisCoverage:
        """What places see where another map's were written among them: nothing was lost where these saw anything."""
        empty = self.first > self.last
        both, new = written & ~empty, written & empty

        def ends(here: Ints, there: Ints, pick: Callable[[Ints, Ints], Ints]) -> Ints:
            return np.where(new, there, np.where(both, pick(here, there), here))

        return AxisCoverage(
            ends(self.first, other.first, np.minimum),
            ends(self.last, other.last, np.maximum),
            ends(self.low, other.low, np.minimum),
            ends(self.high, other.high, np.maximum),
            self.step,
            self.aligned and other.aligned,
        )

    def equals(self, other: AxisCoverage) -> bool:
        """Whether every place sees the same."""
        return all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in ("first", "last", "low", "high")
        )

    def repeated(self, count: int) -> AxisCoverage:
        """A single place broadcast to many."""
        first, last, low, high = (np.repeat(each, count) for each in (self.first, self.last, self.low, self.high))
        return AxisCoverage(first, last, low, high, 0.0, self.aligned)

    def blocks(self, count: int) -> AxisCoverage:
        """As many blocks of equally many neighbours, each seeing all that its places see."""
        size = len(self) // count
        places = np.arange(len(self), dtype=np.int64).reshape(count, size)
        return self.through(Reads.all_used(places, size))

    def together(self) -> AxisCoverage:
        """One place that sees all."""
        return self.blocks(1)

    @staticmethod
    def concatenated(axes: Sequence[AxisCoverage]) -> AxisCoverage:
        """Maps put one after another."""
        first, last = (np.concatenate(each) for each in ([axis.first for axis in axes], [axis.last for axis in axes]))
        low, high = (np.concatenate(each) for each in ([axis.low for axis in axes], [axis.high for axis in axes]))
        return AxisCoverage(first, last, low, high, axes[0].step, all(axis.aligned for axis in axes))

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

    def _extrapolate(self, ends: Ints, places: Ints) -> Ints:
        """Interval ends at places that may lie beyond the axis, where they go on by the step."""
        held = np.clip(places, 0, len(self) - 1)
        return np.asarray(ends[held] + np.floor((places - held) * self.step), dtype=np.int64)


def _fill_gaps(low: Ints, high: Ints) -> tuple[Ints, Ints]:
    """Where an output reads nothing at all, the middle between the outputs around it."""
    missing = low > high
    if not missing.any() or missing.all():
        return (np.zeros_like(low), np.zeros_like(high)) if missing.all() else (low, high)
    known, all_places = np.flatnonzero(~missing), np.arange(len(low))
    middle = np.interp(all_places, known, (low[known] + high[known]) / 2)
    return np.where(missing, np.floor(middle), low).astype(np.int64), np.where(missing, np.ceil(middle), high).astype(
        np.int64
    )
