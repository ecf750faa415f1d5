"""``cnnviz info``: how a file was made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

import cnnviz

from .options import JSON, Sectioned
from .output import print_json

__all__ = ["info"]


def show_info(file: Path, *, as_json: bool) -> None:
    """Print how a file was made."""
    note = cnnviz.read_note(file)
    cnnviz.Provenance.from_json(note)
    record = json.loads(note)["cnnviz"]
    if as_json:
        print_json(record)
    else:
        click.echo("\n".join(_lines(record, "")))


def _lines(record: Mapping[str, Any], indent: str) -> Iterator[str]:
    """A record as lines ``name: value``, nested records and lists of them indented."""
    for name, value in record.items():
        if value in (None, "", [], {}):
            continue
        if isinstance(value, dict):
            yield f"{indent}{name}:"
            yield from _lines(value, f"{indent}  ")
        elif isinstance(value, list) and isinstance(value[0], dict):
            yield f"{indent}{name}:"
            yield from (f"{indent}  {', '.join(_named(each) if name == 'quality' else _plain(each))}" for each in value)
        else:
            yield f"{indent}{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}"


def _plain(record: Mapping[str, Any]) -> Iterator[str]:
    return map(str, record.values())


def _named(record: Mapping[str, Any]) -> Iterator[str]:
    return (f"{name} {value}" for name, value in record.items())


info = Sectioned(
    "info",
    params=[click.Argument(["file"], type=click.Path(path_type=Path)), JSON],
    callback=show_info,
    help="How a file was made, read back from the file.",
)
