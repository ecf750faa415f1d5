"""A part of a tensor: where the elements of a view lie in the tensor, and what both see when one is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from cnnviz.engine.fields.axes import AxisCoverage
from cnnviz.engine.fields.footprint import Atom, Dim, Footprint, join_branches, plain_dim
from cnnviz.engine.fields.reads import Reads, read_slice

__all__ = ["TensorPart", "Range", "part_of", "read_part", "write_part"]


@dataclass(frozen=True)
class Range:
    """Every ``step``-th place from ``start`` on along a dimension of the whole.

    Attributes:
        start: The first place.
        step: Places from one to the next.
        count: How many.
        dim: The part's dimension that runs along it; None where the part is a single place that has no dimension.
    """

    start: int
    step: int
    count: int
    dim: int | None

    def covers(self, size: int) -> bool:
        """Whether it is all of a dimension of that size."""
        return (self.start, self.step, self.count) == (0, 1, size)

    def reads(self, size: int) -> Reads:
        """Which of the part's places each place of the whole holds; places beyond its ends go on by the step."""
        offsets = np.arange(size, dtype=np.int64)[:, None] - self.start
        return Reads(offsets // self.step, offsets % self.step == 0, 1 / self.step)

    def written(self, size: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which places of the whole are the part's."""
        found = np.zeros(size, dtype=bool)
        found[self.start : self.start + self.count * self.step : self.step] = True
        return found


@dataclass(frozen=True)
class TensorPart:
    """A rectangle of a tensor, perhaps with gaps, and perhaps turned.

    Attributes:
        shape: The whole's shape.
        ranges: What of each of the whole's dimensions it is.
    """

    shape: tuple[int, ...]
    ranges: tuple[Range, ...]

    @property
    def everything(self) -> bool:
        """Whether it is the whole."""
        return all(one.covers(size) for one, size in zip(self.ranges, self.shape, strict=True))

    def of_dim(self, dim: int) -> int | None:
        """The whole's dimension along which one of the part's runs."""
        return next((at for at, one in enumerate(self.ranges) if one.dim == dim), None)


def part_of(view: Tensor, base: Tensor) -> TensorPart | None:
    """Where a view lies in its base; None if it is no rectangle of it: dimensions merged, or overlapping."""
    strides, shape = base.stride(), tuple(base.shape)
    left = int(view.storage_offset()) - int(base.storage_offset())
    starts = [0] * len(shape)
    for at in sorted(range(len(shape)), key=lambda at: -strides[at]):
        if shape[at] > 1:
            starts[at], left = (left // strides[at], left % strides[at]) if strides[at] else (0, left)
    ranges = [Range(start, 1, 1, None) for start in starts]
    if left:
        return None
    for dim, (size, stride) in enumerate(zip(view.shape, view.stride(), strict=True)):
        free = [at for at, one in enumerate(ranges) if one.dim is None]
        along = _dimension_along(stride, size, [at for at in free if strides[at]], shape, strides)
        if along is None:
            return None
        ranges[along] = Range(starts[along], max(stride // strides[along], 1), size, dim)
    inside = all(one.start + (one.count - 1) * one.step < size for one, size in zip(ranges, shape, strict=True))
    return TensorPart(shape, tuple(ranges)) if inside else None


def _dimension_along(
    stride: int, size: int, free: Sequence[int], shape: Sequence[int], strides: Sequence[int]
) -> int | None:
    """Along which free dimension of a tensor a view's dimension steps; one of a single place keeps its stride."""
    if size == 1:
        same = [at for at in free if strides[at] == stride]
        return next((at for at in same if shape[at] > 1), same[0] if same else None)
    fitting = [at for at in free if shape[at] > 1 and stride and stride % strides[at] == 0]
    return max(fitting, key=lambda at: strides[at], default=None)


def read_part(whole: Footprint, part: TensorPart) -> Footprint | None:
    """What the elements of a part see; None if that is not known."""
    if not whole.dims:
        return whole
    dims: dict[int, Dim] = {}
    axes = dict(whole.axes)
    for at, (one, size) in enumerate(zip(part.ranges, part.shape, strict=True)):
        labels = whole.labels([at])
        kept = one.covers(size)
        if labels and not kept:
            label = next(iter(labels))
            if one.dim is None or whole.dim_of(label) != at:
                return None
            axes[label] = axes[label].through(read_slice(one.start, one.step, one.count))
        elif labels and one.dim is None:
            return None
        if one.dim is not None:
            dims[one.dim] = (
                whole.dims[at] if kept else (Atom(next(iter(labels)), one.count),) if labels else plain_dim(one.count)
            )
    return replace(whole, dims=tuple(dims[dim] for dim in sorted(dims)), axes=axes)


def write_part(part: TensorPart, written: Footprint, before: Footprint | None, name: str) -> Footprint:
    """What a whole sees once a part of it was written.

    Places of which the part has none see what they saw before, or nothing but what padding would: their centres go on
    where the part's end.

    Args:
        part: The part.
        written: What the part's elements see now.
        before: What the whole saw; None if it was not made from the image.
        name: The operation that wrote.
    """
    why = f"{name} into a part"
    before = None if part.everything else before
    if not written.dims:
        return _joined(written.lost(why), before, part, name)
    dims, axes = list(map(plain_dim, part.shape)), dict(written.axes)
    for label in written.labels():
        dim = next(at for at, each in enumerate(written.dims) if label in {atom.label for atom in each})
        at = part.of_dim(dim)
        if at is None or (not part.ranges[at].covers(part.shape[at]) and written.dim_of(label) != dim):
            return _joined(written.lost(why), before, part, name)
        if part.ranges[at].covers(part.shape[at]):
            dims[at] = written.dims[dim]
        else:
            dims[at] = (Atom(label, part.shape[at]),)
            axes[label] = axes[label].through(part.ranges[at].reads(part.shape[at]))
    wide = replace(written, dims=tuple(dims), axes=axes)
    if before is None or not before.dims:
        return _joined(wide, before, part, name)
    kept = _overlaid(part, wide, before)
    if kept is None:
        return wide.lost(why)
    return _joined(replace(wide, axes=kept), replace(before, axes=kept), part, name)


def _joined(wide: Footprint, before: Footprint | None, part: TensorPart, name: str) -> Footprint:
    branches = [(part.shape, one) for one in (before, wide) if one is not None]
    return join_branches(branches, part.shape, name)


def _overlaid(part: TensorPart, wide: Footprint, before: Footprint) -> Mapping[str, AxisCoverage] | None:
    """The axes of a whole whose part was written over what it saw before.

    A place along one axis counts for all along the other: None where the part has only some of these, so that the
    places beside it would be said to see what only the part does.
    """
    if {*wide.axes} != {*before.axes} or any(wide.dim_of(label) != before.dim_of(label) for label in wide.axes):
        return None
    dims = {label: wide.dim_of(label) for label in wide.axes}
    found: dict[str, AxisCoverage] = {}
    for label, at in dims.items():
        if at is None:
            return None
        found[label] = before.axes[label].overlaid(wide.axes[label], part.ranges[at].written(part.shape[at]))
        others = [place for other, place in dims.items() if other != label]
        narrow = any(place is None or not part.ranges[place].covers(part.shape[place]) for place in others)
        if narrow and not found[label].equals(before.axes[label]):
            return None
    return found
