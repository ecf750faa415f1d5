"""How far a picture's activations lie from those that a network's batch norms have seen in training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["NormDistance", "settled_norms", "watch_norms"]

CHANNELS_AND_PLACES = 4


def settled_norms(module: nn.Module) -> list[nn.Module]:
    """Batch norms whose running statistics say something; where all means are 0 and variances 1, they were never set.

    Those of a network whose norms have been folded into its convolutions are never set.
    """
    return [part for part in module.modules() if _is_norm(part) and _is_set(part)]


class NormDistance:
    """Distances of the activations that came by, gathered norm by norm."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._calls = 0

    @property
    def values(self) -> Tensor | None:
        """``(N,)``: each picture's mean distance over norms and channels, in standard deviations; None: none came.

        The distance of a channel is the Wasserstein distance of two normal distributions, of its values over the
        picture and of those in training: the root of the squared differences of their means and of their standard
        deviations, divided by the standard deviation in training.
        """
        return None if self._sum is None else self._sum / self._calls

    def add(self, norm: nn.Module, inputs: Tensor) -> None:
        """Take what a norm is given, ``(N, C, h, w)``."""
        mean, variance, small = _buffer(norm, "running_mean"), _buffer(norm, "running_var"), getattr(norm, "eps", 0.0)
        deviation = (variance.double() + small).sqrt()
        flat = inputs.detach().double().flatten(2)
        apart = torch.hypot(flat.mean(dim=2) - mean, flat.std(dim=2, correction=0) - deviation) / deviation
        found = apart.mean(dim=1).cpu()
        self._sum = found if self._sum is None else self._sum + found
        self._calls += 1


@contextmanager
def watch_norms(module: nn.Module) -> Iterator[NormDistance]:
    """Inside, what the network's settled batch norms are given is measured; its hooks are gone afterwards."""
    distance = NormDistance()

    def see(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs and inputs[0].dim() == CHANNELS_AND_PLACES:
            distance.add(norm, inputs[0])

    handles = [norm.register_forward_pre_hook(see) for norm in settled_norms(module)]
    try:
        yield distance
    finally:
        for handle in handles:
            handle.remove()


def _is_norm(part: nn.Module) -> bool:
    frozen = type(part).__name__ == "FrozenBatchNorm2d"
    held = (getattr(part, name, None) for name in ("running_mean", "running_var"))
    return (isinstance(part, _BatchNorm) or frozen) and all(isinstance(each, Tensor) for each in held)


def _is_set(part: nn.Module) -> bool:
    return bool(_buffer(part, "running_mean").any()) or bool((_buffer(part, "running_var") != 1).any())


def _buffer(part: nn.Module, name: str) -> Tensor:
    held = getattr(part, name)
    assert isinstance(held, Tensor)
    return held
