"""Clutter: distractors that are no labelled shape, and the forms that occluders take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnviz.images.palette import Colour, Palette

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
        palette: The scene's colours; no distractor comes near the object's.
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
