"""Mutations of methods that change the picture or an activation and watch the score."""

from __future__ import annotations

from benchmarks.mutants.mutation import Mutation

__all__ = ["CHANGED"]

M = "cnnviz/methods"
CLOSED = ("tests/methods/test_closed_forms.py",)
SHARED = ("tests/methods/test_layer_maps.py",)
OCCLUSION = ("tests/methods/test_occlusion.py",)
WINDOWS = ("tests/engine/test_windows.py",)
BUDGET = ("tests/methods/test_budget.py",)
RISE = ("tests/methods/test_rise.py",)

CHANGED = (
    Mutation(
        "Score-CAM: softmax over channels dropped", f"{M}/cams/channel_masks.py",
        'scores.softmax(dim=0) if self.weights == "softmax" else scores', "scores",
        CLOSED, "channels weigh by their logits",
    ),
    Mutation(
        "Score-CAM: masks not brought down to 0", f"{M}/cams/channel_masks.py",
        "return (wide - low) / (high - low)", "return wide / (high - low)",
        CLOSED, "no mask hides anything for good",
    ),
    Mutation(
        "Score-CAM: masks enlarged corner to corner", f"{M}/cams/grids.py",
        "mode=mode, align_corners=False)[:, 0]", "mode=mode, align_corners=True)[:, 0]",
        ("tests/methods/test_scorecam.py",), "masks lie beside what their units see",
    ),
    Mutation(
        "Ablation-CAM: closed form's sign", f"{M}/cams/changed_layer.py",
        '"c,c...->...", linear * shown', '"c,c...->...", -linear * shown',
        CLOSED, "evidence against the class is drawn as evidence for it",
    ),
    Mutation(
        "Ablation-CAM: a gain for a drop", f"{M}/cams/changed_layer.py",
        "(layer.score - scores) / _magnitude", "(scores - layer.score) / _magnitude",
        ("tests/methods/test_ablationcam.py",), "evidence against the class is drawn as evidence for it",
    ),
    Mutation(
        "Ablation-CAM: divided by the score with its sign", f"{M}/cams/changed_layer.py",
        "return score.abs().clamp_min(", "return score.clamp_min(",
        ("tests/methods/test_ablationcam.py",), "the map of a negative score is turned, or infinite",
    ),
    Mutation(
        "Recipro-CAM: blur that does not add up to 1", f"{M}/cams/changed_layer.py",
        "own / own.sum()", "own / 3",
        CLOSED, "a place is shown brighter than it is",
    ),
    Mutation(
        "Recipro-CAM: mask added", f"{M}/cams/changed_layer.py",
        "return maps * (_soften", "return maps + (_soften",
        CLOSED, "everything stays visible",
    ),
    Mutation(
        "Occlusion: a gain for a drop", f"{M}/occlusion/windows.py",
        "(self._clean[:, None] - scores)", "(scores - self._clean[:, None])",
        OCCLUSION, "what matters is drawn cold",
    ),
    Mutation(
        "Occlusion: hidden and seen exchanged", f"{M}/occlusion/windows.py",
        "torch.where(masks > 0, seen, self._image)", "torch.where(masks > 0, self._image, seen)",
        OCCLUSION, "everything but the window is hidden",
    ),
    Mutation(
        "Occlusion: soft windows hide with the wrong weight", f"{M}/occlusion/windows.py",
        "self._image + masks.to(self._image.dtype) * (seen - self._image)",
        "seen + masks.to(self._image.dtype) * (self._image - seen)",
        OCCLUSION, "everything but the window is hidden",
    ),
    Mutation(
        "Occlusion: windows summed, not averaged", "cnnviz/engine/windows/window.py",
        "return total @ last / (weight[..., None] * last.sum(dim=0))", "return total @ last",
        WINDOWS, "the middle, under more windows, is hotter than the border",
    ),
    Mutation(
        "Occlusion: the last window is not shifted in", "cnnviz/engine/windows/window.py",
        "torch.arange(0, length - side + stride, stride).clamp_max(length - side)",
        "torch.arange(0, length - side + stride, stride)",
        WINDOWS, "the last window is cut off at the border, and weighs less",
    ),
    Mutation(
        "Occlusion: rows and columns of windows exchanged", "cnnviz/engine/windows/window.py",
        "return np.unravel_index(numbers.clamp_min(0).cpu().numpy(), self.shape)",
        "return np.unravel_index(numbers.clamp_min(0).cpu().numpy(), self.shape, order='F')",
        OCCLUSION, "the map is transposed",
    ),
    Mutation(
        "Occlusion: a soft edge that is no squared sine", "cnnviz/engine/windows/window.py",
        "return (share * math.pi / 2).sin() ** 2", "return (share * math.pi / 2).sin()",
        WINDOWS, "windows are wider than they are asked to be",
    ),
    Mutation(
        "Occlusion: black is black before the normalisation", f"{M}/occlusion/baselines.py",
        "self._fill_always(self._normalise(torch.zeros(self.image.shape)))",
        "self._fill_always(torch.zeros(self.image.shape))",
        OCCLUSION, "'black' is the mean colour",
    ),
    Mutation(
        "Occlusion: the spread of baselines is their mean", f"{M}/occlusion/occlusion.py",
        "spread = maps.std(dim=0)", "spread = maps.mean(dim=0)",
        OCCLUSION, "the second picture shows something else than it says",
    ),
    Mutation(
        "Occlusion: logit where the probability was asked for", f"{M}/occlusion/scorer.py",
        "else class_probabilities(logits.double(), head)", "else logits.double()",
        OCCLUSION, "the map is in another unit than it says",
    ),
    Mutation(
        "Budget: the error bar's confidence", f"{M}/occlusion/estimate.py",
        "SHARE, CONFIDENCE = 0.9, 0.95", "SHARE, CONFIDENCE = 0.9, 0.5",
        BUDGET, "the bar is too short as often as not",
    ),
    Mutation(
        "Budget: the error bar's quantile", f"{M}/occlusion/estimate.py",
        "ordered[probes - 1 - allowed]", "ordered[(probes - 1 - allowed) // 2]",
        BUDGET, "the bar is the median of the misses, not their ninth tenth",
    ),
    Mutation(
        "Budget: signed misses", f"{M}/occlusion/estimate.py",
        "ordered = np.sort(np.abs(misses))", "ordered = np.sort(misses)",
        BUDGET, "an estimate that is always too low has a bar of nothing",
    ),
    Mutation(
        "Budget: the probe judges itself", f"{M}/occlusion/estimate.py",
        "    misses = estimate[:, probe] - found\n    estimate[:, probe] = found\n",
        "    estimate[:, probe] = found\n    misses = estimate[:, probe] - found\n",
        BUDGET, "every error bar is 0",
    ),
    Mutation(
        "Budget: no window goes to where the estimate changes", f"{M}/occlusion/estimate.py",
        "best = int(np.argmax(distance * change))", "best = int(np.argmax(distance))",
        BUDGET, "windows are spent on the flat background",
    ),
    Mutation(
        "Budget: a spline that is no thin plate", f"{M}/occlusion/estimate.py",
        "squared * np.log(np.where(squared > 0, squared, 1)) / 2", "squared * np.sqrt(squared)",
        BUDGET, "another surface through the values, and not the one named",
    ),
    Mutation(
        "RISE: not divided by how often a place was visible", f"{M}/occlusion/random_masks.py",
        "here = mf / weight", "here = mf / self._count",
        RISE, "the map shows the masks",
    ),
    Mutation(
        "RISE: the mean of all scores added", f"{M}/occlusion/random_masks.py",
        "return here - mean, (", "return here + mean, (",
        RISE, "a picture whose parts do not matter is hot all over",
    ),
    Mutation(
        "RISE: the standard error without its covariance", f"{M}/occlusion/random_masks.py",
        "(own - 2 * both + every)", "(own + every)",
        RISE, "the error that is said is too large",
    ),
    Mutation(
        "RISE: masks visible where they should hide", f"{M}/occlusion/random_masks.py",
        "drawn[:, axes:] < self.visible", "drawn[:, axes:] > self.visible",
        RISE, "another share of the picture is visible than was asked for",
    ),
    Mutation(
        "RISE: all masks lie on one grid", f"{M}/occlusion/random_masks.py",
        "shifts = (drawn[:, :axes] * sides).astype(int)", "shifts = (0 * drawn[:, :axes]).astype(int)",
        RISE, "the map shows the grid of cells",
    ),
    Mutation(
        "RISE: visible and hidden exchanged", f"{M}/occlusion/rise.py",
        "return hidden + shown * (image - hidden)", "return image + shown * (hidden - image)",
        RISE, "the map is its negative",
    ),
    Mutation(
        "Feature occlusion: a gain for a drop", f"{M}/occlusion/occlusion.py",
        "windows.average(scores[0] - scores[1:])", "windows.average(scores[1:] - scores[0])",
        ("tests/methods/test_feature_occlusion.py",), "what matters is drawn cold",
    ),
    Mutation(
        "Feature occlusion: one mean for all channels", f"{M}/occlusion/occlusion.py",
        "fill = maps.mean(dim=place_dims(maps), keepdim=True)", "fill = maps.mean().expand_as(maps[:, :, :1, :1])",
        ("tests/methods/test_feature_occlusion.py",), "hiding a place excites channels that were silent",
    ),
    Mutation(
        "Ranking layers: kept and hidden exchanged", f"{M}/cams/rank_layers.py",
        "(inputs, inputs * mask, inputs * (1 - mask))", "(inputs, inputs * (1 - mask), inputs * mask)",
        ("tests/methods/test_compare.py",), "insertion is called deletion: the worst layer comes first",
    ),
    Mutation(
        "Ranking layers: the lowest share instead of the highest", f"{M}/cams/rank_layers.py",
        "nanquantile(1 - share)", "nanquantile(share)",
        ("tests/methods/test_compare.py",), "evidence is measured on four fifths of the picture",
    ),
    Mutation(
        "Score-CAM: a counterfactual of the probability itself", f"{M}/cams/channel_masks.py",
        "scores = 1 - scores if probability else -scores", "scores = scores if probability else -scores",
        SHARED, "evidence against the class is evidence for it",
    ),
    Mutation(
        "Ablation-CAM: a channel set to 1, not to 0", f"{M}/cams/changed_layer.py",
        "ablated[each - some.start, each] = 0", "ablated[each - some.start, each] = 1",
        ("tests/methods/test_ablationcam.py",), "silent channels get a weight",
    ),
    Mutation(
        "Occlusion: a blur as wide as the window is narrow", f"{M}/occlusion/baselines.py",
        "_blur(each, [side / 3 for side in self.sides])", "_blur(each, [3 / side for side in self.sides])",
        OCCLUSION, "'blur' hides nothing",
    ),
    Mutation(
        "Probabilities: the softmax of a single logit", "cnnviz/engine/scores/score.py",
        "return logits.sigmoid() if independent else logits.softmax(dim=1)", "return logits.softmax(dim=1)",
        ("tests/methods/test_answers.py", "tests/methods/test_cam.py"), "a network of one class is always certain",
    ),
    Mutation(
        "Budget: the unchanged pictures are not paid for", f"{M}/occlusion/budget.py",
        "(forwards - 1 - self.baselines) // self.baselines", "(forwards - 1) // self.baselines",
        BUDGET, "more forwards than were allowed",
    ),
    Mutation(
        "Replay: recorded outputs are written into", "cnnviz/engine/replay.py",
        "return view.clone() if copy else view", "return view",
        ("tests/engine/test_replay.py",), "every replay changes the next one",
    ),
)  # fmt: skip
