"""What a method is called, what it takes and gives, and what it says of itself."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

import docstring_parser

from cnnviz.parameters import Parameter, parameter

__all__ = ["Signature"]

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
