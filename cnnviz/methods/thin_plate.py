"""The thin-plate spline: the smoothest surface through scattered values."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["thin_plate"]

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
    system[:count, :count] = _bending(places, places)
    system[:count, count:], system[count:, :count] = plane, plane.T
    solved = np.linalg.solve(system, np.concatenate([values, np.zeros((3, values.shape[1]))]))
    surface: Floats = _bending(at, places) @ solved[:count] + np.column_stack([np.ones(len(at)), at]) @ solved[count:]
    return surface


def _bending(one: Floats, other: Floats) -> Floats:
    """``r^2 log r`` of all distances."""
    squared = ((one[:, None] - other[None]) ** 2).sum(axis=2)
    bent: Floats = squared * np.log(np.where(squared > 0, squared, 1)) / 2
    return bent
