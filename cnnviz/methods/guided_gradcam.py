"""Guided Grad-CAM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn import functional

from cnnviz.core.layer import AUTOMATIC
from cnnviz.core.target import Target, TargetLike
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.asking import Answer
from cnnviz.methods.attributing import attribute
from cnnviz.methods.input_gradients import input_gradients
from cnnviz.methods.probe import automatic_layer, probe
from cnnviz.methods.ruled_gradients import CAVEAT
from cnnviz.models.model import Model
from cnnviz.registry import method
from cnnviz.results.attribution import Channels
from cnnviz.results.attributions import Attributions

__all__ = ["guided_gradcam"]


@method
def guided_gradcam(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    channels: Channels = "colour",
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Attributions:
    """Guided backpropagation's detail, where Grad-CAM sees the class (Guided Grad-CAM).

    The product of both; Grad-CAM's map is rectified and enlarged bilinearly, as in the paper::

        values = guided backpropagation * enlarged relu(sum over k of alpha_k * A_k)

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        layer: Grad-CAM's layer; left out, the last whose places reach the target.
        channels: How channels are drawn: the largest magnitude, the signed sum, or as colours; changes no value.
        batch_size: Most images at once; halved when memory runs out.

    Returns:
        Attributions ``(N, C, H, W)`` at the input's resolution.

    Raises:
        UnknownNameError: If there is no such layer or label.
        UsageError: If the layer has no spatial extent.
        ExplanationError: If the network calls no activation function, or the target does not depend on the layer.

    Reference:
        Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017.
    """
    if layer is not None and layer != AUTOMATIC:
        model.check_layer(layer)

    def ask(inputs: Tensor, targets: Sequence[Target]) -> Answer:
        guided = input_gradients(model, inputs, targets, "guided")
        name = layer if layer not in (None, AUTOMATIC) else automatic_layer(model, inputs, targets)
        found = probe(model, [str(name)], inputs, guided.targets)
        weights = found.gradients[0].mean(dim=(2, 3))
        small = torch.einsum("nk,nkhw->nhw", weights, found.activations[0]).clamp_min(0)
        large = functional.interpolate(small[:, None], size=inputs.shape[-2:], mode="bilinear", align_corners=False)
        return guided.answer(guided.values * large, layer=str(name), checks=found.checks)

    return attribute(model, images, target, ask, channels=channels, batch_size=batch_size, caveat=CAVEAT)
