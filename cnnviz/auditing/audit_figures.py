"""The figures of an audit: confusion, reliability, accuracy by class, mistakes with their maps, mean maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cnnviz.auditing.tables import spell_share
from cnnviz.drawing.charts.charts import Dot, DotPanel, draw_intervals
from cnnviz.drawing.charts.confusion import draw_confusion
from cnnviz.drawing.charts.reliability import ReliabilityPanel, draw_reliability
from cnnviz.drawing.colour import Scale, colourise, scale_of
from cnnviz.drawing.figure import Grid
from cnnviz.drawing.files import FIGURE_SUFFIXES, rasterise, steady_settings, write_figure, write_pixels
from cnnviz.drawing.paper import Paper
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.errors import ParameterError, UnknownNameError, UsageError
from cnnviz.results.explanation import RIGHT, WRONG

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnviz.auditing.audit_result import Audit, AuditFigure
    from cnnviz.auditing.calibration import Reliability

__all__ = ["RIGHT", "WRONG", "MeanMap", "describe_figure", "draw_pixels", "mean_maps", "plot_figure", "save_figure"]

USUAL_WIDTH, ON_SCREEN, ON_PAPER = 6.75, 200, 300
SEPARATOR: Final = " \N{MIDDLE DOT} "
MOST_CLASSES: Final = 30
MOST_ROWS: Final = 6
MOST_MAPS: Final = 9
LEAST_MAPS: Final = 4
"""Pictures of a class from which its mean map is drawn."""

SIDE: Final = 240
GRIDS: Final = ("mistakes", "maps")
CHARTS: Final = ("confusion", "reliability", "classes")
MEASURE: Final = "evidence, 1 = spread evenly"


def save_figure(made: Audit, where: Path, kind: AuditFigure, paper: Mapping[str, Any]) -> None:
    """Write a figure, with its record.

    Args:
        made: The audit.
        where: Its suffix says the format.
        kind: Which figure.
        paper: How it is set.

    Raises:
        ParameterError: If there is no such figure.
        UsageError: If there is nothing of that kind to draw.
    """
    how = _only_paper(paper)
    if kind in GRIDS:
        _grid(made, kind).save(where, **how.describe())
        return
    ending = where.suffix.lower()
    said = {} if kind == "confusion" else {"figure": kind}
    note = made.provenance.drawn(format=ending[1:], **said, **how.describe()).to_json()
    with steady_settings(), how.lettering():
        drawn = _draw(made, kind, how)
        if ending in FIGURE_SUFFIXES:
            write_figure(where, drawn, note)
        else:
            write_pixels(where, rasterise(drawn, how.dpi or (ON_PAPER if how.inches else ON_SCREEN)), note)


def plot_figure(made: Audit, kind: AuditFigure, paper: Mapping[str, Any]) -> Figure:
    """A matplotlib figure of what :func:`save_figure` writes."""
    how = _only_paper(paper)
    if kind in GRIDS:
        return _grid(made, kind).plot(**how.describe())
    with how.lettering():
        return _draw(made, kind, how)


def draw_pixels(made: Audit, kind: AuditFigure, width: float, dpi: int) -> NDArray[np.uint8]:
    """A chart without title and notes as pixels ``(H, W, 3)``."""
    with steady_settings():
        return rasterise(_draw(made, kind, Paper(width=width, title="none", notes="none")), dpi)


def _only_paper(how: Mapping[str, Any]) -> Paper:
    paper, others = Paper.split(how)
    if others:
        raise UnknownNameError("option of a figure", next(iter(others)), [*Paper.__dataclass_fields__, "figure"])
    return paper


def _draw(made: Audit, kind: AuditFigure, paper: Paper) -> Figure:
    title = paper.title if paper.title is not None else f"{made.model}{SEPARATOR}{made.data}"
    title = "" if title == "none" else title
    short = (describe_figure(made, kind),)
    notes = {"none": (), "short": short, "full": (*short, *made.checks)}[paper.notes]
    around: dict[str, Any] = {"width": paper.inches or USUAL_WIDTH, "title": title, "notes": notes}
    if kind == "confusion":
        matrix = made.confusion[np.ix_(made.order, made.order)]
        pairs = [(made.labels[true], made.labels[answer], count) for true, answer, count in made.pairs]
        return draw_confusion(matrix, [made.labels[index] for index in made.order], pairs=pairs, **around)
    if kind == "reliability":
        return draw_reliability(_panels(made), **around)
    if kind == "classes":
        dots = tuple(
            Dot(made.labels[index], share.value, share.low, share.high)
            for index in _weakest(made)
            for share in (made.classes[index],)
        )
        return draw_intervals([DotPanel("accuracy", "higher", dots)], **around)
    raise ParameterError(f"figure must be {', '.join(CHARTS)}, mistakes or maps; got {kind!r}.")


def _weakest(made: Audit) -> list[int]:
    return sorted(made.occurring, key=lambda index: (made.classes[index].value, index))[:MOST_CLASSES]


def _panels(made: Audit) -> list[ReliabilityPanel]:
    held = made.calibration

    def panel(words: str, one: Reliability) -> ReliabilityPanel:
        return ReliabilityPanel(f"{words}: ECE {one.error:.1%}", one.counts, one.confidence, one.accuracy)

    panels = [panel("as it is", held.plain)]
    if held.scaled is not None:
        panels.append(panel(f"temperature {held.temperature:.2f}", held.scaled))
    return panels


def describe_figure(made: Audit, kind: AuditFigure) -> str:
    """What a figure shows, in words."""
    number = f"{len(made)} picture{'s' if len(made) > 1 else ''}"
    if kind == "confusion":
        return (
            f"{number}, accuracy {spell_share(made.accuracy)}; a row is a true class, and darkness its share; classes "
            "that are confused stand together."
        )
    if kind == "reliability":
        scaled = ""
        if made.calibration.scaled is not None:
            scaled = "; right: probabilities of each half at the temperature fitted to the other half"
        return (
            f"{number}; hatched: the gap between confidence and accuracy; pale: fewer than 10 answers; ECE: the mean "
            f"gap in 15 equal bins{scaled}."
        )
    if kind == "classes":
        few = f"the {MOST_CLASSES} weakest of {len(made.occurring)} classes; " * (len(made.occurring) > MOST_CLASSES)
        return f"{number}; {few}95% intervals after Wilson."
    if kind == "mistakes":
        return "The most confident mistakes; both maps of a picture have one colour scale."
    assert made.evidence is not None
    return (
        f"Mean {made.evidence.method} maps of the answered class on the picture's own frame, "
        f"{int(made.evidence.standing.sum())} pictures spread over the classes, and all further mistakes; grey: never "
        "seen."
    )


class MeanMap:
    """A mean map, drawn.

    Args:
        title: Of what pictures.
        count: How many these are.
        values: ``(40, 40)``.
    """

    def __init__(self, title: str, count: int, values: NDArray[np.float32]) -> None:
        self.title, self.count, self.values = title, count, values

    def pixels(self, scale: Scale) -> NDArray[np.uint8]:
        """``(240, 240, 3)``: enlarged, each cell alike."""
        small = colourise(self.values, scale)
        return np.asarray(cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def mean_maps(made: Audit) -> tuple[list[MeanMap], Scale]:
    """Mean maps of all, of right and of wrong answers, then of the classes with most maps; and their one scale.

    Raises:
        UsageError: If there are no maps.
    """
    held = made.evidence
    if held is None:
        raise UsageError("There are no maps to take the mean of; audit pictures with maps above 0.")
    right = made.outcomes.right[held.rows]
    truth = made.outcomes.truth[held.rows]
    chosen = [("all pictures", held.standing), (f"{RIGHT} right", right & held.standing), (f"{WRONG} wrong", ~right)]
    counts = np.bincount(truth[held.standing], minlength=made.outcomes.outputs)
    most = [index for index in np.argsort(-counts, kind="stable")[:MOST_MAPS].tolist() if counts[index] >= LEAST_MAPS]
    chosen += [(made.labels[index], held.standing & (truth == index)) for index in most]
    least = min(LEAST_MAPS, int(held.standing.sum()))
    maps = [MeanMap(title, int(which.sum()), held.mean(which)) for title, which in chosen if which.sum() >= least]
    together = np.concatenate([each.values.ravel() for each in maps])
    return maps, scale_of(together, measures=MEASURE)


def _grid(made: Audit, kind: str) -> Grid:
    if kind == "maps":
        maps, scale = mean_maps(made)
        cells = [Cell(each.pixels(scale), f"{each.title} ({each.count})", scale) for each in maps]
        across = min(4, len(cells))
        rows = tuple(tuple(cells[start : start + across]) for start in range(0, len(cells), across))
        title = f"{made.evidence.method if made.evidence else ''}{SEPARATOR}{made.model}{SEPARATOR}{made.data}"
        return Grid(Sheet(rows, title=title, notes=(describe_figure(made, "maps"),)), made.provenance)
    if not made.cases.mistakes:
        raise UsageError(
            "There is no mistake to draw." if not len(made.mistakes) else "No pictures were drawn; cases=12."
        )
    rows = tuple(
        (
            Cell(case.photo, f"true: {made.true(case.row)}, {made.outcomes.true_shares[case.row]:.1%}"),
            Cell(case.why, f"{WRONG} {made.answer(case.row)}, {made.outcomes.confidence[case.row]:.1%}", case.scale),
            Cell(case.why_not, f"{made.true(case.row)}, {made.outcomes.true_shares[case.row]:.1%}", case.scale),
        )
        for case in made.cases.mistakes[:MOST_ROWS]
    )
    heads = ("picture", "why the answer", "why not the true class")
    title = f"Confident mistakes{SEPARATOR}{made.model}{SEPARATOR}{made.data}"
    sheet = Sheet(rows, column_headings=heads, title=title, notes=(describe_figure(made, "mistakes"),), lead=1)
    return Grid(sheet, made.provenance)
