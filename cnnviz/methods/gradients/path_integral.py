"""The integral of a score's gradient along the line from a baseline to the input, with its completeness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cnnviz.engine.batching import in_slices
from cnnviz.engine.capture import widen_half
from cnnviz.methods.ask import Answer
from cnnviz.methods.gradients.input_gradients import input_gradients, settled_scores
from cnnviz.methods.occlusion.baselines import BASELINES, fill_with, parse_baselines
from cnnviz.methods.prepare import prepare
from cnnviz.models.model import Model
from cnnviz.provenance import Caution

__all__ = ["Integral", "fill_inputs", "integrate", "parse_starts"]

SHARE_BLURRED = 0.3
"""Side of the window that a blur is made for, as a share of the shorter side."""


@dataclass(frozen=True)
class Integral:
    """Attributions with their completeness.

    Attributes:
        values: ``(n, C, H, W)``.
        checks: How complete they are, and with how many steps.
    """

    values: Tensor
    checks: tuple[str, ...]


def integrate(
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
    return Integral(values, tuple(dict.fromkeys([_state_completeness(error, taken, tolerance, most), *path.checks])))


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
        places, weights = (widen_half(self._inputs[0]).new_tensor(each) for each in _gauss_legendre(steps))
        total: Tensor | float = 0.0
        for baseline in self._baselines:
            total = total + self._integrate_line(rows, baseline, places, weights) / len(self._baselines)
        assert isinstance(total, Tensor)
        change = self._changes[rows]
        missing = (total.double().flatten(1).sum(dim=1) - change).abs()
        error = torch.where(missing > 0, missing / change.abs().clamp_min(torch.finfo(torch.float64).tiny), missing)
        return total, error

    def _integrate_line(self, rows: list[int], baseline: Tensor, places: Tensor, weights: Tensor) -> Tensor:
        padded = list(range(len(self._inputs))) if self._model.fixed_batch else rows
        start, end = widen_half(baseline[padded]), widen_half(self._inputs[padded])
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


def _state_completeness(error: Tensor, taken: list[int], tolerance: float, most: int) -> str:
    steps = f"{min(taken)} to {max(taken)}" if min(taken) < max(taken) else f"{max(taken)}"
    said = f"completeness error at most {float(error.max()):.2g} of the score's change, with {steps} steps"
    left = int((error > tolerance).sum())
    if not left:
        return said
    return Caution(f"{said}; still above {tolerance:g} for {left} of {len(taken)}, and {most} steps are the cap")


def parse_starts(text: str) -> tuple[str, ...]:
    """``"black,blur"`` as names, each once; a name may also be a picture file.

    Raises:
        UnknownNameError: If there is no such baseline or file; the message offers the nearest baselines.
        ParameterError: If there is none at all.
    """
    names = dict.fromkeys(name.strip() for name in text.split(",") if name.strip())
    files = [name for name in names if name not in BASELINES and Path(name).is_file()]
    rest = ",".join(name for name in names if name not in files)
    known = parse_baselines(rest) if rest or not files else ()
    return tuple(name for name in names if name in known or name in files)


def fill_inputs(model: Model, inputs: Tensor, name: str, seed: int) -> Tensor:
    """A baseline for each of the inputs ``(N, C, H, W)``, by its name or from a picture file.

    Raises:
        PictureError: If that cannot be read.
    """
    if name not in BASELINES:
        held = prepare(model, name, None).inputs.to(inputs)
        return held.expand_as(inputs).clone()
    everything = torch.ones(1, 1, *inputs.shape[2:], device=inputs.device)
    side = round(SHARE_BLURRED * min(inputs.shape[2:]))
    return torch.cat([fill_with(name, model, image, side=side, seed=seed)(everything) for image in inputs])
