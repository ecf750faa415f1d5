"""Cutting out of a photograph what a part of the network's input shows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnviz.core.picture import Geometry, Picture

__all__ = ["GREY", "cut_out"]

GREY = 128
"""What is drawn where a part reaches beyond what the network saw of the photograph."""

Box = tuple[int, int, int, int]


def cut_out(picture: Picture, box: Box, zoom: int) -> NDArray[np.uint8]:
    """A part of the network's input, taken from the photograph at the photograph's own resolution.

    Args:
        picture: The photograph, with the geometry of the input.
        box: Top, left, bottom and right in pixels of the input, bottom and right one past the last; may reach beyond
            the input.
        zoom: Pixels of the result for each pixel of the input.

    Returns:
        ``((bottom - top) zoom, (right - left) zoom, 3)`` uint8, grey where the network saw nothing of the photograph.
    """
    geometry = picture.cut
    top, left, bottom, right = box
    canvas = np.full(((bottom - top) * zoom, (right - left) * zoom, 3), GREY, dtype=np.uint8)
    rows = _visible_span((top, bottom), 0, geometry)
    columns = _visible_span((left, right), 1, geometry)
    if rows[0] >= rows[1] or columns[0] >= columns[1]:
        return canvas
    down, across = geometry.scale
    crop_top, crop_left = geometry.crop[:2]
    source = (
        (columns[0] + crop_left) * across,
        (rows[0] + crop_top) * down,
        (columns[1] + crop_left) * across,
        (rows[1] + crop_top) * down,
    )
    size = (columns[1] - columns[0]) * zoom, (rows[1] - rows[0]) * zoom
    start = (rows[0] - top) * zoom, (columns[0] - left) * zoom
    canvas[start[0] : start[0] + size[1], start[1] : start[1] + size[0]] = _resize_part(picture.pixels, source, size)
    return canvas


def _visible_span(span: tuple[int, int], axis: int, geometry: Geometry) -> tuple[int, int]:
    """Which pixels of the input, of those from one to the other along an axis, show something of the photograph."""
    start, length, resized = geometry.crop[axis], geometry.crop[2 + axis], geometry.resized[axis]
    return max(span[0], 0, -start), min(span[1], length, resized - start)


def _resize_part(
    pixels: NDArray[np.uint8], box: tuple[float, float, float, float], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """A rectangle (left, top, right, bottom, in whole pixels or parts of them) at another width and height."""
    margin = 4 * math.ceil(max((box[2] - box[0]) / size[0], (box[3] - box[1]) / size[1], 1))  # what filters reach
    left, top = max(0, math.floor(box[0]) - margin), max(0, math.floor(box[1]) - margin)
    right, bottom = math.ceil(box[2]) + margin, math.ceil(box[3]) + margin
    part = Image.fromarray(np.ascontiguousarray(pixels[top:bottom, left:right]))
    within = (
        max(box[0] - left, 0),
        max(box[1] - top, 0),
        min(box[2] - left, part.width),
        min(box[3] - top, part.height),
    )
    enlarging = size[0] >= within[2] - within[0]
    way = Image.Resampling.BICUBIC if enlarging else Image.Resampling.LANCZOS
    return np.asarray(part.resize(size, way, box=within))
