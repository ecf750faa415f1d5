"""Showing on a page what units are: their kernels, maps, patches and pictures."""

from __future__ import annotations

from typing import Final

from cnnviz.drawing.blocks import Block, Gallery, Group, Plate, Words
from cnnviz.drawing.colour import Scale, colourise
from cnnviz.results.feature_maps import FeatureMaps
from cnnviz.results.filters import Filters
from cnnviz.results.heatmap import Heatmap, Look
from cnnviz.results.image import Image
from cnnviz.results.images import Images
from cnnviz.results.patches import Patches
from cnnviz.results.telling import sheet_blocks

__all__ = ["kernels", "made_pictures", "unit_maps", "unit_patches"]

EXACT: Final = 64
"""Longer side in pixels up to which a map is kept without loss."""


def kernels(found: Filters) -> tuple[Block, ...]:
    """Kernels as tiles on one scale; those that need a row a unit as their grid has them."""
    if found.in_rows:
        return sheet_blocks(found.grid(), f"Kernels of {found.layer}")
    rows = found.grid().sheet.rows[: None if found.scaling == "own" else -1]
    plates = tuple(
        Plate(cell.pixels, f"Kernel of unit {cell.caption} of {found.layer}.", cell.caption, exact=True)
        for row in rows
        for cell in row
        if cell is not None
    )
    height, width = found.values.shape[2:]
    colours = "Colours are the weights on red, green and blue around grey, which is zero." if found.coloured else ""
    words = f"{len(plates)} of {len(found)} kernels of {found.layer}, {height} x {width}. {colours}"
    return (Gallery(plates, "tiny", words.strip(), found.scale()),)


def unit_maps(found: FeatureMaps) -> Group:
    """Maps of a layer's units for one picture, each on a scale of its own."""
    height, width = found[0].values.shape
    words = f"{found.layer}: {len(found)} of {found.total} units, {height} x {width} places"
    plates = tuple(_map(one, found.scale(number, Look())) for number, one in enumerate(found))
    return Group(words, (Gallery(plates, "strip"),))


def unit_patches(found: Patches) -> tuple[Block, ...]:
    """For each unit its strongest patches with their values."""
    sheet = found.grid().sheet
    groups = []
    for heading, row in zip(sheet.row_headings, sheet.rows, strict=True):
        first, _, rest = heading.partition("\n")
        plates = tuple(
            Plate(
                cell.pixels, f"A patch that excites {first} of {found.layer} to {cell.caption}.", caption=cell.caption
            )
            for cell in row
            if cell is not None
        )
        shown = Gallery(plates, "strip", rest.replace("\n", ", ")) if plates else Words("It never responds.", "missing")
        groups.append(Group(first, (shown,)))
    return tuple(groups)


def made_pictures(found: Images) -> Gallery:
    """Pictures that were made, each with its score and what is known of its quality."""
    return Gallery(tuple(_made(one) for one in found), "medium")


def _map(one: Heatmap, scale: Scale) -> Plate:
    values = one.values
    name = str(one.target).rpartition(":")[2]
    words = f"Map of unit {name} of {one.layer} for {one.picture.name}."
    return Plate(colourise(values, scale), words, name, scale=scale, exact=max(values.shape) <= EXACT)


def _made(one: Image) -> Plate:
    cell = one.cell()
    words = f"A picture made by gradient ascent for {one.target}: patterns, not a photograph."
    return Plate(cell.pixels, words, str(one.target), "\n".join(filter(None, (f"score {one.score:.4g}", cell.note))))
