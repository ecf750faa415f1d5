"""Maps from a layer's activations and the target's gradients there: Grad-CAM and its kin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor

from cnnviz.core.layer import AUTOMATIC
from cnnviz.core.target import Target, TargetLike
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.layer_maps import LayerAnswer, Shared, layer_maps
from cnnviz.methods.probe import Probe, probe
from cnnviz.models.model import Model
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["Combine", "answered", "gradient_maps"]

Combine: TypeAlias = Callable[[Tensor, Tensor], Tensor]

SAME = 0.999
EVEN = 1e-4


def gradient_maps(
    model: Model, images: ImagesLike, target: TargetLike, combine: Combine, shared: Shared, *, compare: bool = True
) -> Heatmaps:
    """Maps that ``combine`` makes of a layer's activations and the target's gradients there.

    At the automatic layer, where little lies above, the second class's map is compared on the way; where it is the
    same, the checks say that the map does not tell the classes apart.

    Args:
        model: The network.
        images: Any accepted form of images.
        target: Any accepted form of target.
        combine: From activations and gradients, both ``(n, C, h, w)``, to maps ``(n, h, w)``.
        shared: The settings that all class activation maps share.
        compare: Whether ``combine`` gives a map that a class can be told by.
    """

    def ask(inputs: Tensor, targets: Sequence[Target], names: Sequence[str]) -> LayerAnswer:
        found = probe(model, names, inputs, targets, rival=compare and list(names) == [AUTOMATIC])
        maps = [
            combine(activation, shared.sign * gradient)
            for activation, gradient in zip(found.activations, found.gradients, strict=True)
        ]
        checks = list(_coincidence(found))
        if found.rivals:
            rival = combine(found.activations[0], shared.sign * found.rival_gradients[0])
            checks += _undecided(found, maps[0], rival)
        return answered(replace(found, checks=(*found.checks, *checks)), maps)

    return layer_maps(model, images, target, ask, shared)


def answered(found: Probe, maps: Sequence[Tensor]) -> LayerAnswer:
    """A probe's maps as an answer."""
    return LayerAnswer(found.names, tuple(maps), found.logits, found.scores, found.targets, found.checks)


def _coincidence(found: Probe) -> tuple[str, ...]:
    """Where the gradient is the same at every place, several methods are one."""
    low, high = found.gradients[0].flatten(2).aminmax(dim=2)
    spread, most = (high - low).amax(), torch.maximum(high, -low).amax()
    if len(found.gradients) > 1 or not bool((most > 0) & (spread <= EVEN * most)):
        return ()
    return (
        "the gradient is the same at every place of this layer: Grad-CAM, XGrad-CAM and HiResCAM coincide here, "
        "and are CAM where the head is linear",
    )


def _undecided(found: Probe, maps: Tensor, rival_maps: Tensor) -> tuple[str, ...]:
    """A word about the images whose best other class has the same map."""
    alike = (_correlation(maps, rival_maps) > SAME).tolist()
    return tuple(
        f"the maps of '{target}' and '{rival}' are the same: this one says where, not which class"
        for target, rival, same in zip(found.targets, found.rivals, alike, strict=True)
        if same
    )


def _correlation(one: Tensor, other: Tensor) -> Tensor:
    """Pearson correlation of each pair of maps ``(n, h, w)``; 0 where one is constant."""
    a, b = (maps.flatten(1).double() for maps in (one, other))
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    norm = a.norm(dim=1) * b.norm(dim=1)
    return torch.where(norm > 0, (a * b).sum(dim=1) / norm.clamp_min(torch.finfo(a.dtype).tiny), torch.zeros_like(norm))
