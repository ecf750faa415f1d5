"""How a network was opened, as plain values from which it can be opened again; never a folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnviz.models.files import wants_random
from cnnviz.probing.outputs import OutputSelector

__all__ = ["file_digest", "opening"]

BLOCK = 1 << 20


def opening(
    model: str,
    *,
    weights: str | os.PathLike[str] | None,
    labels: Sequence[str] | str | os.PathLike[str] | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    input_size: int | tuple[int, int] | None,
    output: OutputSelector,
    seed: int,
) -> dict[str, Any]:
    """What :func:`cnnviz.load_model` was asked for, as plain values: what was given, and no more.

    A file stands there by its name and the hash of its content. The arguments are those of ``load_model``.
    """
    given = {
        "weights": _named(weights),
        "labels": _named(labels) if isinstance(labels, (str, os.PathLike)) else _listed(labels),
        "mean": _listed(mean),
        "std": _listed(std),
        "input_size": input_size if isinstance(input_size, int) else _listed(input_size),
        "output": {"function": _called(output)} if callable(output) else output,
        "seed": seed if wants_random(weights) else None,
    }
    return {"model": _network(model), **{name: value for name, value in given.items() if value is not None}}


def file_digest(file: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _network(model: str) -> Any:
    source, mark, function = model.rpartition(":")
    if mark and source.lower().endswith(".py"):
        return {**_file(Path(source)), "function": function}
    return _named(model)


def _named(given: str | os.PathLike[str] | None) -> Any:
    """A name as it is, a file by its name and hash."""
    if given is None:
        return None
    path = Path(given).expanduser()
    return _file(path) if path.is_file() else os.fspath(given)


def _file(path: Path) -> dict[str, str]:
    path = path.expanduser()
    return {"file": path.name, "sha256": file_digest(path)}


def _listed(values: Sequence[Any] | None) -> list[Any] | None:
    return None if values is None else [each if isinstance(each, str) else _number(each) for each in values]


def _number(value: Any) -> float | int:
    return int(value) if hasattr(value, "__index__") else float(value)


def _called(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
