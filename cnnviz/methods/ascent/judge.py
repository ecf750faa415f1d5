"""What another network says to a picture that was made for this one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cnnviz.core.dimensions import KINDS, PICTURE, count_places
from cnnviz.core.picture import LUMA
from cnnviz.core.target import ClassTarget, Target
from cnnviz.engine.batching import in_chunks
from cnnviz.engine.scores.score import class_probabilities
from cnnviz.engine.undisturbed import undisturbed
from cnnviz.errors import ParameterError
from cnnviz.models.model import Model

__all__ = ["Opinion", "same_class"]


class Opinion:
    """A second network's classes, found by the names that the first one gives them.

    Args:
        judge: The second network.
        labels: The first one's class names.

    Attributes:
        notes: Why it has no opinion on a target, each said once.
    """

    def __init__(self, judge: Model, labels: Sequence[str] | None) -> None:
        self.judge = judge
        self.notes: dict[str, None] = {}
        self._labels = labels

    def of(self, inputs: Tensor, target: Target) -> dict[str, Any]:
        """Its probability and rank for the target's class, and the class it puts first; nothing of other targets.

        Args:
            inputs: The clean picture as the judge's input, ``(1, C, h, w)``.
            target: What the picture shows.
        """
        if not isinstance(target, ClassTarget):
            return {}
        own = same_class(target, self._labels, self.judge.labels)
        if own is None:
            self.notes[f"{self.judge.name} has no class '{target}', and so no opinion on it"] = None
            return {}
        logits = self._ask(inputs)
        first = int(logits.argmax())
        return {
            "judge": self.judge.name,
            "judge_probability": float(class_probabilities(logits[None], self.judge.head)[0, own]),
            "judge_rank": int((logits > logits[own]).sum()) + 1,
            "judge_first": self.judge.labels[first] if self.judge.labels else f"class {first}",
        }

    def channels(self, canvas: Tensor) -> Tensor:
        """A picture ``(C, H, W)`` (a signal, a volume) with as many channels as the judge takes.

        Raises:
            ParameterError: If neither of the two is grey, or the judge takes inputs of another kind.
        """
        wanted, places = self.judge.preprocess.channels, count_places(canvas[None].shape)
        if places != self.judge.places:
            kinds = KINDS[self.judge.places], KINDS[places]
            raise ParameterError(f"judge '{self.judge.name}' takes {kinds[0]}s; these are {kinds[1]}s.")
        if len(canvas) == wanted:
            return canvas
        if len(canvas) == 1:
            return canvas.expand(wanted, *canvas.shape[1:])
        if wanted == 1 and len(canvas) == len(LUMA) and self.judge.places == PICTURE:
            return (canvas * torch.tensor(LUMA)[:, None, None]).sum(dim=0, keepdim=True)
        raise ParameterError(f"judge '{self.judge.name}' takes {wanted} channels; the pictures have {len(canvas)}.")

    def _ask(self, inputs: Tensor) -> Tensor:
        judge = self.judge

        def ask(some: Tensor, rows: slice) -> Tensor:
            return judge.forward(some)[: rows.stop - rows.start].double().cpu()

        with undisturbed(judge.module), torch.no_grad():
            asked = in_chunks(inputs, ask, size=1, device=judge.device, dtype=judge.dtype, fixed=judge.fixed_batch)
        return asked.results[0][0]


def same_class(target: ClassTarget, labels: Sequence[str] | None, others: Sequence[str] | None) -> int | None:
    """The index of a class in another network.

    Args:
        target: The class.
        labels: Names of the classes of its own network.
        others: Those of the other.

    Returns:
        The same index where both have the same names; else that of the one class of the same name, whole or up to
        the first comma, upper and lower case alike; None where there is none, or several.
    """
    if others is None:
        return None
    if labels is not None and tuple(labels) == tuple(others):
        return target.index
    if target.label is None:
        return None
    for name in (_plain_label, _first_name):
        hits = [index for index, other in enumerate(others) if name(other) == name(target.label)]
        if len(hits) == 1:
            return hits[0]
    return None


def _plain_label(label: str) -> str:
    return " ".join(label.casefold().replace("_", " ").split())


def _first_name(label: str) -> str:
    return _plain_label(label.partition(",")[0])
