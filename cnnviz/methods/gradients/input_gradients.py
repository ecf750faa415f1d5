"""The gradient of a score with respect to the network's input, plain or by a rule; and over noisy copies of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from cnnviz.core.dimensions import own_dims
from cnnviz.core.target import Target, Unit
from cnnviz.engine.calls.cuts import CUT_OFF, NO_GRADIENT, CutsPassed
from cnnviz.engine.capture import capture, differentiate, widen_half
from cnnviz.engine.rules import Rule, ruled, unseen_parts
from cnnviz.engine.scores.score import at_peaks, score, settle, watched_layers
from cnnviz.errors import ExplanationError
from cnnviz.methods.ask import Answer
from cnnviz.models.model import Model

__all__ = ["Moments", "NoisyCopies", "input_gradients", "settled_scores"]

ONE_ACTIVATION = (
    "one activation of the unit is projected back (the largest of its map, unless a position is given); all others are "
    "set to zero"
)


def input_gradients(model: Model, inputs: Tensor, targets: Sequence[Target], rule: Rule | None = None) -> Answer:
    """Gradients ``(n, C, H, W)`` at the input, at least float32, by one forward and one backward.

    Under a rule the forward is compared with the plain one, and must be the same bit for bit. The deconvnet rule starts
    at a unit as its paper does: at one activation, by that activation itself.

    Args:
        model: The network, undisturbed.
        inputs: ``(N, C, H, W)``; only the first ``len(targets)`` of them count.
        targets: Targets, settled or not.
        rule: How gradients pass activation functions; None is their own derivative.

    Raises:
        ExplanationError: If a target does not depend on the input, the rule touches nothing or changes the forward, or
            the backward fails.
    """
    found = _ask_gradients(model, inputs, targets, rule)
    if found is None:
        with CutsPassed(everything=True):
            found = _ask_gradients(model, inputs, targets, rule)
        if found is None:
            raise ExplanationError(NO_GRADIENT)
        found = found.with_values(*found.values, checks=(CUT_OFF,))
    return found


def _ask_gradients(model: Model, inputs: Tensor, targets: Sequence[Target], rule: Rule | None) -> Answer | None:
    """The same, or None where no gradient comes to the input."""
    count = len(targets)
    with capture(model.module, [], watched_layers(targets)) as caught, torch.enable_grad():
        leaf = inputs.detach().clone().requires_grad_()
        with nullcontext() if rule is None else ruled(rule) as coverage:
            logits = model.answer(leaf, targets)
        settled = settle(targets, logits[:count], model.labels, model.head)
        if rule == "deconvnet":
            settled = at_peaks(settled, caught)
        scores = score(settled, logits[:count], caught)
        checks = (
            ()
            if coverage is None
            else (str(coverage), *_compare_forwards(model, inputs, targets, logits, coverage.rule))
        )
    if not scores.requires_grad:
        return None
    seeds = torch.ones_like(scores)
    if rule == "deconvnet" and any(isinstance(target, Unit) for target in targets):
        seeds = _seed_with_activations(settled, scores)
        checks = (*checks, ONE_ACTIVATION)
    (gradient,) = differentiate(scores, [leaf], seeds)
    if gradient is None:
        return None
    values = widen_half(gradient)[:count]
    return Answer((), (values,), logits[:count].detach(), scores.detach(), tuple(settled), checks)


def settled_scores(model: Model, inputs: Tensor, targets: Sequence[Target]) -> Answer:
    """The forward alone: targets settled and scored, with no values."""
    count = len(targets)
    with torch.no_grad(), capture(model.module, [], watched_layers(targets)) as caught:
        logits = model.answer(inputs, targets)[:count]
        settled = settle(targets, logits, model.labels, model.head)
        return Answer((), (), logits, score(settled, logits, caught), tuple(settled))


def _seed_with_activations(targets: Sequence[Target], scores: Tensor) -> Tensor:
    """What a deconvnet starts with: a unit's activation, which the rule rectifies; one for other targets."""
    units = torch.tensor([isinstance(target, Unit) for target in targets], device=scores.device)
    return torch.where(units, scores.detach().clamp_min(0), 1)


def _compare_forwards(
    model: Model, inputs: Tensor, targets: Sequence[Target], logits: Tensor, rule: Rule
) -> tuple[str, ...]:
    """Whether the forward under a rule is the plain forward; and what the rule cannot see in this network."""
    hidden = unseen_parts(model.module)
    checks = (f"scripted, so not seen by the rule: {', '.join(hidden)}",) if hidden else ()
    with torch.no_grad():
        plain = model.answer(inputs, targets)
    if not _equal_bits(plain, logits):
        plain = _forward_with_graph(model, inputs, targets)
    if _equal_bits(plain, logits):
        return ("verified: the rule leaves the forward pass unchanged, bit for bit", *checks)
    if not _equal_bits(plain, _forward_with_graph(model, inputs, targets)):
        return ("this network answers differently each time, so the rule's forward could not be checked", *checks)
    lost = float((plain - logits).detach().abs().max())
    raise ExplanationError(
        f"Under the {rule} rule this network answers differently, by up to {lost:.2g}; it does something with its "
        "activations that the rule does not keep, so there would be no telling what its map explains."
    )


def _forward_with_graph(model: Model, inputs: Tensor, targets: Sequence[Target]) -> Tensor:
    """The logits of a forward that keeps a graph, as the one under the rule does: torch may choose other kernels."""
    return model.answer(inputs.detach().clone().requires_grad_(), targets).detach()


def _equal_bits(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


class NoisyCopies:
    """Noisy copies of inputs ``(N, C, H, W)``: the same noise for every input, scaled to the input's range.

    Each copy has a seed of its own, so that which of them are made together changes nothing.
    """

    def __init__(self, inputs: Tensor, noise: float, seed: int, samples: int) -> None:
        self._inputs = widen_half(inputs)
        self._dtype = inputs.dtype
        each = own_dims(inputs)
        ranges = self._inputs.amax(dim=each, keepdim=True) - self._inputs.amin(dim=each, keepdim=True)
        self._deviations = noise * ranges
        self._seeds = torch.randint(2**31, (samples,), generator=torch.Generator().manual_seed(seed)).tolist()

    def of(self, some: slice) -> Tensor:
        """Copies ``(k * N, C, H, W)``, all inputs of the first copy first."""
        copies = [self._inputs + self._deviations * self._draw_noise(seed) for seed in self._seeds[some]]
        return torch.cat(copies).to(self._dtype)

    def _draw_noise(self, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(self._inputs.shape[1:], generator=generator).to(self._inputs)


class Moments:
    """Mean and variance of tensors like ``example``, met one after another, by Welford's recurrence."""

    def __init__(self, example: Tensor) -> None:
        dtype = example.dtype if example.dtype == torch.float64 else torch.float32
        self.mean = torch.zeros_like(example, dtype=dtype)
        self._squares = torch.zeros_like(self.mean)
        self._count = 0

    def add(self, one: Tensor) -> None:
        """Take in one more."""
        self._count += 1
        before = one - self.mean
        self.mean += before / self._count
        self._squares += before * (one - self.mean)

    @property
    def variance(self) -> Tensor:
        """Variance over all that was met (not of a larger population); never negative."""
        return self._squares / max(self._count, 1)
