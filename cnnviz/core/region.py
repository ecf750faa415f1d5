"""Regions of a picture: a pixel, a box or a mask, as a user names it, on a grid, and as a map marks it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from itertools import islice
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from cnnviz.core.dimensions import Size
from cnnviz.core.untrusted import NUMBER
from cnnviz.errors import ParameterError, TargetError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cnnviz.core.picture import Geometry

__all__ = [
    "FORMS",
    "Mask",
    "Region",
    "USUAL_THRESHOLD",
    "Threshold",
    "above",
    "bounding_box",
    "component_boxes",
    "is_background",
    "otsu",
    "picture_part",
    "seems_region",
    "split_region",
]

Threshold: TypeAlias = float | Literal["otsu"]
"""A share of a map's maximum, above 0 and at most 1; or Otsu's threshold."""

USUAL_THRESHOLD: Final = 0.2
"""That of class activation maps' own paper (Zhou et al. 2016)."""

PIXEL = re.compile(rf"(?P<side>.+?)\s*@\s*(?P<x>{NUMBER})\s*,\s*(?P<y>{NUMBER})")
WITHIN = re.compile(r" in (?=.)")
MARKED = re.compile(r"(?P<side>.+?)(?:\s*@.*| in .*[\d.].*)")
MOST_MARKS = 64
"""``in`` in a text that may stand before a region."""
BOX = re.compile(r"\s*,\s*".join([rf"({NUMBER}(?:\.{NUMBER})?)"] * 4))
FORMS = "'LABEL@X,Y', 'LABEL in LEFT,TOP,RIGHT,BOTTOM' (picture pixels) or 'LABEL in MASK.png'"


def is_background(label: str) -> bool:
    """Whether a class is what is left of a picture without the others, by its name."""
    return "background" in label.casefold()


@dataclass(frozen=True)
class Mask:
    """Which places of a grid are meant; equal where the same are.

    Attributes:
        shape: Rows and columns; of a volume slices, rows and columns.
        bits: A bit for each place, row by row.
    """

    shape: Size
    bits: bytes = field(repr=False)

    @classmethod
    def of(cls, places: NDArray[np.bool_]) -> Mask:
        """The places ``(h, w)`` that are true."""
        import numpy as np

        return cls(tuple(places.shape), np.packbits(places).tobytes())

    def array(self) -> NDArray[np.bool_]:
        """True where a place is meant, ``(h, w)``."""
        import numpy as np

        flat = np.unpackbits(np.frombuffer(self.bits, dtype=np.uint8), count=prod(self.shape))
        return flat.reshape(self.shape).astype(bool)

    def on_grid(self, grid: Size) -> Mask:
        """The same places on another grid over the same area: those whose middle is meant, or the one that holds it."""
        import numpy as np

        held = self.array()
        sides = list(zip(grid, self.shape, strict=True))
        middles = (np.minimum((np.arange(count) + 0.5) * length / count, length - 1) for count, length in sides)
        found = held[np.ix_(*(each.astype(int) for each in middles))]
        if held.any() and not found.any():  # smaller than places are: those that hold any of it
            places = zip(np.nonzero(held), sides, strict=True)
            found[tuple(each * count // length for each, (count, length) in places)] = True
        return Mask.of(found)

    def mirrored(self) -> Mask:
        """Left and right exchanged."""
        return Mask.of(self.array()[..., ::-1])


@dataclass(frozen=True)
class Region:
    """A part of a picture, as a user names it.

    Attributes:
        text: The user's words for it, ``"@120,80"`` or ``" in 10,20,200,180"``.
        box: Left, top, right and bottom in the picture's pixels; None for a mask.
        file: The mask's file; None for a box or a pixel.
    """

    text: str
    box: tuple[float, float, float, float] | None = None
    file: str | None = None

    def on_input(self, geometry: Geometry, read: Callable[[str], NDArray[np.bool_]]) -> Mask:
        """The region on the grid of the network's input.

        Args:
            geometry: How the input was cut from the picture.
            read: From a mask's file to its pixels ``(H, W)``, those of the picture.

        Raises:
            TargetError: If it lies outside what the network sees, or the mask has another size than the picture.
        """
        import numpy as np

        top, left, height, width = geometry.crop
        down, across = geometry.scale
        middles = (np.arange(height) + top + 0.5) * down, (np.arange(width) + left + 0.5) * across
        if self.box is not None:
            found = self._box_mask(geometry, middles)
        else:
            assert self.file is not None
            held = read(self.file)
            if held.shape != geometry.original:
                (tall, wide), (rows, columns) = geometry.original, held.shape
                raise TargetError(f"The mask '{self.file}' is {columns}x{rows} pixels; the picture is {wide}x{tall}.")
            inside = [(each >= 0) & (each < length) for each, length in zip(middles, held.shape, strict=True)]
            places = [each.clip(0, length - 1).astype(int) for each, length in zip(middles, held.shape, strict=True)]
            found = held[np.ix_(*places)] & inside[0][:, None] & inside[1][None]
            if not found.any():  # thinner than a pixel of the input: those that hold any of it
                rows, columns = np.nonzero(held)
                at = np.floor(rows / down - top).astype(int), np.floor(columns / across - left).astype(int)
                inner = (at[0] >= 0) & (at[0] < height) & (at[1] >= 0) & (at[1] < width)
                found[at[0][inner], at[1][inner]] = True
        if not found.any():
            (tall, wide), edges = geometry.original, geometry.box
            ends = *(max(edge, 0) for edge in edges[:2]), min(edges[2], wide), min(edges[3], tall)
            seen = ", ".join(f"{edge:.0f}" for edge in ends)
            raise TargetError(
                f"'{self.text.strip()}' holds nothing that the network sees: the picture is {wide}x{tall} pixels, of "
                f"which it sees {seen} (left, top, right, bottom)."
            )
        return Mask.of(found)

    def _box_mask(
        self, geometry: Geometry, middles: tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]
    ) -> NDArray[np.bool_]:
        """The input's pixels whose middles lie in the box; of a smaller box the pixel that holds its middle."""
        import numpy as np

        assert self.box is not None
        ends = (self.box[1], self.box[3]), (self.box[0], self.box[2])
        found = []
        for axis, (low, high) in enumerate(ends):
            there = (middles[axis] >= 0) & (middles[axis] < geometry.original[axis])
            inside = (middles[axis] >= low) & (middles[axis] < high) & there
            start, scale = geometry.crop[axis], geometry.scale[axis]
            at = int(np.floor((low + high) / 2 / scale - start))
            if not inside.any() and 0 <= at < len(inside) and (low + high) / 2 < geometry.original[axis]:
                inside[at] = True
            found.append(inside)
        return found[0][:, None] & found[1][None]


def picture_part(geometry: Geometry) -> Mask | None:
    """The pixels of the network's input that show the picture, if others were put around it; else None."""
    import numpy as np

    inside = []
    for start, length, resized in zip(geometry.start, geometry.size, geometry.resized, strict=True):
        places = start + np.arange(length)
        inside.append((places >= 0) & (places < resized))
    found = reduce(np.logical_and.outer, inside)
    return None if found.all() else Mask.of(found)


def split_region(text: str, is_label: Callable[[str], bool] = lambda _: False) -> tuple[str, Region] | None:
    """``"cat@120,80"`` or ``"cat in 10,20,200,180"`` as what stands before and the region; None where there is none.

    Args:
        text: What a user writes.
        is_label: Whether a text is a label: where several parts of the text may be the region, that which follows one.

    Raises:
        TargetError: If a box has no area.
    """
    if found := PIXEL.fullmatch(text):
        x, y = float(found["x"]), float(found["y"])
        return found["side"], Region(f"@{found['x']},{found['y']}", (x, y, x + 1, y + 1))
    marks = [mark for mark in islice(WITHIN.finditer(text), MOST_MARKS) if text[: mark.start()].strip()]
    chosen = next((mark for mark in marks if is_label(text[: mark.start()].strip())), next(iter(marks), None))
    return None if chosen is None else _region_within(text[: chosen.start()], text[chosen.end() :].strip())


def seems_region(text: str) -> str | None:
    """What stands before an ``@`` or ``in``, if a region seems to be meant that has none of the forms; else None."""
    found = MARKED.fullmatch(text)
    return found["side"].strip() if found else None


def _region_within(side: str, where: str) -> tuple[str, Region] | None:
    if corners := BOX.fullmatch(where):
        left, top, right, bottom = map(float, corners.groups())
        if not (left < right and top < bottom):
            raise TargetError(f"The box {where} has no area; expected LEFT,TOP,RIGHT,BOTTOM in the picture's pixels.")
        return side, Region(f" in {where}", (left, top, right, bottom))
    return (side, Region(f" in {Path(where).name}", file=where)) if "." in where else None


def above(values: NDArray[np.floating[Any]], threshold: Threshold) -> NDArray[np.bool_]:
    """Where a map is high; nowhere if it has no positive value. What is negative, or no number, counts as 0.

    Args:
        values: A map of any shape.
        threshold: The share of its maximum that is high enough, or ``"otsu"``. A constant map is high everywhere.

    Raises:
        ParameterError: If the threshold is neither.
    """
    import numpy as np

    if threshold != "otsu" if isinstance(threshold, str) else not 0 < threshold <= 1:
        raise ParameterError(
            f"threshold must be 'otsu', or a share of the map's maximum above 0 and at most 1; got {threshold!r}."
        )
    kept = np.maximum(np.nan_to_num(values, nan=0.0), 0)
    if not kept.any():
        return np.zeros(kept.shape, dtype=bool)
    return np.asarray(kept > otsu(kept) if threshold == "otsu" else kept >= threshold * kept.max())


def otsu(values: NDArray[np.floating[Any]]) -> float:
    """Otsu's threshold (1979) of some numbers, exactly: those above it and the others differ most between the groups.

    Args:
        values: Finite, of any shape.

    Returns:
        One of the values, the largest of the lower group; minus infinity if all are equal.
    """
    import numpy as np

    line = np.sort(values, axis=None).astype(np.float64)
    cuts = np.flatnonzero(line[1:] > line[:-1])
    if not len(cuts):
        return -np.inf
    sums, below = np.cumsum(line)[cuts], cuts + 1
    rest = len(line) - below
    spread = below * rest * ((line.sum() - sums) / rest - sums / below) ** 2
    return float(line[cuts[np.argmax(spread)]])


def component_boxes(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Boxes ``(K, 4)`` of the connected parts of a mask ``(H, W)``, largest first: left, top, right and bottom.

    Pixels that touch at a corner are connected. Right and bottom are the first that are outside.
    """
    import cv2
    import numpy as np

    _, _, found, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(mask, dtype=np.uint8), connectivity=8)
    left, top, width, height, area = found[1:].T.astype(np.int64)
    order = np.lexsort((left, top, -area))
    return np.stack([left, top, left + width, top + height], axis=1)[order]


def bounding_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """The box around the largest connected part of a mask ``(H, W)``; None if nothing is marked."""
    boxes = component_boxes(mask)
    if not len(boxes):
        return None
    left, top, right, bottom = boxes[0].tolist()
    return left, top, right, bottom
