"""Textures and backgrounds: what a drawn scene is made of besides its shape."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from cnnviz.images.clutter import scatter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnviz.images.palette import Palette

_KINDS: Final = 6
_CLOUD_GRID: Final = 5


@lru_cache(maxsize=8)
def coordinates(size: int) -> NDArray[np.float32]:
    """Where the pixels of a row or column lie, ``(size,)`` from -0.5 to 0.5."""
    return (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size) - np.float32(0.5)


@lru_cache(maxsize=8)
def _smoothing(size: int) -> NDArray[np.float32]:
    """The matrix ``(size, 5)`` that interpolates five knots to ``size`` pixels."""
    knots = np.eye(_CLOUD_GRID, dtype=np.float32)
    return np.asarray(cv2.resize(knots, (_CLOUD_GRID, size), interpolation=cv2.INTER_CUBIC), np.float32)


def _cloud(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    smoothing = _smoothing(size)
    knots = rng.uniform(-1, 1, (_CLOUD_GRID, _CLOUD_GRID)).astype(np.float32)
    return np.asarray(smoothing @ knots @ smoothing.T, np.float32)


def draw_texture(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """A texture of one of six kinds (none, cloud, ramp, stripes, checks, dots), at a random angle, period and phase.

    Args:
        rng: Where the choices come from.
        size: Height and width in pixels; the period goes with it.

    Returns:
        ``(size, size)``, about -1 to 1.
    """
    kind = int(rng.integers(_KINDS))
    if kind == 0:
        return np.zeros((size, size), np.float32)
    if kind == 1:
        return _cloud(rng, size)
    angle, period, *phases = rng.uniform((0, 0.09, 0, 0), (2 * np.pi, 0.22, 2 * np.pi, 2 * np.pi)).tolist()
    cos, sin, line = np.float32(np.cos(angle)), np.float32(np.sin(angle)), coordinates(size)
    along = (cos * line)[None, :] + (sin * line)[:, None]
    if kind == 2:
        return 2 * along
    wave = np.float32(2 * np.pi / period)
    first = np.sin(wave * along + np.float32(phases[0]))
    if kind == 3:
        return np.asarray(np.clip(3 * first, -1, 1))
    across = (cos * line)[:, None] - (sin * line)[None, :]
    second = np.sin(wave * across + np.float32(phases[1]))
    both = 4 * first * second if kind == 4 else 3 * (first + second - 1)
    return np.asarray(np.clip(both, -1, 1))


def draw_background(rng: np.random.Generator, palette: Palette, size: int) -> NDArray[np.float32]:
    """A background: soft patches of light and tint, distractors that are no labelled shape, and a faint texture.

    Args:
        rng: Where the choices come from.
        palette: The scene's colours.
        size: Height and width in pixels.

    Returns:
        Red, green and blue planes ``(3, size, size)``, about 0 to 1.
    """
    tint = rng.uniform(-0.07, 0.07, 3).astype(np.float32)
    planes = tint[:, None, None] * _cloud(rng, size)
    planes += np.float32(0.08) * _cloud(rng, size) + np.asarray(palette.ground, np.float32)[:, None, None]
    bright = np.clip(planes, 0, 1, out=planes) * np.float32(255)
    painted = np.ascontiguousarray(bright.astype(np.uint8).transpose(1, 2, 0))
    scatter(rng, painted, palette)
    np.multiply(painted.transpose(2, 0, 1), np.float32(1 / 255), out=planes)
    planes += np.float32(rng.uniform(0.02, 0.07)) * draw_texture(rng, size)
    return planes
