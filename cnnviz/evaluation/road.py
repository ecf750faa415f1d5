"""ROAD: pixels removed so that nothing tells where, each replaced by what its neighbours say of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from cnnviz.errors import ParameterError
from cnnviz.evaluation.faithfulness import ask, order_ranks
from cnnviz.evaluation.metric import Case, check_maps, has_evidence

__all__ = ["FRACTIONS", "impute", "road", "road_curve", "road_curves"]

Maps: TypeAlias = NDArray[np.floating[Any]]
Values: TypeAlias = NDArray[np.float64]

FRACTIONS: Final = tuple(tenths / 10 for tenths in range(1, 10))
NOISE: Final = 0.01
TOLERANCE, MOST_ITERATIONS, BETWEEN_CHECKS = 3e-4, 2000, 8
SIDE, CORNER = 1 / 6, 1 / 12
SMALLEST = 4


def road(case: Case, maps: Maps, *, fractions: Sequence[float] = FRACTIONS) -> Values:
    """ROAD: the target's probability after the least important pixels were removed, minus after the most important.

    Rong et al. 2022, as probabilities of single pictures: the mean over the fractions that are removed, a tenth to nine
    tenths. Higher is better; -1 to 1, and a random map has 0 on average. (pytorch-grad-cam's ``ROADCombined`` is half
    of it.) Removed pixels are imputed by :func:`impute`, with Gaussian noise of deviation 0.01, in pixels of 0 to 1,
    which is the same for all maps and fractions. Pixels of equal value go in the order of reading in both orders, so
    that a constant map has exactly 0; those without a value are the least important.

    Args:
        case: The picture and its target; its seed is that of the noise.
        maps: ``(M, H, W)``.
        fractions: Of the pixels that are removed, each above 0 and below 1.

    Returns:
        ``(M,)``; NaN for a map without a positive value.
    """
    return np.asarray(road_curve(case, maps, fractions=fractions).mean(axis=1), dtype=np.float64)


def road_curve(case: Case, maps: Maps, *, fractions: Sequence[float] = FRACTIONS) -> Values:
    """``(M, fractions)``: what :func:`road` is the mean of."""
    curves = road_curves(case, maps, fractions=fractions)
    return np.asarray(curves[1] - curves[0], dtype=np.float64)


def road_curves(case: Case, maps: Maps, *, fractions: Sequence[float] = FRACTIONS) -> Values:
    """The target's probability after a fraction was removed, ``(2, M, fractions)``: MoRF, then LeRF.

    That is with the most relevant first, and the least relevant first; NaN for a map without a positive value.

    Raises:
        ParameterError: If the maps have not the size of the network's input, or a fraction leaves or removes nothing.
    """
    check_maps(case, maps)
    pixels = int(np.prod(maps.shape[1:]))
    counts = [round(fraction * pixels) for fraction in fractions]
    if not counts or not all(0 < count < pixels for count in counts):
        raise ParameterError(f"fractions must be above 0 and below 1, some pixels each; got {tuple(fractions)}.")
    defined = np.flatnonzero(has_evidence(maps))
    curves = np.full((2, len(maps), len(counts)), np.nan)
    if not len(defined):
        return curves
    ranks = np.concatenate([order_ranks(maps[defined], least_first=least) for least in (False, True)])
    orders = torch.from_numpy(ranks).unsqueeze(1)
    taken = torch.tensor(counts).view(-1, 1, 1, 1)
    noise = _noise(case)

    def removed(rows: slice) -> Tensor:
        places = torch.arange(rows.start, rows.stop)
        order, fraction = places // len(counts), places % len(counts)
        missing = (orders[order] < taken[fraction]).to(case.inputs.device)
        imputed = impute(case.inputs.expand(len(order), -1, -1, -1), missing)
        return imputed + missing * noise

    values = ask(case, case.probability, len(ranks) * len(counts), removed)
    curves[:, defined] = values.reshape(2, len(defined), len(counts))
    return curves


def _noise(case: Case) -> Tensor:
    """The noise of removed pixels, ``(1, C, H, W)``, on the scale of the network's input."""
    drawn = np.random.default_rng(case.seed).normal(0, NOISE, case.inputs.shape)
    return torch.from_numpy(drawn).to(case.inputs) * case.unit.to(case.inputs)


def impute(inputs: Tensor, missing: Tensor, *, tolerance: float = TOLERANCE) -> Tensor:
    """Pictures with each missing pixel the weighted mean of its neighbours, missing or not: ``(B, C, H, W)``.

    The linear imputation of ROAD (Rong et al. 2022), without noise: weights are 1/6 for neighbours at a side and 1/12
    for those at a corner, in proportion where the border cuts some off. The equations of all pictures are solved
    together, by conjugate gradients preconditioned by their diagonal, from a start at half the size, found likewise.

    Args:
        inputs: ``(B, C, H, W)``.
        missing: ``(B, 1, H, W)`` bool; not everything of a picture.
        tolerance: The largest residual of a picture's equations, ``||b - Au|| / ||b||``.

    Raises:
        ParameterError: If nothing is left of a picture.
    """
    if bool(missing.flatten(1).all(dim=1).any()):
        raise ParameterError("A picture that is missing as a whole cannot be imputed; at least one pixel must be left.")
    wide = inputs.to(torch.promote_types(inputs.dtype, torch.float32))
    where = missing.to(wide.dtype)
    kept = wide * (1 - where)
    right = where * _neighbours(kept)
    start = where * _guess(wide, missing, tolerance) * (_dot(right, right) > 0)  # nothing follows from nothing
    return (kept + _solve(where, right, start, tolerance)).to(inputs.dtype)


def _solve(where: Tensor, right: Tensor, found: Tensor, tolerance: float) -> Tensor:
    """The solutions of all pictures' equations; each goes on until it is good enough.

    Args:
        where: ``(B, 1, H, W)``: 1 where there is an equation, else 0.
        right: ``(B, C, H, W)``: their right sides, 0 elsewhere.
        found: A start, 0 elsewhere.
        tolerance: The largest residual, as a share of the right side.
    """
    degree = _neighbours(torch.ones_like(right[:1, :1]))
    solved, rows = found.clone(), torch.arange(len(right), device=right.device)
    residual = right - where * (degree * found - _neighbours(found))
    goal = tolerance**2 * _dot(right, right)
    direction = where * residual / degree
    power = _dot(residual, direction)
    for step in range(MOST_ITERATIONS):
        if step % BETWEEN_CHECKS == 0:
            left = (_dot(residual, residual) > goal).flatten()
            solved[rows] = found
            if not bool(left.any()):
                break
            state = rows, where, found, residual, goal, direction, power
            rows, where, found, residual, goal, direction, power = (each[left] for each in state)
        image = where * (degree * direction - _neighbours(direction))
        length = _ratio(power, _dot(direction, image))
        found, residual = found + length * direction, residual - length * image
        scaled = residual / degree
        before, power = power, _dot(residual, scaled)
        direction = scaled + _ratio(power, before) * direction
    else:
        solved[rows] = found
    return solved


def _neighbours(values: Tensor) -> Tensor:
    """Each pixel's weighted sum of its neighbours; nothing lies beyond the border."""
    tall = pad(values, (0, 0, 1, 1))
    column = tall[:, :, :-2] + 2 * values + tall[:, :, 2:]
    wide = pad(column, (1, 1))
    return CORNER * (wide[..., :-2] + 2 * column + wide[..., 2:] - 4 * values)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """``(B, 1, 1, 1)``: of each picture."""
    return (one * other).sum((1, 2, 3), keepdim=True)


def _ratio(over: Tensor, under: Tensor) -> Tensor:
    """The ratio of numbers that are not negative; 0 where both are 0."""
    return over / under.clamp_min(torch.finfo(under.dtype).tiny)


def _guess(inputs: Tensor, missing: Tensor, tolerance: float) -> Tensor:
    """A start: what is missing at half the size, imputed, and brought back to the whole size."""
    if min(inputs.shape[-2:]) < SMALLEST:
        return torch.zeros_like(inputs)
    there = (~missing).to(inputs.dtype)
    weight = avg_pool2d(there, 2, ceil_mode=True)
    means = avg_pool2d(inputs * there, 2, ceil_mode=True) / weight.clamp_min(torch.finfo(inputs.dtype).tiny)
    solved = impute(means, weight == 0, tolerance=tolerance)
    return interpolate(solved, size=inputs.shape[-2:], mode="bilinear", align_corners=False)
