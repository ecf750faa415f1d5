"""Mutations of how the parts of maps are planned that occlusion computes again."""

from __future__ import annotations

from benchmarks.mutants.mutation import Mutation

__all__ = ["ROUTES"]

P = "cnnviz/engine"
FITTING = ("tests/engine/test_route.py::test_gates_that_do_not_fit_have_no_leg",)
NEEDED = ("tests/engine/test_route.py::test_every_window_gets_what_it_needs_and_no_more",)
COST = ("tests/engine/test_route.py::test_the_cheapest_way_and_its_share",)

ROUTES = (
    Mutation(
        "Routes: a unit too few is handed on", f"{P}/windows/route.py",
        "(targets + handed - 1) + reach + 1)", "(targets + handed - 1) + reach)",
        NEEDED, "the last value of every part is made from padding",
    ),
    Mutation(
        "Routes: a unit too many is handed on", f"{P}/windows/route.py",
        "(targets + handed - 1) + reach + 1)", "(targets + handed - 1) + reach + 2)",
        NEEDED, "more is computed again than the window reaches",
    ),
    Mutation(
        "Routes: parts do not begin at a stride", f"{P}/windows/route.py",
        "starts = needed // stride * stride", "starts = needed",
        NEEDED, "strided layers read other places than on the whole map",
    ),
    Mutation(
        "Routes: parts begin at the next stride", f"{P}/windows/route.py",
        "starts = needed // stride * stride", "starts = -(-needed // stride) * stride",
        NEEDED, "the first value of a part is made from padding",
    ),
    Mutation(
        "Routes: a part at the end does not begin at a stride", f"{P}/windows/route.py",
        "length + (start.count - length) % stride", "length",
        NEEDED, "strided layers read other places than on the whole map",
    ),
    Mutation(
        "Routes: the part's own border is handed on", f"{P}/windows/route.py",
        "targets - starts // stride, targets", "0 * targets, targets",
        NEEDED, "values made from padding are put amid the map",
    ),
    Mutation(
        "Routes: what is skipped is counted in the gate before", f"{P}/windows/route.py",
        "targets - starts // stride, targets", "targets - starts, targets",
        NEEDED, "other values than the window's are put into the map",
    ),
    Mutation(
        "Routes: a part at the end is not moved in", f"{P}/windows/route.py",
        "np.minimum(first, stop.count - handed)", "first",
        NEEDED, "parts pass the map's end",
    ),
    Mutation(
        "Routes: the first unit that sees a window is left out", f"{P}/windows/route.py",
        "grid.first) // grid.stride + 1", "grid.first) // grid.stride + 2",
        NEEDED, "a row and a column of every part stay those of the unchanged picture",
    ),
    Mutation(
        "Routes: the unit before a window counts as seeing it", f"{P}/windows/route.py",
        "grid.first) // grid.stride + 1", "grid.first) // grid.stride",
        NEEDED, "more is computed again than the window reaches",
    ),
    Mutation(
        "Routes: the last unit that sees a window is left out", f"{P}/windows/route.py",
        "end = -((grid.first - high) // grid.stride)", "end = (high - grid.first) // grid.stride",
        NEEDED, "a row and a column of every part stay those of the unchanged picture",
    ),
    Mutation(
        "Routes: the narrowest window's part for all", f"{P}/windows/route.py",
        "handed = int((end - first).max())", "handed = int((end - first).min())",
        NEEDED, "of windows amid the picture only a part counts",
    ),
    Mutation(
        "Routes: the shift between gates forgotten", f"{P}/windows/route.py",
        "needed = (shift + stride * targets)", "needed = (stride * targets)",
        NEEDED, "the margin that padded layers need is missing",
    ),
    Mutation(
        "Routes: gates half a unit apart", f"{P}/windows/route.py",
        "if step or odd or left or reach < 0", "if step or left or reach < 0",
        FITTING, "parts lie half a unit beside where they belong",
    ),
    Mutation(
        "Routes: a size that is not so many units", f"{P}/windows/route.py",
        "if step or odd or left or reach < 0", "if step or odd or reach < 0",
        FITTING, "parts are too narrow for what is made from them",
    ),
    Mutation(
        "Routes: strides that do not fit", f"{P}/windows/route.py",
        "if step or odd or left or reach < 0", "if odd or left or reach < 0",
        FITTING, "parts drift away from where they belong",
    ),
    Mutation(
        "Routes: the dearest way", f"{P}/windows/route.py",
        "best.append(min(ways,", "best.append(max(ways,",
        COST, "more work than a forward, or nothing saved",
    ),
    Mutation(
        "Routes: a leg costs its whole layers", f"{P}/windows/route.py",
        "(stop.work - start.work) * (given / start.places)", "(stop.work - start.work)",
        COST, "no way looks cheaper than a forward, and none is taken",
    ),
    Mutation(
        "Routes: copying costs nothing", f"{P}/windows/route.py",
        "+ STOP + COPY * copied", "+ STOP",
        COST, "stops are made where copying takes longer than computing",
    ),
    Mutation(
        "Routes: a stop costs nothing", f"{P}/windows/route.py",
        "+ STOP + COPY * copied", "+ COPY * copied",
        COST, "small networks are made slower",
    ),
    Mutation(
        "Routes: what comes after the last gate costs nothing", f"{P}/windows/route.py",
        "cost + bottlenecks.work - one.work for", "cost for",
        COST, "a route that saves nothing is taken for a cheap one",
    ),
    Mutation(
        "Routes: only the rows' part counts", f"{P}/windows/route.py",
        "given, handed = prod(one.length for one in segment.extents)",
        "given, handed = segment.extents[0].length * start.grids[1].count",
        COST, "routes look dearer than they are",
    ),
)  # fmt: skip
