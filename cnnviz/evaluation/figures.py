"""The figures of an evaluation: means with their intervals, mean curves, and how far metrics agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cnnviz.drawing.charts.charts import Curve, Dot, DotPanel, draw_curves, draw_intervals, draw_matrix
from cnnviz.drawing.files import FIGURE_SUFFIXES, rasterise, steady_settings, write_figure, write_pixels
from cnnviz.drawing.paper import Paper
from cnnviz.errors import ParameterError, UsageError
from cnnviz.evaluation.statistics import bootstrap
from cnnviz.evaluation.study.candidates import Candidate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnviz.evaluation.evaluation import Evaluation, FigureKind

__all__ = ["describe_figure", "draw", "draw_pixels", "save_figure"]

USUAL_WIDTH, ON_SCREEN, ON_PAPER = 6.75, 200, 300
SEPARATOR: Final = " \N{MIDDLE DOT} "
FEWEST: Final = 3
"""Methods of which an order can be said to agree with another."""


def save_figure(found: Evaluation, where: Path, kind: FigureKind, paper: Paper) -> None:
    """Write a figure, with its record.

    Args:
        found: The evaluation.
        where: Its suffix says the format.
        kind: Which figure.
        paper: How it is set.
    """
    ending = where.suffix.lower()
    said = {} if kind == "intervals" else {"figure": kind}
    note = found.provenance.drawn(format=ending[1:], **said, **paper.describe()).to_json()
    with steady_settings(), paper.lettering():
        drawn = draw(found, kind, paper)
        if ending in FIGURE_SUFFIXES:
            write_figure(where, drawn, note)
        else:
            write_pixels(where, rasterise(drawn, paper.dpi or (ON_PAPER if paper.inches else ON_SCREEN)), note)


def draw_pixels(found: Evaluation, kind: FigureKind, width: float, dpi: int) -> np.ndarray[Any, Any]:
    """A figure without title and notes as pixels ``(H, W, 3)``.

    Args:
        found: The evaluation.
        kind: Which figure.
        width: In inches.
        dpi: Pixels an inch.
    """
    with steady_settings():
        return rasterise(draw(found, kind, Paper(width=width, title="none", notes="none")), dpi)


def draw(found: Evaluation, kind: FigureKind, paper: Paper) -> Figure:
    """A figure; the words are set as they are just now.

    Args:
        found: The evaluation.
        kind: Which figure.
        paper: How it is set.

    Raises:
        ParameterError: If there is no such figure.
        UsageError: If there is nothing of that kind to draw.
    """
    title = paper.title if paper.title is not None else f"{found.model}{SEPARATOR}{found.data}"
    title = "" if title == "none" else title
    short = (describe_figure(found, kind),)
    notes = {"none": (), "short": short, "full": (*short, *found.checks)}[paper.notes]
    around: dict[str, Any] = {"width": paper.inches or USUAL_WIDTH, "title": title, "notes": notes}
    names = [_rename(each, paper.rename) for each in found.candidates]
    if kind == "intervals":
        return draw_intervals(_panels(found, names), **around)
    if kind == "curves":
        if not found.curves:
            raise UsageError("None of these metrics has a curve; deletion, insertion, srg and road have one.")
        return draw_curves(_curves(found, names), along="% of the pixels changed", **around)
    if kind == "agreement":
        return draw_matrix(found.agreement, [metric.proper for metric in found.metrics], **around)
    raise ParameterError(f"figure must be intervals, curves, agreement or strip; got {kind!r}.")


def describe_figure(found: Evaluation, kind: FigureKind) -> str:
    """What a figure shows, in words."""
    number = f"{len(found.images)} picture{'s' if len(found.images) > 1 else ''}"
    if kind == "agreement":
        among = "methods" if found.judged >= FEWEST else "methods and controls"
        return f"Spearman's correlation of the order of {among} by two metrics, mean over {number}."
    interval = f"{number}; {found.level:.0%} bootstrap intervals over pictures"
    if kind == "curves":
        return f"Mean over {interval}; grey: controls."
    ring = "; a ring: not better than every control beyond the interval of the difference" if found.unbeaten else ""
    return f"Mean over {interval}; grey: controls{ring}."


def _panels(found: Evaluation, names: Sequence[str]) -> list[DotPanel]:
    held = found.intervals
    return [
        DotPanel(
            metric.proper,
            metric.direction,
            tuple(
                Dot(
                    name,
                    float(held.mean[row, column]),
                    float(held.low[row, column]),
                    float(held.high[row, column]),
                    control=one.control,
                    hollow=(row, column) in found.unbeaten,
                )
                for row, (name, one) in enumerate(zip(names, found.candidates, strict=True))
            ),
        )
        for column, metric in enumerate(found.metrics)
    ]


def _curves(found: Evaluation, names: Sequence[str]) -> list[tuple[str, list[Curve]]]:
    drawn = []
    for metric in found.metrics:
        if metric.name not in found.curves:
            continue
        held = bootstrap(found.curves[metric.name].astype(np.float64), level=found.level, seed=found.seed)
        curves = [
            Curve(name, held.mean[row], held.low[row], held.high[row], one.control)
            for row, (name, one) in enumerate(zip(names, found.candidates, strict=True))
            if math.isfinite(float(held.mean[row].sum()))
        ]
        drawn.append((metric.proper, curves))
    return drawn


def _rename(candidate: Candidate, names: Mapping[str, str]) -> str:
    known = {candidate.name, candidate.proper, candidate.method}
    return next((new for old, new in names.items() if old in known), candidate.proper)
