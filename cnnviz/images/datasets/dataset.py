"""Dataset: many pictures by number, each with a stable key and perhaps a class, read one at a time."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.picture import Picture
from cnnviz.core.sample import Sample
from cnnviz.errors import UsageError

if TYPE_CHECKING:
    import torch

__all__ = ["NO_CLASS", "Dataset", "Keys", "StoredDataset"]

NO_CLASS = -1
"""In an array of labels: a picture without a class."""


@dataclass(frozen=True)
class StoredDataset:
    """A data set of files as a record names it: it can be found again by its fingerprint.

    Attributes:
        name: What it is called, without its folder.
        sha256: Its fingerprint.
    """

    name: str
    sha256: str


def _is_same(file: Path, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(file.stat(), status)
    except (OSError, ValueError):
        return False


class Keys(Sequence[str]):
    """Many short texts in one block of memory, so that a million of them are small and quickly sent to workers.

    Args:
        texts: Any text, in order; what is not valid Unicode (a strange file name) is spelt with backslashes.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        block, ends = bytearray(), []
        for text in texts:
            block += text.encode("utf-8", "backslashreplace")
            ends.append(len(block))
        self._block, self._ends = bytes(block), np.array([0, *ends], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        return self._block[self._ends[place] : self._ends[place + 1]].decode()


class Dataset(ABC):
    """Pictures by number. Opening one reads no picture; workers of any kind may hold a (pickled) copy.

    Attributes:
        name: What to call it, without its folder.
        keys: A stable name for every picture: a path with forward slashes relative to the data set, or a number.
            Sorted by their bytes in UTF-8, and no two are equal.
        classes: Names of the classes, in the order of the labels; None for a data set without classes.
        notes: What was decided on opening, one sentence each.
    """

    name: str
    keys: Sequence[str]
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        classes = f"{len(self.classes)} classes" if self.classes else "no classes"
        return f"{type(self).__name__}({self.name!r}, {len(self)} pictures, {classes})"

    @abstractmethod
    def item(self, index: int) -> Sample | torch.Tensor:
        """What a network is given: a picture, or a float tensor ``(C, H, W)`` that is network input already.

        Raises:
            PictureError: If it is missing or damaged; the message names its key.
        """

    def picture(self, index: int) -> Picture:
        """A picture, upright and in sRGB.

        Raises:
            PictureError: If it is missing or damaged; the message names its key.
            UsageError: If the data set holds network input and no pictures.
        """
        item = self.item(index)
        if not isinstance(item, Picture):
            raise UsageError(f"'{self.keys[index]}' is a float tensor, which is network input and not a picture.")
        return item

    @property
    def labels(self) -> NDArray[np.int32]:
        """The class of every picture, ``(N,)``; -1 for one without."""
        return np.full(len(self), NO_CLASS, dtype=np.int32)

    def label(self, index: int) -> int | None:
        """The class of a picture, an index into ``classes``; None for one without."""
        found = int(self.labels[index])
        return None if found == NO_CLASS else found

    def mask(self, index: int) -> NDArray[np.bool_] | None:  # noqa: ARG002 - data sets that know it look at it
        """Where a picture's object is, ``(H, W)``, of a data set that knows it; None of any other."""
        return None

    @abstractmethod
    def mark(self, index: int) -> str:
        """What tells, without decoding it, whether a picture was exchanged: a size in bytes or a hash."""

    def files(self) -> Iterator[Path]:
        """The files that it is made of, as far as it is made of files."""
        return iter(())

    def holds(self, file: Path) -> bool:
        """Whether a file is one of those that it is made of."""
        try:
            status = file.stat()
            return any(_is_same(each, status) for each in self.files())
        except (OSError, ValueError):
            return False

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, hexadecimal, of the UTF-8 lines ``key <tab> mark <tab> label`` in order, then one with each class.

        The mark is a file's size in bytes, and for pictures in memory a hash of their pixels. So a picture that is
        added, removed, renamed or of another size changes it, and one edited to exactly as many bytes does not; a copy
        of the data set elsewhere has the same.
        """
        digest = hashlib.sha256()
        labels = self.labels
        for index, key in enumerate(self.keys):
            digest.update(f"{key}\t{self.mark(index)}\t{labels[index]}\n".encode())
        for name in self.classes or ():
            digest.update(f"{name}\n".encode("utf-8", "backslashreplace"))
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Plain values for a manifest or provenance: name, number of pictures and of classes, fingerprint."""
        return {
            "name": self.name,
            "pictures": len(self),
            "classes": len(self.classes) if self.classes else 0,
            "fingerprint": self.fingerprint,
        }
