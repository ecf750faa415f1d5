"""``cnnviz report``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import cnnviz
from cnnviz.core.atomic import make_folder

from ..options import FORCE, IMAGES_HELP, JSON, NETWORK, QUIET, SEED, TARGET, Option, SectionedCommand, setting_option
from ..output import Console, ensure_folder, ensure_free
from ..run import Entries, PictureFiles, plan_first, run

__all__ = ["report"]

METHOD = cnnviz.report
PAGES = (".html", ".htm")


def run_report(**values: Any) -> None:
    """Ask everything about one network and a few pictures and write one page.

    Args:
        **values: What the command line gave.
    """
    pictures = PictureFiles(values)
    page = Path(values["out"])
    folder = None if values["figures"] is None else Path(values["figures"])
    cnnviz.ensure_writable(page, force=True, suffixes=PAGES)
    plan_first(lambda: ensure_free([page], force=values["force"]), pictures.model, values)
    if folder is not None:
        ensure_folder(folder)

    def ask(model: cnnviz.Model, batch: list[cnnviz.Sample]) -> cnnviz.Report:
        settings = {name: values[name] for name in METHOD.parameters}
        return cnnviz.report(model, batch, values["target"], values["data"], **settings)

    def write(console: Console, _: list[int], answer: cnnviz.Report) -> Entries:
        found = answer.without(tuple(_strip_folders(each, values["images"]) for each in pictures.failures))
        pictures.failures += answer.failures
        written = [found.save(page), *_save_figures(found, folder, force=values["force"])]
        console.name_files(written)
        console.note([", ".join(f"{name} {taken:.1f} s" for name, taken in found.seconds.items())])
        yield {"output": str(page), "figures": [str(file) for file in written[1:]], **found.describe()}

    run(pictures, values, ask, write, at_once=len(pictures.files), document=lambda found: found[0] if found else {})


def _save_figures(found: cnnviz.Report, folder: Path | None, *, force: bool) -> list[Path]:
    if folder is None:
        return []
    ensure_free(found.figure_files(folder), force=force, elsewhere="choose another folder")
    make_folder(folder)
    return list(found.save_figures(folder))


def _strip_folders(sentence: str, images: tuple[str, ...]) -> str:
    """A sentence with the files' names in place of where they are: a page names no folder."""
    named = sentence
    for folder in sorted({str(Path(image).parent) for image in images} | set(images), key=len, reverse=True):
        named = named.replace(f"'{folder}/", "'").replace(f"'{folder}'", f"'{Path(folder).name}'")
    return named


report = SectionedCommand(
    "report",
    params=[
        click.Argument(["images"], metavar="IMAGE...", nargs=-1, required=True),
        TARGET,
        Option(
            "--data", metavar="SOURCE", section="Method",
            help="A data set for top-activating patches, as in 'cnnviz patches', and for a short audit if it has true "
            "classes: a folder, a list, shapes:COUNT.",
        ),
        *(setting_option(parameter) for parameter in METHOD.parameters.values() if parameter.name != "seed"),
        *NETWORK, SEED,
        Option(
            "--out", "-o", metavar="FILE", default="report.html", section="Output",
            help="The .html file (self-contained).",
        ),
        Option("--figures", metavar="FOLDER", section="Output", help="Also write the figures, as .png files."),
        FORCE, JSON, QUIET,
    ],
    callback=run_report,
    help=f"{METHOD.summary}\n\n{IMAGES_HELP.format(more='')}",
)  # fmt: skip
