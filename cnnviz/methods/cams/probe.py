"""One gradient question: the activations of some layers and the target's gradients there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from cnnviz.core.dimensions import is_dense, size_of
from cnnviz.core.layer import AUTOMATIC, Arrangement, AutomaticLayer, Layers, split_call
from cnnviz.core.similar import Similar
from cnnviz.core.target import ClassTarget, DetectionTarget, Target, TopClass, named_class
from cnnviz.engine.capture import capture
from cnnviz.engine.functions import follow_products, is_linear
from cnnviz.engine.layers import entrance, last_reached, reaches_places, rows_reached
from cnnviz.engine.scores.score import score, settle, watched_layers
from cnnviz.engine.undisturbed import hookable_parts
from cnnviz.errors import ExplanationError, NowhereError
from cnnviz.methods.ask import Answer
from cnnviz.methods.cams.bottleneck import find_bottleneck, find_read, gradients_at
from cnnviz.methods.cams.kept import LayerQuestion, kept_answer
from cnnviz.models.model import Model

__all__ = ["Answered", "Probe", "Reach", "automatic_layer", "probe"]

ROWS = 4

Rescore = Callable[[Tensor, Tensor, Sequence[Target]], Tensor]


@dataclass(frozen=True)
class Probe:
    """What one forward and one backward gave, for the first images of a chunk.

    Attributes:
        answer: The layers, logits, scores and settled targets, with no values yet.
        activations: Maps ``(n, C, h, w)`` of each layer.
        gradients: The target's gradients there, in the same shape.
        curvatures: Hessian of the score times the activation, in the same shape; empty unless asked for.
        rivals: Each image's first class besides its target; empty unless asked for and there is one.
        rival_gradients: The rivals' gradients at each layer.
    """

    answer: Answer
    activations: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]
    curvatures: tuple[Tensor, ...] = ()
    rivals: tuple[Target, ...] = ()
    rival_gradients: tuple[Tensor, ...] = ()


def probe(
    model: Model,
    names: Sequence[str],
    inputs: Tensor,
    targets: Sequence[Target],
    *,
    rescore: Rescore | None = None,
    curved: bool = False,
    rival: bool = False,
    keep: bool = True,
) -> Probe:
    """Ask for activations and gradients at some layers, or at ``"last-spatial"``.

    Args:
        model: The network, undisturbed.
        names: Layers, or only ``"last-spatial"``.
        inputs: ``(N, C, H, W)``; only the first ``len(targets)`` of them count.
        targets: Targets, settled or not.
        rescore: From scores ``(n,)``, logits ``(n, K)`` and targets to the scores that are differentiated.
        curved: Also multiply the score's Hessian at the layer by the activation.
        rival: Also ask the same forward for the gradients of the first class besides the target.
        keep: Whether others may ask the same, so that the answer is worth keeping for a while.

    Raises:
        ExplanationError: If a target does not depend on a layer, or only through tokens that have no place.
    """
    once = partial(_probe_once, model, inputs, targets, rescore=rescore, curved=curved, rival=rival)
    if rescore is None and not curved and keep:
        once = partial(_probe_kept, model, inputs, targets, once, rival=rival)
    if list(names) == [AUTOMATIC]:
        return _probe_automatically(model, inputs, targets, once)
    found, reach = once(names)
    if unreached := [name for name in found.answer.layers if not reach.places(name)]:
        raise ExplanationError(
            f"Only tokens without a place reach the target from layer '{unreached[0]}'; choose a layer before it, or "
            "leave it to be chosen."
        )
    return found


def automatic_layer(model: Model, inputs: Tensor, targets: Sequence[Target], *, every: bool = False) -> AutomaticLayer:
    """The last layer whose places reach the targets, found on one input; before any unit that one of them names.

    Of an embedding that is the mean over a layer's places it is that layer. The model remembers it, unless there are
    units or embeddings of a layer.

    Args:
        model: The network, undisturbed.
        inputs: ``(N, C, H, W)``.
        targets: Of the first of them.
        every: Find it on every input.
    """
    some = inputs if model.fixed_batch or every else inputs[:1]
    some_targets = targets[: len(some)]
    watch = watched_layers(targets)
    if not watch:
        key = _question_key(some, some_targets)
        if key not in model.automatic_layers or model.detecting:
            try:
                probe(model, [AUTOMATIC], some, some_targets)
            except ExplanationError:  # no gradient at all: whoever needs none takes the last layer with places
                layers = model.layers_on(size_of(inputs))
                if not any(layer.spatial for layer in layers.values()):
                    raise
                return AutomaticLayer(layers.last_spatial().name, reached=False)
            except NowhereError:
                if not all(isinstance(target, TopClass) for target in some_targets):
                    raise
                last = model.layers_on(size_of(inputs)).last_run_once()
                return AutomaticLayer(last.name, reached=False, detected=False)
        return model.automatic_layers[key]
    layers = model.layers_on(size_of(inputs))
    if len(watch) == 1 and _is_averaged(layers, watch[0], targets):
        return AutomaticLayer(watch[0])
    until = [entrance(layers, name) for name in watch]
    with capture(model.module, [AUTOMATIC], watch, until) as caught:
        logits = model.answer(some, some_targets)[: len(some_targets)]
        scores = score(settle(some_targets, logits, model.labels, model.head), logits, caught)
        beside = caught.beside(scores)
        reach = Reach(caught.gradients(scores, unused=True), caught.arrangements, beside)
    first = AutomaticLayer(str(caught.automatic), beside)
    return _choose_reached(model, first, reach, some, some_targets, before=first.name)


def _is_averaged(layers: Layers, name: str, targets: Sequence[Target]) -> bool:
    """Whether all targets are of one embedding that is the mean over places of a layer."""
    return layers[split_call(name)[0]].spatial and all(isinstance(target, Similar) for target in targets)


@dataclass(frozen=True)
class Reach:
    """The gradients that reached some layers, where those keep their places, and what reached the target past them."""

    gradients: Mapping[str, Tensor]
    arrangements: Mapping[str, Arrangement | None]
    beside: tuple[str, ...] = ()

    def places(self, name: str) -> bool:
        """Whether a layer's places reach the targets, and not only the tokens before them."""
        return reaches_places(self.gradients.get(name), self.arrangements[name])

    def rows(self, name: str, count: int) -> list[bool]:
        """Whose target's gradient is not zero at all places of a layer."""
        return rows_reached(self.gradients.get(name), self.arrangements[name], count)


Answered: TypeAlias = "tuple[Probe, Reach]"
Once: TypeAlias = Callable[[Sequence[str]], Answered]


def _probe_automatically(model: Model, inputs: Tensor, targets: Sequence[Target], once: Once) -> Probe:
    """The probe at the last layer whose places reach the targets, which the model remembers."""
    question, size = _question_key(inputs, targets), _size_key(inputs)
    known = model.automatic_layers.get(question) or model.automatic_layers.get(size)
    if known is not None and not watched_layers(targets) and not model.detecting:
        found, reach = once([known.name])
        if all(reach.rows(known.name, len(targets))):
            model.remember_automatic_layer(question, known)
            return _with_choice(found, known)
    found, reach = once([AUTOMATIC])
    first = AutomaticLayer(found.answer.layers[0], reach.beside)
    chosen = None
    if is_dense(found.answer.logits) and not watched_layers(targets):
        chosen = find_bottleneck(model, inputs, targets, classes=found.answer.logits.shape[1])
    if any(isinstance(target, DetectionTarget) for target in found.answer.targets):
        chosen = find_read(model, inputs, found.answer.targets)
    chosen = chosen or _choose_reached(model, first, reach, inputs, targets)
    if chosen != first:
        found, _ = once([chosen.name])
    if not watched_layers(targets):
        if chosen == first and all(reach.rows(first.name, len(targets))):
            model.remember_automatic_layer(size, chosen)
        model.remember_automatic_layer(question, chosen)
    return _with_choice(found, chosen)


def _with_choice(found: Probe, chosen: AutomaticLayer) -> Probe:
    return replace(found, answer=replace(found.answer, checks=(*chosen.describe(), *found.answer.checks)))


def _size_key(inputs: Tensor) -> tuple[object, ...]:
    """The size of the input, from which alone follows where a network's last layer with places is."""
    return tuple(inputs.shape[1:])


def _question_key(inputs: Tensor, targets: Sequence[Target]) -> tuple[object, ...]:
    """The size of the input and what is asked about, from which follows what of a network with branches is reached."""
    return (*_size_key(inputs), frozenset(targets))


def _choose_reached(
    model: Model,
    first: AutomaticLayer,
    reach: Reach,
    inputs: Tensor,
    targets: Sequence[Target],
    *,
    before: str | None = None,
) -> AutomaticLayer:
    """The layer itself if its places reach every target; otherwise the last that reaches more of them.

    Args:
        model: The network, undisturbed.
        first: The last layer with places.
        reach: What reached it.
        inputs: ``(N, C, H, W)``.
        targets: Of the first of them.
        before: Only layers that end before this one.

    Raises:
        ExplanationError: If there is none.
    """
    rows = reach.rows(first.name, len(targets))
    projected = _is_projected(model, first.name, reach)
    attended = _attended_layers(model, inputs, targets) if projected or not all(rows) else set()
    if all(rows) and first.name not in attended:
        return first
    asked = list(range(len(targets))) if model.fixed_batch else _telling_rows(rows)
    some = inputs if model.fixed_batch else inputs[asked]
    kept = [targets[row] for row in asked]

    gradients = gradients_at(model, some, kept)
    layers = model.layers_on(size_of(inputs))
    name, count = last_reached(layers, gradients, count=len(kept), before=before, last=attended)
    if name is not None and count > sum(rows[row] for row in asked if first.name not in attended):
        return AutomaticLayer(name)
    if reach.places(first.name):
        return first
    raise ExplanationError(
        f"No gradient of the target reaches a layer with places, '{first.name}' or any before: it does not depend on "
        "them, or the network runs what comes after them without gradients (quantised or compiled parts, say); "
        "ablationcam and occlusion need none."
    )


def _telling_rows(rows: Sequence[bool]) -> list[int]:
    """Some images that reached a layer and some that did not."""
    of_each = ([row for row, reached in enumerate(rows) if reached is kind][:ROWS] for kind in (False, True))
    return sorted(row for some in of_each for row in some)


def _is_projected(model: Model, name: str, reach: Reach) -> bool:
    """Whether a layer may be the queries, keys or values of tokens."""
    arrangement = reach.arrangements[name]
    part = hookable_parts(model.module).get(split_call(name)[0])
    return is_linear(part) and arrangement is not None and arrangement.tokens


def _attended_layers(model: Model, inputs: Tensor, targets: Sequence[Target]) -> set[str]:
    """Linear layers whose outputs are the queries, keys or values of an attention."""
    with torch.no_grad(), follow_products(model.module) as attended:
        model.answer(inputs if model.fixed_batch else inputs[:1], targets)
    return attended


def _probe_kept(
    model: Model, inputs: Tensor, targets: Sequence[Target], once: Once, names: Sequence[str], *, rival: bool
) -> Answered:
    """The probe, or the one that was made before; later layers hold nothing of the graph that led to them."""

    def ask() -> Answered:
        found, reach = once(names)
        return replace(found, activations=tuple(each.detach() for each in found.activations)), reach

    found, reach = kept_answer(model, inputs, LayerQuestion(tuple(names), tuple(targets), rival), ask)
    return found if rival else replace(found, rivals=(), rival_gradients=()), reach


def _probe_once(
    model: Model,
    inputs: Tensor,
    targets: Sequence[Target],
    names: Sequence[str],
    *,
    rescore: Rescore | None,
    curved: bool,
    rival: bool,
) -> Answered:
    """The probe of one forward, and which layers' places reached the targets."""
    count = len(targets)
    exact = sdpa_kernel(SDPBackend.MATH) if curved else nullcontext()
    with capture(model.module, names, watched_layers(targets)) as caught, exact:
        logits = model.answer(inputs, targets)[:count]
        settled = settle(targets, logits, model.labels, model.head)
        scores = score(settled, logits, caught)
        explained = scores if rescore is None else rescore(scores, logits, settled)
        rivals = _find_rivals(settled, logits, model.labels) if rival else []
        unused = caught.automatic is not None
        beside = caught.beside(explained)
        gradients = caught.gradients(explained, unused=unused, connected=curved, again=bool(rivals))
        curvatures = caught.curvatures(gradients) if curved else {}
        others = caught.gradients(score(rivals, logits, caught), unused=unused) if rivals else {}
    known = tuple(caught.activations)

    def maps(held: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        return tuple(caught.maps(name, held[name])[:count] for name in known if name in held)

    answer = Answer(known, (), logits.detach(), scores.detach(), tuple(settled), caught.checks)
    found = Probe(answer, maps(caught.activations), maps(gradients), maps(curvatures), tuple(rivals), maps(others))
    return found, Reach(gradients, dict(caught.arrangements), beside)


def _find_rivals(targets: Sequence[Target], logits: Tensor, labels: Sequence[str] | None) -> list[Target]:
    """For class targets the first class besides each; nothing where a target is no class or there is no other."""
    if logits.shape[1] < 2 or not all(isinstance(target, ClassTarget) for target in targets):
        return []
    best = logits.detach().topk(2, dim=1).indices.tolist()
    indices = [
        b if isinstance(target, ClassTarget) and target.index == a else a
        for target, (a, b) in zip(targets, best, strict=True)
    ]
    return [named_class(index, labels) for index in indices]
