"""Mutations of where things lie and what is kept of them: fields, replay, patches, pictures and colours."""

from __future__ import annotations

from benchmarks.mutants.mutation import Mutation

__all__ = ["PLACES"]

P = "cnnviz/engine"
D = "cnnviz/drawing"
OPERATIONS = ("tests/engine/test_fields.py::test_operations",)
SIZES = ("tests/engine/test_fields.py::test_sizes_strides_and_offsets_do_not_depend_on_the_input",)
ALIGNING = ("tests/drawing/test_aligning.py",)
BILINEAR = ("tests/drawing/test_overlay.py::test_upsample_is_torchs_bilinear",)
BOX = ("tests/drawing/test_overlay.py::test_the_seen_part_is_the_geometrys_box",)
SIGNED = ("tests/drawing/test_overlay.py::test_signed_opacity_follows_the_magnitude",)
COLOUR = ("tests/drawing/test_colour.py",)
TOPK = ("tests/engine/test_topk.py",)
BINS = ("tests/engine/test_bins.py",)
SCAN = ("tests/methods/test_scan_patches.py::test_places_on_an_oblong_grid_are_rows_and_columns",)
STATISTICS = ("tests/methods/test_scan_patches.py::test_statistics_are_those_of_all_values",)
TALLY = ("tests/engine/test_tally.py",)
PREPROCESS = ("tests/models/test_preprocess.py",)

PLACES = (
    Mutation(
        "Receptive fields: padding added", f"{P}/fields/reads.py",
        "[:, None] * stride - padding\n", "[:, None] * stride + padding\n",
        OPERATIONS, "every unit is said to look further down and right than it does",
    ),
    Mutation(
        "Receptive fields: dilation ignored", f"{P}/fields/reads.py",
        "np.arange(kernel, dtype=np.int64) * dilation, stride)", "np.arange(kernel, dtype=np.int64), stride)",
        OPERATIONS, "dilated units are said to see less than they do",
    ),
    Mutation(
        "Receptive fields: centres half a pixel off", f"{P}/fields/axes.py",
        "centres = (self.low + self.high) / 2", "centres = (self.low + self.high + 1) / 2",
        SIZES, "every map is drawn half a pixel off",
    ),
    Mutation(
        "Receptive fields: branches that meet see what the first saw", f"{P}/fields/axes.py",
        "np.maximum(self.last, other.last)", "np.minimum(self.last, other.last)",
        OPERATIONS, "the field of a residual unit is that of its shortcut",
    ),
    Mutation(
        "Receptive fields: strides added, not multiplied", f"{P}/fields/axes.py",
        "self.step * reads.step, self.aligned)", "self.step + reads.step - 1, self.aligned)",
        SIZES, "deep units are said to lie closer together than they do",
    ),
    Mutation(
        "Receptive fields: transposed convolutions padded the other way", f"{P}/fields/reads.py",
        "[:, None] + padding - np.arange", "[:, None] - padding - np.arange",
        OPERATIONS, "decoder units are said to look elsewhere",
    ),
    Mutation(
        "Fields of other inputs: even sizes rounded away", "cnnviz/core/field.py",
        "first = round(self.centre(unit) - (self.size - 1) / 2)", "first = round(self.centre(unit) - self.size / 2)",
        ("tests/engine/test_fields.py::test_boxes_of_inputs_of_another_size",),
        "boxes on larger pictures are one pixel off",
    ),
    Mutation(
        "Alignment: the half stride at the border cut off", "cnnviz/core/field.py",
        "beyond = (units < -0.5) | (units > count - 0.5)", "beyond = (units < 0) | (units > count - 1)",
        ALIGNING, "a map ends at its outer units' centres",
    ),
    Mutation(
        "Alignment: units placed as if the field began at 0", "cnnviz/core/field.py",
        "(np.asarray(pixels, dtype=np.float64) - self.offset) / self.stride",
        "np.asarray(pixels, dtype=np.float64) / self.stride",
        ALIGNING, "maps are drawn beside what their units see",
    ),
    Mutation(
        "Alignment: pixels' corners for their centres", f"{D}/overlay.py",
        "(2 * np.arange(length) + 1) * count / (2 * length) - 0.5", "np.arange(length) * count / length",
        BILINEAR, "the overlay is half a unit off",
    ),
    Mutation(
        "Overlay: the crop's corner forgotten", f"{D}/overlay.py",
        "* resized / (2 * original) - start", "* resized / (2 * original)",
        BOX, "the map lies at the picture's corner instead of the crop",
    ),
    Mutation(
        "Overlay: negative values fade", f"{D}/overlay.py",
        "np.abs(2 * along - 1) if scale.signed", "2 * along - 1 if scale.signed",
        SIGNED, "evidence against the class is not drawn",
    ),
    Mutation(
        "Overlay: taps weighed the other way round", f"{D}/overlay.py",
        "found.take(own.first, axis) * (1 - weight) + found.take(own.second, axis) * weight",
        "found.take(own.first, axis) * weight + found.take(own.second, axis) * (1 - weight)",
        BILINEAR, "each pixel shows the farther unit",
    ),
    Mutation(
        "Heat maps: ReLU dropped", "cnnviz/results/heatmap.py",
        "return np.maximum(self.values, 0) if self.rectified else self.values", "return self.values",
        ("tests/results/test_heatmap.py",), "negative values are enlarged and drawn with the others",
    ),
    Mutation(
        "Heat maps: peak as row and column", "cnnviz/results/heatmap.py",
        "for at in reversed(np.unravel_index(", "for at in (np.unravel_index(",
        ("tests/results/test_heatmap.py",), "the place that is said is transposed",
    ),
    Mutation(
        "Colour: the signed colour map turned around", f"{D}/colour.py",
        '"RdBu_r" if signed', '"RdBu" if signed',
        COLOUR, "blue means for, red against",
    ),
    Mutation(
        "Colour: signed limits that are not symmetric", f"{D}/colour.py",
        "    return -high, high\n", "    return float(known.min(initial=0)), high\n",
        COLOUR, "zero is not the pale middle",
    ),
    Mutation(
        "Colour: the bar upside down", f"{D}/colour.py",
        "else along[::-1, None]", "else along[:, None]",
        COLOUR, "the bar's top is its low end",
    ),
    Mutation(
        "Attributions: channels painted blue, green, red", f"{D}/colour.py",
        ".transpose(1, 2, 0), order=", ".transpose(1, 2, 0)[..., ::-1], order=",
        (*COLOUR, "tests/results/test_attributions.py"), "red gradients are drawn blue",
    ),
    Mutation(
        "Preprocessing: multiplied by the deviation", "cnnviz/models/preprocess.py",
        "values.sub_(mean).div_(std)", "values.sub_(mean).mul_(std)",
        PREPROCESS, "the network gets a picture almost without contrast",
    ),
    Mutation(
        "Preprocessing: crop's offsets exchanged", "cnnviz/core/sample.py",
        "return cls(original, resized, (*starts, *size))", "return cls(original, resized, (*reversed(starts), *size))",
        PREPROCESS, "oblong pictures are cut at the wrong place",
    ),
    Mutation(
        "Preprocessing: the longer side rounded up", "cnnviz/models/preprocess.py",
        "tuple(int(self.resize * side / min(size)) for", "tuple(math.ceil(self.resize * side / min(size)) for",
        PREPROCESS, "one pixel more than torchvision's, so other logits",
    ),
    Mutation(
        "Reading: EXIF turns the wrong way", "cnnviz/images/pixels.py",
        "6: Image.Transpose.ROTATE_270", "6: Image.Transpose.ROTATE_90",
        ("tests/images/test_pixels.py", "tests/images/test_reading.py"), "photographs of a phone stand upside down",
    ),
    Mutation(
        "Replay: its own check never fails", f"{P}/replay.py",
        "return bool((again - logits).abs().max() <= tolerance)", "return True",
        ("tests/engine/test_replay_limits.py",), "networks that cannot be replayed get a wrong answer in silence",
    ),
    Mutation(
        "Replay: a tolerance of nothing worth", f"{P}/replay.py",
        "torch.float32: 1e-4}", "torch.float32: 1e2}",
        ("tests/engine/test_replay_limits.py",), "networks that cannot be replayed get a wrong answer in silence",
    ),
    Mutation(
        "Replay: the first call of a layer for the last", f"{P}/replay.py",
        "return call >= self._target.number if", "return call > self._target.number if",
        ("tests/engine/test_replay_limits.py",), "a unit of the layer itself is said not to depend on it",
    ),
    Mutation(
        "Folding: a convolution that runs twice is folded", f"{P}/batch_norms.py",
        "for conv, norm in found if calls[conv] == calls[norm] == 1]", "for conv, norm in found]",
        ("tests/engine/test_folding.py",), "the norm is folded in for the call that has none, too",
    ),
    Mutation(
        "Folding: a loss of any size is put up with", "cnnviz/models/inference_copy.py",
        "if loss > FOLDED_LOSS:", "if loss > FOLDED_LOSS * 1e6:",
        ("tests/engine/test_folding.py",), "scores are asked of another network",
    ),
    Mutation(
        "Filters: folding without the norm's eps", f"{P}/kernels.py",
        '(variance.double() + given.get("eps", given.get("epsilon"))).rsqrt()', "variance.double().rsqrt()",
        ("tests/engine/test_kernels.py", "tests/methods/test_filters.py"),
        "filters are not those that the network works with",
    ),
    Mutation(
        "Patches: of equal values the later image first", f"{P}/tally/tally.py",
        "np.lexsort((places, images, -values), axis=1)", "np.lexsort((places, -images, -values), axis=1)",
        TOPK, "what is found depends on how the work was shared out",
    ),
    Mutation(
        "Patches: an earlier image with an equal value does not come in", f"{P}/tally/tally.py",
        "((values == bar) & (images[:, None] < barred))", "((values == bar) & (images[:, None] > barred))",
        TOPK, "what is found depends on the order of the images",
    ),
    Mutation(
        "Patches: the smallest values", f"{P}/tally/tally.py",
        "images, -values), axis=1)[:, : self", "images, values), axis=1)[:, : self",
        TOPK, "patches that leave the unit cold",
    ),
    Mutation(
        "Patches: rows counted by the grid's height", "cnnviz/methods/scan/index.py",
        "np.unravel_index(places.clip(0), grid)", "np.unravel_index(places.clip(0), grid[::-1])",
        SCAN, "on oblong inputs patches are cut at the wrong place",
    ),
    Mutation(
        "Patches: ties forgotten when tallies are joined", f"{P}/tally/tally.py",
        "np.where(highest == before, ties, 0))", "np.where(highest == before, 0, 0))",
        TALLY, "a saturated unit is not found out",
    ),
    Mutation(
        "Patches: silent units counted as active", f"{P}/tally/tally.py",
        "(values > 0).sum(axis=0)", "(values >= 0).sum(axis=0)",
        TALLY, "dead units are not found",
    ),
    Mutation(
        "Quantiles: half a bin off", f"{P}/tally/tally.py",
        "(rank - (reached[units, place] - inside) + 0.5) / inside",
        "(rank - (reached[units, place] - inside)) / inside",
        BINS, "every quantile is a little too low",
    ),
    Mutation(
        "Quantiles: negative values in the bins of positive ones", f"{P}/tally/tally.py",
        "np.where(bits < 0, MIDDLE - size, MIDDLE + size)", "MIDDLE + size",
        BINS, "the distribution is folded at zero",
    ),
    Mutation(
        "Selectivity: the other classes' mean added", "cnnviz/results/patches.py",
        "np.divide(held - rest, size", "np.divide(held + rest, size",
        ("tests/methods/test_patch_showing.py", "tests/results"),
        "units for nothing in particular are called selective",
    ),
    Mutation(
        "Patch masks: beyond half a stride the last unit goes on", "cnnviz/methods/patches/cut.py",
        "    shares[outside] = 0\n", "    shares[outside] += 0\n",
        ("tests/methods/test_patch_showing.py",), "what no unit sees is marked",
    ),
    Mutation(
        "Predictions: the lowest first", "cnnviz/methods/predict.py",
        "logits.sort(descending=True, stable=True)", "logits.sort(stable=True)",
        ("tests/methods/test_predict.py",), "the network is said to see what it rules out",
    ),
    Mutation(
        "Colour: the lowest percentile for the highest", f"{D}/colour.py",
        "high = float(np.percentile(known, percentile))", "high = float(np.percentile(known, 100 - percentile))",
        COLOUR, "nearly everything is clipped",
    ),
    Mutation(
        "Overlay: luma of blue, green, red", f"{D}/overlay.py",
        "LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue", "LUMA[2] * red + LUMA[1] * green + LUMA[0] * blue",
        ("tests/drawing/test_overlay.py::test_the_grey_of_what_was_not_seen_is_its_luma",),
        "what the network did not see is faded to the wrong grey",
    ),
    Mutation(
        "Heat maps: signed and rectified maps take each other's scale", "cnnviz/results/heatmap.py",
        "signed = not self.rectified", "signed = self.rectified",
        ("tests/results/test_heatmap.py", "tests/results/test_heatmaps.py"), "a signed map loses its negative half",
    ),
    Mutation(
        "Geometry: scale upside down", "cnnviz/core/sample.py",
        "tuple(original / resized for original", "tuple(resized / original for original",
        ("tests/core/test_picture.py",), "boxes on the photograph are too small or too large",
    ),
    Mutation(
        "Preprocessing: undone in the wrong order", "cnnviz/models/preprocess.py",
        "values = values.mul_(std).add_(mean)", "values = values.add(mean).mul_(std)",
        PREPROCESS, "network inputs are shown too dark",
    ),
    Mutation(
        "Reading: transparent and opaque exchanged", "cnnviz/images/pixels.py",
        "mixed = pixels[some] * share + np.array(background, np.float32) * (1 - share)",
        "mixed = pixels[some] * (1 - share) + np.array(background, np.float32) * share",
        ("tests/images/test_pixels.py",), "a picture with alpha is blank",
    ),
    Mutation(
        "Reading: 16 bits scaled by 65536", "cnnviz/images/pixels.py",
        "top = (1 << bits) - 1", "top = 1 << bits",
        ("tests/images/test_pixels.py",), "white is not quite white",
    ),
    Mutation(
        "Patches: rows and columns exchanged", "cnnviz/methods/scan/index.py",
        "< 0, np.int32(-1), along)", "< 0, np.int32(-1), along[..., ::-1])",
        SCAN, "patches are cut at the transposed place",
    ),
    Mutation(
        "Patches: a class's sum for its mean", "cnnviz/methods/scan/index.py",
        "means[:, label] = sums / total.class_counts[label]", "means[:, label] = sums",
        STATISTICS, "units are selective for the largest class",
    ),
)  # fmt: skip
