"""The classes of a data set found among a network's own: by name, by index or by WordNet id."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cnnviz.auditing.wordnet import CLASSES, IMAGENET_IDS, is_imagenet, wordnet_id
from cnnviz.errors import nearest, quoted

__all__ = ["ClassNames", "Match"]

INDEX: Final = re.compile(r"\d{1,9}", re.ASCII)
INDEX_AND_NAME: Final = re.compile(r"(\d{1,9})[\s_.:-]+(\S.*)", re.ASCII)
OFFERED: Final = 6


@dataclass(frozen=True)
class Match:
    """What a name is among a network's classes.

    Attributes:
        index: The class; None if there is none, or there are several.
        reason: Why there is none, as the end of a sentence; empty if there is one.
        beside: Other classes whose labels begin with this name as a word.
    """

    index: int | None
    reason: str = ""
    beside: tuple[int, ...] = ()


class ClassNames:
    """A network's classes by every name that they go by.

    Args:
        labels: Their names; None for a network without.
        outputs: How many classes there are.
    """

    def __init__(self, labels: Sequence[str] | None, outputs: int) -> None:
        self.labels, self.outputs = (None if labels is None else tuple(labels)), outputs
        known = outputs == CLASSES if labels is None else is_imagenet(labels)
        self._ids: Mapping[str, int] = IMAGENET_IDS if known else {}
        self._spellings = [_index_by(self.labels or (), spell) for spell in (_as_is, _folded, _words)]
        self._plain = [_words(label) for label in self.labels or ()]
        self._synonyms = _index_by_synonyms(self.labels or ())

    def find(self, name: str) -> Match:
        """The class that a name means.

        A whole label comes first, whatever its case and with spaces, underscores and hyphens alike; then a synonym
        between the commas of a label, a WordNet id where the classes are ImageNet's, an index, and an index before the
        label (``134 crane``).

        Args:
            name: Of a folder, or as a table has it.
        """
        name = name.strip()
        for table, spell in zip(self._spellings, (_as_is, _folded, _words), strict=True):
            if hits := table.get(spell(name)):
                return self._one_of(hits, name)
        if hits := self._synonyms.get(_words(name)):
            return self._one_of(hits, name)
        if (wordnet := wordnet_id(name)) is not None:
            return self._find_id(wordnet)
        if INDEX.fullmatch(name):
            return self._find_index(int(name))
        numbered = INDEX_AND_NAME.fullmatch(name)
        if numbered and self.labels and int(numbered[1]) < self.outputs:
            label = self.labels[int(numbered[1])]
            if _words(numbered[2]) in {_words(label), *map(_words, _split_synonyms(label))}:
                return Match(int(numbered[1]))
        return Match(None, self._offer(name))

    def _one_of(self, hits: Sequence[int], name: str) -> Match:
        assert self.labels is not None
        if len(hits) > 1:
            offers = ", ".join(f"{self.labels[index]} ({index})" for index in hits[:OFFERED])
            how = "its index or WordNet id" if self._ids else "its index"
            return Match(None, f"names {len(hits)} classes: {offers}; name each by {how}")
        start = f"{_words(name)} "
        beside = [index for index, label in enumerate(self._plain) if label.startswith(start)]
        return Match(hits[0], beside=tuple(beside))

    def _find_id(self, wordnet: str) -> Match:
        if not self._ids:
            return Match(None, "is a WordNet id, and the network's classes are not ImageNet's 1,000")
        found = self._ids.get(wordnet)
        return Match(found, "" if found is not None else "is no WordNet id of ImageNet's 1,000 classes")

    def _find_index(self, index: int) -> Match:
        if index < self.outputs:
            return Match(index)
        return Match(None, f"is no class: they are 0 to {self.outputs - 1}")

    def _offer(self, name: str) -> str:
        if self.labels is None:
            return "is a name, and the network has no labels; give its labels, or name classes by index"
        offers = nearest(_folded(name), list(map(_folded, self.labels)), 2)
        hint = f" (did you mean {' or '.join(map(quoted, offers))}?)" if offers else ""
        return f"is no label of the network{hint}"


def _as_is(name: str) -> str:
    return name


def _folded(name: str) -> str:
    return re.sub(r"[\s_]+", " ", name).strip().casefold()


def _words(name: str) -> str:
    """Letters and digits only, so that hyphens, apostrophes and slashes do not matter."""
    return re.sub(r"[\W_]+", " ", name).strip().casefold() or name


def _split_synonyms(label: str) -> list[str]:
    return [part.strip() for part in label.split(",")] if "," in label else []


def _index_by(labels: Sequence[str], spell: Callable[[str], str]) -> dict[str, list[int]]:
    found: defaultdict[str, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        found[spell(label)].append(index)
    return dict(found)


def _index_by_synonyms(labels: Sequence[str]) -> dict[str, list[int]]:
    found: defaultdict[str, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        for part in dict.fromkeys(map(_words, _split_synonyms(label))):
            found[part].append(index)
    return dict(found)
