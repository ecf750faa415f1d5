"""A network opened again, as the record says it was opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cnnviz.errors import UsageError
from cnnviz.models.model import Model
from cnnviz.models.opening import load_model
from cnnviz.rerunning.finding import find_file

__all__ = ["Instead", "reopen"]


@dataclass(frozen=True)
class Instead:
    """What is used in place of what the record names, or None.

    Attributes:
        model: A network, or its name or file.
        weights: A weights file or name.
        labels: A file of labels.
    """

    model: Any = None
    weights: Any = None
    labels: Any = None


def reopen(described: Mapping[str, Any], device: str, instead: Instead, folders: Sequence[Path]) -> Model:
    """The network of a record, on the device of the record where there is one.

    Args:
        described: The network's part of the record.
        device: The type of the device that computed.
        instead: What the user names in place of it.
        folders: Where files of the user's own are looked for.

    Raises:
        UsageError: If the network was made in memory and none is given.
        ModelError: If a file is not found, or the network cannot be opened.
    """
    if isinstance(instead.model, Model):
        return instead.model
    opening = dict(described.get("opening", {}))
    if not opening and instead.model is None:
        raise UsageError(
            f"The network '{described.get('name', '')}' was in memory when this was made; rerun needs it as model."
        )
    if isinstance(opening.get("output"), Mapping):
        raise UsageError(
            f"The network's logits were chosen by the function '{opening['output']['function']}', which only the "
            "script that has it can give; open the network there and give it as model."
        )
    name = _model(opening, instead, folders)
    weights = instead.weights or _path(opening.get("weights"), "weights file", "--weights", folders)
    labels = instead.labels or _path(opening.get("labels"), "labels file", "--labels", folders)
    size = opening.get("input_size")
    return load_model(
        name,
        weights=weights,
        labels=labels,
        mean=opening.get("mean"),
        std=opening.get("std"),
        input_size=(size[0], size[1]) if isinstance(size, list) else size,
        output=opening.get("output"),
        device=_device(device),
        seed=opening.get("seed", 0),
    )


def _model(opening: Mapping[str, Any], instead: Instead, folders: Sequence[Path]) -> Any:
    if instead.model is not None:
        return instead.model
    named = opening["model"]
    if not isinstance(named, Mapping):
        return named
    file = find_file(named, "network's file", "--model", folders)
    return f"{file}:{named['function']}" if "function" in named else str(file)


def _path(named: Any, what: str, option: str, folders: Sequence[Path]) -> Any:
    return find_file(named, what, option, folders) if isinstance(named, Mapping) else named


def _device(recorded: str) -> str:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return recorded if there.get(recorded) else "cpu"
