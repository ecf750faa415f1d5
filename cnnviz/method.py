"""What a method is: a typed function whose signature and docstring are its only description."""

from __future__ import annotations

import functools
import inspect
import math
import operator
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, Literal, ParamSpec, Protocol, Self, TypeVar

import annotated_types as bounds
import docstring_parser

from cnnviz.errors import ParameterError, UsageError, nearest
from cnnviz.provenance import asking

__all__ = ["Method", "check_network", "method", "Signature", "Parameter", "parameter"]


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


MAPS = ("Heatmaps", "Attributions")
"""Results with a map for each picture."""


@dataclass(frozen=True)
class Signature:
    """A method as its function's signature and docstring describe it.

    Attributes:
        name: The function's name.
        needs: Names of the positional parameters: what the method has to be given.
        parameters: Its settings, by name.
        usual: Name of the class of its usual result.
        summary: First sentence of the docstring.
        reference: The paper.
    """

    name: str
    needs: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    usual: str
    summary: str
    reference: str

    @property
    def singly(self) -> bool:
        """Whether its usual result has a map for each picture, and not one part for all of them together."""
        return self.usual in MAPS

    @classmethod
    def of(
        cls, name: str, needs: Sequence[str], settings: Mapping[str, tuple[Any, Any]], usual: str, doc: str | None
    ) -> Self:
        """Put a signature together.

        Args:
            name: The function's name.
            needs: Names of its positional parameters.
            settings: Annotation and default of its keyword-only parameters, by name.
            usual: Name of the class of its usual result.
            doc: The docstring.

        Raises:
            TypeError: If a setting is of a kind that no command line could give.
        """
        text = inspect.cleandoc(doc or "")
        told = docstring_parser.parse(text)
        helps = {param.arg_name: " ".join((param.description or "").split()) for param in told.params}
        parameters = {
            key: parameter(key, hint, default, helps.get(key, "")) for key, (hint, default) in settings.items()
        }
        _, _, reference = text.partition("\nReference:")
        summary = told.short_description or ""
        return cls(name, tuple(needs), MappingProxyType(parameters), usual, summary, " ".join(reference.split()))


class Stamped(Protocol):
    """A result that can be told which method made it, with which settings."""

    def stamped(self, method: str, settings: Mapping[str, Any]) -> Self:
        """The result with its provenance completed."""
        ...


SHOWN = ("model", "images", "image", "data", "dataset", "pictures")
"""Needs that provenance holds in its own way: the network, and what it is shown."""

P = ParamSpec("P")
R = TypeVar("R", bound=Stamped)


class Method(Generic[P, R]):
    """A method: called like its function, with bounds checked first and provenance stamped on the result.

    Attributes:
        name: The function's name.
        needs: Names of the positional parameters: what the method has to be given.
        parameters: Its settings, by name.
        summary: First sentence of the docstring.
        reference: The paper.
        returns: What it returns.
        signature: All these in one, as it can be read without loading the method.
    """

    def __init__(self, function: Callable[P, R]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._called = inspect.signature(function)
        hints = typing.get_type_hints(function, include_extras=True)
        known = self._called.parameters.values()
        needs = [one.name for one in known if one.kind is not inspect.Parameter.KEYWORD_ONLY]
        settings = {one.name: (hints[one.name], one.default) for one in known if one.name not in needs}
        self.returns: Any = hints.get("return")
        self._network: Any = hints.get("model")
        usual = getattr((typing.get_args(self.returns) or (self.returns,))[0], "__name__", "")
        self.signature = Signature.of(function.__name__, needs, settings, usual, function.__doc__)
        self.name, self.needs = self.signature.name, self.signature.needs
        self.parameters: Mapping[str, Parameter] = self.signature.parameters
        self.summary, self.reference = self.signature.summary, self.signature.reference

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Check the settings, run, and stamp the result with the method's name and settings."""
        bound = self._bound(*args, **kwargs)
        check_network(bound.arguments.get("model"), self._network)
        settings = {name: one.check(bound.arguments[name]) for name, one in self.parameters.items()}
        bound.arguments.update(settings)
        asked = {name: bound.arguments[name] for name in self.needs if name not in SHOWN}
        with asking(asked):
            return self._function(*bound.args, **bound.kwargs).stamped(self.name, settings)

    def _bound(self, *args: P.args, **kwargs: P.kwargs) -> inspect.BoundArguments:
        try:
            bound = self._called.bind(*args, **kwargs)
        except TypeError as error:
            unknown = [name for name in kwargs if name not in self._called.parameters]
            offers = [f" Did you mean '{near}'?" for name in unknown for near in nearest(name, self.parameters, 1)]
            raise TypeError(f"{self.name}() {error}.{offers[0] if offers else ''}") from None
        bound.apply_defaults()
        return bound

    def __repr__(self) -> str:
        return f"<method {self.name}{self._called}>"


def check_network(given: object, expected: Any) -> None:
    """Refuse what is given in the place of a ``cnnviz.Model``: a bare network, a name, or anything else.

    Args:
        given: What was given.
        expected: The class of networks; anything that is no class accepts all.

    Raises:
        UsageError: If it is none.
    """
    if not isinstance(expected, type) or isinstance(given, expected):
        return
    if isinstance(given, str):
        raise UsageError(f"A network is given as a cnnviz.Model, not by name; cnnviz.load_model({given!r}) opens it.")
    kind = type(given).__name__
    if hasattr(given, "named_modules"):
        raise UsageError(
            f"'{kind}' is a bare network; give cnnviz.Model(network, mean=..., std=..., input_size=...), which knows "
            "how its inputs are made."
        )
    raise UsageError(f"model must be a cnnviz.Model, as cnnviz.load_model gives one; got {kind}.")


def method(function: Callable[P, R]) -> Method[P, R]:
    """Make a method of a function: positional parameters are its needs, keyword-only ones its settings."""
    return Method(function)
