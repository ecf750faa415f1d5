"""``cnnviz report``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import click

import cnnviz
from cnnviz.errors import OutputError

from ..arguments import Given
from ..options import FORCE, JSON, NETWORK, QUIET, SEED, TARGET, Option, Sectioned, setting
from ..output import Report, ensure_folder, make_folder, print_json

__all__ = ["report"]

METHOD = cnnviz.report
PAGES = (".html", ".htm")


def ask(**values: Any) -> None:
    """Ask everything about one network and a few pictures and write one page.

    Args:
        **values: What the command line gave.
    """
    given = Given(values["images"])
    page = Path(values["out"])
    folder = None if values["figures"] is None else Path(values["figures"])
    _ensure(page, folder, force=values["force"])
    report = Report(len(given.files), quiet=values["quiet"], silent=values["as_json"])
    entry: dict[str, Any] = {}
    with closing(report):
        for _, told in given.ask(partial(_ask, values), values, report, at_once=len(given.files)):
            found = told.without(tuple(_named(each, values["images"]) for each in given.failures))
            written = [found.save(page), *_figures(found, folder, force=values["force"])]
            report.wrote(written)
            report.note([", ".join(f"{name} {taken:.1f} s" for name, taken in found.seconds.items())])
            entry = {"output": str(page), "figures": [str(file) for file in written[1:]], **found.describe()}
    if values["as_json"]:
        print_json(entry)
    if given.say_failures():
        click.get_current_context().exit(1)


def _ask(values: Mapping[str, Any], model: cnnviz.Model, pictures: list[cnnviz.Picture]) -> cnnviz.Report:
    settings = {name: values[name] for name in METHOD.parameters}
    return cnnviz.report(model, pictures, values["target"], values["data"], **settings)


def _ensure(page: Path, folder: Path | None, *, force: bool) -> None:
    """Find out before the work starts whether the page can be written, and its figures."""
    cnnviz.ensure_writable(page, force=True, suffixes=PAGES)
    if page.exists() and not force:
        raise OutputError(f"'{page}' exists already; add --force to replace, or choose another place with -o.")
    if folder is not None:
        ensure_folder(folder)


def _figures(found: cnnviz.Report, folder: Path | None, *, force: bool) -> list[Path]:
    if folder is None:
        return []
    existing = [file for file in found.figure_files(folder) if file.exists()]
    if existing and not force:
        raise OutputError(f"'{existing[0]}' exists already; add --force to replace, or choose another folder.")
    make_folder(folder)
    return list(found.save_figures(folder))


def _named(sentence: str, images: tuple[str, ...]) -> str:
    """A sentence with the files' names in place of where they are: a page names no folder."""
    named = sentence
    for folder in sorted({str(Path(image).parent) for image in images} | set(images), key=len, reverse=True):
        named = named.replace(f"'{folder}/", "'").replace(f"'{folder}'", f"'{Path(folder).name}'")
    return named


report = Sectioned(
    "report",
    params=[
        click.Argument(["images"], metavar="IMAGE...", nargs=-1, required=True),
        TARGET,
        Option(
            "--data", metavar="SOURCE", section="Method",
            help="A data set to look for patches in, as 'cnnviz patches' takes it: a folder, a list, shapes:COUNT.",
        ),
        *(setting(parameter) for parameter in METHOD.parameters.values() if parameter.name != "seed"),
        *NETWORK, SEED,
        Option(
            "--out", "-o", metavar="FILE", default="report.html", section="Output",
            help="The .html file; it needs no other.",
        ),
        Option("--figures", metavar="FOLDER", section="Output", help="Also write the figures, as .png, into a folder."),
        FORCE, JSON, QUIET,
    ],
    callback=ask,
    help=f"{METHOD.summary}\n\nIMAGE is a picture file, or a folder of them.",
)  # fmt: skip
