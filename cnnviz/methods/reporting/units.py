"""The chapter about the units that drove each answer."""

from __future__ import annotations

from cnnviz.methods.inputs import prepare
from cnnviz.methods.reporting.asked import Asked, Told
from cnnviz.methods.reporting.driving import driving_units
from cnnviz.provenance import Provenance
from cnnviz.results.composing import CellLike, grid
from cnnviz.results.driving import Driving
from cnnviz.results.grid import Grid
from cnnviz.results.telling import Block, Fold, Group, missing

__all__ = ["tell_units"]


def tell_units(asked: Asked) -> Told:
    """The units that add most to each picture's target, where they respond, and what their removal costs."""
    batch = prepare(asked.model, asked.images, list(asked.targets))
    found, made = driving_units(asked.model, batch, layer=asked.layer, count=asked.units, batch_size=asked.batch_size)
    asked.driving = found
    blocks = tuple(
        Group(f"{picture.name}: units of {one.layer} that speak for {one.target}", _shown(one))
        for picture, one in zip(asked.pictures, found, strict=True)
    )
    checks = tuple(dict.fromkeys(check for one in found for check in one.checks))
    record = made.stamped("units", {"units": asked.units}, checks)
    figures = {"": _grid(asked, found, record)} if any(found) else {}
    return Told(blocks, (record,), figures, [one.describe() for one in found], checks)


def _shown(one: Driving) -> tuple[Block, ...]:
    if not one.units:
        return (missing(f"No unit of {one.layer} speaks for {one.target}: all their contributions are zero or below."),)
    return one.gallery(), Fold("The numbers", blocks=(one.table(),))


def _grid(asked: Asked, found: tuple[Driving, ...], made: Provenance) -> Grid:
    """A row a picture: the photograph, then each unit's response."""
    rows: list[list[CellLike]] = []
    for picture, one in zip(asked.pictures, found, strict=True):
        responses = [(unit.heatmap, f"unit {unit.unit.channel}\n{unit.share:.1%}") for unit in one]
        rows.append([(picture, f"{picture.name}\n{one.target}"), *responses])
    title = f"{asked.model.name} · {found[0].layer}: units that speak most for the answer"
    return grid(rows, title=title, provenance=made)
