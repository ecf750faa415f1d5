"""Detections: the boxes that a detector finds on every picture, drawn, as arrays, and as COCO's JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.atomic import replacing
from cnnviz.core.sample import Sample
from cnnviz.core.target import ClassTarget, DetectionTarget
from cnnviz.drawing.boxes import colour_of, draw_boxes, draw_points, enlarge
from cnnviz.drawing.files import SUFFIXES, ensure_writable
from cnnviz.drawing.layout import well_across
from cnnviz.drawing.overlay import place, upsample
from cnnviz.drawing.samples import pixels_of
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.provenance import Provenance, cautions, remarks
from cnnviz.results.result import DrawnParts, Grid

__all__ = ["Detection", "Detections"]

COCO = ".json"
BELONGS = 0.5
"""From which share on a pixel belongs to a predicted mask."""
FAINT = 0.45


@dataclass(frozen=True, eq=False)
class Detection:
    """One box that a detector finds.

    Attributes:
        target: The class with the box's number among those of its class, usable as a method's target.
        box: Left, top, right and bottom in the picture's own pixels.
        score: How sure the network is, in [0, 1].
        mask: ``(h, w)`` bool on the network's input: which pixels belong to it; None where the network says nothing.
        points: ``(P, 2)``: x and y of its key points in the picture's own pixels; None where there are none.
    """

    target: DetectionTarget
    box: tuple[float, float, float, float]
    score: float
    mask: NDArray[np.bool_] | None = field(default=None, repr=False)
    points: NDArray[np.float64] | None = field(default=None, repr=False)

    @property
    def side(self) -> ClassTarget:
        """Its class."""
        assert isinstance(self.target.side, ClassTarget)
        return self.target.side

    def describe(self) -> dict[str, Any]:
        """What there is to say, as plain values."""
        return {
            "target": str(self.target),
            "index": self.side.index,
            "label": self.side.label,
            "box": list(self.box),
            "score": self.score,
            **({} if self.points is None else {"points": self.points.tolist()}),
        }


@dataclass(frozen=True, eq=False)
class Detections(DrawnParts[tuple[Detection, ...]]):
    """The boxes on every picture, the surest first.

    Saved as ``.json`` they are a data set in COCO's format, with scores; as ``.npz`` they are ``boxes`` (left, top,
    right, bottom), ``scores`` and ``labels`` of all pictures one after another, ``counts`` (how many belong to each),
    ``images`` (names) and ``provenance`` (JSON text).

    Attributes:
        found: For each picture its detections.
        pictures: The pictures, with their geometry.
        model: The network's name.
        threshold: The lowest score that is listed.
        below: For each picture how many others there are.
        checks: What the user should know.
        provenance: How it was made.
    """

    _PARTS = "found"
    _ARRAY = "boxes"
    _SUFFIXES = (*SUFFIXES, COCO)

    found: tuple[tuple[Detection, ...], ...]
    pictures: tuple[Sample, ...] = field(repr=False)
    model: str = ""
    threshold: float = 0.5
    below: tuple[int, ...] = ()
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    @property
    def boxes(self) -> NDArray[np.float64]:
        """All boxes of all pictures, ``(M, 4)``, in the pictures' own pixels."""
        return np.array([one.box for some in self.found for one in some], dtype=np.float64).reshape(-1, 4)

    def mask_on_original(self, row: int, number: int) -> NDArray[np.bool_] | None:
        """Which of a picture's own pixels belong to a detection, ``(H, W)``; None where the network says nothing."""
        picture, mask = self.pictures[row], self.found[row][number].mask
        if mask is None:
            return None
        geometry = picture.cut
        return np.asarray(np.nan_to_num(place(upsample(mask.astype(np.float32), mask.shape), geometry)) > BELONGS)

    def grid(self) -> Grid:
        """The photographs with their boxes, each with its name, number and score."""
        cells = [self._draw(row) for row in range(len(self))]
        across = well_across(len(cells))
        rows = [tuple(cells[start : start + across]) for start in range(0, len(cells), across)]
        padded = tuple((*row, *[None] * (across - len(row))) for row in rows)
        notes, details = cautions(self.checks), remarks(self.checks)
        return Grid(Sheet(padded, title=self._title(self.model), notes=notes, details=details), self.provenance)

    def save(self, path: str | os.PathLike[str], **how: Any) -> Path:
        """Write it: ``.json`` as a data set in COCO's format, otherwise as other results are.

        Args:
            path: Where to; an existing file is replaced.
            **how: As other results take it.

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
        """
        where = Path(path)
        ensure_writable(where, force=True, suffixes=self._SUFFIXES)
        if where.suffix.lower() != COCO:
            return super().save(path, **how)
        with replacing(where) as file:
            file.write(json.dumps(self.to_coco(), indent=1).encode())
        return where

    def to_coco(self) -> dict[str, Any]:
        """A data set in COCO's format: boxes as x, y, width and height, masks as uncompressed run lengths, scores."""
        names = {one.side.index: str(one.side) for some in self.found for one in some}
        images = [
            {"id": row + 1, "file_name": picture.name, "height": picture.size[0], "width": picture.size[1]}
            for row, picture in enumerate(self.pictures)
        ]
        listed = [(row, number) for row, some in enumerate(self.found) for number in range(len(some))]
        return {
            "info": {"description": f"detections of {self.model}", "provenance": json.loads(self.provenance.to_json())},
            "images": images,
            "annotations": [self._annotate(id_ + 1, *each) for id_, each in enumerate(listed)],
            "categories": [{"id": index, "name": name} for index, name in sorted(names.items())],
        }

    def describe(self) -> dict[str, Any]:
        """What there is to say, as plain values."""
        return {"detections": [[one.describe() for one in some] for some in self], "checks": list(self.checks)}

    def _annotate(self, number: int, row: int, at: int) -> dict[str, Any]:
        one, mask = self.found[row][at], self.mask_on_original(row, at)
        left, top, right, bottom = one.box
        return {
            "id": number,
            "image_id": row + 1,
            "category_id": one.side.index,
            "bbox": [left, top, right - left, bottom - top],
            "area": (right - left) * (bottom - top) if mask is None else int(mask.sum()),
            "iscrowd": 0,
            "score": one.score,
            **({} if mask is None else {"segmentation": {"size": list(mask.shape), "counts": _run_lengths(mask)}}),
            **({} if one.points is None else {"keypoints": [v for x, y in one.points.tolist() for v in (x, y, 2)]}),
        }

    def _slice(self, rows: slice) -> Self:
        parts = {"found": self.found[rows], "pictures": self.pictures[rows], "below": self.below[rows]}
        return self._replace(**parts, provenance=self.provenance.only(rows))

    def _arrays(self) -> dict[str, NDArray[Any]]:
        every = [one for some in self.found for one in some]
        return {
            "boxes": self.boxes,
            "scores": np.array([one.score for one in every], dtype=np.float64),
            "labels": np.array([one.side.index for one in every], dtype=np.int64),
            "counts": np.array([len(some) for some in self.found], dtype=np.int64),
            "images": np.array([picture.name for picture in self.pictures]),
        }

    def _draw(self, row: int) -> Cell:
        picture, some = self.pictures[row], self.found[row]
        colours = [colour_of(one.side.index) for one in some]
        pixels = pixels_of(picture)
        for number, colour in enumerate(colours):
            if (mask := self.mask_on_original(row, number)) is not None:
                tinted = (1 - FAINT) * pixels + FAINT * np.array(colour)
                pixels = np.where(mask[..., None], tinted, pixels).astype(np.uint8)
        words = [f"{one.target} {one.score:.0%}" for one in some]
        drawn, wide = enlarge(pixels)
        drawn = draw_boxes(drawn, [[wide * edge for edge in one.box] for one in some], colours, words)
        for one, colour in zip(some, colours, strict=True):
            if one.points is not None:
                drawn = draw_points(drawn, (wide * one.points).tolist(), [colour] * len(one.points))
        return Cell(drawn, f"{picture.name}\n{self._count(row)}")

    def _count(self, row: int) -> str:
        count, below = len(self.found[row]), self.below[row] if self.below else 0
        more = f", {below} below {self.threshold:.0%}" if below else ""
        return f"{count} detection{'' if count == 1 else 's'}{more}" if count else f"no detection{more}"

    def __str__(self) -> str:
        lines = []
        for row, (picture, some) in enumerate(zip(self.pictures, self.found, strict=True)):
            lines.append(f"{picture.name}: {self._count(row)}")
            lines += [f"  {one.score:>7.2%}  {one.side.index:>5}  {one.target}  {spell_box(one.box)}" for one in some]
        return "\n".join(lines)


def spell_box(box: Sequence[float]) -> str:
    """A box in words: left, top, right and bottom in whole pixels."""
    return ",".join(f"{edge:.0f}" for edge in box)


def _run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """How many pixels in a row do not belong to a mask, do, do not, and so on, column by column, as COCO counts."""
    flat = np.concatenate([[False], mask.ravel(order="F"), [False]])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    ends = np.concatenate([changes, [mask.size]]) if not len(changes) or changes[-1] != mask.size else changes
    return [int(length) for length in np.diff(np.concatenate([[0], ends]))]
