"""What differs between an output and the one made again: what the records say, and the values."""

from __future__ import annotations

import base64
import io
import re
import zlib
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from cnnviz.provenance import Provenance

__all__ = ["Largest", "differences", "largest"]

HASH = re.compile(r"[0-9a-f]{64}")
EMBEDDED = re.compile(rb"data:image/(?:png|jpeg|webp|gif);base64,([A-Za-z0-9+/=\s]+)")
PDF_PICTURE = re.compile(
    rb"<<((?:(?!endobj).)*?/Subtype\s*/Image(?:(?!endobj).)*?)>>\s*stream\r?\n(.*?)endstream", re.DOTALL
)
SHORT = 12


class Largest(NamedTuple):
    """The largest difference of the values.

    Attributes:
        value: How large it is; in units of the values, or of 255 for pixels.
        what: Where it is, as a sentence.
    """

    value: float
    what: str


def differences(then: Provenance, now: Provenance) -> tuple[str, ...]:
    """A line for everything that two records do not have in common."""
    before, after = dict(_flat(vars(then))), dict(_flat(vars(now)))
    lines = []
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if old != new:
            lines.append(f"{name}: {_spoken(old)} then, {_spoken(new)} now")
    return tuple(lines)


def largest(then: bytes, now: bytes, suffix: str) -> Largest | None:
    """The largest difference between the values of two files of one kind; None where they hold none to compare."""
    if suffix == ".npz":
        return _of_arrays(then, now)
    if suffix == ".mp4":
        return None
    pairs = list(zip_longest(_pictures(then, suffix), _pictures(now, suffix)))
    found = [_of_pixels(one, other) for one, other in pairs]
    return max(found, key=lambda each: each.value) if found else None


def _of_arrays(then: bytes, now: bytes) -> Largest:
    with np.load(io.BytesIO(then)) as old, np.load(io.BytesIO(now)) as new:
        numbers = [name for name in old.files if old[name].dtype.kind in "fiub" and name in new.files]
        found = [_of_values(name, old[name], new[name]) for name in numbers]
    return max(found, key=lambda each: each.value, default=Largest(0.0, "the values are the same"))


def _of_values(name: str, old: NDArray[Any], new: NDArray[Any]) -> Largest:
    if old.shape != new.shape:
        return Largest(float("inf"), f"'{name}' had the shape {old.shape} and has {new.shape}")
    one, other = old.astype(np.float64), new.astype(np.float64)
    apart = np.where(np.isnan(one) & np.isnan(other), 0.0, np.abs(one - other))
    most = float(apart.max(initial=0.0))
    if most == 0:
        return Largest(0.0, "the values are the same")
    size = float(np.nanmax(np.abs(one)))
    return Largest(most, f"the values differ by at most {most:.3g}, in '{name}', whose largest is {size:.3g}")


def _of_pixels(old: NDArray[np.uint8] | None, new: NDArray[np.uint8] | None) -> Largest:
    if old is None or new is None:
        return Largest(float("inf"), "one of the files has more pictures")
    if old.shape != new.shape:
        sizes = (f"{each.shape[1]}x{each.shape[0]}" for each in (old, new))
        return Largest(float("inf"), f"a picture was {next(sizes)} pixels and is {next(sizes)}")
    apart = np.abs(old.astype(np.int16) - new)
    most, share = int(apart.max(initial=0)), float((apart.reshape(apart.shape[0], -1) > 0).mean())
    if most == 0:
        return Largest(0.0, "the pixels are the same")
    return Largest(float(most), f"the pixels differ by at most {most} of 255, {share:.2%} of their values")


def _pictures(content: bytes, suffix: str) -> Iterator[NDArray[np.uint8]]:
    """All pictures in a file, in order."""
    if suffix in (".svg", ".html", ".htm"):
        for hit in EMBEDDED.finditer(content):
            yield from _frames(base64.b64decode(hit[1]))
    elif suffix == ".pdf":
        yield from (each for each in map(_of_stream, PDF_PICTURE.finditer(content)) if each is not None)
    else:
        yield from _frames(content)


def _frames(content: bytes) -> Iterator[NDArray[np.uint8]]:
    with Image.open(io.BytesIO(content)) as image:
        for frame in ImageSequence.Iterator(image):
            yield np.asarray(frame.convert("RGB"))


def _of_stream(hit: re.Match[bytes]) -> NDArray[np.uint8] | None:
    """The values of a PDF's picture as they are stored; two files of one kind store them alike."""
    if b"/FlateDecode" not in hit[1]:
        return None
    return np.frombuffer(zlib.decompressobj().decompress(hit[2]), np.uint8).reshape(1, -1)


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Nested records as names with dots; what a method said is compared as a whole."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _flat(each, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)) and any(isinstance(each, Mapping) for each in value):
        for number, each in enumerate(value, 1):
            yield from _flat(each, f"{name} {number}")
    else:
        yield name, list(value) if isinstance(value, (list, tuple)) else value


def _spoken(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return "; ".join(map(_spoken, value)) or "nothing"
    text = str(value)
    return f"{text[:SHORT]}..." if HASH.fullmatch(text) else text
