"""WebDataset tars as a data set with random access: each tar's headers are read once, and nothing is unpacked."""

from __future__ import annotations

import io
import math
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.picture import Picture
from cnnviz.core.untrusted import open_ordinary, parse_json
from cnnviz.errors import PassingPictureError, PictureError
from cnnviz.images.datasets.dataset import Dataset, Keys
from cnnviz.images.datasets.folders import classes_of
from cnnviz.images.reading import SUFFIXES, decode_picture, quoted

__all__ = ["TarDataset", "expand_braces", "open_tars"]

RANGE = re.compile(r"\{(\d{1,18})\.\.(\d{1,18})\}")
MOST_TARS = 100_000
"""Names that a pattern may stand for."""

NESTED = (".tar", ".tar.gz", ".tgz")
CLASS_NAMES = ("cls", "label", "class")
LARGEST_LABEL = 1 << 20
LARGEST_MEMBER = 1 << 48
"""Bytes of a member; more are not a size but a damaged header."""


@dataclass
class _TarSample:
    """What belongs together in a tar: the picture's member and the class beside it."""

    name: str
    place: tuple[int, int] | None = None
    picture: str = ""
    label: str | None = None


@dataclass
class _TarIndex:
    """The samples of all tars, in parallel lists."""

    keys: list[str] = field(default_factory=list)
    places: list[tuple[int, int, int]] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class TarDataset(Dataset):
    """Pictures inside tars in the WebDataset layout: members with one name and several endings are one sample.

    Args:
        tars: The files, uncompressed.

    Raises:
        PictureError: If one is missing, compressed or no tar, holds tars itself, or none holds a picture.
    """

    def __init__(self, tars: Sequence[Path]) -> None:
        self._tars = tuple(tar.absolute() for tar in tars)
        common = Path(os.path.commonpath([tar.parent for tar in self._tars]))
        names = [tar.relative_to(common).as_posix() for tar in self._tars]
        found = _TarIndex()
        for number, tar in enumerate(self._tars):
            _scan_tar(tar, number, names[number], found)
        if not found.keys:
            raise PictureError(
                f"{quoted(names[0])}{' and the other tars' if len(names) > 1 else ''} hold no picture; "
                f"expected members ending in {', '.join(SUFFIXES)}."
            )
        first = {key: index for index, key in reversed(list(enumerate(found.keys)))}
        if len(first) < len(found.keys):
            found.notes.append(f"samples whose name was there before were left out: {len(found.keys) - len(first)}")
        order = sorted(first.values(), key=lambda index: found.keys[index].encode("utf-8", "backslashreplace"))
        self.name = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        self.keys = Keys(found.keys[index] for index in order)
        self._places = np.array([found.places[index] for index in order], dtype=np.int64)
        self.classes, self._labels = classes_of([found.labels[index] for index in order], integers=True)
        self.notes = tuple(found.notes)

    @property
    def labels(self) -> NDArray[np.int32]:
        """The class of every picture, ``(N,)``; -1 for one without."""
        return self._labels

    def item(self, index: int) -> Picture:
        """A picture, read from where it lies in its tar.

        Raises:
            PictureError: If it is damaged, or its tar is missing or shorter than it was; the message names its key.
        """
        key = self.keys[index]
        tar, start, size = (int(number) for number in self._places[index])
        try:
            data = _read_member(self._tars[tar], start, size)
        except OSError as error:
            raise PassingPictureError(f"The tar of {quoted(key)} cannot be read: {error.strerror}.") from error
        if len(data) < size:
            raise PictureError(f"{quoted(key)} is cut off: its tar ends before it.")
        return decode_picture(io.BufferedReader(io.BytesIO(data)), key)

    def files(self) -> Iterator[Path]:
        """The tars."""
        return iter(self._tars)

    def mark(self, index: int) -> str:
        """The picture's size in bytes."""
        return str(self._places[index][2])


def expand_braces(pattern: str) -> list[str]:
    """``"name-{000..009}.tar"`` as ten names, zeros kept; any number of ranges, none is the name itself."""
    _ensure_countable(pattern)
    match = RANGE.search(pattern)
    if match is None:
        return [pattern]
    first, last, width = int(match[1]), int(match[2]), len(match[1])
    return [
        name
        for number in range(first, last + 1)
        for name in expand_braces(f"{pattern[: match.start()]}{number:0{width}}{pattern[match.end() :]}")
    ]


def _ensure_countable(pattern: str) -> None:
    """Refuse a pattern that stands for more names than anyone means.

    Raises:
        PictureError: If it does.
    """
    count = math.prod(max(0, int(last) - int(first) + 1) for first, last in RANGE.findall(pattern))
    if count > MOST_TARS:
        raise PictureError(f"{quoted(pattern)} stands for {count} tars; expected at most {MOST_TARS}.")


def open_tars(pattern: str | Sequence[str]) -> TarDataset:
    """The tars of a pattern such as ``"name-{000..009}.tar"``, or several by name.

    Raises:
        PictureError: If one is missing, compressed or no tar, holds tars itself, or none holds a picture.
    """
    patterns = [pattern] if isinstance(pattern, str) else pattern
    tars = list(dict.fromkeys(Path(name) for each in patterns for name in expand_braces(each)))
    if not tars:
        raise PictureError(f"The range in {quoted(patterns[0])} is empty; write the smaller number first.")
    return TarDataset(tars)


def _read_member(tar: Path, start: int, size: int) -> bytes:
    with open_ordinary(tar) as file:
        file.seek(start)
        return file.read(min(size, max(0, os.fstat(file.fileno()).st_size - start)))


def _scan_tar(tar: Path, number: int, name: str, found: _TarIndex) -> None:
    """Add the samples of one tar."""
    shown, left = quoted(str(tar.name)), 0
    try:
        with open_ordinary(tar) as file, tarfile.open(fileobj=file, mode="r:", tarinfo=_Header) as archive:
            for sample in _iterate_samples(archive, shown):
                if sample.place is None:
                    left += 1
                    continue
                found.keys.append(f"{name}/{sample.picture}")
                found.places.append((number, *sample.place))
                found.labels.append(sample.label)
    except FileNotFoundError:
        raise PictureError(f"There is no file {quoted(str(tar))}; expected a .tar file.") from None
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
        raise PictureError(
            f"{shown} is not a tar file, compressed or damaged ({str(error).rstrip('.')}); expected an uncompressed, "
            f"whole one."
        ) from error
    except OSError as error:
        raise PictureError(f"{shown} cannot be read: {error.strerror}.") from error
    if left:
        found.notes.append(f"samples of {shown} without a picture were left out: {left}")


class _Header(tarfile.TarInfo):
    """A member whose size is one: a negative size would have the reader go round in circles."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """A header from its bytes.

        Raises:
            tarfile.ReadError: If its size is none.
        """
        found = super().frombuf(buf, encoding, errors)
        if not 0 <= found.size <= LARGEST_MEMBER:
            raise tarfile.ReadError("the size of a member is none")
        return found


def _iterate_samples(archive: tarfile.TarFile, shown: str) -> Iterator[_TarSample]:
    """The samples of a tar; neighbouring members with the same name up to the first dot are one."""
    sample: _TarSample | None = None
    reached = -1
    while (member := archive.next()) is not None:
        if not 0 <= member.size <= LARGEST_MEMBER or archive.offset <= reached:  # an extended header has the last word
            raise tarfile.ReadError("the size of a member is none")
        reached = archive.offset
        archive.members = []  # type: ignore[attr-defined]  # or each header would stay in memory
        folder, _, base = member.name.removeprefix("./").rpartition("/")
        if base.lower().endswith(NESTED):
            raise PictureError(f"{shown} holds a tar itself ({quoted(member.name)}); expected pictures in it.")
        if not member.isreg() or base.startswith("."):
            continue
        stem, _, ending = base.partition(".")
        name = f"{folder}/{stem}" if folder else stem
        if sample is None or sample.name != name:
            if sample:
                yield sample
            sample = _TarSample(name)
        _add_member(sample, archive, member, ending.lower())
    if sample:
        yield sample


def _add_member(sample: _TarSample, archive: tarfile.TarFile, member: tarfile.TarInfo, ending: str) -> None:
    """Take from a member what a sample needs: the first picture with the shortest ending, and the class."""
    if f".{ending}".endswith(SUFFIXES):
        if sample.place is None or ending.count(".") < sample.picture.rpartition("/")[2].count(".") - 1:
            sample.place, sample.picture = (member.offset_data, member.size), member.name.removeprefix("./")
    elif ending in ("cls", "json") and member.size <= LARGEST_LABEL:
        held = archive.extractfile(member)
        text = held.read().decode("utf-8", "replace") if held else ""
        label = text.strip() if ending == "cls" else _parse_class(text)
        sample.label = label or sample.label


def _parse_class(text: str) -> str | None:
    """The class that a sample's JSON names, if it names one."""
    try:
        held = parse_json(text)
    except ValueError:
        return None
    values = [held[name] for name in CLASS_NAMES if name in held] if isinstance(held, dict) else []
    fitting = [value for value in values if isinstance(value, (int, str)) and not isinstance(value, bool)]
    return str(fitting[0]) if fitting else None
