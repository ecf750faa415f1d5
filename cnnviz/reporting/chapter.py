"""A chapter of a report: the context it is written from, its content, and the budget of forwards for slow parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cnnviz.core.sample import Sample
from cnnviz.core.target import Target
from cnnviz.drawing.pages.blocks import Block, Words
from cnnviz.errors import ExplanationError
from cnnviz.images.reading import ImagesLike
from cnnviz.models.model import Model
from cnnviz.provenance import Provenance
from cnnviz.reporting.driving_units import DrivingUnits
from cnnviz.reporting.page import Savable
from cnnviz.results.detections import Detections
from cnnviz.results.predictions import Predictions, Segmentations

__all__ = ["ReportContext", "Section", "ChapterContent", "count_nothing_slow", "ForwardBudget"]


@dataclass
class ForwardBudget:
    """The forwards of the network that the slow parts of a report may spend.

    Attributes:
        left: How many there are; None where nobody counts.
        parts: How many slow parts are still to come.
    """

    left: int | None
    parts: int

    def grant(self, wanted: int) -> int:
        """As many of the wanted forwards as the next part gets; what it does not want is left for those after it."""
        share = wanted if self.left is None else min(wanted, self.left // max(1, self.parts))
        self.parts -= 1
        if self.left is not None:
            self.left -= share
        return share

    def give_back(self, count: int) -> None:
        """Return what a part was granted and did not spend."""
        if self.left is not None:
            self.left += count


@dataclass
class ReportContext:
    """One network, a few pictures, and what is wanted of them.

    Attributes:
        model: The network.
        images: The pictures as methods take them.
        pictures: The pictures with the geometry of the network's input.
        predictions: What the network answers; None where no logits can be read from it.
        targets: What is explained, one a picture, settled; none where no logits can be read and nothing else was asked.
        methods: Names of the methods whose maps are drawn.
        layer: The layer that was asked for; None takes the automatic one.
        units: How many units a picture are shown.
        examples: A data set to look for patches in, or None.
        seed: Seed for everything drawn at random.
        batch_size: Most pictures at once.
        budget: Forwards that slow parts may spend.
        driving: Once it was found out: the units that speak most for each picture's target.
        unread: Why no logits can be read; empty where they can.
        photographed: Whether a chapter has shown the pictures themselves already: the page holds each of them once.
    """

    model: Model
    images: ImagesLike
    pictures: tuple[Sample, ...]
    predictions: Predictions | Segmentations | Detections | None
    targets: tuple[Target, ...]
    methods: tuple[str, ...]
    layer: str | None
    units: int
    examples: Any
    seed: int
    batch_size: int
    budget: ForwardBudget = field(default_factory=lambda: ForwardBudget(None, 0))
    driving: tuple[DrivingUnits, ...] = ()
    unread: str = ""
    photographed: bool = False

    def check_targets(self) -> None:
        """Refuse to explain where there is nothing to explain.

        Raises:
            ExplanationError: If there are no targets; the message says why no logits can be read.
        """
        if not self.targets:
            raise ExplanationError(self.unread)

    @property
    def shared(self) -> dict[str, Any]:
        """Settings that every method gets which has them."""
        given = {"layer": self.layer, "batch_size": self.batch_size, "seed": self.seed}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class ChapterContent:
    """What a chapter shows and records.

    Attributes:
        blocks: What it shows.
        made: How its results were made.
        figures: Results that can be saved on their own, by the end of their file's name; the first is ``""``.
        numbers: What it found, as plain values.
        checks: What the user should know.
    """

    blocks: tuple[Block, ...]
    made: tuple[Provenance, ...] = ()
    figures: Mapping[str, Savable] = field(default_factory=dict)
    numbers: Any = None
    checks: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """What it says in place of what could not be shown."""
        return tuple(block.text for block in self.blocks if isinstance(block, Words) and block.tone == "missing")

    @property
    def is_empty(self) -> bool:
        """Whether it shows nothing but such sentences."""
        return len(self.sentences) == len(self.blocks)


def count_nothing_slow(_: ReportContext) -> int:
    """The number of slow parts of a chapter that has none."""
    return 0


@dataclass(frozen=True)
class Section:
    """A chapter that a report can have: its heading, its words, and the function that writes it.

    Attributes:
        title: Its heading.
        question: What it answers, below the heading.
        limits: What it does not prove.
        write: Writes its content from the context.
        slow: How many parts the budget is shared out to.
    """

    title: str
    question: str
    limits: str
    write: Callable[[ReportContext], ChapterContent]
    slow: Callable[[ReportContext], int] = count_nothing_slow
