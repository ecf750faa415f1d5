"""``cnnviz features`` and ``cnnviz filters``."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import click

import cnnviz
from cnnviz.catalogue import load

from ..options import (
    FIGURE,
    IMAGES_HELP,
    LOOK,
    NETWORK,
    OUTPUT,
    SEED,
    Option,
    SectionedCommand,
    paper_of,
    setting_option,
)
from ..output import Console, plan_output, spell_question
from ..run import Entries, PictureFiles, batch_of, open_model, plan_first, run

__all__ = ["filters", "features"]

FEATURES, FILTERS = load("features"), load("filters")
STYLE = Option(
    "--style", type=click.Choice(["maps", "overlay", "masked"]), default="maps", section="Drawing",
    help="maps: at the layer's own resolution; overlay: over the photograph; masked: the photograph where the unit is "
    "active.",
)  # fmt: skip
QUANTILE = Option(
    "--quantile", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.95, section="Drawing",
    help="With --style masked: a unit counts as active above this quantile of its map.",
)  # fmt: skip
DRAWING = [STYLE, QUANTILE, *(option for option in LOOK if option.name not in ("style", "transparent"))]


def run_features(**values: Any) -> None:
    """Write the feature maps of every picture.

    Args:
        **values: What the command line gave.
    """
    pictures = PictureFiles(values)
    out, force, question = values["out"], values["force"], spell_question(values)
    planned = plan_first(
        lambda: plan_output(pictures.files, "features", out, force=force, asked=question), pictures.model, values
    )
    look = {str(option.name): values[str(option.name)] for option in DRAWING} | paper_of(values)

    def ask(model: cnnviz.Model, batch: list[cnnviz.Sample]) -> cnnviz.Features:
        return cnnviz.features(model, batch, **{name: values[name] for name in FEATURES.parameters})

    def write(console: Console, numbers: list[int], found: cnnviz.Features) -> Entries:
        console.name_files(planned.save(found, numbers, **look))
        for number, one in zip(numbers, found, strict=True):
            yield {"image": str(pictures.files[number]), "output": str(planned.files[number]), **one.describe()}

    at_once = len(pictures.files) if planned.together or values["shared"] else batch_of(values)
    run(pictures, values, ask, write, at_once=at_once)


features = SectionedCommand(
    "features",
    params=[
        click.Argument(["images"], metavar="IMAGE...", nargs=-1, required=True),
        *(setting_option(parameter) for parameter in FEATURES.parameters.values()),
        *NETWORK, SEED, *DRAWING, *FIGURE, *OUTPUT,
    ],
    callback=run_features,
    help=f"{FEATURES.summary}\n\n{IMAGES_HELP.format(more='')}\n\nReference: {FEATURES.reference}",
    short_help=FEATURES.summary,
)  # fmt: skip


def run_filters(**values: Any) -> None:
    """Write the kernels of a layer.

    Args:
        **values: What the command line gave.
    """
    name = _name_network(values["model"], values["layer"])
    planned = plan_first(
        lambda: plan_output([name], "filters", values["out"], force=values["force"], singly=False),
        partial(open_model, values),
        values,
    )
    paper = paper_of(values)
    with Console(1, values) as console:
        settings = {name: values[name] for name in FILTERS.parameters}
        found = cnnviz.filters(open_model(values), **settings)
        console.name_files(planned.save(found, **paper))
        console.note(found.checks)
        console.document = {"model": values["model"], "output": str(planned.files[0]), **found.describe()}


def _name_network(model: str, layer: str | None) -> Path:
    """A name for the picture of a network, from what ``--model`` says and the layer."""
    plain = Path(model).name.rpartition(":")[2].removesuffix(".pt2")
    words = ".".join(filter(None, (plain, layer)))
    return Path(f"{re.sub(r'[^-.#@+=]', _replace_sign, words)}.network")


def _replace_sign(letter: re.Match[str]) -> str:
    return letter[0] if letter[0].isalnum() or letter[0] == "_" else "-"


filters = SectionedCommand(
    "filters",
    params=[
        *(setting_option(parameter) for parameter in FILTERS.parameters.values()),
        *NETWORK, SEED, *FIGURE,
        *(Option("--out", "-o", metavar="FILE|FOLDER/", section="Output",
                 help="A .png, .jpg, .webp, .svg, .pdf or .npz file, or a folder; default: MODEL.filters.png in the "
                 "current folder."),),
        *OUTPUT[1:],
    ],
    callback=run_filters,
    help=f"{FILTERS.summary}\n\nReference: {FILTERS.reference}",
    short_help=FILTERS.summary,
)  # fmt: skip
