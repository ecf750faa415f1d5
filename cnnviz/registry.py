"""What a method is: a typed function whose signature and docstring are its only description."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, Generic, ParamSpec, Protocol, Self, TypeVar

from cnnviz.errors import UsageError, nearest
from cnnviz.parameters import Parameter
from cnnviz.provenance import asking
from cnnviz.signature import Signature

__all__ = ["Method", "check_network", "method"]


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
