"""``cnnviz predict``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any

import click

import cnnviz

from ..arguments import AT_ONCE, Given
from ..options import JSON, NETWORK, QUIET, SEED, Sectioned, setting
from ..output import Report, print_json

__all__ = ["predict"]

METHOD = cnnviz.predict


def ask(**values: Any) -> None:
    """Ask the network about every picture and print its first classes.

    Args:
        **values: What the command line gave.
    """
    given = Given(values["images"])
    at_once = values["batch_size"] or AT_ONCE
    report = Report(len(given.files), quiet=values["quiet"])
    entries: list[dict[str, Any]] = []
    with closing(report):
        for numbers, answer in given.ask(partial(_ask, values), values, report, at_once=at_once):
            entries += _entries([str(given.files[number]) for number in numbers], answer)
    if values["as_json"]:
        print_json(entries)
    else:
        click.echo("\n".join(_lines(entries)))
    if given.say_failures():
        click.get_current_context().exit(1)


def _ask(values: Mapping[str, Any], model: cnnviz.Model, pictures: list[cnnviz.Picture]) -> cnnviz.Predictions:
    return cnnviz.predict(model, pictures, **{name: values[name] for name in METHOD.parameters})


def _entries(images: list[str], answer: cnnviz.Predictions) -> list[dict[str, Any]]:
    return [
        {
            "image": image,
            "predictions": [
                {
                    "index": one.target.index,
                    "label": one.target.label,
                    "logit": one.logit,
                    "probability": one.probability,
                }
                for one in best
            ],
            "checks": list(answer.checks),
        }
        for image, best in zip(images, answer, strict=True)
    ]


def _lines(entries: list[dict[str, Any]]) -> Iterator[str]:
    for entry in entries:
        yield entry["image"]
        for one in entry["predictions"]:
            yield f"  {one['probability']:7.2%}  {one['index']:>5}  {one['label'] or ''}".rstrip()


predict = Sectioned(
    "predict",
    params=[
        click.Argument(["images"], metavar="IMAGE...", nargs=-1, required=True),
        *(setting(parameter) for parameter in METHOD.parameters.values()),
        *NETWORK, SEED, JSON, QUIET,
    ],
    callback=ask,
    help=f"{METHOD.summary}\n\nIMAGE is a picture file, or a folder of them.",
)  # fmt: skip
