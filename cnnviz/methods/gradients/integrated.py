"""Integrated gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt
from torch import Tensor

from cnnviz.core.target import Target, TargetLike
from cnnviz.engine.batching import in_slices
from cnnviz.images.reading import ImagesLike
from cnnviz.method import method
from cnnviz.methods.ask import Answer, attribute
from cnnviz.methods.gradients.input_gradients import input_gradients, settled_scores
from cnnviz.methods.occlusion.baselines import fill_with, parse_baselines
from cnnviz.models.model import Model
from cnnviz.results.attribution import Attributions, Channels

__all__ = ["integrated_gradients", "Integral", "integrated"]


@dataclass(frozen=True)
class Integral:
    """Attributions with their completeness.

    Attributes:
        values: ``(n, C, H, W)``.
        checks: How complete they are, and with how many steps.
    """

    values: Tensor
    checks: tuple[str, ...]


def integrated(
    model: Model,
    inputs: Tensor,
    baselines: Sequence[Tensor],
    clean: Answer,
    *,
    steps: int,
    tolerance: float,
    most: int,
    batch_size: int,
) -> Integral:
    """Integrate the score's gradient from baselines to inputs, doubling the steps where it is not complete.

    Args:
        model: The network, undisturbed.
        inputs: ``(N, C, H, W)``; only the first rows, as many as there are targets, count.
        baselines: Each ``(N, C, H, W)``; the mean over them is returned.
        clean: The inputs' settled targets and scores.
        steps: Points to begin with.
        tolerance: Completeness error up to which an image needs no more.
        most: Most points.
        batch_size: Most points at once.
    """
    path = _Path(model, inputs, baselines, clean, batch_size)
    count = len(clean.targets)
    values, error = path.integrate(list(range(count)), steps)
    taken = [steps] * count
    while rows := [row for row in range(count) if error[row] > tolerance and taken[row] * 2 <= most]:
        values[rows], error[rows] = path.integrate(rows, taken[rows[0]] * 2)
        for row in rows:
            taken[row] *= 2
    return Integral(values, tuple(dict.fromkeys([_verdict(error, taken, tolerance, most), *path.checks])))


class _Path:
    def __init__(
        self, model: Model, inputs: Tensor, baselines: Sequence[Tensor], clean: Answer, batch_size: int
    ) -> None:
        self._model, self._inputs, self._baselines, self._clean = model, inputs, baselines, clean
        self._size = batch_size
        empty = [settled_scores(model, each, clean.targets).scores for each in baselines]
        self._changes = clean.scores.double() - torch.stack(empty).double().mean(dim=0)
        self.checks: list[str] = []

    def integrate(self, rows: list[int], steps: int) -> tuple[Tensor, Tensor]:
        """Attributions ``(n, C, H, W)`` and completeness errors ``(n,)`` of some rows."""
        places, weights = (_precise(self._inputs[0]).new_tensor(each) for each in _gauss_legendre(steps))
        total: Tensor | float = 0.0
        for baseline in self._baselines:
            total = total + self._along(rows, baseline, places, weights) / len(self._baselines)
        assert isinstance(total, Tensor)
        change = self._changes[rows]
        missing = (total.double().flatten(1).sum(dim=1) - change).abs()
        error = torch.where(missing > 0, missing / change.abs().clamp_min(torch.finfo(torch.float64).tiny), missing)
        return total, error

    def _along(self, rows: list[int], baseline: Tensor, places: Tensor, weights: Tensor) -> Tensor:
        padded = list(range(len(self._inputs))) if self._model.fixed_batch else rows
        start, end = _precise(baseline[padded]), _precise(self._inputs[padded])
        targets = self._clean.targets if self._model.fixed_batch else [self._clean.targets[row] for row in rows]
        added = torch.zeros_like(end[: len(targets)])

        def ask(some: slice) -> None:
            points = torch.cat([start + place * (end - start) for place in places[some]]).to(self._inputs)
            (found,) = input_gradients(self._model, points, list(targets) * (some.stop - some.start)).values
            for weight, one in zip(weights[some], torch.split(found, len(targets)), strict=True):
                added.add_(weight * one)

        at_once = 1 if self._model.fixed_batch else max(1, self._size // len(padded))
        self.checks += in_slices(len(places), ask, size=at_once).checks
        values = added * (end - start)[: len(targets)]
        return values[rows] if self._model.fixed_batch else values


def _gauss_legendre(steps: int) -> tuple[list[float], list[float]]:
    """Places between 0 and 1, and weights that add up to 1."""
    places, weights = np.polynomial.legendre.leggauss(steps)
    return ((1 + places) / 2).tolist(), (weights / 2).tolist()


def _verdict(error: Tensor, taken: list[int], tolerance: float, most: int) -> str:
    steps = f"{min(taken)} to {max(taken)}" if min(taken) < max(taken) else f"{max(taken)}"
    said = f"completeness error at most {float(error.max()):.2g} of the score's change, with {steps} steps"
    left = int((error > tolerance).sum())
    return (
        f"{said}; still above {tolerance:g} for {left} of {len(taken)}, and {most} steps are the cap" if left else said
    )


def _precise(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


SHARE_BLURRED = 0.3


@method
def integrated_gradients(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    baseline: str = "mean",
    steps: Annotated[int, Ge(1)] = 50,
    tolerance: Annotated[float, Gt(0)] = 0.02,
    most_steps: Annotated[int, Ge(1)] = 400,
    seed: Annotated[int, Ge(0)] = 0,
    channels: Channels = "signed",
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Attributions:
    """What each pixel adds to the score on the way from an empty picture to this one (integrated gradients).

    With the input ``x``, a baseline ``b`` and the score ``y``, integrated by Gauss and Legendre's rule::

        values = (x - b) * integral over a from 0 to 1 of dy / dx at b + a (x - b)

    so that they add up to ``y(x) - y(b)``. By how much they do not is the completeness error, a share of that
    difference: where it is above the tolerance, the steps are doubled until it is not or there are ``most_steps``; the
    checks say which. Of several baselines the mean is taken. Steps are added up one group after another, so memory
    does not grow with their number.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        baseline: One or several with commas between: mean (0 after normalisation), black, noise, or blur (a Gaussian
            with a deviation of a tenth of the shorter side).
        steps: Points of the integral, to begin with.
        tolerance: Completeness error up to which no more steps are taken.
        most_steps: Points at which the doubling ends.
        seed: Of the noise, if it is a baseline.
        channels: How channels are drawn: the largest magnitude, the signed sum, or as colours; changes no value.
        batch_size: Most images, or points of them, at once; halved when memory runs out.

    Returns:
        Attributions ``(N, C, H, W)`` at the input's resolution, in units of the score.

    Raises:
        UnknownNameError: If there is no such label or baseline.
        ExplanationError: If the target does not depend on the picture.

    Reference:
        Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML 2017.
    """
    names = parse_baselines(baseline)
    many = max(steps, most_steps)

    def answer(inputs: Tensor, targets: Sequence[Target]) -> Answer:
        clean = settled_scores(model, inputs, targets)
        baselines = [_empty(model, inputs, name, seed) for name in names]
        found = integrated(
            model, inputs, baselines, clean, steps=steps, tolerance=tolerance, most=many, batch_size=batch_size
        )
        return clean.with_values(found.values, checks=found.checks)

    return attribute(model, images, target, answer, channels=channels, batch_size=batch_size, seed=seed)


def _empty(model: Model, inputs: Tensor, name: str, seed: int) -> Tensor:
    """A baseline for each of the inputs ``(N, C, H, W)``."""
    height, width = inputs.shape[-2:]
    everything = torch.ones(1, 1, height, width, device=inputs.device)
    side = round(SHARE_BLURRED * min(height, width))
    return torch.cat([fill_with(name, model, image, side=side, seed=seed)(everything) for image in inputs])
