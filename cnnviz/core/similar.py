"""Likeness to another picture: targets that are cosines between embeddings."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnviz.core.target import Target
from cnnviz.errors import TargetError, quoted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "PAIR",
    "Reference",
    "Similar",
    "SimilarPair",
    "named_files",
    "names_pictures",
    "parse_similar",
    "record_references",
    "restore_references",
]

MARK, PAIR = "similar:", "similar:pair"
BETWEEN = re.compile(rf"\s+(?:-|vs\.?)\s+(?={MARK})")
SIDES, MOST_SPELT = 2, 60
FORMS = "'similar:FILE', 'similar:FILE - similar:FILE' or, of two pictures, 'similar:pair'"


@dataclass(frozen=True)
class Reference:
    """A picture that others are compared with, once the network has answered; equal where its pixels are.

    Attributes:
        name: The picture's name.
        sha256: Of its pixels.
        vector: ``(M,)`` float64, its embedding at length 1; it stays the same however the explained picture is changed.
        tensor: Whether it was given as a tensor, so that no picture of it can be found again.
    """

    name: str
    sha256: str
    vector: NDArray[np.float64] = field(repr=False, compare=False)
    tensor: bool = False

    def describe(self) -> dict[str, str]:
        """Name and hash, as a record has them."""
        return {"name": self.name, "sha256": self.sha256, **({"kind": "tensor"} if self.tensor else {})}


@dataclass(frozen=True, eq=False)
class Similar(Target):
    """The cosine between a picture's embedding and another's: what makes the one similar to the other.

    The embedding is the network's output, or that of the layer ``Model(..., embedding=LAYER)`` names.

    Attributes:
        picture: The other picture: a path, a PIL image, an array, a Picture or a float tensor ``(C, H, W)``.
        rather_than: A third, whose cosine is subtracted: why that one rather than this.
        layer: The layer whose output is the embedding, once the network is known; None for the network's output.
        references: The other pictures' embeddings, once the network has answered.
    """

    picture: Any = field(repr=False)
    rather_than: Any = field(default=None, repr=False)
    layer: str | None = field(default=None, kw_only=True)
    references: tuple[Reference, ...] = field(default=(), kw_only=True)

    @property
    def sides(self) -> tuple[Any, ...]:
        """The other picture, and the third if there is one."""
        return (self.picture,) if self.rather_than is None else (self.picture, self.rather_than)

    @property
    def names(self) -> tuple[str, ...]:
        """What the sides are called."""
        return tuple(each.name for each in self.references) or tuple(map(_name_side, self.sides))

    @property
    def measure(self) -> str:
        """What its score is, in words."""
        return "cosine" if self.rather_than is None else "difference of cosines"

    @property
    def recorded(self) -> str:
        """What a record says of it: the words, and not the pixels nor the folders."""
        return " - ".join(f"{MARK}{'./' if f'{MARK}{name}' == PAIR else ''}{name}" for name in self.names)

    def __str__(self) -> str:
        return f"similar to {self.names[0]}" if self.rather_than is None else " rather than ".join(self.names)

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Similar) and bool(self.references) and self._settled == other._settled
        return self is other or same

    def __hash__(self) -> int:
        return hash(self._settled) if self.references else id(self)

    @property
    def _settled(self) -> tuple[object, ...]:
        return self.layer, self.references


@dataclass(frozen=True)
class SimilarPair(Target):
    """Of two pictures each explained towards the other: what makes them similar."""

    recorded = PAIR

    def __str__(self) -> str:
        return PAIR


def parse_similar(text: str) -> Target | None:
    """``"similar:FILE"``, ``"similar:A - similar:B"`` or ``"similar:pair"`` as a target; None for any other text.

    Raises:
        TargetError: If there are more than two files, or none.
    """
    if not text.startswith(MARK):
        return None
    if text == PAIR:
        return SimilarPair()
    files = named_files(text)
    if len(files) > SIDES or not all(files) or PAIR.removeprefix(MARK) in files:
        raise TargetError(f"'{text}' names no picture to be similar to; expected {FORMS}.")
    return Similar(*files)


def record_references(asked: Mapping[str, Any], targets: Sequence[Target]) -> dict[str, Any]:
    """What was asked, with name and hash of each picture that its targets are compared with, in their order.

    Args:
        asked: As a record has it, the target as words or as a list of them, one an image.
        targets: For each image its target.
    """
    named = asked.get("target")
    several = list(named) if isinstance(named, (list, tuple)) else [named]
    likened = {
        row: target
        for row, (words, target) in enumerate(zip(several, targets, strict=False))
        if isinstance(target, Similar) and words != PAIR
    }
    if not likened or named is None:
        return dict(asked)
    spelt = [likened[row].recorded if row in likened else words for row, words in enumerate(several)]
    found = [reference.describe() for target in likened.values() for reference in target.references]
    return {**asked, "target": spelt if isinstance(named, (list, tuple)) else spelt[0], "references": found}


def named_files(text: str) -> list[str]:
    """The files that a text names as pictures to be similar to."""
    found = BETWEEN.split(text.strip()) if names_pictures(text.strip()) else []
    return [each.removeprefix(MARK).strip() for each in found]


def names_pictures(target: Any) -> bool:
    """Whether what a record holds as a target names pictures to be similar to."""
    return isinstance(target, str) and target.startswith(MARK) and target != PAIR


def restore_references(asked: Mapping[str, Any], pictures: Sequence[Any]) -> dict[str, Any]:
    """What a record asked with the pictures themselves in the places where its targets name them.

    Args:
        asked: As :func:`record_references` gives it.
        pictures: Those of the references, in their order.

    Raises:
        TargetError: If the targets name others, or another number of them.
    """
    left = deque(zip(asked.get("references", ()), pictures, strict=True))

    def restore(words: Any) -> Any:
        if not names_pictures(words):
            return words
        sides = [Path(each).name for each in named_files(words)]
        some = [left.popleft() for _ in sides[: len(left)]]
        if len(sides) > SIDES or [Path(named["name"]).name for named, _ in some] != sides:
            raise TargetError(f"the references are not those of the target {quoted(words[:MOST_SPELT])}")
        return Similar(*(picture for _, picture in some))

    named = asked.get("target")
    found = [restore(each) for each in named] if isinstance(named, list) else restore(named)
    if left:
        raise TargetError(f"there are {len(left)} more references than its targets name")
    return {**{key: each for key, each in asked.items() if key != "references"}, "target": found}


def _name_side(side: Any) -> str:
    if isinstance(side, (str, os.PathLike)):
        return Path(os.fsdecode(side)).name
    return str(getattr(side, "name", None) or "a picture")
