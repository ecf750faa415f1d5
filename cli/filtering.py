"""``cnnviz filters``."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import Any

import cnnviz
from cnnviz.catalogue import describe

from .inputs import open_model
from .options import NETWORK, OUTPUT, SEED, Option, Sectioned, setting
from .output import Report, make_folder, plan, print_json

__all__ = ["filters"]

METHOD = describe("filters")


def ask(**values: Any) -> None:
    """Write the kernels of a layer.

    Args:
        **values: What the command line gave.
    """
    (file,) = plan([_named(values["model"], values["layer"])], "filters", values["out"], force=values["force"]).files
    report = Report(1, quiet=values["quiet"], silent=values["as_json"])
    with closing(report):
        settings = {name: values[name] for name in METHOD.parameters}
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
        *(setting(parameter) for parameter in METHOD.parameters.values()),
        *NETWORK, SEED,
        *(Option("--out", "-o", metavar="FILE|FOLDER/", section="Output",
                 help="A .png, .jpg, .webp, .svg, .pdf or .npz file, or a folder; "
                 "left out, MODEL.filters.png in the current folder."),),
        *OUTPUT[1:],
    ],
    callback=ask,
    help=f"{METHOD.summary}\n\nReference: {METHOD.reference}",
    short_help=METHOD.summary,
)  # fmt: skip
