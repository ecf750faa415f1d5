"""``cnnviz filters``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import click

import cnnviz
from cnnviz.catalogue import load

from ..arguments import AT_ONCE, Given, open_model
from ..options import LOOK, NETWORK, OUTPUT, SEED, Option, Sectioned, setting
from ..output import Report, make_folder, plan, print_json

__all__ = ["filters", "features"]

METHOD = load("features")
STYLE = Option(
    "--style", type=click.Choice(["maps", "overlay", "masked"]), default="maps", section="Drawing",
    help="The maps at the layer's own resolution, over the photograph, or the photograph where each unit responds.",
)  # fmt: skip
QUANTILE = Option(
    "--quantile", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.95, section="Drawing",
    help="With masked: a unit responds where it is above this share of the places of its own map.",
)  # fmt: skip
DRAWING = [STYLE, QUANTILE, *(option for option in LOOK if option.name != "style")]


def ask(**values: Any) -> None:
    """Write the feature maps of every picture.

    Args:
        **values: What the command line gave.
    """
    given = Given(values["images"])
    places = plan(given.files, "features", values["out"], force=values["force"])
    look = {str(option.name): values[str(option.name)] for option in DRAWING}
    at_once = len(given.files) if places.together or values["shared"] else values["batch_size"] or AT_ONCE
    report = Report(len(given.files), quiet=values["quiet"], silent=values["as_json"])
    entries: list[dict[str, Any]] = []
    with closing(report):
        for numbers, found in given.ask(partial(_ask, values), values, report, at_once=at_once):
            files = [places.files[number] for number in numbers]
            make_folder(files[0].parent)
            report.wrote([found.save(files[0], **look)] if places.together else found.save_each(files, **look))
            for number, file, one in zip(numbers, files, found, strict=True):
                entries.append({"image": str(given.files[number]), "output": str(file), **one.describe()})
    if values["as_json"]:
        print_json(entries)
    if given.say_failures():
        click.get_current_context().exit(1)


def _ask(values: Mapping[str, Any], model: cnnviz.Model, pictures: list[cnnviz.Picture]) -> cnnviz.Features:
    return cnnviz.features(model, pictures, **{name: values[name] for name in METHOD.parameters})


features = Sectioned(
    "features",
    params=[
        click.Argument(["images"], metavar="IMAGE...", nargs=-1, required=True),
        *(setting(parameter) for parameter in METHOD.parameters.values()),
        *NETWORK, SEED, *DRAWING, *OUTPUT,
    ],
    callback=ask,
    help=f"{METHOD.summary}\n\nIMAGE is a picture file, or a folder of them.\n\nReference: {METHOD.reference}",
    short_help=METHOD.summary,
)  # fmt: skip


FILTERS = load("filters")


def ask_filters(**values: Any) -> None:
    """Write the kernels of a layer.

    Args:
        **values: What the command line gave.
    """
    (file,) = plan([_named(values["model"], values["layer"])], "filters", values["out"], force=values["force"]).files
    report = Report(1, quiet=values["quiet"], silent=values["as_json"])
    with closing(report):
        settings = {name: values[name] for name in FILTERS.parameters}
        found = cnnviz.filters(open_model(values), **settings)
        make_folder(file.parent)
        report.wrote([found.save(file)])
        report.note(found.checks)
    if values["as_json"]:
        print_json({"model": values["model"], "output": str(file), **found.describe()})


def _named(model: str, layer: str | None) -> Path:
    """A name for the picture of a network, from what ``--model`` says and the layer."""
    plain = Path(model).name.rpartition(":")[2].removesuffix(".pt2")
    words = ".".join(filter(None, (plain, layer)))
    return Path(f"{re.sub(r'[^-.#@+=]', _replaced, words)}.network")


def _replaced(letter: re.Match[str]) -> str:
    return letter[0] if letter[0].isalnum() or letter[0] == "_" else "-"


filters = Sectioned(
    "filters",
    params=[
        *(setting(parameter) for parameter in FILTERS.parameters.values()),
        *NETWORK, SEED,
        *(Option("--out", "-o", metavar="FILE|FOLDER/", section="Output",
                 help="A .png, .jpg, .webp, .svg, .pdf or .npz file, or a folder; "
                 "left out, MODEL.filters.png in the current folder."),),
        *OUTPUT[1:],
    ],
    callback=ask_filters,
    help=f"{FILTERS.summary}\n\nReference: {FILTERS.reference}",
    short_help=FILTERS.summary,
)  # fmt: skip
