"""How many pictures stand side by side."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["well_across"]

MOST: Final = 16


def well_across(count: int) -> int:
    """How many of ``count`` pictures make a row, so that their block is a little wider than high and nearly full.

    Args:
        count: From 1.
    """
    wide = math.sqrt(1.5 * count)
    least, most = math.isqrt(count - 1) + 1, max(math.ceil(math.sqrt(2.2 * count)), 1)
    choices = range(min(least, MOST), min(most, MOST, count) + 1)
    return min(choices, key=lambda across: (-count % across, abs(across - wide)))
