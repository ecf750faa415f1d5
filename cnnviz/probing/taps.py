"""What each operation's outputs read of its inputs, along one axis, as the operations are defined.

Every function takes the operation's arguments by name, the number of the axis among those the operation works on,
how many there are, and the lengths before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnviz.probing.axes import Ints, Taps

__all__ = ["READS", "Read", "chosen", "slice_taps"]

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
