"""``cnnviz info`` and ``cnnviz rerun``: how a file was made, and making it again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

import cnnviz
from cnnviz.errors import visible

from ..options import FORCE, JSON, QUIET, Option, SectionedCommand
from ..output import echo, ensure_free, print_json

__all__ = ["info", "rerun"]


def run_rerun(file: Path, **values: Any) -> None:
    """Make a file again, and say whether it is the same.

    Args:
        file: The file.
        **values: What else the command line gave.
    """
    out = Path(values["out"]) if values["out"] else Path(f"{file.stem}.rerun{file.suffix}")
    ensure_free([out], force=values["force"])
    given = {name: values[name] for name in ("weights", "labels", "judge", "trust")}
    model = list(values["model"]) or None
    found = cnnviz.rerun(
        file, values["out"], images=values["images"], model=model[0] if model and len(model) == 1 else model, **given
    )
    if values["as_json"]:
        print_json(found.describe())
        return
    echo(found.path)
    if not values["quiet"]:
        echo("\n".join([found.verdict, *(f"  {line}" for line in found.differences)]), err=True)


rerun = SectionedCommand(
    "rerun",
    params=[
        click.Argument(["file"], type=click.Path(path_type=Path)),
        Option(
            "--images", multiple=True, metavar="FOLDER", section="Where it came from",
            help="Where to find the pictures: a folder, a picture or a data set; repeat it for several. The current "
            "folder and the file's own are always searched, with their subfolders.",
        ),
        Option(
            "--model", metavar="NAME|FILE", multiple=True, section="Where it came from",
            help="The network, if it comes from a module or file, or another one; for a comparison all of them, in "
            "order.",
        ),
        Option("--weights", metavar="FILE", section="Where it came from", help="The weights, likewise."),
        Option("--labels", metavar="FILE", section="Where it came from", help="The labels, likewise."),
        Option("--judge", metavar="NAME|FILE", section="Where it came from", help="The second network, of maximize."),
        Option(
            "--trust", is_flag=True, section="Where it came from",
            help="Open the files and data sets that the record names if their hashes match; this can run their code, "
            "so use it only for files from people you trust.",
        ),
        Option(
            "--out", "-o", metavar="FILE", section="Output",
            help="Output file; default: NAME.rerun.SUFFIX in the current folder. Another suffix changes the format.",
        ),
        FORCE, JSON, QUIET,
    ],
    callback=run_rerun,
    help="Reproduce a file from the record inside it, and say whether it is identical, byte for byte.\n\n"
    "Pictures are found by their content. A file may come from a stranger: only bundled networks and those of "
    "torchvision and timm are opened without asking; give anything else by an option, or add --trust. If the result is "
    "not identical, the differences are listed.",
)  # fmt: skip


def run_info(file: Path, *, as_json: bool) -> None:
    """Print how a file was made."""
    note = cnnviz.read_note(file)
    cnnviz.Provenance.from_json(note)
    record = json.loads(note)["cnnviz"]
    if as_json:
        print_json(record)
    else:
        echo("\n".join(_record_lines(record, "")))


def _record_lines(record: Mapping[str, Any], indent: str) -> Iterator[str]:
    """A record as lines ``name: value``, nested records and lists of them indented."""
    for name, value in record.items():
        if value in (None, "", [], {}):
            continue
        if isinstance(value, dict):
            yield f"{indent}{visible(name)}:"
            yield from _record_lines(value, f"{indent}  ")
        elif isinstance(value, list) and isinstance(value[0], dict):
            yield f"{indent}{visible(name)}:"
            yield from (
                f"{indent}  {visible(', '.join(_pair_words(each) if name == 'quality' else _value_words(each)))}"
                for each in value
            )
        else:
            words = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield f"{indent}{visible(name)}: {visible(words)}"


def _value_words(record: Mapping[str, Any]) -> Iterator[str]:
    return map(str, record.values())


def _pair_words(record: Mapping[str, Any]) -> Iterator[str]:
    return (f"{name} {value}" for name, value in record.items())


info = SectionedCommand(
    "info",
    params=[click.Argument(["file"], type=click.Path(path_type=Path)), JSON],
    callback=run_info,
    help="Show the record inside a file: how it was made.",
)
