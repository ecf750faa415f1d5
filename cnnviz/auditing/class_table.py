"""A table of classes and groups: comma-separated values with a picture a row."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from cnnviz.core.untrusted import open_ordinary
from cnnviz.errors import UsageError, quoted

__all__ = ["ClassTable", "read_class_table"]

KEY_NAMES: Final = ("key", "file", "filename", "file_name", "path", "image", "picture", "name", "id", "image_id")
CLASS_NAMES: Final = ("class", "label", "true_class", "target", "classname", "class_name", "category")
LARGEST: Final = 1 << 30
SHOWN: Final = 3


@dataclass(frozen=True)
class ClassTable:
    """What a table says of a data set's pictures.

    Attributes:
        classes: For each picture its class by name, None where the table has none; None where it has no such column.
        groups: Further columns by their name: for each picture a value, empty where the table has none.
        notes: What was left out, a sentence each.
    """

    classes: tuple[str | None, ...] | None
    groups: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...] = ()


def read_class_table(path: str | os.PathLike[str], keys: Sequence[str]) -> ClassTable:
    """Read a table of classes.

    The first line names the columns: one of pictures (``key`` or ``file``; otherwise the first), one of classes
    (``class`` or ``label``), and any others, which are groups. Without such a line, that is where its first cell is a
    picture, the second column is the class. A picture is named by its key in the data set, or by its file's name, with
    its folder, without it, or without the ending too, where no other has it.

    Args:
        path: The file; its values are separated by commas, semicolons or tabs.
        keys: Of the data set's pictures.

    Raises:
        UsageError: If it cannot be read, has no second column, or names not one of the pictures.
    """
    name = quoted(Path(path).name)
    rows = _read_rows(Path(path), name)
    places = _Places(keys)
    columns, rows = _name_columns(rows, places)
    if len(columns) < 2:
        raise UsageError(f"The table {name} has one column; expected one of pictures and one of classes or groups.")
    key_at = next((columns.index(each) for each in KEY_NAMES if each in columns), 0)
    class_at = next((at for each in CLASS_NAMES if each in columns and (at := columns.index(each)) != key_at), None)
    held: list[Sequence[str] | None] = [None] * len(keys)
    lost: list[str] = []
    repeated = 0
    for row in rows:
        found = places.find(row[key_at].strip()) if key_at < len(row) else None
        if found is None:
            lost.append(row[key_at] if key_at < len(row) else "")
            continue
        repeated += held[found] is not None
        held[found] = row if held[found] is None else held[found]
    if all(row is None for row in held):
        raise UsageError(
            f"The table {name} names no picture of the data set; the first it names is "
            f"{quoted(lost[0] if lost else '')}, the data set's first is {quoted(keys[0])}."
        )

    def column(at: int) -> tuple[str, ...]:
        return tuple(row[at].strip() if row is not None and at < len(row) else "" for row in held)

    classes = None if class_at is None else tuple(each or None for each in column(class_at))
    groups = {each: column(at) for at, each in enumerate(columns) if at not in (key_at, class_at)}
    return ClassTable(classes, groups, _say_left_out(name, lost, repeated, sum(row is None for row in held)))


def _read_rows(path: Path, name: str) -> list[list[str]]:
    try:
        with open_ordinary(path) as file:
            if os.fstat(file.fileno()).st_size > LARGEST:
                raise UsageError(f"The table {name} is larger than 1 GiB; expected a line a picture.")
            text = file.read().decode("utf-8-sig")
        lines = text.splitlines()
        first = next((line for line in lines if line.strip()), "")
        separator = max(",;\t", key=first.count)
        return [row for row in csv.reader(lines, delimiter=separator) if any(cell.strip() for cell in row)]
    except FileNotFoundError:
        raise UsageError(f"There is no table {quoted(str(path))}.") from None
    except (UnicodeDecodeError, csv.Error):
        raise UsageError(f"The table {name} is no comma-separated text in UTF-8.") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"The table {name} cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def _name_columns(rows: list[list[str]], places: _Places) -> tuple[list[str], list[list[str]]]:
    """The columns' names, in small letters, and the rows below them."""
    if not rows:
        return [], []
    if places.find(rows[0][0].strip()) is None:
        named = [cell.strip() for cell in rows[0]]
        known = (*KEY_NAMES, *CLASS_NAMES)
        low = [cell.lower() if cell.lower() in known else cell or f"column {at + 1}" for at, cell in enumerate(named)]
        return low, rows[1:]
    return ["key", "class", *(f"column {at + 1}" for at in range(2, len(rows[0])))][: len(rows[0])], rows


class _Places:
    """Numbers of pictures by their key, or by a part of it that no other has."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._whole = {key: index for index, key in enumerate(keys)}
        names = [_file_of(key) for key in keys]
        self._pairs = _unique(["/".join(key.split("/")[-2:]) for key in keys])
        self._names, self._stems = _unique(names), _unique([PurePosixPath(name).stem for name in names])

    def find(self, text: str) -> int | None:
        plain = text.replace("\\", "/").removeprefix("./")
        pair = "/".join(plain.split("/")[-2:])
        spelt = (self._whole, text), (self._whole, plain), (self._pairs, pair), (self._names, _file_of(plain))
        for table, name in spelt:
            if (found := table.get(name)) is not None:
                return found
        return self._stems.get(_file_of(plain))


def _file_of(key: str) -> str:
    """A file's name in a key: behind its folders, and behind the number that pictures of a list have."""
    name = key.rpartition("/")[2]
    number, space, rest = name.partition(" ")
    return rest if space and number.isdecimal() else name


def _unique(names: Sequence[str]) -> dict[str, int]:
    times = Counter(names)
    return {name: index for index, name in enumerate(names) if times[name] == 1}


def _say_left_out(name: str, lost: Sequence[str], repeated: int, without: int) -> tuple[str, ...]:
    notes = []
    if lost:
        shown = ", ".join(map(quoted, lost[:SHOWN])) + (", ..." if len(lost) > SHOWN else "")
        notes.append(f"rows of {name} whose picture is not in the data set: {len(lost)} ({shown})")
    if repeated:
        notes.append(f"rows of {name} that repeat a picture, of which the first counts: {repeated}")
    if without:
        notes.append(f"pictures that {name} does not name: {without}")
    return tuple(notes)
