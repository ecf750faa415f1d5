"""A volume as slices: three views through a place, or many along an axis; a clip as its frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cnnviz.core.dimensions import Size
from cnnviz.core.sample import Volume
from cnnviz.drawing.animation import MOST_A_SECOND, FrameWriter
from cnnviz.drawing.colour import Scale, colourise
from cnnviz.drawing.layout import well_across
from cnnviz.drawing.overlay import overlay
from cnnviz.drawing.raster import montage
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.drawing.text import ascent, font, line_height, text_width
from cnnviz.errors import ParameterError

__all__ = [
    "AXES",
    "MARK",
    "BARE",
    "THROUGH",
    "Axis",
    "Bare",
    "SlicePainter",
    "Shades",
    "Slicing",
    "View",
    "draw_slice",
    "draw_volume",
    "views_of",
    "world_place",
    "write_slices",
]

Axis: TypeAlias = Literal["axial", "coronal", "sagittal", "0", "1", "2"]
AXES: Final = ("axial", "coronal", "sagittal")
"""Slices along the first axis (from feet to head), the second (front to back) and the third (right to left)."""

PLAIN: Final = ("slice", "row", "column")
"""What they are called where a volume does not say how the body lies in it."""

LETTERS: Final = (("A", "P", "R", "L"), ("H", "F", "R", "L"), ("H", "F", "A", "P"))
"""What lies at the top, bottom, left and right of a slice along each axis."""

WIDTH, TALLEST, GAP, EM = 1600, 1200, 20, 38
"""Pixels across, most pixels of one slice downwards, between slices, and an em of the words."""

FRAMES, SMALLEST_FRAME = 8, 480
"""Frames that a clip is shown as, and the least longer side of a slice in an animation."""

MARK: Final = (40, 225, 150)
"""The colour of the cross-hair and of the frame around the slice that all is about."""

THIN, FREE, FRAME, HALO = 3, 26, 8, 3
STRENGTH: Final = 0.75
INK: Final = (32, 32, 32)
A_SECOND: Final = 12.0
"""Slices of a volume that an animation shows a second."""

SAMPLED: Final = 1 << 20
"""Values that the brightness of a volume is taken from, at least where it has so many."""


@dataclass(frozen=True)
class Slicing:
    """Which slices of a volume are shown.

    Attributes:
        slices: How many along the axis; None shows one along each axis, and of a clip eight frames.
        axis: ``"axial"`` (or 0, across the first axis), ``"coronal"`` (1) or ``"sagittal"`` (2).
        focus: The place (slice, row, column) that they go through; None takes where a map is strongest, or the middle.

    Raises:
        ParameterError: If there is no such axis, or no slice.
    """

    slices: int | None = None
    axis: Axis | int | None = None
    focus: Size | None = None

    def __post_init__(self) -> None:
        if self.axis is not None and str(self.axis) not in get_args(Axis):
            raise ParameterError(f"axis is one of {', '.join(get_args(Axis))}, not '{self.axis}'.")
        if self.slices is not None and self.slices < 1:
            raise ParameterError(f"slices is a number of slices from 1, not {self.slices}.")

    @property
    def number(self) -> int:
        """The axis across which the slices lie: 0, 1 or 2."""
        name = str(self.axis or "axial")
        return AXES.index(name) if name in AXES else int(name)

    @property
    def along(self) -> bool:
        """Whether slices along one axis are asked for, and not three views."""
        return self.slices is not None or self.axis is not None


@dataclass(frozen=True)
class View:
    """One slice of a volume as it is drawn.

    Attributes:
        volume: The volume.
        axis: The axis across which it lies.
        index: Where on it.
    """

    volume: Volume
    axis: int
    index: int

    @property
    def oriented(self) -> bool:
        """Whether the volume says how the body lies in it."""
        return self.volume.affine is not None

    @property
    def name(self) -> str:
        """Which slice it is, in words."""
        if self.volume.rate is not None and self.axis == 0:
            return f"{self.index / self.volume.rate:.2f} s"
        return f"{(AXES if self.oriented else PLAIN)[self.axis]} {self.index}"

    @property
    def flipped(self) -> bool:
        """Whether its first line is drawn last: the head is up."""
        return self.oriented and self.axis != 0

    @property
    def extent(self) -> tuple[float, float]:
        """How high and wide it is, in millimetres or voxels."""
        spacing = self.volume.spacing or (1.0, 1.0, 1.0)
        across = [length * each for length, each in zip(self.volume.size, spacing, strict=True)]
        height, width = (each for axis, each in enumerate(across) if axis != self.axis)
        return height, width

    def cut(self, values: NDArray[Any]) -> NDArray[Any]:
        """The slice of values ``(..., D, H, W)``, as it is drawn: its first line is the upper one."""
        found: NDArray[Any] = values.take(self.index, axis=self.axis - 3)
        return found[..., ::-1, :] if self.flipped else found

    def spot(self, place: Sequence[int]) -> tuple[float, float]:
        """How far right and down a place (slice, row, column) lies on it, as shares of its sides."""
        sides = [axis for axis in range(3) if axis != self.axis]
        down, across = ((place[axis] + 0.5) / self.volume.size[axis] for axis in sides)
        return across, 1 - down if self.flipped else down

    def pixels(self) -> NDArray[np.uint8]:
        """Its values as grey, or the colours of a clip, ``(h, w, 3)``."""
        held = self.cut(self.volume.values)
        if self.volume.is_clip and len(held) == 3:
            return np.asarray(np.rint(np.moveaxis(held, 0, -1).clip(0, 255)), dtype=np.uint8)
        low, high = window_of(self.volume)
        share = ((held[0] - low) / (high - low)).clip(0, 1) if high > low else np.full(held.shape[1:], 0.5)
        return np.repeat(np.rint(share * 255).astype(np.uint8)[..., None], 3, axis=2)


def window_of(volume: Volume) -> tuple[float, float]:
    """The values that are drawn black and white: the volume's own, or its 1st and 99th percentile."""
    if volume.window is not None:
        return volume.window
    values = volume.values[0].ravel()
    some = values[:: max(1, len(values) // SAMPLED)]
    low, high = (float(each) for each in np.percentile(some, (1, 99)))
    return (low, high) if high > low else (float(values.min()), float(values.max()))


class SlicePainter(Protocol):
    """Draws what belongs to a slice over it."""

    def over(self, view: View) -> NDArray[np.uint8]:
        """One slice as it is drawn, ``(h, w, 3)``."""
        ...

    def peak(self) -> Size | None:
        """The place (slice, row, column) that all is about; None where there is none."""
        ...


class Bare(NamedTuple):
    """Draws slices as they are."""

    def over(self, view: View) -> NDArray[np.uint8]:
        """The slice itself."""
        return view.pixels()

    def peak(self) -> Size | None:
        """None."""
        return None


BARE: Final = Bare()
THROUGH: Final = Slicing()


class Shades(NamedTuple):
    """Draws a map over slices, or alone.

    Attributes:
        values: ``(D, H, W)``; where NaN, there is no value.
        scale: What the colours mean.
        alpha: How much of the colour the strongest value gets.
        seen: What the network saw; the rest is faded.
        alone: Whether the map is drawn without the volume.
    """

    values: NDArray[Any]
    scale: Scale
    alpha: float = 0.7
    seen: NDArray[np.bool_] | None = None
    alone: bool = False

    def over(self, view: View) -> NDArray[np.uint8]:
        """One slice with the map over it."""
        if self.values.shape != view.volume.size:
            raise ParameterError(f"The map is {self.values.shape}, but the volume is {view.volume.size}.")
        values = view.cut(self.values)
        if self.alone:
            return colourise(values, self.scale)
        seen = None if self.seen is None else view.cut(self.seen)
        return overlay(view.pixels(), values, self.scale, alpha=self.alpha, seen=seen)

    def peak(self) -> Size | None:
        """Where the map is strongest; None where nothing is to be seen."""
        if self.scale.blank or np.isnan(self.values).all():
            return None
        return tuple(int(at) for at in np.unravel_index(int(np.nanargmax(self.values)), self.values.shape))


def draw_volume(
    volume: Volume, painter: SlicePainter = BARE, slicing: Slicing = THROUGH, *, both: bool = False
) -> NDArray[np.uint8]:
    """A volume as three views through one place, or as slices along an axis.

    Every voxel is as long as it is in the body. The views go through the place that ``slicing`` names, or where the map
    is strongest; a cross-hair marks it, a frame the slice that it lies in.

    Args:
        volume: The volume.
        painter: Draws what belongs on each slice.
        slicing: Which slices.
        both: Whether the three views stand above without the map, too.

    Returns:
        ``(H, W, 3)`` RGB, 1600 pixels wide or, where slices are high, less.

    Raises:
        ParameterError: If the map is not as large as the volume.
    """
    found = painter.peak() if slicing.focus is None else slicing.focus
    middle = tuple(length // 2 for length in volume.size)
    focus = tuple(min(max(at, 0), end - 1) for at, end in zip(found or middle, volume.size, strict=True))
    marked = None if found is None else focus
    if slicing.along or volume.is_clip:
        return _draw_along(views_of(volume, slicing, focus), painter, marked)
    views = [View(volume, axis, focus[axis]) for axis in range(3)]
    return _draw_rows(views, [BARE, painter] if both else [painter], marked)


def views_of(volume: Volume, slicing: Slicing, focus: Size) -> list[View]:
    """Slices along one axis, as evenly spread as they can be with one of them at the focus."""
    length, at = volume.size[slicing.number], focus[slicing.number]
    count = min(length, slicing.slices or FRAMES)
    even = np.unique(np.rint((np.arange(count) + 0.5) * length / count - 0.5).astype(int))
    even[np.abs(even - at).argmin()] = at
    return [View(volume, slicing.number, int(index)) for index in even]


def _draw_rows(views: Sequence[View], painters: Sequence[SlicePainter], focus: Size | None) -> NDArray[np.uint8]:
    """Views side by side at one scale, a row for each way of drawing them; the last row has the names below."""
    extents = [view.extent for view in views]
    gaps = GAP * (len(extents) - 1)
    scale = min((WIDTH - gaps) / sum(width for _, width in extents), TALLEST / max(height for height, _ in extents))
    sizes = [(max(1, round(height * scale)), max(1, round(width * scale))) for height, width in extents]
    columns = [max(width, ceil(text_width(view.name, EM))) for view, (_, width) in zip(views, sizes, strict=True)]
    tall, wide = max(height for height, _ in sizes), sum(columns) + gaps
    below = line_height(EM) + EM // 4
    canvas = Image.new("RGB", (wide, len(painters) * (tall + GAP) - GAP + below), "white")
    draw = ImageDraw.Draw(canvas)
    for number, painter in enumerate(painters):
        left = 0
        for view, (height, width), column in zip(views, sizes, columns, strict=True):
            top = number * (tall + GAP) + (tall - height) // 2
            drawn = _enlarge(painter.over(view), (height, width))
            drawn = drawn if focus is None else _add_cross(drawn, view.spot(focus))
            canvas.paste(Image.fromarray(_add_letters(drawn, view)), (left + (column - width) // 2, top))
            if number == len(painters) - 1:
                spot = left + column // 2, canvas.height - below + EM // 4 + ascent(EM)
                draw.text(spot, view.name, fill=INK, font=font(EM), anchor="ms")
            left += column + GAP
    return np.array(canvas)


def _draw_along(views: Sequence[View], painter: SlicePainter, focus: Size | None) -> NDArray[np.uint8]:
    """Slices as tiles with their numbers; the one that the focus lies in has a frame."""
    across = well_across(len(views))
    height, width = views[0].extent
    wide = (WIDTH - GAP * (across - 1)) / across
    scale = min(wide / width, TALLEST / height)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    down = -(-len(views) // across)
    canvas = Image.new("RGB", (across * (size[1] + GAP) - GAP, down * (size[0] + GAP) - GAP), "white")
    for number, view in enumerate(views):
        drawn = _enlarge(painter.over(view), size)
        if number == 0:
            drawn = _add_letters(drawn, view, sides=True)
        if focus is not None and view.index == focus[view.axis] and len(views) > 1:
            drawn = _add_frame(drawn)
        row, column = divmod(number, across)
        canvas.paste(Image.fromarray(_add_name(drawn, view)), (column * (size[1] + GAP), row * (size[0] + GAP)))
    return np.array(canvas)


def draw_slice(view: View, painter: SlicePainter, longer: int = SMALLEST_FRAME) -> NDArray[np.uint8]:
    """One slice with its name and the map over it, as a frame of an animation.

    Args:
        view: The slice.
        painter: Draws what belongs on it.
        longer: Pixels of its longer side, at least where it has fewer.
    """
    height, width = view.extent
    shape = view.pixels().shape[:2]
    scale = max(longer, *shape) / max(height, width)
    return _add_name(_enlarge(painter.over(view), (max(1, round(height * scale)), max(1, round(width * scale)))), view)


def world_place(volume: Volume, place: Sequence[int]) -> NDArray[np.float64] | None:
    """Where a place (slice, row, column) lies in the affine's unit to the right, front and head; None without one."""
    if volume.affine is None:
        return None
    axes, flipped = volume.orientation
    index = np.ones(4)
    for at, length, axis, against in zip(place, volume.size, axes, flipped, strict=True):
        index[axis] = length - 1 - at if against else at
    return np.asarray((volume.affine @ index)[:3], dtype=np.float64)


def write_slices(
    path: Path, volume: Volume, painter: SlicePainter, slicing: Slicing, *, caption: str, scale: Scale | None, note: str
) -> None:
    """Write a map of a volume as an animation through its slices; of a clip, frame by frame at its own rate.

    Args:
        path: Ends in .gif, .webp or .mp4.
        volume: The volume.
        painter: Draws what belongs on each slice.
        slicing: Along which axis, and how many of the slices; None for all.
        caption: Stands under every frame.
        scale: What the colours mean.
        note: A JSON object as text.

    Raises:
        OutputError: The file cannot be written.
    """
    axis, length = slicing.number, volume.size[slicing.number]
    count = min(length, slicing.slices or length)
    rate = volume.rate if volume.rate is not None and axis == 0 and count == length else A_SECOND
    with FrameWriter(path, min(rate, MOST_A_SECOND), note) as writer:
        for index in np.unique(np.rint((np.arange(count) + 0.5) * length / count - 0.5).astype(int)):
            view = View(volume, axis, int(index))
            cells = Cell(draw_slice(view, BARE)), Cell(draw_slice(view, painter), caption, scale)
            writer.add(montage(Sheet((cells,))))


def _enlarge(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A slice at another height and width."""
    return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def _add_cross(pixels: NDArray[np.uint8], spot: tuple[float, float]) -> NDArray[np.uint8]:
    """A cross-hair that leaves the place itself free."""
    height, width = pixels.shape[:2]
    x, y = int(spot[0] * width), int(spot[1] * height)
    marked = np.zeros((height, width), bool)
    marked[max(0, y - THIN // 2) : y + THIN // 2 + 1] = True
    marked[:, max(0, x - THIN // 2) : x + THIN // 2 + 1] = True
    marked[max(0, y - FREE) : y + FREE + 1, max(0, x - FREE) : x + FREE + 1] = False
    mixed = np.rint(pixels * (1 - STRENGTH) + np.array(MARK) * STRENGTH).astype(np.uint8)
    return np.where(marked[..., None], mixed, pixels)


def _add_frame(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    framed = pixels.copy()
    for edge in (np.s_[:FRAME], np.s_[-FRAME:], np.s_[:, :FRAME], np.s_[:, -FRAME:]):
        framed[edge] = MARK
    return framed


def _add_letters(pixels: NDArray[np.uint8], view: View, *, sides: bool = False) -> NDArray[np.uint8]:
    """What of the body lies at each edge, or only at the left and right, where the volume says it."""
    if not view.oriented or view.volume.is_clip:
        return pixels
    height, width = pixels.shape[:2]
    top, bottom, left, right = LETTERS[view.axis]
    away = EM // 3
    places = [(left, away, height // 2, "lm"), (right, width - away, height // 2, "rm")]
    if not sides:
        places += [(top, width // 2, away, "mt"), (bottom, width // 2, height - away, "mb")]
    image = Image.fromarray(pixels)
    for letter, x, y, anchor in places:
        _write(image, letter, (x, y), anchor)
    return np.array(image)


def _add_name(pixels: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
    image = Image.fromarray(pixels)
    _write(image, view.name, (EM // 3, EM // 3), "lt")
    return np.array(image)


def _write(image: Image.Image, words: str, place: tuple[int, int], anchor: str) -> None:
    """Words in white with a dark edge, which show on any ground."""
    size = min(EM, max(14, min(image.size) // 8))
    draw = ImageDraw.Draw(image)
    draw.text(place, words, fill="white", font=font(size), anchor=anchor, stroke_width=HALO, stroke_fill=(0, 0, 0))
