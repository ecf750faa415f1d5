"""Maps from a layer's activations and gradients: what Grad-CAM and its kin share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from torch import Tensor

from cnnviz.core.layer import AUTOMATIC, Arrangement, split_call
from cnnviz.core.target import Target, TargetLike
from cnnviz.errors import ExplanationError
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.asking import Answer, ask_in_chunks, probabilities
from cnnviz.methods.inputs import prepare
from cnnviz.models.model import Model
from cnnviz.probing.capture import Capture, capture
from cnnviz.probing.layers import observe_layers
from cnnviz.probing.reach import last_reached, reaches_places
from cnnviz.probing.targets import score, settle, watched_layers
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["Combine", "layer_maps"]

Combine: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def layer_maps(
    model: Model,
    images: ImagesLike,
    target: TargetLike,
    combine: Combine,
    *,
    layer: str | None,
    rectified: bool,
    batch_size: int,
) -> Heatmaps:
    """Maps that ``combine`` makes of a layer's activations and the target's gradients there.

    Args:
        model: The network.
        images: Any accepted form of images.
        target: Any accepted form of target.
        combine: From activations and gradients, both ``(N, C, h, w)``, to maps ``(N, h, w)``.
        layer: A layer's name; None takes the last one with a spatial output.
        rectified: Whether the method's definition keeps positive values only.
        batch_size: Most images at once.

    Raises:
        UnknownNameError: If there is no such layer.
        UsageError: If the layer has no spatial extent.
        ExplanationError: If the target does not depend on the layer.
    """
    batch = prepare(model, images, target)
    if layer is not None and layer != AUTOMATIC:
        model.check_layer(layer)
    chosen = _Layer(model, layer, tuple(batch.inputs.shape[1:]))

    def ask(inputs: Tensor, targets: Sequence[Target]) -> Answer:
        return _ask(model, chosen, inputs, targets, combine)

    return ask_in_chunks(model, batch, ask, batch_size=batch_size, rectified=rectified)


class _Layer:
    """The layer asked for, or the automatic one, which the first forward finds and the model remembers."""

    def __init__(self, model: Model, asked: str | None, shape: tuple[int, ...]) -> None:
        self.automatic = asked in (None, AUTOMATIC)
        self.asked = asked
        self.shape = shape
        self.known = model.automatic_layers

    def name(self, watch: Sequence[str]) -> str:
        if not self.automatic:
            return str(self.asked)
        return AUTOMATIC if watch else self.known.get(self.shape, AUTOMATIC)

    def remember(self, name: str, watch: Sequence[str]) -> None:
        if self.automatic and not watch:
            self.known[self.shape] = name

    def checks(self, name: str, caught: Capture) -> tuple[str, ...]:
        said = [f"layer {name}, chosen as the last with a spatial output"] if self.automatic else []
        plain, call = split_call(name)
        if call is None and caught.calls[plain] > 1:
            said.append(f"layer {plain} runs {caught.calls[plain]} times in a forward; its last run is shown")
        return tuple(said)


def _ask(model: Model, chosen: _Layer, inputs: Tensor, targets: Sequence[Target], combine: Combine) -> Answer:
    watch = watched_layers(targets)
    name = chosen.name(watch)
    answer, caught, gradients = _probe(model, name, inputs, targets, watch)
    name = caught.automatic or name
    arrangement = caught.arrangements[name]
    if not reaches_places(gradients[name], arrangement):
        if not chosen.automatic:
            raise ExplanationError(
                f"Only tokens without a place reach the target from layer '{name}'; leave the layer to be chosen."
            )
        name = _step_back(model, name, inputs, targets, watch)
        answer, caught, gradients = _probe(model, name, inputs, targets, watch)
    chosen.remember(name, watch)
    count = len(targets)
    activations = caught.maps(name, caught.activations[name])[:count]
    values = combine(activations, caught.maps(name, gradients[name])[:count])
    return Answer(values, answer.scores, answer.probabilities, answer.targets, name, chosen.checks(name, caught))


def _probe(
    model: Model, name: str, inputs: Tensor, targets: Sequence[Target], watch: Sequence[str]
) -> tuple[Answer, Capture, dict[str, Tensor]]:
    count = len(targets)
    with capture(model.module, [name], watch) as caught:
        logits = model.forward(inputs)
        settled = settle(targets, logits[:count], model.labels)
        scores = score(settled, logits[:count], caught)
        gradients = caught.gradients(scores)
    answer = Answer(scores, scores.detach(), probabilities(logits[:count], settled), tuple(settled), name)
    return answer, caught, gradients


def _step_back(
    model: Model, found: str, inputs: Tensor, targets: Sequence[Target], watch: Sequence[str]
) -> str:
    one = inputs if model.fixed_batch else inputs[:1]
    kept = targets[: len(one)]

    def gradients(names: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Arrangement | None]]:
        with capture(model.module, names, watch) as caught:
            logits = model.forward(one)[: len(kept)]
            scores = score(settle(kept, logits, model.labels), logits, caught)
            return caught.gradients(scores, unused=True), caught.arrangements

    return last_reached(observe_layers(model.module, one), found, gradients)
