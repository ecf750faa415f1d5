"""The table of an evaluation: as a page, as comma-separated values, as JSON, and as lines of text."""

from __future__ import annotations

import csv
import html
import io
import json
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from cnnviz.catalogue import CATALOGUE
from cnnviz.drawing.notes import NOTE_KEY
from cnnviz.drawing.pages.blocks import Block, Chapter, Facts, Fold, Gallery, Group, Page, Plate, Table, Words, left_out
from cnnviz.drawing.pages.html import render
from cnnviz.evaluation.figures import describe_figure, draw_pixels
from cnnviz.evaluation.metric import UNMARKED
from cnnviz.evaluation.study.examples import example_cells
from cnnviz.provenance import Caution

if TYPE_CHECKING:
    from cnnviz.evaluation.evaluation import Evaluation, FigureKind

__all__ = ["csv_of", "describe_table", "embed_table", "find_checks", "json_of", "page_of", "spell_table"]

BEST, UNBEATEN = "*", "\N{DAGGER}"
NONE: Final = "\N{EN DASH}"
FEW: Final = 20
"""Pictures below which bootstrap intervals are rough."""

SURE: Final = 0.05
REASONS: Final = {
    "maps": "no positive value",
    "mask": "no mask, or no positive value",
    "method": "too few pictures that it could be asked of, or no positive value",
}
"""Why a value is undefined, by what its metric needs."""

MOST_COLUMNS: Final = 4
"""Metrics of a table that fits a page."""

SHOWN: Final = 4
TELLING: Final = "srg"
"""Pictures that are shown for the best and for the worst, by this metric if it was asked for, or else the first."""

PAGE_WIDTH, PAGE_DPI = 6.75, 170
STRIP: Final = "Maps of the first picture as the layers of the network are drawn anew, from the top down."
LIMITS: Final = (
    "A metric measures what it measures: no number here says that a map is true. Deleted and blurred pixels make "
    "pictures that the network has never seen; masks say where the object is, not where the network looks. Where "
    "metrics disagree, none of them is right by itself."
)


def find_checks(found: Evaluation) -> tuple[str, ...]:
    """What the user should know about the values."""
    checks: list[str] = []
    number = len(found.images)
    if number < FEW:
        what = "One picture has" if number == 1 else f"{number} pictures are few:"
        more = "no intervals" if number == 1 else f"bootstrap intervals are rough below {FEW}"
        checks.append(Caution(f"{what} {more}"))
    for row, one in enumerate(found.candidates):
        for column, metric in enumerate(found.metrics):
            if not one.control and (missing := int(found.undefined[row, column])):
                checks.append(
                    f"{metric.proper} of {one.proper} is undefined on {missing} of {number} ({REASONS[metric.needs]})"
                )
    for (row, column), controls in sorted(found.unbeaten.items()):
        words = ", ".join(controls)
        checks.append(
            f"{found.candidates[row].proper} is not better than {words} by {found.metrics[column].proper}, beyond the "
            "interval of the difference"
        )
    if found.failures:
        checks.append(f"{len(found.failures)} pictures could not be used; the first: {found.failures[0][1]}")
    return tuple(checks)


def describe_table(found: Evaluation) -> list[dict[str, Any]]:
    """A row for each method and metric, as plain values; numbers that there are none of are None."""
    return [_row(found, row, column) for row in range(len(found.candidates)) for column in range(len(found.metrics))]


def _row(found: Evaluation, row: int, column: int) -> dict[str, Any]:
    one, metric, held, less = found.candidates[row], found.metrics[column], found.intervals, found.differences
    best = found.best[column] == row
    return {
        "method": one.name,
        "layer": one.layer,
        "control": one.control,
        "metric": metric.name,
        "better": metric.direction,
        "mean": _number(held.mean[row, column]),
        "low": _number(held.low[row, column]),
        "high": _number(held.high[row, column]),
        "pictures": int(held.count[row, column]),
        "undefined": int(found.undefined[row, column]),
        "best": best,
        "difference": _number(less.mean[row, column]),
        "difference_low": _number(less.low[row, column]),
        "difference_high": _number(less.high[row, column]),
        "p_holm": _number(found.p_values[row, column]),
        "mean_rank": _number(found.mean_ranks[row, column]),
        "not_better_than": list(found.unbeaten.get((row, column), ())),
    }


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def csv_of(found: Evaluation) -> str:
    """A line for each method and metric, with what a map takes; no line says more."""
    held = io.StringIO()
    rows = describe_table(found)
    writer = csv.DictWriter(held, [*rows[0], "forwards", "seconds"], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        forwards, seconds = found.costs.get(row["method"], (math.nan, math.nan))
        listed = {**row, "not_better_than": " ".join(row["not_better_than"])}
        writer.writerow({**listed, "forwards": _number(forwards), "seconds": _number(seconds)})
    return held.getvalue()


def json_of(found: Evaluation) -> str:
    """The table, the values of every picture, and how they were made; the same text each time."""
    record = json.loads(found.provenance.drawn(format="json").to_json())
    pictures = [
        {
            "image": key,
            "target": target,
            "score": _number(score),
            "probability": _number(probability),
            "values": {
                one.name: {metric.name: _number(values[row, column]) for column, metric in enumerate(found.metrics)}
                for row, one in enumerate(found.candidates)
            },
        }
        for key, target, score, probability, values in zip(
            found.images, found.targets, found.scores, found.probabilities, found.values, strict=True
        )
    ]
    document = {
        "info": {"description": f"evaluation of maps of {found.model} on {found.data}", NOTE_KEY: record},
        "table": describe_table(found),
        "agreement": [[_number(each) for each in row] for row in found.agreement],
        "pictures": pictures,
        "failures": [{"image": key, "sentence": sentence} for key, sentence in found.failures],
        "checks": list(found.checks),
    }
    return json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def spell_table(found: Evaluation) -> str:
    """Lines of text: a row a method, a column a metric, and below what the marks mean."""
    rows = [["", *(f"{metric.name} {_arrow(metric.direction)}" for metric in found.metrics), "forwards", "s/image"]]
    for row, one in enumerate(found.candidates):
        forwards, seconds = found.costs.get(one.name, (math.nan, math.nan))
        cost = [f"{forwards:.3g}" if math.isfinite(forwards) else NONE, f"{seconds:.2g}" if seconds >= 0 else NONE]
        rows.append([one.name, *(_spell_cell(found, row, column) for column in range(len(found.metrics))), *cost])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(found.judged + 1, "-" * len(lines[0]))
    return "\n".join([*lines, *_legend(found)])


def _arrow(direction: str) -> str:
    return "\N{UPWARDS ARROW}" if direction == "higher" else "\N{DOWNWARDS ARROW}"


def _spell_cell(found: Evaluation, row: int, column: int) -> str:
    """A mean with its interval and its marks."""
    held = found.intervals
    mean, low, high = (float(each[row, column]) for each in (held.mean, held.low, held.high))
    if not math.isfinite(mean):
        return NONE
    interval = f" [{_short(low)}, {_short(high)}]" if math.isfinite(low) else ""
    best = BEST if found.best[column] == row and found.judged > 1 else ""
    return f"{_short(mean)}{interval}{best}{UNBEATEN if (row, column) in found.unbeaten else ''}"


def _short(value: float) -> str:
    words = f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"
    words = words.removeprefix("-") if float(words) == 0 else words
    return words.replace("-", "\N{MINUS SIGN}")


def _legend(found: Evaluation) -> Iterator[str]:
    number = len(found.images)
    pictures = f"{number} picture{'s' if number > 1 else ''}"
    interval = f", [{found.level:.0%} bootstrap intervals over pictures]" if number > 1 else ""
    yield f"Mean over {pictures}{interval}. {_arrow('higher')} higher is better, {_arrow('lower')} lower is better."
    if found.judged > 1:
        yield f"{BEST} the best method by this metric."
    if found.unbeaten:
        yield (
            f"{UNBEATEN} not better than every control beyond the {found.level:.0%} interval of the paired difference: "
            "by this metric the method is not shown to be better than knowing nothing."
        )
    if any(metric.family in UNMARKED for metric in found.metrics):
        yield "Randomisation and robustness have no such marks: maps that say nothing do well there."


def embed_table(found: Evaluation) -> str:
    """The table as HTML for a notebook."""
    head = "".join(f"<th>{html.escape(metric.proper)} {_arrow(metric.direction)}</th>" for metric in found.metrics)
    lines = [
        f"<tr><th>{html.escape(one.proper)}</th>"
        + "".join(f"<td>{_spell_cell(found, row, column)}</td>" for column in range(len(found.metrics)))
        + "</tr>"
        for row, one in enumerate(found.candidates)
    ]
    legend = "".join(f"<p>{html.escape(line)}</p>" for line in _legend(found))
    return f"<table><tr><th></th>{head}</tr>{''.join(lines)}</table>{legend}"


def page_of(found: Evaluation) -> str:
    """The page: the same text each time, so no seconds are in it."""
    number = len(found.images)
    judged = f"{found.judged} method{'s' if found.judged > 1 else ''}"
    return render(
        Page(
            title=f"{found.model}: how good are the maps?",
            kicker="An evaluation by cnnviz",
            lead=f"Maps of {judged} and {len(found.candidates) - found.judged} controls on {number} "
            f"picture{'s' if number > 1 else ''} of {found.data}, judged by {len(found.metrics)} metrics.",
            chapters=tuple(_chapters(found)),
            note=found.provenance.drawn(format="html").to_json(),
            notices=left_out([sentence for _, sentence in found.failures]),
            closing="Every number on this page was computed by the network named above.",
        )
    )


def _chapters(found: Evaluation) -> Iterator[Chapter]:
    legend = tuple(Words(line, "quiet") for line in _legend(found))
    yield Chapter(
        "table", "The table", "How good is each method, and is it better than knowing nothing?",
        (*_tables(found), *legend, _figure(found, "intervals"), _metrics(found), _costs(found)), LIMITS,
    )  # fmt: skip
    if found.judged > 1:
        yield Chapter(
            "differences", "Differences from the best", "Which differences between methods are no chance?",
            tuple(_differences(found)),
            "The best method was chosen on these pictures; on others it may be another.",
        )  # fmt: skip
    if found.curves:
        yield Chapter(
            "curves", "Curves", "What becomes of the class while pixels go, or come?", (_figure(found, "curves"),)
        )
    if len(found.metrics) > 1:
        yield Chapter(
            "agreement", "Do the metrics agree?", "How far do two metrics put the methods in the same order?",
            (_figure(found, "agreement", PAGE_WIDTH / 1.5), *_ranks(found)),
            "Metrics that disagree measure different things; their mean would measure nothing.",
        )  # fmt: skip
    if found.source is not None and any(metric.name == "randomisation" for metric in found.metrics):
        yield Chapter(
            "randomisation", "Randomised layers", "Do maps change when the network forgets?",
            (_strip(found),),
            "Maps that change are not yet right, and noise changes too.",
        )  # fmt: skip
    yield Chapter("pictures", "Pictures", "On which pictures does a method do best and worst?", tuple(_extremes(found)))
    if found.checks:
        words = tuple(Words(f"{each[0].upper()}{each[1:]}.") for each in found.checks)
        yield Chapter("checks", "What to know", "What changes how these numbers must be read?", words)


def _tables(found: Evaluation) -> Iterator[Table]:
    """Means with their intervals, a table for each family of metrics, a few at a time."""
    families = dict.fromkeys(metric.family for metric in found.metrics)
    for family in families:
        columns = [at for at, metric in enumerate(found.metrics) if metric.family == family]
        for start in range(0, len(columns), MOST_COLUMNS):
            some = columns[start : start + MOST_COLUMNS]
            names = tuple(f"{found.metrics[at].proper} {_arrow(found.metrics[at].direction)}" for at in some)
            rows = tuple(
                (one.proper, *(_spell_cell(found, row, at) for at in some)) for row, one in enumerate(found.candidates)
            )
            yield Table(family, ("Method", *names), rows, tuple(range(1, len(names) + 1)))


def _costs(found: Evaluation) -> Block:
    """What a map takes, as the methods' own lines say it; measured seconds are in no page."""
    rows = tuple((one.proper, CATALOGUE[one.method].cost.replace("`", "")) for one in found.candidates if one.method)
    return Fold("What a map takes", blocks=(Facts(rows),))


def _metrics(found: Evaluation) -> Block:
    rows = tuple(
        (
            metric.proper,
            f"{metric.family}; {metric.direction} is better; a random map: {metric.chance}. {metric.paper}.",
        )
        for metric in found.metrics
    )
    return Fold("What the metrics measure", blocks=(Facts(rows),))


def _differences(found: Evaluation) -> Iterator[Block]:
    less = found.differences
    rows = []
    for column, metric in enumerate(found.metrics):
        best = found.best[column]
        if best is None:
            continue
        for row in range(found.judged):
            if row == best:
                continue
            mean, low, high = (float(each[row, column]) for each in (less.mean, less.low, less.high))
            p = float(found.p_values[row, column])
            interval = f"[{_short(low)}, {_short(high)}]" if math.isfinite(low) else NONE
            words = NONE if not math.isfinite(p) else ("< 0.001" if p < 0.001 else f"{p:.3f}")
            verdict = "worse" if p < SURE else "not shown"
            names = found.candidates[row].proper, found.candidates[best].proper
            rows.append(
                (metric.proper, *names, _short(mean) if math.isfinite(mean) else NONE, interval, words, verdict)
            )
    yield Table(
        "Paired differences from the best method",
        ("Metric", "Method", "Best", "Difference", f"{found.level:.0%} interval", "p (Holm)", "Verdict"),
        tuple(rows), (3, 4, 5),
    )  # fmt: skip
    yield Words(
        "p: sign-flip test of the paired differences, adjusted after Holm for all comparisons of this table. Not "
        f"shown: with p of {SURE:g} or more, the difference may be chance.",
        "quiet",
    )


def _ranks(found: Evaluation) -> Iterator[Block]:
    if found.judged < 2:
        return
    means = found.mean_ranks
    rows = tuple(
        (metric.proper, *(_spell_rank(means[row, column]) for row in range(found.judged)))
        for column, metric in enumerate(found.metrics)
    )
    names = tuple(found.candidates[row].proper for row in range(found.judged))
    yield Table("Mean rank among the methods, 1 the best", ("Metric", *names), rows, tuple(range(1, len(names) + 1)))


def _spell_rank(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else NONE


def _extremes(found: Evaluation) -> Iterator[Block]:
    for row in range(found.judged):
        name, proper = found.names[row], found.candidates[row].proper
        rows = []
        for metric in found.metrics:
            ends = found.extremes(name, metric.name, SHOWN)
            if len(ends[0]):
                rows.append((metric.proper, *(_spell_pictures(found, name, metric.name, each) for each in ends)))
        blocks: list[Block] = []
        shown = next((metric for metric in found.metrics if metric.name == TELLING), found.metrics[0])
        if found.source is not None and len(found.extremes(name, shown.name)[0]):
            for words, cells in zip(("Best", "Worst"), example_cells(found, name, shown.name, SHOWN), strict=True):
                plates = tuple(
                    Plate(cell.pixels, f"{proper} over {photograph.caption}", photograph.caption, cell.caption)
                    for photograph, cell in cells
                )
                blocks.append(Gallery(plates, "small", f"{words} by {shown.proper}"))
        blocks.append(Fold("By every metric", blocks=(Table(proper, ("Metric", "Best", "Worst"), tuple(rows)),)))
        yield Group(proper, tuple(blocks))


def _spell_pictures(found: Evaluation, method: str, metric: str, places: Sequence[int] | Any) -> str:
    values = found.of(method, metric)
    return "; ".join(f"{found.images[at]} ({found.targets[at]}) {_short(float(values[at]))}" for at in places)


def _strip(found: Evaluation) -> Gallery:
    pixels = found.strip().pixels(width=PAGE_WIDTH, dpi=PAGE_DPI, title="none")
    return Gallery((Plate(pixels, STRIP, caption=STRIP, exact=True),), size="whole")


def _figure(found: Evaluation, kind: FigureKind, width: float = PAGE_WIDTH) -> Gallery:
    """A figure as a picture of a page."""
    words = describe_figure(found, kind)
    return Gallery((Plate(draw_pixels(found, kind, width, PAGE_DPI), words, caption=words, exact=True),), size="whole")
