"""The command of a method: pictures in, maps out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import click

import cnnviz
from cnnviz.catalogue import command_name, load
from cnnviz.registry import Method

from .inputs import Given, open_model
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
    settings = {name: values[name] for name in method.parameters}
    at_once = len(given.files) if places.together or values["shared"] else settings.get("batch_size", 1)
    report = Report(len(given.files), quiet=values["quiet"], silent=values["as_json"])
    entries: list[dict[str, Any]] = []
    try:
        for numbers, maps in _answers(method, given, settings, values, at_once, report):
            files = [places.files[number] for number in numbers]
            _write(maps, files, places, look, report)
            report.note(maps.checks)
            entries += [
                _entry(given.files[number], file, one)
                for number, file, one in zip(numbers, files, maps, strict=True)
            ]
    finally:
        report.close()
    if values["as_json"]:
        print_json(entries)
    if given.say_failures():
        click.get_current_context().exit(1)


def _answers(
    method: Method[Any, cnnviz.Heatmaps],
    given: Given,
    settings: Mapping[str, Any],
    values: Mapping[str, Any],
    at_once: int,
    report: Report,
) -> Iterator[tuple[list[int], cnnviz.Heatmaps]]:
    model = cache(partial(open_model, values))
    target = {"target": values["target"]} if "target" in method.needs else {}
    for batch in given.batches(at_once, model):
        with report.over(len(batch)):
            maps = method(model(), [picture for _, picture in batch], **target, **settings)
        yield [number for number, _ in batch], maps


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
