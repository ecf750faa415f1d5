"""Names of classes, given as a list or read from a file."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnviz.core.untrusted import parse_json
from cnnviz.errors import ParameterError, UsageError

__all__ = ["read_labels"]


def read_labels(labels: Sequence[str] | str | os.PathLike[str]) -> tuple[str, ...]:
    """Class names in the order of the logits.

    Args:
        labels: The names themselves, or a file of them: ``.json`` with a list, ``{index: label}``,
            ``{label: index}`` or ``{index: [identifier, label]}``; any other file has one name a line.

    Raises:
        UsageError: If the file cannot be read, is of another form, or leaves out an index.
    """
    if not isinstance(labels, (str, os.PathLike)):
        return tuple(str(label) for label in labels)
    path = Path(labels).expanduser()
    text = _read_text(path, labels)
    names = _parse_json(text, path.name) if path.suffix.lower() == ".json" else _parse_lines(text, path.name)
    if not names:
        raise UsageError(f"The label file '{path.name}' holds no labels.")
    return names


def _read_text(path: Path, given: str | os.PathLike[str]) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"There is no label file '{given}'.") from None
    except UnicodeDecodeError:
        raise UsageError(f"The label file '{given}' is not UTF-8 text; expected one label a line, or JSON.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"The label file '{given}' cannot be read: {reason}.") from None


def _parse_lines(text: str, name: str) -> tuple[str, ...]:
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if "" in lines:
        raise UsageError(f"Line {lines.index('') + 1} of the label file '{name}' is empty; expected one label a line.")
    return tuple(lines)


def _parse_json(text: str, name: str) -> tuple[str, ...]:
    try:
        content = parse_json(text)
    except ValueError as error:
        raise UsageError(f"The label file '{name}' is not valid JSON: {error}.") from None
    if isinstance(content, Mapping):
        named = content.get("id2label")
        content = _sort_labels(named if isinstance(named, Mapping) else content, name)
    if not isinstance(content, list):
        raise UsageError(f"The label file '{name}' holds {_describe_form(content)}; {EXPECTED}")
    return tuple(_check_label(entry, name) for entry in content)


INDEX = re.compile("[0-9]{1,9}")
EXPECTED = "expected a list of labels, {index: label} or {label: index}."


def _sort_labels(table: Mapping[str, Any], name: str) -> list[Any]:
    if all(INDEX.fullmatch(key) for key in table):
        by_index = {int(key): label for key, label in table.items()}
    elif all(type(index) is int for index in table.values()):
        by_index = {index: label for label, index in table.items()}
    else:
        raise UsageError(f"The label file '{name}' holds {_describe_form(table)}; {EXPECTED}")
    absent = next((index for index in range(len(table)) if index not in by_index), None)
    if absent is not None:
        raise UsageError(f"The label file '{name}' names {len(table)} classes, but none with index {absent}.")
    return [by_index[index] for index in range(len(table))]


def _check_label(entry: Any, name: str) -> str:
    if isinstance(entry, list) and entry:
        entry = entry[-1]
    if not isinstance(entry, str):
        raise UsageError(f"The label file '{name}' has {json.dumps(entry)[:40]} among its labels; {EXPECTED}")
    return entry


def _describe_form(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"an object with the key '{next(iter(content))[:40]}'"
    return json.dumps(content)[:40]


def name_classes(labels: Sequence[str] | Mapping[int, str] | None) -> tuple[str, ...] | None:
    """Names of all classes in order, from a list or by index.

    Raises:
        ParameterError: If it is a text, or an index is missing.
    """
    if labels is None:
        return None
    if isinstance(labels, str):
        raise ParameterError(f"labels are the names of all classes; got the text '{labels}'.")
    if not isinstance(labels, Mapping):
        return tuple(str(label) for label in labels)
    indices = range(len(labels))
    by_index = {int(index): str(label) for index, label in labels.items()}
    if set(by_index) != set(indices):
        raise ParameterError(f"labels by index need every index from 0 to {len(labels) - 1}.")
    return tuple(by_index[index] for index in indices)


def check_name(name: str | None) -> str | None:
    """A network's name as captions say it, or None where none is given.

    Raises:
        ParameterError: If it is no text of one line.
    """
    if name is None:
        return None
    if not isinstance(name, str) or not name.strip() or not name.strip().isprintable():
        raise ParameterError(f"A network's name is a text of one line, not {name!r}.")
    return name.strip()
