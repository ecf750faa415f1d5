"""Files that are written whole or not at all; and arrays with plain values in one file, the same bytes each time."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from cnnviz.core.untrusted import parse_json
from cnnviz.errors import OutputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TEMPORARY", "make_folder", "number_twins", "read_record", "replacing", "write_record", "write_whole"]

TEMPORARY = ".part"
"""How the names of files end that are being written."""

RECORD = "record"


@contextmanager
def replacing(path: Path, temporary: Path | None = None) -> Iterator[BinaryIO]:
    """A file beside ``path`` that takes its place once everything is written, and vanishes when something fails.

    Args:
        path: What is written.
        temporary: The file beside it. Default: one is named, and what a link points to is written.

    Raises:
        OutputError: If it cannot be written.
    """
    target = path if temporary else Path(os.path.realpath(path))
    part = temporary or target.with_name(f".cnnviz-{secrets.token_hex(6)}{TEMPORARY}{target.suffix}")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(target)
    except OSError as error:
        raise OutputError(f"'{path}' cannot be written: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):  # a read-only disk refuses even to forget what was never there
            part.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes, *, synced: bool = True) -> None:
    """Write a file so that it is there as a whole or not at all, whenever the process or the machine stops.

    Args:
        path: Where to; an existing file is replaced.
        content: What it holds.
        synced: Whether to wait until it is on the disk; otherwise it is whole when the process stops, and a machine
            that stops may leave it empty.

    Raises:
        OutputError: If it cannot be written.
    """
    with replacing(path, path.with_name(f".{path.name}.{secrets.token_hex(6)}{TEMPORARY}")) as file:
        file.write(content)
        file.flush()
        if synced:
            os.fsync(file.fileno())
    if synced:
        _sync_folder(path.parent)


def write_record(
    path: Path, arrays: Mapping[str, NDArray[Any]], record: Mapping[str, Any], *, synced: bool = True
) -> None:
    """Write arrays and plain values as one safetensors file.

    Args:
        path: Where to; an existing file is replaced.
        arrays: By name.
        record: Values that JSON has; they become the bytes of an array of their own.
        synced: As :func:`write_whole` takes it.

    Raises:
        OutputError: If it cannot be written.
    """
    import numpy as np
    from safetensors.numpy import save

    text = json.dumps(record, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    held = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    held[RECORD] = np.frombuffer(text.encode(), dtype=np.uint8)
    write_whole(path, save(held), synced=synced)


def read_record(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and plain values that ``write_record`` wrote.

    Raises:
        OutputError: If there is no such file, or it is none of these.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = dict(load(path.read_bytes()))
        return arrays, dict(parse_json(arrays.pop(RECORD).tobytes()))
    except OSError as error:
        raise OutputError(f"'{path}' cannot be read: {error.strerror or error}.") from error
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise OutputError(f"'{path}' is damaged, or not a file that cnnviz wrote.") from error


def _sync_folder(folder: Path) -> None:
    """Have the folder's list of names on the disk too, where the system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def number_twins(stems: Iterable[str]) -> list[str]:
    """The names, a number after those that were there before, also where upper and lower case are the same."""
    names: list[str] = []
    taken: set[str] = set()
    for stem in stems:
        name, count = stem, 1
        while name.casefold() in taken:
            count += 1
            name = f"{stem}-{count}"
        taken.add(name.casefold())
        names.append(name)
    return names


def make_folder(folder: Path) -> None:
    """Make a folder, with those around it, if it is not there yet.

    Raises:
        OutputError: If that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder '{folder}' cannot be made: {error.strerror or error}.") from error
