"""Maps from changes, without gradients: Score-CAM masks the picture, Ablation-CAM and Recipro-CAM change the layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge

from cnnviz.method import method
from cnnviz.methods.settings import Fuse

if TYPE_CHECKING:
    from torch import Tensor

    from cnnviz.core.target import TargetLike
    from cnnviz.images.reading import ImagesLike
    from cnnviz.methods.cams.changed_layer import ChangedLayer
    from cnnviz.models.model import Model
    from cnnviz.results.heatmap import Heatmaps

__all__ = ["scorecam", "ablationcam", "reciprocam"]


@method
def scorecam(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    fuse: Fuse = "mean",
    relu: bool = True,
    counterfactual: bool = False,
    flip: bool = False,
    weighting: Literal["softmax", "probability"] = "softmax",
    precision: Literal["full", "bfloat16"] = "full",
    batch_size: Annotated[int, Ge(1)] | None = None,
) -> Heatmaps:
    """Activations weighted by the target's score of the picture masked by each channel (Score-CAM).

    With activations ``A`` of the layer, each channel's map is enlarged to the picture and stretched to [0, 1]; ``y_k``
    is the target's score of the picture times that mask (whose values are spread evenly over the picture, as in the
    paper; ``align`` says only where the resulting map is drawn)::

        softmax (the paper):                  w_k = exp(y_k) / sum over j of exp(y_j)
        probability (its published code):     w_k = the class's softmax probability on the masked picture
        map = relu(sum over k of w_k * A_k)

    Subtracting a baseline's score first, as the paper writes, changes nothing under the softmax. Needs no gradient,
    and one forward a channel, on a private copy with batch norm folded; constant channels are left out.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        layer: The layer, or several separated by commas; default: the last convolutional (spatial) layer that the
            target depends on.
        fuse: How the maps of several layers are combined, each divided by its maximum first.
        relu: Show positive evidence only, as in the paper; otherwise the signed map.
        counterfactual: Show evidence against the target: the negated score, or 1 less the probability.
        flip: Average with the map of the mirrored picture.
        weighting: How scores become weights; targets other than a class have no probability, so their score is used.
        precision: Compute the masked forwards in bfloat16 instead; the resulting error is reported.
        batch_size: Batch size (masked pictures); default: chosen for the device; halved automatically if memory runs
            out.

    Returns:
        Maps ``(N, h, w)`` at the layer's resolution, in units of the activation.

    Raises:
        UnknownNameError: If there is no such layer or label.
        UsageError: If the layer has no spatial extent.

    Reference:
        Wang et al., Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks,
        CVPR Workshops 2020.
    """
    from cnnviz.engine.batching import usual_size
    from cnnviz.methods.cams.channel_masks import ChannelMasks
    from cnnviz.methods.cams.layer_maps import CamSettings, layer_maps

    settings = CamSettings(layer, fuse, relu, counterfactual, flip, batch_size or usual_size(model.device))
    return layer_maps(model, images, target, ChannelMasks(model, weighting, precision, settings), settings, singly=True)


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
    """Activations weighted by the drop of the target's score when each channel is ablated (Ablation-CAM).

    With activations ``A`` of the layer, the target's score ``y``, and ``y_k`` the score with channel ``k`` at zero::

        w_k = (y - y_k) / |y|         map = relu(sum over k of w_k * A_k)

    Needs no gradient. Only what comes after the layer runs again for each channel; where the logits are a linear layer
    of the layer's spatial mean, ``y - y_k`` is weight times mean, and nothing runs again. The paper divides by ``y``;
    the absolute value keeps the meaning of the sign where the score is negative.

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
        batch_size: Batch size (ablated activations); halved automatically if memory runs out.

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
    from cnnviz.methods.cams.changed_layer import perturbation_maps, weigh_by_drop
    from cnnviz.methods.cams.layer_maps import CamSettings

    settings = CamSettings(layer, fuse, relu, counterfactual, flip, batch_size)
    return perturbation_maps(model, images, target, weigh_by_drop, settings)


@method
def reciprocam(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    fuse: Fuse = "mean",
    relu: bool = True,
    counterfactual: bool = False,
    flip: bool = False,
    score: Literal["probability", "logit"] = "probability",
    blur: bool = True,
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Heatmaps:
    """The target's score when only one position of the layer's activation is kept (Recipro-CAM).

    With activations ``A`` of the layer and a mask ``M_ij`` that keeps the place ``i, j`` (softened to its neighbours by
    a 3x3 Gaussian that adds up to 1)::

        map_ij = p(A * M_ij),   p the class's probability when what comes after the layer goes on with that

    Needs no gradient, and runs what comes after the layer once for each place: 49 times for a 7x7 layer. Only values
    relative to each other count: a place that matters little has a small value, not zero.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        layer: The layer, or several separated by commas; default: the last convolutional (spatial) layer that the
            target depends on.
        fuse: How the maps of several layers are combined, each divided by its maximum first.
        relu: Show positive values only (probabilities are never negative); otherwise the signed map.
        counterfactual: Show evidence against the target: 1 - p, or the negated score.
        flip: Average with the map of the mirrored picture.
        score: Score of a class: softmax probability or logit; other targets have their own score.
        blur: Smooth each mask with a Gaussian, as in the paper.
        batch_size: Batch size (masked activations); halved automatically if memory runs out.

    Returns:
        Maps ``(N, h, w)`` at the layer's resolution: probabilities, or scores.

    Raises:
        UnknownNameError: If there is no such layer or label.
        UsageError: If the layer has no spatial extent.
        ExplanationError: If the target does not depend on the layer.

    Reference:
        Byun and Lee, Recipro-CAM: Fast gradient-free visual explanations for convolutional neural networks,
        CVPR Workshops 2024.
    """
    from cnnviz.core.target import ClassTarget
    from cnnviz.methods.cams.changed_layer import keep_one_place, perturbation_maps
    from cnnviz.methods.cams.layer_maps import CamSettings

    settings = CamSettings(layer, fuse, relu, counterfactual, flip, batch_size)

    def explain(found: ChangedLayer) -> Tensor:
        probable = score == "probability" and isinstance(found.target, ClassTarget)
        values = keep_one_place(found, blur=blur, probability=probable)
        return values - 1 if probable and counterfactual else values

    return perturbation_maps(model, images, target, explain, settings)
