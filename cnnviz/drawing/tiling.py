"""How many pictures stand side by side."""

from __future__ import annotations

import math

__all__ = ["well_across"]

LEAST, MOST = 4, 16


def well_across(count: int) -> int:
    """How many of ``count`` pictures make a row, so that their block is a little wider than high and nearly full.

    Args:
        count: From 1.
    """
    wide = math.sqrt(1.5 * count)
    least, most = math.ceil(math.sqrt(1.2 * count)), max(LEAST, math.ceil(math.sqrt(2.2 * count)))
    choices = range(min(least, count, MOST), min(most, count, MOST) + 1)
    return min(choices, key=lambda across: (-count % across, abs(across - wide)))
