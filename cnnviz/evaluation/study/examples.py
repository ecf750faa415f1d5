"""Examples: the pictures on which a method does best and worst, with its maps, asked for again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from cnnviz.core.sample import Sample
from cnnviz.drawing.colour import scale_of
from cnnviz.drawing.figure import Grid
from cnnviz.drawing.samples import draw_over, pixels_of
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.errors import UsageError
from cnnviz.methods.prepare import show_tensors

if TYPE_CHECKING:
    from cnnviz.core.target import Target
    from cnnviz.evaluation.evaluation import Evaluation

__all__ = ["draw_examples", "example_cells", "inputs_at"]

RANKS = "best", "worst"


def draw_examples(found: Evaluation, method: str, metric: str, count: int) -> Grid:
    """Rows of the best and the worst pictures: each as the network sees it, and with the map over it.

    Args:
        found: The evaluation, with what it asked.
        method: The method.
        metric: The metric.
        count: How many of each.

    Raises:
        UsageError: If there is nothing to ask again, or no value of that metric.
    """
    rows = example_cells(found, method, metric, count)
    proper = {each.name: each.proper for each in found.candidates}[method]
    title = f"{proper} \N{MIDDLE DOT} {found.metrics[found.metric_at(metric)].proper}"
    cells = tuple(tuple(each for pair in row for each in pair) for row in rows)
    return Grid(Sheet(cells, RANKS, title=title), found.provenance)


def example_cells(found: Evaluation, method: str, metric: str, count: int) -> list[list[tuple[Cell, Cell]]]:
    """For best and worst the pictures with their maps, each as two cells."""
    if found.source is None:
        raise UsageError("The network and the pictures are not at hand; evaluate once more to see examples.")
    ends = found.extremes(method, metric, count)
    if not len(ends[0]):
        raise UsageError(f"{metric} of {method} is undefined on every picture, so none is the best.")
    places = [int(at) for end in ends for at in end]
    values = found.of(method, metric)
    drawn = dict(zip(places, _ask_again(found, method, places), strict=True))
    rows = []
    for end in ends:
        row = []
        for at in map(int, end):
            sample, pixels, scale = drawn[at]
            key = found.images[at].rpartition("/")[2]
            row.append((Cell(pixels_of(sample), key), Cell(pixels, f"{found.targets[at]}, {values[at]:.3f}", scale)))
        rows.append(row)
    return rows


def _ask_again(found: Evaluation, method: str, places: Sequence[int]) -> list[tuple[Sample, Any, Any]]:
    """Of every picture what the network sees of it, its map drawn over it, and what the colours mean."""
    asked = found.source
    inputs, targets = inputs_at(found, places)
    candidate = next(each for each in found.candidates if each.name == method)
    maps = candidate.explain(asked.model, asked.model.to_device(inputs), targets, found.seed)
    shown = show_tensors(asked.model, inputs, range(len(inputs)))
    drawn = []
    for row, values in enumerate(maps):
        scale = scale_of(values, signed=bool(np.nanmin(values) < 0) if np.isfinite(values).any() else False)
        drawn.append((shown[row], draw_over(shown[row], values, scale), scale))
    return drawn


def inputs_at(found: Evaluation, places: Sequence[int]) -> tuple[Tensor, list[Target]]:
    """Some pictures as the network takes them, ``(n, C, H, W)``, and what was explained of each.

    Args:
        found: The evaluation, with what it asked.
        places: Their places among its images.

    Raises:
        UsageError: If the pictures are not at hand.
    """
    asked = found.source
    if asked is None:
        raise UsageError("The network and the pictures are not at hand; evaluate once more to see maps.")
    keys = {key: number for number, key in enumerate(asked.data.keys)}
    numbers = [keys[found.images[at]] for at in places]
    return torch.stack([_input_of(asked, number) for number in numbers]), [asked.targets(each) for each in numbers]


def _input_of(asked: Any, number: int) -> Tensor:
    item = asked.data.item(number)
    values: Tensor = asked.model.preprocess(item)[0] if isinstance(item, Sample) else item.detach()
    return values
