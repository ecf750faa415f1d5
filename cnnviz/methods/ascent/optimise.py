"""Gradient ascent: some images at once, each with parameters, random draws and optimiser state of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.core.dimensions import Size, own_dims
from cnnviz.core.target import ClassTarget, Target
from cnnviz.engine.batching import part_of_progress
from cnnviz.engine.capture import differentiate
from cnnviz.engine.undisturbed import intact
from cnnviz.errors import ExplanationError
from cnnviz.methods.ascent.objective import Objective
from cnnviz.methods.ascent.parameterisation import ParameterisedImages
from cnnviz.methods.ascent.progress import AscentProgress, report_progress
from cnnviz.methods.ascent.recipes import Recipe, ViewTransform
from cnnviz.methods.ascent.views import draw_views

__all__ = ["Optimiser", "OptimisedImage", "ImageRequest", "generator_of"]

WAKING_STEPS = 16
SEED_BYTES = 8
TINY = 1e-12


@dataclass(frozen=True)
class ImageRequest:
    """One image that is to be optimised.

    Attributes:
        number: Which of the call's pictures it is.
        target: What it shows.
        repeat: How many pictures of the same target come before it.
    """

    number: int
    target: Target
    repeat: int = 0


@dataclass
class OptimisedImage:
    """One image, as far as its optimisation got.

    Attributes:
        request: What was asked for.
        pixels: ``(C, H, W)`` float32 in [0, 1], on the CPU; of signals and volumes their shares of the range that
            they can have.
        history: The score after every step.
        snapshots: Pixels on the way, ``(C, H, W)``, each with its step.
        ended: Why it ended before its last step; empty otherwise.
        interrupted: Whether that was an interrupt.
    """

    request: ImageRequest
    pixels: Tensor
    history: list[float] = field(default_factory=list)
    snapshots: list[tuple[int, NDArray[np.float32]]] = field(default_factory=list)
    ended: str = ""
    interrupted: bool = False


def generator_of(seed: int, request: ImageRequest, device: torch.device) -> torch.Generator:
    """Random numbers that depend on the seed and the target, and on nothing else in the call."""
    target = request.target
    name = f"class {target.index}" if isinstance(target, ClassTarget) else str(target)
    digest = hashlib.sha256(f"{seed}/{name}/{request.repeat}".encode()).digest()[:SEED_BYTES]
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "big") >> 1)


class Optimiser:
    """Gradient ascent on some images at once, whose targets are all of one layer, or of none.

    Args:
        objective: Scores their targets.
        images: Their parameters.
        requests: What they show.
        generators: Their random numbers.
        recipe: How to go about it.
        transform: How samples differ.
        normalise: From pixels in [0, 1] to the network's inputs.
        input_size: Height and width of the network's input.
        pictures: How many pictures there are in the whole call.
        patience: Steps over which the mean score has to grow; 0 for ever.
        keep: After which steps a snapshot is taken.
    """

    def __init__(
        self,
        objective: Objective,
        images: ParameterisedImages,
        requests: Sequence[ImageRequest],
        generators: Sequence[torch.Generator],
        *,
        recipe: Recipe,
        transform: ViewTransform,
        normalise: Any,
        input_size: Size,
        pictures: int,
        patience: int,
        keep: frozenset[int],
    ) -> None:
        self.objective, self.images, self.requests, self.generators = objective, images, requests, generators
        self.recipe, self.transform, self.normalise, self.input_size = recipe, transform, normalise, input_size
        self.pictures, self.patience, self.keep = pictures, patience, keep
        self.made = [OptimisedImage(request, torch.empty(0)) for request in requests]
        self.momentum = (
            torch.optim.Adam([images.parameters], lr=recipe.rate, foreach=False) if recipe.adaptive else None
        )
        self.done = 0

    def run(self) -> list[OptimisedImage]:
        """All steps, or until it is interrupted or no picture gets better.

        Raises:
            KeyboardInterrupt: If it is interrupted before the first step is over.
            ExplanationError: If a score is not finite, or does not depend on the picture.
        """
        self._take_snapshots()
        try:
            for step in range(self.recipe.steps):
                if all(each.ended for each in self.made):
                    break
                with part_of_progress(slice(step, step + 1), self.recipe.steps):
                    intact(partial(self._step, step))
        except KeyboardInterrupt:
            if not self.done:
                raise
            for each in self.made:
                each.interrupted = True
                each.ended = each.ended or f"interrupted after step {self.done} of {self.recipe.steps}"
        self._finish([each for each in self.made if not len(each.pixels)])
        return self.made

    def _step(self, step: int) -> None:
        recipe = self.recipe
        with torch.enable_grad():
            pictures = self.images.pictures(self.images.parameters)
            progress = step / max(1, recipe.steps - 1)
            samples = draw_views(
                pictures, self.transform, self.generators, count=recipe.crops, size=self.input_size, progress=progress
            )
            early = step < WAKING_STEPS
            means, gradient, dead = self._differentiate_scores(samples, again=early)
            if early and bool(dead.any()):
                means, gradient, _ = self._differentiate_scores(samples, waking=True)
        self._take_step(gradient, step)
        self.done = step + 1
        self._record(means.detach().double().tolist())

    def _differentiate_scores(
        self, samples: Tensor, *, waking: bool = False, again: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Each picture's mean score, the gradient of the parameters, and which samples got none."""
        scores = self.objective.scores(
            self.normalise(samples), [request.target for request in self.requests], waking=waking
        )
        means = scores.view(len(self.requests), -1).mean(dim=1)
        self._check_scores(means)
        gradient, reached = differentiate(means.sum(), [self.images.parameters, samples], again=again)
        if gradient is None or reached is None:
            raise ExplanationError("The target's score does not depend on the picture.")
        return means, gradient, ~reached.flatten(1).any(dim=1)

    def _check_scores(self, means: Tensor) -> None:
        if not means.requires_grad:
            raise ExplanationError("The target's score does not depend on the picture.")
        for request, finite in zip(self.requests, torch.isfinite(means).tolist(), strict=True):
            if not finite:
                raise ExplanationError(f"The score of '{request.target}' is not finite; full precision may help.")

    @torch.no_grad()
    def _take_step(self, gradient: Tensor, step: int) -> None:
        if self.momentum is None:
            rest = own_dims(gradient)
            size = gradient.square().mean(dim=rest, keepdim=True).sqrt()
            self.images.parameters.add_(gradient / (size + TINY) * self.recipe.rate)
        else:
            self.images.parameters.grad = -gradient
            self.momentum.step()
            self.images.parameters.grad = None
        self.images.regularise(step + 1)

    def _record(self, means: list[float]) -> None:
        for row, (each, score) in enumerate(zip(self.made, means, strict=True)):
            if each.ended:
                continue
            each.history.append(score)
            request, steps = each.request, self.recipe.steps
            draw = partial(self._draw_one, row)
            report_progress(
                AscentProgress(request.number, self.pictures, str(request.target), self.done, steps, score, draw)
            )
        self._take_snapshots()
        settled = [each for each in self.made if not each.ended and self._stopped_growing(each.history)]
        for each in settled:
            each.ended = f"stopped after step {self.done} of {self.recipe.steps}: no better for {self.patience} steps"
        self._finish(settled)

    def _stopped_growing(self, history: list[float]) -> bool:
        last = self.patience
        if not last or len(history) < 2 * last or len(history) == self.recipe.steps:
            return False
        return sum(history[-last:]) <= sum(history[-2 * last : -last])

    def _take_snapshots(self) -> None:
        if self.done in self.keep:
            pixels_now = self._draw()
            for each, pixels in zip(self.made, pixels_now, strict=True):
                if not each.ended:
                    each.snapshots.append((self.done, pixels.numpy()))

    def _finish(self, some: Sequence[OptimisedImage]) -> None:
        if not some:
            return
        for each, pixels in zip(self.made, self._draw(), strict=True):
            if any(each is one for one in some):
                each.pixels = pixels.clone()

    def _draw_one(self, row: int) -> NDArray[np.float32]:
        pixels: NDArray[np.float32] = self._draw()[row].numpy()
        return pixels

    @torch.no_grad()
    def _draw(self) -> Tensor:
        return self.images.pictures(self.images.parameters).clamp(0, 1).float().cpu()
