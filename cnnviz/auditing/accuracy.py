"""Accuracy: how often a network is right, with intervals; of every class, confused classes, groups, two networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "McNemar",
    "Share",
    "confusion_matrix",
    "group_shares",
    "mcnemar",
    "order_classes",
    "per_class",
    "share_of_rows",
    "worst_pairs",
]

LEVEL: Final = 0.95
MOST_ORDERED: Final = 2000
"""Classes that are put in order; of more they stay as they are."""


@dataclass(frozen=True)
class Share:
    """A share of pictures with its interval.

    Attributes:
        count: How many are counted as such.
        total: Of how many.
        low: The interval's lower end; NaN of no picture.
        high: Its higher end.
    """

    count: int
    total: int
    low: float
    high: float

    @classmethod
    def of(cls, count: int, total: int, level: float = LEVEL) -> Share:
        """A share with Wilson's interval (Wilson, 1927), which is right for few pictures and near 0 and 1 too.

        Args:
            count: How many.
            total: Of how many.
            level: Of the interval.
        """
        if not total:
            return cls(count, total, math.nan, math.nan)
        far = NormalDist().inv_cdf((1 + level) / 2)
        share, square = count / total, far * far / total
        middle = (share + square / 2) / (1 + square)
        half = far / (1 + square) * math.sqrt(share * (1 - share) / total + square / (4 * total))
        low = 0.0 if count == 0 else max(0.0, middle - half)
        return cls(count, total, low, 1.0 if count == total else min(1.0, middle + half))

    @property
    def value(self) -> float:
        """The share; NaN of no picture."""
        return self.count / self.total if self.total else math.nan


def share_of_rows(rows: NDArray[np.bool_]) -> Share:
    """The share of rows that are true."""
    return Share.of(int(rows.sum()), len(rows))


def per_class(truth: NDArray[np.int64], right: NDArray[np.bool_], classes: int) -> tuple[Share, ...]:
    """For each class the share of its pictures that are answered right (its recall).

    Args:
        truth: ``(N,)``: true classes.
        right: ``(N,)``: whether the answer is right.
        classes: How many there are.
    """
    totals = np.bincount(truth, minlength=classes)
    counts = np.bincount(truth[right], minlength=classes)
    return tuple(Share.of(int(count), int(total)) for count, total in zip(counts, totals, strict=True))


def group_shares(values: Sequence[str], right: NDArray[np.bool_]) -> dict[str, Share]:
    """For each value of a column of groups the share of right answers, by the names' order; empty values are left out.

    Args:
        values: ``(N,)``.
        right: ``(N,)``: whether the answer is right.
    """
    held = np.array(values, dtype=object)
    return {str(name): share_of_rows(right[held == name]) for name in sorted({each for each in values if each})}


def confusion_matrix(truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """``(K, K)``: how many pictures of each true class (row) are answered as each class (column).

    Args:
        truth: ``(N,)``.
        predicted: ``(N,)``.
        classes: How many there are.
    """
    flat = np.bincount(truth * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def order_classes(matrix: NDArray[np.int64]) -> NDArray[np.int64]:
    """An order of the classes in which those that are confused with each other stand together, so that blocks show.

    Classes are joined by average linkage of the share of each pair's pictures that are confused, the most confused
    first; classes without pictures come last.

    Args:
        matrix: ``(K, K)``, as :func:`confusion_matrix` gives it.
    """
    classes = len(matrix)
    totals = matrix.sum(axis=1)
    held = np.flatnonzero((totals > 0) | (matrix.sum(axis=0) > 0))
    others = np.setdiff1d(np.arange(classes), held)
    if not 2 < len(held) <= MOST_ORDERED:
        return np.concatenate([held, others]).astype(np.int64)
    shares = matrix[np.ix_(held, held)] / np.maximum(totals[held], 1)[:, None]
    likeness = (shares + shares.T) / 2
    np.fill_diagonal(likeness, -1.0)
    groups: list[list[int] | None] = [[index] for index in range(len(held))]
    sizes = np.ones(len(held))
    for _ in range(len(held) - 1):
        one, other = np.unravel_index(int(likeness.argmax()), likeness.shape)
        if likeness[one, other] <= 0:
            break
        first, second = groups[one], groups[other]
        assert first is not None
        assert second is not None
        groups[one], groups[other] = _joined(first, second, shares), None
        merged = (likeness[one] * sizes[one] + likeness[other] * sizes[other]) / (sizes[one] + sizes[other])
        sizes[one] += sizes[other]
        merged[[one, other]] = -1.0
        merged[likeness[one] < 0] = -1.0
        likeness[one], likeness[:, one] = merged, merged
        likeness[other], likeness[:, other] = -1.0, -1.0
    blocks = sorted((group for group in groups if group is not None), key=lambda group: (-len(group), min(group)))
    return np.concatenate([held[[index for group in blocks for index in group]], others]).astype(np.int64)


def _joined(one: list[int], other: list[int], shares: NDArray[np.float64]) -> list[int]:
    """Two groups one after the other, turned so that the ends that meet are those most confused."""

    def meeting(first: list[int], second: list[int]) -> float:
        return float(shares[first[-1], second[0]] + shares[second[0], first[-1]])

    ways = [(first, second) for first in (one, one[::-1]) for second in (other, other[::-1])]
    first, second = max(ways, key=lambda way: meeting(*way))
    return [*first, *second]


def worst_pairs(matrix: NDArray[np.int64], most: int = 20) -> list[tuple[int, int, int]]:
    """The most frequent mistakes: true class, answered class and how many pictures, the most first.

    Args:
        matrix: ``(K, K)``.
        most: How many.
    """
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [(int(each) // len(matrix), int(each) % len(matrix)) for each in order]
    return [(true, answered, int(wrong[true, answered])) for true, answered in pairs if wrong[true, answered]]


@dataclass(frozen=True)
class McNemar:
    """Two networks on the same pictures.

    Attributes:
        both: Pictures that both answer right.
        first: That only the first does.
        second: That only the second does.
        neither: That none does.
        p_value: How likely so uneven a split of the two in the middle is if both networks are equally good: the exact
            two-sided test of McNemar (1947).
        difference: The first's accuracy less the second's.
        low: Its interval's lower end (paired, after Newcombe, 1998, method 10).
        high: Its higher end.
    """

    both: int
    first: int
    second: int
    neither: int
    p_value: float
    difference: float
    low: float
    high: float


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemar:
    """Compare two networks on the same pictures.

    Args:
        first: ``(N,)``: whether the first is right.
        second: ``(N,)``: whether the second is.
    """
    both, one, other = (int(each.sum()) for each in (first & second, first & ~second, ~first & second))
    number, uneven = len(first), one + other
    tail = sum(math.comb(uneven, k) for k in range(min(one, other) + 1)) if uneven <= MOST_EXACT else None
    p_value = _normal_tail(one, other) if tail is None else min(1.0, 2 * tail / 2**uneven)
    difference = (one - other) / number
    mine, theirs = Share.of(both + one, number), Share.of(both + other, number)
    low, high = _newcombe(mine, theirs, (both, one, other, number - both - one - other))
    return McNemar(both, one, other, number - both - uneven, p_value, difference, low, high)


MOST_EXACT: Final = 10_000


def _normal_tail(one: int, other: int) -> float:
    """The test for very many pictures: normal, with continuity corrected."""
    far = max(0.0, abs(one - other) - 1) / math.sqrt(one + other)
    return 2 * (1 - NormalDist().cdf(far))


def _newcombe(mine: Share, theirs: Share, cells: tuple[int, int, int, int]) -> tuple[float, float]:
    both, one, other, neither = cells
    product = (both + one) * (other + neither) * (both + other) * (one + neither)
    phi = 0.0
    if product:
        crossed = both * neither - one * other
        corrected = max(crossed - mine.total / 2, 0) if crossed > 0 else crossed
        phi = corrected / math.sqrt(product)
    down, up = mine.value - mine.low, mine.high - mine.value
    their_down, their_up = theirs.value - theirs.low, theirs.high - theirs.value
    difference = mine.value - theirs.value
    low = math.sqrt(max(0.0, down**2 - 2 * phi * down * their_up + their_up**2))
    high = math.sqrt(max(0.0, up**2 - 2 * phi * up * their_down + their_down**2))
    return max(-1.0, difference - low), min(1.0, difference + high)
