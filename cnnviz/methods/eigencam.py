"""Eigen-CAM."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from torch import Tensor

from cnnviz.images.reading import ImagesLike
from cnnviz.methods.activations import activation_maps
from cnnviz.methods.layer_maps import Fuse, Shared
from cnnviz.methods.principal import principal_map
from cnnviz.models.model import Model
from cnnviz.registry import method
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["eigencam"]


@method
def eigencam(
    model: Model,
    images: ImagesLike,
    *,
    layer: str | None = None,
    fuse: Fuse = "mean",
    relu: bool = True,
    flip: bool = False,
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Heatmaps:
    """The strongest pattern of a layer's activations, whatever the class (Eigen-CAM).

    With ``M`` the layer's activations, a row a place and a column a channel::

        map = relu(M v),   v the first right singular vector of M, its sign such that M v is large where M is

    by the Gram matrix's largest eigenvector, hundreds of times cheaper than the whole decomposition. No class and no
    gradient is involved: the map shows what stands out, not what speaks for a class.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        layer: The layer to look at, or several with commas between; left out, the last whose places reach the target.
        fuse: How the maps of several layers become one, each divided by its largest value first.
        relu: Show positive values only, as the paper does; otherwise the signed map.
        flip: Average with the map of the mirrored picture.
        batch_size: Most images at once; halved when memory runs out.

    Returns:
        Maps ``(N, h, w)`` at the layer's resolution, in units of the activation.

    Raises:
        UnknownNameError: If there is no such layer.
        UsageError: If the layer has no spatial extent.

    Reference:
        Muhammad and Yeasin, Eigen-CAM: Class Activation Map using Principal Components, IJCNN 2020.
    """
    shared = Shared(layer, fuse, relu, flip=flip, batch_size=batch_size)
    return activation_maps(model, images, principal, shared)


def principal(activations: Tensor) -> Tensor:
    """First principal component of activations ``(N, C, h, w)``, positive where they are strong, ``(N, h, w)``."""
    return principal_map(activations, like=activations.abs().sum(dim=1))
