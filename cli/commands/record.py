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
            help="A folder to look for the pictures in, with all in it, a picture or a data set; can be given several "
            "times. For pictures the current folder and the file's are looked at anyway, and then the folders in them.",
        ),
        Option(
            "--model", metavar="NAME|FILE", multiple=True, section="Where it came from",
            help="The network, where it is of a module or file, or is to be another; of a comparison all, in order.",
        ),
        Option("--weights", metavar="FILE", section="Where it came from", help="Its weights, likewise."),
        Option("--labels", metavar="FILE", section="Where it came from", help="Its labels, likewise."),
        Option("--judge", metavar="NAME|FILE", section="Where it came from", help="The second network of maximize."),
        Option(
            "--trust", is_flag=True, section="Where it came from",
            help="Open the files and data sets that the record names, where they have the hashes it names; their code "
            "runs then. Only for files of people whose programs you would run.",
        ),
        Option(
            "--out", "-o", metavar="FILE", section="Output",
            help="Where to; left out, NAME.rerun.SUFFIX in the current folder. Another suffix draws it in that format.",
        ),
        FORCE, JSON, QUIET,
    ],
    callback=run_rerun,
    help="Make an output again from the record inside it, and say whether it is the same, byte for byte.\n\n"
    "Pictures are found by their content. A record may be a stranger's: on its word only bundled networks and those of "
    "torchvision and timm are opened, anything else it names is given here or trusted. What cannot be the same is "
    "listed, with the largest difference of the values.",
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
    help="How a file was made, read back from the file.",
)
