"""Complexity: how sparse or how even the values of a map are, whatever they are about."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.evaluation.metric import Case, has_evidence

__all__ = ["entropy", "gini"]


def gini(case: Case, maps: NDArray[np.floating[Any]]) -> NDArray[np.float64]:  # noqa: ARG001 - as all metrics are called
    """Gini index of the values' magnitudes: 0 if all are equal, near 1 if few hold everything.

    Chalasani et al. 2020. Higher is sparser, which its paper calls better; 0 to 1, and 1/3 for uniform noise. Pixels
    without a value count as 0, and equal values need no order. A constant map has 0.

    Args:
        case: Not looked at.
        maps: ``(M, ...)``.

    Returns:
        ``(M,)``; NaN for a map without a positive value.
    """
    shares = np.sort(_shares(maps), axis=1)
    count = shares.shape[1]
    return np.asarray(shares @ (2 * np.arange(1, count + 1) - count - 1) / count, dtype=np.float64)


def entropy(case: Case, maps: NDArray[np.floating[Any]]) -> NDArray[np.float64]:  # noqa: ARG001
    """Entropy of the values' magnitudes as shares of their sum, in nats.

    Bhatt et al. 2020. Lower is simpler, which its paper calls better; 0 to the logarithm of the number of pixels, which
    a constant map has; uniform noise has 0.19 less. Pixels without a value count as 0.

    Args:
        case: Not looked at.
        maps: ``(M, ...)``.

    Returns:
        ``(M,)``; NaN for a map without a positive value.
    """
    shares = _shares(maps)
    some = np.where(shares > 0, shares, 1)
    return np.asarray(-(shares * np.log(some)).sum(axis=1), dtype=np.float64)


def _shares(maps: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Magnitudes as shares of their sum, ``(M, pixels)``; NaN for a map without a positive value."""
    flat = np.abs(np.nan_to_num(maps.astype(np.float64), nan=0.0)).reshape(len(maps), -1)
    total = np.where(has_evidence(maps), flat.sum(axis=1), np.nan)
    return np.asarray(flat / total[:, None], dtype=np.float64)
