"""What a laid-out sheet is made of: boxes, lines of text and colour bars in whole pixels, and their sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from cnnviz.drawing.colour import Scale, ticks
from cnnviz.drawing.text import line_height, text_width, widest_piece, wrap

if TYPE_CHECKING:
    from cnnviz.drawing.sheet import Cell

__all__ = [
    "NOTHING",
    "Box",
    "Layout",
    "ScaleBar",
    "Style",
    "Text",
    "add_faint",
    "bar_reach",
    "fits_middle",
    "short_notes",
    "well_across",
]

NOTHING = "nothing to show"
MOST: Final = 16
"""Pictures in a row."""
TextAlign = Literal["left", "centre", "right"]
MOST_NOTES: Final = 3
NOTES_SHARE: Final = 0.15
"""Of a figure's height, which short notes take at most, but for one line."""


class Box(NamedTuple):
    """A rectangle: left and top edge, width and height."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Style:
    """Sizes in pixels: an em of ordinary text, the gap between cells, the margin around everything, the least text."""

    em: int
    gap: int
    margin: int = 0
    least: int = 8

    @property
    def small(self) -> int:
        """An em of the numbers and notes."""
        return max(self.least, round(0.86 * self.em))

    @property
    def large(self) -> int:
        """An em of the title."""
        return round(1.2 * self.em)

    @property
    def pad(self) -> int:
        """Between a picture and the words that belong to it."""
        return max(2, round(0.35 * self.em))

    @property
    def bar(self) -> int:
        """How thick a colour bar is."""
        return max(3, round(0.5 * self.em))


@dataclass(frozen=True)
class Text:
    """Lines of text; ``x`` is their left edge, centre or right edge, ``top`` the first line's top."""

    x: int
    top: int
    lines: tuple[str, ...]
    size: int
    align: TextAlign = "left"
    bold: bool = False
    faint: bool = False


@dataclass(frozen=True)
class ScaleBar:
    """A colour bar in its place; its ``numbers`` stand below, as (share of the way along, text)."""

    box: Box
    scale: Scale
    size: int
    numbers: tuple[tuple[float, str], ...]


@dataclass
class Layout:
    """Everything on a sheet, and how large the sheet is; on white paper, pale pictures are ``outlined``.

    Bars have three numbers where it is ``numbered``, those at the ends otherwise; what they measure stands below the
    bars of ``worded`` cells.
    """

    width: int
    height: int = 0
    outlined: bool = False
    numbered: bool = True
    worded: frozenset[Cell] = frozenset()
    pictures: list[tuple[Cell, Box]] = field(default_factory=list)
    bars: list[ScaleBar] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)


def bar_reach(scale: Scale, style: Style) -> int:
    """How wide a bar has to be for the numbers at its ends."""
    if scale.blank:
        return math.ceil(widest_piece(NOTHING, style.small))
    words = ticks(scale)[0][1], ticks(scale)[-1][1]
    return math.ceil(sum(text_width(word, style.small) for word in words) + style.small)


def fits_middle(scale: Scale, width: int, style: Style) -> bool:
    """Whether a bar of that width has room for its middle number."""
    low, middle, high = (text_width(text, style.small) for _, text in ticks(scale))
    return middle / 2 + max(low, high) + style.small <= width / 2


def short_notes(notes: Sequence[str], room: int, above: int, style: Style) -> tuple[str, ...]:
    """As many notes, each whole, as leave the figure to its pictures; the last line counts those left out.

    Args:
        notes: What there is to say.
        room: Width of a line in pixels.
        above: Height of the figure without them.
        style: Sizes of text.
    """
    line = line_height(style.small)
    most = max(1, min(MOST_NOTES, int(NOTES_SHARE * above / ((1 - NOTES_SHARE) * line))))
    lines: list[str] = []
    for number, note in enumerate(notes):
        whole = wrap(" ".join(note.split()), room, style.small, most=most + 1)
        left = len(notes) - number
        if len(lines) + len(whole) + (left > 1) > most and (left > 1 or len(lines) + len(whole) > most):
            more = f"{left} more note{'s' * (left > 1)} in the record" if lines else _first_of(notes)
            return (*lines, *wrap(more, room, style.small, most=1))
        lines += whole
    return tuple(lines)


def _first_of(notes: Sequence[str]) -> str:
    """One line for notes of which none fits whole."""
    return notes[0] if len(notes) == 1 else f"{len(notes)} notes in the record, such as: {notes[0]}"


def add_faint(layout: Layout, words: str, box: Box, size: int) -> int:
    """Add small words in the middle of a box, from its top; returns where they end."""
    lines = wrap(words, box.width, size)
    if lines:
        layout.texts.append(Text(box.left + box.width // 2, box.top, lines, size, "centre", faint=True))
    return box.top + len(lines) * line_height(size)


def well_across(count: int) -> int:
    """How many of ``count`` pictures make a row: a full block where one is nearly square, else as full as can be.

    A block is at most about twice as wide as high, and never higher than wide unless it would be too wide.

    Args:
        count: From 1.
    """
    least, most = math.ceil(math.sqrt(count)), math.ceil(math.sqrt(2 * count))
    choices = range(min(least, MOST), min(most, MOST) + 1)
    return min(choices, key=lambda across: (-count % across, across))
