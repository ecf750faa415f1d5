"""The deconvnet projection of every patch's activation, cut to what the unit sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.methods.unit_projections import project_places
from cnnviz.models.model import Model
from cnnviz.results.patch_index import NO_IMAGE
from cnnviz.results.patches import Strip

__all__ = ["projected"]


def projected(
    model: Model, layer: str, units: Sequence[int], strips: Sequence[Strip], inputs: Mapping[int, Tensor]
) -> tuple[tuple[Strip, ...], tuple[str, ...]]:
    """Rows of patches with their projections, and what the rule did.

    Args:
        model: The network.
        layer: The layer.
        units: A unit for each row.
        strips: The rows; their marks say that patches are whole images.
        inputs: ``(C, H, W)`` of every image in them.

    Raises:
        ExplanationError: If the deconvnet rule changes what the network computes.
    """
    projector = _Projector(model, layer, inputs)
    done = []
    for strip in strips:
        rows = [projector.row(unit, strip, row) for row, unit in enumerate(units)]
        done.append(replace(strip, projections=np.stack(rows)))
    return tuple(done), tuple(projector.checks)


class _Projector:
    """Projects activations of one layer.

    Attributes:
        checks: What the rule did.
    """

    def __init__(self, model: Model, layer: str, inputs: Mapping[int, Tensor]) -> None:
        self._model, self._layer, self._inputs = model, layer, inputs
        height, width = model.preprocess.input_size
        self._shape = next((tuple(each.shape) for each in inputs.values()), (model.preprocess.channels, height, width))
        self.checks: dict[str, None] = {}

    def row(self, unit: int, strip: Strip, row: int) -> NDArray[np.float32]:
        """One unit's projections ``(K, C, b, a)``, NaN beyond the input and where there is no patch."""
        boxes = strip.boxes.copy()
        if strip.marks is not None:
            boxes[:] = 0, 0, *self._shape[1:]
        tall, wide = (int(side) for side in (boxes[..., 2:] - boxes[..., :2]).reshape(-1, 2).max(axis=0))
        found = np.full((strip.images.shape[1], self._shape[0], tall, wide), np.nan, dtype=np.float32)
        ranks = np.flatnonzero(strip.images[row] != NO_IMAGE)
        if not len(ranks):
            return found
        given = torch.stack([self._inputs[int(strip.images[row, rank])] for rank in ranks])
        values, said = project_places(self._model, given, self._layer, unit, strip.positions[row, ranks])
        self.checks.update(dict.fromkeys(said))
        for rank, one in zip(ranks, values, strict=True):
            _put(found[rank], one, top=int(boxes[row, rank, 0]), left=int(boxes[row, rank, 1]))
        return found


def _put(canvas: NDArray[np.float32], values: NDArray[np.float32], *, top: int, left: int) -> None:
    """Copy a window of values ``(C, H, W)`` that may reach beyond them onto a canvas as large as the window."""
    tall, wide = canvas.shape[1:]
    seen = values[:, max(0, top) : max(0, top + tall), max(0, left) : max(0, left + wide)]
    down, across = max(0, -top), max(0, -left)
    canvas[:, down : down + seen.shape[1], across : across + seen.shape[2]] = seen
