"""A network described once in a ``.toml`` file: where it is, its weights and labels, and how its inputs are made."""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from cnnviz.core.dimensions import VOLUME
from cnnviz.core.untrusted import open_ordinary
from cnnviz.errors import UnknownNameError, UsageError, quoted
from cnnviz.models.formats import SUFFIXES

__all__ = ["USUAL_FILE", "complete", "is_description", "read_description", "read_unasked"]

USUAL_FILE: Final = "cnnviz.toml"
"""What is read of the current folder where no network is named."""
LARGEST: Final = 1 << 20
"""Bytes of a file, which holds a dozen lines, or the labels of some thousand classes."""
LONGEST_SIDE: Final = 10**6
SPELT: Final = {"sampling_rate": "rate", "range": "value_range"}
"""Keys that are called as the command line's options, and what ``load_model`` calls the same."""
RANGES: Final = ("window", "percentiles")
HUBS: Final = ("hf-hub:", "hf_hub:", "hf:", "local-dir:")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "\0" not in value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf


def _is_length(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LONGEST_SIDE


def _is_list(value: Any, of: Callable[[Any], bool], *counts: int) -> bool:
    return isinstance(value, list) and bool(value) and all(map(of, value)) and (not counts or len(value) in counts)


def _is_range(value: Any) -> bool:
    return value in RANGES if isinstance(value, str) else _is_list(value, _is_number, 2) and value[0] < value[1]


ONE_TO_THREE: Final = tuple(range(1, VOLUME + 1))
KEYS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "model": (_is_text, 'a text such as "resnet18" or "net.py:make"'),
    "weights": (_is_text, 'a text such as "net.safetensors" or "none"'),
    "labels": (lambda value: _is_text(value) or _is_list(value, _is_text), "a file's name or a list of texts"),
    "mean": (lambda value: _is_list(value, _is_number), "a list of numbers, one for each channel"),
    "std": (lambda value: _is_list(value, _is_length), "a list of numbers above 0, one for each channel"),
    "input_size": (
        lambda value: _is_side(value) or _is_list(value, _is_side, *ONE_TO_THREE),
        "a whole number of pixels, or a list such as [240, 320], height first",
    ),
    "value_range": (_is_range, 'two numbers such as [0, 4095], "window" or "percentiles"'),
    "rate": (_is_length, "a number above 0, in hertz"),
    "spacing": (
        lambda value: _is_length(value) or _is_list(value, _is_length, 1, VOLUME),
        "a number of millimetres, or a list such as [5, 0.7, 0.7]",
    ),
    "standardise": (lambda value: isinstance(value, bool), "true or false"),
    "logits": (
        lambda value: _is_text(value) or (isinstance(value, int) and not isinstance(value, bool)),
        'a key, a number or "FILE.py:FUNCTION"',
    ),
    "head": (_is_text, 'a text such as "sigmoid"'),
    "embedding": (_is_text, "a layer's name"),
    "name": (_is_text, "a text"),
    "grid": (
        lambda value: _is_side(value) or _is_list(value, _is_side, *ONE_TO_THREE),
        "a list such as [7, 7], rows first",
    ),
}
"""What a file can say, by the names of ``load_model``: whether a value will do, and what is expected in words."""


def is_description(model: Any) -> bool:
    """Whether a network is named by a ``.toml`` file."""
    return isinstance(model, (str, os.PathLike)) and os.fsdecode(model).lower().endswith(".toml")


def complete(given: Mapping[str, Any], names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What was given, with what the file that is named as the model says of all else.

    Args:
        given: ``model`` and other arguments; None stands for one that was not given.
        names: What arguments of ``load_model`` are called there, where that is something else.

    Raises:
        UsageError: If the file cannot be read, or says what no network is described by.
    """
    if not is_description(given["model"]):
        return dict(given)
    said = {(names or {}).get(name, name): value for name, value in read_description(given["model"]).items()}
    return {**given, **{name: value for name, value in said.items() if name == "model" or given.get(name) is None}}


def read_description(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a ``.toml`` file says of a network, as arguments of ``load_model``; files are relative to its folder.

    Raises:
        UsageError: If it cannot be read, or says what no network is described by.
    """
    file = Path(os.fsdecode(path)).expanduser()
    shown = quoted(os.fsdecode(path))
    said = _rename_keys(_parse(file, shown), shown)
    for name, value in said.items():
        fits, expected = KEYS[name]
        if not fits(value):
            raise UsageError(f"In {shown}, {_spell(name)} is {_shorten(value)}; expected {expected}.")
    if "model" not in said:
        raise UsageError(f'{shown} does not say which network it describes; expected model = "resnet18", for example.')
    if is_description(said["model"]):
        raise UsageError(f"{shown} names another description as its model; expected a network's name or file.")
    return {name: _as_argument(name, value, file.parent) for name, value in said.items()}


def read_unasked(path: str | os.PathLike[str] = USUAL_FILE) -> dict[str, Any]:
    """The same of a file that nobody named, which must not have any code run, nor fetch from where it likes.

    Raises:
        UsageError: If it names code, a ``.pt2`` file or a repository, besides what reading it raises.
    """
    said = read_description(path)
    for name in ("model", "logits"):
        value = said.get(name)
        if isinstance(value, str) and (runs := _runs_code(value, model=name == "model")):
            raise UsageError(
                f"{quoted(os.fsdecode(path))} in the current folder names {runs} ({quoted(_shorten(value))}), which is "
                f"not opened unasked; if you trust it, name it: --model {os.fsdecode(path)}."
            )
    return said


def _runs_code(value: str, *, model: bool) -> str | None:
    """What would run code, or fetch from anywhere, in words; None for a plain name."""
    if model and value.lower().endswith((".pt2", ".pt", ".pth", ".pkl")):
        return "a file that can hold code"
    if value.startswith("timm:"):
        return "a repository" if value.removeprefix("timm:").startswith(HUBS) else None
    return "Python code" if ":" in value and (model or ".py:" in value.lower()) else None


def _parse(file: Path, shown: str) -> dict[str, Any]:
    try:
        with open_ordinary(file) as stream:
            content = stream.read(LARGEST + 1)
    except FileNotFoundError:
        raise UsageError(f"There is no file {shown} that describes a network.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"The description {shown} cannot be read: {reason}.") from None
    if len(content) > LARGEST:
        raise UsageError(f"{shown} is larger than 1 MiB; expected a dozen lines that describe a network.")
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise UsageError(f"{shown} is not UTF-8 text; expected TOML, in UTF-8.") from None
    except RecursionError:
        raise UsageError(f'{shown} goes too deep; expected lines such as weights = "net.safetensors".') from None
    except ValueError as error:
        raise UsageError(
            f'{shown} is not valid TOML ({_shorten(error)}); expected lines such as head = "sigmoid".'
        ) from None


def _rename_keys(held: Mapping[str, Any], shown: str) -> dict[str, Any]:
    """What is said, by the names of ``load_model``; options' names and dashes are understood."""
    said: dict[str, Any] = {}
    for key, value in held.items():
        plain = key.replace("-", "_")
        name = SPELT.get(plain, plain)
        if name not in KEYS:
            known = list(dict.fromkeys(map(_spell, KEYS)))
            raise UnknownNameError("key", key, known, f"{shown} can say {', '.join(known)}.")
        if name in said:
            raise UsageError(f"{shown} says {_spell(name)} twice, under two names; expected it once.")
        said[name] = value
    return said


def _spell(name: str) -> str:
    """A key as the command line's option is called."""
    return next((key for key, own in SPELT.items() if own == name), name)


def _shorten(value: object, most: int = 60) -> str:
    text = " ".join(str(value).split()) if not isinstance(value, str) else value
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _as_argument(name: str, value: Any, folder: Path) -> Any:
    """A value as ``load_model`` takes it: files with their folder, lists as tuples."""
    if name in ("model", "logits") and isinstance(value, str):
        source, mark, function = value.rpartition(":")
        if mark and source.lower().endswith(".py"):
            return f"{_place(source, folder)}:{function}"
    if name in ("model", "weights", "labels") and isinstance(value, str):
        named = ":" not in value[2:] and (Path(value).suffix.lower() in SUFFIXES or bool(re.search(r"[/\\]", value)))
        return _place(value, folder) if named or name == "labels" or _is_file(folder / value) else value
    if name in ("mean", "std", "value_range") and isinstance(value, list):
        return tuple(map(float, value))
    if name == "grid" and isinstance(value, int):
        return (value, value)
    return tuple(value) if isinstance(value, list) else value


def _place(path: str, folder: Path) -> str:
    return os.fspath(folder / Path(path).expanduser())


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
