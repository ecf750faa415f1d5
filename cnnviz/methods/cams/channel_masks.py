"""Channels of a layer as masks on the picture, and maps weighed by the scores behind them, for Score-CAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cnnviz.core.dimensions import own_dims
from cnnviz.core.target import ClassTarget, RegionTarget, Target
from cnnviz.engine.batching import in_slices
from cnnviz.engine.capture import capture, widen_half
from cnnviz.engine.scores.score import class_probabilities, score, score_region, watched_layers
from cnnviz.methods.ask import Answer
from cnnviz.methods.cams.grids import enlarge_evenly
from cnnviz.methods.cams.layer_maps import CamSettings, activations_of
from cnnviz.models.inference_copy import InferenceCopy, inference_copy
from cnnviz.models.model import Model
from cnnviz.provenance import Caution

__all__ = ["ChannelMasks"]

ALIKE = Caution("every channel's mask gives the same score up to rounding: all channels have equal weights")
NO_MASKS = "every channel of the layer is spatially constant, so there are no masks"


class ChannelMasks:
    """Asks with masked pictures, on a faster private copy of the network where one can be made."""

    def __init__(self, model: Model, weights: str, precision: str, settings: CamSettings) -> None:
        self.model, self.weights, self.precision, self.settings = model, weights, precision, settings
        self.helper: InferenceCopy | None = None
        self._alike = False

    def __call__(self, inputs: Tensor, targets: Sequence[Target], names: Sequence[str]) -> Answer:
        """Maps of layers, their channels weighed one image after another."""
        self._alike = False
        found = activations_of(self.model, names, inputs, targets)
        quick = self._faster_model(inputs, found.targets)
        maps = [
            torch.stack(
                [
                    self._weigh_channels(quick.model, image, activations, settled)
                    for image, activations, settled in zip(inputs, each, found.targets, strict=False)
                ]
            )
            for each in found.values
        ]
        checks = (*quick.checks, *([ALIKE] * self._alike))
        return replace(found.with_values(*maps, checks=checks), flat=NO_MASKS)

    def _faster_model(self, inputs: Tensor, targets: Sequence[Target]) -> InferenceCopy:
        if watched_layers(targets) or self.model.fixed_batch is not None:
            plain = "bfloat16 was not used: units as targets and networks of one batch size need the network itself"
            return InferenceCopy(self.model, (plain,) if self.precision == "bfloat16" else ())
        if self.helper is None:
            self.helper = inference_copy(self.model, inputs[:1], halved=self.precision == "bfloat16")
        return self.helper

    def _weigh_channels(self, model: Model, image: Tensor, maps: Tensor, target: Target) -> Tensor:
        """The map ``(h, w)`` of one image ``(C, H, W)`` from its activations ``(K, h, w)``."""
        live = maps.flatten(1).amax(dim=1) > maps.flatten(1).amin(dim=1)
        kept = maps[live]
        if not len(kept):
            return torch.zeros_like(maps[0])
        of_classes = isinstance(target, (ClassTarget, RegionTarget))
        probability = self.weights == "probability" and of_classes and model.head.probable

        def masked(some: slice) -> Tensor:
            masks = _stretch_to_masks(kept[some], image.shape[1:])
            return _score_pictures(model, image * masks[:, None].to(image.dtype), target, probability=probability)

        size = model.fixed_batch or self.settings.batch_size
        scores = torch.cat(in_slices(len(kept), masked, size=size).results).to(maps.dtype)
        least = 2 * torch.finfo(model.dtype).eps * scores.abs().max()
        self._alike |= len(kept) > 1 and bool(scores.max() - scores.min() <= least)
        if self.settings.counterfactual:
            scores = 1 - scores if probability else -scores
        weighed = scores.softmax(dim=0) if self.weights == "softmax" else scores
        return torch.einsum("k,k...->...", weighed, kept)


def _stretch_to_masks(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Maps ``(b, h, w)`` enlarged to the picture's size and each stretched to [0, 1]."""
    wide = enlarge_evenly(maps, size)
    places = own_dims(wide)
    low, high = wide.amin(dim=places, keepdim=True), wide.amax(dim=places, keepdim=True)
    return (wide - low) / (high - low).clamp_min(torch.finfo(wide.dtype).tiny)


def _score_pictures(model: Model, pictures: Tensor, target: Target, *, probability: bool) -> Tensor:
    count = len(pictures)
    if model.fixed_batch and count < model.fixed_batch:
        pictures = torch.cat([pictures, pictures[-1:].expand(model.fixed_batch - count, *pictures.shape[1:])])
    targets = [target] * len(pictures)
    pictures = model.to_device(pictures).to(memory_format=model.memory_format)
    with torch.no_grad(), capture(model.module, [], watched_layers(targets)) as caught:
        logits = model.answer(pictures, targets)
        precise = widen_half(logits)
        if probability and isinstance(target, RegionTarget):
            return score_region(target, precise, "probability", model.head)[:count]
        return score(targets, class_probabilities(precise, model.head) if probability else precise, caught)[:count]
