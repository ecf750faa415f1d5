"""How the maps of a comparison stand on a sheet: rows, columns, headings, captions and scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.target import NoTarget
from cnnviz.drawing.colour import Scale, colourise, scale_of
from cnnviz.drawing.overlay import overlay
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.results.comparison import Comparison, Panel
from cnnviz.results.heatmap import USUAL, Heatmap, Look
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["arranged"]

PLAIN, PIXELS = Look(), Look(normalise="percentile")
Row = tuple[Cell | None, ...]


def arranged(comparison: Comparison, *, shared: bool, down: bool) -> Sheet:
    """The sheet of a comparison.

    Args:
        comparison: The maps.
        shared: One scale for all images, for each method, network and layer; its colour bar stands under the last.
        down: Exchange rows and columns.
    """
    drawing = _Drawing(comparison, shared)
    methods = tuple(comparison.panels[0].maps)
    across = len(methods) == 1 and len(comparison.panels) > 1
    rows, headings = drawing.panels_across(methods[0]) if across else drawing.methods_across(methods)
    columns = ("", *(comparison.headings if across else methods))
    parts = (drawing.network, methods[0] if across else "", drawing.layer or "")
    title = " · ".join(part for part in parts if part)
    if down:
        return Sheet(tuple(zip(*rows, strict=True)), columns, headings, title, comparison.checks)
    return Sheet(tuple(rows), headings, columns, title, comparison.checks)


@dataclass(frozen=True)
class _Drawing:
    comparison: Comparison
    shared: bool

    @property
    def network(self) -> str:
        """The network's name, where there is only one."""
        names = {panel.network for panel in self.comparison.panels}
        return names.pop() if len(names) == 1 else ""

    @property
    def layer(self) -> str | None:
        """The layer, where all maps that have one have the same."""
        layers = {maps.layer for maps in self.comparison.values() if maps.layer}
        return layers.pop() if len(layers) == 1 else None

    def methods_across(self, methods: Sequence[str]) -> tuple[list[Row], tuple[str, ...]]:
        """A row an image and panel; the photograph stands where its network's answer changes."""
        panels, headings = self.comparison.panels, self.comparison.headings
        count = len(_firsts(panels[0]))
        rows: list[Row] = []
        for number in range(count):
            for at, panel in enumerate(panels):
                fresh = at == 0 or panel.network != panels[at - 1].network
                cells = [self._photograph(panel, number) if fresh else None]
                cells += [self._cell(panel, name, number) for name in methods]
                rows.append(tuple(cells))
        return rows, headings * count if any(headings) else ()

    def panels_across(self, method: str) -> tuple[list[Row], tuple[str, ...]]:
        """A row an image, a column a network or layer."""
        panels, rows = self.comparison.panels, []
        for number in range(len(_firsts(panels[0]))):
            cells = [self._photograph(panels[0], number, named=not self.network)]
            for panel in panels:
                cell = self._cell(panel, method, number)
                answer = "" if self.network else _explained(panel, number)
                cells.append(cell and replace(cell, caption="\n".join(filter(None, (answer, cell.caption)))))
            rows.append(tuple(cells))
        return rows, ()

    def _photograph(self, panel: Panel, number: int, *, named: bool = False) -> Cell | None:
        """The photograph with its name and, unless only that is asked for, what is explained in it."""
        picture = _firsts(panel)[number].picture
        return Cell(picture.pixels, picture.name if named else f"{picture.name}\n{_explained(panel, number)}")

    def _cell(self, panel: Panel, name: str, number: int) -> Cell | None:
        maps = panel.maps.get(name)
        if maps is None:
            return None
        one, pixelwise = maps[number], name in self.comparison.pixelwise
        look = PIXELS if pixelwise else PLAIN
        scale = _scale_of(maps, look) if self.shared else one.scale(look)
        drawn = _alone(one, scale) if pixelwise else one.overlay(look, scale)
        words = [self._layer_words(panel, one), one.blank_note() if one.blank else ""]
        barred = not self.shared or number == len(maps) - 1
        return Cell(drawn, "\n".join(filter(None, words)), scale if barred else None)

    def _layer_words(self, panel: Panel, one: Heatmap) -> str:
        """A map's layer, where neither the title nor a heading says it."""
        if panel.layer is not None and one.layer is None:
            return "whatever the layer"
        return one.layer or "" if self.layer is None and one.layer != panel.layer else ""


def _alone(one: Heatmap, scale: Scale) -> NDArray[np.uint8]:
    """A map in the place of the photograph that the network saw."""
    placed = one.on_original()
    around = overlay(one.picture.pixels, placed, scale, alpha=0.0)
    return np.where(np.isfinite(placed)[..., None], colourise(placed, scale), around)


def _scale_of(maps: Heatmaps, look: Look) -> Scale:
    return scale_of(maps.upsampled(), normalise=look.normalise or USUAL, signed=not maps[0].rectified, cmap=look.cmap)


def _firsts(panel: Panel) -> Heatmaps:
    return next(iter(panel.maps.values()))


def _explained(panel: Panel, number: int) -> str:
    """What the methods that explain something explain in an image."""
    captions = [maps[number] for maps in panel.maps.values() if not isinstance(maps[number].target, NoTarget)]
    one = (captions or [_firsts(panel)[number]])[0]
    return one.caption().partition("\n")[0]
