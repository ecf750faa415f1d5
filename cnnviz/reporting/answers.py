"""The chapters about the answers: what the network says, and what in each picture speaks for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from cnnviz.catalogue import command_name, load, proper_name
from cnnviz.core.picture import Picture
from cnnviz.drawing.pages.blocks import Block, Facts, Fold, Gallery, Group, Plate, SideBySide, Size
from cnnviz.errors import CnnvizError, ExplanationError, UsageError
from cnnviz.method import Method
from cnnviz.methods.prepare import prepare
from cnnviz.provenance import Provenance, plain
from cnnviz.reporting.chapter import ChapterContent, ReportContext
from cnnviz.reporting.costs import cost_of, limit_to_budget
from cnnviz.reporting.driving_units import DrivingUnits, driving_units
from cnnviz.reporting.elements import map_plate, missing_note, photograph_plate, prediction_bars, sheet_blocks
from cnnviz.results.attribution import Attributions
from cnnviz.results.comparison import CellLike, Comparison, grid
from cnnviz.results.detections import Detections
from cnnviz.results.heatmap import Heatmaps
from cnnviz.results.predictions import Predictions, Segmentations
from cnnviz.results.result import Grid

__all__ = ["count_slow_maps", "write_maps", "write_predictions", "write_units"]


def write_units(context: ReportContext) -> ChapterContent:
    """The units that add most to each picture's target, where they respond, and what their removal costs."""
    context.check_targets()
    batch = prepare(context.model, context.images, list(context.targets))
    found, made = driving_units(
        context.model, batch, layer=context.layer, count=context.units, batch_size=context.batch_size
    )
    context.driving = found
    blocks = tuple(
        Group(f"{picture.name}: units of {one.layer} supporting {one.target}", _unit_blocks(one))
        for picture, one in zip(context.pictures, found, strict=True)
    )
    checks = tuple(dict.fromkeys(check for one in found for check in one.checks))
    record = made.stamped("units", {"units": context.units}, checks)
    figures = {"": _units_grid(context, found, record)} if any(found) else {}
    return ChapterContent(blocks, (record,), figures, [one.describe() for one in found], checks)


def _unit_blocks(one: DrivingUnits) -> tuple[Block, ...]:
    if not one.units:
        return (missing_note(f"No unit of {one.layer} supports {one.target}: all contributions are zero or negative."),)
    return one.gallery(), Fold("Contributions as numbers", blocks=(one.table(),))


def _units_grid(context: ReportContext, found: tuple[DrivingUnits, ...], made: Provenance) -> Grid:
    """A row a picture: the photograph, then each unit's response."""
    rows: list[list[CellLike]] = []
    for picture, one in zip(context.pictures, found, strict=True):
        responses = [(unit.heatmap, f"unit {unit.unit.channel}\n{unit.share:.1%}") for unit in one]
        rows.append([(picture, f"{picture.name}\n{one.target}"), *responses])
    title = f"{context.model.name} · {found[0].layer}: units that contribute most"
    return grid(rows, title=title, provenance=made)


Maps: TypeAlias = Heatmaps | Attributions


def write_predictions(context: ReportContext) -> ChapterContent:
    """The most probable classes of every picture."""
    found = context.predictions
    if found is None:
        raise ExplanationError(context.unread)
    if isinstance(found, (Segmentations, Detections)):
        heading = "Classes" if isinstance(found, Segmentations) else "Detections"
        sheet = sheet_blocks(found.grid(), heading)
        return ChapterContent(sheet, (found.provenance,), {"": found}, found.describe(), found.checks)
    shown, context.photographed = not context.photographed, True
    blocks: tuple[Block, ...] = tuple(
        Group(picture.name, (prediction_bars(picture, best, target, shown=shown),))
        for picture, best, target in zip(context.pictures, found, context.targets, strict=True)
    )
    if not shown:
        blocks = (SideBySide(blocks),)
    numbers = [
        {
            "image": picture.name,
            "classes": [{"class": str(one.target), "probability": one.probability} for one in best],
        }
        for picture, best in zip(context.pictures, found, strict=True)
    ]
    return ChapterContent(blocks, (found.provenance,), numbers=numbers, checks=found.checks)


def count_slow_maps(context: ReportContext) -> int:
    """How many of the methods ask the network many times."""
    return sum(cost_of(load(name), context.model) is not None for name in context.methods)


def write_maps(context: ReportContext) -> ChapterContent:
    """The maps of several methods side by side, a group a picture."""
    context.check_targets()
    found: dict[str, Maps] = {}
    notes: list[str] = []
    shared: dict[str, Any] = {}
    for name in context.methods:
        method = load(name)
        settings, note = limit_to_budget(method, context)
        notes += [note] if note else []
        if settings is None:
            continue
        shared |= settings
        try:
            found[command_name(method.name)] = _run_method(context, method, settings)
        except CnnvizError as error:
            notes.append(f"{command_name(method.name)}: {error}")
    blocks: list[Block] = [missing_note(sentence) for sentence in notes]
    if not found:
        return ChapterContent(tuple(blocks), checks=tuple(notes))
    blocks += [_maps_group(context, number, found) for number in range(len(context.pictures))]
    context.photographed = True
    blocks.append(Fold("What each method computes", blocks=(_method_facts(found),)))
    checks = tuple(dict.fromkeys(f"{name}: {check}" for name, maps in found.items() for check in maps.checks))
    made = tuple(maps.provenance for maps in found.values())
    figures = {"": _compose_comparison(context, found, shared)}
    return ChapterContent(tuple(blocks), made, figures, _describe_maps(found), (*notes, *checks))


def _run_method(context: ReportContext, method: Method[Any, Any], settings: Mapping[str, Any]) -> Maps:
    """One method's maps of all pictures."""
    own = {**context.shared, **settings}
    own = {key: value for key, value in own.items() if key in method.parameters}
    given = {"model": context.model, "images": context.images, "target": list(context.targets)}
    if set(method.needs) <= set(given):
        maps = method(*(given[need] for need in method.needs), **own)
        if isinstance(maps, (Heatmaps, Attributions)):
            return maps
    raise UsageError("it gives no map of each picture, so there is nothing to set beside the others.")


def _maps_group(context: ReportContext, number: int, found: Mapping[str, Maps]) -> Group:
    picture, target = context.pictures[number], context.targets[number]
    plates: list[Plate] = []
    if not context.photographed:
        plates.append(photograph_plate(picture, "input", _spell_share(context, number)))
    for name, maps in found.items():
        plates.append(map_plate(maps[number], _proper(name), pixelwise=isinstance(maps, Attributions)))
    size: Size = "row" if isinstance(picture, Picture) else "broad"
    return Group(f"{picture.name}: evidence for {target}", (Gallery(tuple(plates), size),))


def _spell_share(context: ReportContext, number: int) -> str:
    """The predicted class of a picture and its probability, where there is one."""
    found = context.predictions
    if not isinstance(found, Predictions) or not found[number]:
        return ""
    best = found[number][0]
    return f"predicted: {best.target}" + ("" if best.probability is None else f", {best.probability:.1%}")


def _proper(command: str) -> str:
    """What the field calls a method, by its command."""
    return proper_name(load(command).name)


def _method_facts(found: Mapping[str, Maps]) -> Facts:
    methods = {name: load(name) for name in found}
    return Facts(tuple((_proper(name), f"{method.summary} {method.reference}") for name, method in methods.items()))


def _compose_comparison(context: ReportContext, found: Mapping[str, Maps], limits: Mapping[str, Any]) -> Comparison:
    """The maps as ``compare`` would have made them."""
    maps = {name: one.heatmaps() if isinstance(one, Attributions) else one for name, one in found.items()}
    known = {key for name in found for key in load(name).parameters}
    question = {"methods": list(found), "target": list(context.targets), **context.shared, **limits}
    held = {key: plain(value) for key, value in question.items() if key in (*known, "methods", "target")}
    pixelwise = frozenset(name for name, one in found.items() if isinstance(one, Attributions))
    return Comparison(maps, pixelwise=pixelwise, asked=held)


def _describe_maps(found: Mapping[str, Maps]) -> dict[str, Any]:
    return {name: [one.describe() for one in maps] for name, maps in found.items()}
