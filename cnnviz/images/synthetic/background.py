"""Textures and backgrounds: what a drawn scene is made of besides its shape."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = []

_SUBPIXEL_BITS: Final = 4
_TURN: Final = np.linspace(0, 2 * np.pi, 32, endpoint=False)
_ELLIPSE: Final = np.stack([np.cos(_TURN), 0.5 * np.sin(_TURN)], axis=1)
_BULGES: Final = np.concatenate([np.cos(np.outer(_TURN, (1, 2, 3))), np.sin(np.outer(_TURN, (1, 2, 3)))], axis=1)
_WAVES: Final = np.cos(np.outer(np.linspace(0, np.pi, 24), (1, 2, 3, 4, 5))) / np.sqrt((1, 2, 3, 4, 5))


def _turned(points: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]))


def scribble(rng: np.random.Generator) -> NDArray[np.float64]:
    """A wandering open line, ``(24, 2)`` points around the origin, about two across."""
    return np.asarray(_WAVES @ rng.uniform(-0.9, 0.9, (5, 2)))


def blob(rng: np.random.Generator) -> NDArray[np.float64]:
    """A long, lopsided closed curve, ``(32, 2)`` points around the origin, about two across."""
    radii = 1 + _BULGES @ rng.uniform(-0.2, 0.2, 6)
    return _turned(_ELLIPSE * radii[:, None], rng.uniform(0, 2 * np.pi))


def shard(rng: np.random.Generator) -> NDArray[np.float64]:
    """A narrow slanted quadrilateral, ``(4, 2)`` points around the origin, about two across."""
    near, far, slant, turn = rng.uniform((0.12, 0.35, -0.5, 0), (0.3, 0.6, 0.5, 2 * np.pi)).tolist()
    return _turned(np.array([[-1, -near], [1, slant - far], [1, slant + far], [-1, near]]), turn)


def scatter(rng: np.random.Generator, painted: NDArray[np.uint8], palette: Palette) -> None:
    """Paint three to eight distractors: lines, scribbles, blobs and shards.

    Args:
        rng: Where the choices come from.
        painted: RGB ``(size, size, 3)``, painted on in place.
        palette: The scene's colours; no distractor comes near an object's.
    """
    for kind in rng.integers(4, size=int(rng.integers(3, 9))).tolist():
        _distractor(rng, painted, kind, palette.clutter(rng, 0.25, 0.55))


def _distractor(rng: np.random.Generator, painted: NDArray[np.uint8], kind: int, colour: Colour) -> None:
    size = painted.shape[0]
    paint = tuple(255 * part for part in colour)
    x, y, first, second, third = rng.random(5).tolist()
    centre = np.array([x, y]) * size
    width = max(1, round(size / 64 * (1 + 1.6 * third)))
    if kind == 0:
        reach = np.array([first - 0.5, second - 0.5]) * size
        _line(painted, np.stack([centre - reach, centre + reach]), paint, width)
    elif kind == 1:
        _line(painted, scribble(rng) * (size * (0.12 + 0.12 * first)) + centre, paint, width)
    else:
        outline = (blob if kind == 2 else shard)(rng) * (size * (0.06 + 0.14 * first)) + centre
        cv2.fillPoly(painted, [_fixed(outline)], paint, cv2.LINE_AA, _SUBPIXEL_BITS)


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    return (points * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def _line(painted: NDArray[np.uint8], points: NDArray[np.float64], paint: tuple[float, ...], width: int) -> None:
    cv2.polylines(
        painted,
        [_fixed(points)],
        isClosed=False,
        color=paint,
        thickness=width,
        lineType=cv2.LINE_AA,
        shift=_SUBPIXEL_BITS,
    )


Colour = tuple[float, float, float]
"""Red, green and blue between 0 and 1."""

OBJECT_DISTANCE: Final = 0.5
"""Least Euclidean distance between the object's colour and the ground's."""

CLUTTER_DISTANCE: Final = 0.35
"""Least Euclidean distance between an object's colour and that of anything else painted."""


@dataclass(frozen=True)
class Palette:
    """The colours a scene is built on: the ground's, and that of each object."""

    ground: Colour
    objects: tuple[Colour, ...]

    def stands_apart(self, colour: Colour) -> bool:
        """Whether a colour is none that could be taken for an object's."""
        return all(math.dist(colour, each) >= CLUTTER_DISTANCE for each in self.objects)

    def clutter(self, rng: np.random.Generator, least: float, most: float) -> Colour:
        """A colour between the ground's and any other, away from the objects'.

        Args:
            rng: Where the choices come from.
            least: Least share of the other colour, between 0 and 1.
            most: Greatest share of the other colour, between 0 and 1.
        """
        for _ in range(8):
            share, hue, saturation, value = rng.random(4).tolist()
            other = colorsys.hsv_to_rgb(hue, 0.2 + 0.7 * saturation, 0.2 + 0.8 * value)
            mixed = _mixed(self.ground, other, least + (most - least) * share)
            if self.stands_apart(mixed):
                return mixed
        return self.ground


def _mixed(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (a + share * (b - a) for a, b in zip(first, second, strict=True))
    return red, green, blue


def draw_palette(rng: np.random.Generator, objects: int = 1) -> Palette:
    """Choose a pale or dark ground, and vivid object colours that stand out from it and from each other.

    Args:
        rng: Where the choices come from.
        objects: How many object colours.
    """
    night, hue, saturation, value = rng.random(4).tolist()
    dark = night < 0.4
    if dark:
        ground = colorsys.hsv_to_rgb(hue, 0.3 + 0.35 * saturation, 0.16 + 0.22 * value)
    else:
        ground = colorsys.hsv_to_rgb(hue, 0.06 + 0.3 * saturation, 0.72 + 0.24 * value)
    palette = Palette(ground, ())
    while len(palette.objects) < objects:
        turn, saturation, value = rng.random(3).tolist()
        bright = 0.75 + 0.25 * value if dark else 0.3 + 0.65 * value
        vivid = colorsys.hsv_to_rgb((hue + 0.2 + 0.6 * turn) % 1.0, 0.55 + 0.37 * saturation, bright)
        if math.dist(vivid, ground) >= OBJECT_DISTANCE and palette.stands_apart(vivid):
            palette = Palette(ground, (*palette.objects, vivid))
    return palette


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
