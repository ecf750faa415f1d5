"""What differs between an output and the one made again: what the records say, and the values."""

from __future__ import annotations

import base64
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from cnnviz.drawing.notes import UNREADABLE, read_member
from cnnviz.errors import quoted, visible
from cnnviz.provenance import Provenance

__all__ = ["LargestDifference", "differences", "largest_difference"]

HASH = re.compile(r"[0-9a-f]{64}")
EMBEDDED = re.compile(rb"data:image/(?:png|jpeg|webp|gif);base64,([A-Za-z0-9+/=\s]+)")
STREAM, PICTURE = re.compile(rb">>\s*stream\r?\n"), re.compile(rb"/Subtype\s*/Image")
LARGEST_PICTURE = LARGEST_ARRAY = 1 << 30
"""Bytes that a picture in a PDF, or an array, unpacks to at most."""

SHORT = 12


class LargestDifference(NamedTuple):
    """The largest difference of the values.

    Attributes:
        value: How large it is; in units of the values, or of 255 for pixels.
        what: Where it is, as a sentence.
    """

    value: float
    what: str


def differences(then: Provenance, now: Provenance) -> tuple[str, ...]:
    """A line for everything that two records do not have in common."""
    before, after = dict(_flatten_record(vars(then))), dict(_flatten_record(vars(now)))
    lines = []
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if old != new:
            lines.append(f"{visible(name)}: {_format_value(old)} then, {_format_value(new)} now")
    return tuple(lines)


UNCOMPARED = (".mp4", ".json")
"""Kinds of files whose values are not compared."""

DAMAGED = LargestDifference(float("inf"), "the old file is damaged, and what it held cannot be compared")


def largest_difference(then: bytes, now: bytes, suffix: str) -> LargestDifference | None:
    """The largest difference between the values of two files of one kind; None where they hold none to compare.

    Args:
        then: The old file's content, which may be damaged; that is a difference too.
        now: The new one's.
        suffix: Their kind.
    """
    if suffix in UNCOMPARED:
        return None
    try:
        old: Any = _read_numbers(then) if suffix == ".npz" else list(_read_pictures(then, suffix))
    except UNREADABLE:
        return DAMAGED
    if suffix == ".npz":
        return _compare_arrays(old, _read_numbers(now))
    found = [_compare_pixels(one, other) for one, other in zip_longest(old, _read_pictures(now, suffix))]
    return max(found, key=lambda each: each.value) if found else None


def _read_numbers(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of numbers in a file, by name."""
    with zipfile.ZipFile(io.BytesIO(content)) as held:
        arrays = {name.removesuffix(".npy"): read_member(held, name, LARGEST_ARRAY) for name in held.namelist()}
    return {name: each for name, each in arrays.items() if each.dtype.kind in "fiub"}


def _compare_arrays(old: Mapping[str, NDArray[Any]], new: Mapping[str, NDArray[Any]]) -> LargestDifference:
    found = [_compare_values(name, old[name], new[name]) for name in old if name in new]
    return max(found, key=lambda each: each.value, default=LargestDifference(0.0, "the values are the same"))


def _compare_values(name: str, old: NDArray[Any], new: NDArray[Any]) -> LargestDifference:
    if old.shape != new.shape:
        return LargestDifference(float("inf"), f"{quoted(name)} had the shape {old.shape} and has {new.shape}")
    one, other = old.astype(np.float64), new.astype(np.float64)
    apart = np.where(np.isnan(one) & np.isnan(other), 0.0, np.abs(one - other))
    most = float(apart.max(initial=0.0))
    if most == 0:
        return LargestDifference(0.0, "the values are the same")
    size = float(np.nanmax(np.abs(one)))
    return LargestDifference(
        most, f"the values differ by at most {most:.3g}, in {quoted(name)}, whose largest is {size:.3g}"
    )


def _compare_pixels(old: NDArray[np.uint8] | None, new: NDArray[np.uint8] | None) -> LargestDifference:
    if old is None or new is None:
        return LargestDifference(float("inf"), "one of the files has more pictures")
    if old.shape != new.shape:
        sizes = (f"{each.shape[1]}x{each.shape[0]}" for each in (old, new))
        return LargestDifference(float("inf"), f"a picture was {next(sizes)} pixels and is {next(sizes)}")
    apart = np.abs(old.astype(np.int16) - new)
    most, share = int(apart.max(initial=0)), float((apart.reshape(apart.shape[0], -1) > 0).mean())
    if most == 0:
        return LargestDifference(0.0, "the pixels are the same")
    return LargestDifference(float(most), f"the pixels differ by at most {most} of 255, {share:.2%} of their values")


def _read_pictures(content: bytes, suffix: str) -> Iterator[NDArray[np.uint8]]:
    """All pictures in a file, in order."""
    if suffix in (".svg", ".html", ".htm"):
        for hit in EMBEDDED.finditer(content):
            yield from _read_frames(base64.b64decode(hit[1]))
    elif suffix == ".pdf":
        yield from _read_pdf(content)
    else:
        yield from _read_frames(content)


def _read_frames(content: bytes) -> Iterator[NDArray[np.uint8]]:
    with Image.open(io.BytesIO(content)) as image:
        for frame in ImageSequence.Iterator(image):
            yield np.asarray(frame.convert("RGB"))


def _read_pdf(content: bytes) -> Iterator[NDArray[np.uint8]]:
    """The values of a PDF's pictures as they are stored; two files of one kind store them alike."""
    end = 0
    for opened in STREAM.finditer(content):
        if opened.start() < end:
            continue  # within another stream's data
        told = content[max(end, content.rfind(b"endobj", end, opened.start())) : opened.start()]
        end = content.find(b"endstream", opened.end())
        if end < 0:
            return
        if PICTURE.search(told) and b"/FlateDecode" in told:
            values = zlib.decompressobj().decompress(content[opened.end() : end], LARGEST_PICTURE)
            yield np.frombuffer(values, np.uint8).reshape(1, -1)


def _flatten_record(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Nested records as names with dots; what a method said is compared as a whole."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _flatten_record(each, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)) and any(isinstance(each, Mapping) for each in value):
        for number, each in enumerate(value, 1):
            yield from _flatten_record(each, f"{name} {number}")
    else:
        yield name, list(value) if isinstance(value, (list, tuple)) else value


def _format_value(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return "; ".join(map(_format_value, value)) or "nothing"
    text = visible(str(value))
    return f"{text[:SHORT]}..." if HASH.fullmatch(text) else text
