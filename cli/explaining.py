"""The command of a method: pictures in, maps out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from typing import Any

import click

import cnnviz
from cnnviz.catalogue import command_name, load
from cnnviz.registry import Method

from .inputs import Given
from .options import LOOK, NETWORK, OUTPUT, SEED, TARGET, Sectioned, setting
from .output import Places, Report, make_folder, plan, print_json

__all__ = ["method_command"]


@cache
def method_command(name: str) -> click.Command:
    """The command of a method of the catalogue, its options derived from the method's signature.

    Args:
        name: The command's name.
    """
    method = load(name)
    parameters: list[click.Parameter] = [click.Argument(["images"], metavar="IMAGE...", nargs=-1, required=True)]
    parameters += [TARGET] if "target" in method.needs else []
    parameters += [setting(parameter) for parameter in method.parameters.values()]
    parameters += [*NETWORK, *([] if "seed" in method.parameters else [SEED]), *LOOK, *OUTPUT]
    reference = f"\n\nReference: {method.reference}" if method.reference else ""
    return Sectioned(
        name,
        params=parameters,
        callback=partial(explain, method),
        help=f"{method.summary}\n\nIMAGE is a picture file, or a folder of them.{reference}",
        short_help=method.summary,
    )


def explain(method: Method[Any, cnnviz.Heatmaps], **values: Any) -> None:
    """Run a method on the pictures and write its maps.

    Args:
        method: The method.
        **values: What the command line gave.
    """
    given = Given(values["images"])
    places = plan(given.files, command_name(method.name), values["out"], force=values["force"])
    look = {name: values[name] for name in ("style", "cmap", "normalise", "shared")}
    cnnviz.Look(**look)
    at_once = len(given.files) if places.together or values["shared"] else values.get("batch_size", 1)
    report = Report(len(given.files), quiet=values["quiet"], silent=values["as_json"])
    entries: list[dict[str, Any]] = []
    with closing(report):
        for numbers, maps in given.ask(partial(_ask, method, values), values, report, at_once=at_once):
            files = [places.files[number] for number in numbers]
            _write(maps, files, places, look, report)
            entries += map(_entry, [given.files[number] for number in numbers], files, maps)
    if values["as_json"]:
        print_json(entries)
    if given.say_failures():
        click.get_current_context().exit(1)


def _ask(
    method: Method[Any, cnnviz.Heatmaps],
    values: Mapping[str, Any],
    model: cnnviz.Model,
    pictures: list[cnnviz.Picture],
) -> cnnviz.Heatmaps:
    names = [*method.parameters, *(["target"] if "target" in method.needs else [])]
    return method(model, pictures, **{name: values[name] for name in names})


def _write(maps: cnnviz.Heatmaps, files: list[Path], places: Places, look: Mapping[str, Any], report: Report) -> None:
    make_folder(files[0].parent)
    written = [maps.save(files[0], **look)] if places.together else maps.save_each(files, **look)
    for file in written:
        report.wrote(file)


def _entry(image: Path, output: Path, one: cnnviz.Heatmap) -> dict[str, Any]:
    return {
        "image": str(image),
        "output": str(output),
        "target": str(one.target),
        "index": getattr(one.target, "index", None),
        "score": one.score,
        "probability": one.probability,
        "layer": one.layer,
        "peak": None if one.blank else list(one.peak()),
        "blank": one.blank,
        "checks": list(one.checks),
    }
