"""Features: the feature maps of a layer for some pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cnnviz.drawing.colour import Scale, scale_of
from cnnviz.drawing.legend import legend
from cnnviz.drawing.sheet import Sheet
from cnnviz.provenance import Provenance
from cnnviz.results.batch import Styled
from cnnviz.results.feature_maps import NORMALISED, FeatureLook, FeatureMaps, feature_look
from cnnviz.results.grid import Grid
from cnnviz.results.heatmaps import EVENLY

__all__ = ["Features"]

SMALLEST, LARGEST, WIDEST = 112, 320, 2000


@dataclass(frozen=True, eq=False)
class Features(Styled[FeatureMaps, FeatureLook]):
    """The feature maps of a layer for a batch of pictures; a sequence of :class:`FeatureMaps`.

    They are drawn as ``style`` (``"maps"``, ``"overlay"`` or ``"masked"``), ``quantile`` and the other fields of
    :class:`Look` say; ``shared=True`` gives all maps one scale. Saved as ``.npz`` they are ``values``
    ``(N, U, h, w)``, ``units`` ``(N, U)``, ``images`` (names), ``boxes`` (left, top, right, bottom of the network's
    input on each picture, in its pixels) and ``provenance`` (JSON text).

    Attributes:
        parts: The maps of each picture.
        checks: What the user should know about the result as a whole.
        provenance: How it was made.
    """

    parts: tuple[FeatureMaps, ...]
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    @property
    def values(self) -> NDArray[np.float32]:
        """``(N, U, h, w)`` float32: of each picture its units' maps, the layer's own values."""
        return np.stack([one.values for one in self.parts])

    @property
    def units(self) -> NDArray[np.int64]:
        """``(N, U)``: the units that are shown of each picture."""
        return np.array([one.units for one in self.parts], dtype=np.int64)

    @property
    def layer(self) -> str:
        """The layer."""
        return self.parts[0].layer

    def plot(self, **look: Any) -> Figure:
        """A matplotlib figure of the grid."""
        return self.grid(**look).plot()

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "values": self.values,
            "units": self.units,
            "images": np.array([one.picture.name for one in self.parts]),
            "boxes": np.array([one[0].geometry.box for one in self.parts], dtype=np.float64),
        }

    def _look(self, fields: Mapping[str, Any]) -> FeatureLook:
        return feature_look(fields)

    def _write(self, where: Path, look: FeatureLook, scale: Scale | None) -> Path:
        if saved := self._saved_as_arrays(where):
            return saved
        grid = self._drawn(look, scale)
        return grid.save(where, cell=max(SMALLEST, min(LARGEST, WIDEST // grid.sheet.shape[1])))

    def _drawn(self, look: FeatureLook, scale: Scale | None) -> Grid:
        first = self.parts[0]
        rows = tuple(row for one in self.parts for row in one.rows(look, scale))
        bar = ((legend(scale),),) if scale is not None and look.style != "masked" else ()
        shown = f"{len(first)} of {first.total} units, {' x '.join(map(str, first[0].values.shape))} places"
        title = " · ".join(part for part in (self.provenance.method, first[0].model, first.layer, shown) if part)
        sheet = Sheet((*rows, *bar), title=title, notes=(*self._notes(look), *self.checks))
        return Grid(sheet, self.provenance.drawn(**look.describe()))

    def _notes(self, look: FeatureLook) -> list[str]:
        notes = [f"{one.silent} of {one.total} units are zero all over {one.picture.name}" for one in self.parts]
        notes = [note for note, one in zip(notes, self.parts, strict=True) if one.silent]
        if look.style == "masked":
            share = f"{100 * (1 - look.quantile):.3g} %"
            notes.insert(
                0, f"In colour: where a unit is at least as strong as at the strongest {share} of its map's places."
            )
        elif not look.look.shared:
            end = "" if look.look.normalise else ", up to its 99th percentile"
            notes.insert(0, f"Each map has a scale of its own{end}.")
        seen = self.parts[0][0].field
        if look.style != "maps" and look.look.align == "pixel" and seen is not None and seen.placed:
            notes.append(EVENLY)
        return notes

    def _shared_scale(self, look: FeatureLook) -> Scale | None:
        if not look.look.shared:
            return None
        signed = not all(map_.rectified for one in self.parts for map_ in one)
        return scale_of(self.values, normalise=look.look.normalise or NORMALISED, signed=signed, cmap=look.look.cmap)
