"""parse_target: a target from what a user writes."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from cnnviz.core.layer import is_layer_name
from cnnviz.core.region import FORMS, seems_region, split_region
from cnnviz.core.similar import parse_similar
from cnnviz.core.target import (
    ClassSum,
    ClassTarget,
    CustomTarget,
    DetectionTarget,
    Difference,
    Finer,
    RegionTarget,
    Target,
    TopClass,
    Unit,
    named_class,
)
from cnnviz.core.untrusted import NUMBER
from cnnviz.errors import TargetError, UnknownNameError, nearest

__all__ = ["parse_target"]

UNIT = re.compile(rf"(?P<layer>.+):(?P<channel>{NUMBER})(@(?P<place>{NUMBER}(,\s*{NUMBER}){{0,2}}))?")
DETECTION = re.compile(rf"(?P<side>.*?)\s*#(?P<number>{NUMBER})", re.DOTALL)
INDEX = re.compile(rf"-?{NUMBER}")
VERSUS = re.compile(r" - | vs\.? ")
POINT = "point "
OFFERED, MOST_MARKS = 6, 64
"""Labels that a message offers, and ``-`` in a text that may be between two."""


def parse_target(like: Any, labels: Sequence[str] | None = None, layers: Iterable[str] = ()) -> Target:
    """A target from what a user writes.

    Args:
        like: None or ``"top"`` (the top class), a class index, a whole label (or one of its synonyms between commas),
            ``"a - b"`` or ``"a vs b"``, ``"a vs similar"`` and ``"top vs similar"`` (Finer-CAM), a pattern ``"*cat"``
            (the sum of the logits whose labels match), a unit ``"layer4:17"`` or ``"layer4:17@3,3"``, a region of a
            dense answer (``"cat@120,80"``, ``"cat in 10,20,200,180"``, ``"cat in mask.png"``, in the picture's pixels:
            x and y, or left, top, right and bottom), a detector's box (``"cat #1"``, ``"#2"``, the surest first), the
            peak of a heat map (``"point 3"``, ``"point nose"``), the cosine to another picture's embedding
            (``"similar:FILE"``, ``"similar:A - similar:B"``, of two pictures ``"similar:pair"``), a callable, or a
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
        return _parse_text(like.strip(), labels or (), tuple(layers))
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


def _parse_text(text: str, labels: Sequence[str], layers: Sequence[str]) -> Target:
    if text in ("", "top") and text not in labels:
        return TopClass()
    found: Target | None = _find_label(text, labels)
    if found is None and INDEX.fullmatch(text):
        found = _check_class(int(text), labels)
    unit = UNIT.fullmatch(text)
    if found is None and not (unit and unit["layer"] in layers):
        found = parse_similar(text)
    if found is None and unit:
        found = _find_labelled_region(unit["layer"], text, labels, layers) or _parse_unit(unit, layers)
    found = (
        found
        or _find_point(text, labels)
        or _find_detection(text, labels)
        or _find_region(text, labels)
        or _find_contrast(text, labels)
        or _find_matching(text, labels)
    )
    if found is None:
        raise _malformed_region(text, labels) or _unknown_label(text, labels)
    return found


def _find_point(text: str, labels: Sequence[str]) -> Target | None:
    """The peak of the heat map of a point, which is named or counted from 0."""
    side = _parse_side(text.removeprefix(POINT).strip(), labels) if text.startswith(POINT) else None
    return None if side is None else RegionTarget(side, peak=True)


def _find_labelled_region(layer: str, text: str, labels: Sequence[str], layers: Iterable[str]) -> Target | None:
    """A region of a label that looks like a unit, ``"tissue:1@4,5"``, where there is no such layer."""
    split = None if is_layer_name(layer, list(layers)) else split_region(text)
    return _find_region(text, labels) if split is not None and _find_label(split[0].strip(), labels) else None


def _malformed_region(text: str, labels: Sequence[str]) -> TargetError | None:
    """The error for a class with something after it that is no region, such as ``"cat@4.5,3"``."""
    side = seems_region(text)
    if side is None or not (side == "top" or _parse_side(side, labels)):
        return None
    return TargetError(f"'{text}' names no region of '{side}' that can be read; expected {FORMS}.")


def _find_detection(text: str, labels: Sequence[str]) -> Target | None:
    """One box of a class, or of any class."""
    split = DETECTION.fullmatch(text)
    if split is None:
        return None
    side, number = _parse_text(split["side"], labels, ()), int(split["number"])
    if not isinstance(side, (ClassTarget, TopClass)) or number < 1:
        raise TargetError(f"'{text}' is not a detection; expected a class and its number, such as 'LABEL #1', or '#1'.")
    return DetectionTarget(side, number)


def _find_region(text: str, labels: Sequence[str]) -> Target | None:
    """A class, a pattern or the top class in a region of the picture."""
    split = split_region(text, lambda side: _find_label(side, labels) is not None)
    if split is None:
        return None
    side = _parse_text(split[0].strip(), labels, ())
    if not isinstance(side, (ClassTarget, ClassSum, TopClass)):
        raise TargetError(f"'{split[0].strip()}' is not a class that can be asked about in a region; expected {FORMS}.")
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
    return named_class(index, labels)


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
    place = tuple(map(int, match["place"].split(","))) if match["place"] else None
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
