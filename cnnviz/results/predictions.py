"""Predictions: what a network answers, of a picture or of each of its pixels."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.atomic import make_folder, number_twins
from cnnviz.core.notebook import HtmlBar, html_table, repr_line
from cnnviz.core.region import is_background
from cnnviz.core.sample import Sample
from cnnviz.core.target import ClassTarget
from cnnviz.drawing.files import write_labels
from cnnviz.drawing.overlay import place, upsample, veiled
from cnnviz.drawing.samples import pixels_of
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.errors import ExplanationError
from cnnviz.provenance import Provenance, cautions, remarks
from cnnviz.results.concepts import choose_colours, paint_shares
from cnnviz.results.result import DrawnParts, Grid, Parts, Result

__all__ = ["ClassArea", "Prediction", "Predictions", "Segmentations"]

DRAWN = 4
"""Classes of a picture that are drawn."""
NO_CLASS = 255
"""What stands in a mask for no class."""
COLOURFUL = 20
IN_PLACE_OF_GREYS = ((25, 25, 112), (0, 250, 180))
"""Colours for what a palette has greys for, which would look like the background."""
BACKGROUND, UNSEEN = 128, 255
"""The greys of the background and of what was not looked at."""


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


@dataclass(frozen=True, eq=False, repr=False)
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
    pictures: tuple[Sample, ...] = field(repr=False)
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    def describe(self) -> dict[str, Any]:
        """What there is to say, as plain values."""
        best = [[one.describe() for one in first] for first in self]
        return {"predictions": best, "checks": list(self.checks)}

    def __repr__(self) -> str:
        first = next((f"{one.answer} {one.named}" for best in self.best for one in best[:1]), "no class")
        count = len(self)
        return repr_line("Predictions", "", f"{count} picture{'s' if count != 1 else ''}", f"first {first}")

    def _repr_html_(self) -> str:
        rows = [
            (
                picture.name if number == 0 else "",
                one.target.index,
                one.named,
                one.answer if one.probability is None else HtmlBar(one.probability),
            )
            for picture, best in zip(self.pictures, self.best, strict=True)
            for number, one in enumerate(best)
        ]
        return html_table("Predictions", ("picture", "index", "class", "answer"), rows)

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
        share: The part of all pixels of the picture that the network saw, in [0, 1].
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
class Segmentations(DrawnParts[tuple[ClassArea, ...]]):
    """What a network with dense answers sees where: which classes win how much of each picture, the largest first.

    Saved as ``.npz`` they are ``won``, ``images`` (names) and ``provenance`` (JSON text).

    Attributes:
        areas: For each picture the classes that win any of it.
        won: ``(N, K, h, w)`` bool on the answer's grid: which classes win each pixel.
        pictures: The pictures, with their geometry.
        model: The network's name.
        checks: What the user should know.
        provenance: How it was made.
        labels: The names of all classes, if there are any.
    """

    _PARTS = "areas"
    _ARRAY = "won"

    areas: tuple[tuple[ClassArea, ...], ...]
    won: NDArray[np.bool_] = field(repr=False)
    pictures: tuple[Sample, ...] = field(repr=False)
    model: str = ""
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)
    labels: tuple[str, ...] | None = field(default=None, repr=False)

    def on_original(self, row: int, index: int) -> NDArray[np.bool_]:
        """Where a class wins on a picture's own pixels, ``(H, W)``; false where the network did not look."""
        picture = self.pictures[row]
        geometry = picture.cut
        wide = upsample(self.won[row, index].astype(np.float32), geometry.size)
        return np.asarray(np.nan_to_num(place(wide, geometry)) > 0.5)

    def colours(self) -> NDArray[np.float32]:
        """A colour ``(K, 3)`` for every class, 0 to 255, the same on all pictures; the background's is grey."""
        count = self.won.shape[1]
        named = self.labels or ()
        others = [index for index in range(count) if not (index < len(named) and is_background(named[index]))]
        colours = np.full((count, 3), BACKGROUND, dtype=np.float32)
        chosen = choose_colours(len(others))
        greys = np.flatnonzero(np.ptp(chosen, axis=1) < COLOURFUL)
        for place_of, colour in zip(greys, IN_PLACE_OF_GREYS, strict=False):
            chosen[place_of] = colour
        colours[others] = chosen
        return colours

    def label_image(self, row: int) -> NDArray[np.uint8]:
        """The class of every pixel of a picture, ``(H, W)`` uint8: its index, 255 where none is or none was looked for.

        Raises:
            ExplanationError: If there are more than 255 classes, or several can be right at one pixel.
        """
        if self.won.shape[1] > NO_CLASS:
            raise ExplanationError(f"A mask's pixels hold at most {NO_CLASS} classes; there are {self.won.shape[1]}.")
        if (self.won[row].sum(axis=0) > 1).any():
            raise ExplanationError(
                "Several classes are likelier than not at one pixel, which one mask cannot hold; an .npz holds all."
            )
        picture, indices = self.pictures[row], [area.target.index for area in self[row]]
        geometry = picture.cut
        none = ~self.won[row].any(axis=0)
        best = np.zeros(picture.size, dtype=np.float32)
        found = np.full(picture.size, NO_CLASS, dtype=np.uint8)
        for index, where in [*((index, self.won[row, index]) for index in indices), (NO_CLASS, none)]:
            share = np.nan_to_num(place(upsample(where.astype(np.float32), geometry.size), geometry))
            found[share > best] = index
            best = np.maximum(best, share)
        return found

    def save_masks(self, where: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> tuple[Path, ...]:
        """Write each picture's classes as a PNG of its own size whose pixels' values are the classes' indices.

        255 is where the network did not look, or no class is likelier than not. Its palette has the colours of the
        figure.

        Args:
            where: A folder, which is made if need be, for a ``NAME.mask.png`` a picture; or a path for each of them.
                Existing files are replaced.

        Raises:
            ExplanationError: If there are more than 255 classes, or several can be right at one pixel.
            OutputError: If a suffix is another or a file cannot be written.
            ValueError: If there are not as many paths as pictures.
        """
        if isinstance(where, (str, os.PathLike)):
            names = number_twins(Path(picture.name).stem for picture in self.pictures)
            make_folder(Path(where))
            where = [Path(where, f"{name}.mask.png") for name in names]
        palette = np.zeros((NO_CLASS + 1, 3), dtype=np.uint8)
        colours = np.rint(self.colours()[:NO_CLASS]).astype(np.uint8)
        palette[: len(colours)], palette[NO_CLASS] = colours, UNSEEN
        pairs = list(zip(map(Path, where), range(len(self)), strict=True))
        for path, row in pairs:
            write_labels(path, self.label_image(row), palette)
        return tuple(path for path, _ in pairs)

    def grid(self) -> Grid:
        """A row a picture: the photograph, all classes in their colours, and each of the largest alone."""
        rows = [self._draw_row(row) for row in range(len(self))]
        widest = max(map(len, rows))
        padded = tuple((*row, *[None] * (widest - len(row))) for row in rows)
        notes, details = cautions(self.checks), remarks(self.checks)
        return Grid(Sheet(padded, title=self._title(self.model), notes=notes, details=details), self.provenance)

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
        colours = self.colours()[[area.target.index for area in shown] or [0]]
        first = masks & (np.cumsum(masks, axis=0) == 1)
        words = f"the {DRAWN} largest of {DRAWN + others} classes" if others else "all classes"
        words = words if shown else "no class but the background" if self[row] else "no class is likelier than not"
        geometry = picture.cut
        seen = ~np.isnan(place(np.zeros(geometry.size, dtype=np.float32), geometry))
        together = veiled(pixels_of(picture), paint_shares(pixels_of(picture), first, colours), seen)
        cells = [Cell(pixels_of(picture), picture.name), Cell(together, words)]
        for number, area in enumerate(shown):
            painted = paint_shares(pixels_of(picture), masks[[number]], colours[[number]])
            said = f"area {area.share:.1%}\nprob. {area.probability:.0%}"
            cells.append(Cell(veiled(pixels_of(picture), painted, seen), f"{area.target}\n{said}"))
        return [*cells]

    def __str__(self) -> str:
        lines = []
        for picture, areas in zip(self.pictures, self.areas, strict=True):
            lines.append(picture.name)
            lines += [f"  {one.share:>7.2%}  {one.target.index:>5}  {one.target}" for one in areas]
            lines += [] if areas else ["  no class is likelier than not at any pixel"]
        return "\n".join(lines)
