"""The note inside an HTML page: a block of JSON that no browser runs, shows or is led out of."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["ELEMENT", "embedded", "from_page"]

ELEMENT = "cnnviz-provenance"
"""The block's id."""

_BLOCK = re.compile(rf'<script type="application/json" id="{ELEMENT}">(.*?)</script>', re.DOTALL)
_ESCAPED = re.compile(r"\\(u003c|.)", re.DOTALL)


def embedded(note: str) -> str:
    """JSON text as it can stand in a page: no ``<`` in it could end the block."""
    return note.replace("<", r"\u003c")


def from_page(path: Path) -> str | None:
    """The note in a page, or None when it holds none of ours."""
    held = _BLOCK.search(path.read_text(encoding="utf-8"))
    return None if held is None else _ESCAPED.sub(lambda hit: "<" if hit[1] == "u003c" else hit[0], held[1])
