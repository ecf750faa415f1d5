"""Where results go, decided before any work, and what is said about them."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

import cnnviz
from cnnviz.drawing.files import SUFFIXES
from cnnviz.errors import OutputError

__all__ = ["Places", "Report", "ensure_folder", "make_folder", "plan", "print_json", "print_table"]

BAR = "{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}"


@dataclass(frozen=True)
class Places:
    """Where results go.

    Attributes:
        files: For each picture the file of its result.
        together: Whether all results go into one file.
    """

    files: tuple[Path, ...]
    together: bool


def plan(
    pictures: Sequence[Path],
    command: str,
    out: str | None,
    *,
    force: bool,
    singly: bool = True,
    more: Sequence[str] = (),
    ending: str = ".png",
) -> Places:
    """Decide where the result of each picture goes, and make sure that it can be written.

    Args:
        pictures: The picture files.
        command: The command's name, which becomes part of file names.
        out: A file for everything; a folder that exists or ends in a slash; None for the current folder.
        force: Whether files may be replaced.
        singly: Whether each picture has a result of its own, and not all of them together have one.
        more: What a file for everything may end in besides the usual.
        ending: Of the files whose names are made here.

    Raises:
        OutputError: If a file exists already, cannot be written, has another suffix, or is one of the pictures.
    """
    if out is not None and not out.endswith(("/", os.sep)) and not Path(out).is_dir():
        if not Path(out).suffix:
            raise OutputError(f"'{out}' has no ending such as .png or .npz; for a folder write '{out}/'.")
        cnnviz.ensure_writable(Path(out), force=True, suffixes=(*SUFFIXES, *more))
        places = Places((Path(out),) * len(pictures), together=True)
    else:
        folder = Path(out or "")
        ensure_folder(folder)
        names = [f"{name}.{command}{ending}" for name in _distinct(picture.stem for picture in pictures)]
        if not singly:
            names = names if len(pictures) == 1 else [f"{command}{ending}"] * len(pictures)
        places = Places(tuple(folder / name for name in names), together=not singly)
    _ensure(places, pictures, force=force)
    return places


def _distinct(stems: Iterable[str]) -> list[str]:
    """The names, a number after those that were there before, also where upper and lower case are the same."""
    names: list[str] = []
    taken: set[str] = set()
    for stem in stems:
        name, count = stem, 1
        while name.casefold() in taken:
            count += 1
            name = f"{stem}-{count}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _ensure(places: Places, pictures: Sequence[Path], *, force: bool) -> None:
    files = list(dict.fromkeys(places.files))
    existing = [file for file in files if file.is_file()]
    if existing and not force:
        more = f" and {len(existing) - 1} more exist" if len(existing) > 1 else " exists"
        raise OutputError(f"'{existing[0]}'{more} already; add --force to replace, or choose another place with -o.")
    sources = {picture.resolve() for picture in pictures}
    for file in files:
        if file.resolve() in sources:
            raise OutputError(f"'{file}' is one of the pictures, and would be replaced; choose another place with -o.")


def ensure_folder(folder: Path) -> None:
    """Make sure that a folder is there and can be written to, or can be made.

    Raises:
        OutputError: If not.
    """
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise OutputError(f"'{nearest}' is a file, so there can be no folder '{folder}'.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise OutputError(f"The folder '{nearest}' may not be written to.")


def make_folder(folder: Path) -> None:
    """Make a folder, with those around it, if it is not there yet.

    Raises:
        OutputError: If that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder '{folder}' cannot be made: {error.strerror}.") from None


class Report:
    """What a command says while it works: files on stdout, notes and progress on stderr.

    Args:
        total: How many pictures there are.
        quiet: Neither notes nor progress.
        silent: No files either, because a document will name them.
    """

    def __init__(self, total: int, *, quiet: bool, silent: bool = False) -> None:
        from tqdm import tqdm

        shown = sys.stderr.isatty() and not quiet
        self._bar = tqdm(total=total, bar_format=BAR, disable=not shown, leave=False, file=sys.stderr)
        self._quiet, self._silent = quiet, silent
        self._notes: dict[str, None] = {}

    @contextmanager
    def over(self, count: int) -> Iterator[None]:
        """Inside, progress of a method on so many of the pictures is shown."""
        start = self._bar.n

        def show(done: int, total: int) -> None:
            self._bar.n = start + count * done / max(total, 1)
            self._bar.refresh()

        with cnnviz.progress_to(show):
            yield
        self._bar.n = start + count

    def say(self, words: str) -> None:
        """Show words before the progress bar, until others are shown."""
        self._bar.set_description_str(words, refresh=False)

    def wrote(self, files: Iterable[Path]) -> None:
        """Name files that were written."""
        if not self._silent:
            with self._bar.external_write_mode(file=sys.stdout):
                click.echo("\n".join(map(str, files)))

    def note(self, notes: Iterable[str]) -> None:
        """Keep notes, to be said at the end and each once."""
        self._notes.update(dict.fromkeys(notes))

    def close(self) -> None:
        """Take progress off the screen and say the notes."""
        self._bar.close()
        if not self._quiet:
            for note in self._notes:
                click.echo(f"note: {note}", err=True)


def print_json(document: Any) -> None:
    """Print one JSON document; numbers that are not finite become null."""
    click.echo(json.dumps(_finite(document), ensure_ascii=False, indent=2, allow_nan=False, default=str))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows with their columns aligned."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
