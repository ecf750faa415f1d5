"""What a method is: a typed function whose signature and docstring are its only description."""

from __future__ import annotations

import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, Literal, ParamSpec, Protocol, Self, TypeAlias, TypeVar

import annotated_types as bounds

from cnnviz.errors import ParameterError, UsageError, nearest
from cnnviz.lengths import Measured, PerAxis, is_truth, read_counts, read_lengths, whole_number
from cnnviz.provenance import asking

__all__ = [
    "MOST_SEED",
    "Method",
    "Network",
    "Parameter",
    "Seed",
    "check_network",
    "interruptible",
    "method",
    "parameter",
]

MOST_SEED = 10**18
"""What everything that draws at random can be seeded with."""

Seed: TypeAlias = typing.Annotated[int, bounds.Interval(ge=0, le=MOST_SEED)]
"""A setting that seeds what is drawn at random."""


@dataclass(frozen=True)
class Parameter:
    """One setting of a method.

    Attributes:
        name: Its name in the signature.
        kind: ``int``, ``float``, ``bool`` or ``str``; ``PerAxis`` or ``Measured`` of numbers along axes.
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
        if isinstance(converted, (int, float)) and self.kind is not bool and not self._within(converted):
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


def _real(value: Any) -> float:
    if is_truth(value) or not hasattr(value, "__float__"):
        raise TypeError
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return str(value)


CONVERSIONS: Mapping[type, Callable[[Any], Any]] = {
    bool: _truth,
    int: whole_number,
    float: _real,
    str: _text,
    PerAxis: read_counts,
    Measured: read_lengths,
}
SPOKEN: Mapping[type, str] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    PerAxis: PerAxis.spoken,
    Measured: Measured.spoken,
}


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
    if not _axis_kinds(metadata) and typing.get_origin(hint) in (types.UnionType, typing.Union):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        optional = len(options) < len(typing.get_args(hint))
        if len(options) != 1:
            raise TypeError(f"setting '{name}' has several types: {hint}")
        hint = options[0]
        if typing.get_origin(hint) is typing.Annotated:
            hint, *metadata = typing.get_args(hint)
    if along := _axis_kinds(metadata):
        return Parameter(name, along[0], default, text, (), optional, low=1)
    choices = tuple(typing.get_args(hint)) if typing.get_origin(hint) is Literal else ()
    kind = str if choices else hint
    if not isinstance(kind, type) or kind not in SPOKEN:
        raise TypeError(f"setting '{name}' has a type that no command line can give: {hint}")
    return Parameter(name, kind, default, text, choices, optional, **_limits(metadata))


def _axis_kinds(metadata: list[Any]) -> list[type[PerAxis]]:
    return [each for each in metadata if isinstance(each, type) and issubclass(each, PerAxis)]


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


P = ParamSpec("P")
T = TypeVar("T")


class Network:
    """What a method explains; ``cnnviz.Model`` is the one kind there is."""

    def spell_layer(self, layer: Any) -> Any:
        """The name of a part of the network; of a name itself."""
        return layer

    def intact(self, ask: Callable[[], T], *_others: Any) -> T:
        """Ask a question, of other networks too, after which they are as they were, also where it is interrupted."""
        return ask()


class Stamped(Protocol):
    """A result that can be told which method made it, with which settings."""

    def stamped(self, method: str, settings: Mapping[str, Any]) -> Self:
        """The result with its provenance completed."""
        ...


MAPS = ("Heatmaps", "Attributions")
"""Results with a map for each picture."""

SHOWN = ("model", "images", "image", "data", "dataset", "pictures")
"""Needs that provenance holds in its own way: the network, and what it is shown."""

R = TypeVar("R", bound=Stamped)


class Method(Generic[P, R]):
    """A method: called like its function, with bounds checked first and provenance stamped on the result.

    Its signature and docstring are read when they are asked for. Of the annotations only those of the settings are
    evaluated, so a method's module imports no torch: types that only annotate stand under ``TYPE_CHECKING``, and what
    computes is imported where it is called.

    Attributes:
        name: The function's name.
        needs: Names of the positional parameters: what the method has to be given.
        usual: Name of the class of its usual result.
    """

    def __init__(self, function: Callable[P, R]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._called = inspect.signature(function)
        known = self._called.parameters.values()
        self.name = function.__name__
        self.needs = tuple(one.name for one in known if one.kind is not inspect.Parameter.KEYWORD_ONLY)
        returned = self._called.return_annotation
        self.usual = str(getattr(returned, "__name__", returned)).partition(" | ")[0]

    @property
    def singly(self) -> bool:
        """Whether its usual result has a map for each picture, and not one part for all of them together."""
        return self.usual in MAPS

    @property
    def summary(self) -> str:
        """First sentence of the docstring."""
        return " ".join(inspect.cleandoc(self.__doc__ or "").partition("\n\n")[0].split())

    @property
    def reference(self) -> str:
        """The paper."""
        return " ".join(inspect.cleandoc(self.__doc__ or "").partition("\nReference:")[2].split())

    @functools.cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """Its settings, by name.

        Raises:
            TypeError: If a setting is of a kind that no command line could give.
        """
        import docstring_parser

        documented = docstring_parser.parse(inspect.cleandoc(self.__doc__ or "")).params
        helps = {each.arg_name: " ".join((each.description or "").split()) for each in documented}
        settings = [one for one in self._called.parameters.values() if one.name not in self.needs]
        return MappingProxyType(
            {one.name: parameter(one.name, self._hint(one), one.default, helps.get(one.name, "")) for one in settings}
        )

    def _hint(self, setting: inspect.Parameter) -> Any:
        """A setting's annotation, evaluated in the function's module."""
        hint = setting.annotation
        return eval(hint, self._function.__globals__) if isinstance(hint, str) else hint

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Check the settings, run, and stamp the result with the method's name and settings."""
        bound = self._bound(*args, **kwargs)
        if "model" in self.needs and self._called.parameters["model"].annotation == "Model":
            check_network(bound.arguments["model"])
        network = bound.arguments.get("model")
        settings = {
            name: one.check(_spell(name, bound.arguments[name], network)) for name, one in self.parameters.items()
        }
        bound.arguments.update(settings)
        asked = {name: bound.arguments[name] for name in self.needs if name not in SHOWN}

        def ask() -> R:
            with asking(asked):
                return self._function(*bound.args, **bound.kwargs).stamped(self.name, settings)

        first, *others = [each for each in bound.arguments.values() if isinstance(each, Network)] or [Network()]
        return first.intact(ask, *others)

    def _bound(self, *args: P.args, **kwargs: P.kwargs) -> inspect.BoundArguments:
        try:
            bound = self._called.bind(*args, **kwargs)
        except TypeError as error:
            unknown = [name for name in kwargs if name not in self._called.parameters]
            offers = [f" Did you mean '{near}'?" for name in unknown for near in nearest(name, self.parameters, 1)]
            raise TypeError(f"{self.name}() {error}.{offers[0] if offers else ''}") from None
        bound.apply_defaults()
        return bound

    def __get__(self, instance: object, owner: type | None = None) -> Self:
        """Itself: what has this is shown by ``help()`` as a function, with its signature, defaults and docstring."""
        return self

    def __repr__(self) -> str:
        return f"<method {self.name}{self._called}>"


def _spell(name: str, value: Any, network: Any) -> Any:
    """A setting's value as text, where a list, or a part of the network, says the same."""
    if name == "layer" and isinstance(network, Network):
        several = value if isinstance(value, (list, tuple)) else [value]
        spelt = [network.spell_layer(each) for each in several]
        if spelt and all(isinstance(each, str) for each in spelt):
            return ",".join(spelt)
    if name == "units" and not isinstance(value, str) and hasattr(value, "__iter__"):
        return ",".join(str(each) for each in value) or value
    return value


def check_network(given: object) -> None:
    """Refuse what is given in the place of a ``cnnviz.Model``: a bare network, a name, or anything else.

    Args:
        given: What was given.

    Raises:
        UsageError: If it is none.
    """
    if isinstance(given, Network):
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


def interruptible(function: Callable[P, T]) -> Callable[P, T]:
    """Of a function that asks networks, its first argument: one that leaves them as they were, come what may."""

    @functools.wraps(function)
    def ask(*args: P.args, **kwargs: P.kwargs) -> T:
        given = args[0] if args else kwargs.get("model")
        several = given if isinstance(given, (list, tuple)) else [given]
        first, *others = [each for each in several if isinstance(each, Network)] or [Network()]
        return first.intact(lambda: function(*args, **kwargs), *others)

    return ask


def method(function: Callable[P, R]) -> Method[P, R]:
    """Make a method of a function: positional parameters are its needs, keyword-only ones its settings."""
    return Method(function)
