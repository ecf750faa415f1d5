"""HiResCAM."""

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

__all__ = ["hirescam"]


@method
def hirescam(
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
    """Where the layer's activations themselves raise the target's score, place by place (HiResCAM).

    With activations ``A`` of the layer and the target's score ``y``::

        map = sum over k of (dy / dA_k) * A_k

    The signed map is faithful where everything after the layer is linear (it adds up to the score, but for a constant);
    the raw values keep the sign, ``relu=False`` draws it.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        layer: The layer to look at, or several with commas between; left out, the last whose places reach the target.
        fuse: How the maps of several layers become one, each divided by its largest value first.
        relu: Show positive evidence only; otherwise the signed map.
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
        Draelos and Carin, Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks,
        arXiv 2011.08891, 2020.
    """
    shared = Shared(layer, fuse, relu, counterfactual, flip, batch_size)
    return gradient_maps(model, images, target, multiply, shared)


def multiply(activations: Tensor, gradients: Tensor) -> Tensor:
    """Activations times gradients, both ``(N, C, h, w)``, summed over channels, ``(N, h, w)``."""
    return (activations * gradients).sum(dim=1)
