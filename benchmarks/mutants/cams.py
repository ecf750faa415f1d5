"""Mutations of class activation maps that stand on gradients, and of what they share."""

from __future__ import annotations

from benchmarks.mutants.mutation import Mutation

__all__ = ["CAMS"]

M = "cnnviz/methods"
CLOSED = ("tests/methods/test_closed_forms.py",)
SHARED = ("tests/methods/test_layer_maps.py",)

CAMS = (
    Mutation(
        "Grad-CAM: sign flipped", f"{M}/cams/gradcam.py",
        "weights = gradients.mean(", "weights = -gradients.mean(",
        CLOSED, "evidence against the class is drawn as evidence for it",
    ),
    Mutation(
        "Grad-CAM: mean over places becomes a sum", f"{M}/cams/gradcam.py",
        "gradients.mean(dim=place_dims(gradients), keepdim=True)",
        "gradients.sum(dim=place_dims(gradients), keepdim=True)",
        CLOSED, "the map is no longer in units of the score",
    ),
    Mutation(
        "Grad-CAM: map transposed", f"{M}/cams/gradcam.py",
        "gradients.mean(dim=place_dims(gradients), keepdim=True)\n    return (weights * activations).sum(dim=1)",
        "gradients.mean(dim=place_dims(gradients), keepdim=True)\n"
        "    return (weights * activations).sum(dim=1).mT.contiguous()",
        ("tests/methods/test_gradcam.py",), "rows and columns are exchanged",
    ),
    Mutation(
        "Grad-CAM: channels' weights averaged over the batch", f"{M}/cams/gradcam.py",
        "gradients.mean(dim=place_dims(gradients), keepdim=True)", "gradients.mean(dim=(0, 2, 3), keepdim=True)",
        SHARED, "a picture's map depends on the pictures beside it",
    ),
    Mutation(
        "Grad-CAM++: 2 in the denominator becomes 1", f"{M}/cams/gradcam.py",
        "shares = 2 + gradients", "shares = 1 + gradients",
        CLOSED, "equation 19 with a wrong constant",
    ),
    Mutation(
        "Grad-CAM++: ReLU of the gradient dropped", f"{M}/cams/gradcam.py",
        "(alphas * gradients.clamp_min(0))", "(alphas * gradients)",
        CLOSED, "negative gradients weigh in",
    ),
    Mutation(
        "Grad-CAM++: no floor under the denominator", f"{M}/cams/gradcam.py",
        "shares = torch.where(shares.abs() > SMALLEST, shares, torch.full_like(shares, SMALLEST))",
        "shares = shares + 0",
        CLOSED, "a place where 2 + S g is 0 makes the whole map infinite or NaN",
    ),
    Mutation(
        "Smooth Grad-CAM++: cubes become squares", f"{M}/cams/gradcam_variants.py",
        "for power in (1, 2, 3)]", "for power in (1, 2, 2)]",
        CLOSED, "the weights' denominator is wrong",
    ),
    Mutation(
        "Smooth Grad-CAM++: noise not scaled to the picture's range", f"{M}/cams/gradcam_variants.py",
        "return inputs + noise * ranges * drawn", "return inputs + noise * drawn",
        CLOSED, "dark pictures are drowned in noise, bright ones get none",
    ),
    Mutation(
        "XGrad-CAM: not divided by the channel's sum", f"{M}/cams/gradcam.py",
        "return (gradients * activations).sum(dim=places, keepdim=True) / total",
        "return (gradients * activations).sum(dim=places, keepdim=True)",
        CLOSED, "strong channels count twice",
    ),
    Mutation(
        "XGrad-CAM: cancelling channels lose their sign", f"{M}/cams/gradcam.py",
        "torch.where(total < 0, -least, least)", "least",
        CLOSED, "a channel that sums to just below zero is turned around",
    ),
    Mutation(
        "HiResCAM: averages the gradient as Grad-CAM does", f"{M}/cams/gradcam.py",
        "(activations * gradients).sum(dim=1)",
        "(activations * gradients.mean(dim=(2, 3), keepdim=True)).sum(dim=1)",
        ("tests/methods/test_honesty.py",),
        "it is no longer faithful place by place; under a mean over places nothing shows",
    ),
    Mutation(
        "LayerCAM: ReLU of the gradient dropped", f"{M}/cams/gradcam.py",
        "(gradients.clamp_min(0) * activations)", "(gradients * activations)",
        CLOSED, "it becomes HiResCAM",
    ),
    Mutation(
        "Eigen-CAM: sign of the component not fixed", f"{M}/cams/principal.py",
        "torch.where(agreement < 0, -found, found)", "found",
        ("tests/methods/test_eigencam.py",), "the map may be its own negative",
    ),
    Mutation(
        "Eigen-CAM: direction without its strength", f"{M}/cams/principal.py",
        "return vector * value.clamp_min(0).sqrt(), (", "return vector, (",
        ("tests/methods/test_eigencam.py",), "the map loses its unit",
    ),
    Mutation(
        "EigenGrad-CAM: sign taken from the activations alone", f"{M}/cams/gradcam_variants.py",
        "like=product.sum(dim=1)", "like=activations.sum(dim=1)",
        ("tests/methods/test_closed_forms.py", "tests/methods/test_eigencam.py"),
        "evidence against the class is drawn as evidence for it",
    ),
    Mutation(
        "Shapley-CAM: curvature added", f"{M}/cams/gradcam_variants.py",
        "(gradients - curvatures / 2)", "(gradients + curvatures / 2)",
        CLOSED, "the second-order term has the wrong sign",
    ),
    Mutation(
        "Shapley-CAM: the residual's logarithm dropped", f"{M}/cams/gradcam_variants.py",
        "score + shares[row, target.index] if", "score if",
        CLOSED, "the map explains the plain logit",
    ),
    Mutation(
        "CAM: a difference becomes a sum", "cnnviz/engine/heads.py",
        "self._class_weights(target.first.index) - self._class_weights(target.second.index)",
        "self._class_weights(target.first.index) + self._class_weights(target.second.index)",
        ("tests/methods/test_cam.py",), "'cat - dog' shows what speaks for both",
    ),
    Mutation(
        "FullGrad: biases left out of the map", f"{M}/cams/fullgrad.py",
        "total = total + enlarge_evenly", "total = total + 0 * enlarge_evenly",
        CLOSED, "input times gradient alone is left",
    ),
    Mutation(
        "FullGrad: magnitudes dropped", f"{M}/cams/fullgrad.py",
        "values = maps.abs().float()", "values = maps.float()",
        CLOSED, "negative contributions count as none",
    ),
    Mutation(
        "FullGrad: a batch norm's scale counted as a bias", "cnnviz/engine/biases.py",
        "nothing = subject.new_zeros(", "nothing = subject.new_ones(",
        ("tests/engine/test_biases.py",), "the terms do not add up to the score",
    ),
    Mutation(
        "FullGrad: the slope of what is not linear added", "cnnviz/engine/biases.py",
        "return lambda known: known - linear", "return lambda known: known + linear",
        ("tests/methods/test_fullgrad.py",), "saturated units count twice",
    ),
    Mutation(
        "FullGrad: products count as if they were linear", "cnnviz/engine/biases.py",
        "return lambda value: (1 - degree) * value", "return lambda value: 0 * value",
        ("tests/methods/test_fullgrad.py",), "gates leave something missing",
    ),
    Mutation(
        "Finer-CAM: the others' logits added", "cnnviz/engine/scores/score.py",
        "own - target.strength * logits", "own + target.strength * logits",
        ("tests/engine/test_finer.py",), "it shows what the class shares with those like it",
    ),
    Mutation(
        "Finer-CAM: the farthest classes instead of the nearest", "cnnviz/engine/scores/score.py",
        "distance.topk(min(target.rivals, logits.shape[1] - 1), dim=1, largest=False)",
        "distance.nan_to_num(posinf=-1).topk(min(target.rivals, logits.shape[1] - 1), dim=1)",
        ("tests/engine/test_finer.py",), "the class is told from what it is never confused with",
    ),
    Mutation(
        "Unit targets: sum over places for the mean", "cnnviz/engine/scores/score.py",
        "held.mean(dim=own_dims(held))", "held.sum(dim=own_dims(held))",
        ("tests/engine/test_scores.py",), "a unit's score grows with the picture",
    ),
    Mutation(
        "Unit targets: the mirrored column is one off", "cnnviz/engine/scores/score.py",
        "grid[-1] - 1 - last if target.mirrored", "grid[-1] - 2 - last if target.mirrored",
        SHARED, "flip averages in a neighbouring unit",
    ),
    Mutation(
        "Fusing layers: not divided by their maxima", f"{M}/cams/layer_maps.py",
        "[each / high.where(high > 0, torch.ones_like(high)) for", "[each + 0 * high for",
        SHARED, "the layer with the larger numbers decides alone",
    ),
    Mutation(
        "Fusing layers: the product of signed maps", f"{M}/cams/layer_maps.py",
        "stack.clamp_min(0).prod(dim=0)", "stack.prod(dim=0)",
        SHARED, "two negatives make a positive",
    ),
    Mutation(
        "Flip: not mirrored back", f"{M}/cams/grids.py",
        "return maps.flip(-1), torch.ones(", "return maps, torch.ones(",
        ("tests/methods/test_layer_maps.py", "tests/methods/test_grids.py"),
        "every map becomes symmetric about the wrong axis",
    ),
    Mutation(
        "Flip: columns mirrored one pixel off", f"{M}/cams/grids.py",
        "units_at(width - 1 - field.columns.middles(), width)", "units_at(width - field.columns.middles(), width)",
        ("tests/methods/test_grids.py",), "both maps are averaged beside each other",
    ),
    Mutation(
        "Counterfactual: sign not turned", f"{M}/cams/layer_maps.py",
        "return -1 if self.counterfactual else 1", "return 1",
        SHARED, "evidence against the class is evidence for it",
    ),
    Mutation(
        "Token sequences: places read column by column", "cnnviz/engine/arrangement.py",
        "return placed.reshape(*placed.shape[:2], *arrangement.grid)",
        "return placed.reshape(*placed.shape[:2], *arrangement.grid[::-1]).mT",
        ("tests/engine/test_arrangement.py",), "a vision transformer's map is transposed",
    ),
    Mutation(
        "Guided Grad-CAM: the map's ReLU dropped", f"{M}/gradients/guided.py",
        "found.activations[0]).clamp_min(0)", "found.activations[0])",
        ("tests/methods/test_gradients.py",), "negative evidence comes back with its sign turned",
    ),
    Mutation(
        "Deep feature factorization: negative activations kept", f"{M}/concepts.py",
        "activations.clamp_min(0).double()", "activations.double()",
        ("tests/methods/test_dff.py",), "the factors are of another matrix",
    ),
    Mutation(
        "Deep feature factorization: a concept's map transposed", f"{M}/concepts.py",
        "reshape(count, *grid, concepts).movedim(-1, 1)",
        "reshape(count, *grid[::-1], concepts).movedim(-1, 1).transpose(2, 3)",
        ("tests/methods/test_dff.py",), "rows and columns are exchanged",
    ),
    Mutation(
        "Deep feature factorization: a wrong multiplicative update", f"{M}/concepts.py",
        "(shares @ (vectors @ vectors.T))", "(shares @ vectors @ vectors.T + values @ vectors.T)",
        ("tests/methods/test_dff.py",), "the factors do not fit",
    ),
    Mutation(
        "Differences: both scores added", "cnnviz/engine/scores/score.py",
        "logits[:, target.first.index] - logits[:, target.second.index]",
        "logits[:, target.first.index] + logits[:, target.second.index]",
        ("tests/engine/test_scores.py",), "'cat - dog' explains both",
    ),
    Mutation(
        "Fusing layers: the larger value, not the larger magnitude", f"{M}/cams/layer_maps.py",
        "stack.abs().argmax(dim=0, keepdim=True)", "stack.argmax(dim=0, keepdim=True)",
        SHARED, "signed maps lose their strongest negative places",
    ),
    Mutation(
        "Fusing layers: beyond the coarser layer its first value", f"{M}/cams/grids.py",
        "np.where(target.middles() < source.offset, 0, len(source) - 1)", "np.zeros(len(target.middles()))",
        ("tests/methods/test_grids.py",), "the right border is coloured by the left one",
    ),
    Mutation(
        "Capture: layers after the watched one write into its activation", "cnnviz/engine/capture.py",
        "onwards = leaf.clone()", "onwards = leaf.view_as(leaf)",
        ("tests/engine/test_capture.py::test_one_layer",), "an in-place ReLU after the layer is shown for the layer",
    ),
)  # fmt: skip
