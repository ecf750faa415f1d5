"""``cnnviz compare``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from functools import partial
from typing import Any

import click

import cnnviz
from cnnviz.catalogue import load

from .inputs import Given
from .options import NETWORK, OUTPUT, SEED, TARGET, Option, Sectioned
from .output import Report, make_folder, plan, print_json

__all__ = ["compare"]


def ask(**values: Any) -> None:
    """Ask several methods about every picture and write their maps side by side.

    Args:
        **values: What the command line gave.
    """
    given = Given(values["images"])
    values["methods"] = [name.strip() for name in values["methods"].split(",") if name.strip()]
    for name in values["methods"]:
        load(name)
    places = plan(given.files, "compare", values["out"], force=values["force"], singly=False)
    report = Report(len(given.files), quiet=values["quiet"], silent=values["as_json"])
    entries: list[dict[str, Any]] = []
    with closing(report):
        for numbers, found in given.ask(partial(_ask, values), values, report, at_once=len(given.files)):
            file = places.files[0]
            make_folder(file.parent)
            report.wrote([found.save(file)])
            for row, number in enumerate(numbers):
                maps = {name: each[row].describe() for name, each in found.items()}
                entries.append({"image": str(given.files[number]), "output": str(file), "maps": maps})
    if values["as_json"]:
        print_json(entries)
    if given.say_failures():
        click.get_current_context().exit(1)


def _ask(values: Mapping[str, Any], model: cnnviz.Model, pictures: list[cnnviz.Picture]) -> cnnviz.Comparison:
    settings = {name: values[name] for name in ("layer", "batch_size") if values[name] is not None}
    return cnnviz.compare(model, pictures, values["methods"], values["target"], **settings)


compare = Sectioned(
    "compare",
    params=[
        click.Argument(["images"], metavar="IMAGE...", nargs=-1, required=True),
        Option(
            "--methods", metavar="NAME,NAME", required=True, section="Method",
            help="Commands of methods that draw maps, with commas between, such as gradcam,layercam,cam.",
        ),
        TARGET,
        Option("--layer", metavar="NAME", section="Method", help="The layer, for every method that looks at one."),
        Option("--batch-size", type=click.IntRange(1), section="Method", help="Most images at once."),
        *NETWORK, SEED, *OUTPUT,
    ],
    callback=ask,
    help="Several methods side by side: a row a picture, a column a method.\n\n"
    "IMAGE is a picture file, or a folder of them.",
)  # fmt: skip
