"""Mutations of what is counted and estimated, cut out of photographs, and said in numbers."""

from __future__ import annotations

from benchmarks.mutants.mutation import Mutation

__all__ = ["TELLING"]

M = "cnnviz/methods"
P = "cnnviz/engine"
D = "cnnviz/drawing"
R = "cnnviz/results"
TALLY = ("tests/engine/test_tally.py",)
SLICES = ("tests/engine/test_slices.py",)
KERNELS = ("tests/engine/test_kernels.py",)
OPERATIONS = ("tests/engine/test_fields.py::test_operations",)
CENTRES = ("tests/engine/test_fields.py::test_branches_with_other_centres_are_said",)
BLOCKS = ("tests/engine/test_fields.py::test_blocks_of_a_map_lie_as_those_of_a_pool_do",)
BUDGET = ("tests/methods/test_budget.py",)
PLACING = ("tests/methods/test_grids.py",)
SHOWING = ("tests/methods/test_patch_showing.py",)
SCAN = ("tests/methods/test_scan_patches.py",)
OVERLAY = ("tests/drawing/test_overlay.py",)
COLOUR = ("tests/drawing/test_colour.py",)

TELLING = (
    Mutation(
        "Patches: a class's sum is that of all images", f"{P}/tally/tally.py",
        "values[rows].sum(axis=0, dtype=np.float64)", "values.sum(axis=0, dtype=np.float64)",
        TALLY, "no unit is selective for any class",
    ),
    Mutation(
        "Patches: a class's later images replace the earlier ones", f"{P}/tally/tally.py",
        "self.class_sums[label] + sums if label in self.class_sums else sums.copy()", "sums.copy()",
        TALLY, "means of classes are too small, and depend on how the work was shared out",
    ),
    Mutation(
        "Patches: images without a class are one", f"{P}/tally/tally.py",
        "np.unique(peaks.labels[peaks.labels != NO_CLASS])", "np.unique(peaks.labels)",
        TALLY, "there is a class more than the data set has",
    ),
    Mutation(
        "Patches: the largest of the smallest values", f"{P}/tally/tally.py",
        "np.minimum(self.lowest, later.lowest, out=self.lowest)",
        "np.maximum(self.lowest, later.lowest, out=self.lowest)",
        TALLY, "what is said of a unit's range depends on how the work was shared out",
    ),
    Mutation(
        "Patches: one image makes a unit dead", f"{M}/scan/index.py",
        "(total.lowest[some] == total.highest[some]) & (total.images > 1)", "total.lowest[some] == total.highest[some]",
        SCAN, "of a single image all units are dead",
    ),
    Mutation(
        "Patches: samples of each tenth are its highest", f"{M}/scan/index.py",
        'np.argsort(np.take_along_axis(chances, rows, axis=0), axis=0, kind="stable")[:samples]',
        'np.argsort(-np.take_along_axis(values, rows, axis=0), axis=0, kind="stable")[:samples]',
        SCAN, "samples show the top of every tenth, not what is usual in it",
    ),
    Mutation(
        "Patches: differences in the values' own unit", f"{M}/patches/cut.py",
        "difference / largest if largest else np.inf", "difference",
        SHOWING, "what is said about verification depends on the layer's scale",
    ),
    Mutation(
        "Patches: boxes of even fields one pixel off", f"{M}/patches/cut.py",
        "[round(middle - (side - 1) / 2) for middle, side in zip(centre,",
        "[round(middle - side / 2) for middle, side in zip(centre,",
        SHOWING, "patches are cut one pixel beside what the unit sees",
    ),
    Mutation(
        "Patches: the whole response is marked", f"{M}/patches/cut.py",
        "spread >= HALF * peak", "spread > 0 * peak",
        SHOWING, "a mark around all that is above zero",
    ),
    Mutation(
        "Cutting: the crop's corner forgotten", "cnnviz/images/crop.py",
        "        (columns[0] + crop_left) * across,\n", "        columns[0] * across,\n",
        SHOWING, "patches come from another part of the photograph",
    ),
    Mutation(
        "Cutting: beyond the photograph its border goes on", "cnnviz/images/crop.py",
        "max(span[0], 0, -start), min(span[1], length, resized - start)", "max(span[0], 0), min(span[1], length)",
        (*SHOWING, "tests/images/test_datasets.py"), "padding is drawn as if it were photograph",
    ),
    Mutation(
        "Selectivity: the class itself is among the others", f"{R}/patches.py",
        "rest = (held.sum(axis=1, keepdims=True) - held) / others", "rest = held.sum(axis=1, keepdims=True) / others",
        (*SHOWING, *SCAN), "a unit for one class alone is said to be half selective",
    ),
    Mutation(
        "Memory: what did not fit is left out", f"{P}/batching.py",
        "        size = size // 2  #", "        size, start = size // 2, some.stop  #",
        SLICES, "after memory ran out, answers are missing",
    ),
    Mutation(
        "Progress: a part's steps count as the whole's", f"{P}/batching.py",
        "some.start * of + (some.stop - some.start) * done", "some.start * of + done",
        SLICES, "the bar creeps, and jumps at the end of each part",
    ),
    Mutation(
        "Quantiles: ranks from 1", f"{P}/tally/tally.py",
        "rank = level * np.maximum(total[:, 0] - 1, 0)", "rank = level * total[:, 0]",
        ("tests/engine/test_bins.py",), "every quantile is a little too high",
    ),
    Mutation(
        "Filters: groups of a transposed convolution mixed", f"{P}/kernels.py",
        "values = grouped.transpose(1, 2).reshape(", "values = grouped.reshape(",
        (*KERNELS, "tests/methods/test_filters.py"), "kernels are shown for other units than theirs",
    ),
    Mutation(
        "Filters: a norm's own gain forgotten", f"{P}/kernels.py",
        'gains * given["weight"].double()', "gains",
        KERNELS, "filters are not those that the network works with",
    ),
    Mutation(
        "Filters: a norm after something else counts", f"{P}/kernels.py",
        'output is given["input"] and output._version == 0', 'output is given["input"]',
        KERNELS, "a norm of what was changed in place is taken for the layer's",
    ),
    Mutation(
        "Filters: excitation and inhibition exchanged in words", f"{M}/units/kernels.py",
        "'+' if part < count else", "'+' if part >= count else",
        ("tests/methods/test_filters.py",), "what a colour stands for has the wrong sign",
    ),
    Mutation(
        "Filters: the share that is missed", f"{M}/units/kernels.py",
        "(1 - _missed_squares(parts, maps, vectors) / whole)", "(_missed_squares(parts, maps, vectors) / whole)",
        ("tests/methods/test_filters.py",), "the better three colours hold a kernel, the worse it is said to be held",
    ),
    Mutation(
        "Receptive fields: adaptive pools without their last places", f"{P}/fields/reads.py",
        "-(-(outputs + 1) * before // after)", "(outputs + 1) * before // after",
        OPERATIONS, "units of an adaptive pool are said to see less than they do",
    ),
    Mutation(
        "Receptive fields: reflection doubles the border", f"{P}/fields/reads.py",
        "(length - 1) - np.abs(length - 1 - np.abs(places))", "(length - 1) - np.abs(length - 1 - np.abs(places + 1))",
        OPERATIONS, "units at the border are said to see other pixels",
    ),
    Mutation(
        "Receptive fields: enlarging reads a place too few", f"{P}/fields/reads.py",
        "used = (around == 0) | ~exact[:, None]", "used = np.broadcast_to(around == 0, endless.shape)",
        OPERATIONS, "units of enlarged maps are said to see less than they do",
    ),
    Mutation(
        "Receptive fields: branches beside each other count as aligned", f"{P}/fields/axes.py",
        "self.aligned and other.aligned and same", "self.aligned and other.aligned",
        CENTRES, "that a layer's map lies half a stride off is not said",
    ),
    Mutation(
        "Receptive fields: blocks one place wide", f"{P}/fields/axes.py",
        "return self.through(Reads.all_used(places, size))", "return self.through(Reads.all_used(places, 1))",
        BLOCKS, "tokens of windows are said to lie closer together than they do",
    ),
    Mutation(
        "Fusing layers: on the coarsest grid", f"{M}/cams/grids.py",
        "finest = max(range(len(maps))", "finest = min(range(len(maps))",
        (*PLACING, "tests/methods/test_layer_maps.py"), "the finer layer's detail is lost",
    ),
    Mutation(
        "Flip: weights of neighbours exchanged", f"{M}/cams/grids.py",
        "return near * (1 - share) + far * share", "return near * share + far * (1 - share)",
        PLACING, "each place gets its farther neighbour's value",
    ),
    Mutation(
        "Budget: windows that were evaluated count as estimated", f"{M}/occlusion/estimate.py",
        "return WindowEstimate(estimate, misses, len(rest))", "return WindowEstimate(estimate, misses, total)",
        BUDGET, "the bar is of more windows than were estimated",
    ),
    Mutation(
        "Budget: the error bar of the first baseline alone", f"{M}/occlusion/budget.py",
        "found.misses.reshape(*shape, -1).mean(axis=0)", "found.misses.reshape(*shape, -1)[0]",
        BUDGET, "the bar is of another map than the mean that is shown",
    ),
    Mutation(
        "Budget: time that is spent already is spent again", f"{M}/occlusion/budget.py",
        "int((seconds - taken) / (taken / some))", "int(seconds / (taken / some))",
        BUDGET, "longer than was allowed",
    ),
    Mutation(
        "Effective field: half the mass of half the values", f"{R}/layers.py",
        "np.searchsorted(mass, share * mass[-1])", "np.searchsorted(mass, share * len(mass))",
        ("tests/methods/test_effective_field.py",), "the radius is of another share",
    ),
    Mutation(
        "Quality: held-out views cut to the smallest", f"{M}/ascent/quality.py",
        "side = SMALLEST_CROP + (1 - SMALLEST_CROP) * share", "side = SMALLEST_CROP * share",
        ("tests/methods/test_quality.py",), "held-out scores are of parts too small to see anything in",
    ),
    Mutation(
        "Quality: noisier and smoother exchanged", f"{R}/images.py",
        "if slope > mean + FAR * deviation:", "if slope < mean - FAR * deviation:",
        ("tests/results/test_quality_lines.py",), "noise is called smooth",
    ),
    Mutation(
        "Overlay: the photograph's pixels by their corners", f"{D}/overlay.py",
        "edges[inside] - 0.5", "edges[inside]",
        OVERLAY, "the map lies half a pixel of the input off",
    ),
    Mutation(
        "Overlay: weak places veil the photograph", f"{D}/overlay.py",
        "return 1 - (1 - strength) ** 2", "return np.sqrt(strength)",
        OVERLAY, "cold places do not show the photograph",
    ),
    Mutation(
        "Colour: the share beyond the upper end alone", f"{D}/colour.py",
        "np.mean((known < low) | (known > high))", "np.mean(known > high)",
        COLOUR, "of a signed map half of what is clipped is not said",
    ),
    Mutation(
        "Colour: the middle of the bar is half its high end", f"{D}/colour.py",
        "0.0 if scale.signed else (scale.low + scale.high) / 2", "scale.high / 2",
        COLOUR, "the bar's middle number is wrong",
    ),
    Mutation(
        "Comparison: maps that are nearly alike are called the same", f"{M}/compare.py",
        "SAME = 1 - 1e-6", "SAME = 0.9",
        ("tests/methods/test_compare.py",), "methods that differ are said to coincide",
    ),
    Mutation(
        "Making it again: a difference with its sign", "cnnviz/rerunning/difference.py",
        "0.0, np.abs(one - other))", "0.0, one - other)",
        ("tests/rerunning/test_rerun.py",), "values that have grown count as the same",
    ),
    Mutation(
        "Clips: the scale of the last frame", f"{R}/film.py",
        "high=max(one.high, other.high)", "high=other.high",
        ("tests/methods/test_video.py",), "the strongest frame is drawn as strong as any",
    ),
    Mutation(
        "Concepts: strengths of concepts of any length", f"{M}/concepts.py",
        "(shares.sum(dim=0) * norms).argsort(", "shares.sum(dim=0).argsort(",
        ("tests/methods/test_dff.py",), "the first concept is not the strongest",
    ),
    Mutation(
        "Examples' colours: a window without its second axis", f"{M}/ascent/spectrum.py",
        "window = window[..., None] * torch", "window = 0 * window[..., None] + torch",
        ("tests/methods/test_maximize_parts.py",), "the left and right edge of examples is taken for detail",
    ),
)  # fmt: skip
