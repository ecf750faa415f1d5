"""``cnnviz predict``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import click

import cnnviz
from cnnviz.core.atomic import make_folder
from cnnviz.errors import UsageError, visible

from ..options import (
    FIGURE,
    FORCE,
    IMAGES_HELP,
    JSON,
    NETWORK,
    QUIET,
    SEED,
    Option,
    SectionedCommand,
    paper_of,
    setting_option,
)
from ..output import Console, OutputPlan, plan_output
from ..run import Entries, PictureFiles, batch_of, plan_first, run

__all__ = ["predict"]

METHOD = cnnviz.predict

Answer: TypeAlias = "cnnviz.Predictions | cnnviz.Segmentations | cnnviz.Detections"
NOTHING_DRAWN = (
    "This network has no class for every pixel and no boxes, so there is nothing to draw; leave out {option}."
)
NO_AREAS = "This network answers with boxes, and with no class for every pixel; leave out --masks."
COCO = ".json"
DRAWN_TO = Option(
    "--out", "-o", metavar="FILE|FOLDER/", section="Output",
    help="Draw the segmentation or the detected boxes: one .png, .jpg, .webp, .svg, .pdf or .npz file for everything "
    "(boxes also as .json in COCO format), or a folder for one .png per picture; default: nothing is drawn.",
)  # fmt: skip

MASKS = Option(
    "--masks", metavar="FOLDER/", section="Output",
    help="Segmentation: folder for one NAME.mask.png per picture, of the picture's size, whose pixel values are class "
    "indices (255: none), with the colours of --out as palette.",
)  # fmt: skip


def run_predict(**values: Any) -> None:
    """Ask the network about every picture and print its first classes, the areas that classes win, or its boxes.

    Args:
        **values: What the command line gave.
    """
    pictures = PictureFiles(values)

    paper = paper_of(values)
    out, force = values["out"], values["force"]

    def plan() -> tuple[OutputPlan | None, OutputPlan | None]:
        drawn = plan_output(pictures.files, "predict", out, force=force, more=(COCO,)) if out else None
        return drawn, _plan_masks(pictures.files, values["masks"], force=force) if values["masks"] else None

    planned, masks = plan_first(plan, pictures.model, values)

    def ask(model: cnnviz.Model, batch: list[cnnviz.Sample]) -> Answer:
        found = cnnviz.predict(model, batch, **{name: values[name] for name in METHOD.parameters})
        if isinstance(found, cnnviz.Predictions) and (planned or masks):
            raise UsageError(NOTHING_DRAWN.format(option="--out" if planned else "--masks"))
        if masks is not None and isinstance(found, cnnviz.Detections):
            raise UsageError(NO_AREAS)
        return found

    def write(console: Console, numbers: list[int], answer: Answer) -> Entries:
        names = [str(pictures.files[number]) for number in numbers]
        if isinstance(answer, cnnviz.Predictions):
            return _entries(names, answer)
        if planned is not None:
            console.name_files(planned.save(answer, numbers, **paper))
        if isinstance(answer, cnnviz.Detections):
            outputs = [None if planned is None else str(planned.files[number]) for number in numbers]
            return _box_entries(names, answer, outputs)
        if masks is not None:
            make_folder(masks.files[0].parent)
            console.name_files(answer.save_masks([masks.files[number] for number in numbers]))
        return _area_entries(names, answer, [_name_outputs(number, output=planned, mask=masks) for number in numbers])

    at_once = len(pictures.files) if planned is not None and planned.together else batch_of(values)
    run(pictures, values, ask, write, at_once=at_once, text=_format_entries)


def _plan_masks(files: Sequence[Path], folder: str, *, force: bool) -> OutputPlan:
    return plan_output(files, "mask", f"{folder}/", force=force)


def _name_outputs(number: int, **plans: OutputPlan | None) -> dict[str, str]:
    """The files of a picture, by what they are."""
    return {name: str(plan.files[number]) for name, plan in plans.items() if plan is not None}


def _entries(images: list[str], answer: cnnviz.Predictions) -> Entries:
    for image, best in zip(images, answer, strict=True):
        yield {"image": image, "predictions": [one.describe() for one in best], "checks": list(answer.checks)}


def _area_entries(images: list[str], answer: cnnviz.Segmentations, outputs: list[dict[str, str]]) -> Entries:
    for image, areas, written in zip(images, answer, outputs, strict=True):
        yield {"image": image, **written, "areas": [one.describe() for one in areas], "checks": list(answer.checks)}


def _box_entries(images: list[str], answer: cnnviz.Detections, outputs: list[str | None]) -> Entries:
    for image, found, output in zip(images, answer, outputs, strict=True):
        written = {} if output is None else {"output": output}
        yield {
            "image": image,
            **written,
            "detections": [one.describe() for one in found],
            "checks": list(answer.checks),
        }


def _format_entries(entries: list[dict[str, Any]]) -> str:
    return "\n".join(line for entry in entries for line in (visible(entry["image"]), *_format_answer(entry)))


def _format_answer(entry: dict[str, Any]) -> list[str]:
    if "detections" in entry:
        return [_format_box(one) for one in entry["detections"]] or ["  nothing above the threshold"]
    if "areas" in entry:
        return [_format_area(one) for one in entry["areas"]]
    return [_format_class(one) for one in entry["predictions"]]


def _format_area(one: dict[str, Any]) -> str:
    named = f"  {one['share']:>7.2%}  {one['index']:>5}  {visible(one['label'] or '')}".rstrip()
    return f"{named}, mean probability {one['probability']:.1%}"


def _format_box(one: dict[str, Any]) -> str:
    edges = ",".join(f"{edge:.0f}" for edge in one["box"])
    return f"  {one['score']:>7.2%}  {one['index']:>5}  {visible(one['target'])}  {edges}"


def _format_class(one: dict[str, Any]) -> str:
    share = one["probability"]
    answer = f"{one['logit']:.4g} {one['unit']}".rstrip() if share is None else f"{share:.2%}"
    place = f" at {one['place'][0]},{one['place'][1]}" if "place" in one else ""
    return f"  {answer:>7}  {one['index']:>5}  {visible(one['label'] or '')}{place}".rstrip()


predict = SectionedCommand(
    "predict",
    params=[
        click.Argument(["images"], metavar="IMAGE...", nargs=-1, required=True),
        *(setting_option(parameter) for parameter in METHOD.parameters.values()),
        *NETWORK, SEED, *FIGURE, DRAWN_TO, MASKS, FORCE, JSON, QUIET,
    ],
    callback=run_predict,
    help=f"{METHOD.summary}\n\n{IMAGES_HELP.format(more='')}",
)  # fmt: skip
