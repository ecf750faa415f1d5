"""Mutations of gradients at the pixels, of the rules by which they pass activations, and of ascent along them."""

from __future__ import annotations

from benchmarks.mutants.mutation import Mutation

__all__ = ["PIXELS"]

M = "cnnviz/methods"
GRADIENTS = ("tests/methods/test_gradients.py",)
RULES = ("tests/engine/test_rules.py",)
PARTS = ("tests/methods/test_maximize_parts.py",)
WEIGHTS = ("tests/methods/test_maximize.py::test_a_linear_models_picture_is_its_weights",)
WAVES = ("tests/methods/test_maximize.py::test_waves_of_a_linear_model_point_along_its_weights",)
QUALITY = ("tests/methods/test_quality.py",)

PIXELS = (
    Mutation(
        "Saliency: the largest value, not the largest magnitude", "cnnviz/results/attribution.py",
        "else np.abs(values).max(axis=0)", "else values.max(axis=0)",
        ("tests/results/test_attributions.py",), "strong negative gradients are not seen",
    ),
    Mutation(
        "Saliency: the mean over channels for the maximum", "cnnviz/results/attribution.py",
        "np.abs(values).max(axis=0)", "np.abs(values).mean(axis=0)",
        ("tests/results/test_attributions.py",), "not the paper's map",
    ),
    Mutation(
        "Saliency: times_input does nothing", f"{M}/gradients/plain.py",
        "found.values[0] * inputs[: len(targets)]) if", "found.values[0]) if",
        GRADIENTS, "gradient is shown for gradient times input",
    ),
    Mutation(
        "Guided backpropagation: the activation's own slope dropped", "cnnviz/engine/rules.py",
        "return passed if slope is None else passed * slope, None, None", "return passed, None, None",
        RULES, "it is the deconvnet",
    ),
    Mutation(
        "Guided backpropagation: closed units at zero let pass", "cnnviz/engine/rules.py",
        "return held > 0", "return held >= 0",
        RULES, "silent units send gradients",
    ),
    Mutation(
        "Guided backpropagation: falling slopes turn the gradient", "cnnviz/engine/rules.py",
        "return slope.clamp_min(0)", "return slope",
        RULES, "SiLU and GELU pass negative gradients",
    ),
    Mutation(
        "Deconvnet: ReLU of the gradient dropped", "cnnviz/engine/rules.py",
        "passed = gradient.clamp_min(0)", "passed = gradient",
        RULES, "it is no deconvnet, and guided backpropagation is the plain gradient",
    ),
    Mutation(
        "Deconvnet of units: a seed of 1 for the activation", f"{M}/units/projections.py",
        "= flat[place].clamp_min(0)", "= 1",
        ("tests/methods/test_deconvnet_units.py",), "weak and strong units are projected alike",
    ),
    Mutation(
        "Integrated gradients: places from -1 to 1", f"{M}/gradients/path_integral.py",
        "((1 + places) / 2).tolist()", "places.tolist()",
        GRADIENTS, "the path begins on the far side of the baseline",
    ),
    Mutation(
        "Integrated gradients: weights that add up to 2", f"{M}/gradients/path_integral.py",
        "(weights / 2).tolist()", "weights.tolist()",
        GRADIENTS, "attributions add up to twice the change",
    ),
    Mutation(
        "Integrated gradients: times the input, not the difference", f"{M}/gradients/path_integral.py",
        "values = added * (end - start)[", "values = added * end[",
        GRADIENTS, "attributions do not add up unless the baseline is 0",
    ),
    Mutation(
        "Integrated gradients: completeness judged without the baseline", f"{M}/gradients/path_integral.py",
        "clean.scores.double() - torch.stack(empty).double().mean(dim=0)", "clean.scores.double()",
        GRADIENTS, "the check that is said is of something else",
    ),
    Mutation(
        "Integrated gradients: baselines added, not averaged", f"{M}/gradients/path_integral.py",
        "weights) / len(self._baselines)", "weights)",
        GRADIENTS, "several baselines make attributions that many times too large",
    ),
    Mutation(
        "SmoothGrad: noise not scaled to the picture's range", f"{M}/gradients/input_gradients.py",
        "self._deviations = noise * ranges", "self._deviations = noise * torch.ones_like(ranges)",
        GRADIENTS, "noise of 15 % is some other share",
    ),
    Mutation(
        "SmoothGrad: the same noise for every sample", f"{M}/gradients/input_gradients.py",
        "for seed in self._seeds[some]]", "for seed in self._seeds[:1] * (some.stop - some.start)]",
        GRADIENTS, "nothing is smoothed",
    ),
    Mutation(
        "SmoothGrad: squares left out", f"{M}/gradients/plain.py",
        'one**2 if statistic == "squared" else one', "one",
        GRADIENTS, "SmoothGrad-Squared is SmoothGrad",
    ),
    Mutation(
        "VarGrad: Welford's recurrence with the old mean twice", f"{M}/gradients/input_gradients.py",
        "self._squares += before * (one - self.mean)", "self._squares += before * before",
        GRADIENTS, "the variance is too large",
    ),
    Mutation(
        "Effective field: gradients cancel", f"{M}/units/effective_field.py",
        "gradient.detach().abs().double()", "gradient.detach().double()",
        ("tests/methods/test_effective_field.py",), "the field has holes where signs differ",
    ),
    Mutation(
        "Effective field: not the unit in the middle", f"{M}/units/effective_field.py",
        "tuple(length // 2 for length in", "tuple(length // 4 for length in",
        ("tests/methods/test_effective_field.py",), "the field of a unit at the border, cut off",
    ),
    Mutation(
        "Effective field: side for area", "cnnviz/results/layers.py",
        "return float(np.sqrt(count)) if places == PICTURE", "return float(count) if places == PICTURE",
        ("tests/methods/test_effective_field.py",), "the size is that of the square",
    ),
    Mutation(
        "Maximize: descent for ascent (Adam)", f"{M}/ascent/optimise.py",
        "self.images.parameters.grad = -gradient", "self.images.parameters.grad = gradient",
        WAVES, "a picture of what the class is not",
    ),
    Mutation(
        "Maximize: descent for ascent (normalised gradient)", f"{M}/ascent/optimise.py",
        "self.images.parameters.add_(gradient", "self.images.parameters.sub_(gradient",
        WEIGHTS, "a picture of what the class is not",
    ),
    Mutation(
        "Maximize: decay that grows", f"{M}/ascent/parameterisation.py",
        "self.parameters.mul_(1 - self.recipe.decay)", "self.parameters.mul_(1 + self.recipe.decay)",
        WEIGHTS, "the regulariser of Simonyan et al. works the other way",
    ),
    Mutation(
        "Maximize: blur in one direction only", f"{M}/ascent/parameterisation.py",
        "    for dim in dims:\n", "    for dim in dims[:1]:\n",
        PARTS, "the pictures of Yosinski et al. are streaked",
    ),
    Mutation(
        "Maximize: colours mixed by the transposed matrix", f"{M}/ascent/parameterisation.py",
        'torch.einsum("dc,gc...->gd...", self.mixing, independent)',
        'torch.einsum("cd,gc...->gd...", self.mixing, independent)',
        PARTS, "pictures have colours that photographs do not",
    ),
    Mutation(
        "Maximize: a direction of any length", f"{M}/ascent/objective.py",
        "vector / vector.norm())", "vector)",
        ("tests/methods/test_maximize.py::test_scores_are_of_the_clean_picture",),
        "scores of directions cannot be compared",
    ),
    Mutation(
        "Maximize: views turned in a mirror", f"{M}/ascent/views.py",
        "[across * cosine, -down * sine]", "[across * cosine, down * sine]",
        PARTS, "turned views are sheared",
    ),
    Mutation(
        "Maximize: a plateau is never one", f"{M}/ascent/optimise.py",
        "return sum(history[-last:]) <= sum(history[-2 * last : -last])",
        "return sum(history[-last:]) > sum(history[-2 * last : -last])",
        ("tests/methods/test_maximize.py::test_a_plateau_ends_it_for_that_picture_alone",),
        "patience ends the pictures that get better",
    ),
    Mutation(
        "Quality: total variation with its sign", f"{M}/ascent/quality.py",
        "np.abs(np.diff(np.asarray(values, dtype=np.float64), axis=axis))",
        "np.diff(np.asarray(values, dtype=np.float64), axis=axis)",
        QUALITY, "ups and downs cancel",
    ),
    Mutation(
        "Quality: total variation down twice, never across", f"{M}/ascent/quality.py",
        "for axis in (1, 2))", "for axis in (1, 1))",
        QUALITY, "vertical stripes count as smooth",
    ),
    Mutation(
        "Quality: low frequencies called high", f"{M}/ascent/quality.py",
        "power[frequency > FINE].sum()", "power[frequency < FINE].sum()",
        QUALITY, "a noisy picture is called smooth",
    ),
    Mutation(
        "Quality: a norm's distance without its eps", "cnnviz/engine/batch_norms.py",
        "deviation = (variance.double() + small).sqrt()", "deviation = variance.double().sqrt()",
        QUALITY, "channels that never vary are infinitely far away",
    ),
    Mutation(
        "Quality: the judge's rank counts from the other end", f"{M}/ascent/judge.py",
        "int((logits > logits[own]).sum()) + 1", "int((logits < logits[own]).sum()) + 1",
        QUALITY, "the best is called the last",
    ),
    Mutation(
        "Saliency: the signed sum becomes a mean", "cnnviz/results/attribution.py",
        'values.sum(axis=0) if channels == "signed"', 'values.mean(axis=0) if channels == "signed"',
        ("tests/results/test_attributions.py",), "a pixel's contribution is a third of what it is",
    ),
    Mutation(
        "SmoothGrad: the largest value for the range", f"{M}/gradients/input_gradients.py",
        "ranges = self._inputs.amax(dim=each, keepdim=True) - self._inputs.amin(dim=each, keepdim=True)",
        "ranges = self._inputs.amax(dim=each, keepdim=True)",
        GRADIENTS, "noise depends on how bright the picture is",
    ),
    Mutation(
        "Effective field: the threshold's complement", "cnnviz/results/layers.py",
        "LEAST = 1 - 0.9545", "LEAST = 0.9545",
        ("tests/methods/test_effective_field.py",), "only the very middle counts",
    ),
    Mutation(
        "Maximize: fine waves favoured", f"{M}/ascent/parameterisation.py",
        "weights = waves.clamp_min(recipe.coarsest / max(size)) ** -recipe.fineness",
        "weights = waves.clamp_min(recipe.coarsest / max(size)) ** recipe.fineness",
        (*PARTS, *WAVES), "pictures are noise",
    ),
    Mutation(
        "Maximize: dead units pushed further down", f"{M}/ascent/objective.py",
        "torch.where(below, gradient.clamp_min(0),", "torch.where(below, gradient.clamp_max(0),",
        PARTS, "a dead start stays dead",
    ),
    Mutation(
        "Quality: held-out views sheared", f"{M}/ascent/quality.py",
        "affine_maps([side] * len(size), angle,", "affine_maps([side] * len(size), -2 * angle,",
        QUALITY, "the score on turned views is of distorted ones",
    ),
    Mutation(
        "Quality: the slope of the power, not of the amplitude", f"{M}/ascent/quality.py",
        "np.sqrt(power[ring == each]).mean()", "power[ring == each].mean()",
        QUALITY, "every slope is twice as steep",
    ),
    Mutation(
        "Quality: luma of blue, green, red", "cnnviz/core/picture.py",
        "(0.299, 0.587, 0.114)", "(0.114, 0.587, 0.299)",
        QUALITY, "a grey judge sees red as blue",
    ),
)  # fmt: skip
