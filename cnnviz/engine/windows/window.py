"""windows: squares laid over a picture in rows and columns, what they hide, and the closed form of their average."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cnnviz.errors import ParameterError

__all__ = ["Windows"]


@dataclass(frozen=True)
class Windows:
    """Windows in a grid of rows and columns, numbered row by row; each hides a column profile times a row profile.

    Attributes:
        rows: ``(R, H)`` float64, 0 to 1: how much the windows of each row hide of each line of pixels.
        columns: ``(S, W)`` float64, 0 to 1: the same across.
    """

    rows: Tensor
    columns: Tensor

    @classmethod
    def over(cls, size: tuple[int, int], side: int, stride: int, soft: float = 0.0) -> Windows:
        """Windows over all of a picture; the last of each row and column is shifted in, never cut.

        Args:
            size: Height and width of the picture.
            side: Side of a window.
            stride: From one window to the next.
            soft: Share of the side over which a window fades out, half of it at either end.

        Raises:
            ParameterError: If a window is larger than the picture, or the stride larger than a window.
        """
        if side > min(size):
            raise ParameterError(f"window must be at most {min(size)}, the shorter side of what it hides; got {side}.")
        if stride > side:
            raise ParameterError(
                f"stride must be at most the window's {side}, or some places are never hidden; got {stride}."
            )
        rows, columns = (_window_profiles(length, side, stride, soft) for length in size)
        return cls(rows, columns)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of windows."""
        return len(self.rows), len(self.columns)

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    @property
    def sharp(self) -> bool:
        """Whether each window hides a pixel or does not, none in part."""
        return all(bool(((each == 0) | (each == 1)).all()) for each in (self.rows, self.columns))

    def masks(self, numbers: Tensor) -> Tensor:
        """What windows hide, ``(n, 1, H, W)`` float32 from 0 (nothing) to 1.

        Args:
            numbers: ``(n,)`` integers; -1 is no window at all.
        """
        chosen = numbers.clamp_min(0).cpu()
        down, across = self.rows[chosen // len(self.columns)], self.columns[chosen % len(self.columns)]
        down = down * (numbers.cpu() >= 0)[:, None]
        device = numbers.device
        return (down.float().to(device)[:, :, None] * across.float().to(device)[:, None, :])[:, None]

    def average(self, values: Tensor) -> Tensor:
        """At every pixel the mean of the windows that hide it, weighed by how much they do, ``(..., H, W)`` float64.

        With ``d`` the values as ``(R, S)``, this is ``rows' d columns / (rows' 1 1' columns)``.

        Args:
            values: ``(..., R * S)``, a value a window.
        """
        grid = values.double().reshape(*values.shape[:-1], *self.shape)
        total = self.rows.T @ grid @ self.columns
        return total / (self.rows.sum(dim=0)[:, None] * self.columns.sum(dim=0))


def _window_profiles(length: int, side: int, stride: int, soft: float) -> Tensor:
    starts = torch.arange(0, length - side + stride, stride).clamp_max(length - side)
    within = torch.arange(length)[None] - starts[:, None]
    from_edge = torch.minimum(within, side - 1 - within).double() + 0.5
    share = (from_edge / max(soft * side / 2, 0.5)).clamp(0, 1)
    return (share * math.pi / 2).sin() ** 2
