"""Answers for every pixel: which classes win where, and scores summed over regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cnnviz.core.dimensions import Size, is_dense, own_dims
from cnnviz.core.head import Head
from cnnviz.core.region import FORMS, Mask, is_background
from cnnviz.core.target import (
    ClassTarget,
    DetectionTarget,
    Finer,
    RegionTarget,
    Target,
    TopClass,
    check_indices,
    dense_target,
    named_class,
)
from cnnviz.engine.capture import widen_half
from cnnviz.engine.logits import COARSE_ROUNDING, sum_to_one
from cnnviz.errors import NowhereError, TargetError

__all__ = [
    "NAME_A_REGION",
    "everywhere",
    "is_top",
    "mean_probability",
    "nowhere_in",
    "on_picture",
    "settle_dense",
    "settle_won",
    "sum_region",
    "widest_class",
    "winners",
]

EVEN_CHANCE, NAMED = 0.5, 6
NAME_A_REGION = f"A region can be named: {FORMS}."


def winners(logits: Tensor, head: Head | None = None) -> Tensor:
    """Which classes win each pixel of a dense answer: ``(K, h, w)`` bool of ``(K, h, w)``.

    Of classes that exclude each other the first; of independent ones all with at least even chances; of values all.
    """
    if head is not None and not head.probable:
        return torch.ones_like(logits, dtype=torch.bool)
    adding_up = head is not None and head.kind == "probabilities" and sum_to_one(logits[None], COARSE_ROUNDING)
    if head is not None and not head.exclusive and not adding_up:
        return logits >= (EVEN_CHANCE if head.kind == "probabilities" else 0)
    classes = torch.arange(len(logits), device=logits.device).reshape(-1, *(1 for _ in logits.shape[1:]))
    return logits.argmax(dim=0) == classes


def settle_dense(target: Target, logits: Tensor, labels: Sequence[str] | None, head: Head | None) -> Target:
    """A target of one dense answer ``(K, h, w)`` with its class and its pixels."""
    found = _unsettled(target)
    if found is None:
        return dense_target(target)
    if found.peak:
        return _settle_peak(found, logits, head)
    shown = on_picture(found, tuple(logits.shape[1:])).to(logits.device)
    won = winners(logits, head) & shown
    if is_top(found) and not bool(won.any()):  # no label is likelier than not: the likeliest wins
        won[int(logits.double().mean(dim=own_dims(logits)).argmax())] = shown
    return settle_won(found, won, labels)


def is_top(target: Target) -> bool:
    """Whether a target is yet to have its class, the first of its picture."""
    side = target.side if isinstance(target, RegionTarget) and target.mask is None else target
    return isinstance(side, TopClass)


def settle_won(target: Target, won: Tensor, labels: Sequence[str] | None) -> Target:
    """A target with its class and its pixels, where it is known which classes win each pixel, ``(K, h, w)``."""
    found = _unsettled(target)
    if found is None:
        return dense_target(target)
    region = None if found.seen is None else found.seen.on_grid(tuple(won.shape[1:]))
    if isinstance(found.side, TopClass):
        inside = won if region is None else won & torch.from_numpy(region.array()).to(won.device)
        found = replace(found, side=widest_class(inside.sum(dim=own_dims(won)), labels))
    check_indices(found, len(won))
    if region is None:
        held = won[[each.index for each in found.classes]].any(dim=0)
        if not bool(held.any()):
            raise _no_winner(found, won, labels)
        region = Mask.of(held.cpu().numpy())
    return replace(found, mask=region)


def _settle_peak(target: RegionTarget, logits: Tensor, head: Head | None) -> Target:
    """The point of a heat map at the place where it is largest, the first of equals."""
    if head is None or head.exclusive:
        raise TargetError(
            f"'{target}' is the peak of a heat map, but this network's numbers are read as those of classes that "
            "exclude each other at every place; say what they are with head='value' (--head value), or 'sigmoid'."
        )
    check_indices(target, len(logits))
    (index,) = (each.index for each in target.classes)
    shown = on_picture(target, tuple(logits.shape[1:])).to(logits.device)
    places = torch.zeros(logits[index].numel(), dtype=torch.bool)
    places[int(logits[index].masked_fill(~shown, -torch.inf).argmax())] = True
    return replace(target, mask=Mask.of(places.reshape(shown.shape).numpy()))


def _unsettled(target: Target) -> RegionTarget | None:
    """A target as one of a dense answer that has no pixels yet; None where it needs none."""
    if isinstance(target, (Finer, DetectionTarget)):
        raise TargetError(f"'{target}' does not apply to segmentation; expected a class, 'a - b', or {FORMS}.")
    found = dense_target(target)
    if not isinstance(found, RegionTarget) or found.mask is not None:
        return None
    if found.region is not None and found.seen is None:
        raise TargetError(f"'{found}' needs the picture's geometry; ask a method, with the picture.")
    return found


def on_picture(target: Target, grid: Size) -> Tensor:
    """The pixels of an answer ``(h, w)`` that show the picture, and not what was put around it."""
    frame = target.frame if isinstance(target, RegionTarget) else None
    return torch.ones(grid, dtype=torch.bool) if frame is None else torch.from_numpy(frame.on_grid(grid).array())


def _no_winner(target: RegionTarget, won: Tensor, labels: Sequence[str] | None) -> NowhereError:
    shares = won.sum(dim=own_dims(won)) / on_picture(target, tuple(won.shape[1:])).sum().to(won.device)
    best = [int(index) for index in shares.argsort(descending=True)[:NAMED] if shares[index] > 0]
    named = ", ".join(f"{labels[index] if labels else index} ({float(shares[index]):.1%})" for index in best)
    others = f"these do: {named}" if named else "nor does any other class"
    what = f"'{target.side}' wins no pixel of"
    return NowhereError(f"{what} this picture; {others}. {NAME_A_REGION}", what, others, hint=f" {NAME_A_REGION}")


def nowhere_in(errors: Mapping[int, NowhereError], names: Sequence[str]) -> NowhereError:
    """The one error of several pictures of a call.

    Args:
        errors: The error of each picture that has one, by its row; at least one.
        names: Of all pictures of the call.
    """
    wanting: dict[str, list[str]] = {}
    for row, error in errors.items():
        wanting.setdefault(error.what, []).append(f"'{names[row]}'")
    said = "; ".join(f"{what} {_join_some(some)}" for what, some in wanting.items())
    row, first = next(iter(errors.items()))
    others = f"of '{names[row]}' {first.others}" if len(errors) > 1 else first.others
    return NowhereError(
        f"{said}; {others}.{first.hint}",
        first.what,
        first.others,
        hint=first.hint,
        rows=tuple(errors),
        count=len(names),
    )


def _join_some(names: Sequence[str]) -> str:
    more = [f"{len(names) - NAMED} more"] if len(names) > NAMED else []
    *most, last = [*names[:NAMED], *more]
    return f"{', '.join(most)} and {last}" if most else last


def everywhere(target: Target, logits: Tensor) -> Target:
    """A target of whole pictures as one of all pixels of dense answers like ``(N, K, h, w)``, whoever wins them."""
    found = dense_target(target)
    if not isinstance(found, RegionTarget) or found.region is not None:
        return found
    return replace(found, seen=Mask.of(np.ones(tuple(logits.shape[2:]), dtype=bool)))


def widest_class(areas: Tensor, labels: Sequence[str] | None) -> ClassTarget:
    """The class of the largest area ``(K,)``; the background only where nothing else has any."""
    others = areas.clone()
    for index, label in enumerate(labels or ()):
        others[index] *= not is_background(label)
    best = int((others if bool(others.any()) else areas).argmax())
    return named_class(best, labels)


def sum_region(target: RegionTarget, logits: Tensor) -> Tensor:
    """Logits of the target's classes, less its rival's, summed over its pixels, ``(n,)``."""
    if target.mask is None or not is_dense(logits):
        raise TargetError(f"'{target}' cannot be scored before it is settled on a dense answer.")
    grid = tuple(logits.shape[2:])
    if grid != target.mask.shape:
        raise TargetError(f"'{target}' is about an answer of {target.mask.shape} pixels; this one has {grid}.")
    logits = widen_half(logits)
    inside = torch.from_numpy(target.mask.array()).to(logits)
    summed = logits[:, [each.index for each in target.classes]].sum(dim=1)
    if target.rival is not None:
        summed = summed - logits[:, target.rival.index]
    return (summed * inside).sum(dim=own_dims(summed))


def mean_probability(target: RegionTarget, shares: Tensor) -> Tensor:
    """The mean over the target's pixels of what ``score`` sums, ``(n,)``: of probabilities again one."""
    return sum_region(target, shares) / target.count
