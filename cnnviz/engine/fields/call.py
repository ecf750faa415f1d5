"""An operation that ran on tensors with footprints, as the rules are handed it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor

from cnnviz.engine.fields.footprint import Footprint

__all__ = ["LAYOUT", "Call", "FootprintRule", "RuleOutput", "tensors_in"]

LAYOUT = "its layout"


@dataclass(frozen=True)
class Call:
    """An operation that ran.

    Attributes:
        name: The operation's, without namespace and the mark of working in place.
        given: Its arguments by name, defaults included.
        outputs: The tensors that it returned.
        footprints: The footprints of its tensor arguments, by the tensor's identity.
    """

    name: str
    given: Mapping[str, Any]
    outputs: tuple[Tensor, ...]
    footprints: Mapping[int, Footprint]

    def of(self, argument: str) -> Footprint | None:
        """The footprint of an argument by name."""
        return self.footprints.get(id(self.given.get(argument)))

    @property
    def tracked(self) -> list[tuple[tuple[int, ...], Footprint]]:
        """Shape and footprint of every argument that has one."""
        return [
            (tuple(tensor.shape), self.footprints[id(tensor)])
            for tensor in tensors_in(self.given.values())
            if id(tensor) in self.footprints
        ]

    @property
    def source(self) -> Footprint:
        """The footprint of the first argument that has one."""
        return self.tracked[0][1]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the first output."""
        return tuple(self.outputs[0].shape)

    def dim(self, argument: str = "dim") -> int:
        """An argument that counts dimensions, from the front."""
        number, count = int(self.given[argument]), len(self.source.dims)
        return number % count if count else number


RuleOutput: TypeAlias = Footprint | list[Footprint | None]
FootprintRule: TypeAlias = Callable[[Call], RuleOutput]


def tensors_in(values: Any) -> Iterator[Tensor]:
    """The tensors among arguments, also those in lists."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(value)
