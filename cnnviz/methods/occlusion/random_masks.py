"""Random masks of visible and hidden cells, and the mean score of what shows each place, with its standard error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cnnviz.errors import ParameterError

__all__ = ["RandomMasks", "WeighedMean"]


@dataclass(frozen=True)
class RandomMasks:
    """Coarse grids of visible and hidden cells, enlarged bilinearly and shifted by up to a cell.

    Attributes:
        size: Height and width in pixels.
        cells: Cells along each side.
        visible: Chance that a cell is visible.
        seed: Of all masks; the k-th mask depends on it and k alone.

    Raises:
        ParameterError: If there are more cells than pixels along a side.
    """

    size: tuple[int, int]
    cells: int
    visible: float
    seed: int

    def __post_init__(self) -> None:
        if self.cells > min(self.size):
            raise ParameterError(f"cells must be at most {min(self.size)}, the input's shorter side; got {self.cells}.")

    def masks(self, some: slice) -> Tensor:
        """Those masks, ``(n, 1, H, W)`` float32 from 0 (hidden) to 1 (visible)."""
        each = self.cells**2 + 2
        stream = np.random.PCG64(self.seed).advance(some.start * each)
        drawn = np.random.Generator(stream).random((some.stop - some.start, each))
        grids = torch.from_numpy(drawn[:, 2:] < self.visible).float().view(-1, 1, self.cells, self.cells)
        height, width = (-(-side // self.cells) for side in self.size)
        wide = functional.interpolate(
            grids, size=((self.cells + 1) * height, (self.cells + 1) * width), mode="bilinear", align_corners=False
        )
        shifts = (drawn[:, :2] * (height, width)).astype(int)
        return torch.stack(
            [
                one[:, top : top + self.size[0], left : left + self.size[1]]
                for one, (top, left) in zip(wide, shifts, strict=True)
            ]
        )


class WeighedMean:
    """At every place the mean of scores weighed by masks, added up mask by mask, with its standard error.

    Args:
        clean: ``(T,)``: the scores of the unchanged picture, near which sums are kept exact.
        size: Height and width of the masks.
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
        mean = (self._scores[0] / self._count)[:, None, None]
        here = mf / weight
        own = (mmff - 2 * here * mmf + here**2 * squared) / weight**2
        both = (mff - (here + mean) * mf + here * mean * self._weights[0]) / (weight * self._count)
        every = self._scores[1][:, None, None] / self._count**2 - mean**2 / self._count
        return here - mean, (own - 2 * both + every).clamp_min(0).sqrt()
