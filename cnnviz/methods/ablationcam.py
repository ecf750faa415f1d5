"""Ablation-CAM."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from cnnviz.core.target import TargetLike
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.layer_maps import Fuse, Shared
from cnnviz.methods.perturbation import Layer, perturbation_maps
from cnnviz.models.model import Model
from cnnviz.registry import method
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["ablationcam"]


@method
def ablationcam(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    fuse: Fuse = "mean",
    relu: bool = True,
    counterfactual: bool = False,
    flip: bool = False,
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Heatmaps:
    """Where the channels respond whose removal lowers the target's score (Ablation-CAM).

    With activations ``A`` of the layer, the target's score ``y``, and ``y_k`` the score with channel ``k`` at zero::

        w_k = (y - y_k) / |y|         map = relu(sum over k of w_k * A_k)

    Needs no gradient. Only what comes after the layer runs again for each channel; where the logits are a linear layer
    of the layer's spatial mean, ``y - y_k`` is weight times mean, and nothing runs again. The paper divides by ``y``;
    the absolute value keeps the meaning of the sign where the score is negative.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        layer: The layer to look at, or several with commas between; left out, the last whose places reach the target.
        fuse: How the maps of several layers become one, each divided by its largest value first.
        relu: Show positive evidence only, as the paper does; otherwise the signed map.
        counterfactual: Show evidence against the target: the score with its sign turned.
        flip: Average with the map of the mirrored picture.
        batch_size: Most ablated activations at once; halved when memory runs out.

    Returns:
        Maps ``(N, h, w)`` at the layer's resolution, in units of the activation.

    Raises:
        UnknownNameError: If there is no such layer or label.
        UsageError: If the layer has no spatial extent.
        ExplanationError: If the target does not depend on the layer.

    Reference:
        Desai and Ramaswamy, Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free
        Localization, WACV 2020.
    """
    shared = Shared(layer, fuse, relu, counterfactual, flip, batch_size)
    return perturbation_maps(model, images, target, weigh_by_drop, shared)


def weigh_by_drop(layer: Layer) -> Tensor:
    """Maps of one image summed with each channel's relative drop of the score as its weight, ``(h, w)``."""
    maps = layer.maps
    channels = maps.shape[1]
    linear = layer.linear_weights()
    if linear is not None:
        shown = maps[0].to(linear.dtype)
        return torch.einsum("c,chw->hw", linear * shown.mean(dim=(1, 2)) / _size(layer.score), shown)

    def without(some: slice) -> Tensor:
        each = torch.arange(some.start, some.stop, device=maps.device)
        ablated = maps.repeat(len(each), 1, 1, 1)
        ablated[each - some.start, each] = 0
        return ablated

    scores = layer.scores(channels, without)
    return torch.einsum("c,chw->hw", (layer.score - scores) / _size(layer.score), maps[0])


def _size(score: Tensor) -> Tensor:
    return score.abs().clamp_min(torch.finfo(score.dtype).tiny)
