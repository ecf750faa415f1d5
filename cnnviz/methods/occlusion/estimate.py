"""Estimating a value at every window from some of them: evenly spread, then where it changes, then a random probe."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.dimensions import PICTURE, SIGNAL, VOLUME, Size

__all__ = ["LINES", "PROBES", "WindowEstimate", "error_bar", "fewest", "sample", "thin_plate"]

Floats: TypeAlias = NDArray[np.float64]


def thin_plate(places: Floats, values: Floats, at: Floats) -> Floats:
    """The surface of least bending energy through given values, at other places.

    Args:
        places: ``(n, A)`` with 1 to 3 axes; in a plane at least three and not all on one line.
        values: ``(n, Q)``, of so many surfaces.
        at: ``(m, A)``.

    Returns:
        ``(m, Q)``.

    Reference:
        Duchon, Splines minimizing rotation-invariant semi-norms in Sobolev spaces, 1977.
    """
    count, flat = len(places), places.shape[1] + 1
    plane = np.column_stack([np.ones(count), places])
    system = np.zeros((count + flat, count + flat))
    system[:count, :count] = _bending_energy(places, places)
    system[:count, count:], system[count:, :count] = plane, plane.T
    solved = np.linalg.solve(system, np.concatenate([values, np.zeros((flat, values.shape[1]))]))
    surface: Floats = (
        _bending_energy(at, places) @ solved[:count] + np.column_stack([np.ones(len(at)), at]) @ solved[count:]
    )
    return surface


def _bending_energy(one: Floats, other: Floats) -> Floats:
    """``r^2 log r`` of all distances in a plane; on a line ``r^3``, and in space ``r``."""
    squared = ((one[:, None] - other[None]) ** 2).sum(axis=2)
    bent: Floats = BENT[one.shape[1]](squared)
    return bent


BENT: Mapping[int, Callable[[Floats], Floats]] = {
    SIGNAL: lambda squared: squared**1.5,
    PICTURE: lambda squared: squared * np.log(np.where(squared > 0, squared, 1)) / 2,
    VOLUME: np.sqrt,
}
"""The energy of a bent line, plane and space, by squared distance."""


Numbers: TypeAlias = NDArray[np.int64]
Evaluate: TypeAlias = Callable[[Numbers], Floats]
"""From numbers of windows ``(n,)`` to values ``(Q, n)`` of so many quantities."""

PROBES, LINES = 30, 3
"""Windows that judge an estimate; fewest windows along each axis that one is made from."""

EVEN, ROUNDS, FLAT = 0.4, 4, 0.5
SHARE, CONFIDENCE = 0.9, 0.95


def fewest(axes: int) -> int:
    """How many windows an estimate with an error bar takes at least, by how many axes their grid has."""
    return PROBES + int(LINES**axes)


@dataclass(frozen=True)
class WindowEstimate:
    """Values at every window, most of them estimated.

    Attributes:
        values: ``(Q, R * S)``, exact where a window was evaluated.
        misses: ``(Q, p)``: estimate less value at the probed windows, before their values were known.
        unevaluated: How many windows were estimated when the probe was drawn.
    """

    values: Floats
    misses: Floats
    unevaluated: int


def sample(evaluate: Evaluate, shape: Size, count: int, seed: int) -> WindowEstimate:
    """Estimate a value at every window of a grid from ``count`` of them.

    Two fifths are spread evenly; the rest, but for the probe, go in rounds to where the estimate changes and nothing
    is known nearby. A thin-plate spline fills the gaps. Last, 30 windows drawn uniformly from those not evaluated are
    a probe; their own values replace the estimate there, which is otherwise left as it was, so that the probe judges
    what is returned.

    Args:
        evaluate: Evaluates windows.
        shape: How many windows there are along each axis.
        count: How many may be evaluated, at least as many as ``fewest`` says.
        seed: Of the probe.
    """
    total, chosen = math.prod(shape), _spread_evenly(shape, round(EVEN * (count - PROBES)))
    values = evaluate(chosen)
    wanted = count - PROBES
    for last in range(ROUNDS):
        some = round((wanted - len(chosen)) / (ROUNDS - last))
        more = _choose_by_change(chosen, values, shape, some)
        if len(more):
            chosen, values = np.concatenate([chosen, more]), np.concatenate([values, evaluate(more)], axis=1)
    estimate = _fill_gaps(chosen, values, shape)
    rest = np.setdiff1d(np.arange(total), chosen)
    probe = np.sort(np.random.default_rng(seed).choice(rest, PROBES, replace=False))
    found = evaluate(probe)
    misses = estimate[:, probe] - found
    estimate[:, probe] = found
    return WindowEstimate(estimate, misses, len(rest))


def error_bar(misses: Floats, unevaluated: int) -> float:
    """A bound that at least 90 % of the windows not evaluated are within, at 95 % confidence.

    The smallest order statistic of the probe's absolute misses for which the chance that more than a tenth of the
    windows lie beyond it is at most 5 %; the chance is hypergeometric, the probe being drawn without replacement.

    Args:
        misses: ``(p,)``.
        unevaluated: From how many windows the probe was drawn.
    """
    ordered = np.sort(np.abs(misses))
    beyond = math.floor((1 - SHARE) * unevaluated + 1e-9) + 1
    probes, within = len(ordered), unevaluated - beyond
    chance, allowed = 0.0, 0
    for hits in range(probes):
        ways = math.comb(beyond, hits) * math.comb(max(within, 0), probes - hits)
        chance += ways / math.comb(unevaluated, probes)
        if chance > 1 - CONFIDENCE:
            break
        allowed = hits
    return float(ordered[probes - 1 - allowed])


def _spread_evenly(shape: Size, count: int) -> Numbers:
    """About so many windows, on a grid that is evenly spread from edge to edge."""
    along, left = [], count
    for axis, length in enumerate(shape):
        behind = shape[axis:]
        usual = (left * length ** len(behind) / math.prod(behind)) ** (1 / len(behind))
        kept = min(max(round(usual), 2), length)
        along.append(np.unique(np.linspace(0, length - 1, kept).round().astype(np.int64)))
        left //= kept
    numbers: Numbers = np.ravel_multi_index(np.meshgrid(*along, indexing="ij"), shape).ravel()
    return numbers


def _choose_by_change(chosen: Numbers, values: Floats, shape: Size, count: int) -> Numbers:
    """So many more windows, one by one the largest of squared distance to the chosen ones times change."""
    change = _measure_change(_fill_gaps(chosen, values, shape), shape)
    places = _list_places(shape)
    distance = np.min([((places - places[number]) ** 2).sum(axis=1) for number in chosen], axis=0)
    found = []
    for _ in range(count):
        best = int(np.argmax(distance * change))
        found.append(best)
        distance = np.minimum(distance, ((places - places[best]) ** 2).sum(axis=1))
    return np.array(found, dtype=np.int64)


def _measure_change(estimate: Floats, shape: Size) -> Floats:
    """How steep the estimates ``(Q, R * S)`` are around each window, from 0.5 where they are flat to 1.5."""
    total = np.zeros(shape)
    for each in estimate.reshape(-1, *shape):
        along = [np.gradient(each, axis=axis) for axis in range(len(shape))]
        steep = _soften(reduce(np.hypot, along, np.zeros(shape)))
        total += steep / steep.max() if steep.max() > 0 else steep
    return (total / len(estimate) + FLAT).ravel()


def _soften(values: Floats) -> Floats:
    """The mean of every value and its neighbours, the diagonal ones too."""
    wide = np.pad(values, 1, mode="edge")
    shifts = product(range(3), repeat=values.ndim)
    parts = [wide[tuple(map(slice, shift, np.add(shift, values.shape)))] for shift in shifts]
    mean: Floats = np.mean(parts, axis=0)
    return mean


def _fill_gaps(chosen: Numbers, values: Floats, shape: Size) -> Floats:
    places = _list_places(shape)
    estimate = thin_plate(places[chosen], values.T, places).T
    estimate[:, chosen] = values
    return estimate


def _list_places(shape: Size) -> Floats:
    return np.indices(shape).reshape(len(shape), -1).T.astype(np.float64)
