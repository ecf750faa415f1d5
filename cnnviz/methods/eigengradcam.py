"""EigenGrad-CAM."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from torch import Tensor

from cnnviz.core.target import TargetLike
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.gradient_maps import gradient_maps
from cnnviz.methods.layer_maps import Fuse, Shared
from cnnviz.methods.principal import principal_map
from cnnviz.models.model import Model
from cnnviz.registry import method
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["eigengradcam"]


@method
def eigengradcam(
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
    """The strongest pattern of activation times gradient, for the target (EigenGrad-CAM).

    With activations ``A`` of the layer, the target's gradient ``g`` there, and ``M`` their product, a row a place and a
    column a channel::

        map = relu(M v),   v the first right singular vector of M, its sign such that M v agrees with the sum of M

    by the Gram matrix's largest eigenvector, hundreds of times cheaper than the whole decomposition.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        layer: The layer to look at, or several with commas between; left out, the last whose places reach the target.
        fuse: How the maps of several layers become one, each divided by its largest value first.
        relu: Show positive values only; otherwise the signed map.
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
        Muhammad and Yeasin, Eigen-CAM: Class Activation Map using Principal Components, IJCNN 2020; with
        gradients as in common practice.
    """
    shared = Shared(layer, fuse, relu, counterfactual, flip, batch_size)
    return gradient_maps(model, images, target, principal_of_product, shared)


def principal_of_product(activations: Tensor, gradients: Tensor) -> Tensor:
    """First principal component of activations times gradients, with the sign of their sum, ``(N, h, w)``."""
    product = activations * gradients
    return principal_map(product, like=product.sum(dim=1))
