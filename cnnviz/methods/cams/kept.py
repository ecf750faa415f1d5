"""Answers about layers, kept while several methods look at the same pictures one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import torch
from torch import Tensor

from cnnviz.core.change import contextmanager, undoing

if TYPE_CHECKING:
    from cnnviz.core.target import Target
    from cnnviz.methods.cams.probe import Answered
    from cnnviz.models.model import Model

__all__ = ["KeptAnswers", "LayerQuestion", "keeping_answers", "kept_activations", "kept_answer"]

MOST_BYTES: Final = 512 * 2**20
"""Kept at most; the oldest answers are let go."""


class LayerQuestion(NamedTuple):
    """What is asked about the activations and gradients of layers.

    Attributes:
        names: Layers.
        targets: One for each picture.
        rival: Whether the first class besides each target is asked about, too.
    """

    names: tuple[str, ...]
    targets: tuple[Target, ...]
    rival: bool = False

    def within(self, other: LayerQuestion) -> bool:
        """Whether the other's answer has all that is asked here."""
        return self._replace(rival=other.rival) == other and self.rival <= other.rival


@dataclass(frozen=True)
class _Kept:
    model: Model
    weights: str
    inputs: Tensor
    question: LayerQuestion
    answered: Answered
    seconds: float

    def is_about(self, model: Model, weights: str, inputs: Tensor) -> bool:
        """Whether it is of that network, with those weights, and of those values."""
        own = self.inputs
        alike = own.shape == inputs.shape and own.dtype == inputs.dtype and own.device == inputs.device
        return self.model is model and self.weights == weights and alike and bool(torch.equal(own, inputs))

    @property
    def size(self) -> int:
        """In bytes."""
        found = self.answered[0]
        held = [self.inputs, *found.activations, *found.gradients, *found.rival_gradients]
        return sum(each.numel() * each.element_size() for each in held)


@dataclass
class KeptAnswers:
    """Answers that are kept, the latest at the end, and what they have spared.

    Attributes:
        forwards: Inputs that did not go through the network again.
        seconds: What these took the first time.
    """

    forwards: int = 0
    seconds: float = 0.0
    _held: list[_Kept] = field(default_factory=list, repr=False)

    def find(
        self, model: Model, weights: str, inputs: Tensor, fits: Callable[[LayerQuestion], bool]
    ) -> Answered | None:
        """The latest answer about these inputs to a question that fits, or None.

        Args:
            model: The network.
            weights: The fingerprint of its weights.
            inputs: ``(N, C, H, W)``.
            fits: Whether a question's answer will do.
        """
        for held in reversed(self._held):
            if fits(held.question) and held.is_about(model, weights, inputs):
                self.forwards, self.seconds = self.forwards + len(inputs), self.seconds + held.seconds
                return held.answered
        return None

    def keep(self, kept: _Kept) -> None:
        """One answer more; the oldest go where they are too large together."""
        self._held.append(kept)
        while sum(each.size for each in self._held) > MOST_BYTES:
            self._held.pop(0)


_KEPT: ContextVar[KeptAnswers | None] = ContextVar("kept_answers", default=None)


@contextmanager
def keeping_answers() -> Iterator[KeptAnswers]:
    """Inside, what was asked about a layer before, on the same values, is not asked again.

    Answers are kept up to 512 MiB and let go at the end; one context inside another has the other's.
    """
    outer = _KEPT.get()
    if outer is not None:
        yield outer
        return
    kept = KeptAnswers()
    token = _KEPT.set(kept)
    with undoing(lambda: _KEPT.reset(token) if _KEPT.get() is kept else None):
        yield kept


def kept_answer(model: Model, inputs: Tensor, question: LayerQuestion, ask: Callable[[], Answered]) -> Answered:
    """The answer to a question: the kept one, or that of asking, which is kept inside ``keeping_answers``.

    Args:
        model: The network, undisturbed.
        inputs: ``(N, C, H, W)``.
        question: What is asked.
        ask: Asks it.
    """
    held = _KEPT.get()
    if held is None:
        return ask()
    weights = model.fingerprint()
    found = held.find(model, weights, inputs, question.within)
    if found is not None:
        return found
    start = time.perf_counter()
    answered = ask()
    seconds = time.perf_counter() - start
    held.keep(_Kept(model, weights, inputs.detach().clone(), question, answered, seconds))
    return answered


def kept_activations(model: Model, inputs: Tensor, names: tuple[str, ...]) -> Answered | None:
    """A kept answer about layers, whatever target was asked about; None where there is none.

    Args:
        model: The network, undisturbed.
        inputs: ``(N, C, H, W)``.
        names: The layers.
    """
    held = _KEPT.get()
    if held is None:
        return None
    return held.find(model, model.fingerprint(), inputs, lambda question: question.names == names)
