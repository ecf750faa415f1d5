"""Heads: what the numbers of a network's output mean."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias, get_args

from cnnviz.errors import ParameterError, nearest

__all__ = ["Head", "HeadKind", "HeadLike", "parse_head"]

HeadKind: TypeAlias = Literal["softmax", "sigmoid", "binary", "probabilities", "value"]
End: TypeAlias = Literal["", "softmax", "sigmoid"]


@dataclass(frozen=True)
class Head:
    """What the numbers ``(N, K)`` of a network's output mean.

    Attributes:
        kind: ``"softmax"``: logits of classes that exclude each other; ``"sigmoid"``: logits of labels that do not;
            ``"binary"``: one logit, of the second of two classes; ``"probabilities"``: numbers in [0, 1] already;
            ``"value"``: quantities, as a regression gives them.
        unit: Of values.
        end: The function at the network's end that was taken off, so that the numbers are the logits before it.
        notes: What was recognised or assumed, for every result.
        assumed: What was assumed of an ordinary output, for results that are about probabilities.
    """

    kind: HeadKind = "softmax"
    unit: str = ""
    end: End = ""
    notes: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()

    @cached_property
    def exclusive(self) -> bool:
        """Whether exactly one of the classes is right, so that probabilities of several add up."""
        return self.kind in ("softmax", "binary")

    @cached_property
    def probable(self) -> bool:
        """Whether a class has a probability."""
        return self.kind != "value"

    @cached_property
    def multilabel(self) -> bool:
        """Whether the classes are labels of which several can be right."""
        return self.kind == "sigmoid"

    def __str__(self) -> str:
        return f"{self.kind}:{self.unit}" if self.unit else self.kind


HeadLike: TypeAlias = Head | str | None


def parse_head(like: Any) -> Head | None:
    """A head from what a user writes; None is left to be recognised.

    Args:
        like: A kind, ``"value:UNIT"``, a head, or None.

    Raises:
        ParameterError: If it is none of these.
    """
    if like is None or isinstance(like, Head):
        return like
    kind, _, unit = like.partition(":") if isinstance(like, str) else ("", "", "")
    for known in get_args(HeadKind):
        if kind == known and (known == "value" or not unit):
            return Head(known, unit.strip())
    offer = nearest(str(like), get_args(HeadKind), 1)
    hint = f" (did you mean '{offer[0]}'?)" if offer else ""
    kinds = ", ".join(get_args(HeadKind)[:-1])
    raise ParameterError(f"head must be one of {kinds}, value or value:UNIT; got {like!r}{hint}.")
