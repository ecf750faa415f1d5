"""The strip of maps: a row a method, from the trained network's map to that of one whose layers were all drawn anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.catalogue import proper_name
from cnnviz.drawing.colour import colourise, scale_of
from cnnviz.drawing.figure import Grid
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.evaluation.randomisation.agreement import is_constant, spearman
from cnnviz.provenance import Provenance, cautions, remarks

if TYPE_CHECKING:
    from cnnviz.evaluation.randomisation.mprt import Randomisation

__all__ = ["draw_strip"]

TITLE = "Maps as layers are randomised, from the top"
CAPTIONS = (
    "Below each map: its rank correlation (Spearman) with the trained network's. Each has a colour scale of its own."
)
EDGES = "Sobel edges:\nthe same for any network"


def draw_strip(found: Randomisation, provenance: Provenance | None = None) -> Grid:
    """The first picture's maps: a row a method, a column a share of the layers drawn anew; before them the edges.

    Every map has a scale of its own, up to the 99th percentile of its magnitudes: their patterns are to be compared.

    Args:
        found: What the test found.
        provenance: How it was made.
    """
    lead: list[Cell | None] = [
        Cell(found.shown, f"{found.pictures[0].name}\n{found.targets[0]}"),
        _draw_map(found.edge_map, EDGES, signed=False),
    ]
    lead += [None] * (len(found.maps) - len(lead))
    rows = [_draw_maps(maps) for maps in found.maps] + [[]] * (len(lead) - len(found.maps))
    names = [*map(proper_name, found.methods), *[""] * (len(lead) - len(found.maps))]
    depths = ("all layers" if depth == 1 else f"top {depth:.0%}" for depth in found.depths)
    sheet = Sheet(
        tuple((cell, *row) for cell, row in zip(lead, rows, strict=True)),
        row_headings=tuple(names),
        column_headings=("", "trained", *depths),
        title=TITLE,
        notes=(CAPTIONS, *cautions(found.checks)),
        details=remarks(found.checks),
        lead=1,
    )
    return Grid(sheet, provenance or Provenance(method="randomisation"))


def _draw_maps(maps: NDArray[np.float32]) -> list[Cell]:
    """The trained network's map and the others, each with its likeness to the first."""
    signed = bool(np.nanmin(maps, initial=0.0) < 0)
    first, *others = maps
    drawn = [_draw_map(first, "", signed=signed)]
    for each in others:
        words = "constant: 0" if is_constant(each) else f"{spearman(first, each):.2f}".replace("-", "\N{MINUS SIGN}")
        drawn.append(_draw_map(each, words, signed=signed))
    return drawn


def _draw_map(values: NDArray[Any], words: str, *, signed: bool) -> Cell:
    return Cell(colourise(values, scale_of(values, normalise="percentile", signed=signed)), words)
