"""``cnnviz evaluate``: how good maps are, measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

import cnnviz
from cnnviz.catalogue import load
from cnnviz.errors import UsageError
from cnnviz.evaluation.metric import METRICS, RISE_2018

from ..options import (
    FIGURE,
    FORCE,
    JSON,
    NETWORK,
    QUIET,
    NetworkOption,
    Option,
    SectionedCommand,
    paper_of,
    places_of_objects,
)
from ..output import Console, echo, ensure_folder, plan_file, read_look
from ..run import choose_device, is_first_process, open_model, open_sources
from .compare import read_settings, split_names

__all__ = ["evaluate"]

PHOTOGRAPHS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
PROTOCOL = "rise-2018"


class StepsType(click.ParamType[int | str]):
    """A number of steps, or the name of a protocol."""

    name = "steps"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """The number, or the name as it is."""
        if value == PROTOCOL:
            return PROTOCOL
        try:
            return click.IntRange(1).convert(value, param, ctx)
        except click.BadParameter as error:
            self.fail(f"{error.message.rstrip('.')}; expected a number from 1, or {PROTOCOL}.", param, ctx)


def run_evaluate(**values: Any) -> None:
    """Judge the maps of methods on a data set, and write or print the table.

    Args:
        **values: What the command line gave.
    """
    values["methods"] = split_names(values["methods"])
    if values["budget"] == PROTOCOL:
        values["budget"] = RISE_2018["picture" if _is_photograph(values) else "data set"]
    if _is_photograph(values):
        run_certify(values)
        return
    settings = read_settings(values, [load(name.partition("@")[0]) for name in values["methods"]])
    look = _read_look(values)
    out = _plan(values)
    model = open_model({**values, "device": choose_device(values["device"])})
    with Console(1, {**values, "quiet": values["quiet"] or not is_first_process()}) as console:
        with console.progress(1):
            if values["shard"] is not None:
                _do_share(model, values, settings, console)
                return
            found = cnnviz.evaluate(model, open_sources(values["data"], model), **_asked(values), settings=settings)
        if not is_first_process():
            return
        console.note(found.checks)
        if out is not None:
            console.name_files([found.save(out, **look)])
        console.document = {"output": None if out is None else str(out), **found.describe()}
    if out is None and not values["as_json"]:
        echo(str(found))


FOR_MANY = ("metrics", "mask_folder", "boxes", "layers", "folder", "shard", "block", "workers", "figure")
"""What only a data set is asked with; one photograph with any of these is a data set of one."""


def _is_photograph(values: Mapping[str, Any]) -> bool:
    """Whether one picture file is all there is, of which a certificate tells what can be told without annotation."""
    named = values["data"][0] if len(values["data"]) == 1 else ""
    asked = any(values[name] is not None for name in FOR_MANY)
    return not asked and Path(named).suffix.lower() in PHOTOGRAPHS and not Path(named).is_dir()


def run_certify(values: Mapping[str, Any]) -> None:
    """Tell of each method's map of one photograph what can be told, a line each.

    Args:
        values: What the command line gave.
    """
    if values["set"]:
        raise UsageError("A certificate of one photograph takes --layer and --budget; --set is for data sets.")
    look, methods = paper_of(values), values["methods"]
    from cnnviz.evaluation.certificate import CERTIFICATE_SUFFIXES

    if values["out"] is not None and len(methods) > 1:
        raise UsageError(f"{len(methods)} methods have a certificate each; name one, or leave out -o.")
    out = plan_file(values, CERTIFICATE_SUFFIXES)
    settings = {} if values["budget"] is None else {"budget": values["budget"]}
    model = open_model(values)
    image, found = cnnviz.read_picture(values["data"][0]), []
    with Console(len(methods), values) as console:
        for name in methods:
            asked = {**settings, "method": name, "layer": values["layer"], "seed": values["seed"]}
            with console.progress(1):
                found.append(cnnviz.certify(model, image, values["target"], **asked))
            console.note(found[-1].checks)
        if out is not None:
            console.name_files([found[0].save(out, **look)])
        console.document = [each.describe() for each in found]
    if not values["as_json"]:
        echo("\n".join(map(str, found)))


def _asked(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked, as ``evaluate`` takes it."""
    names = ("methods", "metrics", "boxes", "target", "budget", "seed", "folder", "block", "threads", "workers")
    layers = split_names(values["layers"])
    return {**{name: values[name] for name in names}, "masks": values["mask_folder"], "layers": layers}


def _do_share(model: cnnviz.Model, values: Mapping[str, Any], settings: Mapping[str, Any], console: Console) -> None:
    """Do a job's share of the work."""
    if values["folder"] is None:
        raise UsageError("--shard does a part of the work; name the folder for what is found with --folder.")
    number = cnnviz.evaluate_shard(
        model, open_sources(values["data"], model), shard=values["shard"], **_asked(values), settings=settings
    )
    if is_first_process():
        console.name_files([Path(values["folder"])])
        console.note([f"{number} parts were found; of all parts the same command without --shard makes the table"])
        console.document = {"folder": values["folder"], "shard": values["shard"], "parts": number}


def _plan(values: Mapping[str, Any]) -> Path | None:
    from cnnviz.evaluation.evaluation import EVALUATION_SUFFIXES

    if values["folder"] is not None:
        ensure_folder(Path(values["folder"]))
    return plan_file(values, EVALUATION_SUFFIXES)


def _read_look(values: Mapping[str, Any]) -> dict[str, Any]:
    """How a figure is drawn.

    Raises:
        UsageError: If there is none to be drawn.
    """
    look = read_look(values, "table")
    named = [METRICS[name] for name in split_names(values["metrics"]) if name in METRICS]
    if values["figure"] == "curves" and named and not any(metric.curve for metric in named):
        curved = ", ".join(metric.name for metric in METRICS.values() if metric.curve)
        raise UsageError(f"None of these metrics has a curve; those that have one are {curved}.")
    return look


evaluate = SectionedCommand(
    "evaluate",
    params=[
        click.Argument(["data"], metavar="DATASET...", nargs=-1, required=True),
        Option(
            "--methods", metavar="NAME,NAME", required=True, section="Evaluation",
            help="Methods that give maps, separated by commas, such as gradcam,layercam,occlusion; gradcam@layer3 is "
            "one at a layer of its own.",
        ),
        Option(
            "--metrics", metavar="NAME,NAME", section="Evaluation",
            help=f"Metrics, separated by commas: {', '.join(METRICS)}; default: deletion, insertion, srg and "
            "average-drop, and where the objects are known pointing, mass and iou.",
        ),
        *places_of_objects("Evaluation"),
        Option(
            "--target", metavar="WHAT", section="Evaluation",
            help="What is explained: a class index, a label, 'LABEL - LABEL', or 'label' for each picture's own class "
            "in the data set; default: the predicted class.",
        ),
        Option(
            "--layers", metavar="NAME,NAME", section="Evaluation",
            help="Layers at which every method that looks at one is judged.",
        ),
        Option("--layer", metavar="NAME", section="Evaluation", help="Layer, for every method that uses one."),
        Option("--batch-size", type=click.IntRange(1), section="Evaluation", help="Batch size."),
        Option(
            "--set", multiple=True, metavar="NAME=VALUE", section="Evaluation",
            help="A setting such as window=48, for every method that has it; repeat it for several.",
        ),
        Option(
            "--budget", type=StepsType(), metavar=f"N|{PROTOCOL}", section="Evaluation",
            help=f"Steps of each deletion and insertion curve; default: 28. {PROTOCOL}, as in that paper's code, is 28 "
            "for a data set and 224 for a photograph.",
        ),
        Option(
            "--folder", metavar="FOLDER", section="Evaluation",
            help="Folder for what is found, picture by picture: an interrupted evaluation goes on there.",
        ),
        Option(
            "--shard", metavar="I/N", section="Evaluation",
            help="Do part I of N of the work in that folder; the same command without it gives the whole.",
        ),
        Option(
            "--block", type=click.IntRange(1), section="Evaluation",
            help="Pictures explained together; default: the folder's own, or 8 on the CPU and 128 on a GPU.",
        ),
        Option("--threads", type=click.IntRange(1), section="Evaluation", help="CPU threads that compute."),
        Option("--workers", type=click.IntRange(0), section="Evaluation", help="Processes that read pictures."),
        *NETWORK,
        NetworkOption(
            "--seed", type=click.IntRange(0, 10**18), default=0, help="Seed for random weights and everything drawn.",
        ),
        Option(
            "--figure", type=click.Choice(["intervals", "curves", "agreement", "strip"]), section="Figure",
            help="What a picture shows: means with their intervals (as when left out), mean curves, how far metrics "
            "agree on the order of methods, or the first picture's maps as layers are randomised.",
        ),
        *FIGURE,
        Option(
            "--out", "-o", metavar="FILE", section="Output",
            help="An .html page, a .csv or .json table, .npz values, or a .png, .jpg, .webp, .svg or .pdf figure; "
            "default: the table is printed.",
        ),
        FORCE, JSON, QUIET,
    ],
    callback=run_evaluate,
    help="How good maps are: metrics with intervals, beside controls that know nothing.\n\n"
    "DATASET is a folder of pictures, a list of them (.txt), WebDataset tars ('name-{000..009}.tar'), shapes:COUNT, "
    "hf:NAME, or several picture files. Drawn scenes (shapes:COUNT) know where their objects are. An interrupted "
    "evaluation with --folder is continued; torchrun -m cnnviz evaluate ... splits it among processes.\n\n"
    "Of one picture file there is a certificate instead, a line for each method: deletion and insertion beside 50 "
    "random maps as smooth, the map of networks with random weights, and the map once more.",
)  # fmt: skip
