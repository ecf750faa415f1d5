"""Shortcuts: the clusters of every class with what they look at, and which of these places are shortcuts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cnnviz.auditing.shortcuts.places import bounding_box
from cnnviz.core.atomic import write_whole
from cnnviz.drawing.figure import DRAWN_SUFFIXES, Grid
from cnnviz.drawing.files import PAGE_SUFFIXES, ensure_writable, write_page
from cnnviz.errors import UnknownNameError
from cnnviz.evaluation.evaluation import only_paper
from cnnviz.provenance import Provenance
from cnnviz.results.result import Result

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnviz.auditing.shortcuts.channels import ChannelShare
    from cnnviz.auditing.shortcuts.effects import Effect

__all__ = ["LEAST_RISE", "SHORTCUT_SUFFIXES", "ClassClusters", "Cluster", "Example", "Shortcuts", "is_shortcut"]

SHORTCUT_SUFFIXES: Final = (*PAGE_SUFFIXES, ".csv", ".json", *DRAWN_SUFFIXES)
"""The kinds of file that found shortcuts can be saved as."""

LEAST_RISE: Final = 0.1
"""How far the lower end of the interval of the probability on pictures of other classes must rise, at least."""


MOST_CLASSES: Final = 0.5
"""The content must raise the class on pictures of more than this share of the other classes."""


def is_shortcut(hidden: Effect, given: Effect, raised: float) -> bool:
    """Whether a place is a shortcut: hiding it lowers the class, and its content raises it on pictures of others.

    Content that only covers another class's mark raises the class on that class's pictures alone.

    Args:
        hidden: Of covering the place on the cluster's pictures: the interval must lie below 0.
        given: Of putting the common content on pictures of other classes: the interval must lie above 10 points.
        raised: Share of the other classes on whose pictures it rises by 10 points or more: must be more than half.
    """
    return hidden.high < 0 and given.low > LEAST_RISE and raised > MOST_CLASSES


@dataclass(frozen=True, eq=False)
class Example:
    """A picture of another class before and after it was given a cluster's content, and the mean that this is.

    Attributes:
        mean: ``(H, W, 3)`` uint8: the mean of the cluster's pictures.
        before: ``(H, W, 3)`` uint8.
        after: ``(H, W, 3)`` uint8.
        answered_before: The class answered.
        answered_after: Likewise of the changed picture.
        probability_before: Of the cluster's class.
        probability_after: On the changed picture.
    """

    mean: NDArray[np.uint8]
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    answered_before: str
    answered_after: str
    probability_before: float
    probability_after: float


@dataclass(frozen=True, eq=False)
class Cluster:
    """Pictures of a class whose maps look at the same place.

    Attributes:
        number: From 1; 0 is the whole class.
        images: Their numbers in the data set.
        typical: Those whose maps are most like the mean map, up to 4, the most typical first.
        share: Of the class's pictures that were looked at, 0 to 1.
        accuracy: Share of its pictures answered as the class.
        mean_map: ``(h, w)``: mean of the positive evidence.
        place: ``(H, W)`` bool, on the network's input: what is looked at and alike in its pictures.
        hidden: What covering the place with other classes' pictures does to the class's probability on its pictures.
        given: What putting the common content there does to it on pictures of other classes.
        raised: Share of the other classes on whose pictures it rises by 10 points or more in the mean.
        channels: Those that add more on its pictures than on the rest of the class; none of the whole class.
        example: The picture of another class whose probability rises most; of a flagged cluster only.
    """

    number: int
    images: tuple[int, ...] = field(repr=False)
    typical: tuple[int, ...]
    share: float
    accuracy: float
    mean_map: NDArray[np.float32] = field(repr=False)
    place: NDArray[np.bool_] = field(repr=False)
    hidden: Effect
    given: Effect
    raised: float
    channels: tuple[ChannelShare, ...] = ()
    example: Example | None = field(default=None, repr=False)

    @property
    def flagged(self) -> bool:
        """Whether its place is a shortcut."""
        return is_shortcut(self.hidden, self.given, self.raised)

    @property
    def name(self) -> str:
        """What to call it."""
        return f"cluster {self.number}" if self.number else "whole class"

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """Left, top, right and bottom of its place in pixels of the network's input; None if it is nowhere."""
        return bounding_box(self.place)

    def describe(self) -> dict[str, Any]:
        """What there is to say without a picture, as plain values."""
        return {
            "cluster": self.number,
            "flagged": self.flagged,
            "pictures": len(self.images),
            "share": self.share,
            "accuracy": self.accuracy,
            "box": None if self.box is None else list(self.box),
            "place_share": float(self.place.mean()),
            "hidden": self.hidden.describe(),
            "given": self.given.describe(),
            "classes_raised": self.raised,
            "channels": [each.describe() for each in self.channels],
        }


@dataclass(frozen=True, eq=False)
class ClassClusters:
    """The clusters of one class.

    Attributes:
        index: The class.
        label: What it is called.
        count: How many of its pictures were looked at.
        accuracy: Share of them answered as the class.
        eigenvalues: The smallest of the graph of its maps; empty where there were too few to cluster.
        clusters: The whole class first, then its clusters by size.
        layer: The layer whose channels are told.
    """

    index: int
    label: str
    count: int
    accuracy: float
    eigenvalues: NDArray[np.float64] = field(repr=False)
    clusters: tuple[Cluster, ...]
    layer: str = ""

    @property
    def flags(self) -> tuple[Cluster, ...]:
        """Its flagged clusters, what raises other pictures most first."""
        return tuple(sorted((each for each in self.clusters if each.flagged), key=lambda each: -each.given.change))

    @property
    def flagged(self) -> bool:
        """Whether any is flagged."""
        return bool(self.flags)

    def describe(self, keys: Any) -> dict[str, Any]:
        """What there is to say without a picture, as plain values.

        Args:
            keys: The data set's keys.
        """
        return {
            "class": self.index,
            "label": self.label,
            "pictures": self.count,
            "accuracy": self.accuracy,
            "flagged": self.flagged,
            "eigenvalues": [float(each) for each in self.eigenvalues],
            "layer": self.layer,
            "clusters": [
                {**each.describe(), "typical": [keys[image] for image in each.typical]} for each in self.clusters
            ],
        }


@dataclass(frozen=True, eq=False)
class Shortcuts(Result):
    """What was found: of every class its clusters, and which of their places are shortcuts.

    Attributes:
        classes: The classes that were looked at, in the network's order.
        keys: The data set's keys, which the clusters' pictures are numbers of.
        model: The network's name.
        data: The data set's.
        method: What the maps are called.
        pictures: How many pictures were looked at.
        failures: Key and sentence of pictures that could not be used.
        checks: What the user should know.
        provenance: How it was made.
        source: Reads the pictures again, to draw them.
    """

    classes: tuple[ClassClusters, ...] = field(repr=False)
    keys: Any = field(repr=False)
    model: str
    data: str
    method: str
    pictures: int
    failures: tuple[tuple[str, str], ...] = ()
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)
    source: Any = field(default=None, repr=False)

    @cached_property
    def flagged(self) -> tuple[ClassClusters, ...]:
        """The classes with a shortcut, the one that raises other pictures most first."""
        some = [each for each in self.classes if each.flagged]
        return tuple(sorted(some, key=lambda each: -each.flags[0].given.change))

    def of(self, label: str | int) -> ClassClusters:
        """What was found of a class.

        Args:
            label: Its name or index.

        Raises:
            UnknownNameError: If it was not looked at.
        """
        for each in self.classes:
            if label in (each.label, each.index):
                return each
        names = [each.label for each in self.classes]
        raise UnknownNameError("class here", str(label), names, f"Looked at were {', '.join(names[:10])}.")

    def describe(self) -> dict[str, Any]:
        """What there is to say without a picture, as plain values."""
        return {
            "model": self.model,
            "data": self.data,
            "method": self.method,
            "pictures": self.pictures,
            "flagged": [each.label for each in self.flagged],
            "classes": [each.describe(self.keys) for each in self.classes],
            "failures": [{"image": key, "sentence": sentence} for key, sentence in self.failures],
            "checks": list(self.checks),
        }

    def __str__(self) -> str:
        from cnnviz.auditing.shortcuts.listing import spell_shortcuts

        return spell_shortcuts(self)

    def grid(self, *, every: bool = False, most: int | None = None) -> Grid:
        """Rows of flagged clusters: the mean map, typical pictures, the place hidden, and its content on another.

        Args:
            every: All clusters of all classes, flagged or not.
            most: Most rows; default: 12.

        Raises:
            UsageError: If the pictures are not at hand.
        """
        from cnnviz.auditing.shortcuts.cluster_figure import draw_clusters

        return draw_clusters(self, every=every, most=most)

    def save(self, path: str | os.PathLike[str], *, every: bool = False, **paper: Any) -> Path:
        """Write it: .html as a page, .csv and .json as a table, any kind of picture as a figure.

        Args:
            path: Where to; an existing file is replaced.
            every: Of a figure: all clusters of all classes, not only flagged ones.
            **paper: How a figure is set on paper: ``width``, ``columns``, ``dpi``, ``font``, ``font_size``, ``notes``,
                ``title``, ``rename``.

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
            UnknownNameError: If an option is none of a figure.
            UsageError: If the pictures are not at hand.
        """
        from cnnviz.auditing.shortcuts.listing import csv_of_clusters, json_of_shortcuts

        where = Path(path)
        ensure_writable(where, force=True, suffixes=SHORTCUT_SUFFIXES)
        ending = where.suffix.lower()
        if ending in DRAWN_SUFFIXES:
            self.grid(every=every).save(where, **only_paper(paper).describe())
        elif ending in PAGE_SUFFIXES:
            from cnnviz.auditing.shortcuts.cluster_page import page_of_shortcuts

            write_page(where, page_of_shortcuts(self))
        else:
            text = csv_of_clusters(self) if ending == ".csv" else json_of_shortcuts(self)
            write_whole(where, text.encode("utf-8", "backslashreplace"))
        return where
