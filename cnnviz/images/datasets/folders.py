"""Data sets of picture files: a folder tree, with or without classes, and a list."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.picture import Picture
from cnnviz.core.untrusted import open_ordinary
from cnnviz.errors import PassingPictureError, PictureError
from cnnviz.images.datasets.dataset import NO_CLASS, Dataset, Keys
from cnnviz.images.reading import SUFFIXES, decode_picture, quoted

__all__ = ["FileDataset", "classes_of", "open_list", "open_tree", "walk_files"]

LARGEST_CLASS = 100_000
ENDINGS = "|".join(re.escape(suffix) for suffix in SUFFIXES)
PATH_AND_CLASS = re.compile(rf"(.*(?:{ENDINGS}))\s+(\S.*)", re.IGNORECASE)


class FileDataset(Dataset):
    """Picture files below a folder.

    Args:
        name: What to call it.
        root: The folder.
        files: For each file, as a path relative to the folder, its class or None.
        notes: What was decided so far.
        classes: Names of all classes in order; None for those that occur, sorted.
    """

    def __init__(
        self, name: str, root: Path, files: Mapping[str, str | None], notes: Sequence[str] = (), *, integers: bool
    ) -> None:
        spelt = sorted((file.encode("utf-8", "backslashreplace"), file) for file in files)
        self.name, self.notes = name, tuple(notes)
        self.keys = Keys(file for _, file in spelt)
        self._common_root = root.absolute()
        self._odd = {number: file for number, (key, file) in enumerate(spelt) if file != key.decode()}
        self.classes, self._labels = classes_of([files[file] for _, file in spelt], integers=integers)

    @property
    def labels(self) -> NDArray[np.int32]:
        """The class of every picture, ``(N,)``; -1 for one without."""
        return self._labels

    def item(self, index: int) -> Picture:
        """A picture, read from its file.

        Raises:
            PictureError: If it is missing or damaged; the message names its key.
        """
        key = self.keys[index]
        try:
            with open_ordinary(self._path(index)) as file:
                return decode_picture(file, key)
        except (OSError, ValueError) as error:
            kind = PassingPictureError if isinstance(error, OSError) else PictureError
            raise kind(f"{quoted(key)} cannot be opened: {_reason_of(error)}.") from error

    def files(self) -> Iterator[Path]:
        """The pictures' files."""
        return map(self._path, range(len(self)))

    def mark(self, index: int) -> str:
        """The file's size in bytes."""
        try:
            return str(self._path(index).stat().st_size)
        except (OSError, ValueError):
            return "missing"

    def _path(self, index: int) -> Path:
        return self._common_root / self._odd.get(index, self.keys[index])


def classes_of(names: Sequence[str | None], *, integers: bool) -> tuple[tuple[str, ...] | None, NDArray[np.int32]]:
    """Classes and labels from a class name for each picture.

    Args:
        names: The class of each picture; None for one without.
        integers: Whether names that are all whole numbers are the labels themselves.

    Returns:
        The classes in order, or None if no picture has one; and the labels, -1 for a picture without.
    """
    found = {name for name in names if name is not None}
    if not found:
        return None, np.full(len(names), NO_CLASS, dtype=np.int32)
    if integers and all(name.isascii() and name.isdecimal() and int(name) <= LARGEST_CLASS for name in found):
        classes = tuple(map(str, range(max(map(int, found)) + 1)))
        number = {name: int(name) for name in found}
    else:
        classes = tuple(sorted(found))
        number = {name: index for index, name in enumerate(classes)}
    labels = [NO_CLASS if name is None else number[name] for name in names]
    return classes, np.array(labels, dtype=np.int32)


def open_tree(folder: Path, classes: bool | None) -> FileDataset:
    """All picture files of a folder and the folders in it; links are followed, what begins with a dot is left out.

    Args:
        folder: The folder.
        classes: Whether the folders directly in it are classes. None decides: they are if there are at least two with
            pictures in them, and no picture lies beside them.

    Raises:
        PictureError: If it holds no picture, or a folder in it may not be read.
    """
    files = list(walk_files(folder))
    if not files:
        tars = any(entry.suffix == ".tar" for entry in folder.iterdir())
        hint = " (for the tars in it, name them: 'name-{000..009}.tar')" if tars else ""
        raise PictureError(
            f"The folder {quoted(str(folder))} and those in it hold no picture{hint}; "
            f"expected files ending in {', '.join(SUFFIXES)}."
        )
    name = folder.resolve().name or "folder"
    heads = {file: file.partition("/")[0] if "/" in file else None for file in files}
    found = {head for head in heads.values() if head is not None}
    loose = sum(head is None for head in heads.values())
    notes = []
    if classes is None and not loose and len(found) > 1:
        classes = True
        notes.append(f"the {len(found)} folders in '{name}' are used as classes; classes=False turns that off")
    elif classes and not found:
        raise PictureError(f"Classes are folders, but no folder in {quoted(str(folder))} holds a picture.")
    elif classes and loose:
        notes.append(f"pictures beside the class folders have no class: {loose}")
    return FileDataset(name, folder, heads if classes else dict.fromkeys(files), notes, integers=False)


def walk_files(
    folder: Path, endings: tuple[str, ...] = SUFFIXES, whole: Callable[[Path], bool] | None = None
) -> Iterator[str]:
    """Paths of files relative to a folder; a link to a folder that holds it is not followed.

    Args:
        folder: The folder, and those in it.
        endings: Of the files, in small letters.
        whole: Whether a folder counts as one file, and is not entered.

    Raises:
        PictureError: If one of the folders cannot be read.
    """
    left = [_Level.of(folder, "", ())]
    while left:
        level = left[-1]
        entry = next(level.entries, None)
        if entry is None:
            left.pop()
        elif entry.is_dir():
            if whole is not None and whole(Path(entry.path)):
                yield level.before + entry.name
            else:
                left.append(_Level.of(Path(entry.path), f"{level.before}{entry.name}/", level.above))
        elif entry.name.lower().endswith(endings):
            yield level.before + entry.name


class _Level(NamedTuple):
    """A folder on the way down a tree.

    Attributes:
        entries: What is left of its entries.
        before: Its path relative to the first folder, with a slash at its end.
        above: The numbers of the folders that hold it, and its own.
    """

    entries: Iterator[os.DirEntry[str]]
    before: str
    above: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, folder: Path, before: str, above: tuple[tuple[int, int], ...]) -> _Level:
        """A folder that is entered; of one that holds itself, no entry.

        Raises:
            PictureError: If it cannot be read.
        """
        try:
            status = folder.stat()
            found = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise PictureError(f"The folder {quoted(str(folder))} cannot be read: {_reason_of(error)}.") from error
        here = status.st_dev, status.st_ino
        shown = [] if here in above else [entry for entry in found if not entry.name.startswith(".")]
        return cls(iter(shown), before, (*above, here))


def open_list(path: Path) -> FileDataset:
    """The pictures of a list: a path a line, relative to the list, and perhaps a class after it.

    Path and class are separated by a tab, or by spaces if the path ends like a picture file. Classes that are all whole
    numbers are the labels themselves; others are sorted. Empty lines and lines that begin with ``#`` are left out, and
    so are paths that were there before.

    Raises:
        PictureError: If the list cannot be read or is empty, or gives one picture two classes.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise PictureError(f"The list {quoted(str(path))} cannot be read: {_reason_of(error)}.") from error
    shown = quoted(path.name)
    files: dict[str, str | None] = {}
    repeated = 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, label = _parse_line(line)
        file = os.path.normpath(path.parent.absolute() / name)
        repeated += file in files
        if files.setdefault(file, label) != label:
            raise PictureError(f"Line {number} of {shown} gives {quoted(name)} another class than a line before it.")
    if not files:
        raise PictureError(f"The list {shown} names no picture; expected a path a line.")
    notes = [f"lines of {shown} that repeat an earlier one: {repeated}"] if repeated else []
    root = _common_root(list(files), path.parent.absolute())
    relative = {Path(file).relative_to(root).as_posix(): label for file, label in files.items()}
    return FileDataset(path.name, root, relative, notes, integers=True)


def _parse_line(line: str) -> tuple[str, str | None]:
    """Path and class of a line."""
    name, tab, label = line.strip().partition("\t")
    if tab:
        return name.strip(), label.strip() or None
    match = None if name.lower().endswith(SUFFIXES) else PATH_AND_CLASS.fullmatch(name)
    return (match[1], match[2]) if match else (name, None)


def _common_root(files: Sequence[str], folder: Path) -> Path:
    """The list's folder if all files lie in it, or the deepest one that holds them all."""
    if all(Path(file).is_relative_to(folder) for file in files):
        return folder
    return Path(os.path.commonpath([str(Path(file).parent) for file in files]))


def _reason_of(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) and error.strerror else str(error)).rstrip(".").lower()
