"""Occlusion of a layer's activation."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from cnnviz.core.target import TargetLike
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.layer_maps import Fuse, Shared
from cnnviz.methods.perturbation import Layer, perturbation_maps
from cnnviz.methods.scorer import ScoreKind
from cnnviz.models.model import Model
from cnnviz.probing.windows import Windows
from cnnviz.registry import method
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["feature_occlusion"]


@method
def feature_occlusion(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    fuse: Fuse = "mean",
    window: Annotated[int, Ge(1)] = 1,
    stride: Annotated[int, Ge(1)] = 1,
    baseline: Literal["mean", "zero"] = "mean",
    score: ScoreKind = "probability",
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Heatmaps:
    """How much hiding each part of a layer's activation lowers the target's score (feature occlusion).

    As occlusion, but a window hides places of the layer, in all its channels, and only what comes after the layer runs
    again; places of a deep layer know what lies around them, so this is another quantity than hiding pixels::

        map = mean over the windows that cover a place of  s(A) - s(A with the window hidden)

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        layer: The layer to look at, or several with commas between; left out, the last whose places reach the target.
        fuse: How the maps of several layers become one, each divided by its largest value first.
        window: Side of the window in places of the layer.
        stride: Places from one window to the next.
        baseline: What hides a place: each channel's mean over all places, or zero.
        score: Of a class: the softmax probability, the logit, or the log-probability; other targets use their own.
        batch_size: Most changed activations at once; halved when memory runs out.

    Returns:
        Maps ``(N, h, w)`` at the layer's resolution, signed, in units of the score.

    Raises:
        UnknownNameError: If there is no such layer or label.
        UsageError: If the layer has no spatial extent.
        ExplanationError: If the target does not depend on the layer.
        ParameterError: If the window is larger than the layer, or the stride than the window.

    Reference:
        Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, section 4.2, at the input.
    """

    def explain(asked: Layer) -> Tensor:
        return hide_places(asked, window, stride, zero=baseline == "zero", kind=score)

    return perturbation_maps(model, images, target, explain, Shared(layer, fuse, relu=False, batch_size=batch_size))


def hide_places(layer: Layer, window: int, stride: int, *, zero: bool, kind: ScoreKind) -> Tensor:
    """The mean drop ``(h, w)`` of the windows that hide each place of one image's layer."""
    maps = layer.maps
    windows = Windows.over((maps.shape[2], maps.shape[3]), window, stride)
    fill = torch.zeros_like(maps[:, :, :1, :1]) if zero else maps.mean(dim=(2, 3), keepdim=True)

    def hidden(some: slice) -> Tensor:
        """The unchanged maps first, then each window's."""
        numbers = torch.arange(some.start, some.stop, device=maps.device) - 1
        return torch.where(windows.masks(numbers) > 0, fill, maps)

    scores = layer.scores(len(windows) + 1, hidden, kind=kind).double().cpu()
    return windows.average(scores[0] - scores[1:]).to(maps)
