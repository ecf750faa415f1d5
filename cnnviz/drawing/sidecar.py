"""The note of a file that cannot hold one: a JSON file beside it, which knows the bytes it speaks of."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

__all__ = ["from_sidecar", "sidecar_of", "sidecar_text"]

DIGEST = "sha256"


def sidecar_of(path: Path) -> Path:
    """Where the note of a file is: ``clip.mp4.json`` beside ``clip.mp4``."""
    return path.with_name(f"{path.name}.json")


def sidecar_text(path: Path, note: str) -> str:
    """What a sidecar says.

    Args:
        path: The file, as it is going to stay.
        note: A JSON object, as text.
    """
    return json.dumps({**json.loads(note), DIGEST: _digest(path)}, sort_keys=True, ensure_ascii=False, indent=1) + "\n"


def from_sidecar(path: Path) -> str | None:
    """The note of a file, as it was given; None when there is no sidecar, or it speaks of other bytes."""
    sidecar = sidecar_of(path)
    if not sidecar.is_file():
        return None
    held = json.loads(sidecar.read_text("utf-8"))
    if not isinstance(held, dict) or held.pop(DIGEST, None) != _digest(path):
        return None
    return json.dumps(held, sort_keys=True, ensure_ascii=False)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
