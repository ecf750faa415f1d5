"""Digits drawn from a number: white strokes on black, slanted, bent, thick or thin, blurred and noisy.

A digit depends on ``(seed, index, size, label)`` only, like a scene of `cnnviz.images.synthetic.scenes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = []

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


DIGITS: Final[tuple[str, ...]] = tuple(GLYPHS)
"""The labels, in the order of their class index."""

_SMALLEST: Final = 16
_SUPERSAMPLING: Final = 4
_SUBPIXEL_BITS: Final = 4


@dataclass(frozen=True)
class Digit:
    """A drawn digit.

    Attributes:
        pixels: Grey, ``(size, size)``, 0 (ground) to 255 (stroke).
        label: The digit's name, one of `DIGITS`.
        target: The label's class index.
        index: The number it was drawn from.
    """

    pixels: NDArray[np.uint8]
    label: str
    target: int
    index: int


def draw_digit(index: int, *, seed: int = 0, size: int = 32, label: str | None = None) -> Digit:
    """Draw a digit: the same arguments always give the same bytes.

    Args:
        index: Which digit of the seed's endless series, from 0.
        seed: Which series, from 0.
        size: Height and width in pixels, at least 16; the strokes grow with it.
        label: Forces the digit.

    Returns:
        The digit.

    Raises:
        ValueError: If the label is unknown, the size too small, or a number negative.
    """
    if size < _SMALLEST:
        raise ValueError(f"size must be at least {_SMALLEST} pixels, not {size}")
    if label is not None and label not in GLYPHS:
        raise ValueError(f"no digit is called {label!r}; the digits are {', '.join(DIGITS)}")
    rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
    drawn = DIGITS[int(rng.integers(len(DIGITS)))]
    name = drawn if label is None else label
    ways = GLYPHS[name]
    glyph = ways[int(rng.random() * len(ways))]
    strokes = _bent(rng, glyph, size)
    ink = _inked(strokes, size, rng.uniform(0.05, 0.13) * size)
    return Digit(_developed(rng, ink), name, DIGITS.index(name), index)


def _bent(rng: np.random.Generator, glyph: Glyph, size: int) -> list[NDArray[np.float64]]:
    """Bend a glyph's strokes smoothly, then slant, turn, scale and move them to pixels."""
    bend = rng.uniform(-0.13, 0.13, (2, 4))
    phase = rng.uniform(0, 2 * np.pi, 4)
    pace = np.array([[2.0, 0.5, 3.5, 1.0], [0.5, 2.0, 1.0, 3.5]])
    slant, turn, wide, tall = rng.uniform((-0.4, -0.3, 0.65, 0.7), (0.4, 0.3, 1.3, 1.1)).tolist()
    cos, sin = np.cos(turn), np.sin(turn)
    form = np.array([[wide, 0.0], [-slant, tall]]) @ np.array([[cos, sin], [-sin, cos]]) * (0.33 * size)
    centre = size * rng.uniform(0.44, 0.56, 2)
    return [(stroke + np.sin(stroke @ pace + phase) @ bend.T) @ form + centre for stroke in glyph]


def _inked(strokes: list[NDArray[np.float64]], size: int, width: float) -> NDArray[np.float32]:
    """Draw strokes of a width in pixels, antialiased: ``(size, size)`` between 0 and 1."""
    side = size * _SUPERSAMPLING
    samples = np.zeros((side, side), np.uint8)
    points = [(stroke * (_SUPERSAMPLING << _SUBPIXEL_BITS)).astype(np.int32) for stroke in strokes]
    thickness = max(1, round(width * _SUPERSAMPLING))
    cv2.polylines(samples, points, isClosed=False, color=255, thickness=thickness, shift=_SUBPIXEL_BITS)
    shrunk = cv2.resize(samples, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk, np.float32) / np.float32(255)


def _developed(rng: np.random.Generator, ink: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Blur the ink a little, vary its brightness, add noise and round to bytes."""
    size = ink.shape[0]
    blur, brightness, grain = rng.uniform((0.005, 0.6, 0.005), (0.03, 1.0, 0.1)).tolist()
    soft = cv2.GaussianBlur(ink, (0, 0), blur * size)
    noise = rng.standard_normal(ink.shape, dtype=np.float32)
    grey = np.float32(brightness) * np.asarray(soft, np.float32) + np.float32(grain) * noise
    return np.asarray(np.clip(grey, 0, 1) * 255 + 0.5, np.uint8)
