"""Effects: how far a change of pictures changes how probable a class is, and how often it is answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from cnnviz.engine.batching import in_chunks, usual_size
from cnnviz.engine.scores.score import class_probabilities
from cnnviz.errors import ExplanationError
from cnnviz.evaluation.statistics import bootstrap

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from cnnviz.models.model import Model

__all__ = ["Effect", "ask_probabilities", "effect_of"]


@dataclass(frozen=True)
class Effect:
    """How a change of pictures changes the probability of a class, paired by picture.

    Attributes:
        before: Its mean probability on the pictures as they are.
        after: On the changed ones.
        change: ``after - before``, -1 to 1.
        low: Lower end of the 95 % bootstrap interval of the change.
        high: Its higher end.
        answered_before: Share of the pictures answered as the class.
        answered_after: Likewise of the changed ones.
        count: How many pictures.
    """

    before: float
    after: float
    change: float
    low: float
    high: float
    answered_before: float
    answered_after: float
    count: int

    def describe(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def effect_of(before: NDArray[np.float64], after: NDArray[np.float64], index: int, *, seed: int = 0) -> Effect:
    """The effect of a change on a class.

    Args:
        before: ``(N, K)``: probabilities of all classes on the pictures as they are.
        after: ``(N, K)``: on the changed ones, in the same order.
        index: The class.
        seed: Of the bootstrap.
    """
    changes = after[:, index] - before[:, index]
    held = bootstrap(changes[:, None], seed=seed)
    return Effect(
        before=float(before[:, index].mean()),
        after=float(after[:, index].mean()),
        change=float(held.mean[0]),
        low=float(held.low[0]),
        high=float(held.high[0]),
        answered_before=float((before.argmax(axis=1) == index).mean()),
        answered_after=float((after.argmax(axis=1) == index).mean()),
        count=len(changes),
    )


def ask_probabilities(model: Model, inputs: Tensor, *, batch_size: int | None = None) -> NDArray[np.float64]:
    """Probabilities of all classes, ``(N, K)``.

    Args:
        model: The network, undisturbed.
        inputs: ``(N, C, H, W)``.
        batch_size: Most pictures at once.

    Raises:
        ExplanationError: If the network's answer is not one row of classes a picture.
    """

    def ask(some: Tensor, rows: slice) -> Tensor:
        with torch.no_grad():
            return model.forward(some)[: rows.stop - rows.start].double().cpu()

    size = batch_size or usual_size(model.device)
    chunks = in_chunks(inputs, ask, size=size, device=model.device, dtype=model.dtype, fixed=model.fixed_batch)
    logits = torch.cat(chunks.results)
    if logits.dim() != 2:
        raise ExplanationError("Shortcuts are looked for in classifiers: one row of classes for each picture.")
    return np.asarray(class_probabilities(logits, model.head).numpy(), np.float64)
