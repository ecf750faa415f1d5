"""Grad-CAM."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from torch import Tensor

from cnnviz.core.target import TargetLike
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.gradient_maps import gradient_maps
from cnnviz.methods.layer_maps import Fuse, Shared
from cnnviz.models.model import Model
from cnnviz.registry import method
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["gradcam"]


@method
def gradcam(
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
    """Where the channels that raise the target's score respond (Grad-CAM).

    With activations ``A`` of the layer ``(N, C, h, w)`` and the target's score ``y`` (a logit, before any softmax)::

        alpha_k = mean over i, j of dy / dA_kij        map = relu(sum over k of alpha_k * A_k)

    One forward and the backward above the layer. The raw map is kept with its sign; the rectifier is applied before
    the map is upsampled and drawn.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        layer: The layer to look at, or several with commas between; left out, the last whose places reach the target.
        fuse: How the maps of several layers become one, each divided by its largest value first.
        relu: Show positive evidence only, as the paper does; otherwise the signed map.
        counterfactual: Show evidence against the target: the gradient with its sign turned.
        flip: Average with the map of the mirrored picture.
        batch_size: Most images at once; halved when memory runs out.

    Returns:
        Maps ``(N, h, w)`` at the layer's resolution, in units of the score.

    Raises:
        UnknownNameError: If there is no such layer or label.
        UsageError: If the layer has no spatial extent.
        ExplanationError: If the target does not depend on the layer.

    Reference:
        Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017.
    """
    shared = Shared(layer, fuse, relu, counterfactual, flip, batch_size)
    return gradient_maps(model, images, target, weigh_by_mean_gradient, shared)


def weigh_by_mean_gradient(activations: Tensor, gradients: Tensor) -> Tensor:
    """Activations ``(N, C, h, w)`` summed with each channel's mean gradient as its weight, ``(N, h, w)``."""
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    return (weights * activations).sum(dim=1)
