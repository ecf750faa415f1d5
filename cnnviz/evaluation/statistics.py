"""Statistics of values over pictures: bootstrap intervals, paired differences corrected for many, ranks.

Everything is paired: the same pictures are drawn for all methods and metrics, so that differences of two methods are
known better than either. What is drawn depends on the seed and the number of pictures alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FLIPS",
    "RESAMPLES",
    "Intervals",
    "adjust_holm",
    "bootstrap",
    "paired_p_values",
    "pictures_needed",
    "rank_agreement",
    "rank_rows",
]

RESAMPLES: Final = 2000
"""Data sets drawn with replacement."""

FLIPS: Final = 9999
"""Random changes of signs, where there are too many pictures to try all."""

MOST_EXACT: Final = 12
"""Pictures up to which all changes of signs are tried."""

AT_ONCE: Final = 1 << 22
"""Drawn numbers held at once."""


@dataclass(frozen=True)
class Intervals:
    """Means over pictures with their intervals.

    Attributes:
        mean: ``(...)`` float64; NaN where nothing is defined.
        low: ``(...)``: the lower end.
        high: ``(...)``: the higher end; both NaN where fewer than two values are defined.
        count: ``(...)``: how many values are defined.
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    count: NDArray[np.int64]


def bootstrap(values: NDArray[np.float64], *, level: float = 0.95, seed: int = 0) -> Intervals:
    """Means over pictures with percentile bootstrap intervals (Efron and Tibshirani, 1993).

    Pictures are drawn with replacement, the same for all columns; what is undefined is left out of each mean. The
    interval is widened by ``sqrt(n / (n - 1))`` about the mean, without which it is too narrow for few pictures.

    Args:
        values: ``(N, ...)`` float64; NaN is undefined.
        level: Of the intervals, between 0 and 1.
        seed: Of what is drawn.
    """
    count = np.asarray(np.isfinite(values).sum(axis=0), dtype=np.int64)
    flat = values.reshape(len(values), -1)
    defined = np.isfinite(flat)
    held = np.where(defined, flat, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = held.sum(axis=0) / defined.sum(axis=0)
        means = _resampled_means(held - np.where(defined, np.nan_to_num(mean), 0.0), defined, seed)
    edge = (1 - level) / 2
    low, high = np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    some = count.ravel() > 1
    if some.any():
        wider = np.sqrt(count.ravel()[some] / (count.ravel()[some] - 1))
        ends = np.nanquantile(means[:, some], [edge, 1 - edge], axis=0) * wider
        low[some], high[some] = mean[some] + ends[0], mean[some] + ends[1]
    shape = values.shape[1:]
    return Intervals(mean.reshape(shape), low.reshape(shape), high.reshape(shape), count)


def _resampled_means(centred: NDArray[np.float64], defined: NDArray[np.bool_], seed: int) -> NDArray[np.float64]:
    """``(RESAMPLES, columns)``: the mean of every drawn data set, NaN where it holds nothing that is defined."""
    number, rng = len(centred), np.random.default_rng(seed)
    found = []
    at_once = max(1, AT_ONCE // number)
    for start in range(0, RESAMPLES, at_once):
        drawn = rng.integers(number, size=(min(at_once, RESAMPLES - start), number))
        times = np.stack([np.bincount(row, minlength=number) for row in drawn]).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append((times @ centred) / (times @ defined.astype(np.float64)))
    return np.concatenate(found)


def paired_p_values(values: NDArray[np.float64], best: int, *, seed: int = 0) -> NDArray[np.float64]:
    """How likely differences from one column as large as these are if signs were chance: sign-flip tests, two-sided.

    Of up to 12 pictures all changes of signs are tried, of more 9999 random ones.

    Args:
        values: ``(N, M)`` float64; NaN is undefined, and a picture counts where both are defined.
        best: The column that the others are compared with.
        seed: Of the random changes.

    Returns:
        ``(M,)``; NaN for the column itself and where no picture has both.
    """
    found = np.full(values.shape[1], np.nan)
    for other in range(values.shape[1]):
        differences = values[:, other] - values[:, best]
        differences = differences[np.isfinite(differences)]
        if other != best and len(differences):
            found[other] = _sign_flip(differences, seed)
    return found


def _sign_flip(differences: NDArray[np.float64], seed: int) -> float:
    number = len(differences)
    least = abs(differences.sum()) * (1 - 1e-12)
    if number <= MOST_EXACT:
        signs = 1.0 - 2.0 * ((np.arange(2**number)[:, None] >> np.arange(number)) & 1)
        return float((np.abs(signs @ differences) >= least).mean())
    rng, extreme, left = np.random.default_rng(seed), 0, FLIPS
    while left:
        some = min(left, max(1, AT_ONCE // number))
        signs = 1.0 - 2.0 * rng.integers(2, size=(some, number))
        extreme += int((np.abs(signs @ differences) >= least).sum())
        left -= some
    return (1 + extreme) / (1 + FLIPS)


def adjust_holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """P-values adjusted for how many there are (Holm, 1979): each is compared with the level itself.

    Args:
        p_values: Any shape; NaN is no comparison, and stays NaN.
    """
    flat = p_values.ravel()
    tested = np.flatnonzero(np.isfinite(flat))
    adjusted = np.full(flat.shape, np.nan)
    order = tested[np.argsort(flat[tested], kind="stable")]
    scaled = flat[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled) if len(order) else scaled, 1.0)
    return adjusted.reshape(p_values.shape)


def pictures_needed(values: NDArray[np.float64], half_width: float, *, level: float = 0.95) -> int | None:
    """How many pictures an interval needs to reach so far to each side of the mean, by the values' deviation.

    Args:
        values: ``(N,)``, also paired differences; NaN is undefined.
        half_width: How far the interval is to reach.
        level: Of the interval.

    Returns:
        The number; None where fewer than two values are defined, or the half width is 0.
    """
    held = values[np.isfinite(values)]
    if len(held) < 2 or not half_width > 0:
        return None
    far = NormalDist().inv_cdf((1 + level) / 2)
    return max(2, math.ceil((far * float(held.std(ddof=1)) / half_width) ** 2))


def rank_rows(values: NDArray[np.float64], *, higher: bool) -> NDArray[np.float64]:
    """Ranks within each row, 1 the best; equal values share the mean of their ranks, NaN has none.

    Args:
        values: ``(..., M)`` float64.
        higher: Whether higher is better.
    """
    signed = -values if higher else values
    less = (signed[..., None, :] < signed[..., :, None]).sum(axis=-1)
    same = (signed[..., None, :] == signed[..., :, None]).sum(axis=-1)
    return np.where(np.isfinite(values), less + (same + 1) / 2, np.nan)


def rank_agreement(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far metrics agree on the order of methods: Spearman's correlation of the ranks, the mean over pictures.

    Args:
        ranks: ``(N, M, K)``: of every picture the ranks of methods by each metric; NaN is undefined.

    Returns:
        ``(K, K)``: 1 for the same order on every picture, -1 for the opposite; NaN where no picture has an order.
    """
    number = ranks.shape[2]
    found = np.full((number, number), np.nan)
    for one in range(number):
        for other in range(one, number):
            both = np.isfinite(ranks[:, :, one]) & np.isfinite(ranks[:, :, other])
            rows = [_correlation(r[b, one], r[b, other]) for r, b in zip(ranks, both, strict=True)]
            held = [each for each in rows if math.isfinite(each)]
            found[one, other] = found[other, one] = float(np.mean(held)) if held else np.nan
    return found


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Pearson's, of ranks; NaN where fewer than three or all are tied."""
    if len(one) < 3:
        return math.nan
    a, b = one - one.mean(), other - other.mean()
    size = math.sqrt(float((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 0 else math.nan
