"""Boxes with words, and points, drawn over a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cnnviz.drawing.text import ascent, font, line_height, text_width

__all__ = ["Colour", "colour_of", "draw_box", "draw_boxes", "draw_points"]

Colour: TypeAlias = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""

OUTLINE: Final = (0, 0, 0)
WHITE: Final = (255, 255, 255)
BRIGHT: Final = 140
THIN, LINE, LETTERS, LEAST_LETTERS = 2, 170, 26, 9
"""Pixels of the thinnest line; how many lines, and rows of letters, fit into a picture's shorter side."""


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
        words: What stands at each box's upper left corner; None for nothing.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels))
    draw = ImageDraw.Draw(image)
    width = max(THIN, round(min(pixels.shape[:2]) / LINE))
    placed = [_inside(box, image.size) for box in boxes]
    for box, colour in zip(reversed(placed), reversed(colours), strict=True):
        left, top, right, bottom = box
        draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=OUTLINE, width=width + 2)
        draw.rectangle(box, outline=colour, width=width)
    for box, colour, said in reversed(list(zip(placed, colours, words or [""] * len(boxes), strict=True))):
        if said:
            _write(draw, said, box, colour, image.size)
    return np.asarray(image)


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


def _write(
    draw: ImageDraw.ImageDraw, said: str, box: tuple[int, int, int, int], colour: Colour, size: tuple[int, int]
) -> None:
    """Words on a ground of the box's colour, above it where there is room, otherwise inside."""
    letters = max(LEAST_LETTERS, round(min(size) / LETTERS))
    height, across = line_height(letters), round(text_width(said, letters)) + letters // 2
    left = max(0, min(box[0], size[0] - across))
    top = box[1] - height if box[1] >= height else box[1]
    draw.rectangle((left, top, left + across, top + height), fill=colour)
    dark = sum(colour) / 3 > BRIGHT
    baseline = top + round((height - letters) / 2) + ascent(letters) - letters // 8
    draw.text((left + letters // 4, baseline), said, fill=OUTLINE if dark else WHITE, font=font(letters), anchor="ls")
