"""Units of a layer by their numbers, as a user writes them."""

from __future__ import annotations

import re

from cnnviz.errors import ParameterError

__all__ = ["parse_units"]

RANGE = re.compile(r"(\d+)(?:-(\d+))?")
MOST = 64


def parse_units(text: str, layer: str, count: int, *, most: int = MOST) -> list[int]:
    """``"0-8,12"`` as numbers, each once, in the order given.

    Args:
        text: Numbers and ranges with commas between.
        layer: The layer's name, for messages.
        count: How many units it has.
        most: How many may be named.

    Raises:
        ParameterError: If it is nothing of this kind, there is no such unit, or there are too many.
    """
    numbers: dict[int, None] = {}
    for part in text.split(","):
        match = RANGE.fullmatch(part.strip())
        if match is None:
            raise ParameterError(f"units are numbers and ranges such as 0-8 or 3,17; got '{text}'.")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ParameterError(f"units {part.strip()} count backwards; write {last}-{first}.")
        if last >= count:
            raise ParameterError(f"Layer '{layer}' has units 0 to {count - 1}; there is no unit {last}.")
        numbers.update(dict.fromkeys(range(first, last + 1)))
    if len(numbers) > most:
        raise ParameterError(f"At most {most} units are shown at once; {len(numbers)} were named.")
    return list(numbers)
