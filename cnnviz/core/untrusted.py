"""What comes from outside, checked where it enters: ordinary files, JSON not too deep, numbers not too long."""

from __future__ import annotations

import errno
import json
import os
import stat
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import io

__all__ = ["DEEPEST", "NUMBER", "open_ordinary", "parse_json"]

DEEPEST: Final = 64
"""Levels of lists and mappings within each other."""

NUMBER: Final = r"\d{1,100}"
"""A whole number in a user's words, as a pattern; Python itself refuses to read one of several thousand digits."""


def open_ordinary(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a file to be read from any place of it.

    Raises:
        OSError: It cannot be opened, or is a pipe or a device, from which nothing can be read twice, or ever.
    """
    file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 - Path.open takes no opener
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is a pipe or a device, and not an ordinary file", os.fspath(path))
    return file


def _open_at_once(name: str, flags: int) -> int:
    """Open without waiting for somebody to write into a pipe."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def parse_json(text: str | bytes) -> Any:
    """What a JSON text holds.

    Raises:
        ValueError: It is no JSON, or goes deeper than anything that is written here.
    """
    try:
        held = json.loads(text)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    level, depth = [held], 0
    while level := [each for each in level if isinstance(each, (dict, list))]:
        depth += 1
        if depth > DEEPEST:
            raise ValueError(TOO_DEEP)
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return held


TOO_DEEP: Final = f"it goes deeper than {DEEPEST} levels"
