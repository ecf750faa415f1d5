"""Heatmaps: a batch of maps, what most methods return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cnnviz.core.target import Target
from cnnviz.drawing.colour import Scale, scale_of
from cnnviz.drawing.sheet import Sheet
from cnnviz.provenance import Provenance
from cnnviz.results.batch import Styled, rows_of
from cnnviz.results.grid import Grid
from cnnviz.results.heatmap import USUAL, Align, Heatmap, Look, look_of

__all__ = ["Heatmaps"]

EVENLY = "the values are spread evenly over the input (align 'pixel'), not drawn where their units look"


@dataclass(frozen=True, eq=False)
class Heatmaps(Styled[Heatmap, Look]):
    """Maps of a batch of pictures; a sequence of :class:`Heatmap`, drawn as the fields of :class:`Look` say.

    Saved as ``.npz`` they are ``values``, ``targets``, ``scores``, ``images`` (names), ``boxes`` (left, top, right,
    bottom of the network's input on each picture, in its pixels) and ``provenance`` (JSON text); where there are any,
    also ``spreads``, ``error_bars``, and ``rows`` and ``columns`` (the centres of a map's places on the input, in
    pixels).

    Attributes:
        maps: The maps, one a picture.
        checks: What the user should know about the result as a whole.
        provenance: How it was made.
    """

    _PARTS = "maps"

    maps: tuple[Heatmap, ...]
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    @property
    def values(self) -> NDArray[np.float32]:
        """``(N, h, w)`` float32, raw and signed, at the method's own resolution."""
        return np.stack([one.values for one in self.maps])

    @property
    def targets(self) -> tuple[Target, ...]:
        """What is explained, for each picture."""
        return tuple(one.target for one in self.maps)

    @property
    def scores(self) -> NDArray[np.float32]:
        """``(N,)``: the targets' scores on the unchanged pictures."""
        return np.array([one.score for one in self.maps], dtype=np.float32)

    @property
    def layer(self) -> str | None:
        """The layer that was looked at, or None."""
        return self.maps[0].layer

    def upsampled(self, align: Align = "field") -> NDArray[np.float32]:
        """The maps on the network's input grid, ``(N, H, W)`` float32; see :meth:`Heatmap.upsampled`."""
        return np.stack([one.upsampled(align) for one in self.maps])

    def on_original(self, index: int, align: Align = "field") -> NDArray[np.float32]:
        """One map on its original picture's pixels, ``(H, W)`` float32; see :meth:`Heatmap.on_original`."""
        return self.maps[index].on_original(align)

    def plot(self, ax: Axes | None = None, **look: Any) -> Figure:
        """A matplotlib figure; with ``ax`` the overlay of a single map is drawn into it."""
        return self.grid(**(look if ax is None else {"style": "overlay", **look})).plot(ax)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "values": self.values,
            "targets": np.array([str(target) for target in self.targets]),
            "scores": self.scores,
            "images": np.array([one.picture.name for one in self.maps]),
            "boxes": np.array([one.geometry.box for one in self.maps], dtype=np.float64),
            **self._certainty(),
            **self._centres(),
        }

    def _centres(self) -> dict[str, NDArray[Any]]:
        seen = self.maps[0].field
        if seen is None or not seen.rows or not seen.columns:
            return {}
        return {"rows": seen.rows.middles(), "columns": seen.columns.middles()}

    def _certainty(self) -> dict[str, NDArray[Any]]:
        spreads = [one.spread for one in self.maps if one.spread is not None]
        bars = [one.error_bar for one in self.maps if one.error_bar is not None]
        found: dict[str, NDArray[Any]] = {"spreads": np.stack(spreads)} if len(spreads) == len(self) else {}
        return found | ({"error_bars": np.array(bars)} if len(bars) == len(self) else {})

    def _look(self, fields: Mapping[str, Any]) -> Look:
        return look_of(fields)

    def _drawn(self, look: Look, scale: Scale | None) -> Grid:
        cells = [one.cells(look, scale) for one in self.maps]
        rows = rows_of([one.picture for one in self.maps], cells, photographed=look.style == "panel")
        provenance = self.provenance.drawn(**asdict(look))
        if look.style != "panel":
            return Grid(Sheet(rows), provenance)
        first = self.maps[0]
        title = " · ".join(part for part in (self.provenance.method, first.model, first.layer) if part)
        return Grid(Sheet(rows, title=title, notes=(*self.checks, *self._drawn_evenly(look))), provenance)

    def _drawn_evenly(self, look: Look) -> tuple[str, ...]:
        seen = self.maps[0].field
        return (EVENLY,) if look.align == "pixel" and seen is not None and seen.placed else ()

    def _shared_scale(self, look: Look) -> Scale | None:
        if not look.shared:
            return None
        signed = not self.maps[0].rectified
        shown = self.upsampled(look.align)
        return scale_of(shown, normalise=look.normalise or USUAL, signed=signed, cmap=look.cmap)
