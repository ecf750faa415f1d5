"""Score-CAM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn import functional

from cnnviz.core.target import ClassTarget, Target, TargetLike
from cnnviz.engine.batching import in_slices, usual_size
from cnnviz.engine.capture import capture
from cnnviz.engine.scores import class_probabilities, score, watched_layers
from cnnviz.images.reading import ImagesLike
from cnnviz.method import method
from cnnviz.methods.ask import Answer
from cnnviz.methods.cams.changed_layer import ChangedLayer, perturbation_maps
from cnnviz.methods.cams.layer_maps import Fuse, Shared, activations_of, layer_maps
from cnnviz.models.inference_copy import Faster, faster_copy
from cnnviz.models.model import Model
from cnnviz.results.heatmap import Heatmaps

__all__ = ["scorecam", "ablationcam", "reciprocam"]


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


def weigh_by_drop(layer: ChangedLayer) -> Tensor:
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
    """What the target's score would be if the layer had responded at one place only (Recipro-CAM).

    With activations ``A`` of the layer and a mask ``M_ij`` that keeps the place ``i, j`` (softened to its neighbours by
    a 3x3 Gaussian that adds up to 1)::

        map_ij = p(A * M_ij),   p the class's probability when what comes after the layer goes on with that

    Needs no gradient, and runs what comes after the layer once for each place: 49 times for a 7x7 layer. Only values
    relative to each other count: a place that matters little has a small value, not zero.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        layer: The layer to look at, or several with commas between; left out, the last whose places reach the target.
        fuse: How the maps of several layers become one, each divided by its largest value first.
        relu: Show positive values only (probabilities are never negative); otherwise the signed map.
        counterfactual: Show evidence against the target: 1 - p, or the score with its sign turned.
        flip: Average with the map of the mirrored picture.
        score: What is read for a class: its softmax probability or its logit; other targets keep their own score.
        blur: Soften the mask of each place to its neighbours, as the paper does.
        batch_size: Most masked activations at once; halved when memory runs out.

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
    shared = Shared(layer, fuse, relu, counterfactual, flip, batch_size)

    def explain(found: ChangedLayer) -> Tensor:
        probable = score == "probability" and isinstance(found.target, ClassTarget)
        values = keep_one_place(found, blur=blur, probability=probable)
        return values - 1 if probable and counterfactual else values

    return perturbation_maps(model, images, target, explain, shared)


def keep_one_place(layer: ChangedLayer, *, blur: bool, probability: bool) -> Tensor:
    """The score of one image with only the neighbourhood of each place of the layer kept, ``(h, w)``."""
    maps = layer.maps
    height, width = maps.shape[2:]
    corners = torch.tensor([1.0, 2.0, 1.0], dtype=maps.dtype, device=maps.device)
    kernel = torch.outer(corners, corners) / 16

    def at(some: slice) -> Tensor:
        places = torch.arange(some.start, some.stop, device=maps.device)
        masks = functional.one_hot(places, height * width).to(maps.dtype).reshape(-1, 1, height, width)
        return maps * (functional.conv2d(masks, kernel[None, None], padding=1) if blur else masks)

    return layer.scores(height * width, at, kind="probability" if probability else "logit").reshape(height, width)


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
    """Where the channels respond that, used as masks on the picture, keep the target's score (Score-CAM).

    With activations ``A`` of the layer, each channel's map is enlarged to the picture and stretched to [0, 1]; ``y_k``
    is the target's score of the picture times that mask::

        softmax (the paper):                  w_k = exp(y_k) / sum over j of exp(y_j)
        probability (its published code):     w_k = the class's softmax probability on the masked picture
        map = relu(sum over k of w_k * A_k)

    Subtracting a baseline's score first, as the paper writes, changes nothing under the softmax. Needs no gradient,
    and one forward a channel, on a private copy with batch norm folded; constant channels are left out.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        layer: The layer to look at, or several with commas between; left out, the last whose places reach the target.
        fuse: How the maps of several layers become one, each divided by its largest value first.
        relu: Show positive evidence only, as the paper does; otherwise the signed map.
        counterfactual: Show evidence against the target: the score with its sign turned, or 1 less the probability.
        flip: Average with the map of the mirrored picture.
        weighting: How scores become weights; targets that are no class have no probability and use their score itself.
        precision: Compute the masked forwards in bfloat16 instead; the loss is stated.
        batch_size: Most masked pictures at once; left out, what suits the device; halved when memory runs out.

    Returns:
        Maps ``(N, h, w)`` at the layer's resolution, in units of the activation.

    Raises:
        UnknownNameError: If there is no such layer or label.
        UsageError: If the layer has no spatial extent.

    Reference:
        Wang et al., Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks,
        CVPR Workshops 2020.
    """
    shared = Shared(layer, fuse, relu, counterfactual, flip, batch_size or usual_size(model.device))
    return layer_maps(model, images, target, _Masking(model, weighting, precision, shared), shared, singly=True)


class _Masking:
    """Asks with masked pictures, on a faster private copy of the network where one can be made."""

    def __init__(self, model: Model, weights: str, precision: str, shared: Shared) -> None:
        self.model, self.weights, self.precision, self.shared = model, weights, precision, shared
        self.helper: Faster | None = None

    def __call__(self, inputs: Tensor, targets: Sequence[Target], names: Sequence[str]) -> Answer:
        found = activations_of(self.model, names, inputs, targets)
        quick = self._quick(inputs, found.targets)
        maps = [
            torch.stack(
                [
                    _map(quick.model, image, activations, settled, weights=self.weights, shared=self.shared)
                    for image, activations, settled in zip(inputs, each, found.targets, strict=False)
                ]
            )
            for each in found.values
        ]
        return found.with_values(*maps, checks=quick.checks)

    def _quick(self, inputs: Tensor, targets: Sequence[Target]) -> Faster:
        if watched_layers(targets) or self.model.fixed_batch is not None:
            plain = "bfloat16 was not used: units as targets and networks of one batch size need the network itself"
            return Faster(self.model, (plain,) if self.precision == "bfloat16" else ())
        if self.helper is None:
            self.helper = faster_copy(self.model, inputs[:1], halved=self.precision == "bfloat16")
        return self.helper


def _map(model: Model, image: Tensor, maps: Tensor, target: Target, *, weights: str, shared: Shared) -> Tensor:
    """The map ``(h, w)`` of one image ``(C, H, W)`` from its activations ``(K, h, w)``."""
    live = maps.flatten(1).amax(dim=1) > maps.flatten(1).amin(dim=1)
    kept = maps[live]
    if not len(kept):
        return torch.zeros_like(maps[0])
    probability = weights == "probability" and isinstance(target, ClassTarget)

    def masked(some: slice) -> Tensor:
        masks = _masks(kept[some], image.shape[-2:])
        return _scores(model, image * masks[:, None].to(image.dtype), target, probability=probability)

    size = model.fixed_batch or shared.batch_size
    scores = torch.cat(in_slices(len(kept), masked, size=size).results).to(maps.dtype)
    if shared.counterfactual:
        scores = 1 - scores if probability else -scores
    weighed = scores.softmax(dim=0) if weights == "softmax" else scores
    return torch.einsum("k,khw->hw", weighed, kept)


def _masks(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Maps ``(b, h, w)`` enlarged to the picture's size and each stretched to [0, 1]."""
    wide = functional.interpolate(maps[:, None], size=tuple(size), mode="bilinear", align_corners=False)[:, 0]
    low, high = wide.amin(dim=(1, 2), keepdim=True), wide.amax(dim=(1, 2), keepdim=True)
    return (wide - low) / (high - low).clamp_min(torch.finfo(wide.dtype).tiny)


def _scores(model: Model, pictures: Tensor, target: Target, *, probability: bool) -> Tensor:
    count = len(pictures)
    if model.fixed_batch and count < model.fixed_batch:
        pictures = torch.cat([pictures, pictures[-1:].expand(model.fixed_batch - count, -1, -1, -1)])
    targets = [target] * len(pictures)
    pictures = model.to_device(pictures).to(memory_format=torch.channels_last)
    with torch.no_grad(), capture(model.module, [], watched_layers(targets)) as caught:
        logits = model.forward(pictures)
        precise = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        return score(targets, class_probabilities(precise) if probability else precise, caught)[:count]
