"""Gradients through rectifiers that a start has left dead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from cnnviz.probing.spellings import Activation, activation_of, plain_name

__all__ = ["redirected"]


@contextmanager
def redirected() -> Iterator[None]:
    """Within it, a sample whose whole gradient a rectifier would stop gets one that wakes units up.

    Where all of a sample's gradient at a ReLU or ReLU6 would be zero, what would raise a value from below zero (or
    lower one from above the ceiling) passes. The gradients are those of a score that is to grow. Other samples, and
    the forward, are as without it.
    """
    with _Redirecting():
        yield


class _Redirecting(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        activation = activation_of(plain_name(func), func, args, kwargs) if torch.is_grad_enabled() else None
        if activation is None or not activation.rectifier or not activation.subject.requires_grad:
            return func(*args, **kwargs)
        subject = activation.subject.clone() if activation.inplace else activation.subject
        output: Tensor = _Redirected.apply(subject, activation)
        return activation.subject.copy_(output) if activation.inplace else output


class _Redirected(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, subject: Tensor, activation: Activation) -> Tensor:
        output = activation.function(subject)
        below = subject <= 0
        ctx.save_for_backward(below, (output == subject) & ~below)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        below, open_ = ctx.saved_tensors
        passed = gradient * open_
        dead = ~passed.flatten(1).any(dim=1)
        if not dead.any():
            return passed, None
        waking = torch.where(below, gradient.clamp_min(0), torch.where(open_, gradient, gradient.clamp_max(0)))
        return torch.where(dead.view(-1, *[1] * (gradient.dim() - 1)), waking, passed), None
