"""``cnnviz compare``: several methods side by side on several pictures."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import Any

import click

import cnnviz
from cnnviz.catalogue import load

from .inputs import Given
from .options import FORCE, NETWORK, OUT, QUIET, SEED, TARGET, Option, Sectioned
from .output import Report, make_folder, plan

__all__ = ["compare"]


def names(_ctx: click.Context, _param: click.Parameter, value: str) -> list[str]:
    """``"gradcam,layercam"`` as a list of methods that there are."""
    found = [name.strip() for name in value.split(",") if name.strip()]
    for name in found:
        load(name)
    return found


def show(**values: Any) -> None:
    """Ask every method about every picture, and write one grid.

    Args:
        **values: What the command line gave.
    """
    given = Given(values["images"])
    places = plan(given.files, "compare", values["out"], force=values["force"], singly=False)
    settings = {name: values[name] for name in ("layer", "batch_size") if values[name] is not None}
    report = Report(len(given.files), quiet=values["quiet"])
    ask = partial(_ask, values["methods"], values["target"], settings)
    with closing(report):
        for numbers, result in given.ask(ask, values, report, at_once=len(given.files)):
            file = places.files[numbers[0]]
            make_folder(file.parent)
            report.wrote([result.save(file)])
    if given.say_failures():
        click.get_current_context().exit(1)


def _ask(
    methods: list[str],
    target: str | None,
    settings: dict[str, Any],
    model: cnnviz.Model,
    pictures: list[cnnviz.Picture],
) -> cnnviz.Comparison:
    return cnnviz.compare(model, pictures, methods, target, **settings)


compare = Sectioned(
    "compare",
    params=[
        click.Argument(["images"], metavar="IMAGE...", nargs=-1, required=True),
        Option(
            "--methods", metavar="A,B,...", default="gradcam,layercam,ablationcam,eigencam", callback=names,
            section="Method", help="Methods of 'cnnviz methods' that give a map for each picture.",
        ),
        TARGET,
        Option("--layer", metavar="NAME", section="Method", help="The layer for those methods that look at one."),
        Option(
            "--batch-size", type=click.IntRange(1), section="Method",
            help="Most images at once; left out, each method's own.",
        ),
        *NETWORK, SEED, OUT, FORCE, QUIET,
    ],
    callback=show,
    help="Several methods side by side: a row a picture, a column a method.\n\n"
    "IMAGE is a picture file, or a folder of them. Where methods give the same maps, the figure says so.",
)  # fmt: skip
