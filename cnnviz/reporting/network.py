"""The chapters about the network itself: what it is, its layers, and how everything was made."""

from __future__ import annotations

import json

import numpy as np

from cnnviz.core.dimensions import PICTURE, SIGNAL, VOLUME, Size, spell_size
from cnnviz.core.layer import Layer, Layers
from cnnviz.drawing.pages.blocks import Block, Facts, Fold, Table, Words
from cnnviz.errors import CnnvizError
from cnnviz.methods.cams.rank_layers import choose_layer
from cnnviz.models.preprocess import Preprocess
from cnnviz.reporting.chapter import ChapterContent, ReportContext
from cnnviz.results.detections import Detections
from cnnviz.results.predictions import Segmentations

__all__ = ["write_layers", "write_overview"]

MANY = 24
UNITS = {SIGNAL: "samples", PICTURE: "pixels", VOLUME: "voxels"}
"""What a place of the network's input is called."""

ORIGIN_WORDS = {"source": "opened from", "weights": "weights", "factory": "made by", "file": "file"}


def write_overview(context: ReportContext) -> ChapterContent:
    """Name, origin, size, input and preprocessing of the network."""
    model, layers = context.model, context.model.layers
    weights = sum(weight.numel() for weight in model.module.parameters())
    rows = [
        ("network", model.name),
        *((ORIGIN_WORDS.get(name, name), str(value)) for name, value in model.origin.items()),
        ("weights' fingerprint", f"SHA-256 {model.fingerprint()}"),
        ("parameters", f"{weights:,}"),
        ("layers", f"{len(_leaf_layers(layers))} ({len(layers)} modules)"),
        ("input", _describe_input(model.preprocess)),
        ("preprocessing", _describe_preprocessing(model.preprocess)),
        ("output", _describe_answers(context)),
    ]
    notes = tuple(Words(f"{note[0].upper()}{note[1:]}.", "missing") for note in model.notes)
    numbers = {"parameters": weights, "layers": len(layers), "weights_sha256": model.fingerprint()}
    return ChapterContent((Facts(tuple(rows)), *notes), numbers=numbers)


def write_layers(context: ReportContext) -> ChapterContent:
    """The layers as one forward showed them, with what their units see."""
    layers = context.model.layers
    automatic, checks = _choose_automatic(context)
    ends = _last_of_each_grid(layers, automatic)
    blocks: list[Block] = [_layer_table("The last layer at each resolution", ends, automatic)]
    everything = list(layers.values())
    if len(everything) > len(ends):
        whole = _layer_table(f"All {len(everything)} layers, in the network's own order", everything, automatic)
        blocks.append(Fold(f"All {len(everything)} layers", blocks=(whole,)))
    if automatic:
        blocks.insert(1, Words(f"Highlighted: {automatic}, the layer used for maps by default.", "quiet"))
    return ChapterContent(tuple(blocks), numbers={"layers": len(everything), "automatic": automatic}, checks=checks)


def _choose_automatic(context: ReportContext) -> tuple[str | None, tuple[str, ...]]:
    try:
        return choose_layer(context.model), ()
    except CnnvizError as error:
        return None, (str(error),)


def _leaf_layers(layers: Layers) -> list[Layer]:
    inner = {name.rpartition(".")[0] for name in layers}
    return [layer for layer in layers.values() if layer.name not in inner and layer.calls]


def _last_of_each_grid(layers: Layers, automatic: str | None) -> list[Layer]:
    """The last layer at each size of the grid, or the automatic one of that size, in the order of the forward."""
    last: dict[Size, Layer] = {}
    for layer in sorted(_leaf_layers(layers), key=lambda layer: layer.order):
        if layer.arrangement is not None:
            last[layer.arrangement.grid] = layer
    chosen = layers[automatic] if automatic is not None and automatic in layers else None
    if chosen is not None and chosen.arrangement is not None:
        last[chosen.arrangement.grid] = chosen
    return sorted(last.values(), key=lambda layer: layer.order)


def _layer_table(caption: str, layers: list[Layer], automatic: str | None) -> Table:
    rows = tuple(_layer_row(layer) for layer in layers)
    marked = tuple(number for number, layer in enumerate(layers) if layer.name == automatic)
    headings = ("layer", "kind", "output", "weights", "receptive field", "stride")
    return Table(caption, headings, rows, (2, 3, 4, 5), marked)


def _layer_row(layer: Layer) -> tuple[str, ...]:
    shape = " x ".join(map(str, layer.shape)) if layer.shape else ""
    return (layer.name, layer.kind, shape, f"{layer.parameters:,}" if layer.parameters else "", *_field_words(layer))


def _field_words(layer: Layer) -> tuple[str, str]:
    """What a unit sees of the input, and how far it is to the next unit, in words."""
    field = layer.field
    if field is None:
        return "", ""
    if field.size is None or field.stride is None:
        return ("the whole image" if field.kind == "whole" else "unknown"), ""
    gates = ", the rest through gates" if field.kind == "gated" else ""
    return f"{_format_sides(*field.size)} px{gates}", f"{_format_sides(*field.stride)} px"


def _format_sides(*sides: float) -> str:
    return f"{sides[0]:g}" if len(set(sides)) == 1 else " x ".join(f"{side:g}" for side in sides)


def _describe_input(how: Preprocess) -> str:
    """What the network takes, in words."""
    return f"{how.channels} channels, {_spell_input(how)}"


def _spell_input(how: Preprocess) -> str:
    return "of any size" if how.keeps_size else f"{spell_size(how.input_size)} {UNITS[how.places]}"


def _describe_preprocessing(how: Preprocess) -> str:
    mean, std = (json.dumps([float(f"{value:.6g}") for value in values]) for values in (how.mean, how.std))
    after = f"minus {mean}, divided by {std}"
    if how.keeps_size:
        return f"as it is, {after}"
    if how.places != PICTURE:
        first = "" if how.resize is None else "resized, "
        return f"{first}{spell_size(how.input_size)} {UNITS[how.places]} cut from the middle, {after}"
    height, width = how.input_size
    if isinstance(how.resize, str):
        return f"the whole picture into {height} x {width} pixels ({how.interpolation}), black around it, {after}"
    if isinstance(how.resize, int):
        first = f"shorter side to {how.resize} pixels ({how.interpolation}), "
    else:
        first = f"to {how.resize[0]} x {how.resize[1]} pixels ({how.interpolation}), " if how.resize else ""
    return f"{first}{height} x {width} cut from the centre, {after}"


def _describe_answers(context: ReportContext) -> str:
    if context.predictions is None:
        return "no logits that can be read"
    if isinstance(context.predictions, Detections):
        return "boxes with classes: " + (", ".join((context.model.labels or ("without names",))[:MANY]))
    dense = isinstance(context.predictions, Segmentations)
    labels, count = context.model.labels, np.asarray(context.predictions).shape[1]
    each = " for every pixel" if dense else ""
    if not labels:
        return f"{count} logits without names{each}"
    shown = ", ".join(labels[:MANY]) if len(labels) <= MANY else f"{labels[0]}, {labels[1]}, ... {labels[-1]}"
    return f"{count} classes{each}: {shown}"
