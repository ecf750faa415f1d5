"""Audit: what there is to know of a network's answers on a whole data set; its tables, figures and page."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from cnnviz.auditing.accuracy import (
    McNemar,
    Share,
    confusion_matrix,
    group_shares,
    order_classes,
    per_class,
    share_of_rows,
    worst_pairs,
)
from cnnviz.auditing.calibration import Calibration
from cnnviz.auditing.cases import Cases
from cnnviz.auditing.doubts import Doubts, Duplicates
from cnnviz.auditing.frame import FrameMaps
from cnnviz.auditing.outcomes import KEPT, Outcomes
from cnnviz.auditing.truth import Truth
from cnnviz.core.atomic import write_whole
from cnnviz.drawing.figure import DRAWN_SUFFIXES
from cnnviz.drawing.files import PAGE_SUFFIXES, ensure_writable, write_page
from cnnviz.provenance import Provenance
from cnnviz.results.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnviz.auditing.shortcuts.findings import Shortcuts

__all__ = ["AUDIT_SUFFIXES", "Audit", "AuditFigure", "Versus"]

AuditFigure = Literal["confusion", "reliability", "classes", "mistakes", "maps"]
AUDIT_SUFFIXES: Final = (*PAGE_SUFFIXES, ".csv", ".json", *DRAWN_SUFFIXES)
"""The kinds of file that an audit can be saved as."""


@dataclass(frozen=True, eq=False)
class Versus:
    """A second network on the same pictures.

    Attributes:
        model: Its name.
        right: ``(N,)``: whether it is right, for each row of the first network's outcomes that both answered.
        rows: ``(N,)``: these rows.
        answers: ``(N,)``: its answers, as its own labels.
        confidence: ``(N,)``: their probabilities.
        calibration: Of all its answers.
        test: Both on the same pictures.
    """

    model: str
    right: NDArray[np.bool_] = field(repr=False)
    rows: NDArray[np.int64] = field(repr=False)
    answers: tuple[str, ...] = field(repr=False)
    confidence: NDArray[np.float32] = field(repr=False)
    calibration: Calibration = field(repr=False)
    test: McNemar

    @property
    def accuracy(self) -> Share:
        """The second network's accuracy on the pictures that both answered."""
        return share_of_rows(self.right)


@dataclass(frozen=True, eq=False)
class Audit(Result):
    """A network's answers on a data set with true classes: where it is wrong, how sure it is, and what it looks at.

    Attributes:
        outcomes: What the network answered of every picture that could be used.
        truth: The true classes of the data set.
        keys: ``(N,)``: the keys of those pictures.
        model: The network's name.
        data: The data set's.
        calibration: How well probabilities are calibrated.
        doubts: Labels in doubt.
        duplicates: Near-duplicates across classes.
        evidence: What the network looks at; None where no maps were asked for, or the inputs are no pictures.
        cases: The drawn pictures.
        versus: The second network, if there is one.
        shortcuts: Clusters of maps with their causal checks, if they were asked for.
        failures: Key and sentence of pictures that could not be used.
        checks: What the user should know.
        provenance: How it was made.
    """

    outcomes: Outcomes = field(repr=False)
    truth: Truth = field(repr=False)
    keys: tuple[str, ...] = field(repr=False)
    model: str
    data: str
    calibration: Calibration = field(repr=False)
    doubts: Doubts = field(repr=False)
    duplicates: Duplicates = field(repr=False)
    evidence: FrameMaps | None = field(repr=False)
    cases: Cases = field(repr=False)
    versus: Versus | None = None
    shortcuts: Shortcuts | None = field(default=None, repr=False)
    failures: tuple[tuple[str, str], ...] = ()
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    def __len__(self) -> int:
        return len(self.outcomes)

    @property
    def labels(self) -> tuple[str, ...]:
        """What the network's classes are called."""
        return self.truth.labels

    @cached_property
    def accuracy(self) -> Share:
        """The share of pictures whose most probable class is the true one, with its interval."""
        return share_of_rows(self.outcomes.right)

    @cached_property
    def top5(self) -> Share | None:
        """The share whose true class is among the first five; None of a network with at most five classes."""
        return share_of_rows(self.outcomes.ranks < KEPT) if self.outcomes.outputs > KEPT else None

    @cached_property
    def classes(self) -> tuple[Share, ...]:
        """``(K,)``: of each class the share of its pictures that are answered right."""
        return per_class(self.outcomes.truth, self.outcomes.right, self.outcomes.outputs)

    @property
    def occurring(self) -> tuple[int, ...]:
        """The classes that have pictures."""
        return tuple(index for index, share in enumerate(self.classes) if share.total)

    @cached_property
    def balanced(self) -> float:
        """The mean over classes of their accuracy, so that every class counts alike."""
        return float(np.mean([self.classes[index].value for index in self.occurring]))

    @cached_property
    def majority(self) -> float:
        """The accuracy of always answering the most frequent class."""
        return max(share.total for share in self.classes) / len(self)

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """``(K, K)``: how many pictures of each true class (row) are answered as each class (column)."""
        return confusion_matrix(self.outcomes.truth, self.outcomes.predicted, self.outcomes.outputs)

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """The classes that occur, as true ones or as answers, in an order in which confused ones stand together."""
        held = np.flatnonzero((self.confusion.sum(axis=0) > 0) | (self.confusion.sum(axis=1) > 0))
        found = order_classes(self.confusion)
        return found[np.isin(found, held)]

    @cached_property
    def pairs(self) -> list[tuple[int, int, int]]:
        """The 20 most frequent mistakes: true class, answered class, number of pictures."""
        return worst_pairs(self.confusion)

    @cached_property
    def groups(self) -> Mapping[str, Mapping[str, Share]]:
        """For each column of the table and each of its values the share of right answers."""
        images = self.outcomes.images.tolist()
        return {
            name: group_shares([values[image] for image in images], self.outcomes.right)
            for name, values in self.truth.groups.items()
        }

    @cached_property
    def mistakes(self) -> NDArray[np.int64]:
        """Rows of all mistakes, the most confident first."""
        rows = np.flatnonzero(~self.outcomes.right)
        return rows[np.argsort(-self.outcomes.confidence[rows], kind="stable")]

    @cached_property
    def unsure_hits(self) -> NDArray[np.int64]:
        """Rows of all right answers, the least confident first."""
        rows = np.flatnonzero(self.outcomes.right)
        return rows[np.argsort(self.outcomes.confidence[rows], kind="stable")]

    @cached_property
    def disagreements(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows that only this network answers right, and rows that only the second does; its surest answers first."""
        if self.versus is None:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        order = np.argsort(-self.versus.confidence, kind="stable")
        rows = self.versus.rows[order]
        first, second = self.outcomes.right[rows], self.versus.right[order]
        return rows[first & ~second], rows[~first & second]

    def answer(self, row: int) -> str:
        """What the network answers of a row."""
        return self.labels[int(self.outcomes.predicted[row])]

    def true(self, row: int) -> str:
        """The true class of a row."""
        return self.labels[int(self.outcomes.truth[row])]

    def describe(self) -> dict[str, Any]:
        """What there is to say without a picture, as plain values."""
        from cnnviz.auditing.tables import describe_audit

        return describe_audit(self)

    def __str__(self) -> str:
        from cnnviz.auditing.tables import spell_audit

        return spell_audit(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.confusion, dtype=dtype, copy=copy)

    def save(self, path: str | os.PathLike[str], *, figure: AuditFigure = "confusion", **paper: Any) -> Path:
        """Write it: .html as a page, .json as a document, .csv with a line a picture, a picture or .pdf as a figure.

        Args:
            path: Where to; an existing file is replaced.
            figure: Of a picture: the ``"confusion"`` matrix, the ``"reliability"`` diagram, the accuracy of
                ``"classes"`` with intervals, the most confident ``"mistakes"`` with their maps, or the mean ``"maps"``.
            **paper: How a figure is set on paper: ``width``, ``columns``, ``dpi``, ``font``, ``font_size``, ``notes``,
                ``title``.

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
            UsageError: If there is nothing of that kind to draw.
        """
        from cnnviz.auditing.audit_figures import save_figure
        from cnnviz.auditing.audit_page import page_of
        from cnnviz.auditing.tables import csv_of, json_of

        where = Path(path)
        ensure_writable(where, force=True, suffixes=AUDIT_SUFFIXES)
        ending = where.suffix.lower()
        if ending in DRAWN_SUFFIXES:
            save_figure(self, where, figure, paper)
        elif ending in PAGE_SUFFIXES:
            write_page(where, page_of(self))
        else:
            text = csv_of(self) if ending == ".csv" else json_of(self)
            write_whole(where, text.encode("utf-8", "backslashreplace"))
        return where

    def plot(self, *, figure: AuditFigure = "confusion", **paper: Any) -> Figure:
        """A matplotlib figure of what :meth:`save` draws.

        Args:
            figure: Which.
            **paper: How it is set.
        """
        from cnnviz.auditing.audit_figures import plot_figure

        return plot_figure(self, figure, paper)
