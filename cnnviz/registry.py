"""What a method is: a typed function whose signature and docstring are its only description."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, Generic, ParamSpec, Protocol, Self, TypeVar

from cnnviz.parameters import Parameter
from cnnviz.provenance import asking
from cnnviz.signature import Signature

__all__ = ["Method", "method"]


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
        usual = getattr((typing.get_args(self.returns) or (self.returns,))[0], "__name__", "")
        self.signature = Signature.of(function.__name__, needs, settings, usual, function.__doc__)
        self.name, self.needs = self.signature.name, self.signature.needs
        self.parameters: Mapping[str, Parameter] = self.signature.parameters
        self.summary, self.reference = self.signature.summary, self.signature.reference

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Check the settings, run, and stamp the result with the method's name and settings."""
        bound = self._called.bind(*args, **kwargs)
        bound.apply_defaults()
        settings = {name: one.check(bound.arguments[name]) for name, one in self.parameters.items()}
        bound.arguments.update(settings)
        asked = {name: bound.arguments[name] for name in self.needs if name not in SHOWN}
        with asking(asked):
            return self._function(*bound.args, **bound.kwargs).stamped(self.name, settings)

    def __repr__(self) -> str:
        return f"<method {self.name}{self._called}>"


def method(function: Callable[P, R]) -> Method[P, R]:
    """Make a method of a function: positional parameters are its needs, keyword-only ones its settings."""
    return Method(function)
