"""What a page is made of: words, tables, bars and pictures, in chapters; plain data that knows no HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnviz.drawing.colour import Scale
from cnnviz.drawing.sheet import check_pixels
from cnnviz.errors import ParameterError

__all__ = [
    "Bar",
    "Bars",
    "Block",
    "Chapter",
    "SideBySide",
    "Facts",
    "Fold",
    "Gallery",
    "Group",
    "Page",
    "Plate",
    "Size",
    "Table",
    "Words",
    "left_out",
]

MOST_FAILURES: Final = 20
"""Pictures that could not be used and are named above a page; of more the number is said."""

Size: TypeAlias = Literal["whole", "row", "strip", "broad", "medium", "small", "tiny"]


@dataclass(frozen=True, eq=False)
class Plate:
    """One picture of a page.

    Attributes:
        pixels: ``(h, w, 3)`` uint8, RGB.
        alt: What it shows, for whoever does not see it; never empty.
        title: Its first words, set in bold.
        caption: What else is said below it; may have several lines.
        scale: What the colours mean; when given, a colour bar with numbers stands below the picture.
        exact: Kept without loss and enlarged with hard pixels, as filters and small maps want it.

    Raises:
        ParameterError: If the pixels have another shape or type, or nothing says what they show.
    """

    pixels: NDArray[np.uint8] = field(repr=False)
    alt: str
    title: str = ""
    caption: str = ""
    scale: Scale | None = None
    exact: bool = False

    def __post_init__(self) -> None:
        check_pixels(self.pixels, "A picture's")
        if not self.alt.strip():
            raise ParameterError("A picture of a page needs an alternative text.")


@dataclass(frozen=True)
class Words:
    """A paragraph; ``"missing"`` says what could not be shown, ``"quiet"`` is a remark."""

    text: str
    tone: Literal["plain", "quiet", "missing"] = "plain"


@dataclass(frozen=True)
class Facts:
    """Names and what they are, one a line."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """Rows under headings; columns whose numbers are in ``numeric`` are set flush right.

    Raises:
        ParameterError: If a row has another length than the headings.
    """

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[int, ...] = ()
    marked: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if any(len(row) != len(self.headings) for row in self.rows):
            raise ParameterError(f"A row of the table '{self.caption}' has not {len(self.headings)} places.")


@dataclass(frozen=True)
class Bar:
    """A line of bars: what it stands for, its length as a share of the line (0 to 1), and the value in words."""

    name: str
    share: float
    value: str
    marked: bool = False


@dataclass(frozen=True)
class Bars:
    """Shares of a whole, the longest first; beside them, when given, the picture they are about."""

    caption: str
    bars: tuple[Bar, ...]
    plate: Plate | None = None


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side, as many a line as have room.

    Attributes:
        plates: The pictures.
        size: How large each is: ``"whole"`` (one a line), ``"broad"``, ``"medium"``, ``"small"`` or ``"tiny"``;
            ``"row"`` puts all in one row where there is room for them, and ``"strip"`` does so with smaller ones.
        caption: What is said about all of them.
        scale: What the colours of all of them mean, where they have one scale in common.
    """

    plates: tuple[Plate, ...]
    size: Size = "medium"
    caption: str = ""
    scale: Scale | None = None


@dataclass(frozen=True)
class Fold:
    """What is folded away under a line of words: preformatted text, or more blocks."""

    summary: str
    text: str = ""
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Group:
    """Blocks under a heading of their own."""

    heading: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class SideBySide:
    """Blocks side by side where there is room."""

    blocks: tuple[Block, ...]


Block: TypeAlias = Words | Facts | Table | Bars | Gallery | Fold | Group | SideBySide


@dataclass(frozen=True)
class Chapter:
    """One part of a page.

    Attributes:
        key: Its name in the page's address, such as ``"maps"``.
        title: Its heading.
        lead: The question it answers.
        blocks: What it shows.
        limits: What it does not prove.
    """

    key: str
    title: str
    lead: str
    blocks: tuple[Block, ...]
    limits: str = ""


@dataclass(frozen=True)
class Page:
    """A page of chapters.

    Attributes:
        title: Its heading.
        kicker: A few words above it.
        lead: What it is about.
        chapters: Its parts.
        note: JSON text to carry along.
        notices: What could not be used, said above everything else.
        closing: The last line.
    """

    title: str
    kicker: str
    lead: str
    chapters: tuple[Chapter, ...]
    note: str
    notices: tuple[str, ...] = ()
    closing: str = ""


def left_out(sentences: Sequence[str]) -> tuple[str, ...]:
    """A page's notices about what could not be used.

    Args:
        sentences: Why, one for each picture.
    """
    more = len(sentences) - MOST_FAILURES
    named = (f"Left out: {sentence}" for sentence in sentences[:MOST_FAILURES])
    return (*named, *([f"Left out: {more} more."] if more > 0 else []))
