"""How pictures came about, as an animation: their snapshots step by step, side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cnnviz.drawing.animation import ANIMATION_SUFFIXES, FrameWriter
from cnnviz.drawing.files import ensure_writable
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.errors import OutputError
from cnnviz.provenance import Provenance
from cnnviz.results.grid import Grid
from cnnviz.results.image import Image

__all__ = ["in_rows", "write_animation"]

MOST_ACROSS: Final = 6
LAST_SECONDS: Final = 2.0


def in_rows(cells: Sequence[Cell]) -> tuple[tuple[Cell, ...], ...]:
    """Cells in about as many rows as columns, at most six across."""
    across = min(MOST_ACROSS, math.ceil(math.sqrt(len(cells))))
    return tuple(tuple(cells[start : start + across]) for start in range(0, len(cells), across))


def write_animation(parts: Sequence[Image], path: Path, record: Provenance, *, fps: float) -> Path:
    """Write the snapshots of pictures; a picture that was finished early stays as it is, the end stays for two seconds.

    Args:
        parts: The pictures; each with snapshots.
        path: Ends in .gif, .webp or .mp4.
        record: How they were made.
        fps: Snapshots a second.

    Raises:
        OutputError: A picture has no snapshots, or the file cannot be written.
    """
    ensure_writable(path, force=True, suffixes=ANIMATION_SUFFIXES)
    if not all(one.snapshots for one in parts):
        raise OutputError(f"'{path.name}' is an animation, but the pictures were made without snapshots on the way.")
    steps = sorted({step for one in parts for step, _ in one.snapshots})
    note = record.drawn(format=path.suffix.lower()[1:], animate=True, fps=fps).to_json()
    with FrameWriter(path, fps, note) as writer:
        for step in steps:
            drawn = Grid(Sheet(in_rows([one.frame(step) for one in parts]))).pixels()
            writer.add(drawn, seconds=LAST_SECONDS if step == steps[-1] else None)
    return path
