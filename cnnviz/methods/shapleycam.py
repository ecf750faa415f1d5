"""Shapley-CAM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn import functional

from cnnviz.core.target import ClassTarget, Target, TargetLike
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.gradient_maps import answered
from cnnviz.methods.layer_maps import Fuse, LayerAnswer, Shared, layer_maps
from cnnviz.methods.probe import probe
from cnnviz.models.model import Model
from cnnviz.registry import method
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["shapleycam"]


@method
def shapleycam(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    fuse: Fuse = "mean",
    relu: bool = True,
    counterfactual: bool = False,
    flip: bool = False,
    score: Literal["residual", "logit"] = "residual",
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Heatmaps:
    """Grad-CAM with the curvature of the score taken into account, as Shapley values ask (Shapley-CAM).

    With activations ``A`` of the layer, the score ``y``, its gradient ``g`` and Hessian ``H`` there::

        w_k = mean over i, j of (g - H A / 2)_kij         map = relu(sum over k of w_k * A_k)

    the second-order estimate of each channel's Shapley value. A logit of a piecewise linear network has no curvature,
    so that this is Grad-CAM; the paper's score, the residual softmax target ``y_c + log p_c``, has some.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        layer: The layer to look at, or several with commas between; left out, the last whose places reach the target.
        fuse: How the maps of several layers become one, each divided by its largest value first.
        relu: Show positive evidence only, as the paper does; otherwise the signed map.
        counterfactual: Show evidence against the target: the score with its sign turned.
        flip: Average with the map of the mirrored picture.
        score: What is explained for a class: the residual softmax target of the paper, or the logit; other targets have
            their own score.
        batch_size: Most images at once; halved when memory runs out.

    Returns:
        Maps ``(N, h, w)`` at the layer's resolution, in units of the score.

    Raises:
        UnknownNameError: If there is no such layer or label.
        UsageError: If the layer has no spatial extent.
        ExplanationError: If the target does not depend on the layer.

    Reference:
        Cai, CAMs as Shapley Value-based Explainers, arXiv 2501.06261, 2025.
    """
    shared = Shared(layer, fuse, relu, counterfactual, flip, batch_size)

    def ask(inputs: Tensor, targets: Sequence[Target], names: Sequence[str]) -> LayerAnswer:
        found = probe(model, names, inputs, targets, rescore=_residual if score == "residual" else None, curved=True)
        held = zip(found.activations, found.gradients, found.curvatures, strict=True)
        sign = shared.sign
        return answered(found, [weigh_by_shapley_value(a, sign * g, sign * curvature) for a, g, curvature in held])

    return layer_maps(model, images, target, ask, shared)


def weigh_by_shapley_value(activations: Tensor, gradients: Tensor, curvatures: Tensor) -> Tensor:
    """Activations ``(N, C, h, w)`` summed with gradient less half the curvature as weights, ``(N, h, w)``."""
    weights = (gradients - curvatures / 2).mean(dim=(2, 3), keepdim=True)
    return (weights * activations).sum(dim=1)


def _residual(scores: Tensor, logits: Tensor, targets: Sequence[Target]) -> Tensor:
    """A class's logit plus the logarithm of its probability, ``(n,)``; other targets keep their scores."""
    shares = functional.logsigmoid(logits) if logits.shape[1] == 1 else logits.log_softmax(dim=1)
    rows = [
        score + shares[row, target.index] if isinstance(target, ClassTarget) else score
        for row, (score, target) in enumerate(zip(scores, targets, strict=True))
    ]
    return torch.stack(rows)
