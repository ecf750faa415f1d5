"""Predictions: what a network answers, of a picture or of each of its pixels."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.picture import Geometry, Picture
from cnnviz.core.region import is_background
from cnnviz.core.target import ClassTarget
from cnnviz.drawing.overlay import place, upsample
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.provenance import Provenance
from cnnviz.results.concepts import choose_colours, paint_shares
from cnnviz.results.result import DrawnResult, Grid, Parts, Result

__all__ = ["ClassArea", "Prediction", "Predictions", "Segmentations"]

DRAWN = 4
"""Classes of a picture that are drawn."""


@dataclass(frozen=True)
class Prediction:
    """One class that a network puts among its first.

    Attributes:
        target: The class, usable as a method's target.
        logit: Its logit.
        probability: Its probability, as the network's head gives it; None where the network gives values.
        unit: Of the value, which stands in the logit's place; None where the network gives classes.
        place: Where on the picture (x and y in its pixels) the value is, of a heat map the largest; None where the
            network has one answer for the whole.
    """

    target: ClassTarget
    logit: float
    probability: float | None
    unit: str | None = None
    place: tuple[int, int] | None = None

    @property
    def named(self) -> str:
        """The class, with its place where it has one."""
        return str(self.target) if self.place is None else f"{self.target} at {self.place[0]},{self.place[1]}"

    @property
    def answer(self) -> str:
        """The probability or the value, in words."""
        if self.probability is not None:
            return f"{self.probability:.2%}"
        return f"{self.logit:.4g} {self.unit or ''}".rstrip()

    def describe(self) -> dict[str, Any]:
        """What there is to say, as plain values."""
        return {
            "index": self.target.index,
            "label": self.target.label,
            "logit": self.logit,
            "probability": self.probability,
            **({} if self.unit is None else {"unit": self.unit}),
            **({} if self.place is None else {"place": list(self.place)}),
        }


@dataclass(frozen=True, eq=False)
class Predictions(Parts[tuple[Prediction, ...]], Result):
    """The first classes of every picture, the most probable first.

    Attributes:
        best: For each picture its first classes.
        logits: ``(N, K)`` float32; of values for every pixel the largest.
        pictures: The pictures.
        checks: What the user should know.
        provenance: How it was made.
    """

    _PARTS = "best"
    _ARRAY = "logits"

    best: tuple[tuple[Prediction, ...], ...]
    logits: NDArray[np.float32] = field(repr=False)
    pictures: tuple[Picture, ...] = field(repr=False)
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    def describe(self) -> dict[str, Any]:
        """What there is to say, as plain values."""
        best = [[one.describe() for one in first] for first in self]
        return {"predictions": best, "checks": list(self.checks)}

    def __str__(self) -> str:
        lines = []
        for picture, best in zip(self.pictures, self.best, strict=True):
            lines.append(picture.name)
            lines += [f"  {one.answer:>7}  {one.target.index:>5}  {one.named}" for one in best]
        return "\n".join(lines)


@dataclass(frozen=True)
class ClassArea:
    """A class and the part of a picture that it wins.

    Attributes:
        target: The class, usable as a method's target.
        share: The part of all pixels that the network saw, in [0, 1].
        pixels: How many pixels of the network's answer.
        probability: The class's mean probability over them.
    """

    target: ClassTarget
    share: float
    pixels: int
    probability: float

    def describe(self) -> dict[str, Any]:
        """What there is to say, as plain values."""
        return {
            "index": self.target.index,
            "label": self.target.label,
            "share": self.share,
            "pixels": self.pixels,
            "probability": self.probability,
        }


@dataclass(frozen=True, eq=False)
class Segmentations(Parts[tuple[ClassArea, ...]], DrawnResult):
    """What a network with dense answers sees where: which classes win how much of each picture, the largest first.

    Saved as ``.npz`` they are ``won``, ``images`` (names) and ``provenance`` (JSON text).

    Attributes:
        areas: For each picture the classes that win any of it.
        won: ``(N, K, h, w)`` bool on the answer's grid: which classes win each pixel.
        pictures: The pictures, with their geometry.
        model: The network's name.
        checks: What the user should know.
        provenance: How it was made.
    """

    _PARTS = "areas"
    _ARRAY = "won"

    areas: tuple[tuple[ClassArea, ...], ...]
    won: NDArray[np.bool_] = field(repr=False)
    pictures: tuple[Picture, ...] = field(repr=False)
    model: str = ""
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    def on_original(self, row: int, index: int) -> NDArray[np.bool_]:
        """Where a class wins on a picture's own pixels, ``(H, W)``; false where the network did not look."""
        picture = self.pictures[row]
        geometry = picture.geometry or Geometry.whole(*picture.size)
        wide = upsample(self.won[row, index].astype(np.float32), geometry.crop[2:])
        return np.asarray(np.nan_to_num(place(wide, geometry)) > 0.5)

    def grid(self) -> Grid:
        """A row a picture: the photograph, all classes in their colours, and each of the largest alone."""
        rows = [self._draw_row(row) for row in range(len(self))]
        widest = max(map(len, rows))
        padded = tuple((*row, *[None] * (widest - len(row))) for row in rows)
        return Grid(Sheet(padded, title=self._title(self.model), notes=self.checks), self.provenance)

    def save_each(self, paths: Iterable[str | os.PathLike[str]], **how: Any) -> tuple[Path, ...]:
        """Write each picture's areas into a file of its own, as :meth:`save` does.

        Args:
            paths: Where to, a path a picture.
            **how: As :meth:`save` takes it.

        Raises:
            OutputError: If a suffix is unknown or a file cannot be written.
            ValueError: If there are not as many paths as pictures.
        """
        alone = [self._slice(slice(row, row + 1)) for row in range(len(self))]
        return tuple(one.save(path, **how) for one, path in zip(alone, paths, strict=True))

    def describe(self) -> dict[str, Any]:
        """What there is to say, as plain values."""
        return {"areas": [[one.describe() for one in some] for some in self], "checks": list(self.checks)}

    def _slice(self, rows: slice) -> Self:
        parts = {"areas": self.areas[rows], "won": self.won[rows], "pictures": self.pictures[rows]}
        return self._replace(**parts, provenance=self.provenance.only(rows))

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"won": self.won, "images": np.array([picture.name for picture in self.pictures])}

    def _draw_row(self, row: int) -> list[Cell | None]:
        picture = self.pictures[row]
        named = [area for area in self[row] if not is_background(str(area.target))]
        shown, others = named[:DRAWN], len(named[DRAWN:])
        masks = np.stack([self.on_original(row, area.target.index) for area in shown] or [np.zeros(picture.size, bool)])
        colours = choose_colours(max(len(shown), 1))
        first = masks & (np.cumsum(masks, axis=0) == 1)
        words = f"the {DRAWN} largest of {DRAWN + others} classes" if others else "all classes"
        words = words if shown else "no class but the background" if self[row] else "no class is likelier than not"
        cells = [Cell(picture.pixels, picture.name), Cell(paint_shares(picture.pixels, first, colours), words)]
        for number, area in enumerate(shown):
            painted = paint_shares(picture.pixels, masks[[number]], colours[[number]])
            said = f"{area.share:.1%} of what it saw\nmean probability {area.probability:.0%}"
            cells.append(Cell(painted, f"{area.target}\n{said}"))
        return [*cells]

    def __str__(self) -> str:
        lines = []
        for picture, areas in zip(self.pictures, self.areas, strict=True):
            lines.append(picture.name)
            lines += [f"  {one.share:>7.2%}  {one.target.index:>5}  {one.target}" for one in areas]
            lines += [] if areas else ["  no class is likelier than not at any pixel"]
        return "\n".join(lines)
