"""Which places of its input an operation's output reads along one axis: convolutions, pools, resizing, padding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["READ_RULES", "Ints", "ReadRule", "Reads", "read_indices", "read_slice"]

Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
Arguments: TypeAlias = Mapping[str, Any]
Floats: TypeAlias = NDArray[np.float32]
NO_WEIGHT = 1e-5


@dataclass(frozen=True, eq=False)
class Reads:
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
    def all_used(cls, places: Ints, step: float, padding: Ints | None = None) -> Reads:
        """Reads in which every entry of ``places`` is an input that is read."""
        return cls(places, np.ones(places.shape, dtype=bool), step, padding)


ReadRule: TypeAlias = Callable[[Arguments, int, int, int, int], Reads]
"""From an operation's arguments, which of how many axes, and the lengths before and after to what is read."""


def _number_at(value: Any, at: int, default: int) -> int:
    """One axis' number of an argument that is a number, one for all axes, one an axis, or left out."""
    if isinstance(value, int):
        return value
    numbers = list(value) if value is not None else []
    return int(numbers[0] if len(numbers) == 1 else numbers[at]) if numbers else default


def _read_window(kernel: int, stride: int, padding: int, dilation: int, after: int) -> Reads:
    starts = np.arange(after, dtype=np.int64)[:, None] * stride - padding
    return Reads.all_used(starts + np.arange(kernel, dtype=np.int64) * dilation, stride)


def _read_pool(given: Arguments, at: int, _count: int, _before: int, after: int) -> Reads:
    kernel = _number_at(given["kernel_size"], at, 1)
    stride = _number_at(given.get("stride"), at, kernel)
    return _read_window(
        kernel, stride, _number_at(given["padding"], at, 0), _number_at(given.get("dilation"), at, 1), after
    )


def _read_convolution(given: Arguments, at: int, count: int, _before: int, after: int) -> Reads:
    kernel = int(given["weight"].shape[-count + at])
    stride, padding = _number_at(given["stride"], at, 1), _number_at(given["padding"], at, 0)
    dilation = _number_at(given["dilation"], at, 1)
    if not given["transposed"]:
        return _read_window(kernel, stride, padding, dilation, after)
    reached = np.arange(after, dtype=np.int64)[:, None] + padding - np.arange(kernel, dtype=np.int64) * dilation
    return Reads(reached // stride, reached % stride == 0, 1 / stride)


def _read_adaptive_pool(_given: Arguments, _at: int, _count: int, before: int, after: int) -> Reads:
    outputs = np.arange(after, dtype=np.int64)
    starts, stops = outputs * before // after, -(-(outputs + 1) * before // after)
    places = starts[:, None] + np.arange((stops - starts).max(), dtype=np.int64)
    return Reads(places, places < stops[:, None], before / after)


SCALES = {1: ("scales",), 2: ("scales_h", "scales_w"), 3: ("scales_d", "scales_h", "scales_w")}


def _scale_factor(given: Arguments, at: int, count: int, before: int, after: int) -> np.float32:
    """Inputs from one output to the next of an interpolation, in torch's own single precision."""
    if given.get("align_corners"):
        return np.float32((before - 1) / (after - 1) if after > 1 else 0)
    scale = given.get(SCALES[count][at])
    return np.float32(1 / scale) if scale else np.float32(before) / np.float32(after)


def _nearest_rule(shift: float) -> ReadRule:
    def read(given: Arguments, at: int, count: int, before: int, after: int) -> Reads:
        factor = _scale_factor(given, at, count, before, after)
        positions = factor * (np.arange(after, dtype=np.float32) + np.float32(shift))
        places = np.floor(positions).astype(np.int64)[:, None]
        return Reads.all_used(np.minimum(places, before - 1), float(factor), places)

    return read


def _interpolation_rule(reach: int) -> ReadRule:
    """Interpolation between the ``2 * reach`` nearest inputs; those beyond the ends are the ends."""

    def read(given: Arguments, at: int, count: int, before: int, after: int) -> Reads:
        factor, positions = _output_positions(given, at, count, before, after)
        held = np.clip(positions, 0, before - 1) if reach == 1 else positions
        around = np.arange(1 - reach, reach + 1, dtype=np.int64)
        exact = np.abs(held - np.rint(held)) < NO_WEIGHT
        places, endless = (np.floor(each + NO_WEIGHT).astype(np.int64)[:, None] + around for each in (held, positions))
        used = (around == 0) | ~exact[:, None]
        return Reads(np.clip(places, 0, before - 1), used, factor, endless)

    return read


def _output_positions(given: Arguments, at: int, count: int, before: int, after: int) -> tuple[float, Floats]:
    """An interpolation's step, and where its outputs lie on its input."""
    factor = _scale_factor(given, at, count, before, after)
    shift = np.float32(0 if given.get("align_corners") else 0.5)
    return float(factor), factor * (np.arange(after, dtype=np.float32) + shift) - shift


def _antialiased_rule(reach: float) -> ReadRule:
    """Interpolation that averages when it shrinks: its kernel is as much wider."""

    def read(given: Arguments, at: int, count: int, before: int, after: int) -> Reads:
        factor, positions = _output_positions(given, at, count, before, after)
        support = reach * max(factor, 1.0)
        offsets = np.arange(2 * ceil(support) + 2, dtype=np.int64)
        places = np.floor(positions - support).astype(np.int64)[:, None] + offsets
        return Reads(places, np.abs(places - positions[:, None]) < support - NO_WEIGHT, factor)

    return read


def _padding_before(given: Arguments, at: int, count: int) -> int:
    pads = list(given["pad"] if "pad" in given else given["padding"])
    before = 2 * (count - 1 - at)
    return int(pads[before]) if before < len(pads) else 0


def _read_constant_padding(given: Arguments, at: int, count: int, _before: int, after: int) -> Reads:
    return _read_window(1, 1, _padding_before(given, at, count), 1, after)


def _padding_rule(fold: Callable[[Ints, int], Ints]) -> ReadRule:
    def read(given: Arguments, at: int, count: int, before: int, after: int) -> Reads:
        plain = np.arange(after, dtype=np.int64)[:, None] - _padding_before(given, at, count)
        return Reads.all_used(fold(plain, before), 1.0, plain)

    return read


def _reflect(places: Ints, length: int) -> Ints:
    return np.asarray((length - 1) - np.abs(length - 1 - np.abs(places)), dtype=np.int64)


def _replicate(places: Ints, length: int) -> Ints:
    return np.clip(places, 0, length - 1)


def _read_pixel_shuffle(_given: Arguments, _at: int, _count: int, before: int, after: int) -> Reads:
    return Reads.all_used((np.arange(after, dtype=np.int64) * before // after)[:, None], before / after)


def _read_pixel_unshuffle(_given: Arguments, _at: int, _count: int, before: int, after: int) -> Reads:
    return _read_window(before // after, before // after, 0, 1, after)


def read_slice(start: int, step: int, after: int) -> Reads:
    """A slice of a map: every ``step``-th place from ``start`` on."""
    return _read_window(1, step, -start, 1, after)


def read_indices(places: Ints) -> Reads:
    """Places picked one by one."""
    step = float(np.diff(places).mean()) if len(places) > 1 else 1.0
    return Reads.all_used(places[:, None].astype(np.int64), step)


_REFLECT, _REPLICATE = _padding_rule(_reflect), _padding_rule(_replicate)

READ_RULES: dict[str, tuple[ReadRule, int]] = {
    "convolution": (_read_convolution, 0),
    **{f"{kind}_pool{n}d": (_read_pool, n) for kind in ("max", "avg") for n in (1, 2, 3)},
    **{f"max_pool{n}d_with_indices": (_read_pool, n) for n in (2, 3)},
    **{f"{kind}_pool{n}d": (_read_adaptive_pool, n) for kind in ("adaptive_avg", "adaptive_max") for n in (1, 2, 3)},
    **{f"_adaptive_avg_pool{n}d": (_read_adaptive_pool, n) for n in (2, 3)},
    **{f"upsample_nearest{n}d": (_nearest_rule(0.0), n) for n in (1, 2, 3)},
    **{f"_upsample_nearest_exact{n}d": (_nearest_rule(0.5), n) for n in (1, 2, 3)},
    "upsample_linear1d": (_interpolation_rule(1), 1),
    "upsample_bilinear2d": (_interpolation_rule(1), 2),
    "upsample_trilinear3d": (_interpolation_rule(1), 3),
    "upsample_bicubic2d": (_interpolation_rule(2), 2),
    "_upsample_bilinear2d_aa": (_antialiased_rule(1.0), 2),
    "_upsample_bicubic2d_aa": (_antialiased_rule(2.0), 2),
    "constant_pad_nd": (_read_constant_padding, 0),
    **{f"reflection_pad{n}d": (_REFLECT, n) for n in (1, 2, 3)},
    **{f"replication_pad{n}d": (_REPLICATE, n) for n in (1, 2, 3)},
    "pixel_shuffle": (_read_pixel_shuffle, 2),
    "pixel_unshuffle": (_read_pixel_unshuffle, 2),
}
"""Operations on the last axes: what an output reads along one of them, and on how many axes; 0 where arguments say."""
