"""Provenance: how a result was made, as plain values that go into every file. No clock, no host, no folder."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from importlib import metadata
from typing import Any, Self

from cnnviz.errors import OutputError, quoted, visible

__all__ = [
    "ENCODER", "__version__", "Caution", "Margin", "Measure", "Provenance", "asking", "cautions", "installed",
    "merge_checks", "plain", "plain_text", "remarks",
]  # fmt: skip

__version__ = "0.1.0"
SCHEMA = 1
LARGEST_BATCH = 64
"""Pictures of one call that the record of one of them names; of a larger call it names none but its own."""

TUPLES = ("images", "batch", "rows", "targets", "checks", "quality")
ITEMS: Mapping[str, type] = {
    "images": dict, "batch": dict, "rows": int, "targets": str, "checks": str, "quality": dict,
}  # fmt: skip
KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("settings", "asked", "model", "look", "versions"), (dict,)),
    **dict.fromkeys(("method", "device", "dtype"), (str,)),
    **dict.fromkeys(("threads", "schema"), (int,)),
    **dict.fromkeys(("chunk", "seed"), (int, type(None))),
    "layer": (str, type(None)),
}
"""What the fields of a record are in JSON, and what those hold that are lists."""

MOST_SHOWN = 40
DEEPEST = 16
"""Levels of a record within each other; those that are written have about half as many."""

ENCODER = "av"
LIBRARIES = ("torch", "torchvision", "numpy", "Pillow", "matplotlib", "opencv-python-headless")


class Caution(str):
    """A check that changes how a figure must be read: figures say it, the record and stderr say all."""

    __slots__ = ()

    @classmethod
    def like(cls, check: str, words: str) -> str:
        """Other words for a check: a caution if it is one."""
        return cls(words) if isinstance(check, Caution) else words


class Measure(str):
    """A check with a number in it, of one map; those of several maps become one with a range.

    Args:
        sentence: With ``{}`` where the number stands.
        value: The number.
        form: How it is written, as a format of ``str.format``.
    """

    sentence: str
    values: tuple[float, ...]
    form: str

    def __new__(cls, sentence: str, *values: float, form: str = "{:.2g}") -> Self:
        """The sentence with its number, or with the least and the largest of several."""
        low, high = form.format(min(values)), form.format(max(values))
        said = sentence.replace("{}", low if low == high else f"{low} to {high}")
        made = super().__new__(cls, f"{said} ({len(values)} maps)" if len(values) > 1 else said)
        made.sentence, made.values, made.form = sentence, values, form
        return made


class Margin(Measure, Caution):
    """A measure of how far a map may be off, which figures say."""


def merge_checks(checks: Iterable[str]) -> tuple[str, ...]:
    """Every check once, and the measures of one kind as one with a range, where the first of them stands."""
    found: dict[str, Measure | str] = {}
    for check in checks:
        if not isinstance(check, Measure):
            found.setdefault(check, check)
            continue
        known = found.get(check.sentence)
        before = known.values if isinstance(known, Measure) else ()
        found[check.sentence] = type(check)(check.sentence, *before, *check.values, form=check.form)
    return tuple(found.values())


def cautions(checks: Iterable[str]) -> tuple[str, ...]:
    """Those that change how a figure must be read, the margins of error last."""
    found = [each for each in checks if isinstance(each, Caution)]
    return tuple(sorted(found, key=lambda one: isinstance(one, Margin)))


def remarks(checks: Iterable[str]) -> tuple[str, ...]:
    """All others."""
    return tuple(each for each in checks if not isinstance(each, Caution))


@cache
def installed() -> Mapping[str, str]:
    """Versions of cnnviz, Python and the libraries that decide over a result's bytes."""
    found = {"cnnviz": __version__, "python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def _encoder() -> Mapping[str, str]:
    """The version of the library that decides over a video's bytes; no other file depends on it."""
    try:
        return {ENCODER: metadata.version(ENCODER)}
    except metadata.PackageNotFoundError:
        return {}


_asked: ContextVar[Mapping[str, Any]] = ContextVar("asked")


class asking:  # noqa: N801 - used as a function
    """Inside, every record that is made holds what was asked besides the network, the pictures and the settings.

    Args:
        question: Such as the target, by the name of the method's parameter; what is None is left out.
    """

    def __init__(self, question: Mapping[str, Any]) -> None:
        self._question = {name: plain(value) for name, value in question.items() if value is not None}

    def __enter__(self) -> None:
        self._token = _asked.set(self._question)

    def __exit__(self, *_raised: object) -> None:
        _asked.reset(self._token)


FOLDER = re.compile(r"( in )(?:[^/]*/)+(?=[^/]+\.\w+$)")
"""Of a target in a mask's file the file's folder, which no record names."""
SIDE = re.compile(r"(?<=similar:)(?:(?:(?! (?:-|vs\.?) similar:)[^/])*/)+(pair(?=$| (?:-|vs\.?) similar:))?")
"""Of a target in another picture's file likewise; a file called ``pair`` keeps a folder, since no pair is meant."""


def plain(value: Any) -> Any:
    """What was asked as values that JSON has; a function or an object in memory by its name only."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str) or hasattr(value, "recorded"):
        words = FOLDER.sub(r"\1", getattr(value, "recorded", value))
        return SIDE.sub(lambda found: "./pair" if found[1] else "", words) if words.startswith("similar:") else words
    if hasattr(value, "__index__") and getattr(value, "ndim", 0) == 0:
        return int(value)
    if isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) > 0:
        return [plain(each) for each in value]
    if is_dataclass(value) and not isinstance(value, type):
        held = {each.name: getattr(value, each.name) for each in fields(value)}
        value = {"kind": type(value).__name__, **held}
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    return (
        {"function": str(getattr(value, "__name__", type(value).__name__))}
        if callable(value)
        else {"object": type(value).__name__}
    )


@dataclass(frozen=True)
class Provenance:
    """How a result was made.

    Attributes:
        method: The method's name.
        settings: Its settings, all of them, as they were in force.
        asked: What else it was asked, such as the target, in the asker's own words.
        model: Name, origin, hash of the weights and preprocessing of the network.
        images: Name and hash of every image, in order; ``kind`` is ``"tensor"`` for network inputs.
        batch: All images of the call, where this is a part of its result and they are not too many.
        rows: Which of the call's images these are, where this is a part of its result.
        targets: What was explained, for each image.
        layer: The layer that was looked at, or None.
        device: Type of the device that computed.
        dtype: Floating type that the network computed in.
        threads: CPU threads that computed.
        chunk: Images per forward.
        seed: Seed of whatever was drawn at random, or None.
        checks: What the method had to say: memory that ran out, what a budget left out.
        look: How the file was drawn, and its format.
        versions: Versions of cnnviz, Python and the libraries.
        quality: What was measured of every picture that was made.
        schema: Version of this record's layout.
    """

    method: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    asked: Mapping[str, Any] = field(default_factory=lambda: _asked.get({}))
    model: Mapping[str, Any] = field(default_factory=dict)
    images: tuple[Mapping[str, str], ...] = ()
    batch: tuple[Mapping[str, str], ...] = ()
    rows: tuple[int, ...] = ()
    targets: tuple[str, ...] = ()
    layer: str | None = None
    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1
    chunk: int | None = None
    seed: int | None = None
    checks: tuple[str, ...] = ()
    look: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=installed)
    quality: tuple[Mapping[str, Any], ...] = ()
    schema: int = SCHEMA

    def stamped(self, method: str, settings: Mapping[str, Any], checks: tuple[str, ...] | None = None) -> Provenance:
        """The same with the method and its settings filled in, and what it had to say."""
        return replace(
            self, method=method, settings=dict(settings), checks=self.checks if checks is None else tuple(checks)
        )

    def drawn(self, **look: Any) -> Provenance:
        """The same with how it is drawn, added to what is known about that."""
        versions = {**self.versions, **_encoder()} if look.get("format") == "mp4" else self.versions
        return replace(self, look={**self.look, **look}, versions=versions)

    def only(self, rows: int | slice) -> Provenance:
        """The record of one image of the batch, or of some; it names the whole batch too, unless that is large."""
        some = slice(rows, rows + 1) if isinstance(rows, int) else rows
        images, targets, quality = self.images[some], self.targets[some], self.quality[some]
        count = len(self.images) or len(self.targets)
        numbers = tuple((self.rows or range(count))[some])
        if len(numbers) == count:
            return self
        batch = self.batch or (self.images if len(self.images) <= LARGEST_BATCH else ())
        return replace(self, images=images, targets=targets, quality=quality, batch=batch, rows=numbers)

    def to_json(self) -> str:
        """The record as one line of JSON with sorted keys."""
        held = {each.name: getattr(self, each.name) for each in fields(self)}
        text = json.dumps({"cnnviz": held}, sort_keys=True, ensure_ascii=False, default=_plain)
        return plain_text(text)

    @classmethod
    def from_json(cls, text: str) -> Provenance:
        """The record read back.

        Raises:
            OutputError: If the text is no such record, or of a later layout.
        """
        try:
            held = dict(json.loads(text)["cnnviz"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise OutputError("The file holds no record of cnnviz.") from None
        if _depth(held) > DEEPEST:
            raise OutputError(f"The file holds no record of cnnviz: it goes deeper than {DEEPEST} levels.")
        if held.get("schema") != SCHEMA:
            found = _shorten(held.get("schema"))
            raise OutputError(f"The file's record has layout {found}; this version reads {SCHEMA}.")
        wrong = next((name for name, value in held.items() if not _fits(name, value)), None)
        if wrong is not None:
            what = f"{quoted(wrong[:MOST_SHOWN])} in it is {_shorten(held[wrong])}"
            raise OutputError(f"The file holds no record of cnnviz: {what}.")
        known: Any = {name: tuple(value) if name in TUPLES else value for name, value in {**BARE, **held}.items()}
        return cls(**known)


BARE: Mapping[str, Any] = {"asked": {}, "versions": {}}
"""What stands in a record that leaves them out: not what is asked, or installed, just now."""


def plain_text(text: str) -> str:
    """JSON text that every format can hold: characters that UTF-8 or XML has no place for are written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode().translate(ESCAPES)


ESCAPES = {0xFFFE: r"\ufffe", 0xFFFF: r"\uffff"}


def _fits(name: str, value: Any) -> bool:
    """Whether a field of a record is of its kind."""
    if name in ITEMS:
        return isinstance(value, list) and all(_is_kind(each, ITEMS[name]) for each in value)
    return name in KINDS and any(_is_kind(value, kind) for kind in KINDS[name])


def _is_kind(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _depth(value: Any) -> int:
    """How many levels of lists and mappings there are within each other."""
    level, depth = [value], 0
    while level := [each for each in level if isinstance(each, (dict, list))]:
        depth += 1
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return depth


def _shorten(value: Any) -> str:
    text = visible(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)
