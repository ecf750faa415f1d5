"""The networks that can be opened by name."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatch

from cnnviz.core.dimensions import PICTURE, VOLUME
from cnnviz.models.bundled import BUNDLED
from cnnviz.models.downloads import cached_file
from cnnviz.models.sources.bundled import bundled_names, bundled_present
from cnnviz.models.sources.registries import (
    CLASSIFICATION,
    PREFIX,
    VIDEO,
    has_timm,
    timm_registry,
    torchvision_registry,
)  # fmt: skip

__all__ = ["SOURCES", "ModelName", "model_names", "places_of"]

SOURCES = ("bundled", "torchvision", "timm")


@dataclass(frozen=True)
class ModelName:
    """A network that opens by name.

    Attributes:
        name: What ``load_model`` takes.
        source: ``"bundled"``, ``"torchvision"`` or ``"timm"``.
        cached: Whether trained weights for it are on this machine.
        task: What it answers: ``"classification"``, a class of the whole picture, ``"segmentation"``, of every
            pixel, ``"detection"``, of boxes, or ``"video"``, of a clip.
    """

    name: str
    source: str
    cached: bool
    task: str = CLASSIFICATION


def model_names(pattern: str | None = None, sources: Collection[str] = SOURCES) -> list[ModelName]:
    """The networks that open by name; timm's only where it is installed.

    Args:
        pattern: Part of a name, or a pattern with ``*`` and ``?``; None lists all.
        sources: Which of ``bundled``, ``torchvision`` and ``timm`` to list.
    """
    found: list[ModelName] = []
    if "bundled" in sources:
        names = _match_names(bundled_names(), pattern)
        found += [ModelName(name, "bundled", bundled_present(name), BUNDLED[name].task) for name in names]
    if "torchvision" in sources:
        registry = torchvision_registry()
        names = _match_names(registry, pattern)
        found += [
            ModelName(name, "torchvision", any(map(cached_file, registry[name].urls)), registry[name].task)
            for name in names
        ]
    if "timm" in sources and has_timm():
        weights = {PREFIX + name: where for name, where in timm_registry().items()}
        names = _match_names(weights, pattern)
        found += [ModelName(name, "timm", weights[name].cached() is not None) for name in names]
    return found


def _match_names(names: Collection[str], pattern: str | None) -> list[str]:
    if not pattern:
        return list(names)
    wanted = pattern.lower() if any(mark in pattern for mark in "*?[") else f"*{pattern.lower()}*"
    return [name for name in names if fnmatch(name.lower(), wanted)]


def places_of(model: str) -> int | None:
    """How many axes of places a network of that name takes, without opening it; None where its name does not tell."""
    if model.startswith(PREFIX):
        return PICTURE
    if model in BUNDLED:
        return len(BUNDLED[model].input_size)
    known = torchvision_registry().get(model)
    if known is None:
        return None
    return VOLUME if known.task == VIDEO else PICTURE
