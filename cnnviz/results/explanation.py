"""What an explanation of a picture is, whatever its kind: what is explained, what its colours measure, its words."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from cnnviz.catalogue import measured
from cnnviz.core.picture import Geometry, Picture
from cnnviz.core.sample import Sample
from cnnviz.core.similar import Similar
from cnnviz.core.target import ClassTarget, DetectionTarget, NoTarget, RegionTarget, Target
from cnnviz.drawing.animation import ANIMATION_SUFFIXES
from cnnviz.drawing.boxes import draw_box
from cnnviz.drawing.colour import Scale
from cnnviz.drawing.files import NIFTI_SUFFIXES, PICTURE_SUFFIXES, ending_of, write_pixels
from cnnviz.drawing.overlay import place, transparent
from cnnviz.drawing.paper import Paper
from cnnviz.drawing.samples import (
    Look,
    look_of,
    write_grids,
    write_moving,
)
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.errors import OutputError, ParameterError
from cnnviz.provenance import Provenance, cautions, remarks
from cnnviz.results.result import Grid, Part, StyledBatch, rows_of

__all__ = ["Explanation", "Explanations", "PLAIN", "RIGHT", "WRONG"]

RIGHT, WRONG = "\N{CHECK MARK}", "\N{BALLOT X}"
"""Signs of a class that is the true one, and of one that is not; they say it without colour."""

PLAIN: Final = Look()
TRANSPARENT: Final = ".png"


@dataclass(frozen=True, eq=False)
class Explanation(Part):
    """What explains one target on one picture.

    Attributes:
        values: float32, raw and signed.
        target: What is explained.
        score: The target's score on the unchanged picture.
        probability: Of the target's class, as the network's head gives it; None where the target is not one class.
        picture: The picture, with the geometry of the network's input.
        layer: The layer that was looked at, or None.
        rectified: Whether only positive values are shown: the method's definition keeps no others (applied before
            upsampling), or channels are shown by their magnitude.
        model: The network's name.
        checks: What the user should know about this result.
        provenance: How it was made.
        unit: Of the score, where the network gives values (empty for none); None where it gives classes.
    """

    values: NDArray[np.float32] = field(repr=False)
    target: Target
    score: float
    probability: float | None
    picture: Sample
    layer: str | None
    rectified: bool
    model: str
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)
    unit: str | None = field(default=None, kw_only=True)

    @property
    def geometry(self) -> Geometry:
        """How the network's input was cut from the picture."""
        return self.picture.cut

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """The box of the detection that is explained, in the picture's own pixels; None where it is no detection."""
        found = self.target.box if isinstance(self.target, DetectionTarget) else None
        return None if found is None else self.geometry.on_picture(found)

    @property
    def measures(self) -> str:
        """What the values are, with their unit; empty where the method is not one of cnnviz's."""
        return measured(self.provenance.method, self.provenance.settings, self._score_unit())

    def _score_unit(self) -> str:
        """What the target's score is measured in."""
        if self.unit is not None:
            return self.unit or "value"
        if isinstance(self.target, Similar):
            return self.target.measure
        return str(self.provenance.settings.get("score", "logit")) if self.probability is not None else "score"

    def boxed(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Pixels like the picture's, with the box of the detection that is explained, if it is one."""
        return pixels if self.box is None else draw_box(pixels, self.box)

    def _boxed_input(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The same of pixels like the network's input."""
        found = self.target.box if isinstance(self.target, DetectionTarget) else None
        return pixels if found is None else draw_box(pixels, found)

    @property
    @abstractmethod
    def blank(self) -> bool:
        """Whether there is nothing to see."""

    @abstractmethod
    def volume_values(self, look: Look) -> NDArray[np.float32]:
        """One value a place of what is explained, NaN where the network did not look."""

    def seen(self) -> NDArray[np.bool_]:
        """What of the picture the network saw."""
        return ~np.isnan(place(np.zeros(self.geometry.size, np.float32), self.geometry))

    @abstractmethod
    def blank_note(self) -> str:
        """The sentence for nothing to see."""

    @abstractmethod
    def scale(self, look: Look = PLAIN) -> Scale:
        """What the colours mean, on a scale of its own."""

    @abstractmethod
    def cells(self, look: Look = PLAIN, scale: Scale | None = None) -> tuple[Cell, ...]:
        """The pictures in the asked style: one, or photograph and explanation."""

    def clear(self, look: Look = PLAIN, scale: Scale | None = None) -> NDArray[np.uint8]:
        """It alone on the original picture's pixels, ``(H, W, 4)`` RGBA uint8, transparent where nothing is to see."""
        return transparent(self.volume_values(look), scale or self.scale(look), look.alpha)

    @property
    def right(self) -> bool | None:
        """Whether the class that is explained is the picture's true one; None where either is not known."""
        true = self.picture.true_class
        return str(self.target) == true if true is not None and isinstance(self.target, ClassTarget) else None

    def _mark_truth(self, words: str) -> str:
        """Words about the target with a sign of whether it is the true class, and with that where it is not."""
        if self.right is None:
            return words
        return f"{RIGHT} {words}" if self.right else f"{WRONG} {words} (true: {self.picture.true_class})"

    def caption(self) -> str:
        """Target with probability or score, whether it is the true class, a word where there is nothing to see."""
        note = f"\n{self.blank_note()}" if self.blank else ""
        if isinstance(self.target, NoTarget):
            return f"independent of the class{note}"
        if isinstance(self.target, Similar):
            return f"{self.target}, {self.target.measure} {self.score:.3g}{note}"
        point = isinstance(self.target, RegionTarget) and self.target.peak
        if self.unit is not None and (point or isinstance(self.target, ClassTarget)):
            return f"{self.target} {' '.join([f'{self.score:.4g}', self.unit]).strip()}{note}"
        value = f"{self.probability:.1%}" if self.probability is not None else f"score {self.score:.4g}"
        return f"{self._mark_truth(f'{self.target}, {value}')}{note}"


E = TypeVar("E", bound=Explanation)


class Explanations(StyledBatch[E, Look]):
    """Explanations of a batch of pictures, drawn as the fields of :class:`Look` say."""

    @property
    def values(self) -> NDArray[np.float32]:
        """``(N, ...)`` float32, raw and signed: of each picture its explanation's values."""
        return np.stack([one.values for one in self])

    @property
    def targets(self) -> tuple[Target, ...]:
        """What is explained, for each picture."""
        return tuple(one.target for one in self)

    @property
    def scores(self) -> NDArray[np.float32]:
        """``(N,)``: the targets' scores on the unchanged pictures."""
        return np.array([one.score for one in self], dtype=np.float32)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "values": self.values,
            "targets": np.array([str(target) for target in self.targets]),
            "scores": self.scores,
            "images": np.array([one.picture.name for one in self]),
            "boxes": np.array([one.geometry.box for one in self], dtype=np.float64),
        }

    def _read_look(self, fields: Mapping[str, Any]) -> Look:
        return look_of(fields)

    def _draw(self, look: Look, scale: Scale | None) -> Grid:
        cells = [one.cells(look, scale) for one in self]
        rows = rows_of([one.picture for one in self], cells, photographed=look.style == "panel")
        provenance = self.provenance.drawn(**look.describe())
        if look.style != "panel":
            return Grid(Sheet(rows), provenance)
        title = self._title(self[0].model, self._layer_words())
        notes = *cautions(self.checks), *self._notes(look)
        return Grid(Sheet(rows, title=title, notes=notes, details=remarks(self.checks)), provenance)

    def _write(self, where: Path, look: Look, scale: Scale | None, paper: Paper, cell: int | None = None) -> Path:
        ending = ending_of(where)
        pictured = any(isinstance(one.picture, Picture) for one in self)
        if ending in NIFTI_SUFFIXES:
            write_grids(where, [(one.picture, one.volume_values(look)) for one in self], self._written(look, "nii"))
        elif ending in ANIMATION_SUFFIXES and ending not in PICTURE_SUFFIXES and not pictured:
            self._write_slices(where, look, scale)
        elif look.transparent and not self._save_arrays(where):
            self._write_transparent(
                where, look, scale, {**paper.describe(), **({} if cell is None else {"cell": cell})}
            )
        elif not look.transparent:
            return super()._write(where, look, scale, paper, cell)
        return where

    def _write_slices(self, where: Path, look: Look, scale: Scale | None) -> None:
        """Write an animation through the slices of one volume, or a clip with its map."""
        if len(self) > 1:
            raise OutputError(f"'{where.name}' shows one map at a time; there are {len(self)}: name a folder.")
        one = self[0]
        how = {"scale": scale or one.scale(look), "alpha": look.alpha, "seen": one.seen(), "slicing": look.slicing}
        words = f"{one.picture.name}: {one.caption().splitlines()[0]}"
        note = self._written(look, ending_of(where)[1:])
        write_moving(where, one.picture, one.volume_values(look), **how, caption=words, note=note)

    def _write_transparent(self, where: Path, look: Look, scale: Scale | None, sizes: Mapping[str, Any]) -> None:
        """Write one map, with what is seen through it left out."""
        if len(self) > 1:
            raise OutputError(f"'{where.name}' holds one transparent map; there are {len(self)}: name a folder.")
        if not isinstance(self[0].picture, Picture):
            raise OutputError("Only maps of pictures are drawn transparent; leave transparent out.")
        if ending_of(where) != TRANSPARENT:
            raise OutputError(f"A transparent map is a {TRANSPARENT} file, not '{where.name}'.")
        if sizes:
            raise ParameterError(f"A transparent map has the photograph's own pixels; leave out {next(iter(sizes))}.")
        write_pixels(where, self[0].clear(look, scale), self._written(look, TRANSPARENT[1:]))

    def _written(self, look: Look, format_: str) -> str:
        return self.provenance.drawn(**look.describe(), format=format_).to_json()

    def _layer_words(self) -> str | None:
        """The layer, where the title says it."""
        return None

    def _notes(self, look: Look) -> tuple[str, ...]:  # noqa: ARG002 - kinds that have notes look at it
        """What there is to say about how it is drawn."""
        return ()
