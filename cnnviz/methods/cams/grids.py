"""Maps of several layers, or of a mirrored picture, on one grid: each value where its unit looks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cnnviz.core.dimensions import INTERPOLATION
from cnnviz.core.field import Field

__all__ = ["enlarge_evenly", "mirror_back", "resample_to_finest"]


def resample_to_finest(maps: Sequence[Tensor], fields: Sequence[Field | None]) -> tuple[list[Tensor], Field | None]:
    """Maps of several layers on the grid of the finest, each value taken where its unit looks.

    Args:
        maps: ``(n, h, w)`` of each layer, or of signals or volumes.
        fields: What the layers' units see; unless all have places, all maps are spread evenly.

    Returns:
        The maps, and the finest's field.
    """
    finest = max(range(len(maps)), key=lambda at: maps[at][0].numel())
    known = [one for one in fields if one is not None and one.placed]
    if len(known) < len(maps):
        return [enlarge_evenly(one.float(), maps[finest].shape[1:]) for one in maps], None
    goal = known[finest]
    placed = [
        one.float() if own is goal else _resample(one.float(), own, goal) for one, own in zip(maps, known, strict=True)
    ]
    return placed, goal


def enlarge_evenly(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps ``(n, h, w)``, or of signals or volumes, spread evenly over a finer grid, linear along every axis."""
    mode = INTERPOLATION[len(size)]
    return functional.interpolate(maps[:, None], size=tuple(size), mode=mode, align_corners=False)[:, 0]


def mirror_back(maps: Tensor, field: Field | None) -> tuple[Tensor, Tensor]:
    """Maps of mirrored pictures mirrored back, each value where its unit looks.

    Args:
        maps: ``(n, h, w)``.
        field: What the places see; without places the columns change sides.

    Returns:
        The maps, and for each column ``(w,)`` whether a unit of the mirrored picture looks there.
    """
    if field is None or not field.columns or len(field.columns) != maps.shape[-1]:
        return maps.flip(-1), torch.ones(maps.shape[-1], dtype=torch.bool, device=maps.device)
    width = field.input[-1]
    columns = field.columns.units_at(width - 1 - field.columns.middles(), width)
    known = torch.from_numpy(~np.isnan(columns)).to(maps.device)
    return _interpolate(maps, np.nan_to_num(columns), -1), known


def _resample(maps: Tensor, own: Field, goal: Field) -> Tensor:
    for dim, (source, target, length) in enumerate(zip(own.spans, goal.spans, own.input, strict=True), 1):
        units = source.units_at(target.middles(), length)
        held = np.where(target.middles() < source.offset, 0, len(source) - 1)
        maps = _interpolate(maps, np.where(np.isnan(units), held, units), dim)
    return maps


def _interpolate(maps: Tensor, places: NDArray[np.float64], dim: int) -> Tensor:
    """Values between the places along a dimension, by how near they are."""
    first = np.floor(places).astype(np.int64)
    second = np.minimum(first + 1, maps.shape[dim] - 1)
    shape = [len(places) if at == dim % maps.dim() else 1 for at in range(maps.dim())]
    share = torch.from_numpy(places - first).to(maps).reshape(shape)
    near, far = (maps.index_select(dim, torch.from_numpy(at).to(maps.device)) for at in (first, second))
    return near * (1 - share) + far * share
