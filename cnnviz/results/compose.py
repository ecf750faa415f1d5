"""Composing a grid of one's own: maps, pictures and arrays side by side, with words around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.sample import Sample
from cnnviz.drawing.samples import is_wide, pixels_of
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.errors import UsageError
from cnnviz.provenance import Provenance
from cnnviz.results.attribution import Attribution
from cnnviz.results.heatmap import Heatmap
from cnnviz.results.result import Grid

__all__ = ["CellLike", "grid"]

Drawable: TypeAlias = Heatmap | Attribution | Sample | NDArray[np.uint8] | Cell
CellLike: TypeAlias = Drawable | tuple[Drawable, str] | None


def grid(
    rows: Sequence[Sequence[CellLike]],
    *,
    row_headings: Sequence[str] = (),
    column_headings: Sequence[str] = (),
    title: str = "",
    notes: Sequence[str] = (),
    provenance: Provenance | None = None,
) -> Grid:
    """Compose a grid.

    Args:
        rows: Rows of cells: a :class:`Heatmap` (drawn over its photograph, with caption and colour bar), an
            :class:`Attribution` (where the network saw the photograph), a :class:`Picture`, an array ``(H, W, 3)`` of
            uint8, None for an empty place, or any of these in a pair with a caption of your own.
        row_headings: One a row, or none.
        column_headings: One a column, or none.
        title: Drawn above everything.
        notes: Small lines under the grid.
        provenance: How it was made; default: that of its maps.

    Raises:
        UsageError: If a cell is nothing of this kind.
        ParameterError: If there is no cell, an array has another shape or type, or headings do not fit.
    """
    maps = [cell for row in rows for each in row if isinstance(cell := _split_caption(each)[0], (Heatmap, Attribution))]
    made = _compose_record(([] if provenance is None else [provenance]) + [one.provenance for one in maps])
    sheet = Sheet(
        tuple(tuple(None if each is None else _draw_cell(each) for each in row) for row in rows),
        row_headings=tuple(row_headings),
        column_headings=tuple(column_headings),
        title=title,
        notes=tuple(notes),
    )
    return Grid(sheet, made)


def _compose_record(made: Sequence[Provenance]) -> Provenance:
    """The record of a grid: what its maps have in common, and as its setting ``parts`` how each kind was made."""
    if not made:
        return Provenance(method="grid")
    first = made[0]
    parts: dict[str, dict[str, Any]] = {}
    for one in made:
        part = {"method": one.method, "model": one.model.get("name"), "layer": one.layer}
        part |= {"asked": dict(one.asked), "settings": dict(one.settings)}
        parts.setdefault(repr(part), part)
    images = {image["sha256"]: image for one in made for image in one.images}
    targets = dict.fromkeys(target for one in made for target in one.targets)
    checks = dict.fromkeys(check for one in made for check in one.checks)
    return replace(
        first,
        method="grid",
        settings={"parts": list(parts.values())},
        asked={},
        images=tuple(images.values()),
        targets=tuple(targets),
        checks=tuple(checks),
        batch=(),
        rows=(),
        look={},
    )


def _split_caption(each: CellLike) -> tuple[Drawable | None, str | None]:
    return (each[0], each[1]) if isinstance(each, tuple) else (each, None)


def _draw_cell(each: CellLike) -> Cell:
    shown, caption = _split_caption(each)
    if isinstance(shown, Heatmap):
        words = shown.caption() if caption is None else caption
        return Cell(shown.overlay(), words, shown.scale(), paper=is_wide(shown.picture))
    if isinstance(shown, Attribution):
        drawn = shown.cells()[-1]
        return drawn if caption is None else replace(drawn, caption=caption)
    if isinstance(shown, Sample):
        return Cell(pixels_of(shown), shown.name if caption is None else caption, paper=is_wide(shown))
    if isinstance(shown, np.ndarray):
        return Cell(shown, caption or "")
    if isinstance(shown, Cell):
        return shown if caption is None else Cell(shown.pixels, caption, shown.scale)
    raise UsageError(f"A cell of a grid is a Heatmap, a Picture or an array, not of type {type(shown).__name__}.")
