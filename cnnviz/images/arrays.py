"""Values of signals and volumes: read from ``.npy`` files, and checked before a network is given them."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.capacity import free_memory, spell_bytes
from cnnviz.errors import PassingPictureError, PictureError, quoted
from cnnviz.images.reading import open_file, reason_of

__all__ = [
    "NPY",
    "channel_first",
    "check_room",
    "checked_values",
    "placed_values",
    "quiet_library",
    "read_npy",
    "spell_shape",
]

NPY: Final = ".npy"
_EXPECTED: Final = "expected a .npy file with an array of numbers, as numpy.save writes it"
_ALWAYS_FREE: Final = 1 << 26
EXACT: Final = 1 << 24
"""Whole numbers up to this one are float32 values too."""


def read_npy(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The array of a ``.npy`` file, mapped into memory and not yet read; nothing in it is ever run.

    Raises:
        PictureError: The file is missing, damaged, or holds Python objects and no numbers.
    """
    given = os.fsdecode(path)
    shown = quoted(given)
    with open_file(given, shown, _EXPECTED) as file:
        start = file.peek(6)[:6]
    if not start:
        raise PictureError(f"{shown} is empty (0 bytes); {_EXPECTED}.")
    if start != b"\x93NUMPY":
        raise PictureError(f"{shown} is no .npy file; {_EXPECTED}.")
    try:
        found = np.load(Path(given), mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a header that is damaged or forged can raise anything
        if "Object arrays" in str(error) or "Python objects" in str(error):
            raise PictureError(f"{shown} holds Python objects, which are never loaded; {_EXPECTED}.") from error
        raise PictureError(f"{shown} is truncated or damaged ({reason_of(error)}); {_EXPECTED}.") from error
    return np.asarray(found)


def checked_values(array: NDArray[Any], shown: str) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """An array of numbers as float32 of the caller's own, and notes.

    Args:
        array: Of any shape.
        shown: What a message calls it.

    Raises:
        PictureError: It is empty, holds no real numbers or some that are not finite, or does not fit into memory.
    """
    if array.dtype.kind not in "buif":
        raise PictureError(f"{shown} is an array of {array.dtype}; expected real numbers, such as float32 or int16.")
    if array.size == 0:
        raise PictureError(f"{shown} has the shape {spell_shape(array.shape)}, so no values; expected at least one.")
    check_room(array.shape, shown, 4 + 1 + (0 if isinstance(array.base, np.memmap) else array.dtype.itemsize))
    with np.errstate(over="ignore"):
        values = np.array(array, dtype=np.float32, order="C")
    _check_finite(values, array, shown)
    rounded = array.dtype.kind in "ui" and array.dtype.itemsize > 2 and bool(np.abs(values).max() > EXACT)
    return values, ("whole numbers above 16777216 rounded to 32-bit floats",) if rounded else ()


def _check_finite(values: NDArray[np.float32], given: NDArray[Any], shown: str) -> None:
    finite = np.isfinite(values)
    bad = int(values.size - np.count_nonzero(finite))
    if not bad:
        return
    place = np.unravel_index(int(np.argmin(finite)), values.shape)
    first = float(given[place])
    kind = "NaN" if math.isnan(first) else "infinite" if math.isinf(first) else "too large for 32-bit floats"
    where = ", ".join(str(int(each)) for each in place)
    raise PictureError(
        f"{shown} holds {bad} value{'s that are' if bad > 1 else ' that is'} not finite, the first at [{where}] "
        f"({kind}); expected finite numbers: replace them, or cut them off."
    )


def check_room(shape: tuple[int, ...], shown: str, each: int = 8) -> None:
    """Refuse what does not fit into the memory that is free, before it is read.

    Args:
        shape: The shape of the values.
        shown: What a message calls them.
        each: Bytes that a value takes while it is read.

    Raises:
        PassingPictureError: If they do not fit.
    """
    needed = math.prod(int(side) for side in shape) * each
    free = free_memory() if needed > _ALWAYS_FREE else None
    if free is not None and needed > free:
        raise PassingPictureError(
            f"{shown} has {spell_shape(shape)} values, which takes about {spell_bytes(needed)} of memory to read; "
            f"{spell_bytes(free)} are free."
        )


def placed_values(
    array: NDArray[Any], channels: int | None, shown: str, letters: str
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Checked values ``(C, ...)`` of an array, and notes; the arguments and errors are those of the two steps."""
    placed, notes = channel_first(array, channels, shown, letters)
    values, more = checked_values(placed, shown)
    return values, (*notes, *more)


def channel_first(
    array: NDArray[Any], channels: int | None, shown: str, letters: str
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """An array with channels and places, its channels first, and a note where its shape alone does not say which.

    Args:
        array: Channels first or last, or without an axis of them.
        channels: How many channels the network takes; None where that is not known.
        shown: What a message calls it.
        letters: The axes of places, such as ``"T"`` or ``"DHW"``.

    Raises:
        PictureError: If it has another number of axes, or no axis of so many channels.
    """
    places = len(letters)
    if array.ndim == places:
        array = array[None]
        if channels not in (None, 1):
            raise PictureError(
                f"{shown} has the shape {spell_shape(array.shape[1:])}, so one channel; the network takes {channels}: "
                f"expected (C, {', '.join(letters)}) with C = {channels}."
            )
        return array, ()
    forms = f"({', '.join(letters)}), (C, {', '.join(letters)}) or ({', '.join(letters)}, C)"
    if array.ndim != places + 1:
        raise PictureError(f"{shown} has the shape {spell_shape(array.shape)}; expected {forms}.")
    first, last = array.shape[0], array.shape[-1]
    if channels is None:
        return (array, ()) if first <= last else (np.moveaxis(array, -1, 0), ("channels taken as the last axis",))
    if first == channels:
        doubt = last == channels and first != 1
        note = f"shape {spell_shape(array.shape)} taken as (C, {', '.join(letters)}): channels first"
        return array, (note,) if doubt else ()
    if last == channels:
        return np.moveaxis(array, -1, 0), ()
    raise PictureError(
        f"{shown} has the shape {spell_shape(array.shape)}; the network takes {channels} "
        f"channel{'s' if channels != 1 else ''}: expected {forms} with C = {channels}."
    )


def spell_shape(shape: tuple[int, ...]) -> str:
    """A shape in words, such as ``"(12, 5000)"``."""
    return f"({', '.join(str(int(side)) for side in shape)})"


@contextmanager
def quiet_library(name: str) -> Iterator[None]:
    """Inside, a library says nothing of its own about odd files: errors say what is wrong.

    Args:
        name: Its logger.
    """
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(before)
