"""Signals in: arrays, tables and sound files become values of channels over time."""

from __future__ import annotations

import csv
import io
import os
import re
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.sample import Signal
from cnnviz.errors import MissingExtraError, PassingPictureError, PictureError, quoted
from cnnviz.images.arrays import NPY, check_room, checked_values, placed_values, read_npy
from cnnviz.images.reading import explain_passing, open_file, reason_of

__all__ = ["SIGNAL_SUFFIXES", "as_signal", "read_signal"]

TABLES: Final = {".csv": ",", ".tsv": "\t"}
SOUNDS: Final = (".wav", ".flac", ".ogg", ".mp3")
SIGNAL_SUFFIXES: Final = (NPY, *TABLES, *SOUNDS)
"""File name endings taken for signals."""

_EXPECTED: Final = f"expected a signal in a file ending in {', '.join(SIGNAL_SUFFIXES)}"
_TIME: Final = re.compile(r"(?:time|t|secs?|seconds?)(?:[ _]*[(\[]?(s|secs?|seconds?|ms|milliseconds?)[)\]]?)?|ms")
"""How the column of times is called; in milliseconds where it says so."""
STEADY: Final = 0.01
"""Times are equally spaced where no step differs by more than this share from the usual one."""
_BYTES_OF_CELL: Final = 8
_BITS: Final = {1: 8, 2: 16, 3: 24, 4: 32}


class _Columns(NamedTuple):
    """The numbers ``(rows, columns)`` of a table, the names of its columns (or none), and the row of the first line."""

    values: NDArray[np.float64]
    names: tuple[str, ...]
    first: int


def read_signal(path: str | os.PathLike[str], channels: int | None = None) -> Signal:
    """Read a signal from a ``.npy``, ``.csv``, ``.tsv`` or sound file, as its ending says.

    Of an array ``(T,)``, ``(C, T)`` or ``(T, C)`` the axis of channels is the one that is as long as the network has
    channels. The columns of a table are channels; its first line may name them, and a column called time, t or seconds
    (or ms) gives the rate. Sounds are values from -1 to 1; those of several channels are averaged for a network of one.

    Args:
        path: The file.
        channels: How many channels the network takes; None where that is not known.

    Raises:
        PictureError: The file is missing, damaged, of another kind, or has another number of channels.
        MissingExtraError: It is a sound that only the library soundfile can read.
    """
    given = os.fsdecode(path)
    shown, suffix = quoted(given), Path(given).suffix.lower()
    if suffix == NPY:
        return as_signal(read_npy(given), Path(given).name, channels, shown=shown)
    if suffix not in SIGNAL_SUFFIXES:
        with open_file(given, shown, _EXPECTED):
            raise PictureError(f"{shown} is not a signal; {_EXPECTED}.")
    if suffix in TABLES:
        return _fitted(_read_table(given, shown, suffix), channels, shown)
    return _mixed(_read_sound(given, shown, suffix), channels, shown)


def as_signal(array: NDArray[Any], name: str, channels: int | None = None, *, shown: str = "") -> Signal:
    """A signal from an array ``(T,)``, ``(C, T)`` or ``(T, C)`` of numbers.

    Args:
        array: The array.
        name: What the signal is called.
        channels: How many channels the network takes; None where that is not known.
        shown: What a message calls it; default: the name.

    Raises:
        PictureError: It has another shape, or values that are no finite numbers.
    """
    values, notes = placed_values(array, channels, shown or name, "T")
    return Signal(values, name, notes=notes)


def _fitted(table: Signal, channels: int | None, shown: str) -> Signal:
    """A table whose columns are the network's channels, or whose rows are where only they are as many."""
    if channels in (None, table.channels):
        return table
    if channels == table.size[0] and table.rate is None and not table.channel_names:
        note = f"rows taken as channels: the network takes {channels}"
        return table.changed(values=np.ascontiguousarray(table.values.T), notes=(*table.notes, note))
    beside = " beside the times" if table.rate is not None else ""
    raise PictureError(
        f"{shown} has {_count(table.channels, 'column')} of values{beside}; the network takes "
        f"{_count(channels or 0, 'channel')}, a column each."
    )


def _mixed(sound: Signal, channels: int | None, shown: str) -> Signal:
    """A sound with as many channels as the network takes."""
    held = sound.channels
    if channels in (None, held):
        return sound
    if channels != 1:
        raise PictureError(f"{shown} has {_count(held, 'channel')}; the network takes {channels}.")
    note = f"{held} channels averaged to one"
    return sound.changed(values=sound.values.mean(axis=0, keepdims=True), channel_names=(), notes=(*sound.notes, note))


def _read_sound(given: str, shown: str, suffix: str) -> Signal:
    """A sound file, by the standard library where that can read it, else by soundfile."""
    with open_file(given, shown, _EXPECTED) as file:
        if not file.peek(1):
            raise PictureError(f"{shown} is empty (0 bytes); {_EXPECTED}.")
        if suffix == ".wav":
            try:
                return _read_wave(file, Path(given).name, shown)
            except PictureError:
                raise
            except Exception as error:
                if passing := explain_passing(error, shown):
                    raise PassingPictureError(passing) from error
                if not str(error).startswith("unknown"):  # of a format that soundfile may know
                    raise PictureError(
                        f"{shown} is damaged, or not a WAV file ({reason_of(error)}); expected one that is whole."
                    ) from error
            file.seek(0)
        return _read_with_soundfile(file, Path(given).name, shown, suffix)


def _read_wave(file: io.BufferedReader, name: str, shown: str) -> Signal:
    """A WAV file of whole numbers, divided so that they lie from -1 to 1."""
    with wave.open(file) as sound:
        channels, width, rate, count = (
            sound.getnchannels(), sound.getsampwidth(), sound.getframerate(), sound.getnframes(),
        )  # fmt: skip
        if width not in _BITS or rate < 1 or channels < 1:
            raise PictureError(
                f"{shown} is damaged: its header says {channels} channels of {width} bytes at {rate} Hz."
            )
        there = os.fstat(file.fileno()).st_size // (channels * width)
        check_room((min(count, there), channels), shown, width + 12)
        data = sound.readframes(min(count, there))
    whole = len(data) // (channels * width)
    if not whole:
        raise PictureError(f"{shown} holds no samples; expected at least one.")
    values = _whole_numbers(data[: whole * channels * width], width).reshape(whole, channels).T
    notes = (f"the file ends after {whole} of {count} samples",) if whole < count else ()
    return Signal(np.ascontiguousarray(values, np.float32), name, notes=notes, rate=float(rate))


def _whole_numbers(data: bytes, width: int) -> NDArray[np.float64]:
    """PCM values from -1 to 1; those of 8 bits are unsigned, all others signed and little-endian."""
    if width == 1:
        return (np.frombuffer(data, np.uint8).astype(np.float64) - 128) / 128
    if width == 3:
        parts = np.zeros((len(data) // 3, 4), np.uint8)
        parts[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return parts.view("<i4")[:, 0] / float(1 << 31)
    return np.frombuffer(data, f"<i{width}") / float(1 << (_BITS[width] - 1))


def _read_with_soundfile(file: io.BufferedReader, name: str, shown: str, suffix: str) -> Signal:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # the library below it can be missing too
        what = "a WAV file of this kind" if suffix == ".wav" else f"a {suffix} file"
        raise MissingExtraError(f"Reading {what}, such as {shown},", "audio") from error
    try:
        with soundfile.SoundFile(file) as sound:
            check_room((sound.frames, sound.channels), shown, 12)
            values = sound.read(dtype="float32", always_2d=True).T
            rate = float(sound.samplerate)
    except PictureError:
        raise
    except Exception as error:  # a decoder fed with damaged data can raise anything
        if passing := explain_passing(error, shown):
            raise PassingPictureError(passing) from error
        reason = reason_of(error).rpartition(": ")[2]
        raise PictureError(f"{shown} is damaged, or not a sound file ({reason}); expected a {suffix} file.") from error
    checked, notes = checked_values(values, shown)
    return Signal(checked, name, notes=notes, rate=rate)


def _read_table(given: str, shown: str, suffix: str) -> Signal:
    """A table: each column a channel, but for the one with the times."""
    table = _numbers_of(given, shown, suffix)
    names, values, rate = table.names, table.values, None
    found = [place for place, name in enumerate(names) if _TIME.fullmatch(name.lower())]
    if len(found) > 1:
        raise PictureError(f"{shown} has several columns of times: {', '.join(names[each] for each in found)}.")
    if found and len(names) > 1:
        (place,) = found
        rate = _rate_of(values[:, place], names[place], shown, table.first)
        values = np.delete(values, place, axis=1)
        names = (*names[:place], *names[place + 1 :])
    checked, notes = checked_values(values.T, shown)
    return Signal(checked, Path(given).name, notes=notes, rate=rate, channel_names=names)


def _rate_of(times: NDArray[np.float64], name: str, shown: str, first: int) -> float | None:
    """Samples a second, of times that are equally spaced."""
    if len(times) < 2:
        return None
    steps = np.diff(times)
    usual = float(np.median(steps))
    odd = np.abs(steps - usual) > STEADY * abs(usual)
    if usual <= 0 or odd.any():
        row = first + 1 + (int(np.argmax(odd)) if odd.any() else 0)
        raise PictureError(
            f"{shown}: the times in the column '{name}' are not equally spaced, as in row {row}; expected steps of one "
            "length, or no column of times."
        )
    unit = (_TIME.fullmatch(name.lower()) or [None, None])[1] or name.lower()
    scale = 1000.0 if unit.startswith(("ms", "milli")) else 1.0
    return float(scale * (len(times) - 1) / (times[-1] - times[0]))


def _numbers_of(given: str, shown: str, suffix: str) -> _Columns:
    with open_file(given, shown, _EXPECTED) as file:
        check_room((os.fstat(file.fileno()).st_size,), shown, _BYTES_OF_CELL)
        raw = file.read()
    if b"\0" in raw[:1024]:
        raise PictureError(f"{shown} is not a text file; expected a table of numbers, a row a line.")
    lines = raw.decode("utf-8-sig", errors="replace").splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    skipped = next((number for number, line in enumerate(lines) if line.strip()), 0)
    lines = lines[skipped:]
    if not lines:
        raise PictureError(f"{shown} is empty; expected a table of numbers, a row a line.")
    mark = "\t" if suffix == ".tsv" else max(";\t,", key=lambda each: (each in lines[0], -";\t,".index(each)))
    comma = mark == ";" and "." not in "".join(lines[:2])
    head = [cell.strip() for cell in next(csv.reader([lines[0]], delimiter=mark))]
    named = _are_names(head, shown, comma=comma)
    body = lines[1:] if named else lines
    if not body:
        raise PictureError(f"{shown} has a line of names and no numbers; expected a table of numbers, a row a line.")
    first = skipped + 1 + named
    values = _parse_fast(body, mark, len(head), comma=comma)
    if values is None:
        values = _parse_cells(body, mark, head if named else [""] * len(head), shown, first, comma=comma)
    return _Columns(values, tuple(head) if named else (), first)


def _are_names(head: Sequence[str], shown: str, *, comma: bool) -> bool:
    """Whether the first row of a table holds names; numbers of channels may be among them."""
    words = [cell for cell in head if cell and _number(cell, comma=comma) is None]
    if words and not all(cell in words or cell.isdecimal() for cell in head if cell):
        raise PictureError(
            f"{shown} has numbers in its first row, and '{words[0][:40]}' among them; expected a finite number in "
            "every cell, or a name in each."
        )
    return bool(words)


def _parse_fast(lines: Sequence[str], mark: str, columns: int, *, comma: bool) -> NDArray[np.float64] | None:
    """All numbers of a sound table; None where something is wrong with a cell."""
    if comma or any(not line.strip() for line in lines):
        return None
    try:
        values = np.loadtxt(lines, delimiter=mark, ndmin=2, dtype=np.float64, comments=None, quotechar='"')
    except ValueError:
        return None
    return values if values.shape[1] == columns and np.isfinite(values).all() else None


def _parse_cells(
    lines: Sequence[str], mark: str, names: Sequence[str], shown: str, first: int, *, comma: bool
) -> NDArray[np.float64]:
    """All numbers, cell by cell; the first that is none is named by its row and column."""
    rows: list[list[float]] = []
    for number, cells in enumerate(csv.reader(lines, delimiter=mark), first):
        if len(cells) != len(names):
            raise PictureError(
                f"{shown} has {_count(len(cells), 'cell')} in row {number}; expected {len(names)}, as in its first row."
            )
        row = []
        for column, cell in enumerate(cells):
            value = _number(cell.strip(), comma=comma)
            if value is None or not np.isfinite(value):
                where = f"row {number}, column {column + 1}{f' ({names[column]})' if names[column] else ''}"
                what = f"'{cell.strip()[:40]}'" if cell.strip() else "a blank cell"
                raise PictureError(f"{shown} has {what} in {where}; expected a finite number in every cell.")
            row.append(value)
        rows.append(row)
    return np.array(rows, np.float64)


def _number(cell: str, *, comma: bool) -> float | None:
    try:
        return float(cell.replace(",", ".") if comma else cell)
    except ValueError:
        return None


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
