"""One gradient question: the activations of some layers and the target's gradients there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from cnnviz.core.layer import AUTOMATIC, Arrangement
from cnnviz.core.target import ClassTarget, Target
from cnnviz.engine.capture import capture
from cnnviz.engine.layers import entrance, last_reached, observe_layers, reaches_places
from cnnviz.engine.scores import score, settle, watched_layers
from cnnviz.errors import ExplanationError
from cnnviz.methods.ask import Answer
from cnnviz.models.model import Model

__all__ = ["Probe", "automatic_layer", "probe"]

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

    Raises:
        ExplanationError: If a target does not depend on a layer, or only through tokens that have no place.
    """
    automatic = list(names) == [AUTOMATIC]
    watch = watched_layers(targets)
    shape = tuple(inputs.shape[1:])
    if automatic and not watch and shape in model.automatic_layers:
        names = [model.automatic_layers[shape]]
    once = partial(_probe_once, model, inputs, targets, rescore=rescore, curved=curved, rival=rival)
    found, unreached = once(names)
    if unreached and not automatic:
        raise ExplanationError(
            f"Only tokens without a place reach the target from layer '{unreached[0]}'; leave the layer to be chosen."
        )
    if unreached:
        reached = _find_earlier_layer(model, unreached[0], inputs, targets)
        found, _ = once([reached])
    if automatic and not watch:
        model.remember_automatic_layer(shape, found.answer.layers[0])
    return found


def automatic_layer(model: Model, inputs: Tensor, targets: Sequence[Target]) -> str:
    """The last layer whose places reach the targets, found on one input; before any unit that one of them names.

    The model remembers it, unless there are units.
    """
    shape, watch = tuple(inputs.shape[1:]), watched_layers(targets)
    some = inputs if model.fixed_batch else inputs[:1]
    if watch:
        some_targets = targets[: len(some)]
        layers = model.layers_on((inputs.shape[-2], inputs.shape[-1]))
        until = [entrance(layers, name) for name in watch]
        with capture(model.module, [AUTOMATIC], watch, until) as caught:
            logits = model.answer(some, some_targets)[: len(some_targets)]
            scores = score(settle(some_targets, logits, model.labels), logits, caught)
            gradients = caught.gradients(scores, unused=True)
        found = str(caught.automatic)
        if reaches_places(gradients.get(found), caught.arrangements[found]):
            return found
        return _find_earlier_layer(model, found, some, some_targets)
    if shape in model.automatic_layers:
        return model.automatic_layers[shape]
    try:
        return probe(model, [AUTOMATIC], some, targets[: len(some)]).answer.layers[0]
    except ExplanationError:  # no gradient at all: whoever needs none takes the last layer with places
        layers = model.layers_on((inputs.shape[-2], inputs.shape[-1]))
        if not any(layer.spatial for layer in layers.values()):
            raise
        return layers.last_spatial().name


def _probe_once(
    model: Model,
    inputs: Tensor,
    targets: Sequence[Target],
    names: Sequence[str],
    *,
    rescore: Rescore | None,
    curved: bool,
    rival: bool,
) -> tuple[Probe, list[str]]:
    """The probe of one forward, and those layers whose places do not reach the target."""
    count = len(targets)
    exact = sdpa_kernel(SDPBackend.MATH) if curved else nullcontext()
    with capture(model.module, names, watched_layers(targets)) as caught, exact:
        logits = model.answer(inputs, targets)[:count]
        settled = settle(targets, logits, model.labels)
        scores = score(settled, logits, caught)
        explained = scores if rescore is None else rescore(scores, logits, settled)
        rivals = _find_rivals(settled, logits, model.labels) if rival else []
        unused = caught.automatic is not None
        gradients = caught.gradients(explained, unused=unused, connected=curved, again=bool(rivals))
        curvatures = caught.curvatures(gradients) if curved else {}
        others = caught.gradients(score(rivals, logits, caught), unused=unused) if rivals else {}
    known = tuple(caught.activations)

    def maps(held: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        return tuple(caught.maps(name, held[name])[:count] for name in known if name in held)

    answer = Answer(known, (), logits.detach(), scores.detach(), tuple(settled), caught.checks)
    found = Probe(answer, maps(caught.activations), maps(gradients), maps(curvatures), tuple(rivals), maps(others))
    return found, [name for name in known if not reaches_places(gradients.get(name), caught.arrangements[name])]


def _find_rivals(targets: Sequence[Target], logits: Tensor, labels: Sequence[str] | None) -> list[Target]:
    """For class targets the first class besides each; nothing where a target is no class or there is no other."""
    if logits.shape[1] < 2 or not all(isinstance(target, ClassTarget) for target in targets):
        return []
    best = logits.detach().topk(2, dim=1).indices.tolist()
    indices = [
        b if isinstance(target, ClassTarget) and target.index == a else a
        for target, (a, b) in zip(targets, best, strict=True)
    ]
    return [ClassTarget(index, labels[index] if labels else None) for index in indices]


def _find_earlier_layer(model: Model, unreached: str, inputs: Tensor, targets: Sequence[Target]) -> str:
    one = inputs if model.fixed_batch else inputs[:1]
    kept = targets[: len(one)]

    def gradients(names: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Arrangement | None]]:
        with capture(model.module, names, watched_layers(kept)) as held:
            logits = model.answer(one, kept)[: len(kept)]
            scores = score(settle(kept, logits, model.labels), logits, held)
            return held.gradients(scores, unused=True), held.arrangements

    return last_reached(observe_layers(model.module, one), unreached, gradients)
