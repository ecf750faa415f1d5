"""windows: boxes laid over an input in a grid, what they hide, and the closed form of their average."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cnnviz.core.dimensions import PICTURE, SIGNAL, Size, spell_size
from cnnviz.engine.windows.route import Ints
from cnnviz.errors import ParameterError

__all__ = ["Windows"]


@dataclass(frozen=True)
class Windows:
    """Windows in a grid, numbered with the last axis running fastest: in a picture row by row.

    Each hides the product of a profile along every axis.

    Attributes:
        profiles: Along each axis ``(R, H)`` float64, 0 to 1: how much its R windows hide of each of H places.
    """

    profiles: tuple[Tensor, ...]

    @classmethod
    def over(cls, size: Size, side: int | Size, stride: int | Size, soft: float = 0.0) -> Windows:
        """Windows over all of an input; the last along each axis is shifted in, never cut.

        Args:
            size: Length of the input along each axis.
            side: Length of a window along each axis, or along all.
            stride: From one window to the next, likewise.
            soft: Share of the window's length over which it fades out, half of it at either end.

        Raises:
            ParameterError: If a window is larger than the input, or the stride larger than a window.
        """
        sides, strides = (each if isinstance(each, tuple) else (each,) * len(size) for each in (side, stride))
        if any(one > length for one, length in zip(sides, size, strict=True)):
            raise ParameterError(f"window must be at most {_most(size, side)}; got {_spell(side)}.")
        if any(step > one for step, one in zip(strides, sides, strict=True)):
            raise ParameterError(
                f"stride must be at most the window's {_spell(side)}, or some places are never hidden; "
                f"got {_spell(stride)}."
            )
        return cls(tuple(_window_profiles(*along, soft) for along in zip(size, sides, strides, strict=True)))

    @property
    def shape(self) -> Size:
        """How many windows there are along each axis: in a picture rows and columns of them."""
        return tuple(len(profile) for profile in self.profiles)

    @property
    def size(self) -> Size:
        """Length of the input along each axis."""
        return tuple(profile.shape[1] for profile in self.profiles)

    def __len__(self) -> int:
        return math.prod(self.shape)

    @property
    def sharp(self) -> bool:
        """Whether each window hides a place or does not, none in part."""
        return all(bool(((each == 0) | (each == 1)).all()) for each in self.profiles)

    def places(self, numbers: Tensor) -> tuple[Ints, ...]:
        """Which window along each axis windows are, ``(n,)`` each; of none at all the first.

        Args:
            numbers: ``(n,)`` integers; -1 is no window at all.
        """
        return np.unravel_index(numbers.clamp_min(0).cpu().numpy(), self.shape)

    def masks(self, numbers: Tensor) -> Tensor:
        """What windows hide, ``(n, 1, ...)`` float32 from 0 (nothing) to 1.

        Args:
            numbers: ``(n,)`` integers; -1 is no window at all.
        """
        chosen = [profile[places] for profile, places in zip(self.profiles, self.places(numbers), strict=True)]
        chosen[0] = chosen[0] * (numbers.cpu() >= 0)[:, None]
        found = torch.ones(len(numbers), 1, device=numbers.device)
        for along in chosen:
            shape = len(along), *(1 for _ in range(found.dim() - 1)), along.shape[1]
            found = found[..., None] * along.float().to(numbers.device).view(shape)
        return found

    def average(self, values: Tensor) -> Tensor:
        """At every place the mean of the windows that hide it, weighed by how much they do, ``(..., H, W)`` float64.

        With ``d`` the values of a picture as ``(R, S)``, this is ``rows' d columns / (rows' 1 1' columns)``.

        Args:
            values: ``(..., R * S)``, a value a window.
        """
        total = values.double().reshape(*values.shape[:-1], *self.shape)
        *before, last = self.profiles
        weight = torch.ones((), dtype=torch.float64)
        for axis, profile in enumerate(before, total.dim() - len(self.profiles)):
            behind = total.shape[axis + 1 :]
            total = profile.T @ total.flatten(axis + 1)
            total = total.reshape(*total.shape[:-1], *behind)
            weight = weight[..., None] * profile.sum(dim=0)
        return total @ last / (weight[..., None] * last.sum(dim=0))


def _most(size: Size, side: int | Size) -> str:
    """The largest window in words."""
    if isinstance(side, tuple):
        return f"{spell_size(size)}, the size of what it hides"
    whole = "length" if len(size) == SIGNAL else "shorter side" if len(size) == PICTURE else "shortest side"
    return f"{min(size)}, the {whole} of what it hides"


def _spell(lengths: int | Size) -> str:
    return spell_size(lengths) if isinstance(lengths, tuple) else str(lengths)


def _window_profiles(length: int, side: int, stride: int, soft: float) -> Tensor:
    starts = torch.arange(0, length - side + stride, stride).clamp_max(length - side)
    within = torch.arange(length)[None] - starts[:, None]
    from_edge = torch.minimum(within, side - 1 - within).double() + 0.5
    share = (from_edge / max(soft * side / 2, 0.5)).clamp(0, 1)
    return (share * math.pi / 2).sin() ** 2
