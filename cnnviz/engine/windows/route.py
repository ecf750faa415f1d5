"""Routes: from gate to gate, how much of each map has to be computed again when a window of the picture changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnviz.engine.windows.gates import Gate, Gates, Lattice

__all__ = ["Extent", "Ints", "Leg", "Route", "plan_route"]

Ints: TypeAlias = NDArray[np.int64]

STOP, COPY = 3_000_000, 30
"""What a stop at a gate costs, and what each value copied there does, in FLOPs."""


@dataclass(frozen=True)
class Extent:
    """Along one axis: the part of a map that is handed to a leg for each window, and the part it hands on.

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
class Leg:
    """The part of a network between two gates, run on a part of the first gate's map."""

    start: Gate
    stop: Gate
    rows: Extent
    columns: Extent


@dataclass(frozen=True)
class Route:
    """Legs in order, and then the rest of the network on a whole map.

    Attributes:
        legs: At least one.
        share: FLOPs of one changed picture over those of a forward, about.
    """

    legs: tuple[Leg, ...]
    share: float


def plan_route(gates: Gates, rows: Ints, columns: Ints) -> Route | None:
    """The cheapest route for windows of a picture; None where the whole network is.

    Args:
        gates: The network's gates.
        rows: ``(R, 2)``, the first and one past the last pixel that windows change down the picture.
        columns: ``(S, 2)``, across.
    """
    down = cache(partial(_extent, rows))
    across = down if np.array_equal(rows, columns) else cache(partial(_extent, columns))
    best: list[tuple[float, tuple[Leg, ...]]] = [(0.0, ())]
    for at, stop in enumerate(gates.gates[1:], start=1):
        ways = []
        for start, (cost, legs) in zip(gates.gates[:at], best, strict=True):
            fitting = down(start.rows, stop.rows), across(start.columns, stop.columns)
            if fitting[0] and fitting[1]:
                leg = Leg(start, stop, fitting[0], fitting[1])
                ways.append((cost + _cost(leg), (*legs, leg)))
        best.append(min(ways, key=lambda way: way[0], default=(float("inf"), ())))
    whole = [cost + gates.work - gate.work for (cost, _), gate in zip(best, gates.gates, strict=True)]
    chosen = int(np.argmin(whole))
    return Route(best[chosen][1], whole[chosen] / max(gates.work, 1)) if chosen else None


def _cost(leg: Leg) -> float:
    """FLOPs of a leg, with what copying in and out of maps takes as long as."""
    start, stop = leg.start, leg.stop
    part = leg.rows.length * leg.columns.length / (start.rows.count * start.columns.count)
    given = start.channels * leg.rows.length * leg.columns.length
    handed = stop.channels * leg.rows.handed * leg.columns.handed
    return (stop.work - start.work) * part + STOP + COPY * (given + handed)


def _extent(windows: Ints, start: Lattice, stop: Lattice) -> Extent | None:
    """What of a gate's map the units of the next gate that see a window are made from; None if the two do not fit.

    Parts begin at a multiple of the leg's stride, so that strided windows fall as they do on the whole map, and are of
    one length. Where one would pass the map's end it ends there, with the network's own padding.
    """
    stride, step = divmod(stop.stride, start.stride)
    shift, odd = divmod(stop.first - start.first, start.stride)
    reach, left = divmod(stop.size - start.size, start.stride)
    if step or odd or left or reach < 0:
        return None
    first, end = _seeing(stop, windows)
    handed = int((end - first).max())
    targets = np.minimum(first, stop.count - handed)
    needed = (shift + stride * targets).clip(0, start.count)
    beyond = (shift + stride * (targets + handed - 1) + reach + 1).clip(0, start.count)
    starts = needed // stride * stride
    length = int((beyond - starts).max())
    length = min(length + (start.count - length) % stride, start.count)
    starts = np.minimum(starts, start.count - length)
    return Extent(starts, length, targets - starts // stride, targets, handed)


def _seeing(lattice: Lattice, windows: Ints) -> tuple[Ints, Ints]:
    """First and one past the last unit that sees each window; at least one."""
    low, high = windows[:, 0], windows[:, 1]
    first = (low - lattice.size - lattice.first) // lattice.stride + 1
    end = -((lattice.first - high) // lattice.stride)
    first = first.clip(0, lattice.count - 1)
    return first, np.maximum(end.clip(0, lattice.count), first + 1)
