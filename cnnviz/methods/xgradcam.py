"""XGrad-CAM."""

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

__all__ = ["xgradcam"]

SMALLEST = 1e-6


@method
def xgradcam(
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
    """Where channels respond, each weighed by gradient times activation per unit of activation (XGrad-CAM).

    With activations ``A`` of the layer and the target's score ``y``::

        w_k = sum over i, j of (A_kij / S_k) * dy / dA_kij,   S_k = sum of A_k
        map = relu(sum over k of w_k * A_k)

    which comes closest, among channel weights, to the axioms of sensitivity and conservation. A channel whose positive
    and negative values cancel has no such share; ``|S_k|`` is held above a millionth of its absolute sum.

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
        Fu et al., Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs, BMVC 2020.
    """
    shared = Shared(layer, fuse, relu, counterfactual, flip, batch_size)
    return gradient_maps(model, images, target, weigh_by_normalised_activation, shared)


def weigh_by_normalised_activation(activations: Tensor, gradients: Tensor) -> Tensor:
    """Activations ``(N, C, h, w)`` summed with the weights of XGrad-CAM, ``(N, h, w)``."""
    total = activations.sum(dim=(2, 3), keepdim=True)
    least = (SMALLEST * activations.abs().sum(dim=(2, 3), keepdim=True)).clamp_min(torch.finfo(total.dtype).tiny)
    total = torch.where(total.abs() > least, total, torch.where(total < 0, -least, least))
    weights = (gradients * activations).sum(dim=(2, 3), keepdim=True) / total
    return (weights * activations).sum(dim=1)
