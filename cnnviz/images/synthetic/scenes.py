"""Scenes drawn from a number: labelled shapes on a cluttered background, with the masks of their visible pixels.

A scene depends on ``(seed, index, size, label, shapes)`` only, so a data set needs no files: it is a seed and a range.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from cnnviz.images.synthetic.background import blob, coordinates, draw_background, draw_palette, draw_texture, shard
from cnnviz.images.synthetic.outlines import OUTLINES, coverage, place

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnviz.images.synthetic.background import Colour, Palette

__all__ = []

SHAPES: Final[tuple[str, ...]] = tuple(OUTLINES)
"""The labels, in the order of their class index."""

MOST_SHAPES: Final = 3

MOST_HIDDEN: Final = 0.25
"""The share of a labelled object that what stands before it may hide."""

_SMALLEST: Final = 16
_SMALLEST_OF_SEVERAL: Final = 32
_LEAST_RADIUS: Final = 0.22
_GREATEST_RADIUS: Final = 0.36
_RADII_OF_SEVERAL: Final = {2: (0.17, 0.27), 3: (0.15, 0.23)}
_LEAST_DISTANCE: Final = 0.75
"""Least distance between the centres of two shapes, as a share of the sum of their radii."""
_OUTLINED: Final = 0.3
_OCCLUDED: Final = 0.5


@dataclass(frozen=True)
class DrawnShape:
    """One labelled shape of a scene.

    Attributes:
        mask: ``(size, size)``, its visible pixels; no pixel lies in the masks of two shapes.
        whole: ``(size, size)``, its pixels as if nothing stood before it.
        label: Its name, one of `SHAPES`.
        target: The label's class index.
    """

    mask: NDArray[np.bool_]
    whole: NDArray[np.bool_]
    label: str
    target: int


@dataclass(frozen=True)
class Scene:
    """A drawn scene.

    Attributes:
        pixels: RGB, ``(size, size, 3)``, 0 to 255.
        mask: ``(size, size)``, the visible pixels of the labelled object; of several, the first.
        whole: ``(size, size)``, the object's pixels as if nothing stood before it.
        label: The shape's name, one of `SHAPES`.
        target: The label's class index.
        index: The number it was drawn from.
        shapes: All its labelled shapes, from the back to the front; the first is the one above.
    """

    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    whole: NDArray[np.bool_]
    label: str
    target: int
    index: int
    shapes: tuple[DrawnShape, ...]

    @property
    def class_map(self) -> NDArray[np.uint8]:
        """``(size, size)``: 0 where no labelled shape is visible, elsewhere 1 more than the shape's target."""
        classes = np.zeros(self.mask.shape, np.uint8)
        for shape in self.shapes:
            classes[shape.mask] = shape.target + 1
        return classes


def draw_scene(index: int, *, seed: int = 0, size: int = 64, label: str | None = None, shapes: int = 1) -> Scene:
    """Draw a scene: the same arguments always give the same bytes.

    Args:
        index: Which scene of the seed's endless series, from 0.
        seed: Which series, from 0.
        size: Height and width in pixels, at least 16, of several shapes 32; the composition grows with it.
        label: Forces the shape, of several the first, in otherwise the same colours, places and background.
        shapes: How many labelled shapes, 1 to 3. Several are smaller, of different labels and colours; a later one may
            cover a part of an earlier one, whose mask loses those pixels. Each number has its own series of scenes.

    Returns:
        The scene and where its objects are.

    Raises:
        ValueError: If the label is unknown, the size too small, or a number negative or out of range.
    """
    if shapes not in range(1, MOST_SHAPES + 1):
        raise ValueError(f"a scene has 1 to {MOST_SHAPES} shapes, not {shapes}")
    smallest = _SMALLEST if shapes == 1 else _SMALLEST_OF_SEVERAL
    if size < smallest:
        raise ValueError(f"size must be at least {smallest} pixels, not {size}")
    if label is not None and label not in OUTLINES:
        raise ValueError(f"no shape is called {label!r}; the shapes are {', '.join(SHAPES)}")
    if shapes > 1:
        return _draw_several(index, seed, size, label, shapes)
    rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
    drawn = SHAPES[_drawn_target(rng)]
    name = drawn if label is None else label
    palette = draw_palette(rng)
    canvas = draw_background(rng, palette, size)
    whole = _paint_object(rng, canvas, palette, name)
    mask = _paint_occluder(rng, canvas, palette, whole)
    return _scene(_developed(rng, canvas), (DrawnShape(mask, whole, name, SHAPES.index(name)),), index)


def _scene(pixels: NDArray[np.uint8], shapes: tuple[DrawnShape, ...], index: int) -> Scene:
    first = shapes[0]
    return Scene(pixels, first.mask, first.whole, first.label, first.target, index, shapes)


def _draw_several(index: int, seed: int, size: int, label: str | None, count: int) -> Scene:
    """Draw a scene of two or three shapes, the later ones before the earlier ones."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, index, count]))
    names = _draw_names(rng, count, label)
    palette = draw_palette(rng, count)
    canvas = draw_background(rng, palette, size)
    wholes = [
        _paint_shape(rng, canvas, colour, name, spot, look=_draw_look(rng), border=spot.radius / 9)
        for name, colour, spot in zip(names, palette.objects, _draw_spots(rng, count, size), strict=True)
    ]
    free = np.ones((size, size), np.bool_)
    shapes: list[DrawnShape] = []
    for name, whole in zip(reversed(names), reversed(wholes), strict=True):
        shapes.insert(0, DrawnShape(whole & free, whole, name, SHAPES.index(name)))
        free &= ~whole
    return _scene(_developed(rng, canvas), tuple(shapes), index)


def _draw_names(rng: np.random.Generator, count: int, label: str | None) -> list[str]:
    """Different shapes; a forced label comes first, in exchange for the one it takes the place of."""
    names = [SHAPES[target] for target in rng.permutation(len(SHAPES))]
    if label is not None:
        other = names.index(label)
        names[0], names[other] = names[other], names[0]
    return names[:count]


class _Spot(NamedTuple):
    """Where a shape lies, in pixels."""

    x: float
    y: float
    radius: float


def _draw_spots(rng: np.random.Generator, count: int, size: int) -> list[_Spot]:
    """Places within the picture whose circles overlap a little at most."""
    least, greatest = _RADII_OF_SEVERAL[count]
    while True:
        radii = rng.uniform(least, greatest, count) * size
        x, y = rng.uniform(radii, size - radii, (2, count))
        distances = np.hypot(x[:, None] - x, y[:, None] - y) + np.diag(np.full(count, np.inf))
        if (distances >= _LEAST_DISTANCE * (radii[:, None] + radii)).all():
            return [_Spot(*spot) for spot in zip(x.tolist(), y.tolist(), radii.tolist(), strict=True)]


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


class _Appearance(NamedTuple):
    """How a shape is turned, stretched and painted."""

    turn: float
    aspect: float
    strength: float
    outlined: float
    shade: float


def _draw_look(rng: np.random.Generator) -> _Appearance:
    return _Appearance(*rng.uniform((0, 0.8, 0.03, 0, 0.4), (2 * np.pi, 1.25, 0.12, 1, 0.7)).tolist())


def _paint_object(
    rng: np.random.Generator, canvas: NDArray[np.float32], palette: Palette, name: str
) -> NDArray[np.bool_]:
    """Paint the labelled object onto the canvas and return its pixels."""
    size = canvas.shape[-1]
    radius = float(rng.uniform(_LEAST_RADIUS * size, _GREATEST_RADIUS * size))
    look = _draw_look(rng)
    x, y = rng.uniform(radius, size - radius, 2).tolist()
    return _paint_shape(rng, canvas, palette.objects[0], name, _Spot(x, y, radius), look=look, border=size / 32)


def _paint_shape(
    rng: np.random.Generator,
    canvas: NDArray[np.float32],
    paint: Colour,
    name: str,
    spot: _Spot,
    *,
    look: _Appearance,
    border: float,
) -> NDArray[np.bool_]:
    """Paint a shape in its colour, with a texture and perhaps a darker edge, and return its pixels."""
    size = canvas.shape[-1]
    contours = place(OUTLINES[name], (spot.x, spot.y), spot.radius, look.turn, look.aspect)
    cover = coverage(contours, size)
    colour = np.asarray(paint, np.float32)[:, None, None]
    _paint(canvas, cover, colour + np.float32(look.strength) * draw_texture(rng, size))
    if look.outlined < _OUTLINED:
        edge = np.minimum(cover, coverage(contours, size, border=border))
        _paint(canvas, edge, colour * np.float32(look.shade))
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
