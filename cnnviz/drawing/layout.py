"""What a laid-out sheet is made of: boxes, lines of text and colour bars in whole pixels, and their sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from cnnviz.drawing.colour import Scale, ticks
from cnnviz.drawing.text import text_width, widest_piece

if TYPE_CHECKING:
    from cnnviz.drawing.sheet import Cell

__all__ = ["NOTHING", "Box", "Layout", "ScaleBar", "Style", "Text", "bar_reach", "fits_middle"]

NOTHING = "nothing to show"
TextAlign = Literal["left", "centre", "right"]


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

    Bars have three numbers where it is ``numbered``, those at the ends otherwise.
    """

    width: int
    height: int = 0
    outlined: bool = False
    numbered: bool = True
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
