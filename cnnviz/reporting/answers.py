"""The chapters about the answers: what the network says, and what in each picture speaks for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from cnnviz.catalogue import command_name, load
from cnnviz.errors import CnnvizError, UsageError
from cnnviz.method import Method
from cnnviz.methods.ask import prepare
from cnnviz.provenance import Provenance, plain
from cnnviz.reporting.chapter import Asked, Told
from cnnviz.reporting.costs import cost_of, limited
from cnnviz.reporting.driving_units import Driving, driving_units
from cnnviz.reporting.elements import (
    Block,
    Facts,
    Fold,
    Gallery,
    Group,
    Plate,
    answered,
    map_plate,
    missing,
    photograph,
)
from cnnviz.results.attribution import Attributions
from cnnviz.results.comparison import Comparison
from cnnviz.results.compose import CellLike, grid
from cnnviz.results.heatmap import Heatmaps
from cnnviz.results.result import Grid

__all__ = ["slow_maps", "tell_maps", "tell_predictions", "tell_units"]


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


Maps: TypeAlias = Heatmaps | Attributions


def tell_predictions(asked: Asked) -> Told:
    """The most probable classes of every picture."""
    found = asked.predictions
    blocks = tuple(
        Group(picture.name, (answered(picture, best, target),))
        for picture, best, target in zip(asked.pictures, found, asked.targets, strict=True)
    )
    numbers = [
        {
            "image": picture.name,
            "classes": [{"class": str(one.target), "probability": one.probability} for one in best],
        }
        for picture, best in zip(asked.pictures, found, strict=True)
    ]
    return Told(blocks, (found.provenance,), numbers=numbers, checks=found.checks)


def slow_maps(asked: Asked) -> int:
    """How many of the methods ask the network many times."""
    return sum(cost_of(load(name), asked.model) is not None for name in asked.methods)


def tell_maps(asked: Asked) -> Told:
    """The maps of several methods side by side, a group a picture."""
    found: dict[str, Maps] = {}
    said: list[str] = []
    shared: dict[str, Any] = {}
    for name in asked.methods:
        method = load(name)
        settings, note = limited(method, asked)
        said += [note] if note else []
        if settings is None:
            continue
        shared |= settings
        try:
            found[command_name(method.name)] = _ask(asked, method, settings)
        except CnnvizError as error:
            said.append(f"{command_name(method.name)}: {error}")
    blocks: list[Block] = [missing(sentence) for sentence in said]
    if not found:
        return Told(tuple(blocks), checks=tuple(said))
    blocks += [_row(asked, number, found) for number in range(len(asked.pictures))]
    blocks.append(Fold("What each of these maps is", blocks=(_meanings(found),)))
    checks = tuple(dict.fromkeys(f"{name}: {check}" for name, maps in found.items() for check in maps.checks))
    made = tuple(maps.provenance for maps in found.values())
    figures = {"": _comparison(asked, found, shared)}
    return Told(tuple(blocks), made, figures, _numbers(found), (*said, *checks))


def _ask(asked: Asked, method: Method[Any, Any], settings: Mapping[str, Any]) -> Maps:
    """One method's maps of all pictures."""
    own = {**asked.shared, **settings}
    own = {key: value for key, value in own.items() if key in method.parameters}
    given = {"model": asked.model, "images": asked.images, "target": list(asked.targets)}
    if set(method.needs) <= set(given):
        maps = method(*(given[need] for need in method.needs), **own)
        if isinstance(maps, (Heatmaps, Attributions)):
            return maps
    raise UsageError("it gives no map of each picture, so there is nothing to set beside the others.")


def _row(asked: Asked, number: int, found: Mapping[str, Maps]) -> Group:
    picture, target = asked.pictures[number], asked.targets[number]
    plates: list[Plate] = [photograph(picture, "photograph")]
    for name, maps in found.items():
        plates.append(map_plate(maps[number], name, pixelwise=isinstance(maps, Attributions)))
    return Group(f"{picture.name}: what speaks for {target}", (Gallery(tuple(plates), "row"),))


def _meanings(found: Mapping[str, Maps]) -> Facts:
    methods = {name: load(name) for name in found}
    return Facts(tuple((name, f"{method.summary} {method.reference}") for name, method in methods.items()))


def _comparison(asked: Asked, found: Mapping[str, Maps], limits: Mapping[str, Any]) -> Comparison:
    """The maps as ``compare`` would have made them."""
    maps = {name: one.heatmaps() if isinstance(one, Attributions) else one for name, one in found.items()}
    known = {key for name in found for key in load(name).parameters}
    question = {"methods": list(found), "target": list(asked.targets), **asked.shared, **limits}
    held = {key: plain(value) for key, value in question.items() if key in (*known, "methods", "target")}
    pixelwise = frozenset(name for name, one in found.items() if isinstance(one, Attributions))
    return Comparison(maps, pixelwise=pixelwise, asked=held)


def _numbers(found: Mapping[str, Maps]) -> dict[str, Any]:
    return {name: [one.describe() for one in maps] for name, maps in found.items()}
