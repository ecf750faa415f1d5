"""A method's settings: what kind of value each takes, within which bounds."""

from __future__ import annotations

import math
import operator
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import annotated_types as bounds

from cnnviz.errors import ParameterError, nearest

__all__ = ["Parameter", "parameter"]


@dataclass(frozen=True)
class Parameter:
    """One setting of a method.

    Attributes:
        name: Its name in the signature.
        kind: ``int``, ``float``, ``bool`` or ``str``.
        default: The value it has when it is not given.
        help: Its line in the docstring.
        choices: The values it can have, or none for any.
        optional: Whether None is a value.
        low: Smallest value, or None.
        high: Largest value, or None.
        open_low: Whether the smallest value itself is excluded.
        open_high: Whether the largest value itself is excluded.
    """

    name: str
    kind: type
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    optional: bool = False
    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False

    def check(self, value: Any) -> Any:
        """The value as this setting's kind.

        Raises:
            ParameterError: If it is of another kind, not among the choices or out of bounds.
        """
        if value is None and self.optional:
            return None
        converted = self._converted(value)
        if self.choices and converted not in self.choices:
            offer = nearest(str(value), self.choices, 1)
            hint = f" (did you mean '{offer[0]}'?)" if offer else ""
            raise ParameterError(f"{self.name} must be one of {', '.join(self.choices)}; got {value!r}{hint}.")
        if self.kind in (int, float) and not self._within(converted):
            raise ParameterError(f"{self.name} must be {self.range()}; got {value!r}.")
        return converted

    def range(self) -> str:
        """The bounds in words, such as ``"at least 1"``."""
        low = None if self.low is None else f"{'more than' if self.open_low else 'at least'} {self.low:g}"
        high = None if self.high is None else f"{'less than' if self.open_high else 'at most'} {self.high:g}"
        return " and ".join(part for part in (low, high) if part) or "a finite number"

    def _converted(self, value: Any) -> Any:
        try:
            return CONVERSIONS[self.kind](value)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            raise ParameterError(f"{self.name} must be {SPOKEN[self.kind]}; got {value!r}.") from None

    def _within(self, value: float) -> bool:
        low, high = (-math.inf if self.low is None else self.low), (math.inf if self.high is None else self.high)
        above = value > low if self.open_low else value >= low
        below = value < high if self.open_high else value <= high
        return above and below and (isinstance(value, int) or math.isfinite(value))


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _whole(value: Any) -> int:
    if _is_truth(value):
        raise TypeError
    return operator.index(value)


def _real(value: Any) -> float:
    if _is_truth(value) or not hasattr(value, "__float__"):
        raise TypeError
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return str(value)


def _is_truth(value: Any) -> bool:
    """Whether it is True or False, also as NumPy and torch hold them."""
    return isinstance(value, bool) or "bool" in str(getattr(value, "dtype", ""))


CONVERSIONS: Mapping[type, Callable[[Any], Any]] = {bool: _truth, int: _whole, float: _real, str: _text}
SPOKEN: Mapping[type, str] = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}


def parameter(name: str, hint: Any, default: Any, text: str) -> Parameter:
    """A setting as its line in a signature and a docstring has it.

    Args:
        name: Its name.
        hint: Its annotation: a kind, with bounds or choices, or None beside it.
        default: Its default.
        text: Its help.

    Raises:
        TypeError: If no command line could give such a value.
    """
    metadata: list[Any] = []
    if typing.get_origin(hint) is typing.Annotated:
        hint, *metadata = typing.get_args(hint)
    optional = False
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        optional = len(options) < len(typing.get_args(hint))
        if len(options) != 1:
            raise TypeError(f"setting '{name}' has several types: {hint}")
        hint = options[0]
        if typing.get_origin(hint) is typing.Annotated:
            hint, *metadata = typing.get_args(hint)
    choices = tuple(typing.get_args(hint)) if typing.get_origin(hint) is Literal else ()
    kind = str if choices else hint
    if not isinstance(kind, type) or kind not in SPOKEN:
        raise TypeError(f"setting '{name}' has a type that no command line can give: {hint}")
    return Parameter(name, kind, default, text, choices, optional, **_limits(metadata))


def _limits(metadata: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    single = [each for bound in metadata for each in (bound if isinstance(bound, bounds.GroupedMetadata) else [bound])]
    for bound in single:
        match bound:
            case bounds.Ge(ge):
                found["low"] = ge
            case bounds.Gt(gt):
                found.update(low=gt, open_low=True)
            case bounds.Le(le):
                found["high"] = le
            case bounds.Lt(lt):
                found.update(high=lt, open_high=True)
            case _:
                raise TypeError(f"a setting's bound is Ge, Gt, Le, Lt or Interval, not {bound!r}")
    return found
