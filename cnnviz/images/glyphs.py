"""How the ten digits are written: strokes in a box from -1 to 1 downwards and about -0.6 to 0.6 across."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SPACING: Final = 0.08


def _arc(x: float, y: float, across: float, down: float, start: float, stop: float) -> NDArray[np.float64]:  # noqa: PLR0917
    """Part of an ellipse around (x, y), clockwise between two angles in degrees, 0 at the right."""
    angles = np.radians(np.linspace(start, stop, max(2, round(abs(stop - start) / 9))))
    return np.stack([x + across * np.cos(angles), y + down * np.sin(angles)], axis=1)


def _path(*points: tuple[float, float]) -> NDArray[np.float64]:
    """Straight lines through points, with points close enough together on them to be bent."""
    corners = np.asarray(points, dtype=np.float64)
    pieces = [corners[:1]]
    for start, stop in pairwise(corners):
        steps = max(1, round(float(np.linalg.norm(stop - start)) / _SPACING))
        pieces.append(start + (stop - start) * (np.arange(1, steps + 1) / steps)[:, None])
    return np.concatenate(pieces)


def _joined(*strokes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate(strokes)


def _eight() -> NDArray[np.float64]:
    t = np.linspace(0, 2 * np.pi, 49)
    return np.stack([0.52 * np.sin(2 * t), -np.cos(t)], axis=1)


Glyph = tuple["NDArray[np.float64]", ...]
"""One way to write a digit: its strokes, each ``(N, 2)`` points as x, y."""

GLYPHS: Final[dict[str, tuple[Glyph, ...]]] = {
    "0": (
        (_arc(0, 0, 0.52, 1, -90, 270),),
        (_arc(0, 0, 0.68, 0.95, -60, 310),),
    ),
    "1": (
        (_path((0, -1), (0, 1)),),
        (_path((-0.4, -0.55), (0, -1), (0, 1)),),
        (_path((-0.4, -0.55), (0, -1), (0, 1)), _path((-0.4, 1), (0.4, 1))),
    ),
    "2": (
        (_joined(_arc(0, -0.45, 0.55, 0.55, 180, 395), _path((0.4, -0.1), (-0.58, 1), (0.62, 1))),),
        (
            _joined(
                _arc(0, -0.5, 0.5, 0.5, 200, 420), _arc(0.15, 1, 0.72, 1, 270, 190), _path((-0.5, 0.95), (0.6, 0.9))
            ),
        ),
    ),
    "3": (
        (_joined(_arc(-0.05, -0.5, 0.5, 0.5, -160, 90), _arc(-0.05, 0.5, 0.58, 0.5, -90, 160)),),
        (_joined(_path((-0.5, -1), (0.5, -1), (-0.05, -0.2)), _arc(-0.05, 0.4, 0.55, 0.6, -80, 155)),),
    ),
    "4": (
        (_path((0.3, 1), (0.3, -1), (-0.6, 0.35), (0.65, 0.35)),),
        (_path((-0.45, -1), (-0.52, 0.15), (0.62, 0.1)), _path((0.38, -0.75), (0.33, 1))),
    ),
    "5": (
        (_joined(_path((0.52, -1), (-0.38, -1), (-0.46, -0.1)), _arc(0, 0.35, 0.55, 0.65, -138, 150)),),
        (
            _joined(_path((-0.4, -0.9), (-0.42, -0.15)), _arc(0, 0.38, 0.5, 0.6, -125, 140)),
            _path((-0.4, -0.95), (0.5, -1)),
        ),
    ),
    "6": (
        (_arc(0.45, 0.4, 0.97, 1.4, 262, 180), _arc(0, 0.45, 0.52, 0.54, 180, 540)),
        (_joined(_path((0.15, -1), (-0.42, 0.2)), _arc(0, 0.45, 0.48, 0.52, 205, 555)),),
    ),
    "7": (
        (_path((-0.55, -1), (0.55, -1), (-0.1, 1)),),
        (_path((-0.55, -1), (0.55, -1), (-0.05, 1)), _path((-0.3, 0.02), (0.5, 0.02))),
        (_path((-0.55, -0.65), (-0.55, -0.98), (0.55, -1), (0.05, 1)),),
    ),
    "8": (
        (_arc(0, -0.5, 0.45, 0.49, 90, 450), _arc(0, 0.49, 0.54, 0.51, -90, 270)),
        (_eight(),),
    ),
    "9": (
        (_arc(0, -0.45, 0.5, 0.54, 0, 360), _path((0.5, -0.45), (0.4, 1))),
        (_arc(0, -0.45, 0.52, 0.54, 0, 360), _arc(-0.45, -0.4, 0.97, 1.4, 0, 82)),
    ),
}
"""Label -> the ways it is written."""
