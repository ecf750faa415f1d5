"""Routes: which part of the map at each bottleneck has to be computed again when a window of the picture changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.dimensions import Size
from cnnviz.engine.windows.bottlenecks import Bottleneck, Bottlenecks, UnitGrid

__all__ = ["Extent", "Ints", "Places", "Route", "Segment", "plan_route"]

Ints: TypeAlias = NDArray[np.int64]

Places: TypeAlias = Sequence[Ints]
"""Along each axis which of its windows, a number a window."""

STOP, COPY = 3_000_000, 30
"""What a stop at a bottleneck costs, and what each value copied there does, in FLOPs."""


@dataclass(frozen=True)
class Extent:
    """Along one axis: the part of a map that is handed to a segment for each window, and the part it hands on.

    Attributes:
        starts: First unit handed to it, a number a window.
        length: How many units that are.
        skipped: How many of the first units of its answer are not handed on, a number a window.
        targets: First unit, of the whole map that it ends in, that is handed on, a number a window.
        handed: How many units are handed on.
    """

    starts: Ints
    length: int
    skipped: Ints
    targets: Ints
    handed: int


@dataclass(frozen=True)
class Segment:
    """The part of a network between two bottlenecks, run on a part of the first bottleneck's map.

    Attributes:
        start: The first bottleneck.
        stop: The second.
        extents: The parts along each axis.
    """

    start: Bottleneck
    stop: Bottleneck
    extents: tuple[Extent, ...]

    def corners(self, first: Callable[[Extent], Ints], places: Places) -> list[Size]:
        """Of each window, by its place along each axis, a unit that the extents name: a number an axis."""
        along = [first(extent)[numbers].tolist() for extent, numbers in zip(self.extents, places, strict=True)]
        return list(zip(*along, strict=True))


@dataclass(frozen=True)
class Route:
    """Segments in order, and then the rest of the network on a whole map.

    Attributes:
        segments: At least one.
        share: FLOPs of one changed picture over those of a forward, about.
    """

    segments: tuple[Segment, ...]
    share: float


def plan_route(bottlenecks: Bottlenecks, *windows: Ints) -> Route | None:
    """The cheapest route for windows of an input; None where the whole network is.

    Args:
        bottlenecks: The network's bottlenecks.
        *windows: Along each axis ``(R, 2)``, the first and one past the last place that windows change.
    """
    plans = [cache(partial(_plan_extent, along)) for along in windows]
    best: list[tuple[float, tuple[Segment, ...]]] = [(0.0, ())]
    for at, stop in enumerate(bottlenecks.layers[1:], start=1):
        ways = []
        for start, (cost, segments) in zip(bottlenecks.layers[:at], best, strict=True):
            grids = zip(plans, start.grids, stop.grids, strict=True)
            fitting = [extent for plan, before, after in grids if (extent := plan(before, after))]
            if len(fitting) == len(plans):
                segment = Segment(start, stop, tuple(fitting))
                ways.append((cost + _segment_cost(segment), (*segments, segment)))
        best.append(min(ways, key=lambda way: way[0], default=(float("inf"), ())))
    whole = [cost + bottlenecks.work - one.work for (cost, _), one in zip(best, bottlenecks.layers, strict=True)]
    chosen = int(np.argmin(whole))
    return Route(best[chosen][1], whole[chosen] / max(bottlenecks.work, 1)) if chosen else None


def _segment_cost(segment: Segment) -> float:
    """FLOPs of a segment, with what copying in and out of maps takes as long as."""
    start, stop = segment.start, segment.stop
    given, handed = prod(one.length for one in segment.extents), prod(one.handed for one in segment.extents)
    copied = start.channels * given + stop.channels * handed
    return (stop.work - start.work) * (given / start.places) + STOP + COPY * copied


def _plan_extent(windows: Ints, start: UnitGrid, stop: UnitGrid) -> Extent | None:
    """What of one bottleneck's map the units of the next that see a window are made from; None if the two do not fit.

    Parts begin at a multiple of the segment's stride, so that strided windows fall as they do on the whole map, and are
    of one length. Where one would pass the map's end it ends there, with the network's own padding.
    """
    stride, step = divmod(stop.stride, start.stride)
    shift, odd = divmod(stop.first - start.first, start.stride)
    reach, left = divmod(stop.size - start.size, start.stride)
    if step or odd or left or reach < 0:
        return None
    first, end = _units_seeing(stop, windows)
    handed = int((end - first).max())
    targets = np.minimum(first, stop.count - handed)
    needed = (shift + stride * targets).clip(0, start.count)
    beyond = (shift + stride * (targets + handed - 1) + reach + 1).clip(0, start.count)
    starts = needed // stride * stride
    length = int((beyond - starts).max())
    length = min(length + (start.count - length) % stride, start.count)
    starts = np.minimum(starts, start.count - length)
    return Extent(starts, length, targets - starts // stride, targets, handed)


def _units_seeing(grid: UnitGrid, windows: Ints) -> tuple[Ints, Ints]:
    """First and one past the last unit that sees each window; at least one."""
    low, high = windows[:, 0], windows[:, 1]
    first = (low - grid.size - grid.first) // grid.stride + 1
    end = -((grid.first - high) // grid.stride)
    first = first.clip(0, grid.count - 1)
    return first, np.maximum(end.clip(0, grid.count), first + 1)
