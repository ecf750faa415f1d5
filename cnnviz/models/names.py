"""The networks that can be opened by name."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatch

from cnnviz.models.sources.bundled import bundled_names, bundled_present

__all__ = ["SOURCES", "ModelName", "model_names"]

SOURCES = ("bundled", "torchvision", "timm")


@dataclass(frozen=True)
class ModelName:
    """A network that opens by name.

    Attributes:
        name: What ``load_model`` takes.
        source: ``"bundled"``, ``"torchvision"`` or ``"timm"``.
        cached: Whether trained weights for it are on this machine.
    """

    name: str
    source: str
    cached: bool


def model_names(pattern: str | None = None, sources: Collection[str] = SOURCES) -> list[ModelName]:
    """The networks that open by name; timm's only where it is installed.

    Args:
        pattern: Part of a name, or a pattern with ``*`` and ``?``; None lists all.
        sources: Which of ``bundled``, ``torchvision`` and ``timm`` to list; bundled ones alone need no torch.
    """
    found: list[ModelName] = []
    if "bundled" in sources:
        names = _matching(bundled_names(), pattern)
        found += [ModelName(name, "bundled", bundled_present(name)) for name in names]
    if "torchvision" in sources:
        found += _of_torchvision(pattern)
    if "timm" in sources:
        found += _of_timm(pattern)
    return found


def _matching(names: Collection[str], pattern: str | None) -> list[str]:
    if not pattern:
        return list(names)
    wanted = pattern.lower() if any(mark in pattern for mark in "*?[") else f"*{pattern.lower()}*"
    return [name for name in names if fnmatch(name.lower(), wanted)]


def _of_torchvision(pattern: str | None) -> list[ModelName]:
    from cnnviz.models.sources.torchvision import torchvision_cached, torchvision_names

    names = _matching(torchvision_names(), pattern)
    return [ModelName(name, "torchvision", torchvision_cached(name)) for name in names]


def _of_timm(pattern: str | None) -> list[ModelName]:
    from cnnviz.models.sources.timm import has_timm, timm_cached, timm_names

    if not has_timm():
        return []
    return [ModelName(name, "timm", timm_cached(name)) for name in _matching(timm_names(), pattern)]
