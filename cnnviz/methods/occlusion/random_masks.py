"""Random masks of visible and hidden cells, and the mean score of what shows each place, with its standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cnnviz.core.dimensions import INTERPOLATION, Size, spell_size
from cnnviz.errors import ParameterError

__all__ = ["RandomMasks", "WeighedMean"]


@dataclass(frozen=True)
class RandomMasks:
    """Coarse grids of visible and hidden cells, enlarged linearly along each axis and shifted by up to a cell.

    Attributes:
        size: Length of the input along each axis: of a picture height and width in pixels.
        cells: Cells along each axis, or along all.
        visible: Probability that a cell is visible.
        seed: Of all masks; the k-th mask depends on it and k alone.

    Raises:
        ParameterError: If there are more cells than pixels along a side.
    """

    size: Size
    cells: int | Size
    visible: float
    seed: int

    def __post_init__(self) -> None:
        if not isinstance(self.cells, tuple) and self.cells > min(self.size):
            raise ParameterError(f"cells must be at most {min(self.size)}, the input's shorter side; got {self.cells}.")
        if any(count > length for count, length in zip(self.counts, self.size, strict=True)):
            most, given = spell_size(self.size), spell_size(self.counts)
            raise ParameterError(f"cells must be at most {most}, the input's size; got {given}.")

    @property
    def counts(self) -> Size:
        """Cells along each axis."""
        return self.cells if isinstance(self.cells, tuple) else (self.cells,) * len(self.size)

    def masks(self, some: slice) -> Tensor:
        """Those masks, ``(n, 1, ...)`` float32 from 0 (hidden) to 1 (visible)."""
        axes = len(self.size)
        each = math.prod(self.counts) + axes
        stream = np.random.PCG64(self.seed).advance(some.start * each)
        drawn = np.random.Generator(stream).random((some.stop - some.start, each))
        grids = torch.from_numpy(drawn[:, axes:] < self.visible).float().view(-1, 1, *self.counts)
        sides = [-(-length // count) for length, count in zip(self.size, self.counts, strict=True)]
        size = [(count + 1) * side for count, side in zip(self.counts, sides, strict=True)]
        wide = functional.interpolate(grids, size=size, mode=INTERPOLATION[axes], align_corners=False)
        shifts = (drawn[:, :axes] * sides).astype(int)
        return torch.stack([self._cut(one, shift) for one, shift in zip(wide, shifts, strict=True)])

    def _cut(self, one: Tensor, shift: NDArray[np.int64]) -> Tensor:
        """Of an enlarged grid ``(1, ...)`` what lies over the input."""
        return one[:, *(slice(first, first + length) for first, length in zip(shift, self.size, strict=True))]


class WeighedMean:
    """At every place the mean of scores weighed by masks, added up mask by mask, with its standard error.

    Args:
        clean: ``(T,)``: the scores of the unchanged picture, near which sums are kept exact.
        size: Length of the masks along each axis.
    """

    def __init__(self, clean: Tensor, size: tuple[int, ...]) -> None:
        self._clean, self._size, self._count = clean, size, 0
        self._scores = torch.zeros(2, len(clean), dtype=torch.float64)
        self._weights = torch.zeros(2, *size, dtype=torch.float64)
        self._products = torch.zeros(4, len(clean), *size, dtype=torch.float64)

    def add(self, scores: Tensor, masks: Tensor) -> None:
        """Scores ``(n, T)`` of masks ``(n, H, W)``."""
        above, weights = scores - self._clean, masks.flatten(1).double()
        self._count += len(scores)
        self._scores += torch.stack([above.sum(dim=0), (above**2).sum(dim=0)])
        self._weights += torch.stack([weights.sum(dim=0), (weights**2).sum(dim=0)]).view_as(self._weights)
        sums = [above.T @ weights, (above**2).T @ weights, above.T @ weights**2, (above**2).T @ weights**2]
        self._products += torch.stack(sums).view_as(self._products)

    def above_all(self) -> tuple[Tensor, Tensor]:
        """Weighed means less the mean of all scores, and their standard errors, both ``(T, H, W)``.

        Each mask adds ``M (f - S) / sum of M - (f - mean) / N`` to the difference's error, to first order.
        """
        tiny = torch.finfo(torch.float64).tiny
        weight, squared = self._weights[0].clamp_min(tiny), self._weights[1]
        mf, mff, mmf, mmff = self._products
        places = (*(1 for _ in self._size),)
        mean = (self._scores[0] / self._count).view(-1, *places)
        here = mf / weight
        own = (mmff - 2 * here * mmf + here**2 * squared) / weight**2
        both = (mff - (here + mean) * mf + here * mean * self._weights[0]) / (weight * self._count)
        every = self._scores[1].view(-1, *places) / self._count**2 - mean**2 / self._count
        return here - mean, (own - 2 * both + every).clamp_min(0).sqrt()
