"""The pictures of an exploration by key: those given, those dropped into the browser, and those of the data set."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cnnviz.core.picture import Picture
from cnnviz.core.untrusted import NUMBER
from cnnviz.errors import PictureError, UnknownNameError, UsageError
from cnnviz.images.reading import decode_picture

if TYPE_CHECKING:
    from cnnviz.images.datasets.dataset import Dataset

__all__ = ["DATA", "MOST_BYTES", "MOST_PIXELS", "MOST_PICTURES", "Shelf"]

MOST_BYTES: Final = 32 << 20
"""Bytes of a picture that is dropped into the browser."""
MOST_PIXELS: Final = 50_000_000
"""Pixels of one."""
MOST_PICTURES: Final = 64
"""Pictures dropped into the browser that are held; the first goes when another comes."""
LONGEST_NAME: Final = 80
DATA: Final = "data:"
"""Keys of the data set's pictures: this, and the picture's number."""


class Shelf:
    """Pictures by key; what a browser names is a key of this shelf, and never a path.

    Args:
        given: The pictures that the exploration begins with.
        dataset: A data set, whose pictures are read when they are asked for.
    """

    def __init__(self, given: Iterable[Picture], dataset: Dataset | None = None) -> None:
        self.dataset = dataset
        self._held: dict[str, Picture] = {}
        self._dropped: dict[str, bytes] = {}
        self._lock = threading.Lock()
        for picture in given:
            self._put(picture)

    @property
    def keys(self) -> Sequence[str]:
        """Keys of the pictures given and dropped, in order."""
        with self._lock:
            return list(self._held)

    def picture(self, key: str) -> Picture:
        """The picture of that key.

        Raises:
            UnknownNameError: If there is none.
            PictureError: If a picture of the data set cannot be read.
        """
        with self._lock:
            found = self._held.get(key)
        if found is not None:
            return found
        number = key.removeprefix(DATA)
        if self.dataset is None or number == key or not re.fullmatch(NUMBER, number):
            raise UnknownNameError("picture", key[:LONGEST_NAME], self.keys)
        if int(number) >= len(self.dataset):
            raise UnknownNameError("picture", key[:LONGEST_NAME], (), f"The data set has {len(self.dataset)}.")
        return self.dataset.picture(int(number))

    def label(self, key: str) -> str | None:
        """The class that the data set gives a picture; None for one without."""
        if self.dataset is None or not key.startswith(DATA) or not self.dataset.classes:
            return None
        index = self.dataset.label(int(key.removeprefix(DATA)))
        return None if index is None else self.dataset.classes[index]

    def drop(self, content: bytes, name: str) -> str:
        """Take a picture from the browser.

        Args:
            content: The bytes of its file, of any kind that the one reader reads.
            name: What the browser calls it; only its last part is kept, as text.

        Returns:
            Its key.

        Raises:
            PictureError: If it is no picture, damaged, or too large.
        """
        if len(content) > MOST_BYTES:
            raise PictureError(f"The picture has more than {MOST_BYTES >> 20} MB; expected a smaller file.")
        called = plain_name(name)
        picture = decode_picture(io.BufferedReader(io.BytesIO(content)), called, most=MOST_PIXELS)
        key = self._put(replace(picture, name=called))
        with self._lock:
            self._dropped[key] = content
            if len(self._dropped) > MOST_PICTURES:
                oldest = next(iter(self._dropped))
                del self._dropped[oldest], self._held[oldest]
        return key

    def content(self, key: str) -> bytes | None:
        """The file of a picture that was dropped into the browser; None of any other."""
        with self._lock:
            return self._dropped.get(key)

    def _put(self, picture: Picture) -> str:
        with self._lock:
            same = [key for key, held in self._held.items() if held.digest == picture.digest and _is_of(key, picture)]
            if same:
                return same[0]
            key = free_key(picture.name, self._held)
            self._held[key] = replace(picture, name=key)
            return key


def _is_of(key: str, picture: Picture) -> bool:
    """Whether a key is that of a picture's name, or of a twin of it."""
    stem = picture.name.rpartition(".")[0] or picture.name
    return key == picture.name or key.startswith(f"{stem} (")


def plain_name(name: str) -> str:
    """What a browser calls a file as a short name without folders, with nothing in it that is no letter."""
    last = re.split(r"[/\\]", name)[-1]
    shown = "".join(letter if letter.isprintable() else " " for letter in last).replace(":", "_").strip(" .")
    stem, dot, ending = shown.rpartition(".")
    return f"{stem[:LONGEST_NAME]}{dot}{ending[:8]}" if dot else shown[:LONGEST_NAME] or "picture"


def free_key(name: str, taken: Iterable[str]) -> str:
    """A name, with a number where another picture has it."""
    known = set(taken)
    plain = name.replace("/", "_") or "picture"
    if plain not in known:
        return plain
    stem, dot, ending = plain.rpartition(".")
    number = 2
    while (key := f"{stem or ending} ({number}){dot if stem else ''}{ending if stem else ''}") in known:
        number += 1
    return key


def check_pictured(places: int, name: str) -> None:
    """Refuse a network of signals or volumes.

    Raises:
        UsageError: If it is one.
    """
    if places != 2:
        raise UsageError(f"The explorer shows pictures; '{name}' takes {'signals' if places == 1 else 'volumes'}.")
