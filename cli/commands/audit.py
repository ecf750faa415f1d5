"""``cnnviz audit``: a whole data set: where a network is wrong, and what it looks at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

import cnnviz
from cnnviz.errors import UsageError

from ..options import (
    FIGURE,
    FORCE,
    JSON,
    NETWORK,
    QUIET,
    NetworkOption,
    Option,
    SectionedCommand,
    find_model,
    places_of_objects,
)
from ..output import Console, echo, plan_file, read_look
from ..run import choose_device, is_first_process, open_model, open_sources
from .compare import read_settings, split_names

__all__ = ["audit"]

MOST_NETWORKS = 2


def run_audit(**values: Any) -> None:
    """Audit a network on a data set, and write or print what was found.

    Args:
        **values: What the command line gave.
    """
    from cnnviz.auditing.audit_result import AUDIT_SUFFIXES
    from cnnviz.catalogue import load

    if not is_first_process():
        return
    settings = read_settings(values, [load(values["method"])])
    look = read_look(values, "audit")
    names = [name for given in values["model"] for name in split_names(given)]
    if len(names) > MOST_NETWORKS:
        raise UsageError(f"An audit is of one network, or of two side by side; got {len(names)}.")
    if len(names) == MOST_NETWORKS and values["weights"] is not None and values["weights"].lower() != "none":
        raise UsageError(
            "One weights file does not fit two networks; leave out --weights, or describe each in a .toml."
        )
    out = plan_file(values, AUDIT_SUFFIXES)
    device = choose_device(values["device"])
    called: list[str | None] = [*split_names(values["name"])] or [None] * len(names)
    if len(called) != len(names):
        raise UsageError(
            f"--name gives {len(called)} of {len(names)} names; write one per network, with commas between."
        )
    models = [
        open_model({**values, "model": name, "name": own, "device": device})
        for name, own in zip(names, called, strict=True)
    ]
    with Console(1, values) as console:
        with console.progress(1):
            found = cnnviz.audit(
                models[0],
                open_sources(values["data"], models[0]),
                against=models[1] if models[1:] else None,
                settings=settings,
                **_asked(values),
            )
        console.note(found.checks)
        if out is not None:
            console.name_files([found.save(out, **look)])
        console.document = {"output": None if out is None else str(out), **found.describe()}
    if out is None and not values["as_json"]:
        echo(str(found))


def _asked(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked, as ``audit`` takes it."""
    names = ("truth", "method", "maps", "cases", "cluster", "boxes", "block", "workers", "seed")
    return {**{name: values[name] for name in names}, "masks": values["mask_folder"]}


audit = SectionedCommand(
    "audit",
    params=[
        click.Argument(["data"], metavar="DATASET...", nargs=-1, required=True),
        Option(
            "--truth", metavar="FILE", section="Audit",
            help="A .csv table of pictures and classes, instead of the data set's own classes; its further columns are "
            "groups, each with an accuracy of its own.",
        ),
        Option(
            "--method", metavar="NAME", default="gradcam", section="Audit", help="The method of the maps.",
        ),
        Option("--layer", metavar="NAME", section="Audit", help="Layer, if the method uses one."),
        Option("--batch-size", type=click.IntRange(1), section="Audit", help="Batch size of the maps."),
        Option(
            "--set", multiple=True, metavar="NAME=VALUE", section="Audit",
            help="A setting of the method, such as window=48; repeat it for several.",
        ),
        Option(
            "--maps", type=click.IntRange(0), default=500, section="Audit",
            help="Number of pictures whose maps make the mean maps, spread over the classes, and as many mistakes; 0 "
            "for none.",
        ),
        Option(
            "--cases", type=click.IntRange(0), default=12, section="Audit",
            help="Number of mistakes, and of labels in doubt, that are drawn; 0 for none.",
        ),
        *places_of_objects("Audit"),
        Option(
            "--cluster", is_flag=True, section="Audit",
            help="Also look for shortcuts: cluster the maps of each class, and test the places that they look at.",
        ),
        Option(
            "--block", type=click.IntRange(1), section="Audit",
            help="Pictures computed together; default: 8 on the CPU and 128 on a GPU.",
        ),
        Option("--workers", type=click.IntRange(0), section="Audit", help="Processes that read pictures."),
        NetworkOption(
            "--model", multiple=True, metavar="NAME", callback=find_model,
            help="The network; two, separated by a comma or by repeating the option, are compared.",
        ),
        *NETWORK[1:],
        NetworkOption(
            "--seed", type=click.IntRange(0, 10**18), default=0, help="Seed for random weights and everything drawn.",
        ),
        Option(
            "--figure", type=click.Choice(["confusion", "reliability", "classes", "mistakes", "maps"]),
            section="Figure",
            help="What a picture shows: the confusion matrix (as when left out), the reliability diagram, the accuracy "
            "of each class, the most confident mistakes with their maps, or the mean maps.",
        ),
        *FIGURE,
        Option(
            "--out", "-o", metavar="FILE", section="Output",
            help="An .html page, a .json document, a .csv table with a line per picture, or a .png, .jpg, .webp, .svg "
            "or .pdf figure; default: a summary is printed.",
        ),
        FORCE, JSON, QUIET,
    ],
    callback=run_audit,
    help="A whole data set with true classes: where the network is wrong, how sure it is, and what it looks at.\n\n"
    "DATASET is a folder with a folder for each class, a list of pictures and classes (.txt), WebDataset tars "
    "('name-{000..009}.tar'), shapes:COUNT, hf:NAME, or pictures whose classes a table names (--truth). Classes are "
    "found among the network's by name, by index or by WordNet id. Pictures without a class, with a class that the "
    "network does not have, or that cannot be read are counted and left out.",
)  # fmt: skip
