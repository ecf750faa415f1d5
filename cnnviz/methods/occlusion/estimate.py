"""Estimating a value at every window from some of them: evenly spread, then where it changes, then a random probe."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["PROBES", "WindowEstimate", "error_bar", "sample", "thin_plate"]

Floats: TypeAlias = NDArray[np.float64]


def thin_plate(places: Floats, values: Floats, at: Floats) -> Floats:
    """The surface of least bending energy through given values, at other places.

    Args:
        places: ``(n, 2)``, at least three and not all on one line.
        values: ``(n, Q)``, of so many surfaces.
        at: ``(m, 2)``.

    Returns:
        ``(m, Q)``.

    Reference:
        Duchon, Splines minimizing rotation-invariant semi-norms in Sobolev spaces, 1977.
    """
    count = len(places)
    plane = np.column_stack([np.ones(count), places])
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _bending_energy(places, places)
    system[:count, count:], system[count:, :count] = plane, plane.T
    solved = np.linalg.solve(system, np.concatenate([values, np.zeros((3, values.shape[1]))]))
    surface: Floats = (
        _bending_energy(at, places) @ solved[:count] + np.column_stack([np.ones(len(at)), at]) @ solved[count:]
    )
    return surface


def _bending_energy(one: Floats, other: Floats) -> Floats:
    """``r^2 log r`` of all distances."""
    squared = ((one[:, None] - other[None]) ** 2).sum(axis=2)
    bent: Floats = squared * np.log(np.where(squared > 0, squared, 1)) / 2
    return bent


Numbers: TypeAlias = NDArray[np.int64]
Evaluate: TypeAlias = Callable[[Numbers], Floats]
"""From numbers of windows ``(n,)`` to values ``(Q, n)`` of so many quantities."""

PROBES = 30
EVEN, ROUNDS, FLAT = 0.4, 4, 0.5
SHARE, CONFIDENCE = 0.9, 0.95


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


def sample(evaluate: Evaluate, shape: tuple[int, int], count: int, seed: int) -> WindowEstimate:
    """Estimate a value at every window of a grid from ``count`` of them.

    Two fifths are spread evenly; the rest, but for the probe, go in rounds to where the estimate changes and nothing
    is known nearby. A thin-plate spline fills the gaps. Last, 30 windows drawn uniformly from those not evaluated are
    a probe; their own values replace the estimate there, which is otherwise left as it was, so that the probe judges
    what is returned.

    Args:
        evaluate: Evaluates windows.
        shape: Rows and columns of windows.
        count: How many may be evaluated, more than the probe's 30 and 9.
        seed: Of the probe.
    """
    total, chosen = shape[0] * shape[1], _spread_evenly(shape, round(EVEN * (count - PROBES)))
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


def _spread_evenly(shape: tuple[int, int], count: int) -> Numbers:
    """About so many windows, in rows and columns that are evenly spread from edge to edge."""
    rows, columns = shape
    down = min(max(round(math.sqrt(count * rows / columns)), 2), rows)
    across = min(max(count // down, 2), columns)
    ends = ((rows, down), (columns, across))
    first, second = (np.unique(np.linspace(0, most - 1, kept).round().astype(np.int64)) for most, kept in ends)
    numbers: Numbers = (first[:, None] * columns + second).ravel()
    return numbers


def _choose_by_change(chosen: Numbers, values: Floats, shape: tuple[int, int], count: int) -> Numbers:
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


def _measure_change(estimate: Floats, shape: tuple[int, int]) -> Floats:
    """How steep the estimates ``(Q, R * S)`` are around each window, from 0.5 where they are flat to 1.5."""
    total = np.zeros(shape)
    for each in estimate.reshape(-1, *shape):
        down, across = np.gradient(each)
        steep = _soften(np.hypot(down, across))
        total += steep / steep.max() if steep.max() > 0 else steep
    return (total / len(estimate) + FLAT).ravel()


def _soften(values: Floats) -> Floats:
    """The mean of every value and its eight neighbours."""
    wide = np.pad(values, 1, mode="edge")
    rows, columns = values.shape
    parts = [wide[down : down + rows, across : across + columns] for down in range(3) for across in range(3)]
    mean: Floats = np.mean(parts, axis=0)
    return mean


def _fill_gaps(chosen: Numbers, values: Floats, shape: tuple[int, int]) -> Floats:
    places = _list_places(shape)
    estimate = thin_plate(places[chosen], values.T, places).T
    estimate[:, chosen] = values
    return estimate


def _list_places(shape: tuple[int, int]) -> Floats:
    return np.indices(shape).reshape(2, -1).T.astype(np.float64)
