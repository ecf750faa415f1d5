"""Recipro-CAM."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn import functional

from cnnviz.core.target import ClassTarget, TargetLike
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.layer_maps import Fuse, Shared
from cnnviz.methods.perturbation import Layer, perturbation_maps
from cnnviz.models.model import Model
from cnnviz.registry import method
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["reciprocam"]


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

    def explain(found: Layer) -> Tensor:
        probable = score == "probability" and isinstance(found.target, ClassTarget)
        values = keep_one_place(found, blur=blur, probability=probable)
        return values - 1 if probable and counterfactual else values

    return perturbation_maps(model, images, target, explain, shared)


def keep_one_place(layer: Layer, *, blur: bool, probability: bool) -> Tensor:
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
