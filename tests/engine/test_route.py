"""Routes: what every window needs, by loops over all units and pixels, and what each way through them costs."""

from __future__ import annotations

import numpy as np
import pytest

from cnnviz.engine.windows.bottlenecks import Bottleneck, Bottlenecks, UnitGrid
from cnnviz.engine.windows.route import COPY, STOP, plan_route

LENGTH = 41


def after(start: UnitGrid, kernel: int, stride: int, padding: int) -> UnitGrid:
    """The grid of a convolution of a bottleneck's map."""
    count = (start.count + 2 * padding - kernel) // stride + 1
    size = start.size + (kernel - 1) * start.stride
    return UnitGrid(start.first - padding * start.stride, start.stride * stride, size, count)


PIXELS = UnitGrid(0, 1, 1, LENGTH)
STARTS = {"pixels": PIXELS, "after a stride": after(PIXELS, 5, 2, 2), "without padding": after(PIXELS, 4, 2, 0)}
WINDOWS = np.array([(first, first + 6) for first in (0, 1, 7, 12, 18, 29, LENGTH - 6)])


def bottleneck(name: str, grid: UnitGrid, work: int, channels: int = 2) -> Bottleneck:
    return Bottleneck(name, channels, (grid, grid), work)


def segment_of(start: UnitGrid, stop: UnitGrid):
    """The only segment between two bottlenecks."""
    (segment,) = plan_route(
        Bottlenecks((bottleneck("start", start, 0), bottleneck("stop", stop, 10**12)), 2 * 10**12), WINDOWS, WINDOWS
    ).segments
    return segment


def pixels_of(grid: UnitGrid, unit: int) -> range:
    return range(grid.first + unit * grid.stride, grid.first + unit * grid.stride + grid.size)


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(1, 1, 0), (3, 1, 1), (3, 2, 1), (5, 3, 2), (2, 2, 0)])
def test_every_window_gets_what_it_needs_and_no_more(start, kernel, stride, padding):
    stop = after(start, kernel, stride, padding)
    found = segment_of(start, stop).extents[0]
    longest, widest = 0, 0
    for number, (low, high) in enumerate(WINDOWS):
        seeing = [unit for unit in range(stop.count) if set(pixels_of(stop, unit)) & set(range(low, high))]
        handed = range(found.targets[number], found.targets[number] + found.handed)
        assert set(seeing) <= set(handed) <= set(range(stop.count))
        taps = {stride * unit + tap - padding for unit in handed for tap in range(kernel)} & set(range(start.count))
        given = range(found.starts[number], found.starts[number] + found.length)
        assert taps <= set(given) <= set(range(start.count))
        assert given.start % stride == 0
        assert given.start // stride + found.skipped[number] == handed.start
        longest, widest = max(longest, len(seeing)), max(widest, max(taps) + 1 - min(taps) // stride * stride)
    assert found.handed == longest
    assert found.length - widest in range(stride)
    assert (start.count - found.length) % stride == 0


def test_a_window_that_no_unit_sees_asks_for_one():
    blind = UnitGrid(0, 10, 3, 4)
    segment = plan_route(
        Bottlenecks((bottleneck("", PIXELS, 0), bottleneck("stop", blind, 10**12)), 10**12), WINDOWS[3:4] + 1, WINDOWS
    ).segments[0]
    assert (segment.extents[0].handed, segment.extents[0].targets.tolist()) == (1, [2])


@pytest.mark.parametrize(
    "stop",
    [
        UnitGrid(-1, 3, 7, 10),  # its stride is no multiple of the bottleneck's
        UnitGrid(0, 2, 7, 10),  # its first unit lies between two of the bottleneck's
        UnitGrid(-1, 2, 6, 10),  # its size is not that of so many of the bottleneck's units
        UnitGrid(-1, 1, 9, 20),  # it is finer
        UnitGrid(-1, 2, 3, 10),  # it sees less
    ],
)
def test_gates_that_do_not_fit_have_no_leg(stop):
    start = UnitGrid(-1, 2, 5, 20)
    bottlenecks = (bottleneck("start", start, 0), bottleneck("stop", stop, 10**12))
    assert plan_route(Bottlenecks(bottlenecks, 10**12), WINDOWS, WINDOWS) is None


THREE = (PIXELS, after(PIXELS, 3, 1, 1), after(after(PIXELS, 3, 1, 1), 3, 2, 1))


def cost(start: Bottleneck, stop: Bottleneck, given: int, handed: int) -> float:
    """By hand, of parts ``given`` and ``handed`` long and wide."""
    share = given**2 / start.places
    return (stop.work - start.work) * share + STOP + COPY * (start.channels * given**2 + stop.channels * handed**2)


@pytest.mark.parametrize(("early", "late"), [(10**9, 10**9), (10**9, 3 * 10**6), (10**5, 10**5), (10**5, 10**9)])
def test_the_cheapest_way_and_its_share(early, late):
    bottlenecks = tuple(
        bottleneck(name, grid, work, channels)
        for name, grid, work, channels in zip(
            ("", "near", "far"), THREE, (0, early, early + late), (3, 8, 16), strict=True
        )
    )
    window = np.array([[12, 18]])
    whole = early + late + 10**8
    # 8 units of the first map see the 6 pixels, made from 10 pixels; 5 of the second do, made from 11 of either, and
    # 13 are given: an even number before them, and an even number behind
    first, second = cost(bottlenecks[0], bottlenecks[1], 10, 8), cost(bottlenecks[1], bottlenecks[2], 13, 5)
    both = cost(bottlenecks[0], bottlenecks[2], 13, 5)
    ways = {
        (): whole,
        ("near",): first + whole - early,
        ("near", "far"): first + second + 10**8,
        ("far",): both + 10**8,
    }
    best = min(ways, key=ways.__getitem__)
    found = plan_route(Bottlenecks(bottlenecks, whole), window, window)
    assert (tuple(segment.stop.name for segment in found.segments) if found else ()) == best
    assert (found.share if found else 1) == pytest.approx(ways[best] / whole)


def test_rows_and_columns_have_windows_of_their_own():
    bottlenecks = Bottlenecks((bottleneck("", PIXELS, 0), bottleneck("stop", after(PIXELS, 3, 1, 1), 10**12)), 10**12)
    down, across = np.array([[3, 5], [9, 11]]), np.array([[20, 27]])
    (segment,) = plan_route(bottlenecks, down, across).segments
    assert (segment.extents[0].targets.tolist(), segment.extents[0].handed) == ([2, 8], 4)
    assert (segment.extents[1].targets.tolist(), segment.extents[1].handed) == ([19], 9)
