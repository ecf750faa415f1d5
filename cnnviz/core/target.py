"""Targets: what is explained."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from cnnviz.core.layer import is_layer_name
from cnnviz.core.picture import Geometry, Picture
from cnnviz.core.region import FORMS, Mask, Region, split_region
from cnnviz.core.untrusted import NUMBER
from cnnviz.errors import TargetError, UnknownNameError, nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = [
    "ClassSum",
    "ClassTarget",
    "CustomTarget",
    "Difference",
    "Finer",
    "NoTarget",
    "RegionTarget",
    "Target",
    "TargetLike",
    "TopClass",
    "Unit",
    "class_index",
    "dense_target",
    "parse_target",
]


@dataclass(frozen=True, eq=False)
class Target:
    """What is explained; ``str(target)`` is how captions and provenance name it.

    Targets that are equal are asked as one, so this class compares nothing: a kind of target says itself what makes
    two of it equal, and is otherwise equal to itself only.
    """


@dataclass(frozen=True)
class TopClass(Target):
    """The class that the network puts first, for each image its own."""

    spelt: ClassVar[str] = "top"

    def __str__(self) -> str:
        return "top class"


@dataclass(frozen=True)
class NoTarget(Target):
    """Nothing in particular: what methods without a target explain."""

    def __str__(self) -> str:
        return "no target"


@dataclass(frozen=True)
class ClassTarget(Target):
    """The logit of one class."""

    index: int
    label: str | None = None

    @property
    def spelt(self) -> str:
        """How it is asked for."""
        return self.label if self.label is not None else str(self.index)

    def __str__(self) -> str:
        return self.label if self.label is not None else f"class {self.index}"


@dataclass(frozen=True)
class ClassSum(Target):
    """The sum of the logits of several classes: those whose labels match a pattern such as ``"*cat"``.

    Attributes:
        pattern: As the user wrote it.
        classes: The classes.
    """

    pattern: str
    classes: tuple[ClassTarget, ...]

    def __str__(self) -> str:
        named = " + ".join(map(str, self.classes[:NAMED_CLASSES]))
        more = len(self.classes) - NAMED_CLASSES
        return f"{self.pattern} ({named}{f' + {more} more' if more > 0 else ''})"

    def explain(self) -> str:
        """What is explained, all classes named."""
        return f"'{self.pattern}' is the sum of {len(self.classes)} logits: {', '.join(map(str, self.classes))}"


@dataclass(frozen=True)
class Difference(Target):
    """The logit of one class minus that of another: why this rather than that."""

    first: ClassTarget
    second: ClassTarget

    def __str__(self) -> str:
        return f"{self.first} - {self.second}"


@dataclass(frozen=True)
class Finer(Target):
    """What tells a class from the classes nearest to it, as Finer-CAM contrasts them.

    The logit of the class minus ``strength`` times the mean logit of the ``rivals`` classes whose logits are nearest to
    its own. Reference: Zhang et al., Finer-CAM: Spotting the Difference Reveals Finer Details for Visual Explanation,
    CVPR 2025.

    Attributes:
        first: The class.
        strength: How much the others count.
        rivals: How many others.
        others: Their indices, once the network has answered; they stay the same however the picture is changed then.
    """

    first: ClassTarget | TopClass
    strength: float = 0.6
    rivals: int = 3
    others: tuple[int, ...] | None = None

    def __str__(self) -> str:
        return f"{self.first} vs similar"


@dataclass(frozen=True)
class Unit(Target):
    """One channel of a layer: its mean over all places, or its value at one place (row, column).

    Attributes:
        layer: The layer's name.
        channel: Counted from 0.
        place: Row and column, or None for the mean.
        mirrored: Whether columns are counted from the right, as on a mirrored picture.
    """

    layer: str
    channel: int
    place: tuple[int, int] | None = None
    mirrored: bool = False

    def __str__(self) -> str:
        return f"{self.layer}:{self.channel}" + (f"@{self.place[0]},{self.place[1]}" if self.place else "")


@dataclass(frozen=True, eq=False)
class CustomTarget(Target):
    """Any function from logits ``(N, K)`` to scores ``(N,)``; equal to itself only, so it need not be hashable."""

    function: Callable[[Tensor], Tensor]

    def __str__(self) -> str:
        return str(getattr(self.function, "__name__", type(self.function).__name__))


@dataclass(frozen=True)
class RegionTarget(Target):
    """Logits of classes summed over pixels of a dense answer, which are held fixed however the picture is changed.

    Reference: Vinogradova, Dibrov and Myers, Towards Interpretable Semantic Segmentation via Gradient-weighted Class
    Activation Mapping, AAAI 2020 (Seg-Grad-CAM).

    Attributes:
        side: The class, several, or the top class, until the network has answered.
        rival: A class whose logits are subtracted, or None.
        region: The part of the picture that was named; None where it is the pixels that the classes win.
        seen: The region on the network's input, once its picture is known.
        mask: The pixels on the answer's grid, once the network has answered.
    """

    side: ClassTarget | ClassSum | TopClass
    rival: ClassTarget | None = None
    region: Region | None = None
    seen: Mask | None = None
    mask: Mask | None = None

    @property
    def classes(self) -> tuple[ClassTarget, ...]:
        """The classes that are summed; none before the top class is known."""
        if isinstance(self.side, ClassSum):
            return self.side.classes
        return (self.side,) if isinstance(self.side, ClassTarget) else ()

    @property
    def recorded(self) -> str:
        """What a record says of it, by which it can be asked again: the words, and not the pixels."""
        side = self.side.pattern if isinstance(self.side, ClassSum) else self.side.spelt
        rival = f" - {self.rival.spelt}" if self.rival else ""
        return f"{side}{rival}{self.region.text if self.region else ''}"

    @property
    def count(self) -> int:
        """How many pixels of the answer are meant."""
        return 0 if self.mask is None else int(self.mask.array().sum())

    def placed(self, picture: Picture, read: Callable[[str], NDArray[np.bool_]]) -> RegionTarget:
        """The same with its region, if any, on the input of a picture; ``read`` is from a mask's file to pixels."""
        if self.region is None or self.seen is not None:
            return self
        return replace(self, seen=self.region.on_input(picture.geometry or Geometry.whole(*picture.size), read))

    def mirrored(self) -> RegionTarget:
        """The same on the mirrored picture."""
        seen, mask = (None if each is None else each.mirrored() for each in (self.seen, self.mask))
        return replace(self, seen=seen, mask=mask)

    def __str__(self) -> str:
        rival = f" - {self.rival}" if self.rival else ""
        return f"{self.side}{rival}{self.region.text if self.region else ''}"

    def explain(self, *, values: bool = False) -> str:
        """What is explained, in words; of a network that gives values, and no classes, if ``values``."""
        what = f"{'values' if values else 'logits'} of {' and '.join(map(str, self.classes))}"
        what += f" less those of {self.rival}" if self.rival else ""
        won = "all pixels" if values else "the pixels where it wins"
        where = won if self.region is None else "the pixels of the region"
        return f"{self}: {what}, summed over {where}, which are held fixed (probabilities: their mean)"


TargetLike: TypeAlias = Target | int | str | Callable[[Any], Any] | Sequence[Any] | None

UNIT = re.compile(rf"(?P<layer>.+):(?P<channel>{NUMBER})(@(?P<row>{NUMBER}),\s*(?P<column>{NUMBER}))?")
INDEX = re.compile(rf"-?{NUMBER}")
VERSUS = re.compile(r" - | vs\.? ")
NAMED_CLASSES, OFFERED, MOST_MARKS = 3, 6, 64
"""Classes that a caption names of a sum, labels that a message offers, and ``-`` in a text that may be between two."""


def parse_target(like: Any, labels: Sequence[str] | None = None, layers: Iterable[str] = ()) -> Target:
    """A target from what a user writes.

    Args:
        like: None or ``"top"`` (the top class), a class index, a whole label (or one of its synonyms between commas),
            ``"a - b"`` or ``"a vs b"``, ``"a vs similar"`` and ``"top vs similar"`` (Finer-CAM), a pattern ``"*cat"``
            (the sum of the logits whose labels match), a unit ``"layer4:17"`` or ``"layer4:17@3,3"``, a region of a
            dense answer (``"cat@120,80"``, ``"cat in 10,20,200,180"``, ``"cat in mask.png"``, in the picture's pixels:
            x and y, or left, top, right and bottom), a callable, or a target.
        labels: The network's class names.
        layers: Names of the network's layers, for units.

    Raises:
        TargetError: If it is none of these, or names several classes.
        UnknownNameError: If no label or layer is called so; the message offers the nearest names.
    """
    if like is None:
        return TopClass()
    if isinstance(like, Target):
        return like
    if isinstance(like, str):
        return _parse_text(like.strip(), labels or (), layers)
    if callable(like) and not hasattr(like, "__index__"):
        return CustomTarget(like)
    return _check_class(_parse_index(like), labels or ())


def _parse_index(like: Any) -> int:
    truth = isinstance(like, bool) or "bool" in str(getattr(like, "dtype", ""))
    if not truth and hasattr(like, "__index__"):
        with suppress(TypeError):
            return operator.index(like)
    raise TargetError(
        "A target is None, a class index, a label, 'a - b', a unit such as 'layer4:17', or a function of the logits; "
        f"not {like!r}."
    )


def _parse_text(text: str, labels: Sequence[str], layers: Iterable[str]) -> Target:
    if text in ("", "top") and text not in labels:
        return TopClass()
    found: Target | None = _find_label(text, labels)
    if found is None and INDEX.fullmatch(text):
        found = _check_class(int(text), labels)
    if found is None and (unit := UNIT.fullmatch(text)):
        found = _parse_unit(unit, layers)
    found = found or _find_region(text, labels) or _find_contrast(text, labels) or _find_matching(text, labels)
    if found is None:
        raise _unknown_label(text, labels)
    return found


def _find_region(text: str, labels: Sequence[str]) -> Target | None:
    """A class, a pattern or the top class in a region of the picture."""
    split = split_region(text)
    if split is None:
        return None
    side = _parse_text(split[0].strip(), labels, ())
    if not isinstance(side, (ClassTarget, ClassSum, TopClass)):
        raise TargetError(f"'{split[0].strip()}' is no class that can be asked about in a region; expected {FORMS}.")
    return RegionTarget(side, region=split[1])


def _find_contrast(text: str, labels: Sequence[str]) -> Target | None:
    refused: TargetError | UnknownNameError | None = None
    for mark in islice(VERSUS.finditer(text), MOST_MARKS):
        try:
            found = _parse_contrast(text[: mark.start()].strip(), text[mark.end() :].strip(), labels)
        except (TargetError, UnknownNameError) as error:
            refused = refused or error
            continue
        if found is not None:
            return found
    if refused is not None:
        raise refused
    return None


def _parse_contrast(first: str, second: str, labels: Sequence[str]) -> Target | None:
    if second == "similar" and "similar" not in labels:
        return _parse_finer(first, labels)
    one, other = (_parse_side(side, labels) for side in (first, second))
    if one is None and other is None:
        return None
    if one is None or other is None:
        raise _unknown_label(first if one is None else second, labels)
    return Difference(one, other)


def _parse_finer(text: str, labels: Sequence[str]) -> Finer:
    chosen = TopClass() if text == "top" and text not in labels else _parse_side(text, labels)
    if chosen is None:
        raise _unknown_label(text, labels)
    return Finer(chosen)


def _parse_side(text: str, labels: Sequence[str]) -> ClassTarget | None:
    if re.fullmatch(NUMBER, text) and text not in labels:
        return _check_class(int(text), labels)
    return _find_label(text, labels)


def _check_class(index: int, labels: Sequence[str]) -> ClassTarget:
    if index < 0 or (labels and index >= len(labels)):
        upper = f"0 to {len(labels) - 1}" if labels else "0 upwards"
        raise TargetError(f"There is no class {index}; this network's classes are {upper}.")
    return ClassTarget(index, labels[index] if labels else None)


def _find_label(text: str, labels: Sequence[str]) -> ClassTarget | None:
    """The class whose whole label this is, else the one of which it is a synonym between commas."""
    low = text.casefold()
    hits = [index for index, label in enumerate(labels) if label == text]
    hits = hits or [index for index, label in enumerate(labels) if label.casefold() == low]
    hits = hits or [index for index, label in enumerate(labels) if low in _split_synonyms(label)]
    if len(hits) > 1:
        offers = ", ".join(f"{labels[index]} ({index})" for index in hits[:OFFERED])
        more = ", ..." if len(hits) > OFFERED else ""
        raise TargetError(f"'{text}' names {len(hits)} classes: {offers}{more}; give the whole label, or the index.")
    return ClassTarget(hits[0], labels[hits[0]]) if hits else None


def _split_synonyms(label: str) -> list[str]:
    return [part.strip() for part in label.casefold().split(",")] if "," in label else []


def _find_matching(text: str, labels: Sequence[str]) -> Target | None:
    """The classes whose label, or a synonym of it, matches a pattern in which ``*`` stands for anything."""
    if "*" not in text:
        return None
    parts = text.casefold().split("*")
    spelt = [[label.casefold(), *_split_synonyms(label)] for label in labels]
    hits = [index for index, names in enumerate(spelt) if any(_fits_pattern(name, parts) for name in names)]
    if not hits and labels:
        raise TargetError(f"No label matches '{text}'; a pattern stands alone, and * in it is for anything.")
    classes = tuple(ClassTarget(index, labels[index]) for index in hits)
    return ClassSum(text, classes) if len(classes) > 1 else next(iter(classes), None)


def _fits_pattern(name: str, parts: Sequence[str]) -> bool:
    """Whether a name is these parts in turn with anything between them; each is looked for once, after the last."""
    first, *middle, last = parts
    if len(name) < len(first) + len(last) or not (name.startswith(first) and name.endswith(last)):
        return False
    place, end = len(first), len(name) - len(last)
    for part in middle:
        found = name.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True


def _parse_unit(match: re.Match[str], layers: Iterable[str]) -> Unit:
    names = list(layers)
    layer = match["layer"]
    if not is_layer_name(layer, names):
        raise UnknownNameError("layer", layer, names, "'cnnviz layers' lists them all.")
    place = (int(match["row"]), int(match["column"])) if match["row"] else None
    return Unit(layer, int(match["channel"]), place)


def _unknown_label(text: str, labels: Sequence[str]) -> TargetError | UnknownNameError:
    if not labels:
        return TargetError(f"This network has no labels, so '{text}' names no class; give an index, or labels.")
    offers = _labels_with(text, labels) or nearest(text, labels)
    offers = offers or [label for label in labels if any(nearest(text, [word], 1) for word in label.split())]
    hint = "A label is given whole"
    if pattern := _offer_pattern(text, labels):
        hint += f"; '{pattern}' is the sum of all that match"
    return UnknownNameError("label", text, offers, f"{hint}.", most=OFFERED)


def _labels_with(text: str, labels: Sequence[str]) -> list[str]:
    """The labels in which a text stands as a word of its own, then those that hold it within a word."""
    low = text.casefold()
    word = re.compile(rf"(?<!\w){re.escape(low)}(?!\w)")
    own = [label for label in labels if word.search(label.casefold())]
    return [*own, *(label for label in labels if len(low) > 1 and low in label.casefold() and label not in own)]


def _offer_pattern(text: str, labels: Sequence[str]) -> str | None:
    """A pattern that the labels match which end, or begin, with a text; None if not at least two do."""
    low = text.casefold()
    ending = sum(label.casefold().endswith(f" {low}") for label in labels)
    beginning = sum(label.casefold().startswith(low) for label in labels)
    if ending > 1:
        return f"* {text}"
    return f"{text}*" if beginning > 1 else None


def dense_target(target: Target) -> Target:
    """What a target of whole pictures means of a dense answer: the same, summed over the pixels that its class wins."""
    if isinstance(target, (ClassTarget, ClassSum, TopClass)):
        return RegionTarget(target)
    return RegionTarget(target.first, target.second) if isinstance(target, Difference) else target


def class_index(target: Target) -> int | None:
    """The index of the one class that a target is about, or None."""
    if isinstance(target, RegionTarget) and target.rival is None:
        target = target.side
    return target.index if isinstance(target, ClassTarget) else None
