"""How alike two maps are: rank correlation and structural similarity; and the entropy of a map's values.

A map that is the same everywhere, or has no value anywhere, says nothing of any place: its likeness to another is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from cnnviz.errors import ParameterError

__all__ = [
    "SIMILARITIES",
    "Similarity",
    "is_constant",
    "named_similarities",
    "spearman",
    "ssim",
    "value_entropy",
]

EVEN: Final = 1e-6
"""A map whose values differ by no more than this share of the largest is the same everywhere."""
WINDOW, WIDTH = 11, 1.5
"""Side and standard deviation of structural similarity's window, in pixels."""
K1, K2 = 0.01, 0.03
LEAST: Final = 2
"""Places that a correlation needs."""


def is_constant(values: NDArray[Any]) -> bool:
    """Whether a map is the same everywhere it has a value, but for rounding, or has no value anywhere.

    Args:
        values: ``(H, W)``; NaN where there is no value.
    """
    known = values[np.isfinite(values)].astype(np.float64)
    if not known.size:
        return True
    return bool(np.ptp(known) <= EVEN * np.abs(known).max())


def spearman(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Spearman's rank correlation of two maps with their signs, in [-1, 1]; 0 if either is constant.

    Equal values share the mean of their ranks. Places where either map has no value are left out. Independent random
    maps have 0.

    Args:
        one: ``(H, W)``.
        other: Likewise.
    """
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < LEAST or is_constant(one[both]) or is_constant(other[both]):
        return 0.0
    ranks = [_mean_ranks(each[both]) for each in (one, other)]
    centred = [each - each.mean() for each in ranks]
    norms = math.prod(float(np.linalg.norm(each)) for each in centred)
    return float(np.clip(centred[0] @ centred[1] / norms, -1, 1)) if norms else 0.0


def _mean_ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Ranks of values ``(N,)`` from 0, equal values having the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks: NDArray[np.float64] = (last - (count + 1) / 2)[place.reshape(-1)]
    return ranks


def ssim(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Structural similarity of two maps, at most 1 (equal but for a positive factor); 0 if either is constant.

    Each map is divided by its largest magnitude, so that zero stays zero; the range of values is then 1, or 2 if either
    map has negative values. Means, variances and the covariance are those of Gaussian windows (11 pixels, standard
    deviation 1.5) that lie wholly in the map, on places with values; on smaller maps the window is the largest that
    fits. Independent random maps have almost 0.

    Reference: Wang, Bovik, Sheikh and Simoncelli, Image Quality Assessment: From Error Visibility to Structural
    Similarity, IEEE Transactions on Image Processing 2004.

    Args:
        one: ``(H, W)``.
        other: Likewise.
    """
    if is_constant(one) or is_constant(other):
        return 0.0
    both = np.isfinite(one) & np.isfinite(other)
    first, second = (_scaled(each, both) for each in (one, other))
    reach = 2.0 if min(first.min(), second.min()) < 0 else 1.0
    side = min(WINDOW, *(length - (length + 1) % 2 for length in one.shape))
    means, squares = [_blurred(each, side) for each in (first, second)], (K1 * reach) ** 2
    variances = [_blurred(each * each, side) - mean**2 for each, mean in zip((first, second), means, strict=True)]
    together = _blurred(first * second, side) - means[0] * means[1]
    likeness = (2 * means[0] * means[1] + squares) / (means[0] ** 2 + means[1] ** 2 + squares)
    likeness *= (2 * together + (K2 * reach) ** 2) / (variances[0] + variances[1] + (K2 * reach) ** 2)
    whole = _whole_windows(both, side)
    return float(likeness[whole].mean()) if whole.any() else 0.0


def _scaled(values: NDArray[Any], both: NDArray[np.bool_]) -> NDArray[np.float64]:
    """A map divided by its largest magnitude; zero where either map has no value."""
    held: NDArray[np.float64] = np.where(both, values, 0).astype(np.float64)
    return held / (np.abs(held).max() or 1.0)


def _blurred(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    window = cv2.getGaussianKernel(side, WIDTH, cv2.CV_64F)
    return np.asarray(cv2.sepFilter2D(values, cv2.CV_64F, window, window, borderType=cv2.BORDER_REFLECT), np.float64)


def _whole_windows(known: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    """Centres of windows that lie wholly in the map, on places with values."""
    window = np.ones((side, side), np.uint8)
    eroded = cv2.erode(known.astype(np.uint8), window, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(eroded, dtype=np.bool_)


Similarity: TypeAlias = Callable[[NDArray[Any], NDArray[Any]], float]
"""From two maps to how alike they are."""

SIMILARITIES: Mapping[str, Similarity] = MappingProxyType({"spearman": spearman, "ssim": ssim})
"""How alike two maps are, by name."""


def named_similarities(names: Sequence[str]) -> Mapping[str, Similarity]:
    """Similarities by name.

    Raises:
        ParameterError: If there is none of a name, or no name.
    """
    if odd := [name for name in names if name not in SIMILARITIES] or ([] if names else [""]):
        raise ParameterError(f"similarity is {odd[0]!r}; expected one of {', '.join(SIMILARITIES)}.")
    return {name: SIMILARITIES[name] for name in names}


def value_entropy(values: NDArray[Any], *, bins: int = 100) -> float:
    """Entropy of the histogram of a map's values, in nats: 0 of a constant map, at most ``log(bins)``.

    Args:
        values: ``(H, W)``; places without a value are left out.
        bins: As many as there are, of one width, from the map's least value to its largest.
    """
    if is_constant(values):
        return 0.0
    counts, _ = np.histogram(values[np.isfinite(values)], bins=bins)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
