"""The tour of ``cnnviz demo``: every method once, on the bundled networks, and a report at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cnnviz
from cnnviz.catalogue import CATALOGUE, command_name, load

from .output import Report

__all__ = ["TOUR", "stops", "take"]

SHAPES = "shapes-resnet"
LAYER, UNITS, SCENES, FORWARDS, COLUMNS = "layer3", "0-5", "shapes:200", 600, 5
LIGHTER = {"masks": 1000, "samples": 16}
"""Settings that only say how much work is done: the tour is to be short."""

PAGE = "report.html"
TOUR = ("methods.png", "concepts.png", "filters.png", "features.png", "patches.png", PAGE)


def take(folder: Path, scenes: list[cnnviz.Picture], report: Report) -> None:
    """Ask every method about the scenes and write what they find, the report last.

    Args:
        folder: Where to.
        scenes: Pictures of shapes.
        report: Shows progress, a step a figure, and names each file once it is written.
    """
    for name, ask in stops(scenes):
        report.say(name)
        with report.over(1):
            file = ask().save(folder / name)
        report.wrote([file])


def stops(scenes: list[cnnviz.Picture]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Each figure's name, and what makes it."""
    model = cnnviz.load_model(SHAPES, device="cpu")
    yield "methods.png", lambda: _every_map(model, scenes[0])
    yield "concepts.png", lambda: cnnviz.dff(model, scenes)
    yield "filters.png", lambda: cnnviz.filters(model, sort="hue")
    yield "features.png", lambda: cnnviz.features(model, scenes[:1], layer=LAYER)
    yield "patches.png", lambda: cnnviz.patches(model, cnnviz.open_dataset(SCENES), layer=LAYER, units=UNITS)
    yield PAGE, lambda: cnnviz.report(model, scenes[:2], None, SCENES, budget=FORWARDS)


def _every_map(model: cnnviz.Model, scene: cnnviz.Picture) -> cnnviz.Grid:
    """Every method that draws a map of a picture, on one picture."""
    cells: list[Any] = [(scene.pixels, f"the picture: a {scene.name}")]
    made: cnnviz.Provenance | None = None
    for name in _drawing_maps():
        method = load(name)
        lighter = {setting: value for setting, value in LIGHTER.items() if setting in method.parameters}
        found = method(model, [scene], **lighter)
        made = made or found.provenance
        cells.append((found[0].cells()[1].pixels, command_name(name)))
    cells += [None] * (-len(cells) % COLUMNS)
    return cnnviz.grid(
        [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)],
        title=f"Every map that cnnviz draws, of one scene; {SHAPES} says {scene.name}",
        notes=["'cnnviz METHOD --help' says what a map shows, and which paper it is from."],
        provenance=made,
    )


def _drawing_maps() -> Iterator[str]:
    """Names of the methods with a map for each picture; captum's only where captum is installed."""
    for name in CATALOGUE:
        needs = load(name).needs[:2] == ("model", "images")
        if needs and name not in ("dff", "features") and (name != "captum" or find_spec("captum")):
            yield name
