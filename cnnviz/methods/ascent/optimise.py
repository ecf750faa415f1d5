"""The ascent itself: some pictures, each with numbers, random draws and optimiser states of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.core.target import ClassTarget, Target
from cnnviz.engine.batching import part_of_progress
from cnnviz.engine.capture import differentiate
from cnnviz.errors import ExplanationError
from cnnviz.methods.ascent.objective import Asked
from cnnviz.methods.ascent.parameterisation import Painting
from cnnviz.methods.ascent.progress import Moment, tell
from cnnviz.methods.ascent.recipes import Moves, Recipe, moved

__all__ = ["Climb", "Climbed", "Order", "generator_of"]

WAKING_STEPS = 16
SEED_BYTES = 8
TINY = 1e-12


@dataclass(frozen=True)
class Order:
    """One picture that is to be made.

    Attributes:
        number: Which of the call's pictures it is.
        target: What it shows.
        repeat: How many pictures of the same target come before it.
    """

    number: int
    target: Target
    repeat: int = 0


@dataclass
class Climbed:
    """One picture, as far as it got.

    Attributes:
        order: What was asked for.
        pixels: ``(C, H, W)`` float32 in [0, 1], on the CPU.
        history: The score after every step.
        snapshots: Pixels on the way, ``(C, H, W)``, each with its step.
        ended: Why it ended before its last step; empty otherwise.
        interrupted: Whether that was an interrupt.
    """

    order: Order
    pixels: Tensor
    history: list[float] = field(default_factory=list)
    snapshots: list[tuple[int, NDArray[np.float32]]] = field(default_factory=list)
    ended: str = ""
    interrupted: bool = False


def generator_of(seed: int, order: Order, device: torch.device) -> torch.Generator:
    """Random numbers that depend on the seed and the target, and on nothing else in the call."""
    target = order.target
    name = f"class {target.index}" if isinstance(target, ClassTarget) else str(target)
    digest = hashlib.sha256(f"{seed}/{name}/{order.repeat}".encode()).digest()[:SEED_BYTES]
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "big") >> 1)


class Climb:
    """An ascent of some pictures at once, whose targets are all of one layer, or of none.

    Args:
        asked: The network.
        painting: Their numbers.
        orders: What they show.
        generators: Their random numbers.
        recipe: How to go about it.
        moves: How samples differ.
        normalise: From pixels in [0, 1] to the network's inputs.
        input_size: Height and width of the network's input.
        pictures: How many pictures there are in the whole call.
        patience: Steps over which the mean score has to grow; 0 for ever.
        keep: After which steps a snapshot is taken.
    """

    def __init__(
        self,
        asked: Asked,
        painting: Painting,
        orders: Sequence[Order],
        generators: Sequence[torch.Generator],
        *,
        recipe: Recipe,
        moves: Moves,
        normalise: Any,
        input_size: tuple[int, int],
        pictures: int,
        patience: int,
        keep: frozenset[int],
    ) -> None:
        self.asked, self.painting, self.orders, self.generators = asked, painting, orders, generators
        self.recipe, self.moves, self.normalise, self.input_size = recipe, moves, normalise, input_size
        self.pictures, self.patience, self.keep = pictures, patience, keep
        self.climbed = [Climbed(order, torch.empty(0)) for order in orders]
        self.momentum = torch.optim.Adam([painting.numbers], lr=recipe.rate, foreach=False) if recipe.adaptive else None
        self.done = 0

    def run(self) -> list[Climbed]:
        """All steps, or until it is interrupted or no picture gets better.

        Raises:
            KeyboardInterrupt: If it is interrupted before the first step is over.
            ExplanationError: If a score is not finite, or does not depend on the picture.
        """
        self._snapshots()
        try:
            for step in range(self.recipe.steps):
                if all(each.ended for each in self.climbed):
                    break
                with part_of_progress(slice(step, step + 1), self.recipe.steps):
                    self._step(step)
        except KeyboardInterrupt:
            if not self.done:
                raise
            for each in self.climbed:
                each.interrupted = True
                each.ended = each.ended or f"interrupted after step {self.done} of {self.recipe.steps}"
        self._finish([each for each in self.climbed if not len(each.pixels)])
        return self.climbed

    def _step(self, step: int) -> None:
        recipe = self.recipe
        with torch.enable_grad():
            pictures = self.painting.pictures(self.painting.numbers)
            progress = step / max(1, recipe.steps - 1)
            samples = moved(
                pictures, self.moves, self.generators, count=recipe.crops, size=self.input_size, progress=progress
            )
            early = step < WAKING_STEPS
            means, gradient, dead = self._asked(samples, again=early)
            if early and bool(dead.any()):
                means, gradient, _ = self._asked(samples, waking=True)
        self._ascend(gradient, step)
        self.done = step + 1
        self._record(means.detach().double().tolist())

    def _asked(self, samples: Tensor, *, waking: bool = False, again: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Each picture's mean score, the gradient of the numbers, and which samples got none."""
        scores = self.asked.scores(self.normalise(samples), [order.target for order in self.orders], waking=waking)
        means = scores.view(len(self.orders), -1).mean(dim=1)
        self._check(means)
        gradient, reached = differentiate(means.sum(), [self.painting.numbers, samples], again=again)
        if gradient is None or reached is None:
            raise ExplanationError("The target's score does not depend on the picture.")
        return means, gradient, ~reached.flatten(1).any(dim=1)

    def _check(self, means: Tensor) -> None:
        if not means.requires_grad:
            raise ExplanationError("The target's score does not depend on the picture.")
        for order, finite in zip(self.orders, torch.isfinite(means).tolist(), strict=True):
            if not finite:
                raise ExplanationError(f"The score of '{order.target}' is not finite; full precision may help.")

    @torch.no_grad()
    def _ascend(self, gradient: Tensor, step: int) -> None:
        if self.momentum is None:
            rest = tuple(range(1, gradient.dim()))
            size = gradient.square().mean(dim=rest, keepdim=True).sqrt()
            self.painting.numbers.add_(gradient / (size + TINY) * self.recipe.rate)
        else:
            self.painting.numbers.grad = -gradient
            self.momentum.step()
            self.painting.numbers.grad = None
        self.painting.settle(step + 1)

    def _record(self, means: list[float]) -> None:
        for each, score in zip(self.climbed, means, strict=True):
            if each.ended:
                continue
            each.history.append(score)
            tell(Moment(each.order.number, self.pictures, str(each.order.target), self.done, self.recipe.steps, score))
        self._snapshots()
        settled = [each for each in self.climbed if not each.ended and self._settled(each.history)]
        for each in settled:
            each.ended = f"stopped after step {self.done} of {self.recipe.steps}: no better for {self.patience} steps"
        self._finish(settled)

    def _settled(self, history: list[float]) -> bool:
        last = self.patience
        if not last or len(history) < 2 * last or len(history) == self.recipe.steps:
            return False
        return sum(history[-last:]) <= sum(history[-2 * last : -last])

    def _snapshots(self) -> None:
        if self.done in self.keep:
            drawn = self._drawn()
            for each, pixels in zip(self.climbed, drawn, strict=True):
                if not each.ended:
                    each.snapshots.append((self.done, pixels.numpy()))

    def _finish(self, some: Sequence[Climbed]) -> None:
        if not some:
            return
        for each, pixels in zip(self.climbed, self._drawn(), strict=True):
            if any(each is one for one in some):
                each.pixels = pixels.clone()

    @torch.no_grad()
    def _drawn(self) -> Tensor:
        return self.painting.pictures(self.painting.numbers).clamp(0, 1).float().cpu()
