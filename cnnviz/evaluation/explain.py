"""A method asked for maps, once more and on changed pictures; targets that stay the same then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.core.dimensions import size_of
from cnnviz.engine.scores.score import settle
from cnnviz.errors import UsageError
from cnnviz.method import MOST_SEED
from cnnviz.methods.ask import ask
from cnnviz.methods.prepare import InputBatch, prepare

if TYPE_CHECKING:
    from cnnviz.core.sample import Sample
    from cnnviz.core.target import Target, TargetLike
    from cnnviz.evaluation.metric import Explain
    from cnnviz.models.model import Model

__all__ = ["BATCH", "ask_maps", "next_seed", "pixel_unit", "settled_batch"]

BATCH = 32
APART = 1_000_003
"""Between the seeds of two questions, so that no picture of one gets the random numbers of another's."""


def settled_batch(model: Model, pictures: Sequence[Sample] | Tensor, target: TargetLike) -> InputBatch:
    """Pictures and targets as a batch whose targets are settled: each picture's top class is named.

    So a picture that is changed, or a network, is asked about the same class.

    Args:
        model: The network.
        pictures: Pictures, or inputs ``(N, C, H, W)``.
        target: Any accepted form of target; None for the top class of each picture.
    """
    batch = prepare(model, pictures, target)

    def answer(inputs: Tensor, targets: Sequence[Target]) -> list[Target]:
        with torch.no_grad():
            logits = model.answer(inputs, targets)[: len(targets)]
        return settle(targets, logits, model.labels, model.head)

    chunks = ask(model, batch, answer, batch_size=BATCH)
    return replace(batch, targets=tuple(each for some in chunks.results for each in some))


def ask_maps(
    explain: Explain, model: Model, pictures: Sequence[Sample] | Tensor, targets: Sequence[Target], seed: int
) -> NDArray[np.float32]:
    """The maps ``(N, H, W)`` of a method; NaN where it gives no number.

    Args:
        explain: The method.
        model: The network.
        pictures: Pictures, or inputs ``(N, C, H, W)``.
        targets: One a picture.
        seed: Of whatever the method draws at random.

    Raises:
        UsageError: If it gives anything but one map a picture.
    """
    maps = np.asarray(explain(model, pictures, list(targets), seed), dtype=np.float32)
    if maps.shape != (len(targets), *maps.shape[-2:]):
        raise UsageError(
            f"A method gave values of shape {maps.shape} for {len(targets)} pictures; expected one map each, (N, H, W)."
        )
    if isinstance(pictures, Tensor) and maps.shape[1:] != size_of(pictures):
        expected = (len(targets), *size_of(pictures))
        raise UsageError(f"A method gave maps of shape {maps.shape}; expected {expected}, the size of its input.")
    return maps


def next_seed(seed: int, step: int) -> int:
    """The seed of a later question: what a method draws at random is drawn anew whenever it is asked again.

    Args:
        seed: Of the first question, whose step is 0.
        step: Which question it is.
    """
    return (seed + APART * step) % (MOST_SEED + 1)


def pixel_unit(model: Model) -> Tensor:
    """How much of the network's input is 1.0 of a pixel in 0..1: ``(C, 1, 1)``, one over the standard deviation.

    Args:
        model: The network.
    """
    _, std = model.preprocess.columns(torch.float32)
    return 1 / std
