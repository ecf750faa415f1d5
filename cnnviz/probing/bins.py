"""Histograms whose edges no data decides over, and quantiles read from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "DESCRIPTION", "bins_of", "quantiles"]

AN_OCTAVE: Final = 16
LOWEST, HIGHEST = -12, 16
SHIFT: Final = 19  # of a float32's 23 bits after the point, four tell an octave's sixteenths apart
BASE: Final = (127 + LOWEST) * AN_OCTAVE
SIDE: Final = (HIGHEST - LOWEST) * AN_OCTAVE
MIDDLE: Final = SIDE + 1
BINS: Final = 2 * MIDDLE + 1
DESCRIPTION: Final = f"{AN_OCTAVE} an octave from 2^{LOWEST} to 2^{HIGHEST}, either sign; what is smaller is zero"


def bins_of(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """The bin of each value, from 0 to ``BINS - 1``, read off the bits of the number: exact, and the same everywhere.

    Args:
        values: Finite, of any shape.
    """
    bits = np.ascontiguousarray(values, np.float32).view(np.int32)
    size = np.clip((bits & 0x7FFFFFFF) // (1 << SHIFT) - (BASE - 1), 0, SIDE + 1)
    found: NDArray[np.int32] = np.where(bits < 0, MIDDLE - size, MIDDLE + size).astype(np.int32)
    return found


def quantiles(
    counts: NDArray[np.uint32],
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    levels: Sequence[float],
) -> NDArray[np.float64]:
    """Values below which given shares of the counted values lie, interpolated within a bin.

    Args:
        counts: ``(U, BINS)``: how many values of each unit lie in each bin.
        low: ``(U,)``: the smallest value of each unit.
        high: ``(U,)``: the largest.
        levels: Q shares between 0 and 1.

    Returns:
        ``(U, Q)``; NaN for a unit without values.
    """
    filled = np.flatnonzero(counts.any(axis=0))
    first, last = (filled[0], filled[-1] + 1) if len(filled) else (0, 1)
    counts = counts[:, first:last]
    reached = counts.cumsum(axis=1, dtype=np.int64)
    total = reached[:, -1:]
    found = np.full((len(counts), len(levels)), np.nan)
    low, high = (np.where(total[:, 0] > 0, each, np.float32(0)) for each in (low, high))
    units = np.arange(len(counts))
    edges = _edges()
    for column, level in enumerate(levels):
        rank = level * np.maximum(total[:, 0] - 1, 0)
        place = (reached <= rank[:, None]).sum(axis=1).clip(max=last - first - 1)
        inside = np.maximum(counts[units, place], 1)
        share = (rank - (reached[units, place] - inside) + 0.5) / inside
        left, right = (np.clip(edges[place + first + side], low, high) for side in (0, 1))
        value = np.where(place + first == MIDDLE, np.clip(0.0, low, high), left + share.clip(0, 1) * (right - left))
        found[:, column] = np.where(total[:, 0] > 0, value, np.nan)
    return found


def _edges() -> NDArray[np.float64]:
    """``(BINS + 1,)``: where each bin begins and the last one ends."""
    sizes = ((BASE + np.arange(SIDE + 1)) << SHIFT).astype(np.int32).view(np.float32).astype(np.float64)
    return np.concatenate([[-np.inf], -sizes[::-1], sizes, [np.inf]])
