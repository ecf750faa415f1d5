"""Contributions to the change of a score between baselines and inputs, and how far they are from adding up to it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cnnviz.core.layer import AUTOMATIC
from cnnviz.core.target import Target
from cnnviz.engine.calls.cuts import CUT_OFF, NO_GRADIENT, CutsPassed
from cnnviz.engine.capture import capture, differentiate, widen_half
from cnnviz.engine.rules import unseen_parts
from cnnviz.engine.scores.score import score, settle, watched_layers
from cnnviz.engine.secants.pairs import Pairs, paired
from cnnviz.engine.secants.rescale import rescale
from cnnviz.errors import ExplanationError
from cnnviz.methods.ask import Answer
from cnnviz.methods.cams.probe import automatic_layer
from cnnviz.methods.gradients.path_integral import fill_inputs
from cnnviz.models.model import Model
from cnnviz.provenance import Caution

__all__ = ["contribute"]

SHOWN = 0.01
"""A residue beyond this share of the score's change is said in the figure."""


def contribute(
    model: Model,
    inputs: Tensor,
    targets: Sequence[Target],
    starts: Sequence[str],
    names: Sequence[str],
    *,
    seed: int,
    exact: bool,
) -> Answer:
    """Contributions of pixels ``(n, C, H, W)``, or of layers' units summed over channels ``(n, h, w)``.

    Args:
        model: The network, undisturbed.
        inputs: ``(N, C, H, W)``; only the first ``len(targets)`` of them count.
        targets: Targets, settled or not.
        starts: Baselines, by name or as picture files; the mean over them is returned.
        names: Layers, or only ``"last-spatial"``; none for the pixels.
        seed: Of noise, where that is a baseline.
        exact: Whether norms are taken apart, or keep the input's scale.

    Raises:
        ExplanationError: If a target does not depend on what is asked about, or nothing of how can be followed.
    """
    checks: tuple[str, ...] = ()
    if list(names) == [AUTOMATIC]:
        chosen = automatic_layer(model, inputs, targets)
        names, checks = [chosen.name], chosen.describe()
    found = []
    settled = targets
    for start in starts:
        baseline = fill_inputs(model, inputs, start, seed)
        found.append(_ask_either_way(model, inputs, settled, baseline, names, exact=exact))
        settled = found[-1].answer.targets
    values = tuple(torch.stack(each).mean(dim=0) for each in zip(*(one.answer.values for one in found), strict=True))
    said = [*checks, *(check for one in found for check in one.answer.checks), *_say_residues(model, found)]
    return replace(found[0].answer, values=values, layers=tuple(names), checks=tuple(dict.fromkeys(said)))


@dataclass(frozen=True)
class _Contributions:
    """What was found from one baseline.

    Attributes:
        answer: Values for each layer or of the pixels, logits, scores and settled targets.
        sums: ``(n,)`` float64: what the contributions add up to, of one layer or the pixels.
        changes: ``(n,)`` float64: the scores less the baseline's.
        lost: Functions that were not followed.
        pathwise: Functions without a rule of their own, which are integrated along a path.
        selected: Functions whose selection was the picture's for the baseline too.
    """

    answer: Answer
    sums: Tensor
    changes: Tensor
    lost: tuple[str, ...]
    pathwise: tuple[str, ...]
    selected: tuple[str, ...]


def _ask_either_way(
    model: Model, inputs: Tensor, targets: Sequence[Target], baseline: Tensor, names: Sequence[str], *, exact: bool
) -> _Contributions:
    """As the network runs; where it cuts gradients off on the way to the pixels, with the cuts passed over."""
    found = _ask(model, inputs, targets, baseline, names, exact=exact)
    if found is None:
        with CutsPassed(everything=True):
            found = _ask(model, inputs, targets, baseline, names, exact=exact)
        if found is None:
            raise ExplanationError(NO_GRADIENT)
        found = replace(found, answer=replace(found.answer, checks=(*found.answer.checks, CUT_OFF)))
    return found


def _ask(
    model: Model, inputs: Tensor, targets: Sequence[Target], baseline: Tensor, names: Sequence[str], *, exact: bool
) -> _Contributions | None:
    """One forward of inputs and baseline together, and one backward; None where no gradient comes to the input."""
    count = len(targets)
    leaf = inputs.detach().clone().requires_grad_(not names)
    with capture(model.module, names, watched_layers(targets)) as caught:
        with nullcontext() if names else torch.enable_grad(), paired(rescale, leaf, baseline, exact=exact) as pairs:
            logits = model.answer(leaf, targets)[:count]
            settled = settle(targets, logits, model.labels, model.head)
            scores = score(settled, logits, caught)
        if not names and not scores.requires_grad:
            return None
        held = caught.activations if names else {"": leaf}
        multipliers = caught.gradients(scores) if names else _differentiate(scores, leaf)
    if not pairs.has(scores):
        raise ExplanationError(_cannot_follow(model, pairs))
    values = []
    for name, tensor in held.items():
        change = widen_half(tensor.detach()) - widen_half(pairs.twin(tensor))
        parts = widen_half(multipliers[name]) * change
        values.append(caught.maps(name, parts)[:count] if name else parts[:count])
    changes = (scores.detach().double() - pairs.twin(scores).double())[:count]
    sums = values[0].double().flatten(1).sum(dim=1)
    shown = tuple(each.sum(dim=1) for each in values) if names else tuple(values)
    checks = caught.checks
    answer = Answer((), shown, logits.detach(), scores.detach(), tuple(settled), checks)
    return _Contributions(answer, sums, changes, tuple(pairs.lost), tuple(pairs.pathwise), tuple(pairs.selected))


def _differentiate(scores: Tensor, leaf: Tensor) -> dict[str, Tensor]:
    (gradient,) = differentiate(scores, [leaf], torch.ones_like(scores))
    return {"": torch.zeros_like(leaf) if gradient is None else gradient}


def _cannot_follow(model: Model, pairs: Pairs) -> str:
    scripted = unseen_parts(model.module)
    where = f"in scripted parts ({', '.join(scripted)})" if scripted else "in code that is not torch's functions"
    at = f", before '{next(iter(pairs.lost))}'" if pairs.lost else ""
    return (
        f"The score comes from the picture by a way that deeplift cannot follow, {where}{at}; use integrated-gradients."
    )


def _say_residues(model: Model, found: Sequence[_Contributions]) -> list[str]:
    """How far contributions are from adding up, in the figure where that is much."""
    sums = torch.stack([one.sums for one in found]).mean(dim=0)
    changes = torch.stack([one.changes for one in found]).mean(dim=0)
    missing = (sums - changes).abs()
    error = torch.where(missing > 0, missing / changes.abs().clamp_min(torch.finfo(torch.float64).tiny), missing)
    most = float(error.max())
    said = f"contributions add up to the score's change within {most:.2g} of it"
    if len(found[0].answer.values) > 1:
        said = f"contributions of the first layer add up to the score's change within {most:.2g} of it"
    lost = sorted({name for one in found for name in one.lost})
    scripted = unseen_parts(model.module)
    notes: list[str] = [Caution(f"not followed, so left out of the contributions: {', '.join(lost)}")] if lost else []
    paths = sorted({name for one in found for name in one.pathwise})
    notes += [f"without a rule, so integrated by 16 points: {', '.join(paths)}"] if paths else []
    selecting = any(one.selected for one in found)
    notes += ["of the baseline the same boxes and places are looked at as of the picture"] if selecting else []
    notes += [f"scripted, so not followed: {', '.join(scripted)}"] if scripted else []
    if most > SHOWN:
        return [Caution(f"contributions do not add up: {most:.2g} of the score's change is missing"), *notes]
    return [said, *notes]
