"""Boxes with words, and points, drawn over a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cnnviz.drawing.text import ascent, draw_text, line_height, text_width

__all__ = ["Colour", "colour_of", "draw_box", "draw_boxes", "draw_points", "enlarge"]

Colour: TypeAlias = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""

OUTLINE: Final = (0, 0, 0)
WHITE: Final = (255, 255, 255)
BRIGHT: Final = 140
THIN, LINE, LETTERS, LEAST_LETTERS, SMALL, LEGIBLE = 2, 170, 26, 9, 160, 320
"""Pixels of the usual thinnest line; how many lines, and rows of letters, fit into a picture's shorter side; pixels of
letters; up to which shorter side lines have a single pixel; of the longer side from which on words are legible."""

Plate: TypeAlias = tuple[int, int, int, int]
"""Left, top, right and bottom of the ground of some words."""


def colour_of(index: int) -> Colour:
    """A class's colour, the same in every picture."""
    from matplotlib import colormaps

    palette = colormaps["tab10"]
    red, green, blue = (round(255 * part) for part in palette(index % palette.N)[:3])
    return red, green, blue


def draw_box(pixels: NDArray[np.uint8], box: Sequence[float], colour: Colour = WHITE) -> NDArray[np.uint8]:
    """A picture with one box, outlined in black so that it shows on any ground.

    Args:
        pixels: ``(H, W, 3)`` uint8; left as it is.
        box: Left, top, right and bottom in pixels.
        colour: Of its line.
    """
    return draw_boxes(pixels, [box], [colour])


def draw_boxes(
    pixels: NDArray[np.uint8],
    boxes: Sequence[Sequence[float]],
    colours: Sequence[Colour],
    words: Sequence[str] | None = None,
) -> NDArray[np.uint8]:
    """A picture with boxes, the first on top.

    Args:
        pixels: ``(H, W, 3)`` uint8; left as it is.
        boxes: Left, top, right and bottom in pixels, each.
        colours: A colour for each.
        words: What stands at each box; None for nothing.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels))
    draw = ImageDraw.Draw(image)
    shorter = min(image.size)
    width, around = (1, 1) if shorter <= SMALL else (max(THIN, round(shorter / LINE)), 2)
    placed = [_inside(box, image.size) for box in boxes]
    for box, colour in zip(reversed(placed), reversed(colours), strict=True):
        left, top, right, bottom = box
        draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=OUTLINE, width=width + around)
        draw.rectangle(box, outline=colour, width=width)
    if words:
        letters = max(LEAST_LETTERS, round(shorter / LETTERS))
        plates = _place_words(words, placed, image.size, letters)
        for plate, colour, said in reversed(list(zip(plates, colours, words, strict=True))):
            _write(draw, said, plate, colour, letters)
    return np.asarray(image)


def enlarge(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
    """A picture large enough for words, each of its pixels a square, and how many pixels wide that is.

    Args:
        pixels: ``(H, W, 3)`` uint8; left as it is.
    """
    factor = max(1, -(-LEGIBLE // max(pixels.shape[:2])))
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1), factor


def draw_points(
    pixels: NDArray[np.uint8], points: Sequence[Sequence[float]], colours: Sequence[Colour]
) -> NDArray[np.uint8]:
    """A picture with points ``(x, y)``, each a disc of its colour."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    draw = ImageDraw.Draw(image)
    radius = max(THIN, round(min(pixels.shape[:2]) / LINE * 1.5))
    for (x, y), colour in zip(points, colours, strict=True):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline=OUTLINE)
    return np.asarray(image)


def _inside(box: Sequence[float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box's outer pixels, within the picture."""
    (across, down), (left, top, right, bottom) = size, box
    first = (min(max(0, round(left)), across - 1), min(max(0, round(top)), down - 1))
    last = (min(max(first[0], round(right) - 1), across - 1), min(max(first[1], round(bottom) - 1), down - 1))
    return first[0], first[1], last[0], last[1]


def _place_words(
    words: Sequence[str], boxes: Sequence[tuple[int, int, int, int]], size: tuple[int, int], letters: int
) -> list[Plate]:
    """Where words stand: above their box, below it or inside, the first of these that is free of earlier ones."""
    height = line_height(letters)
    plates: list[Plate] = []
    for said, (left, top, _right, bottom) in zip(words, boxes, strict=True):
        across = round(text_width(said, letters)) + letters // 2
        start = max(0, min(left, size[0] - across))
        choices = [(start, at, start + across, at + height) for at in (top - height, bottom, top, bottom - height)]
        within = [each for each in choices if each[1] >= 0 and each[3] < size[1]] or choices[2:3]
        free = [each for each in within if not any(_cover(each, other) for other in plates)]
        plates.append((free or within)[0])
    return plates


def _cover(one: Plate, other: Plate) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _write(draw: ImageDraw.ImageDraw, said: str, plate: Plate, colour: Colour, letters: int) -> None:
    """Words on a ground of the box's colour."""
    left, top, _right, bottom = plate
    draw.rectangle(plate, fill=colour)
    dark = sum(colour) / 3 > BRIGHT
    baseline = top + round((bottom - top - letters) / 2) + ascent(letters) - letters // 8
    draw_text(draw, (left + letters // 4, baseline), said, letters, fill=OUTLINE if dark else WHITE)
