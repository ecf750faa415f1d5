"""A scale that many pictures share, as a cell of its own."""

from __future__ import annotations

from typing import Final

from cnnviz.drawing.colour import Scale, colour_bar, ticks
from cnnviz.drawing.sheet import Cell

__all__ = ["legend"]

THICK: Final = 16


def legend(scale: Scale) -> Cell:
    """A bar with the values at its ends, and how many values lie beyond them.

    Args:
        scale: What the colours mean.
    """
    (_, low), _, (_, high) = ticks(scale)
    words = "nothing but zero" if scale.blank else f"\N{PLUS-MINUS SIGN}{high}" if scale.signed else f"{low} to {high}"
    beyond = f"\n{scale.clipped:.1%} beyond" if scale.clipped else ""
    return Cell(colour_bar(scale, THICK, 8 * THICK), f"{words}{beyond}")
