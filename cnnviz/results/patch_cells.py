"""How a patch is drawn: as it is, or a whole image faded where the unit does not respond; beside it its projection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from cnnviz.drawing.colour import paint, scale_of
from cnnviz.drawing.montage import resized
from cnnviz.drawing.sheet import Cell

if TYPE_CHECKING:
    from cnnviz.results.patches import Strip

__all__ = ["drawn", "number"]

COLOURS = (1, 3)
SEAM = 2
PALER = 0.62
OUTLINE = (255, 214, 0)
SHARPEST = 99.5
PLAIN = 1e-3, 1e6


def drawn(strip: Strip, row: int) -> tuple[Cell | None, ...]:
    """One unit's patches with their values; None where there is none."""
    return tuple(
        _cell(strip, row, rank) if strip.images[row, rank] >= 0 else None for rank in range(strip.images.shape[1])
    )


def number(value: float) -> str:
    """Three digits, without an exponent where that is short, with a true minus sign."""
    short = f"{float(f'{value:.3g}'):,.15g}" if PLAIN[0] <= abs(value) < PLAIN[1] else f"{value:.3g}"
    return short.replace("-", "\N{MINUS SIGN}")


def _cell(strip: Strip, row: int, rank: int) -> Cell:
    patch = strip.pixels[row, rank]
    if strip.marks is not None:
        patch = _marked(patch, strip.marks[row, rank])
    if strip.projections is not None:
        patch = _beside(patch, _painted(strip.projections[row, rank]))
    return Cell(patch, number(float(strip.values[row, rank])))


def _marked(pixels: NDArray[np.uint8], mark: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """An image, paler outside the mark, with a line around it; where nothing is marked, the image as it is."""
    if not mark.any() or mark.all():
        return pixels
    grey = pixels.mean(axis=2, keepdims=True)
    pale = PALER * (0.5 * pixels + 0.5 * grey) + (1 - PALER) * 255
    shown = np.where(mark[..., None], pixels, np.rint(pale)).astype(np.uint8)
    contours, _ = cv2.findContours(mark.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    width = max(1, round(max(pixels.shape[:2]) / 110))
    return np.asarray(cv2.drawContours(np.ascontiguousarray(shown), contours, -1, OUTLINE, width), np.uint8)


def _painted(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A projection ``(C, h, w)`` in colours on a scale of its own; of other numbers of channels their sum, as grey."""
    shown = values if len(values) in COLOURS else values.sum(axis=0, keepdims=True)
    return paint(shown, scale_of(shown, signed=True, normalise="percentile", percentile=SHARPEST))


def _beside(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two pictures of one size, the smaller enlarged, with a seam between."""
    size = max(left.shape[0], right.shape[0]), max(left.shape[1], right.shape[1])
    seam = np.full((size[0], SEAM, 3), 255, dtype=np.uint8)
    return np.concatenate([resized(left, size), seam, resized(right, size)], axis=1)
