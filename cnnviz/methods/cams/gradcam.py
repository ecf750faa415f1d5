"""Grad-CAM and four of its kin, side by side: each a way to weigh activations by gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from cnnviz.core.dimensions import place_dims
from cnnviz.method import method
from cnnviz.methods.settings import Fuse

if TYPE_CHECKING:
    from torch import Tensor

    from cnnviz.core.target import TargetLike
    from cnnviz.images.reading import ImagesLike
    from cnnviz.models.model import Model
    from cnnviz.results.heatmap import Heatmaps

__all__ = ["gradcam", "gradcam_plusplus", "xgradcam", "hirescam", "layercam"]

SMALLEST = 1e-6
"""A denominator nearer to zero than this is held off it."""


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
    """Activations of a layer, weighted by the mean gradient of each channel (Grad-CAM).

    With activations ``A`` of the layer ``(N, C, h, w)`` and the target's score ``y`` (a logit, before any softmax)::

        alpha_k = mean over i, j of dy / dA_kij        map = relu(sum over k of alpha_k * A_k)

    One forward and the backward above the layer. The raw map is kept with its sign; the rectifier is applied before
    the map is upsampled and drawn.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        layer: The layer, or several separated by commas; default: the last convolutional (spatial) layer that the
            target depends on.
        fuse: How the maps of several layers are combined, each divided by its maximum first.
        relu: Show positive evidence only, as in the paper; otherwise the signed map.
        counterfactual: Show evidence against the target: the negated gradient.
        flip: Average with the map of the mirrored picture.
        batch_size: Batch size (images); halved automatically if memory runs out.

    Returns:
        Maps ``(N, h, w)`` at the layer's resolution, in units of the score.

    Raises:
        UnknownNameError: If there is no such layer or label.
        UsageError: If the layer has no spatial extent.
        ExplanationError: If the target does not depend on the layer.

    Reference:
        Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017.
    """
    from cnnviz.methods.cams.layer_maps import CamSettings, gradient_maps

    settings = CamSettings(layer, fuse, relu, counterfactual, flip, batch_size)
    return gradient_maps(model, images, target, weigh_by_mean_gradient, settings)


def weigh_by_mean_gradient(activations: Tensor, gradients: Tensor) -> Tensor:
    """Activations ``(N, C, h, w)`` summed with each channel's mean gradient as its weight, ``(N, h, w)``."""
    weights = gradients.mean(dim=place_dims(gradients), keepdim=True)
    return (weights * activations).sum(dim=1)


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
    """Activations weighted by positive gradients, with a weight for each position (Grad-CAM++).

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
        layer: The layer, or several separated by commas; default: the last convolutional (spatial) layer that the
            target depends on.
        fuse: How the maps of several layers are combined, each divided by its maximum first.
        relu: Show positive evidence only, as in the paper; otherwise the signed map.
        counterfactual: Show evidence against the target: the negated score.
        flip: Average with the map of the mirrored picture.
        batch_size: Batch size (images); halved automatically if memory runs out.

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
    from cnnviz.methods.cams.layer_maps import CamSettings, gradient_maps

    settings = CamSettings(layer, fuse, relu, counterfactual, flip, batch_size)
    return gradient_maps(model, images, target, weigh_by_share, settings, bounded=bound_shares)


def weigh_by_share(activations: Tensor, gradients: Tensor) -> Tensor:
    """Activations ``(N, C, h, w)`` summed with the weights of Grad-CAM++, ``(N, h, w)``."""
    return (_share_weights(activations, gradients) * activations).sum(dim=1)


def bound_shares(activations: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
    """The weights of Grad-CAM++ ``(N, C)``, and what they are at most if no denominator is below 1."""
    return _share_weights(activations, gradients).flatten(1), gradients.clamp_min(0).sum(dim=place_dims(gradients))


def _share_weights(activations: Tensor, gradients: Tensor) -> Tensor:
    import torch

    shares = 2 + gradients * activations.sum(dim=place_dims(activations), keepdim=True)
    shares = torch.where(shares.abs() > SMALLEST, shares, torch.full_like(shares, SMALLEST))
    alphas = torch.where(gradients != 0, 1 / shares, torch.zeros_like(shares))
    return (alphas * gradients.clamp_min(0)).sum(dim=place_dims(gradients), keepdim=True)


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
    """Activations weighted by gradients that are normalised by the activations (XGrad-CAM).

    With activations ``A`` of the layer and the target's score ``y``::

        w_k = sum over i, j of (A_kij / S_k) * dy / dA_kij,   S_k = sum of A_k
        map = relu(sum over k of w_k * A_k)

    which comes closest, among channel weights, to the axioms of sensitivity and conservation. A channel whose positive
    and negative values cancel has no such share; ``|S_k|`` is held above a millionth of its absolute sum.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        layer: The layer, or several separated by commas; default: the last convolutional (spatial) layer that the
            target depends on.
        fuse: How the maps of several layers are combined, each divided by its maximum first.
        relu: Show positive evidence only, as in the paper; otherwise the signed map.
        counterfactual: Show evidence against the target: the negated score.
        flip: Average with the map of the mirrored picture.
        batch_size: Batch size (images); halved automatically if memory runs out.

    Returns:
        Maps ``(N, h, w)`` at the layer's resolution, in units of the score.

    Raises:
        UnknownNameError: If there is no such layer or label.
        UsageError: If the layer has no spatial extent.
        ExplanationError: If the target does not depend on the layer.

    Reference:
        Fu et al., Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs, BMVC 2020.
    """
    from cnnviz.methods.cams.layer_maps import CamSettings, gradient_maps

    settings = CamSettings(layer, fuse, relu, counterfactual, flip, batch_size)
    combine, bounded = weigh_by_normalised_activation, bound_normalised_activation
    return gradient_maps(model, images, target, combine, settings, bounded=bounded)


def weigh_by_normalised_activation(activations: Tensor, gradients: Tensor) -> Tensor:
    """Activations ``(N, C, h, w)`` summed with the weights of XGrad-CAM, ``(N, h, w)``."""
    return (_normalised_weights(activations, gradients) * activations).sum(dim=1)


def bound_normalised_activation(activations: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
    """The weights of XGrad-CAM ``(N, C)``, and what they are at most where activations have one sign: a mean."""
    return _normalised_weights(activations, gradients).flatten(1), gradients.abs().amax(dim=place_dims(gradients))


def _normalised_weights(activations: Tensor, gradients: Tensor) -> Tensor:
    import torch

    places = place_dims(activations)
    total = activations.sum(dim=places, keepdim=True)
    least = (SMALLEST * activations.abs().sum(dim=places, keepdim=True)).clamp_min(torch.finfo(total.dtype).tiny)
    total = torch.where(total.abs() > least, total, torch.where(total < 0, -least, least))
    return (gradients * activations).sum(dim=places, keepdim=True) / total


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
    """Activations multiplied by their gradients at each position and summed over channels (HiResCAM).

    With activations ``A`` of the layer and the target's score ``y``::

        map = sum over k of (dy / dA_k) * A_k

    The signed map is faithful where everything after the layer is linear (it adds up to the score, but for a constant);
    the raw values keep the sign, ``relu=False`` draws it.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        layer: The layer, or several separated by commas; default: the last convolutional (spatial) layer that the
            target depends on.
        fuse: How the maps of several layers are combined, each divided by its maximum first.
        relu: Show positive evidence only; otherwise the signed map.
        counterfactual: Show evidence against the target: the negated score.
        flip: Average with the map of the mirrored picture.
        batch_size: Batch size (images); halved automatically if memory runs out.

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
    from cnnviz.methods.cams.layer_maps import CamSettings, gradient_maps

    settings = CamSettings(layer, fuse, relu, counterfactual, flip, batch_size)
    return gradient_maps(model, images, target, multiply, settings)


def multiply(activations: Tensor, gradients: Tensor) -> Tensor:
    """Activations times gradients, both ``(N, C, h, w)``, summed over channels, ``(N, h, w)``."""
    return (activations * gradients).sum(dim=1)


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
    """Activations weighted by the positive gradient at each position, for earlier layers too (LayerCAM).

    With activations ``A`` of the layer and the target's score ``y``::

        map = relu(sum over k of relu(dy / dA_k) * A_k)

    Each place has its own weight, so that early layers give fine maps; several layers can be fused, as the paper does
    with ``fuse="max"``.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        layer: The layer, or several separated by commas; default: the last convolutional (spatial) layer that the
            target depends on.
        fuse: How the maps of several layers are combined, each divided by its maximum first.
        relu: Show positive evidence only, as in the paper; otherwise the signed map.
        counterfactual: Show evidence against the target: the negated score.
        flip: Average with the map of the mirrored picture.
        batch_size: Batch size (images); halved automatically if memory runs out.

    Returns:
        Maps ``(N, h, w)`` at the layer's resolution, in units of the score.

    Raises:
        UnknownNameError: If there is no such layer or label.
        UsageError: If the layer has no spatial extent.
        ExplanationError: If the target does not depend on the layer.

    Reference:
        Jiang et al., LayerCAM: Exploring Hierarchical Class Activation Maps for Localization, IEEE TIP 2021.
    """
    from cnnviz.methods.cams.layer_maps import CamSettings, gradient_maps

    settings = CamSettings(layer, fuse, relu, counterfactual, flip, batch_size)
    return gradient_maps(model, images, target, weigh_by_positive_gradient, settings)


def weigh_by_positive_gradient(activations: Tensor, gradients: Tensor) -> Tensor:
    """Activations ``(N, C, h, w)`` weighed place by place with their positive gradients, ``(N, h, w)``."""
    return (gradients.clamp_min(0) * activations).sum(dim=1)
