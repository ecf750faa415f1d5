"""What the places along one axis of an activation see of the input, and how that passes through an operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.field import Span

__all__ = ["Axis", "Taps", "READS", "Read", "chosen", "slice_taps"]

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


Given: TypeAlias = Mapping[str, Any]
Floats: TypeAlias = NDArray[np.float32]
Read: TypeAlias = Callable[[Given, int, int, int, int], Taps]
NO_WEIGHT = 1e-5


def _pick(value: Any, at: int, default: int) -> int:
    """One axis' number of an argument that is a number, one for all axes, one an axis, or left out."""
    if isinstance(value, int):
        return value
    numbers = list(value) if value is not None else []
    return int(numbers[0] if len(numbers) == 1 else numbers[at]) if numbers else default


def _window(kernel: int, stride: int, padding: int, dilation: int, after: int) -> Taps:
    starts = np.arange(after, dtype=np.int64)[:, None] * stride - padding
    return Taps.all_used(starts + np.arange(kernel, dtype=np.int64) * dilation, stride)


def _pool(given: Given, at: int, _count: int, _before: int, after: int) -> Taps:
    kernel = _pick(given["kernel_size"], at, 1)
    stride = _pick(given.get("stride"), at, kernel)
    return _window(kernel, stride, _pick(given["padding"], at, 0), _pick(given.get("dilation"), at, 1), after)


def _convolution(given: Given, at: int, count: int, _before: int, after: int) -> Taps:
    kernel = int(given["weight"].shape[-count + at])
    stride, padding = _pick(given["stride"], at, 1), _pick(given["padding"], at, 0)
    dilation = _pick(given["dilation"], at, 1)
    if not given["transposed"]:
        return _window(kernel, stride, padding, dilation, after)
    reached = np.arange(after, dtype=np.int64)[:, None] + padding - np.arange(kernel, dtype=np.int64) * dilation
    return Taps(reached // stride, reached % stride == 0, 1 / stride)


def _adaptive(_given: Given, _at: int, _count: int, before: int, after: int) -> Taps:
    outputs = np.arange(after, dtype=np.int64)
    starts, stops = outputs * before // after, -(-(outputs + 1) * before // after)
    places = starts[:, None] + np.arange((stops - starts).max(), dtype=np.int64)
    return Taps(places, places < stops[:, None], before / after)


def _factor(given: Given, at: int, before: int, after: int) -> np.float32:
    """Inputs from one output to the next of an interpolation, in torch's own single precision."""
    if given.get("align_corners"):
        return np.float32((before - 1) / (after - 1) if after > 1 else 0)
    scale = given.get("scales_h" if at == 0 else "scales_w")
    return np.float32(1 / scale) if scale else np.float32(before) / np.float32(after)


def _nearest(shift: float) -> Read:
    def read(given: Given, at: int, _count: int, before: int, after: int) -> Taps:
        factor = _factor(given, at, before, after)
        middles = factor * (np.arange(after, dtype=np.float32) + np.float32(shift))
        places = np.floor(middles).astype(np.int64)[:, None]
        return Taps.all_used(np.minimum(places, before - 1), float(factor), places)

    return read


def _interpolated(reach: int) -> Read:
    """Interpolation between the ``2 * reach`` nearest inputs; those beyond the ends are the ends."""

    def read(given: Given, at: int, _count: int, before: int, after: int) -> Taps:
        factor, middles = _middles(given, at, before, after)
        held = np.clip(middles, 0, before - 1) if reach == 1 else middles
        around = np.arange(1 - reach, reach + 1, dtype=np.int64)
        exact = np.abs(held - np.rint(held)) < NO_WEIGHT
        places, endless = (np.floor(each + NO_WEIGHT).astype(np.int64)[:, None] + around for each in (held, middles))
        used = (around == 0) | ~exact[:, None]
        return Taps(np.clip(places, 0, before - 1), used, factor, endless)

    return read


def _middles(given: Given, at: int, before: int, after: int) -> tuple[float, Floats]:
    """An interpolation's step, and where its outputs lie on its input."""
    factor = _factor(given, at, before, after)
    shift = np.float32(0 if given.get("align_corners") else 0.5)
    return float(factor), factor * (np.arange(after, dtype=np.float32) + shift) - shift


def _smoothed(reach: float) -> Read:
    """Interpolation that averages when it shrinks: its kernel is as much wider."""

    def read(given: Given, at: int, _count: int, before: int, after: int) -> Taps:
        factor, middles = _middles(given, at, before, after)
        support = reach * max(factor, 1.0)
        offsets = np.arange(2 * ceil(support) + 2, dtype=np.int64)
        places = np.floor(middles - support).astype(np.int64)[:, None] + offsets
        return Taps(places, np.abs(places - middles[:, None]) < support - NO_WEIGHT, factor)

    return read


def _padded(given: Given, at: int, count: int) -> int:
    pads = list(given["pad"] if "pad" in given else given["padding"])
    before = 2 * (count - 1 - at)
    return int(pads[before]) if before < len(pads) else 0


def _constant_padding(given: Given, at: int, count: int, _before: int, after: int) -> Taps:
    return _window(1, 1, _padded(given, at, count), 1, after)


def _repeating_padding(fold: Callable[[Ints, int], Ints]) -> Read:
    def read(given: Given, at: int, count: int, before: int, after: int) -> Taps:
        plain = np.arange(after, dtype=np.int64)[:, None] - _padded(given, at, count)
        return Taps.all_used(fold(plain, before), 1.0, plain)

    return read


def _reflected(places: Ints, length: int) -> Ints:
    return np.asarray((length - 1) - np.abs(length - 1 - np.abs(places)), dtype=np.int64)


def _replicated(places: Ints, length: int) -> Ints:
    return np.clip(places, 0, length - 1)


def _shuffled(_given: Given, _at: int, _count: int, before: int, after: int) -> Taps:
    return Taps.all_used((np.arange(after, dtype=np.int64) * before // after)[:, None], before / after)


def _unshuffled(_given: Given, _at: int, _count: int, before: int, after: int) -> Taps:
    return _window(before // after, before // after, 0, 1, after)


def slice_taps(start: int, step: int, after: int) -> Taps:
    """A slice of a map: every ``step``-th place from ``start`` on."""
    return _window(1, step, -start, 1, after)


def chosen(places: Ints) -> Taps:
    """Places picked one by one."""
    step = float(np.diff(places).mean()) if len(places) > 1 else 1.0
    return Taps.all_used(places[:, None].astype(np.int64), step)


_REFLECT, _REPLICATE = _repeating_padding(_reflected), _repeating_padding(_replicated)

READS: dict[str, tuple[Read, int]] = {
    "convolution": (_convolution, 0),
    **{f"{kind}_pool{n}d": (_pool, n) for kind in ("max", "avg") for n in (1, 2, 3)},
    **{f"max_pool{n}d_with_indices": (_pool, n) for n in (2, 3)},
    **{f"{kind}_pool{n}d": (_adaptive, n) for kind in ("adaptive_avg", "adaptive_max") for n in (1, 2, 3)},
    **{f"_adaptive_avg_pool{n}d": (_adaptive, n) for n in (2, 3)},
    "upsample_nearest2d": (_nearest(0.0), 2),
    "_upsample_nearest_exact2d": (_nearest(0.5), 2),
    "upsample_bilinear2d": (_interpolated(1), 2),
    "upsample_bicubic2d": (_interpolated(2), 2),
    "_upsample_bilinear2d_aa": (_smoothed(1.0), 2),
    "_upsample_bicubic2d_aa": (_smoothed(2.0), 2),
    "constant_pad_nd": (_constant_padding, 0),
    "reflection_pad2d": (_REFLECT, 2),
    "replication_pad2d": (_REPLICATE, 2),
    "pixel_shuffle": (_shuffled, 2),
    "pixel_unshuffle": (_unshuffled, 2),
}
"""Operations on the last axes: what an output reads along one of them, and on how many axes; 0 where arguments say."""
