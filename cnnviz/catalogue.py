"""The methods there are: one line each, so that listing and completing them loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

from cnnviz.errors import UnknownNameError
from cnnviz.registry import Method

__all__ = ["CATALOGUE", "Entry", "command_name", "load"]


@dataclass(frozen=True)
class Entry:
    """A method's line: where it lives, its family, and the first sentence of its docstring."""

    where: str
    family: str
    summary: str


CAMS = "Class activation maps"

CATALOGUE: Mapping[str, Entry] = MappingProxyType(
    {
        "gradcam": Entry(
            "cnnviz.methods.gradcam", CAMS, "Where the channels that raise the target's score respond (Grad-CAM)."
        ),
        "cam": Entry("cnnviz.methods.cam", CAMS, "Where the classifier's own weights see the class (CAM)."),
    }
)

COMMANDS = {"gradcam_plusplus": "gradcam++"}


def command_name(name: str) -> str:
    """How the command line calls a method: with dashes, and ``gradcam++``."""
    return COMMANDS.get(name, name.replace("_", "-"))


def load(name: str) -> Method[Any, Any]:
    """A method by its function's or its command's name.

    Raises:
        UnknownNameError: If there is none; the message offers the nearest names.
    """
    found = {key: key for key in CATALOGUE} | {command_name(key): key for key in CATALOGUE}
    if name not in found:
        raise UnknownNameError("method", name, map(command_name, CATALOGUE), "'cnnviz methods' lists them all.")
    loaded = getattr(import_module(CATALOGUE[found[name]].where), found[name])
    assert isinstance(loaded, Method)
    return loaded
