"""Page elements of results: what each kind of result becomes in words, tables and pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import numpy as np

from cnnviz.core.dimensions import KINDS, spell_size
from cnnviz.core.sample import Sample
from cnnviz.core.target import ClassTarget, Target
from cnnviz.drawing.colour import Scale, colourise, scale_of
from cnnviz.drawing.overlay import place
from cnnviz.drawing.pages.blocks import Bar, Bars, Block, Facts, Gallery, Group, Plate, Size, Words
from cnnviz.drawing.samples import draw_over, is_wide
from cnnviz.drawing.sheet import Cell
from cnnviz.provenance import Provenance
from cnnviz.results.attribution import Attribution, scale_among
from cnnviz.results.features import FeatureMaps
from cnnviz.results.filters import Filters
from cnnviz.results.heatmap import Heatmap, Look
from cnnviz.results.images import Image, Images
from cnnviz.results.patches import Patches
from cnnviz.results.predictions import Prediction
from cnnviz.results.result import Grid

__all__ = [
    "prediction_bars",
    "map_plate",
    "missing_note",
    "photograph_plate",
    "recipe_facts",
    "sheet_blocks",
    "kernel_gallery",
    "image_gallery",
    "feature_group",
    "patch_groups",
]

Map: TypeAlias = Heatmap | Attribution

THIRDS = 3
LEAST_SHARE = 0.001
DOWN, ACROSS = ("top", "middle", "bottom"), ("left", "centre", "right")
SMALL_CELL = 64
"""Longer side in pixels up to which a cell of a grid is a tile."""


def missing_note(sentence: str) -> Words:
    """A sentence in place of what could not be shown."""
    return Words(sentence, "missing")


def kind_of(picture: Sample) -> str:
    """What it is: a picture, a signal or a volume."""
    return KINDS[len(picture.size)]


def photograph_plate(picture: Sample, title: str = "", caption: str = "") -> Plate:
    """A picture as it was given; what the network did not see of it is faded."""
    seen = np.zeros(picture.cut.size, dtype=np.float32)
    nothing = scale_of(seen)
    drawn = draw_over(picture, place(seen, picture.cut), nothing)
    return Plate(drawn, f"The {kind_of(picture)} {picture.name}.", title, caption)


def prediction_bars(picture: Sample, best: Sequence[Prediction], target: Target, *, shown: bool = True) -> Bars:
    """The first classes of a picture as bars, the explained one marked; beside the picture, if it is to be shown."""
    index = target.index if isinstance(target, ClassTarget) else None
    bars = tuple(
        Bar(str(one.target), one.probability or 0.0, _format_share(one), one.target.index == index) for one in best
    )
    probable = all(one.probability is not None for one in best)
    title = f"The {len(bars)} most probable classes" if probable else "The highest logits"
    return Bars(title, bars, photograph_plate(picture) if shown else None)


def map_plate(found: Map, title: str, *, pixelwise: bool = False) -> Plate:
    """A map over its photograph; one with a value for each pixel stands in the photograph's place.

    Args:
        found: The map.
        title: What to call it, such as the method's name.
        pixelwise: Whether it is too fine for an overlay.
    """
    flat = found.flat if isinstance(found, Attribution) else found
    if pixelwise:
        scale = scale_among([found], Look()) if isinstance(found, Attribution) else flat.scale(Look())
        pixels = flat.in_place(scale)
    else:
        scale, pixels = flat.scale(), flat.overlay()
    note = flat.blank_note() if flat.blank else flat.strongest()
    return Plate(
        pixels, f"{title} of {flat.picture.name} for {flat.target}: {_describe_peak(flat)}.", title, note, scale
    )


def recipe_facts(made: Iterable[Provenance], checks: Iterable[str]) -> Facts:
    """Methods with their settings, and what there is to know about what they did."""
    said = tuple(("note", check) for check in checks)
    return Facts((*(_recipe_fact(each) for each in made), *said))


def _recipe_fact(made: Provenance) -> tuple[str, str]:
    settings = ", ".join(f"{name} {_format_value(value)}" for name, value in made.settings.items() if value is not None)
    layer = f"layer {made.layer}" if made.layer and made.settings.get("layer") is None else ""
    return made.method or "result", "; ".join(filter(None, (layer, settings))) or "no settings"


def sheet_blocks(found: Grid, what: str) -> tuple[Block, ...]:
    """A grid of pictures as a page shows it: a gallery, or under each row's heading one.

    Args:
        found: The grid.
        what: What its pictures are, for alternative texts.
    """
    sheet = found.sheet
    rows = [_row_plates(row, sheet.column_headings, what) for row in sheet.rows]
    notes = tuple(Words(note, "quiet") for note in sheet.notes)
    if not any(sheet.row_headings):
        plates = tuple(plate for row in rows for plate in row)
        return Gallery(plates, _plate_size(plates)), *notes
    galleries = (Gallery(plates, _plate_size(plates)) for plates in rows)
    named = zip(sheet.row_headings, galleries, strict=True)
    return *(Group(heading, (gallery,)) if heading else gallery for heading, gallery in named), *notes


def _format_share(one: Prediction) -> str:
    if one.probability is None:
        return one.answer
    return f"{one.probability:.1%}" if one.probability >= LEAST_SHARE else f"< {LEAST_SHARE:.1%}"


def _row_plates(row: Iterable[Cell | None], headings: Sequence[str], what: str) -> tuple[Plate, ...]:
    plates = []
    for column, cell in enumerate(row):
        if cell is None:
            continue
        heading = headings[column] if headings else ""
        first, _, rest = cell.caption.partition("\n")
        title, caption = (heading, cell.caption) if heading else (first, rest)
        words = ", ".join(part for part in (what, title, first if heading else "") if part)
        plates.append(Plate(cell.pixels, words, title, caption, cell.scale, exact=max(cell.size) <= SMALL_CELL))
    return tuple(plates)


def _plate_size(plates: Sequence[Plate]) -> Size:
    longest = max((max(plate.pixels.shape[:2]) for plate in plates), default=0)
    return "small" if longest <= SMALL_CELL else "medium"


def _describe_peak(flat: Heatmap) -> str:
    """Where a map is strongest, in words."""
    if flat.blank:
        return flat.blank_note()
    if is_wide(flat.picture):
        return flat.strongest()
    x, y = flat.peak()
    height, width = flat.picture.size
    down, across = DOWN[y * THIRDS // height], ACROSS[x * THIRDS // width]
    place_ = "in the centre" if (down, across) == ("middle", "centre") else f"at the {down} {across}"
    return f"strongest {place_}, {x} pixels from the left and {y} from the top"


def _format_value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


EXACT: Final = 64
"""Longer side in pixels up to which a map is kept without loss."""


def kernel_gallery(found: Filters) -> tuple[Block, ...]:
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
    colours = "Colours are the weights on red, green and blue around grey, which is zero." if found.coloured else ""
    words = f"{len(plates)} of {len(found)} kernels of {found.layer}, {spell_size(found.values.shape[2:])}. {colours}"
    return (Gallery(plates, "tiny", words.strip(), found.scale()),)


def feature_group(found: FeatureMaps) -> Group:
    """Maps of a layer's units for one picture, each on a scale of its own."""
    words = f"{found.layer}: {len(found)} of {found.total} units, {spell_size(found[0].values.shape)} places"
    plates = tuple(_feature_plate(one, found.scale(number, Look())) for number, one in enumerate(found))
    return Group(words, (Gallery(plates, "strip"),))


def patch_groups(found: Patches) -> tuple[Block, ...]:
    """For each unit its strongest patches with their values."""
    sheet = found.grid().sheet
    groups = []
    for heading, row in zip(sheet.row_headings, sheet.rows, strict=True):
        first, _, rest = heading.partition("\n")
        plates = tuple(
            Plate(
                cell.pixels, f"A patch that activates {first} of {found.layer} to {cell.caption}.", caption=cell.caption
            )
            for cell in row
            if cell is not None
        )
        shown = (
            Gallery(plates, "strip", rest.replace("\n", ", ")) if plates else Words("It is never active.", "missing")
        )
        groups.append(Group(first, (shown,)))
    return tuple(groups)


def image_gallery(found: Images) -> Gallery:
    """Pictures that were made, each with its score and what is known of its quality."""
    return Gallery(tuple(_image_plate(one) for one in found), "medium")


def _feature_plate(one: Heatmap, scale: Scale) -> Plate:
    values = one.values
    name = str(one.target).rpartition(":")[2]
    words = f"Map of unit {name} of {one.layer} for {one.picture.name}."
    return Plate(colourise(values, scale), words, name, scale=scale, exact=max(values.shape) <= EXACT)


def _image_plate(one: Image) -> Plate:
    cell = one.cell()
    words = f"A picture made by gradient ascent for {one.target}: patterns, not a photograph."
    return Plate(cell.pixels, words, str(one.target), "\n".join(filter(None, (f"score {one.score:.4g}", cell.note))))
