"""What a record may hold: a stranger may have written it, so it is checked before anything in it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, TypeAlias, TypeGuard

from cnnviz.core.dimensions import VOLUME
from cnnviz.errors import OutputError, quoted, visible
from cnnviz.models.resampling import RANGES
from cnnviz.provenance import Provenance

__all__ = [
    "FORMER_LOGITS",
    "LONGEST",
    "check_form",
    "is_dataset",
    "is_plain_name",
    "is_references",
    "names_files",
    "refuse_record",
]

LONGEST: Final = 100_000
"""Characters of a text."""

MOST_ITEMS, MOST_NETWORKS, MOST_FILES = 1_000_000, 64, 64
MOST_THREADS: Final = 1024
LARGEST_SIDE, LARGEST_CELL, LARGEST_COUNT, LARGEST_SEED = 16_384, 4_000, 2**31, 2**64 - 1
MOST_DPI = 1200
LONGEST_NAME, SHOWN, LONGEST_SIGNAL = 255, 60, 1 << 24

HASH = re.compile(r"[0-9a-f]{64}")
FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
PLAIN = re.compile(r"[\w.+ -]+")
RANGE = re.compile(r"\{\d{1,5}\.\.\d{1,5}\}")

Check: TypeAlias = Callable[[Any], bool]


@dataclass(frozen=True)
class Many:
    """A list of what is alike; of so many, where ``count`` says it."""

    of: Any
    most: int = MOST_ITEMS
    count: int | None = None


@dataclass(frozen=True)
class Record:
    """A mapping with no other keys than these, and with the needed ones."""

    known: Mapping[str, Any]
    needed: tuple[str, ...] = ()


def is_plain_name(value: Any) -> TypeGuard[str]:
    """Whether it names a file and no way to one: no folder, no ``..``, nothing that stands for several names.

    The range of a data set's tars, ``name-{000..009}.tar``, is one name; it has up to five digits.
    """
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME:
        return False
    bare = RANGE.sub("", value, count=1)
    return bare not in ("", ".") and ".." not in bare and not re.search(r"[/\\*?\0]", bare)


def refuse_record(name: str, what: str) -> OutputError:
    """The error for a record that cannot be cnnviz's own.

    Args:
        name: The file's name.
        what: What is wrong with it, as the end of a sentence.
    """
    return OutputError(f"The record in {quoted(name)} is none that cnnviz writes: {what}.")


def check_form(record: Provenance, name: str) -> None:
    """Make sure that every value of a record is of the kind and within the bounds of those that cnnviz writes.

    What its method is asked, and with which settings, is left to :func:`cnnviz.rerunning.question.check_question`.

    Args:
        record: The record.
        name: The file's name.

    Raises:
        OutputError: If one is not; the message names it.
    """
    wrong = next(_misfits(vars(record), RECORD, ""), None)
    if wrong is not None:
        raise refuse_record(name, wrong)
    count, rows = len(record.batch or record.images or record.targets), record.rows
    steps = {after - before for before, after in pairwise(rows)}
    parts = len(record.images) or len(record.targets)
    outside = bool(record.batch) and max(rows, default=0) >= count
    if rows and (len(steps) > 1 or 0 in steps or len(rows) != parts or outside):
        raise refuse_record(name, f"rows is {_show(list(rows))}, which is no part of {count} images")


def _misfits(value: Any, form: Any, where: str) -> Iterator[str]:
    """In words, what of a value is not as its form has it."""
    if isinstance(form, Record):
        if not isinstance(value, Mapping):
            yield f"{where} is {_show(value)}"
            return
        yield from (f"{_join(where, key)} is no name that it knows" for key in value if key not in form.known)
        yield from (f"{_join(where, key)} is missing" for key in form.needed if key not in value)
        for key, each in value.items():
            yield from _misfits(each, form.known[key], _join(where, key))
    elif isinstance(form, Many):
        if not isinstance(value, (list, tuple)) or len(value) > form.most or form.count not in (None, len(value)):
            yield f"{where} is {_show(value)}"
            return
        for each in value:
            yield from _misfits(each, form.of, where)
    elif isinstance(form, tuple):
        if all(next(_misfits(value, one, where), None) for one in form):
            yield f"{where} is {_show(value)}"
    elif not form(value):
        yield f"{where} is {_show(value)}"


def _join(where: str, key: str) -> str:
    name = visible(key[:SHOWN])
    return f"{where}.{name}" if where else name


def _show(value: Any) -> str:
    text = visible(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def names_files(value: Any) -> bool:
    """Whether it is a list of files by their names and hashes."""
    return next(_misfits(value, FILES, ""), None) is None


def is_text(value: Any) -> TypeGuard[str]:
    """Whether it is a text of a length that a record can have."""
    return isinstance(value, str) and len(value) <= LONGEST


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e300


def is_count(low: int, high: int) -> Check:
    """Whether something is a whole number from the one to the other."""
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_number_in(low: float, high: float) -> Check:
    return lambda value: is_number(value) and low <= value <= high


def _is_match(pattern: re.Pattern[str]) -> Check:
    return lambda value: is_text(value) and pattern.fullmatch(value) is not None


def _is_nothing(value: Any) -> bool:
    return value is None


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


def _is_scalar(value: Any) -> bool:
    """Whether it is a plain value; a measured number may be none (NaN)."""
    return value is None or isinstance(value, (bool, float)) or is_text(value) or is_number(value)


def _is_record_of(key: Any, each: Any) -> Check:
    """Whether something is a mapping from texts to values of a form."""
    return lambda value: (
        isinstance(value, Mapping)
        and all(key(name) and next(_misfits(one, each, ""), None) is None for name, one in value.items())
    )


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value)) and value[0] < value[1]


SIDE, SEED = is_count(1, LARGEST_SIDE), is_count(0, LARGEST_SEED)
NUMBERS = Many(is_number, most=LARGEST_SIDE)
SIDES, LENGTH = Many(SIDE, most=VOLUME), Many(is_count(1, LONGEST_SIGNAL), count=1)
IS_RANGE_WORD = _is_match(re.compile("|".join(RANGES)))
IS_RATE, SPACING = _is_number_in(0, LARGEST_COUNT), Many(is_number, most=VOLUME)
IS_HASH, PLAIN_WORD = _is_match(HASH), _is_match(PLAIN)

NAMED_FILE = Record({"file": is_plain_name, "sha256": IS_HASH, "function": _is_match(FUNCTION)}, ("file", "sha256"))
FILES = Many(Record({"file": is_plain_name, "sha256": IS_HASH}, ("file", "sha256")), most=MOST_FILES)
IMAGE = Record(
    {"name": is_text, "sha256": IS_HASH, "kind": _is_match(re.compile("tensor|clip")), "true": is_text},
    ("name", "sha256"),
)
REFERENCES = Many(Record({"name": is_text, "sha256": IS_HASH}, ("name", "sha256")))
DATASET = Record(
    {"name": is_text, "sha256": IS_HASH, "kind": _is_match(re.compile("dataset"))}, ("name", "sha256", "kind")
)
FORMER_LOGITS = "output"
"""What records of older versions call ``logits``."""
OPENING = Record(
    {
        "model": (is_text, NAMED_FILE),
        "weights": (PLAIN_WORD, NAMED_FILE),
        "labels": (Many(is_text), NAMED_FILE),
        "mean": NUMBERS,
        "std": NUMBERS,
        "input_size": (SIDE, SIDES, LENGTH),
        **dict.fromkeys(
            ("logits", FORMER_LOGITS),
            (is_text, is_count(-LARGEST_SIDE, LARGEST_SIDE), NAMED_FILE, Record({"function": is_text})),
        ),
        "head": is_text,
        "embedding": is_text,
        "value_range": (_is_range, IS_RANGE_WORD),
        "rate": IS_RATE,
        "spacing": SPACING,
        "standardise": _is_truth,
        "grid": SIDES,
        "name": is_text,
        "seed": SEED,
    },
    ("model",),
)
PREPROCESS = Record(
    {
        "input_size": (SIDES, LENGTH),
        "resize": (_is_nothing, SIDE, SIDES, _is_match(re.compile("whole"))),
        "mean": NUMBERS,
        "std": NUMBERS,
        "interpolation": is_text,
        "channels": SIDE,
        "value_range": (_is_range, IS_RANGE_WORD),
        "keeps_size": _is_truth,
        "rate": IS_RATE,
        "spacing": SPACING,
        "standardise": _is_truth,
    }
)
FIXED_INPUT = Record(
    {"shape": Many(is_count(0, LARGEST_COUNT)), "dtype": PLAIN_WORD, "sha256": IS_HASH}, ("shape", "dtype", "sha256")
)
NETWORK = Record(
    {
        **dict.fromkeys(("name", "source", "weights", "factory", "file", "head", "embedding", "forward"), is_text),
        "inputs": _is_record_of(is_text, (_is_scalar, FIXED_INPUT)),
        "opening": OPENING,
        "weights_sha256": IS_HASH,
        "preprocess": PREPROCESS,
    }
)
LOOK = Record(
    {
        **dict.fromkeys(("shared", "down", "each", "animate", "transparent"), _is_truth),
        **dict.fromkeys(("style", "align", "format"), PLAIN_WORD),
        **dict.fromkeys(("normalise", "cmap"), (_is_nothing, is_text)),
        "slices": is_count(1, LARGEST_CELL),
        "axis": (PLAIN_WORD, is_count(0, 2)),
        "alpha": _is_number_in(0, 1),
        "quantile": _is_number_in(0, 1),
        "cell": is_count(1, LARGEST_CELL),
        "width": _is_number_in(0, 100),
        "columns": is_count(1, 2),
        "dpi": is_count(1, MOST_DPI),
        "font_size": _is_number_in(0, LARGEST_CELL),
        **dict.fromkeys(("font", "title"), is_text),
        "notes": _is_match(re.compile("short|full|none")),
        "rename": _is_record_of(is_text, is_text),
        "fps": _is_number_in(0, 240),
        "figure": PLAIN_WORD,
    }
)
RECORD = Record(
    {
        "method": is_text,
        "settings": _is_record_of(is_text, (_is_scalar, _is_record_of(is_text, _is_scalar))),
        "asked": lambda value: all(map(is_text, value)),
        "model": (NETWORK, Record({"networks": Many(NETWORK, most=MOST_NETWORKS)}, ("networks",))),
        "images": (Many(IMAGE), Many(DATASET, count=1)),
        "batch": Many(IMAGE),
        "rows": Many(is_count(0, LARGEST_COUNT)),
        "targets": Many(is_text),
        "layer": (_is_nothing, is_text),
        "device": _is_match(re.compile("[a-z]{1,20}")),
        "dtype": PLAIN_WORD,
        "threads": is_count(1, MOST_THREADS),
        "chunk": (_is_nothing, is_count(1, LARGEST_COUNT)),
        "seed": (_is_nothing, SEED),
        "checks": Many(is_text),
        "look": LOOK,
        "versions": _is_record_of(is_text, is_text),
        "quality": Many(_is_record_of(is_text, _is_scalar)),
        "schema": is_count(1, LARGEST_COUNT),
    }
)
"""The form of a record; where there are several, a value has one of them."""


def is_dataset(value: Any) -> bool:
    """Whether it is a data set by its name and fingerprint."""
    return next(_misfits(value, DATASET, ""), None) is None


def is_references(value: Any) -> bool:
    """Whether it is a list of pictures by name and hash."""
    return next(_misfits(value, REFERENCES, ""), None) is None
