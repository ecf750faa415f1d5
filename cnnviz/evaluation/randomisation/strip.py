"""The strip of maps: a row a method, from the trained network's map to that of one whose layers were all drawn anew."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.catalogue import proper_name
from cnnviz.drawing.colour import colourise, scale_of
from cnnviz.drawing.figure import Grid
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.evaluation.randomisation.agreement import is_constant, spearman
from cnnviz.evaluation.randomisation.cascade import CALIBRATED
from cnnviz.evaluation.randomisation.mprt import Randomisation, mprt
from cnnviz.evaluation.study.examples import inputs_at
from cnnviz.provenance import Provenance, cautions, remarks

if TYPE_CHECKING:
    from cnnviz.evaluation.evaluation import Evaluation

__all__ = ["draw_strip", "strip_of"]

TITLE = "Maps as layers are randomised, from the top"
CAPTIONS = "Below maps: rank correlation (Spearman) with the trained network's map; each has its own colour scale."
FLOOR = "Floor: the same between maps of different pictures, whose mean is given."
EDGES = "Sobel edges"


def draw_strip(found: Randomisation, provenance: Provenance | None = None) -> Grid:
    """The first picture's maps: a row a method, a column a share of the layers drawn anew; an edge detector comes last.

    Every map has a scale of its own, up to the 99th percentile of its magnitudes: their patterns are to be compared.

    Args:
        found: What the test found.
        provenance: How it was made.
    """
    floors = [_defined_mean(each) for each in found.floor.get("spearman", np.full((len(found.maps), 1), math.nan))]
    photograph = Cell(found.shown, f"{found.pictures[0].name}\n{found.targets[0]}")
    edges = np.stack([found.edge_map] * len(found.maps[0]))
    rows = [_draw_maps(maps, mean) for maps, mean in zip(found.maps, floors, strict=True)]
    rows.append(_draw_maps(edges, math.nan))
    depths = ("all layers" if depth == 1 else f"top {depth:.0%}" for depth in found.depths)
    sheet = Sheet(
        tuple((photograph if number == 0 else None, *row) for number, row in enumerate(rows)),
        row_headings=(*map(proper_name, found.methods), EDGES),
        column_headings=("", "trained", *depths),
        title=TITLE,
        notes=(CAPTIONS, *([FLOOR] if any(map(math.isfinite, floors)) else []), *cautions(found.checks)),
        details=remarks(found.checks),
        lead=1,
    )
    return Grid(sheet, provenance or Provenance(method="randomisation"))


def strip_of(found: Evaluation, place: int = 0) -> Grid:
    """The strip of one picture of an evaluation, whose methods are asked again; its controls are left out.

    Args:
        found: The evaluation, with what it asked.
        place: The picture's place among its images.

    Raises:
        UsageError: If the network and the pictures are not at hand.
        ExplanationError: If no layer of the network draws its own weights.
    """
    fitted, _ = inputs_at(found, range(min(len(found.images), CALIBRATED)))
    inputs, targets = inputs_at(found, [place])
    methods = {each.proper: each.explain for each in found.candidates[: found.judged]}
    tested = mprt(
        found.source.model, inputs, targets, methods, seeds=(found.seed,), seed=found.seed, calibration=fitted,
        similarities=("spearman",),
    )  # fmt: skip
    column = next((at for at, metric in enumerate(found.metrics) if metric.name == "floor"), None)
    if column is not None:
        tested = replace(tested, floor={"spearman": found.values[:, : found.judged, column].T})
    named = tested.pictures[0].changed(name=found.images[place].rpartition("/")[2])
    return draw_strip(replace(tested, pictures=(named,)), found.provenance)


def _draw_maps(maps: NDArray[np.float32], floor: float) -> list[Cell]:
    """The trained network's map and the others, each with its likeness to the first."""
    signed = bool(np.nanmin(maps, initial=0.0) < 0)
    first, *others = maps
    drawn = [_draw_map(first, "" if math.isnan(floor) else f"floor {_spell(floor)}", signed=signed)]
    for each in others:
        words = "constant: 0" if is_constant(each) else _spell(spearman(first, each))
        drawn.append(_draw_map(each, words, signed=signed))
    return drawn


def _defined_mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def _spell(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")


def _draw_map(values: NDArray[Any], words: str, *, signed: bool) -> Cell:
    return Cell(colourise(values, scale_of(values, normalise="percentile", signed=signed)), words)
