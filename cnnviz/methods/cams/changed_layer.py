"""A layer with other maps in the place of its own, and maps of what that does to the score."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from cnnviz.core.dimensions import own_dims, size_of
from cnnviz.core.head import Head
from cnnviz.core.layer import AUTOMATIC
from cnnviz.core.similar import Similar
from cnnviz.core.target import ClassTarget, DetectionTarget, RegionTarget, Target, TargetLike, Unit
from cnnviz.engine.arrangement import from_maps, to_maps, with_places
from cnnviz.engine.batching import in_slices
from cnnviz.engine.heads import find_class_maps
from cnnviz.engine.replay import Replay, replay
from cnnviz.engine.scores.detection import join_answers, score_overlap
from cnnviz.engine.scores.score import class_probabilities, roundings, score, score_region, settle, watched_layers
from cnnviz.errors import ExplanationError
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.ask import ASK_THE_LOGIT, Answer
from cnnviz.methods.cams.layer_maps import CamSettings, layer_maps
from cnnviz.methods.cams.probe import automatic_layer
from cnnviz.methods.settings import ScoreKind
from cnnviz.models.model import Model
from cnnviz.results.heatmap import Heatmaps

__all__ = ["ChangedLayer", "keep_one_place", "perturbation_maps", "weigh_by_drop"]


class ChangedLayer:
    """A layer of one image, ready to be asked what the target's score would be with other maps there.

    Attributes:
        maps: The layer's maps ``(1, C, h, w)``.
        score: The target's score on the unchanged image.
        logits: ``(1, K)``.
        target: The settled target.
        rounding: Up to which magnitude the map that is made of it may be rounding.
        flat: What it means if it is, or is zero.
    """

    rounding = 0.0
    flat = "changing the layer does not change the target's score"

    def __init__(self, found: Replay, name: str, target: Target, size: int, *, head: Head) -> None:
        arrangement = with_places(name, found.arrangement, found.activation)
        if isinstance(target, (Unit, Similar)) and target.layer and not found.decides(target.layer):
            raise ExplanationError(
                f"The target '{target}' does not depend on layer '{name}': it is computed before that layer, or inside "
                "it; choose another layer."
            )
        self._found, self._arrangement, self._size, self._head = found, arrangement, size, head
        self._checks = found.checks
        self.target = target
        self.logits = found.logits
        self.maps = to_maps(found.activation, self._arrangement)
        self.score = self._ask(self.maps)[0]

    @property
    def checks(self) -> tuple[str, ...]:
        """What had to be decided so far."""
        return self._checks

    def scores(self, count: int, change: Callable[[slice], Tensor], *, kind: ScoreKind = "logit") -> Tensor:
        """Scores ``(count,)`` of changed maps, made some at a time.

        Args:
            count: How many changes there are.
            change: From a slice of them to maps ``(b, C, h, w)``.
            kind: What the score of a class is; that of other targets is their own.
        """
        asked = in_slices(count, lambda some: self._ask(change(some), kind), size=self._size)
        self._checks += asked.checks
        return torch.cat(asked.results)

    def expect_differences(self, kind: ScoreKind = "logit", weight: float = 1.0) -> None:
        """The map is of differences of scores, times a weight: it may be as large as their rounding."""
        known, types = ([self.target], self.logits[:1], self.score[None]), (self.maps.dtype, self.maps.dtype)
        self.rounding = weight * roundings(*known, kind, types, head=self._head)[0]
        if kind != "logit" and isinstance(self.target, (ClassTarget, RegionTarget)):
            self.flat = f"{ChangedLayer.flat}; {ASK_THE_LOGIT}"

    def linear_weights(self) -> Tensor | None:
        """Weights ``(C,)`` with which the score is a weighted sum of the maps' means, if it is; None otherwise."""
        if self._found.fixed:
            return None
        try:
            head = find_class_maps(self._found, self._found.activation)
        except ExplanationError:
            return None
        if head.activation.shape != self.maps.shape or not torch.equal(head.activation, self.maps):
            return None
        return head.weights_of(self.target)

    def _ask(self, maps: Tensor, kind: ScoreKind = "logit") -> Tensor:
        count = len(maps)
        if self._found.fixed and count < self._found.fixed:
            maps = torch.cat([maps, maps[-1:].expand(self._found.fixed - count, *maps.shape[1:])])
        targets = [self.target] * len(maps)
        activations = from_maps(maps, self._arrangement, self._found.activation)
        watch = watched_layers(targets)
        if not watch:
            logits = self._found(activations)
            if isinstance(self.target, DetectionTarget):
                return score_overlap(self.target, logits)[:count]
            if isinstance(self.target, RegionTarget):
                return score_region(self.target, logits, kind, self._head)[:count]
            answers = _read_as(logits, kind, self._head) if isinstance(self.target, ClassTarget) else logits
            return score(targets, answers, None)[:count]
        with self._found.watching(watch) as caught:
            return score(targets, self._found(activations), caught)[:count]


def _read_as(logits: Tensor, kind: ScoreKind, head: Head) -> Tensor:
    """Logits ``(N, K)``, the classes' probabilities, or their logarithms in float64; of a head of values these."""
    if kind == "log-probability" and head.probable:
        return class_probabilities(logits.double(), head).clamp_min(torch.finfo(torch.float64).tiny).log()
    return logits if kind == "logit" else class_probabilities(logits, head)


ExplainLayer: TypeAlias = Callable[[ChangedLayer], Tensor]


def perturbation_maps(
    model: Model, images: ImagesLike, target: TargetLike, explain: ExplainLayer, settings: CamSettings
) -> Heatmaps:
    """Maps that ``explain`` makes by changing a layer's maps, one image after another.

    Args:
        model: The network.
        images: Any accepted form of images.
        target: Any accepted form of target.
        explain: From a layer of one image to its signed map ``(h, w)``.
        settings: The settings that all class activation maps share; its batch size is that of the changes.
    """

    def answer(inputs: Tensor, targets: Sequence[Target], names: Sequence[str]) -> Answer:
        chosen = automatic_layer(model, inputs, targets) if list(names) == [AUTOMATIC] else None
        known = [chosen.name] if chosen else list(names)
        copies = model.fixed_batch or 1
        rows = [
            _explain_image(
                model, inputs[row, None].expand(copies, *inputs.shape[1:]), target, known, explain, settings=settings
            )
            for row, target in enumerate(targets)
        ]
        layers = [found for found, _ in rows]
        return Answer(
            tuple(known),
            tuple(torch.stack([maps[place] for _, maps in rows]) for place in range(len(known))),
            join_answers([each[0].logits for each in layers]),
            torch.stack([each[0].score for each in layers]),
            tuple(each[0].target for each in layers),
            (
                *(chosen.describe() if chosen else ()),
                *dict.fromkeys(check for each in layers for layer in each for check in layer.checks),
            ),
            roundings=tuple(each[0].rounding for each in layers) if len(known) == 1 else (),
            flat=layers[0][0].flat,
        )

    return layer_maps(model, images, target, answer, settings, singly=True)


def _explain_image(
    model: Model, one: Tensor, target: Target, names: Sequence[str], explain: ExplainLayer, *, settings: CamSettings
) -> tuple[list[ChangedLayer], list[Tensor]]:
    layers, maps = [], []
    for name in names:
        with torch.no_grad(), _replayed(model, one, name, target) as found:
            (settled,) = settle([target], found.logits, model.labels, model.head)
            layer = ChangedLayer(found, name, settled, found.fixed or settings.batch_size, head=model.head)
            maps.append(settings.sign * explain(layer))
            layers.append(layer)
    return layers, maps


def _replayed(model: Model, one: Tensor, name: str, target: Target) -> AbstractContextManager[Replay]:
    return replay(model.module, model.answering([target]), one, name, fixed=bool(model.fixed_batch) or model.detecting)


def weigh_by_drop(layer: ChangedLayer) -> Tensor:
    """Maps of one image summed with each channel's relative drop of the score as its weight, ``(h, w)``."""
    maps = layer.maps
    channels = maps.shape[1]
    linear = layer.linear_weights()
    if linear is not None:
        shown, places = maps[0].to(linear.dtype), own_dims(maps[0])
        return torch.einsum("c,c...->...", linear * shown.mean(dim=places) / _magnitude(layer.score), shown)

    def without(some: slice) -> Tensor:
        each = torch.arange(some.start, some.stop, device=maps.device)
        ablated = maps.repeat(len(each), *(1 for _ in maps.shape[1:]))
        ablated[each - some.start, each] = 0
        return ablated

    scores = layer.scores(channels, without)
    layer.expect_differences(weight=float(maps.abs().sum(dim=1).max() / _magnitude(layer.score)))
    weights = (layer.score - scores) / _magnitude(layer.score)
    wide = torch.promote_types(weights.dtype, maps.dtype)  # of half precision the scores of places are wider
    return torch.einsum("c,c...->...", weights.to(wide), maps[0].to(wide))


def _magnitude(score: Tensor) -> Tensor:
    return score.abs().clamp_min(torch.finfo(score.dtype).tiny)


def keep_one_place(layer: ChangedLayer, *, blur: bool, probability: bool) -> Tensor:
    """The score of one image with only the neighbourhood of each place of the layer kept, ``(h, w)``."""
    maps = layer.maps
    size = size_of(maps)
    count = math.prod(size)

    def at(some: slice) -> Tensor:
        places = torch.arange(some.start, some.stop, device=maps.device)
        masks = functional.one_hot(places, count).to(maps.dtype).reshape(-1, 1, *size)
        return maps * (_soften(masks) if blur else masks)

    return layer.scores(count, at, kind="probability" if probability else "logit").reshape(size)


def _soften(masks: Tensor) -> Tensor:
    """Masks ``(n, 1, h, w)`` after the 3x3 Gaussian that adds up to 1; an axis of one place has no neighbours."""
    kernel = masks.new_ones(())
    for length in size_of(masks):
        own = masks.new_tensor([1.0, 2.0, 1.0] if length > 1 else [1.0])
        kernel = kernel[..., None] * own / own.sum()
    convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[kernel.dim() - 1]
    return convolve(masks, kernel[None, None], padding="same")
