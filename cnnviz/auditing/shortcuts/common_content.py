"""What pictures have in common at a place, and pictures that are given it, or from which it is taken.

Of a mark that is laid over pictures, opaque or not, ``x -> (1 - a) x + a m`` at each pixel, the mean and the standard
deviation over pictures tell all: the deviation falls to ``1 - a`` of what it is without the mark, and the mean moves
accordingly. So the same affine map puts it on other pictures. Objects that differ from picture to picture leave a blur
of low contrast instead, and their deviation does not fall.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

__all__ = ["Content", "PixelMoments", "common_content", "exchange", "put"]

TINY = 1e-12
"""Least variance that is divided by."""


class PixelMoments:
    """Sums of inputs and of their squares, pixel by pixel, in float64; pictures are added in any order.

    Args:
        shape: Of one input, ``(C, H, W)``.
    """

    def __init__(self, shape: Iterable[int]) -> None:
        self.count = 0
        self._sum = torch.zeros(tuple(shape), dtype=torch.float64)
        self._squares = torch.zeros_like(self._sum)

    def add(self, inputs: Tensor) -> None:
        """Add inputs ``(n, C, H, W)``."""
        values = inputs.detach().cpu().double()
        self.count += len(values)
        self._sum += values.sum(0)
        self._squares += values.square().sum(0)

    def without(self, others: PixelMoments) -> PixelMoments:
        """Those of the inputs that are not among others."""
        left = PixelMoments(self._sum.shape)
        left.count = self.count - others.count
        left._sum, left._squares = self._sum - others._sum, self._squares - others._squares
        return left

    @property
    def mean(self) -> Tensor:
        """``(C, H, W)``."""
        return self._sum / max(self.count, 1)

    @property
    def variance(self) -> Tensor:
        """``(C, H, W)``: with ``n - 1``; 0 of fewer than two inputs."""
        if self.count < 2:
            return torch.zeros_like(self._sum)
        return ((self._squares - self._sum.square() / self.count) / (self.count - 1)).clamp_min(0)


@dataclass(frozen=True, eq=False)
class Content:
    """What some pictures have in common at each pixel, beside others.

    Attributes:
        mean: ``(C, H, W)``: their mean.
        others: ``(C, H, W)``: that of the others.
        kept: ``(1, H, W)``: how much of a picture shows through, 0 (always the same) to 1.
        distinctness: ``(H, W)``: the squared difference of the means in units of the others' variance, the mean over
            channels, and the square of what does not show through.
    """

    mean: Tensor
    others: Tensor
    kept: Tensor
    distinctness: Tensor


def common_content(some: PixelMoments, others: PixelMoments) -> Content:
    """What pictures have in common beside others, pixel by pixel.

    Args:
        some: Of the pictures that may have something in common.
        others: Of other pictures.

    Returns:
        The content; what shows through is the ratio of the standard deviations over all channels together, at most 1.
    """
    spread = others.variance.clamp_min(TINY)
    kept = (some.variance.sum(0, keepdim=True) / spread.sum(0, keepdim=True)).sqrt().clamp(0, 1)
    distinctness = ((some.mean - others.mean).square() / spread).mean(0) + (1 - kept[0]).square()
    return Content(some.mean.float(), others.mean.float(), kept.float(), distinctness.float())


def put(inputs: Tensor, content: Content, place: Tensor) -> Tensor:
    """Inputs that are given the common content of others at a place.

    Args:
        inputs: ``(N, C, H, W)``.
        content: What is put there.
        place: ``(H, W)``, True where.

    Returns:
        ``(N, C, H, W)``: ``mean + kept (x - others)`` at the place, elsewhere unchanged.
    """
    given = content.mean + content.kept * (inputs - content.others)
    return torch.where(place, given, inputs)


def exchange(inputs: Tensor, donors: Tensor, place: Tensor) -> Tensor:
    """Inputs whose place is covered with what others have there.

    Args:
        inputs: ``(N, C, H, W)``.
        donors: ``(N, C, H, W)``: as many others.
        place: ``(H, W)``, True where.
    """
    return torch.where(place, donors, inputs)
