"""How multipliers pass: by a slope, a product of two tensors, the larger of several values, or a path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["Function", "bilinear", "larger", "path", "secant_slope", "sloped", "times"]

Function: TypeAlias = Callable[..., Any]

NEAR = 32
"""Values so many roundings apart are one: there the slope is the derivative."""

POINTS = 16
_PLACES, _WEIGHTS = np.polynomial.legendre.leggauss(POINTS)


def secant_slope(function: Function, a: Tensor, b: Tensor, at_a: Tensor, at_b: Tensor) -> Tensor:
    """The secant ``(f(a) - f(b)) / (a - b)`` of a function of each number; its derivative where these are one.

    Args:
        function: Of a tensor, number by number.
        a: The input's values.
        b: The baseline's.
        at_a: ``f(a)``.
        at_b: ``f(b)``.
    """
    change = a - b
    near = (a == b) | (change.abs() <= NEAR * torch.finfo(a.dtype).eps * (a.abs() + b.abs()))
    slope = (at_a - at_b) / change.masked_fill(near, 1)
    if not bool(near.any()):
        return slope
    with torch.enable_grad():
        middle = ((a[near] + b[near]) / 2).requires_grad_()
        (tangent,) = torch.autograd.grad(function(middle).sum(), middle)
    return slope.masked_scatter_(near, tangent)


class _Sloped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, _subject: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return value.view_as(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return gradient * slope, None, None


def sloped(subject: Tensor, value: Tensor, slope: Tensor) -> Tensor:
    """The value, made of the subject with a slope for each number."""
    found: Tensor = _Sloped.apply(subject, value, slope)
    return found


class _Times(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, one: Tensor, other: Tensor, value: Tensor, means: Sequence[Tensor]) -> Tensor:
        ctx.save_for_backward(*means)
        ctx.shapes = one.shape, other.shape
        return value.view_as(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        at_one, at_other = ctx.saved_tensors
        shapes, needed = ctx.shapes, ctx.needs_input_grad
        first = (gradient * at_other).sum_to_size(shapes[0]) if needed[0] else None
        return first, (gradient * at_one).sum_to_size(shapes[1]) if needed[1] else None, None, None


def times(one: Tensor, other: Tensor, value: Tensor, at_one: Tensor, at_other: Tensor) -> Tensor:
    """A product, number by number.

    Args:
        one: The input's values of the first factor.
        other: Of the second.
        value: The product.
        at_one: The value of the first factor that a change of the second is multiplied with: the mean of input and
            baseline; or of one of them, if the other factor's is of the other.
        at_other: The second factor's likewise.
    """
    found: Tensor = _Times.apply(one, other, value, (at_one, at_other))
    return found


class _Bilinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Function, value: Tensor, means: Sequence[Tensor], *_factors: Tensor) -> Tensor:
        ctx.save_for_backward(*means)
        ctx.function = function
        return value.view_as(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        with torch.enable_grad():
            means = [each.detach().requires_grad_() for each in ctx.saved_tensors]
            found = torch.autograd.grad(ctx.function(*means), means, gradient)
        return None, None, None, *found


def bilinear(factors: Sequence[Tensor], function: Function, value: Tensor, means: Sequence[Tensor]) -> Tensor:
    """What a function of two tensors that is linear in each makes of them: a change of one counts at the other's mean.

    Args:
        factors: The input's values of both.
        function: Such as a matrix product.
        value: What it makes of them.
        means: The means of input and baseline of both.
    """
    found: Tensor = _Bilinear.apply(function, value, list(means), *factors)
    return found


class _Larger(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, subject: Tensor, value: Tensor, winners: Sequence[Tensor], share: Tensor) -> Tensor:
        ctx.save_for_backward(*winners, share)
        ctx.shape = subject.shape
        return value.view_as(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        own, its, share = ctx.saved_tensors
        held = gradient.reshape(own.shape)
        passed = held.new_zeros((*own.shape[:-1], ctx.shape[own.dim() - 1 :].numel()))
        passed.scatter_add_(-1, own, held * share).scatter_add_(-1, its, held * (1 - share))
        return passed.view(ctx.shape), None, None, None


def larger(subjects: Sequence[Tensor], values: Sequence[Tensor], winners: Sequence[Tensor]) -> Tensor:
    """The largest of several values: what changes is shared between the input's winner and the baseline's.

    The share lies within [0, 1]: the change of the maximum is between the changes of the two.

    Args:
        subjects: The input's values and the baseline's, ``(..., n...)``.
        values: Their maxima, ``(..., m...)``.
        winners: Where these were, as numbers into the flattened last dimensions, ``(..., m)``.
    """
    own, its = winners
    changes = (subjects[0] - subjects[1]).detach().flatten(own.dim() - 1)
    at_own, at_its = changes.gather(-1, own), changes.gather(-1, its)
    change, gap = (values[0] - values[1]).detach().reshape(own.shape), at_own - at_its
    share = torch.where(gap != 0, (change - at_its) / gap.masked_fill(gap == 0, 1), torch.ones_like(gap)).clamp_(0, 1)
    found: Tensor = _Larger.apply(subjects[0], values[0], list(winners), share)
    return found


class _AlongPath(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Function, twins: Sequence[Tensor], values: Sequence[Tensor], *ends: Tensor) -> Any:
        ctx.function, ctx.count = function, len(ends)
        ctx.save_for_backward(*ends, *twins)
        return tuple(each.view_as(each) for each in values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        ends, starts = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
        total = [torch.zeros_like(each) for each in ends]
        for place, weight in zip(((1 + _PLACES) / 2).tolist(), (_WEIGHTS / 2).tolist(), strict=True):
            with torch.enable_grad():
                points = [
                    (start + place * (end - start)).requires_grad_() for start, end in zip(starts, ends, strict=True)
                ]
                held = [pair for pair in zip(ctx.function(*points), gradients, strict=True) if pair[0].requires_grad]
            found, backs = [pair[0] for pair in held], [pair[1] for pair in held]
            for added, slope in zip(total, torch.autograd.grad(found, points, backs, allow_unused=True), strict=True):
                if slope is not None:
                    added.add_(weight * slope)
        return None, None, None, *total


def path(function: Function, ends: Sequence[Tensor], twins: Sequence[Tensor], values: Sequence[Tensor]) -> Any:
    """What any function makes of tensors: its own integrated gradients between baseline and input, by 16 points.

    Args:
        function: From the tensors to a tuple of tensors.
        ends: The input's.
        twins: The baseline's.
        values: What it makes of the input's.
    """
    return _AlongPath.apply(function, list(twins), list(values), *ends)
