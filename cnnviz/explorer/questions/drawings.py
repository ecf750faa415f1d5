"""Answers as PNG files: overlays, maps alone, pictures, and sheets of many units' maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cnnviz.core.picture import Picture
from cnnviz.core.sample import Geometry
from cnnviz.drawing.samples import Look
from cnnviz.errors import UsageError
from cnnviz.results.explanation import Explanation

__all__ = ["LONGEST_SIDE", "Drawn", "draw_map", "draw_overlay", "encode", "shrink", "shrink_picture"]

LONGEST_SIDE: Final = 4096
"""Pixels of the longer side that can be asked for."""
OVER: Final = Look(style="overlay")
ALONE: Final = Look(style="map", transparent=True, alpha=1.0)
FAST: Final = (int(cv2.IMWRITE_PNG_COMPRESSION), 1)


@dataclass(frozen=True)
class Drawn:
    """A picture that is drawn when it is asked for.

    Attributes:
        draw: From the longest side in pixels (None for its own size) to pixels ``(H, W)``, ``(H, W, 3)`` RGB or
            ``(H, W, 4)`` RGBA uint8.
        alone: The same of the map alone, transparent where there is nothing to see; None where there is none.
    """

    draw: Callable[[int | None], NDArray[np.uint8]]
    alone: Callable[[int | None], NDArray[np.uint8]] | None = None


def encode(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels ``(H, W)``, RGB or RGBA as a PNG file, quickly made."""
    turned = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    ours = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, turned[pixels.shape[2]])
    done, held = cv2.imencode(".png", ours, FAST)
    assert done
    return held.tobytes()


def shrink(pixels: NDArray[np.uint8], side: int | None) -> NDArray[np.uint8]:
    """Pixels with a longer side of at most ``side``; as they are where they have that, or None is given."""
    height, width = pixels.shape[:2]
    if side is None or max(height, width) <= side:
        return pixels
    share = side / max(height, width)
    size = max(1, round(width * share)), max(1, round(height * share))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def shrink_picture(picture: Picture, side: int | None) -> Picture:
    """A picture with a longer side of at most ``side``, from which the network's input was cut all the same."""
    pixels = shrink(picture.pixels, side)
    if pixels is picture.pixels:
        return picture
    cut = picture.cut
    geometry = Geometry((int(pixels.shape[0]), int(pixels.shape[1])), cut.resized, cut.crop)
    return replace(picture, pixels=np.ascontiguousarray(pixels), exact=None, geometry=geometry)


def draw_overlay(found: Explanation, side: int | None) -> NDArray[np.uint8]:
    """A map over its picture ``(H, W, 3)``, as ``save(style="overlay")`` draws it at the picture's own size."""
    return np.asarray(_on_smaller(found, side).cells(OVER)[0].pixels, dtype=np.uint8)


def draw_map(found: Explanation, side: int | None) -> NDArray[np.uint8]:
    """A map alone ``(H, W, 4)``, transparent where there is nothing to see, to be laid over its picture."""
    return np.asarray(_on_smaller(found, side).clear(ALONE), dtype=np.uint8)


def _on_smaller(found: Explanation, side: int | None) -> Any:
    if not isinstance(found.picture, Picture):
        raise UsageError("The explorer shows maps of pictures only.")
    return replace(found, picture=shrink_picture(found.picture, side))


MOST_TILE: Final = 64
"""Pixels of the longer side of a unit's small picture."""
PAGE_SIDE: Final = 2048
"""Pixels of a sheet's sides at most: what every browser draws from."""


@dataclass(frozen=True, eq=False)
class Sheets:
    """Small grey pictures of many units' maps, row by row on sheets.

    Attributes:
        pages: The sheets, ``(H, W)`` uint8 each.
        tile: Height and width of a picture.
        columns: Pictures in a row.
        rows: Rows on a full sheet.
        low: ``(C,)``: the value of black, of each unit.
        high: ``(C,)``: that of white.
        signed: Whether middle grey is zero.
    """

    pages: tuple[NDArray[np.uint8], ...]
    tile: tuple[int, int]
    columns: int
    rows: int
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    signed: bool


def draw_sheets(values: NDArray[np.float32], *, shared: bool) -> Sheets:
    """All units' maps as small grey pictures: from zero to the largest value, or from minus to plus that.

    Args:
        values: ``(C, h, w)``; what is not finite is black.
        shared: Whether all units have one range, or each its own.
    """
    known = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    small = _shrink_maps(known)
    signed = bool(known.min(initial=0.0) < 0)
    most = np.abs(known).reshape(len(known), -1).max(axis=1).astype(np.float64)
    high = np.full_like(most, most.max(initial=0.0)) if shared else most
    low = -high if signed else np.zeros_like(high)
    spans = np.where(high > low, high - low, 1.0)
    shares = (small - low[:, None, None]) / spans[:, None, None]
    grey = np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)
    height, width = grey.shape[1:]
    columns, rows = PAGE_SIDE // width, PAGE_SIDE // height
    each = columns * rows
    pages = tuple(_lay_out(grey[start : start + each], columns) for start in range(0, len(grey), each))
    return Sheets(pages, (height, width), columns, rows, low, high, signed)


def _shrink_maps(values: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = values.shape[1:]
    share = min(1.0, MOST_TILE / max(height, width))
    if share == 1:
        return values
    size = max(1, round(width * share)), max(1, round(height * share))
    return np.stack([cv2.resize(one, size, interpolation=cv2.INTER_AREA).reshape(size[::-1]) for one in values])


def _lay_out(tiles: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    count, height, width = tiles.shape
    rows = -(-count // columns)
    held = np.zeros((rows * columns, height, width), dtype=np.uint8)
    held[:count] = tiles
    across = min(columns, count)
    page = held.reshape(rows, columns, height, width).transpose(0, 2, 1, 3).reshape(rows * height, columns * width)
    return np.ascontiguousarray(page[:, : across * width])
