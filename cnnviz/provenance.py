"""Provenance: how a result was made, as plain values that go into every file. No clock, no host, no folder."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib import metadata
from typing import Any

from cnnviz.errors import OutputError

__all__ = ["VERSION", "Provenance", "installed"]

VERSION = "0.1.0"
SCHEMA = 1
LIBRARIES = ("torch", "torchvision", "numpy", "Pillow", "matplotlib", "opencv-python-headless")


@cache
def installed() -> Mapping[str, str]:
    """Versions of cnnviz, Python and the libraries that decide over a result's bytes."""
    found = {"cnnviz": VERSION, "python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True)
class Provenance:
    """How a result was made.

    Attributes:
        method: The method's name.
        settings: Its settings, all of them, as they were in force.
        model: Name, origin, hash of the weights and preprocessing of the network.
        images: Name and hash of every image, in order.
        targets: What was explained, for each image.
        layer: The layer that was looked at, or None.
        device: Type of the device that computed.
        dtype: Floating type that the network computed in.
        threads: CPU threads that computed.
        chunk: Images per forward.
        seed: Seed of whatever was drawn at random, or None.
        versions: Versions of cnnviz, Python and the libraries.
        quality: What was measured of every picture that was made.
        schema: Version of this record's layout.
    """

    method: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    images: tuple[Mapping[str, str], ...] = ()
    targets: tuple[str, ...] = ()
    layer: str | None = None
    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1
    chunk: int | None = None
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=installed)
    quality: tuple[Mapping[str, Any], ...] = ()
    schema: int = SCHEMA

    def stamped(self, method: str, settings: Mapping[str, Any]) -> Provenance:
        """The same with the method and its settings filled in."""
        return replace(self, method=method, settings=dict(settings))

    def only(self, rows: int | slice) -> Provenance:
        """The record of one image of the batch, or of some."""
        some = slice(rows, rows + 1) if isinstance(rows, int) else rows
        return replace(self, images=self.images[some], targets=self.targets[some], quality=self.quality[some])

    def to_json(self) -> str:
        """The record as one line of JSON with sorted keys."""
        held = {each.name: getattr(self, each.name) for each in fields(self)}
        text = json.dumps({"cnnviz": held}, sort_keys=True, ensure_ascii=False, default=_plain)
        return text.encode("utf-8", "backslashreplace").decode()  # a file's name need not be valid text

    @classmethod
    def from_json(cls, text: str) -> Provenance:
        """The record read back.

        Raises:
            OutputError: If the text is no such record, or of a later layout.
        """
        try:
            held = dict(json.loads(text)["cnnviz"])
        except (ValueError, KeyError, TypeError):
            raise OutputError("The file holds no record of cnnviz.") from None
        if held.get("schema") != SCHEMA:
            raise OutputError(f"The file's record has layout {held.get('schema')}; this version reads {SCHEMA}.")
        try:
            held.update({name: tuple(held.get(name, ())) for name in ("images", "targets", "quality")})
            return cls(**held)
        except TypeError:
            raise OutputError("The file holds no record of cnnviz.") from None


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)
