"""Maps from the scores of many changed pictures: what is the same picture shares its forwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from cnnviz.core.picture import Picture
from cnnviz.methods.asking import Answer, heatmaps
from cnnviz.methods.inputs import Batch
from cnnviz.methods.scorer import Clean, Precision, ScoreKind, Scorer
from cnnviz.models.faster import Ask
from cnnviz.models.model import Model
from cnnviz.probing.chunks import in_slices
from cnnviz.probing.state import undisturbed
from cnnviz.results.heatmap import Heatmap
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["Explained", "Question", "scored_maps"]


@dataclass(frozen=True)
class Explained:
    """One target's map of one picture.

    Attributes:
        values: ``(H, W)``, signed.
        spread: ``(H, W)``, or None.
        error_bar: Of estimated values, or None.
        checks: What the user should know.
    """

    values: Tensor
    spread: Tensor | None = None
    error_bar: float | None = None
    checks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """One picture with all its targets.

    Attributes:
        scorer: Asks for scores of changed pictures.
        image: ``(C, H, W)`` on the network's device.
        clean: What the unchanged picture gave, with the settled targets.
        picture: The picture.
    """

    scorer: Scorer
    image: Tensor
    clean: Clean
    picture: Picture


Explain: TypeAlias = Callable[[Question], Sequence[Explained]]
"""From a question to a map for each of its targets."""


def scored_maps(
    model: Model,
    batch: Batch,
    explain: Explain,
    *,
    kind: ScoreKind,
    precision: Precision,
    batch_size: int | None,
    ask: Ask | None = None,
) -> Heatmaps:
    """Ask about every picture, one after another, with all its targets at once.

    Args:
        model: The network.
        batch: Inputs, pictures and targets.
        explain: From a question to a map for each of its targets.
        kind: What the score of a class is.
        precision: What the changed pictures' forwards compute in.
        batch_size: Most changed pictures at once; None is what suits the device.
        ask: How a private copy is first asked about the first picture; left out, as a model is.
    """
    groups = _same_pictures(batch.inputs)
    found: dict[int, tuple[Answer, Explained]] = {}
    with undisturbed(model.module):
        example = model.to_device(batch.inputs[:1])
        scorer = Scorer(model, example, batch.targets, kind=kind, precision=precision, batch_size=batch_size, ask=ask)

        def explained(some: slice) -> None:
            rows = groups[some.start]
            image = model.to_device(batch.inputs[rows[0]])
            clean = scorer.clean(image, [batch.targets[row] for row in rows])
            maps = explain(Question(scorer, image, clean, batch.pictures[rows[0]]))
            found.update({row: (_answer(clean, at, maps[at]), maps[at]) for at, row in enumerate(rows)})

        in_slices(len(groups), explained, size=1)
    answers, maps = zip(*(found[row] for row in range(len(found))), strict=True)
    whole = heatmaps(model, batch, answers, chunk=scorer.size, checks=scorer.checks, rectified=False)
    return replace(whole, maps=tuple(map(_with_certainty, whole.maps, maps)))


def _answer(clean: Clean, at: int, one: Explained) -> Answer:
    return Answer(
        one.values[None],
        clean.scores[at, None],
        clean.probabilities[at : at + 1],
        clean.targets[at : at + 1],
        None,
        one.checks,
    )


def _with_certainty(heatmap: Heatmap, one: Explained) -> Heatmap:
    spread = None if one.spread is None else one.spread.float().cpu().numpy()
    return replace(heatmap, spread=spread, error_bar=one.error_bar)


def _same_pictures(inputs: Tensor) -> list[list[int]]:
    """Rows of inputs ``(N, C, H, W)``, those that are equal together."""
    groups: list[list[int]] = []
    for row, one in enumerate(inputs):
        known = next((group for group in groups if torch.equal(inputs[group[0]], one)), None)
        if known is None:
            groups.append([row])
        else:
            known.append(row)
    return groups
