"""Maps from a layer's activations alone: Eigen-CAM and factorization."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor

from cnnviz.core.layer import AUTOMATIC
from cnnviz.core.target import NoTarget, Target, TopClass
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.layer_maps import LayerAnswer, Shared, layer_maps
from cnnviz.methods.probe import automatic_layer
from cnnviz.models.model import Model
from cnnviz.probing.capture import capture
from cnnviz.probing.targets import score, settle, watched_layers
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["Summarise", "activation_maps", "activations_of"]

Summarise: TypeAlias = Callable[[Tensor], Tensor]


def activation_maps(model: Model, images: ImagesLike, summarise: Summarise, shared: Shared) -> Heatmaps:
    """Maps that ``summarise`` makes of a layer's activations.

    Args:
        model: The network.
        images: Any accepted form of images.
        summarise: From activations ``(n, C, h, w)`` to maps ``(n, h, w)``.
        shared: The settings that all class activation maps share.
    """

    def ask(inputs: Tensor, targets: Sequence[Target], names: Sequence[str]) -> LayerAnswer:
        found = activations_of(model, names, inputs, (TopClass(),) * len(targets))
        maps = tuple(summarise(each) for each in found.maps)
        scores = torch.full_like(found.scores, torch.nan)
        return replace(found, maps=maps, scores=scores, targets=(NoTarget(),) * len(targets))

    return layer_maps(model, images, None, ask, shared)


def activations_of(model: Model, names: Sequence[str], inputs: Tensor, targets: Sequence[Target]) -> LayerAnswer:
    """Activations ``(n, C, h, w)`` of layers in the place of maps, from one forward without gradients.

    Args:
        model: The network, undisturbed.
        names: Layers, or only ``"last-spatial"``.
        inputs: ``(N, C, H, W)``; only the first ``len(targets)`` of them count.
        targets: Targets, settled or not.
    """
    count = len(targets)
    known = [automatic_layer(model, inputs, targets)] if list(names) == [AUTOMATIC] else list(names)
    with capture(model.module, known, watched_layers(targets)) as caught:
        logits = model.forward(inputs)[:count].detach()
        settled = tuple(settle(targets, logits, model.labels))
        scores = score(settled, logits, caught).detach()
    maps = tuple(caught.maps(name, caught.activations[name])[:count] for name in known)
    return LayerAnswer(tuple(known), maps, logits, scores, settled)
