"""Grad-CAM++."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from cnnviz.core.target import TargetLike
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.gradient_maps import gradient_maps
from cnnviz.methods.layer_maps import Fuse, Shared
from cnnviz.models.model import Model
from cnnviz.registry import method
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["gradcam_plusplus"]

SMALLEST = 1e-6


@method
def gradcam_plusplus(
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
    """Where positive gradients of the target's score respond, each place weighed by its share (Grad-CAM++).

    With activations ``A`` of the layer, the gradient ``g = dy / dA`` and ``S_k`` the sum of ``A_k`` over all places::

        alpha_kij = g^2 / (2 g^2 + S_k g^3) = 1 / (2 + S_k g)   where g is not 0, else 0
        w_k = sum over i, j of alpha_kij * relu(g_kij)           map = relu(sum over k of w_k * A_k)

    The right-hand form is the paper's equation 19 with ``g^2`` cancelled: it does not underflow where gradients are
    small, as they are after global average pooling. The paper explains ``exp(y)``; its factor cancels when a map is
    divided by its maximum.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        layer: The layer to look at, or several with commas between; left out, the last whose places reach the target.
        fuse: How the maps of several layers become one, each divided by its largest value first.
        relu: Show positive evidence only, as the paper does; otherwise the signed map.
        counterfactual: Show evidence against the target: the score with its sign turned.
        flip: Average with the map of the mirrored picture.
        batch_size: Most images at once; halved when memory runs out.

    Returns:
        Maps ``(N, h, w)`` at the layer's resolution, in units of the score.

    Raises:
        UnknownNameError: If there is no such layer or label.
        UsageError: If the layer has no spatial extent.
        ExplanationError: If the target does not depend on the layer.

    Reference:
        Chattopadhay et al., Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional Networks,
        WACV 2018.
    """
    shared = Shared(layer, fuse, relu, counterfactual, flip, batch_size)
    return gradient_maps(model, images, target, weigh_by_share, shared)


def weigh_by_share(activations: Tensor, gradients: Tensor) -> Tensor:
    """Activations ``(N, C, h, w)`` summed with the weights of Grad-CAM++, ``(N, h, w)``."""
    shares = 2 + gradients * activations.sum(dim=(2, 3), keepdim=True)
    shares = torch.where(shares.abs() > SMALLEST, shares, torch.full_like(shares, SMALLEST))
    alphas = torch.where(gradients != 0, 1 / shares, torch.zeros_like(shares))
    weights = (alphas * gradients.clamp_min(0)).sum(dim=(2, 3), keepdim=True)
    return (weights * activations).sum(dim=1)
