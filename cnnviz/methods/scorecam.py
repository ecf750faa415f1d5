"""Score-CAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn import functional

from cnnviz.core.target import ClassTarget, Target, TargetLike
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.activations import activations_of
from cnnviz.methods.layer_maps import Fuse, LayerAnswer, Shared, layer_maps
from cnnviz.models.faster import Faster, faster_copy
from cnnviz.models.model import Model
from cnnviz.probing.capture import capture
from cnnviz.probing.chunks import in_slices, usual_size
from cnnviz.probing.targets import class_probabilities, score, watched_layers
from cnnviz.registry import method
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["scorecam"]


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

    def __call__(self, inputs: Tensor, targets: Sequence[Target], names: Sequence[str]) -> LayerAnswer:
        found = activations_of(self.model, names, inputs, targets)
        quick = self._quick(inputs, found.targets)
        maps = [
            torch.stack(
                [
                    _map(quick.model, image, activations, settled, weights=self.weights, shared=self.shared)
                    for image, activations, settled in zip(inputs, each, found.targets, strict=False)
                ]
            )
            for each in found.maps
        ]
        return replace(found, maps=tuple(maps), checks=quick.checks)

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
