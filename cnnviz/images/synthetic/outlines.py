"""The outlines of the drawn shapes, and how an outline becomes antialiased coverage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = []

SUPERSAMPLING: Final = 4
"""Each pixel's coverage is counted on a grid of this many samples a side."""

_SUBPIXEL_BITS: Final = 4


def _arc(
    start: float, stop: float, radius: float = 1.0, centre: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.float64]:
    """Points of a circle's arc between two angles in degrees, one every three degrees or so."""
    angles = np.radians(np.linspace(start, stop, max(2, round(abs(stop - start) / 3))))
    return np.asarray(np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius + centre)


def _polygon(*points: tuple[float, float]) -> NDArray[np.float64]:
    return np.asarray(points, dtype=np.float64)


def _star(points: int, inner: float) -> NDArray[np.float64]:
    angles = np.radians(-90 + 180 / points * np.arange(2 * points))
    radii = np.where(np.arange(2 * points) % 2 == 0, 1.0, inner)
    corners = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return corners * radii[:, None]


def _cross(half_width: float) -> NDArray[np.float64]:
    w = half_width
    return _polygon(
        (-w, -1), (w, -1), (w, -w), (1, -w), (1, w), (w, w), (w, 1), (-w, 1), (-w, w), (-1, w), (-1, -w), (-w, -w)
    )  # fmt: skip


def _heart() -> NDArray[np.float64]:
    t = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, -y], axis=1)


def _crescent(offset: float, radius: float) -> NDArray[np.float64]:
    """A unit disc without the disc of ``radius`` whose centre lies ``offset`` to the right."""
    x = (offset**2 + 1 - radius**2) / (2 * offset)
    y = np.sqrt(1 - x**2)
    outer = float(np.degrees(np.arctan2(y, x)))
    inner = float(np.degrees(np.arctan2(y, x - offset)))
    return np.concatenate([_arc(outer, 360 - outer), _arc(360 - inner, inner, radius, (offset, 0.0))])


def _centred(*contours: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Move the outer contour's bounding box to the origin and scale it into the unit circle."""
    outer = contours[0]
    middle = (outer.min(axis=0) + outer.max(axis=0)) / 2
    reach = float(np.linalg.norm(outer - middle, axis=1).max())
    return tuple((contour - middle) / reach for contour in contours)


OUTLINES: Final[dict[str, tuple[NDArray[np.float64], ...]]] = {
    "circle": _centred(_arc(0, 360)),
    "triangle": _centred(_polygon((0.0, -1.0), (0.866, 0.5), (-0.866, 0.5))),
    "square": _centred(_polygon((-1, -1), (1, -1), (1, 1), (-1, 1))),
    "star": _centred(_star(5, 0.42)),
    "cross": _centred(_cross(0.32)),
    "ring": _centred(_arc(0, 360), _arc(0, 360, 0.56)),
    "heart": _centred(_heart()),
    "crescent": _centred(_crescent(0.55, 0.8)),
    "arrow": _centred(_polygon((-1, -0.28), (0.1, -0.28), (0.1, -0.75), (1, 0), (0.1, 0.75), (0.1, 0.28), (-1, 0.28))),
    "bolt": _centred(_polygon((0.35, -1), (-0.6, 0.15), (-0.05, 0.15), (-0.35, 1), (0.6, -0.25), (0.08, -0.25))),
}
"""Label -> contours inside the unit circle, y downwards: the outline first, then its holes."""


def place(
    contours: tuple[NDArray[np.float64], ...],
    centre: tuple[float, float],
    radius: float,
    angle: float,
    aspect: float = 1.0,
) -> tuple[NDArray[np.float64], ...]:
    """Scale, stretch, turn and move contours from the unit circle into a picture.

    Args:
        contours: Polygons ``(N, 2)`` in the unit circle.
        centre: Where the circle's centre comes to lie, x and y in pixels.
        radius: The circle's radius in pixels.
        angle: Clockwise turn in radians.
        aspect: Width over height before the turn; the area stays.

    Returns:
        The polygons in pixels.
    """
    stretch = np.sqrt(aspect)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = radius * np.array([[cos * stretch, sin * stretch], [-sin / stretch, cos / stretch]])
    return tuple(contour @ matrix + np.asarray(centre) for contour in contours)


def coverage(contours: tuple[NDArray[np.float64], ...], size: int, border: float = 0.0) -> NDArray[np.float32]:
    """How much of each pixel lies inside a shape (even-odd) or, with ``border``, on its edge.

    Args:
        contours: Polygons ``(N, 2)`` in pixels, where pixel (0, 0) covers [0, 1) x [0, 1).
        size: Height and width of the picture in pixels.
        border: Zero to fill the shape; otherwise the width in pixels of the line drawn along its contours.

    Returns:
        ``(size, size)``, each between 0 and 1.
    """
    side = size * SUPERSAMPLING
    samples = np.zeros((side, side), np.uint8)
    scale = SUPERSAMPLING * (1 << _SUBPIXEL_BITS)
    offset = (1 << _SUBPIXEL_BITS) / 2
    points = [np.round(contour * scale - offset).astype(np.int32) for contour in contours]
    if border:
        width = max(1, round(border * SUPERSAMPLING))
        cv2.polylines(samples, points, isClosed=True, color=255, thickness=width, shift=_SUBPIXEL_BITS)
    else:
        cv2.fillPoly(samples, points, 255, cv2.LINE_8, _SUBPIXEL_BITS)
    return cv2.resize(samples, (size, size), interpolation=cv2.INTER_AREA) / np.float32(255)
