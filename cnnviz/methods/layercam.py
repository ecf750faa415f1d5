"""LayerCAM."""

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

__all__ = ["layercam"]


@method
def layercam(
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
    """Where the layer responds and would raise the target's score right there, for fine layers too (LayerCAM).

    With activations ``A`` of the layer and the target's score ``y``::

        map = relu(sum over k of relu(dy / dA_k) * A_k)

    Each place has its own weight, so that early layers give fine maps; several layers can be fused, as the paper does
    with ``fuse="max"``.

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
        Jiang et al., LayerCAM: Exploring Hierarchical Class Activation Maps for Localization, IEEE TIP 2021.
    """
    shared = Shared(layer, fuse, relu, counterfactual, flip, batch_size)
    return gradient_maps(model, images, target, weigh_by_positive_gradient, shared)


def weigh_by_positive_gradient(activations: Tensor, gradients: Tensor) -> Tensor:
    """Activations ``(N, C, h, w)`` weighed place by place with their positive gradients, ``(N, h, w)``."""
    return (gradients.clamp_min(0) * activations).sum(dim=1)
