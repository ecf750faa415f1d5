"""Attributions: what gradient methods return, with the channels kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cnnviz.core.target import Target
from cnnviz.drawing.colour import Scale
from cnnviz.drawing.sheet import Sheet
from cnnviz.provenance import Provenance
from cnnviz.results.attribution import Attribution, scale_among
from cnnviz.results.batch import Styled, rows_of
from cnnviz.results.grid import Grid
from cnnviz.results.heatmap import Look, look_of
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["Attributions"]


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
