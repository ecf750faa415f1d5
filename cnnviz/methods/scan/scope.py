"""The scope of a scan: its settings, a job's share of it, and its layers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from cnnviz.core.layer import AUTOMATIC, FUNCTION, Layers, split_call
from cnnviz.core.untrusted import NUMBER
from cnnviz.errors import ParameterError, UnknownNameError, UsageError
from cnnviz.method import MOST_SEED

__all__ = ["ScanRequest", "JobShare", "choose_layers"]

ALL = "all"
SHARE = re.compile(rf"({NUMBER})/({NUMBER})")
LEAST: Mapping[str, int] = {"k": 1, "samples": 0, "seed": 0}
MOST_THREADS = 1024
LEAST_IF_GIVEN: Mapping[str, int] = {"block": 1, "threads": 1, "workers": 0, "blocks_a_shard": 1}


@dataclass(frozen=True)
class JobShare:
    """The part of a scan that one job of an array does: every ``jobs``-th shard, beginning with ``job - 1``."""

    job: int
    jobs: int

    @classmethod
    def parse(cls, text: str) -> JobShare:
        """``"2/3"``: the second of three jobs.

        Raises:
            ParameterError: If it is no such text.
        """
        match = SHARE.fullmatch(text.strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise ParameterError(f"shard is a job among several, such as 1/3, 2/3 and 3/3; got '{text}'.")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True)
class ScanRequest:
    """The settings of a scan. None leaves a setting to the index that is there already, or to the default.

    Attributes:
        layer: Layers, separated by commas.
        k: Largest values kept of every unit.
        block: Images in one forward.
        threads: CPU threads that compute.
        samples: Images drawn from every tenth of a unit's range.
        seed: Seed of those.
        autocast: Whether to compute in bfloat16 where torch finds that safe.
        workers: Processes that read pictures.
        blocks_a_shard: Blocks in one file.

    Raises:
        ParameterError: If a number is out of bounds.
    """

    layer: str = AUTOMATIC
    k: int = 16
    block: int | None = None
    threads: int | None = None
    samples: int = 0
    seed: int = 0
    autocast: bool = False
    workers: int | None = None
    blocks_a_shard: int | None = None

    def __post_init__(self) -> None:
        for name, least in {**LEAST, **LEAST_IF_GIVEN}.items():
            value: Any = getattr(self, name)
            if value is None and name in LEAST_IF_GIVEN:
                continue
            if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < least:
                raise ParameterError(f"{name} must be a whole number of at least {least}; got {value!r}.")
            if int(value) > MOST_SEED:
                raise ParameterError(f"{name} must be at most {MOST_SEED}; got a larger number.")
        if self.threads is not None and self.threads > MOST_THREADS:
            raise ParameterError(f"threads must be at most {MOST_THREADS}; got {self.threads}.")


def choose_layers(text: str, layers: Layers) -> list[str]:
    """The layers that a text names, each once, in its order.

    Args:
        text: Separated by commas: names, calls (``relu#2``), ``last-spatial``, kinds (``Conv2d`` for all layers of it),
            patterns (``features.*``), or ``all`` for all layers without layers in them.
        layers: The network's layers.

    Raises:
        UnknownNameError: If there is no such layer.
        UsageError: If nothing is named, or a pattern or kind fits no layer that has units.
    """
    found: dict[str, None] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        found.update(dict.fromkeys(_match_layers(part, layers)))
    if not found:
        raise UsageError("Name the layers to look at, separated by commas; 'cnnviz layers' lists them.")
    return list(found)


def _match_layers(part: str, layers: Layers) -> list[str]:
    plain, call = split_call(part)
    if part == AUTOMATIC:
        return [layers.resolve(part).name]
    if plain in layers:
        layers.resolve(part)
        return [part if call else plain]
    known = [layer for layer in layers.values() if FUNCTION in part or not layer.function]
    of_units = [layer for layer in known if layer.arrangement or (layer.shape and len(layer.shape) == 1)]
    if part == ALL:
        inner = {name.rpartition(".")[0] for name in layers}
        return [layer.name for layer in of_units if layer.name not in inner]
    by_kind = [layer.name for layer in of_units if layer.kind == part]
    fitting = by_kind or [layer.name for layer in of_units if fnmatchcase(layer.name, part)]
    if not fitting and any(mark in part for mark in "*?["):
        raise UsageError(f"No layer with units fits '{part}'; 'cnnviz layers' lists them.")
    if not fitting:
        raise UnknownNameError("layer", part, [*layers, ALL, AUTOMATIC], "'cnnviz layers' lists them all.")
    return fitting
