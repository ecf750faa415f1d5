"""Settings with a number for every axis of the input: windows, strides and grids, in places, millimetres or seconds."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Final, TypeAlias

__all__ = [
    "UNITS",
    "Counts",
    "Lengths",
    "Measured",
    "PerAxis",
    "is_truth",
    "read_counts",
    "read_lengths",
    "split_lengths",
    "whole_number",
]


class PerAxis:
    """The kind of settings with a whole number for all axes of the input or one for each: 16, (8, 16) or "8x16".

    What is held is a number, or the numbers as a text.
    """

    spoken: ClassVar = "a whole number, or one for each axis of the input such as 8x16x16"
    metavar: ClassVar = "N|NxN.."


class Measured(PerAxis):
    """Such settings whose numbers can be lengths on the sample: "10mm", "0.2s", or "10x20x20mm"."""

    spoken: ClassVar = (
        "a whole number, one for each axis of the input such as 8x16x16, or lengths such as 10mm, 10x20x20mm or 0.2s"
    )
    metavar: ClassVar = "N|NxN..|LENGTH"


Counts: TypeAlias = Annotated[int | str | tuple[int, ...], PerAxis]
"""A setting with a number for every axis."""

Lengths: TypeAlias = Annotated[int | str | tuple[int, ...], Measured]
"""A setting with a length for every axis, in places of the input, millimetres or seconds."""

UNITS: Final = {"mm": ("mm", 1.0), "cm": ("mm", 10.0), "s": ("s", 1.0), "ms": ("s", 0.001)}
"""Units of lengths: which of two they are told in, and how much of it they are."""

ALONE: Final = re.compile(r"\s*-?\d+\s*")
COUNT: Final = re.compile(r"0*[1-9]\d{0,8}")
LENGTH: Final = re.compile(rf"(\d{{0,9}}\.?\d{{1,9}}) ?({'|'.join(UNITS)})")
UNIT: Final = re.compile(r" ?[a-z]+$")


def split_lengths(text: str) -> list[tuple[float, str]]:
    """A text such as ``"10x20x20mm"`` as lengths with their units, which are ``"mm"``, ``"s"`` or none: places.

    A unit that stands only behind the last of several is that of all.

    Raises:
        ValueError: If it is no such text.
    """
    *before, last = (part.strip() for part in text.lower().split("x"))
    unit = UNIT.search(last)
    if unit and not any(map(UNIT.search, before)):
        before = [part + unit[0] for part in before]
    return [_read_length(part) for part in (*before, last)]


def _read_length(text: str) -> tuple[float, str]:
    if COUNT.fullmatch(text):
        return float(text), ""
    read = LENGTH.fullmatch(text)
    if read is None or not float(read[1]):
        raise ValueError(f"'{text}' is not a length")
    unit, much = UNITS[read[2]]
    return float(read[1]) * much, unit


def read_counts(value: Any) -> int | str:
    """A number, or a text of one for each axis.

    Args:
        value: A number, several of them, or either as a text.

    Raises:
        TypeError: If it is something else.
        ValueError: If it is another text.
    """
    return _read(value, units=False)


def read_lengths(value: Any) -> int | str:
    """The same, where each can be a length such as ``"10mm"``; what is told in one stays a text."""
    return _read(value, units=True)


def _read(value: Any, *, units: bool) -> int | str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = "x".join(each if isinstance(each, str) else str(whole_number(each)) for each in value)
    if not isinstance(value, str):
        return whole_number(value)
    if ALONE.fullmatch(value):
        return int(value)
    if any(unit for _, unit in split_lengths(value)) and not units:
        raise ValueError(value)
    return "".join(value.lower().split())


def is_truth(value: Any) -> bool:
    """Whether it is True or False, also as NumPy and torch hold them."""
    return isinstance(value, bool) or "bool" in str(getattr(value, "dtype", ""))


def whole_number(value: Any) -> int:
    """A whole number, also as other libraries hold it.

    Raises:
        TypeError: If it is none.
    """
    if is_truth(value):
        raise TypeError
    return operator.index(value)
