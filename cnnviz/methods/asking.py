"""Asking a network chunk by chunk, and putting the answers together as heat maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.core.field import Field
from cnnviz.core.target import ClassTarget, NoTarget, Target
from cnnviz.methods.inputs import Batch, provenance_of
from cnnviz.models.model import Model
from cnnviz.probing.chunks import in_chunks
from cnnviz.probing.state import undisturbed
from cnnviz.probing.targets import class_probabilities
from cnnviz.results.heatmap import Heatmap
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["Answer", "ask_in_chunks", "heatmaps", "probabilities", "unsound"]

EVEN = 1e-6
"""A map whose values differ by no more than this share of the largest is the same everywhere."""


@dataclass(frozen=True)
class Answer:
    """What one chunk of images gave.

    Attributes:
        values: Maps ``(n, h, w)``, raw and signed.
        scores: ``(n,)``.
        probabilities: For each image the softmax probability of its target's class, or None.
        targets: The settled targets.
        layer: The layer that was looked at, or None.
        checks: What the user should know.
        field: What the values' places see of the input; None where they are pixels, or nothing is known.
    """

    values: Tensor
    scores: Tensor
    probabilities: tuple[float | None, ...]
    targets: tuple[Target, ...]
    layer: str | None
    checks: tuple[str, ...] = ()
    field: Field | None = None


def ask_in_chunks(
    model: Model, batch: Batch, ask: Callable[[Tensor, Sequence[Target]], Answer], *, batch_size: int, rectified: bool
) -> Heatmaps:
    """Ask about every image, some at a time, and put the answers together.

    Args:
        model: The network; ``ask`` runs while it is undisturbed.
        batch: Inputs, pictures and targets.
        ask: Called with inputs ``(n, C, H, W)`` and the targets of the first of them; the rest is padding.
        batch_size: Most images at once.
        rectified: Whether the method's definition keeps positive values only.
    """

    def ask_rows(inputs: Tensor, rows: slice) -> Answer:
        return ask(inputs, batch.targets[rows])

    with undisturbed(model.module):
        chunks = in_chunks(
            batch.inputs, ask_rows, size=batch_size, device=model.device, dtype=model.dtype, fixed=model.fixed_batch
        )
    return heatmaps(model, batch, chunks.results, chunk=chunks.size, checks=chunks.checks, rectified=rectified)


def heatmaps(
    model: Model, batch: Batch, answers: Sequence[Answer], *, chunk: int, checks: Sequence[str], rectified: bool
) -> Heatmaps:
    """The answers of all chunks as one result."""
    values = torch.cat([answer.values for answer in answers]).detach().float().cpu().numpy()
    scores = torch.cat([answer.scores for answer in answers]).detach().double().cpu().tolist()
    targets = [target for answer in answers for target in answer.targets]
    probable = [probability for answer in answers for probability in answer.probabilities]
    layer = answers[0].layer
    checks = [
        *unsound(_numbers(scores, targets, values), batch),
        *_even(values, batch),
        *batch.checks,
        *checks,
        *(each for answer in answers for each in answer.checks),
    ]
    said = tuple(dict.fromkeys(checks))
    provenance = provenance_of(model, batch, targets=tuple(str(target) for target in targets), layer=layer, chunk=chunk)
    about = layer, rectified, model.name, said
    maps = tuple(
        Heatmap(
            values[row],
            targets[row],
            scores[row],
            probable[row],
            picture,
            *about,
            provenance.only(row),
            field=answers[0].field,
        )
        for row, picture in enumerate(batch.pictures)
    )
    return Heatmaps(maps, said, provenance)


def _numbers(scores: Sequence[float], targets: Sequence[Target], values: NDArray[np.float32]) -> list[float]:
    """For each image a number that is finite where its answer is: the score, or the map's sum where there is none."""
    sums: list[float] = values.reshape(len(values), -1).sum(axis=1, dtype=np.float64).tolist()
    return [
        own if isinstance(target, NoTarget) else score for score, target, own in zip(scores, targets, sums, strict=True)
    ]


def _even(values: NDArray[np.float32], batch: Batch) -> tuple[str, ...]:
    """A warning that names the pictures whose map, though not zero, tells no place from another."""
    flat = values.reshape(len(values), -1)
    most = np.abs(flat).max(axis=1)
    with np.errstate(invalid="ignore"):
        same = (most > 0) & (np.ptp(flat, axis=1) <= EVEN * most)
    names = [picture.name for picture, one in zip(batch.pictures, same, strict=True) if one]
    if not names or flat.shape[1] == 1:
        return ()
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return (
        f"the map of {names[0]}{more} has the same value everywhere and tells no place from another; where it is of "
        "probabilities, these are full, and logits may differ",
    )


def probabilities(logits: Tensor, targets: Sequence[Target]) -> tuple[float | None, ...]:
    """Each image's softmax probability (sigmoid for a single logit) of its target's class; None for other targets."""
    shares = class_probabilities(logits.detach().double())
    return tuple(
        float(shares[row, target.index]) if isinstance(target, ClassTarget) else None
        for row, target in enumerate(targets)
    )


def unsound(scores: Sequence[float], batch: Batch) -> tuple[str, ...]:
    """A warning that names the pictures whose score is no finite number."""
    names = [picture.name for picture, score in zip(batch.pictures, scores, strict=True) if not math.isfinite(score)]
    if not names:
        return ()
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return (f"the network's answer to {names[0]}{more} is not finite: its weights or its input hold NaN or infinity",)
