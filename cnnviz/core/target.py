"""Targets: what is explained."""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from cnnviz.core.layer import is_layer_name
from cnnviz.core.untrusted import NUMBER, open_ordinary
from cnnviz.errors import TargetError, UnknownNameError, nearest

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "ClassSum",
    "ClassTarget",
    "CustomTarget",
    "Difference",
    "Finer",
    "NoTarget",
    "Target",
    "TargetLike",
    "TopClass",
    "Unit",
    "parse_target",
    "Direction",
    "WholeLayer",
    "parse_aim",
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
            (the sum of the logits whose labels match), a unit ``"layer4:17"`` or ``"layer4:17@3,3"``, a callable, or a
            target.
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
    found = found or _find_contrast(text, labels) or _find_matching(text, labels)
    if found is None:
        raise _unknown_label(text, labels)
    return found


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


EVERYTHING, VECTOR = ":*", ".npy"
LARGEST_VECTOR = 1 << 26
"""Bytes of a file with a number for each channel: more than any layer has."""


@dataclass(frozen=True)
class WholeLayer(Target):
    """All of a layer: the mean of its squared activations, which amplifies whatever it sees (DeepDream).

    Attributes:
        layer: The layer's name.
    """

    layer: str

    def __str__(self) -> str:
        return f"{self.layer}{EVERYTHING}"


@dataclass(frozen=True)
class Direction(Target):
    """A direction in a layer's space of channels: the mean over all places of its product with the activation.

    Attributes:
        layer: The layer's name.
        vector: A number for each channel, not all zero; its length does not matter.
        name: What to call it in captions and files.

    Raises:
        TargetError: If the vector is empty, zero or not finite.
    """

    layer: str
    vector: tuple[float, ...]
    name: str = "direction"

    def __post_init__(self) -> None:
        import numpy as np

        numbers = np.asarray(self.vector, dtype=np.float64)
        if numbers.ndim != 1 or not np.isfinite(numbers).all() or not numbers.any():
            raise TargetError("A direction is one finite number for each channel, not all of them zero.")
        object.__setattr__(self, "vector", tuple(numbers.tolist()))

    def __str__(self) -> str:
        return f"{self.layer}:{self.name}"


def parse_aim(like: Any, labels: Sequence[str] | None = None, layers: Iterable[str] = ()) -> Target:
    """A target from what a user writes, for a picture that is to be made.

    Args:
        like: What :func:`cnnviz.core.target.parse_target` takes, ``"layer4:*"`` (a whole layer), or
            ``"layer4:FILE.npy"`` (a direction: an array with a number for each channel).
        labels: The network's class names.
        layers: Names of the network's layers.

    Raises:
        TargetError: If it is none of these, or the file holds no such array.
        UnknownNameError: If no label or layer is called so; the message offers the nearest names.
    """
    text = like.strip() if isinstance(like, str) else ""
    if text.endswith(EVERYTHING):
        return WholeLayer(_check_layer(text.removesuffix(EVERYTHING), layers))
    layer, mark, file = text.partition(":")
    if mark and file.endswith(VECTOR):
        return Direction(_check_layer(layer, layers), _read_vector(file), Path(file).stem)
    found = parse_target(like, labels, layers)
    if isinstance(found, (WholeLayer, Direction)):
        _check_layer(found.layer, layers)
    return found


def _check_layer(layer: str, layers: Iterable[str]) -> str:
    names = list(layers)
    if not is_layer_name(layer, names):
        raise UnknownNameError("layer", layer, names, "'cnnviz layers' lists them all.")
    return layer


def _read_vector(file: str) -> tuple[float, ...]:
    import numpy as np

    damaged = TargetError(f"'{file}' cannot be read; expected an .npy file with a number for each channel.")
    try:
        with open_ordinary(file) as held:
            small = os.fstat(held.fileno()).st_size <= LARGEST_VECTOR
            found = np.lib.format.read_array(held, allow_pickle=False) if small else np.array(None)
    except Exception:  # noqa: BLE001 - what reads a damaged header can raise anything
        raise damaged from None
    if found.dtype.kind not in "biuf":
        raise damaged
    return tuple(found.astype(np.float64).reshape(-1).tolist())
