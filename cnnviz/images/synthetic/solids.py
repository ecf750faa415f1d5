"""Volumes of one channel: one solid of which every voxel is known, in a cloudy, noisy block with other things.

A volume depends on ``(seed, index, size, label)`` only, like a scene of `cnnviz.images.synthetic.scenes`. Its slices
are twice as far apart as its rows and columns, as those of many a scanner: forms are true in millimetres, not voxels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from cnnviz.core.sample import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnviz.core.dimensions import Size

__all__ = []

SPACING: Final = (2.0, 1.0, 1.0)
"""Millimetres from one voxel to the next, down the slices, rows and columns."""

_LEAST: Final = (16, 32, 32)
_LEAST_RADIUS: Final = 7.0
_GREATEST_RADIUS: Final = 10.5
_REACH: Final = 1.12
"""How far the longest form reaches from its middle, in radii."""

_EDGE: Final = 1.6
_UNDECIDED: Final = 0.1
_CLOUD_GRID: Final = 4

Places = tuple["NDArray[np.float32]", "NDArray[np.float32]", "NDArray[np.float32]"]
"""The coordinates x, y and z of every voxel in a solid's own frame, where its radius is 1, z along its axis."""

Form = Callable[[Places], "NDArray[np.float32]"]
"""How far each place lies outside a solid; below 0 inside."""


def _ball(places: Places) -> NDArray[np.float32]:
    x, y, z = places
    return np.asarray(np.sqrt(x * x + y * y + z * z) - np.float32(0.78))


def _box(places: Places, sides: tuple[float, float, float]) -> NDArray[np.float32]:
    x, y, z = (np.abs(axis) - np.float32(side) for axis, side in zip(places, sides, strict=True))
    return np.maximum(np.maximum(x, y), z)


def _cube(places: Places) -> NDArray[np.float32]:
    return _box(places, (0.62, 0.62, 0.62))


def _torus(places: Places) -> NDArray[np.float32]:
    x, y, z = places
    around = np.sqrt(x * x + y * y) - np.float32(0.68)
    return np.asarray(np.sqrt(around * around + z * z) - np.float32(0.31))


def _rod(places: Places) -> NDArray[np.float32]:
    x, y, z = places
    return np.maximum(np.sqrt(x * x + y * y) - np.float32(0.4), np.abs(z) - np.float32(1.05))


def _cone(places: Places) -> NDArray[np.float32]:
    x, y, z = places
    side = np.float32(0.9) * np.sqrt(x * x + y * y) + np.float32(0.44) * (z - np.float32(1.05))
    return np.asarray(np.maximum(side, np.float32(-0.7) - z))


def _jack(places: Places) -> NDArray[np.float32]:
    down, across, over = _box(places, (1, 0.3, 0.3)), _box(places, (0.3, 1, 0.3)), _box(places, (0.3, 0.3, 1))
    return np.minimum(np.minimum(down, across), over)


_FORMS: Final[dict[str, Form]] = {
    "ball": _ball,
    "cube": _cube,
    "torus": _torus,
    "rod": _rod,
    "cone": _cone,
    "jack": _jack,
}
"""Label -> the form."""

SOLIDS: Final[tuple[str, ...]] = tuple(_FORMS)
"""The labels, in the order of their class index."""


@dataclass(frozen=True)
class DrawnVolume:
    """A drawn volume.

    Attributes:
        values: ``(1, D, H, W)``, from 0 to 1.
        spacing: Millimetres from one voxel to the next along D, H and W.
        mask: ``(D, H, W)``, the solid's voxels.
        label: The solid's name, one of `SOLIDS`.
        target: The label's class index.
        index: The number it was drawn from.
    """

    values: NDArray[np.float32]
    spacing: tuple[float, float, float]
    mask: NDArray[np.bool_]
    label: str
    target: int
    index: int

    @property
    def sample(self) -> Volume:
        """The volume as methods are asked about it, with its spacing."""
        return Volume(self.values, f"volume {self.index}", spacing=self.spacing)


def draw_volume(
    index: int, *, seed: int = 0, size: tuple[int, int, int] = (32, 32, 32), label: str | None = None
) -> DrawnVolume:
    """Draw a volume: the same arguments always give the same bytes.

    Args:
        index: Which volume of the seed's endless series, from 0.
        seed: Which series, from 0.
        size: Slices, rows and columns, at least 16, 32 and 32; the solid is as large in a volume of any size.
        label: Forces the solid, in otherwise the same place, turn and background.

    Returns:
        The volume and where its solid is.

    Raises:
        ValueError: If the label is unknown, the size too small, or a number negative.
    """
    if any(side < least for side, least in zip(size, _LEAST, strict=True)):
        raise ValueError(f"size must be at least {_LEAST}, not {size}")
    if label is not None and label not in _FORMS:
        raise ValueError(f"no solid is called {label!r}; the solids are {', '.join(SOLIDS)}")
    rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
    drawn = SOLIDS[int(rng.integers(len(SOLIDS)))]
    name = drawn if label is None else label
    values = _draw_background(rng, size)
    places, radius = _draw_places(rng, size)
    outside = _FORMS[name](places) * np.float32(radius)
    cover = np.clip(np.float32(0.5) - outside / np.float32(_EDGE), 0, 1)
    behind = float((cover * values).sum() / cover.sum())
    values += cover * (_draw_colour(rng, behind) + _draw_cloud(rng, size, rng.uniform(0.02, 0.06)) - values)
    values += np.float32(rng.uniform(0.015, 0.05)) * rng.standard_normal(size, dtype=np.float32)
    return DrawnVolume(
        values=np.clip(values, 0, 1)[None],
        spacing=SPACING,
        mask=np.asarray(outside < 0),
        label=name,
        target=SOLIDS.index(name),
        index=index,
    )


@lru_cache(maxsize=8)
def _millimetres(size: Size) -> tuple[NDArray[np.float32], ...]:
    """Where the voxels' centres lie along each axis, from the volume's edge, to be broadcast over each other."""
    lines = [(np.arange(side, dtype=np.float32) + 0.5) * gap for side, gap in zip(size, SPACING, strict=True)]
    return lines[0][:, None, None], lines[1][:, None], lines[2]


def _draw_turn(rng: np.random.Generator) -> NDArray[np.float32]:
    """A rotation ``(3, 3)``, any as likely as any other."""
    quarter = rng.standard_normal(4)
    w, x, y, z = (quarter / np.linalg.norm(quarter)).tolist()
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return np.asarray(rows, np.float32)


def _draw_places(rng: np.random.Generator, size: Size) -> tuple[Places, float]:
    """Turn a solid and put it somewhere within the volume; its radius in millimetres."""
    radius = float(rng.uniform(_LEAST_RADIUS, _GREATEST_RADIUS))
    lengths = np.asarray(size) * SPACING
    middle = rng.uniform(_REACH * radius, lengths - _REACH * radius)
    away = [(line - at) / radius for line, at in zip(_millimetres(size), middle.tolist(), strict=True)]
    x, y, z = (row[0] * away[0] + row[1] * away[1] + row[2] * away[2] for row in _draw_turn(rng))
    return (x, y, z), radius


def _draw_colour(rng: np.random.Generator, behind: float) -> np.float32:
    """A grey for the solid that stands out from what is behind it."""
    sign = rng.choice((-1, 1)) if abs(behind - 0.5) < _UNDECIDED else np.sign(0.5 - behind)
    return np.float32(behind + sign * rng.uniform(0.3, 0.45))


@lru_cache(maxsize=32)
def _smoothing(side: int) -> NDArray[np.float32]:
    """The matrix ``(side, 4)`` that interpolates four knots linearly."""
    along = np.linspace(0, _CLOUD_GRID - 1, side)
    return np.asarray(np.maximum(0, 1 - np.abs(along[:, None] - np.arange(_CLOUD_GRID))), np.float32)


def _draw_cloud(rng: np.random.Generator, size: Size, strength: float) -> NDArray[np.float32]:
    """Smooth random values of ``size`` from -strength to strength."""
    knots = rng.uniform(-strength, strength, (_CLOUD_GRID,) * 3).astype(np.float32)
    for axis, side in enumerate(size):
        knots = np.moveaxis(np.tensordot(_smoothing(side), knots, (1, axis)), 0, axis)
    return knots


def _draw_background(rng: np.random.Generator, size: Size) -> NDArray[np.float32]:
    """What a volume is without its solid and its noise."""
    values = np.float32(rng.uniform(0.25, 0.75)) + _draw_cloud(rng, size, rng.uniform(0.04, 0.12))
    pace, phase = rng.uniform(-0.7, 0.7, 3).astype(np.float32), np.float32(rng.uniform(0, 2 * np.pi))
    values += np.float32(rng.uniform(0, 0.04)) * np.sin(_along(pace, size) + phase)
    for kind in rng.integers(len(_CLUTTER), size=int(rng.integers(1, 6))).tolist():
        _CLUTTER[kind](rng, values)
    return values


def _along(direction: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
    """How far every voxel lies along a direction, in its lengths."""
    down, across, over = (part * line for part, line in zip(direction, _millimetres(size), strict=True))
    return np.asarray(down + across + over)


def _draw_spot(rng: np.random.Generator, size: Size) -> NDArray[np.float32]:
    """A place in the volume, in millimetres."""
    return np.asarray(rng.random(3) * size * SPACING, np.float32)


def _add_thread(rng: np.random.Generator, values: NDArray[np.float32]) -> None:
    """A thin straight thread right through the volume."""
    spot, direction = _draw_spot(rng, values.shape), rng.standard_normal(3).astype(np.float32)
    direction /= np.linalg.norm(direction)
    away = [line - at for line, at in zip(_millimetres(values.shape), spot, strict=True)]
    along = away[0] * direction[0] + away[1] * direction[1] + away[2] * direction[2]
    distance = np.sqrt(np.maximum(away[0] ** 2 + away[1] ** 2 + away[2] ** 2 - along**2, 0))
    values += np.float32(rng.uniform(-0.25, 0.25)) * np.clip(np.float32(rng.uniform(1.4, 2.2)) - distance, 0, 1)


def _add_wall(rng: np.random.Generator, values: NDArray[np.float32]) -> None:
    """All on one side of a plane a little brighter or darker."""
    spot, direction = _draw_spot(rng, values.shape), rng.standard_normal(3).astype(np.float32)
    direction /= np.linalg.norm(direction)
    depth = _along(direction, values.shape) - spot @ direction
    values += np.float32(rng.uniform(-0.12, 0.12)) * np.clip(depth + np.float32(0.5), 0, 1)


def _add_haze(rng: np.random.Generator, values: NDArray[np.float32]) -> None:
    """A soft spot without an edge."""
    spot, width = _draw_spot(rng, values.shape), np.float32(rng.uniform(3, 7))
    away = [(line - at) / width for line, at in zip(_millimetres(values.shape), spot, strict=True)]
    values += np.float32(rng.uniform(-0.2, 0.2)) * np.exp(-(away[0] ** 2 + away[1] ** 2 + away[2] ** 2))


def _add_specks(rng: np.random.Generator, values: NDArray[np.float32]) -> None:
    """Single voxels, bright or dark."""
    count = int(rng.integers(4, 20))
    spots = tuple(rng.integers(0, side, count) for side in values.shape)
    values[spots] += rng.uniform(-0.4, 0.4, count).astype(np.float32)


_CLUTTER: Final = (_add_thread, _add_wall, _add_haze, _add_specks)
