"""Scenes drawn from a number: one labelled shape on a cluttered background, with the mask of its visible pixels.

A scene depends on ``(seed, index, size, label)`` only, so a data set needs no files: it is a seed and a range.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cnnviz.images.synthetic.background import blob, coordinates, draw_background, draw_palette, draw_texture, shard
from cnnviz.images.synthetic.outlines import OUTLINES, coverage, place

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnviz.images.synthetic.background import Palette

__all__ = []

SHAPES: Final[tuple[str, ...]] = tuple(OUTLINES)
"""The labels, in the order of their class index."""

MOST_HIDDEN: Final = 0.25
"""The share of the labelled object that occluders may hide."""

_SMALLEST: Final = 16
_LEAST_RADIUS: Final = 0.22
_GREATEST_RADIUS: Final = 0.36
_OUTLINED: Final = 0.3
_OCCLUDED: Final = 0.5


@dataclass(frozen=True)
class Scene:
    """A drawn scene.

    Attributes:
        pixels: RGB, ``(size, size, 3)``, 0 to 255.
        mask: ``(size, size)``, the visible pixels of the labelled object.
        whole: ``(size, size)``, the object's pixels as if nothing stood before it.
        label: The shape's name, one of `SHAPES`.
        target: The label's class index.
        index: The number it was drawn from.
    """

    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    whole: NDArray[np.bool_]
    label: str
    target: int
    index: int


def draw_scene(index: int, *, seed: int = 0, size: int = 64, label: str | None = None) -> Scene:
    """Draw a scene: the same arguments always give the same bytes.

    Args:
        index: Which scene of the seed's endless series, from 0.
        seed: Which series, from 0.
        size: Height and width in pixels, at least 16; the composition grows with it.
        label: Forces the shape, in otherwise the same colours, place and background.

    Returns:
        The scene and where its object is.

    Raises:
        ValueError: If the label is unknown, the size too small, or a number negative.
    """
    if size < _SMALLEST:
        raise ValueError(f"size must be at least {_SMALLEST} pixels, not {size}")
    if label is not None and label not in OUTLINES:
        raise ValueError(f"no shape is called {label!r}; the shapes are {', '.join(SHAPES)}")
    rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
    drawn = SHAPES[_drawn_target(rng)]
    name = drawn if label is None else label
    palette = draw_palette(rng)
    canvas = draw_background(rng, palette, size)
    whole = _paint_object(rng, canvas, palette, name)
    mask = _paint_occluder(rng, canvas, palette, whole)
    return Scene(_developed(rng, canvas), mask, whole, name, SHAPES.index(name), index)


def scene_target(index: int, *, seed: int = 0) -> int:
    """The class index of a scene's shape, without drawing it.

    Args:
        index: Which scene of the seed's endless series, from 0.
        seed: Which series, from 0.
    """
    return _drawn_target(np.random.default_rng(np.random.SeedSequence([seed, index])))


def _drawn_target(rng: np.random.Generator) -> int:
    return int(rng.integers(len(SHAPES)))


def _paint(canvas: NDArray[np.float32], cover: NDArray[np.float32], colour: NDArray[np.float32]) -> None:
    canvas += cover * (colour - canvas)


def _paint_object(
    rng: np.random.Generator, canvas: NDArray[np.float32], palette: Palette, name: str
) -> NDArray[np.bool_]:
    """Paint the labelled object onto the canvas and return its pixels."""
    size = canvas.shape[-1]
    low, high = _LEAST_RADIUS * size, _GREATEST_RADIUS * size
    radius, turn, aspect, strength, outlined, shade = rng.uniform(
        (low, 0, 0.8, 0.03, 0, 0.4), (high, 2 * np.pi, 1.25, 0.12, 1, 0.7)
    ).tolist()
    x, y = rng.uniform(radius, size - radius, 2).tolist()
    contours = place(OUTLINES[name], (x, y), radius, turn, aspect)
    cover = coverage(contours, size)
    colour = np.asarray(palette.object, np.float32)[:, None, None]
    _paint(canvas, cover, colour + np.float32(strength) * draw_texture(rng, size))
    if outlined < _OUTLINED:
        edge = np.minimum(cover, coverage(contours, size, border=size / 32))
        _paint(canvas, edge, colour * np.float32(shade))
    return np.asarray(cover > 0.5)


def _paint_occluder(
    rng: np.random.Generator, canvas: NDArray[np.float32], palette: Palette, whole: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Hide a part of the object in about half of the scenes, and return what is left to see of it."""
    size = whole.shape[0]
    if rng.random() >= _OCCLUDED:
        return whole
    spots = np.flatnonzero(whole)
    for _ in range(4):
        row, column = divmod(int(spots[rng.integers(len(spots))]), size)
        outline = (blob if rng.random() < 0.5 else shard)(rng)
        reach = rng.uniform(0.08, 0.2) * size
        cover = coverage((outline * reach + (column + 0.5, row + 0.5),), size)
        mask = np.asarray(whole & (cover < 0.5))
        if np.count_nonzero(mask) >= (1 - MOST_HIDDEN) * len(spots):
            _paint(canvas, cover, np.asarray(palette.clutter(rng, 0.5, 0.9), np.float32)[:, None, None])
            return mask
    return whole


def _developed(rng: np.random.Generator, canvas: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Light the canvas from one side, add film grain and round to bytes."""
    line = coordinates(canvas.shape[-1])
    across, down, grain = rng.uniform((-0.25, -0.25, 0.005), (0.25, 0.25, 0.03)).tolist()
    light = 255 * (1 + (np.float32(across) * line)[None, :] + (np.float32(down) * line)[:, None])
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    canvas *= light
    canvas += np.float32(255 * grain) * noise + np.float32(0.5)
    planes = np.clip(canvas, 0, 255, out=canvas).astype(np.uint8)
    return np.ascontiguousarray(planes.transpose(1, 2, 0))
