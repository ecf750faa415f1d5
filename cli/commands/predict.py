"""``cnnviz predict``."""

from __future__ import annotations

from typing import Any

import click

import cnnviz
from cnnviz.errors import visible

from ..options import JSON, NETWORK, QUIET, SEED, SectionedCommand, setting_option
from ..output import Console
from ..run import Entries, PictureFiles, batch_of, run

__all__ = ["predict"]

METHOD = cnnviz.predict


def run_predict(**values: Any) -> None:
    """Ask the network about every picture and print its first classes.

    Args:
        **values: What the command line gave.
    """
    pictures = PictureFiles(values["images"], values["value_range"])

    def ask(model: cnnviz.Model, batch: list[cnnviz.Picture]) -> cnnviz.Predictions:
        return cnnviz.predict(model, batch, **{name: values[name] for name in METHOD.parameters})

    def write(_: Console, numbers: list[int], answer: cnnviz.Predictions) -> Entries:
        return _entries([str(pictures.files[number]) for number in numbers], answer)

    run(pictures, values, ask, write, at_once=batch_of(values), text=_format_entries)


def _entries(images: list[str], answer: cnnviz.Predictions) -> Entries:
    for image, best in zip(images, answer, strict=True):
        yield {"image": image, "predictions": [one.describe() for one in best], "checks": list(answer.checks)}


def _format_entries(entries: list[dict[str, Any]]) -> str:
    return "\n".join(
        line for entry in entries for line in (visible(entry["image"]), *map(_format_class, entry["predictions"]))
    )


def _format_class(one: dict[str, Any]) -> str:
    share = one["probability"]
    answer = f"{one['logit']:.4g} {one['unit']}".rstrip() if share is None else f"{share:.2%}"
    return f"  {answer:>7}  {one['index']:>5}  {visible(one['label'] or '')}".rstrip()


predict = SectionedCommand(
    "predict",
    params=[
        click.Argument(["images"], metavar="IMAGE...", nargs=-1, required=True),
        *(setting_option(parameter) for parameter in METHOD.parameters.values()),
        *NETWORK, SEED, JSON, QUIET,
    ],
    callback=run_predict,
    help=f"{METHOD.summary}\n\nIMAGE is a picture file, or a folder of them.",
)  # fmt: skip
