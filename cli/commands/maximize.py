"""``cnnviz maximize``: pictures of what a network takes for a class, or of what excites a unit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

import cnnviz
from cnnviz.catalogue import load
from cnnviz.errors import UsageError
from cnnviz.methods.ascent.progress import AscentProgress, watch_progress

from ..errors import INTERRUPTED
from ..options import FIGURE, FORCE, JSON, NETWORK, QUIET, Option, SectionedCommand, paper_of, setting_option
from ..output import Console, OutputPlan, plan_output
from ..run import open_model, plan_first

__all__ = ["maximize"]

ANIMATED = (".gif", ".mp4")
FRAMES = 30
LONGEST_NAME = 60
METHOD = load("maximize")


def run_maximize(**values: Any) -> None:
    """Make the pictures and write them.

    Args:
        **values: What the command line gave.
    """
    from cnnviz.images.inputs import list_files

    targets = [each for each in values["target"] for _ in range(values["times"])] or [None] * values["times"]
    animate = True if values["animate"] or _is_animated(values["out"]) else None
    paper = paper_of(values)
    planned = plan_first(
        lambda: _plan_pictures(targets, values, animated=bool(animate)), partial(_check_targets, values), {}
    )
    with Console(len(targets), values) as console:
        with console.progress(len(targets)), _showing_scores(console):
            model = open_model(values)
            examples, left_out = list_files(values["examples"], model.places)
            found = _make_pictures(model, targets, examples, values, animated=bool(animate))
        numbers = range(len(found))
        console.name_files(planned.save(found, numbers, animate=animate, fps=values["fps"], **paper))
        console.note([*left_out, *found.checks])
        console.document = [{"output": str(planned.files[number]), **found[number].describe()} for number in numbers]
    if found.interrupted:
        click.get_current_context().exit(INTERRUPTED)


def _check_targets(values: Mapping[str, Any]) -> cnnviz.Model:
    """Open the network and refuse targets that it does not have."""
    from cnnviz.core.aim import parse_aim

    model = open_model(values)
    for target in values["target"]:
        parse_aim(target, model.labels, model.layer_names)
    return model


def _make_pictures(
    model: cnnviz.Model, targets: list[str | None], examples: list[Path], values: Mapping[str, Any], *, animated: bool
) -> cnnviz.Images:
    settings = {name: values[name] for name in METHOD.parameters}
    if animated and not settings["frames"]:
        settings["frames"] = FRAMES
    wanted = None if targets == [None] else targets
    given = {name: values[name] for name in ("start", "judge")} | {"examples": examples or None}
    return cnnviz.maximize(model, wanted, **given, **settings)


@contextmanager
def _showing_scores(console: Console) -> Iterator[None]:
    """Inside, what is being made and its current score stand before the progress bar."""

    def say(progress: AscentProgress) -> None:
        console.say(f"{progress.target}, step {progress.step}, score {progress.score:.3g} ")

    with watch_progress(say):
        yield


def _plan_pictures(targets: list[str | None], values: Mapping[str, Any], *, animated: bool) -> OutputPlan:
    out, start = values["out"], values["start"]
    usual = Path(start).stem if start else "picture"
    names = [Path(f"{_file_name(target) if target else usual}.x") for target in targets]
    if values["animate"] and out and Path(out).suffix and not _is_animated(out) and not out.lower().endswith(".webp"):
        raise UsageError(f"'{out}' cannot be animated; expected a .gif, .webp or .mp4.")
    ending = ANIMATED[0] if animated else ".png"
    return plan_output(names, "maximize", out, force=values["force"], more=ANIMATED, ending=ending)


def _is_animated(out: str | None) -> bool:
    return out is not None and Path(out).suffix.lower() in ANIMATED


def _file_name(target: str) -> str:
    """A target as a file's name: letters, digits, dots and dashes."""
    return re.sub(r"[^\w.-]+", "-", target).strip("-.")[:LONGEST_NAME] or "picture"


maximize = SectionedCommand(
    "maximize",
    params=[
        Option(
            "--target", metavar="WHAT", multiple=True, section="Method",
            help="A class index, a label, 'LABEL - LABEL', a unit such as layer4:17 or layer4:17@3,3, a whole layer "
            "such as 'layer4:*', or a direction 'layer4:FILE.npy'; repeat it for several.",
        ),
        Option(
            "--times", type=click.IntRange(1), default=1, section="Method",
            help="Number of images per target, each from different noise.",
        ),
        Option(
            "--start", metavar="FILE", section="Method",
            help="A picture to start from, instead of noise; without --target, its predicted class is maximised.",
        ),
        Option(
            "--examples", metavar="FILE|FOLDER", multiple=True, section="Method",
            help="Pictures whose colour and frequency statistics are used as those of natural images; repeat it for "
            "several.",
        ),
        Option(
            "--judge", metavar="NAME", section="Method",
            help="A second network that classifies the result, given as for --model.",
        ),
        *(setting_option(parameter) for parameter in METHOD.parameters.values()),
        *NETWORK,
        Option(
            "--animate", is_flag=True, section="Drawing",
            help="Animate the optimisation; needed for .webp and folders only, .gif and .mp4 always are.",
        ),
        Option(
            "--fps", type=click.FloatRange(0, 240, min_open=True), default=8.0, section="Drawing",
            help="Frames per second.",
        ),
        *FIGURE,
        Option(
            "--out", "-o", metavar="FILE|FOLDER/", section="Output",
            help="One .png, .jpg, .webp, .svg, .pdf, .npz, .gif or .mp4 file for everything, or a folder for one file "
            "per picture; default: TARGET.maximize.png in the current folder.",
        ),
        FORCE, JSON, QUIET,
    ],
    callback=run_maximize,
    short_help=METHOD.summary,
    help=f"{METHOD.summary}\n\nReference: {METHOD.reference}",
)  # fmt: skip
