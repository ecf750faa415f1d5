"""Evaluation: of every picture, method and metric a value; their means, intervals, differences and ranks; its files."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.atomic import write_whole
from cnnviz.drawing.figure import DRAWN_SUFFIXES, Grid
from cnnviz.drawing.files import (
    ARRAY_SUFFIXES,
    PAGE_SUFFIXES,
    ensure_writable,
    write_arrays,
    write_page,
)
from cnnviz.drawing.paper import Paper
from cnnviz.errors import UnknownNameError
from cnnviz.evaluation.metric import UNMARKED, Metric
from cnnviz.evaluation.statistics import (
    Intervals,
    adjust_holm,
    bootstrap,
    paired_p_values,
    pictures_needed,
    rank_agreement,
    rank_rows,
)
from cnnviz.evaluation.study.candidates import Candidate
from cnnviz.provenance import Provenance
from cnnviz.results.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EVALUATION_SUFFIXES", "Evaluation", "FigureKind", "only_paper"]

FigureKind = Literal["intervals", "curves", "agreement", "strip"]
TABLE_SUFFIXES: Final = (*PAGE_SUFFIXES, ".csv", ".json")
EVALUATION_SUFFIXES: Final = (*TABLE_SUFFIXES, *DRAWN_SUFFIXES, *ARRAY_SUFFIXES)
"""The kinds of file that an evaluation can be saved as."""

ENDS: Final = (("low", -math.inf), ("high", math.inf))
FEWEST: Final = 3
"""Methods of which an order can be said to agree with another."""


@dataclass(frozen=True, eq=False)
class Evaluation(Result):
    """How good maps are: values of every picture, method and metric, with what follows from them.

    Of methods controls are the last. Undefined values (a map without a positive value, a picture without a mask) are
    NaN; they are counted, and no mean has them.

    Attributes:
        values: ``(N, M, K)`` float64: of each picture, method and metric.
        curves: By metric ``(N, M, steps + 1)``: the curves whose area or difference a value is.
        images: ``(N,)``: the pictures' keys in the data set.
        targets: ``(N,)``: what was explained.
        scores: ``(N,)``: the targets' logits.
        probabilities: ``(N,)``: their probabilities; NaN where there is none.
        candidates: ``(M,)``: the methods and controls.
        metrics: ``(K,)``.
        model: The network's name.
        data: The data set's.
        failures: Key and sentence of pictures that could not be used.
        costs: By name of a method forwards and seconds an image; in no file but ``.csv``.
        level: Of the intervals.
        seed: Of everything drawn at random.
        checks: What the user should know.
        provenance: How it was made.
        source: What to ask again for maps; None where that is not at hand.
    """

    values: NDArray[np.float64] = field(repr=False)
    curves: Mapping[str, NDArray[np.float64]] = field(repr=False)
    images: tuple[str, ...] = field(repr=False)
    targets: tuple[str, ...] = field(repr=False)
    scores: NDArray[np.float64] = field(repr=False)
    probabilities: NDArray[np.float64] = field(repr=False)
    candidates: tuple[Candidate, ...]
    metrics: tuple[Metric, ...]
    model: str
    data: str
    failures: tuple[tuple[str, str], ...] = ()
    costs: Mapping[str, tuple[float, float]] = field(default_factory=dict, repr=False)
    level: float = 0.95
    seed: int = 0
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)
    source: Any = field(default=None, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """``(M,)``: the methods' names, controls last."""
        return tuple(each.name for each in self.candidates)

    @property
    def judged(self) -> int:
        """How many methods there are besides the controls."""
        return sum(not each.control for each in self.candidates)

    def of(self, method: str, metric: str) -> NDArray[np.float64]:
        """``(N,)``: the values of a method by a metric.

        Raises:
            UnknownNameError: If there is no such method or metric here.
        """
        return np.asarray(self.values[:, self.method_at(method), self.metric_at(metric)])

    @cached_property
    def intervals(self) -> Intervals:
        """``(M, K)``: means over pictures with bootstrap intervals, and how many values are defined."""
        held = bootstrap(self.values, level=self.level, seed=self.seed)
        lows, highs = (np.array([_or(getattr(one, end), far) for one in self.metrics]) for end, far in ENDS)
        within = ~((self.values < lows) | (self.values > highs)).any(axis=(0, 1))  # of a difference none is its range
        low, high = np.where(within, lows, -np.inf), np.where(within, highs, np.inf)
        return replace(held, low=np.maximum(held.low, low), high=np.minimum(held.high, high))

    @property
    def undefined(self) -> NDArray[np.int64]:
        """``(M, K)``: how many values are undefined."""
        return len(self.values) - self.intervals.count

    @cached_property
    def best(self) -> tuple[int | None, ...]:
        """``(K,)``: the method with the best mean, no control; None where no value is defined."""
        found = []
        for column, metric in enumerate(self.metrics):
            means = self.intervals.mean[: self.judged, column]
            signed = np.where(np.isfinite(means), means if metric.direction == "higher" else -means, -np.inf)
            found.append(int(signed.argmax()) if len(means) and np.isfinite(means).any() else None)
        return tuple(found)

    @cached_property
    def differences(self) -> Intervals:
        """``(M, K)``: paired differences from the best method, with their intervals; 0 of itself."""
        less = np.stack(
            [
                self.values[:, :, column] - (np.nan if at is None else self.values[:, at, column][:, None])
                for column, at in enumerate(self.best)
            ],
            axis=2,
        )
        return bootstrap(less, level=self.level, seed=self.seed)

    @cached_property
    def p_values(self) -> NDArray[np.float64]:
        """``(M, K)``: of the differences from the best method, by sign-flip tests, adjusted after Holm.

        Adjusted for all comparisons of methods in the table; NaN of the best itself and of controls.
        """
        raw = np.full(self.values.shape[1:], np.nan)
        for column, at in enumerate(self.best):
            if at is not None:
                raw[: self.judged, column] = paired_p_values(self.values[:, : self.judged, column], at, seed=self.seed)
        return adjust_holm(raw)

    @cached_property
    def unbeaten(self) -> Mapping[tuple[int, int], tuple[str, ...]]:
        """By method and metric the controls that it is not better than beyond the interval of the paired difference.

        None by metrics that a map which says nothing does well on: similarity after randomisation, and robustness.
        """
        controls = range(self.judged, len(self.candidates))
        found: dict[tuple[int, int], tuple[str, ...]] = {}
        signs = np.array([1.0 if metric.direction == "higher" else -1.0 for metric in self.metrics])
        for control in controls:
            more = (self.values[:, : self.judged] - self.values[:, control : control + 1]) * signs
            low = bootstrap(more, level=self.level, seed=self.seed).low
            held = np.isfinite(more).any(axis=0)
            marked = np.array([metric.family not in UNMARKED for metric in self.metrics])
            for row, column in np.argwhere(held & ~(low > 0) & marked):
                key = int(row), int(column)
                found[key] = (*found.get(key, ()), self.names[control])
        return found

    @cached_property
    def ranks(self) -> NDArray[np.float64]:
        """``(N, M, K)``: ranks of the methods on every picture, 1 the best; NaN of controls."""
        found = np.full(self.values.shape, np.nan)
        for column, metric in enumerate(self.metrics):
            some = self.values[:, : self.judged, column]
            found[:, : self.judged, column] = rank_rows(some, higher=metric.direction == "higher")
        return found

    @property
    def mean_ranks(self) -> NDArray[np.float64]:
        """``(M, K)``: their means over pictures."""
        return bootstrap(self.ranks, level=self.level, seed=self.seed).mean

    @cached_property
    def agreement(self) -> NDArray[np.float64]:
        """``(K, K)``: Spearman's correlation of the methods' order by two metrics, the mean over pictures.

        Of fewer than three methods with the controls among them.
        """
        return rank_agreement(self._all_ranks())

    def _all_ranks(self) -> NDArray[np.float64]:
        if self.judged >= FEWEST:
            return self.ranks[:, : self.judged]
        ways = [metric.direction == "higher" for metric in self.metrics]
        columns = [rank_rows(self.values[:, :, column], higher=way) for column, way in enumerate(ways)]
        return np.stack(columns, axis=2)

    def needed(self, metric: str, half_width: float, *, method: str | None = None) -> int | None:
        """How many pictures the interval of a mean, or of a difference from the best method, would need.

        Args:
            metric: Which metric.
            half_width: How far the interval is to reach to each side.
            method: The method whose difference from the best is meant; default: the mean of the best.

        Returns:
            The number, by the values' standard deviation here; None where that is not known.
        """
        column = self.metric_at(metric)
        at = self.best[column]
        if at is None:
            return None
        values = self.values[:, at, column]
        if method is not None:
            values = self.values[:, self.method_at(method), column] - values
        return pictures_needed(values, half_width, level=self.level)

    def extremes(self, method: str, metric: str, count: int = 3) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The pictures on which a method does best and worst by a metric: their places in :attr:`images`.

        Args:
            method: The method.
            metric: The metric.
            count: How many of each.
        """
        values = self.of(method, metric)
        held = np.flatnonzero(np.isfinite(values))
        higher = self.metrics[self.metric_at(metric)].direction == "higher"
        order = held[np.argsort(-values[held] if higher else values[held], kind="stable")]
        return order[:count].astype(np.int64), order[::-1][:count].astype(np.int64)

    def examples(self, method: str, metric: str, count: int = 3) -> Grid:
        """The pictures on which a method does best and worst by a metric, with its maps, as a grid.

        Args:
            method: The method.
            metric: The metric.
            count: How many of each.

        Raises:
            UnknownNameError: If there is no such method or metric here.
            UsageError: If the metric is undefined on every picture.
        """
        from cnnviz.evaluation.study.examples import draw_examples

        return draw_examples(self, method, metric, count)

    def strip(self, image: int = 0) -> Grid:
        """A picture's maps as the network's layers are randomised from the top: a row a method, a column a depth.

        Args:
            image: Its place among :attr:`images`.

        Raises:
            UsageError: If the network and the pictures are not at hand.
            ExplanationError: If no layer of the network draws its own weights.
        """
        from cnnviz.evaluation.randomisation.strip import strip_of

        return strip_of(self, image)

    def method_at(self, name: str) -> int:
        """The number of a method.

        Args:
            name: Its name.

        Raises:
            UnknownNameError: If there is none of that name here.
        """
        if name not in self.names:
            raise UnknownNameError("method here", name, self.names, f"There are {', '.join(self.names)}.")
        return self.names.index(name)

    def metric_at(self, name: str) -> int:
        """The number of a metric.

        Args:
            name: Its name.

        Raises:
            UnknownNameError: If there is none of that name here.
        """
        names = [metric.name for metric in self.metrics]
        if name.replace("_", "-") not in names:
            raise UnknownNameError("metric here", name, names, f"There are {', '.join(names)}.")
        return names.index(name.replace("_", "-"))

    def completed(self) -> Self:
        """The same with what there is to know about its values, and with the name of the method in its provenance."""
        from cnnviz.evaluation.table import find_checks

        checks = find_checks(self)
        return replace(self, checks=checks, provenance=self.provenance.stamped("evaluate", {}, checks))

    def describe(self) -> dict[str, Any]:
        """What there is to say without a picture, as plain values; with the seconds that maps took."""
        from cnnviz.evaluation.table import describe_table

        return {
            "model": self.model,
            "data": self.data,
            "pictures": len(self.images),
            "table": describe_table(self),
            "costs": {name: {"forwards": each[0], "seconds": each[1]} for name, each in self.costs.items()},
            "failures": [{"image": key, "sentence": sentence} for key, sentence in self.failures],
            "checks": list(self.checks),
        }

    def __str__(self) -> str:
        from cnnviz.evaluation.table import spell_table

        return spell_table(self)

    def _repr_html_(self) -> str:
        from cnnviz.evaluation.table import embed_table

        return embed_table(self)

    def save(self, path: str | os.PathLike[str], *, figure: FigureKind = "intervals", **paper: Any) -> Path:
        """Write it: .html as a page, .csv and .json as a table, .npz as values, any kind of picture as a figure.

        Args:
            path: Where to; an existing file is replaced.
            figure: Of a picture: the means with their ``"intervals"``, mean ``"curves"``, the ``"agreement"`` of
                metrics as a matrix, or the ``"strip"`` of the first picture's maps as the network's layers are
                randomised.
            **paper: How a figure is set on paper: ``width``, ``columns``, ``dpi``, ``font``, ``font_size``, ``notes``,
                ``title``, ``rename``.

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
            UsageError: If there is nothing of that kind to draw.
        """
        from cnnviz.evaluation.figures import save_figure
        from cnnviz.evaluation.table import csv_of, json_of, page_of

        where = Path(path)
        ensure_writable(where, force=True, suffixes=EVALUATION_SUFFIXES)
        ending = where.suffix.lower()
        if ending in DRAWN_SUFFIXES and figure == "strip":
            self.strip().save(where, **only_paper(paper).describe())
        elif ending in DRAWN_SUFFIXES:
            save_figure(self, where, figure, only_paper(paper))
        elif ending in PAGE_SUFFIXES:
            write_page(where, page_of(self))
        elif ending in ARRAY_SUFFIXES:
            write_arrays(where, self._arrays(), self.provenance.drawn(format="npz").to_json())
        else:
            text = csv_of(self) if ending == ".csv" else json_of(self)
            write_whole(where, text.encode("utf-8", "backslashreplace"))
        return where

    def plot(self, *, figure: FigureKind = "intervals", **paper: Any) -> Figure:
        """A matplotlib figure of what :meth:`save` draws.

        Args:
            figure: Which.
            **paper: How it is set.
        """
        from cnnviz.evaluation.figures import draw

        how = only_paper(paper)
        if figure == "strip":
            return self.strip().plot(**how.describe())
        with how.lettering():
            return draw(self, figure, how)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        held = self.intervals
        return {
            "values": self.values,
            "means": held.mean,
            "lows": held.low,
            "highs": held.high,
            "methods": np.array(self.names),
            "metrics": np.array([metric.name for metric in self.metrics]),
            "images": np.array(self.images),
            "targets": np.array(self.targets),
            "scores": self.scores,
            "probabilities": self.probabilities,
            **{f"{name.replace('-', '_')}_curves": each for name, each in self.curves.items()},
        }


def _or(value: float | None, other: float) -> float:
    return other if value is None else value


def only_paper(how: Mapping[str, Any]) -> Paper:
    """How a figure is set on paper.

    Args:
        how: Options by name.

    Raises:
        UnknownNameError: If one is none of these.
    """
    paper, others = Paper.split(how)
    if others:
        raise UnknownNameError("option of a figure", next(iter(others)), [*Paper.__dataclass_fields__, "figure"])
    return paper
