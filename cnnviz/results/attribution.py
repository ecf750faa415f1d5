"""Attribution: what each pixel and channel of one picture adds to a score."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cnnviz.core.picture import Picture
from cnnviz.core.target import Target
from cnnviz.drawing.colour import Scale, colourise, paint, scale_of
from cnnviz.drawing.overlay import place
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.provenance import Provenance
from cnnviz.results.grid import Grid
from cnnviz.results.heatmap import Heatmap, Heatmaps, Look, look_of
from cnnviz.results.result import Styled, rows_of

__all__ = ["Attribution", "Channels", "flattened", "Attributions"]

Channels: TypeAlias = Literal["absolute", "signed", "colour"]
COLOURS = (1, 3)
PLAIN: Final = Look()


def flattened(values: NDArray[np.float32], channels: Channels) -> NDArray[np.float32]:
    """Attributions ``(C, H, W)`` as one map ``(H, W)``.

    Args:
        values: Raw and signed.
        channels: ``"signed"`` adds the channels up; otherwise the largest magnitude among them.
    """
    return np.asarray(values.sum(axis=0) if channels == "signed" else np.abs(values).max(axis=0), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Attribution:
    """Attributions to the pixels of one picture.

    Attributes:
        values: ``(C, H, W)`` float32, raw and signed, on the network's input grid.
        channels: How the channels are drawn: ``"absolute"`` is their largest magnitude on a sequential scale,
            ``"signed"`` their sum on a diverging one, ``"colour"`` the channels as colours around grey.
        flat: The channels as one map, with target, score, picture and everything else there is to say.
    """

    values: NDArray[np.float32] = field(repr=False)
    channels: Channels
    flat: Heatmap

    @property
    def target(self) -> Target:
        """What is explained."""
        return self.flat.target

    @property
    def score(self) -> float:
        """The target's score on the unchanged picture."""
        return self.flat.score

    @property
    def picture(self) -> Picture:
        """The picture, with the geometry of the network's input."""
        return self.flat.picture

    @property
    def checks(self) -> tuple[str, ...]:
        """What the user should know about this result."""
        return self.flat.checks

    @property
    def provenance(self) -> Provenance:
        """How it was made."""
        return self.flat.provenance

    @property
    def coloured(self) -> bool:
        """Whether the channels are drawn as colours; other numbers of channels than 1 and 3 are none."""
        return self.channels == "colour" and len(self.values) in COLOURS

    def on_original(self) -> NDArray[np.float32]:
        """The channels on the original picture's pixels, ``(C, H, W)`` float32, NaN where the network did not look."""
        return np.stack([place(channel, self.flat.geometry) for channel in self.values])

    def scale(self, look: Look = PLAIN) -> Scale:
        """What the colours mean, on a scale of its own."""
        return scale_among([self], look)

    def cells(self, look: Look = PLAIN, scale: Scale | None = None) -> tuple[Cell, ...]:
        """The pictures in the asked style: one, or the part of the photograph that the network saw and its pixels'."""
        scale = scale or self.scale(look)
        if look.style == "overlay":
            return (Cell(self.flat.overlay(look, scale)),)
        if look.style == "map":
            return (Cell(self._drawn(self.values, self.flat.upsampled(), scale)),)
        placed = self.flat.on_original()
        looked = np.isfinite(place(np.zeros(self.values.shape[1:], np.float32), self.flat.geometry))
        seen = np.ix_(*(np.flatnonzero(looked.any(axis=axis)) for axis in (1, 0)))
        drawn = self._drawn(self.on_original(), placed, scale)[seen]
        bar = None if self.coloured else scale
        return Cell(self.picture.pixels[seen], self.picture.name), Cell(drawn, self._words(scale), bar)

    def caption(self) -> str:
        """Target with probability or score, and a word where there is nothing to see."""
        words = self.flat.caption().partition("\n")[0]
        return f"{words}\nnothing comes through to the pixels" if self.flat.blank else words

    def describe(self) -> dict[str, Any]:
        """What there is to say without a picture, as plain values."""
        return self.flat.describe()

    def save(self, path: str | os.PathLike[str], **look: Any) -> Path:
        """Write it: .png, .jpg, .webp, .svg, .pdf as a picture, .npz as raw values.

        Args:
            path: Where to; an existing file is replaced.
            **look: Fields of :class:`Look`, such as ``style="map"``.

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
        """
        return self._alone().save(path, **look)

    def plot(self, ax: Axes | None = None, **look: Any) -> Figure:
        """A matplotlib figure; with ``ax`` the attributions alone are drawn into it."""
        return self._alone().plot(ax, **look)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.values, dtype=dtype, copy=copy)

    def _repr_png_(self) -> bytes:
        return self._alone()._repr_png_()

    def _drawn(self, values: NDArray[np.float32], flat: NDArray[np.float32], scale: Scale) -> NDArray[np.uint8]:
        return paint(values, scale) if self.coloured else colourise(flat, scale)

    def _words(self, scale: Scale) -> str:
        said = [f"\N{PLUS-MINUS SIGN}{scale.high:.3g} about grey"] if self.coloured and not scale.blank else []
        said += [f"{scale.clipped:.1%} clipped"] if scale.clipped else []
        return "\n".join(filter(None, (self.caption(), ", ".join(said))))

    def _alone(self) -> Attributions:
        return Attributions((self,), self.checks, self.provenance)


def scale_among(parts: list[Attribution], look: Look) -> Scale:
    """One scale for some attributions: symmetric where they are drawn with their sign."""
    first = parts[0]
    coloured = first.coloured and look.style != "overlay"
    shown = [one.values.ravel() if coloured else one.flat.upsampled().ravel() for one in parts]
    signed = coloured or not first.flat.rectified
    cmap = None if coloured else look.cmap
    return scale_of(np.concatenate(shown), normalise=look.normalise or "percentile", signed=signed, cmap=cmap)


@dataclass(frozen=True, eq=False)
class Attributions(Styled[Attribution, Look]):
    """Attributions to the pixels of a batch of pictures; a sequence of :class:`Attribution`.

    They are drawn as the fields of :class:`Look` say. Saved as ``.npz`` they are ``values``, ``targets``, ``scores``,
    ``images`` (names), ``boxes`` (left, top, right, bottom of the network's input on each picture, in its pixels) and
    ``provenance`` (JSON text).

    Attributes:
        parts: The attributions, one a picture.
        checks: What the user should know about the result as a whole.
        provenance: How it was made.
    """

    parts: tuple[Attribution, ...]
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    @property
    def values(self) -> NDArray[np.float32]:
        """``(N, C, H, W)`` float32, raw and signed, on the network's input grid."""
        return np.stack([one.values for one in self.parts])

    @property
    def targets(self) -> tuple[Target, ...]:
        """What is explained, for each picture."""
        return tuple(one.target for one in self.parts)

    @property
    def scores(self) -> NDArray[np.float32]:
        """``(N,)``: the targets' scores on the unchanged pictures."""
        return np.array([one.score for one in self.parts], dtype=np.float32)

    def heatmaps(self) -> Heatmaps:
        """The channels of each picture as one map, as they are drawn."""
        return Heatmaps(tuple(one.flat for one in self.parts), self.checks, self.provenance)

    def plot(self, ax: Axes | None = None, **look: Any) -> Figure:
        """A matplotlib figure; with ``ax`` the attributions of a single picture are drawn into it."""
        return self.grid(**(look if ax is None else {"style": "map", **look})).plot(ax)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "values": self.values,
            "targets": np.array([str(target) for target in self.targets]),
            "scores": self.scores,
            "images": np.array([one.picture.name for one in self.parts]),
            "boxes": np.array([one.flat.geometry.box for one in self.parts], dtype=np.float64),
        }

    def _recorded(self, one: Attribution, record: Provenance) -> Attribution:
        return replace(one, flat=replace(one.flat, provenance=record))

    def _look(self, fields: Mapping[str, Any]) -> Look:
        return look_of(fields)

    def _drawn(self, look: Look, scale: Scale | None) -> Grid:
        cells = [one.cells(look, scale) for one in self.parts]
        rows = rows_of([one.picture for one in self.parts], cells, photographed=look.style == "panel")
        provenance = self.provenance.drawn(**asdict(look))
        if look.style != "panel":
            return Grid(Sheet(rows), provenance)
        title = " · ".join(part for part in (self.provenance.method, self.parts[0].flat.model) if part)
        return Grid(Sheet(rows, title=title, notes=self.checks), provenance)

    def _shared_scale(self, look: Look) -> Scale | None:
        return scale_among(list(self.parts), look) if look.shared else None
