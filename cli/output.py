"""The files that results go to, planned before any work, and the console: progress, notes, tables and JSON."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import click

import cnnviz
from cnnviz.core.atomic import make_folder, number_twins
from cnnviz.core.similar import named_files
from cnnviz.drawing.fonts.families import FontWarning
from cnnviz.errors import CnnvizError, OutputError, UsageError, visible

from .options import paper_of

__all__ = [
    "Console",
    "OutputPlan",
    "OutputThereError",
    "echo",
    "ensure_folder",
    "ensure_free",
    "is_folder",
    "plan_file",
    "plan_output",
    "print_json",
    "print_table",
    "read_look",
    "spell_question",
]

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".svg", ".pdf")


class OutputThereError(OutputError):
    """A file that is to be written is there already, which need not be said before all else that is wrong."""


SETTING = re.compile(r"\b(?P<name>[a-z_]+)=(?P<value>True|False|\.\.\.|'[\w-]+')")
"""A setting of Python in a note."""
BAR = "{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}"


@dataclass(frozen=True)
class OutputPlan:
    """The files that results go to.

    Attributes:
        files: For each picture the file of its result.
        together: Whether all results go into one file.
    """

    files: tuple[Path, ...]
    together: bool

    def save(self, result: Any, numbers: Sequence[int] = (0,), *, across: int = 1, **look: Any) -> Sequence[Path]:
        """Write a result to its file, or its parts to the files of their pictures; the folder is made.

        Args:
            result: What there is to say about these pictures.
            numbers: The pictures' numbers.
            across: How many parts of the result belong to one picture.
            **look: What its ``save`` takes.
        """
        files = [self.files[number] for number in numbers]
        make_folder(files[0].parent)
        if self.together:
            return [result.save(files[0], **look)]
        if across == 1:
            written: Sequence[Path] = result.save_each(files, **look)
            return written
        parts = (result[start : start + across] for start in range(0, len(result), across))
        return [part.save(file, **look) for part, file in zip(parts, files, strict=True)]


def plan_output(
    pictures: Sequence[Path],
    command: str,
    out: str | None,
    *,
    force: bool,
    singly: bool = True,
    more: Sequence[str] = (),
    ending: str = ".png",
    asked: str = "",
) -> OutputPlan:
    """Decide which file the result of each picture goes to, and make sure that it can be written.

    Args:
        pictures: The picture files.
        command: The command's name, which becomes part of file names.
        out: A file for everything; a folder that exists or ends in a slash; None for the current folder.
        force: Whether files may be replaced.
        singly: Whether each picture has a result of its own, and not all of them together have one.
        more: What a file for everything may end in besides the usual.
        ending: Of the files whose names are made here.
        asked: What else these names say of the question, as ``spell_question`` has it.

    Raises:
        OutputError: If a file exists already, cannot be written, has another suffix, or is one of the pictures.
    """
    from cnnviz.drawing.files import SUFFIXES

    if out is not None and not out.endswith(("/", os.sep)) and not Path(out).is_dir():
        if not Path(out).suffix:
            raise OutputError(f"'{out}' has no ending such as .png or .npz; for a folder write '{out}/'.")
        cnnviz.ensure_writable(Path(out), force=True, suffixes=(*SUFFIXES, *more))
        planned = OutputPlan((Path(out),) * len(pictures), together=True)
    else:
        folder = Path(out or "")
        ensure_folder(folder)
        names = [f"{name}.{command}{asked}{ending}" for name in number_twins(map(_stem_of, pictures))]
        if not singly:
            names = names if len(pictures) == 1 else [f"{command}{asked}{ending}"] * len(pictures)
        planned = OutputPlan(tuple(folder / name for name in names), together=not singly)
    _ensure_writable(planned, pictures, force=force)
    return planned


LONGEST_WORD = 48
"""Bytes of a layer's or a target's name in a file's name."""
PLAINLY = re.compile(r"[\s,:]+")
UNSAFE = re.compile(r"[^\w.,#+@=-]+")


def is_folder(name: str) -> bool:
    """Whether a word of the command line names a folder; one that the system refuses is none."""
    with suppress(OSError, ValueError):
        return Path(name).is_dir()
    return False


def plan_file(values: Mapping[str, Any], suffixes: tuple[str, ...]) -> Path | None:
    """The one file that is written (-o), made sure of before any work; None where none is.

    Args:
        values: What the command line gave.
        suffixes: The kinds of file that can be written.

    Raises:
        OutputError: If it cannot be written, or is there already.
    """
    if values["out"] is None:
        return None
    out = Path(values["out"])
    cnnviz.ensure_writable(out, force=True, suffixes=suffixes)
    ensure_free([out], force=values["force"])
    return out


def read_look(values: Mapping[str, Any], example: str) -> dict[str, Any]:
    """How the figure is drawn that is one of several kinds of output.

    Args:
        values: What the command line gave.
        example: A name for the file, without its suffix.

    Raises:
        UsageError: If there is none to be drawn.
    """
    look = {**paper_of(values), **({} if values["figure"] is None else {"figure": values["figure"]})}
    if look and (values["out"] is None or Path(values["out"]).suffix.lower() not in PICTURES):
        option = f"--{next(iter(look)).replace('_', '-')}"
        raise UsageError(f"{option} is about a figure; write one with -o, such as -o {example}.png or {example}.pdf.")
    return look


def spell_question(values: Mapping[str, Any]) -> str:
    """The layer and the target that were asked for, as a part of a file's name such as ``".layer3.tabby"``.

    A name that had to be cut, or had letters that are not safe in files' names, ends in six digits of its hash, so that
    two questions have two names.

    Args:
        values: What the command line gave.
    """
    found = []
    for key in ("layer", "layers", "target"):
        given = values.get(key) or ()
        words = [given] if isinstance(given, str) else list(given)
        if words:
            found.append(_file_word("+".join(map(str, words))))
    return "".join(f".{word}" for word in found)


def _file_word(text: str) -> str:
    plain = PLAINLY.sub("-", text.replace(" - ", "-minus-").replace(", ", "-").replace(",", "+"))
    safe = UNSAFE.sub("-", plain).strip("-.")
    short = safe.encode("utf-8", "replace")[:LONGEST_WORD].decode(errors="ignore")
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return short if short == plain else f"{short}-{digest}".lstrip("-")


def _stem_of(picture: Path) -> str:
    """A file's name without its ending, of which ``.nii.gz`` is one."""
    return Path(picture.stem).stem if picture.name.lower().endswith(".nii.gz") else picture.stem


def _resolved(file: Path) -> Path:
    """Where a file really lies; as it was named where links lead in a circle, or the system refuses the name."""
    try:
        return file.resolve()
    except (OSError, RuntimeError):
        return file.absolute()


def _ensure_writable(planned: OutputPlan, pictures: Sequence[Path], *, force: bool) -> None:
    files = list(dict.fromkeys(planned.files))
    sources = {_resolved(picture) for picture in pictures} if force else set()
    for file in files:
        if _resolved(file) in sources:
            raise OutputError(f"'{file}' is one of the pictures, and would be replaced; choose another place with -o.")
    ensure_free(files, force=force)


def ensure_free(files: Iterable[Path], *, force: bool, elsewhere: str = "choose another place with -o") -> None:
    """Make sure that none of the files is there yet, nor the note beside a video; or that they may be replaced.

    What the command was given is never replaced, and neither is anything that is no file.

    Raises:
        OutputThereError: If one is there; the first is named.
        OutputError: If one may not be replaced.
    """
    existing = [file for file in files if os.path.lexists(file)]
    if existing and not force:
        more = f" and {len(existing) - 1} more exist" if len(existing) > 1 else " exists"
        raise OutputThereError(f"'{existing[0]}'{more} already; add --force to replace, or {elsewhere}.")
    odd = next((file for file in existing if file.exists() and not file.is_file()), None)
    if odd is not None:
        what = "a folder" if odd.is_dir() else "a pipe or a device"
        raise OutputError(f"'{odd}' is {what}, and not an ordinary file; {elsewhere}.")
    given = _first_given([file for file in existing if file.exists()])
    if given is not None:
        raise OutputError(f"'{given}' is what this command was given, and would be replaced; {elsewhere}.")


OUTPUTS = ("out", "into", "figures", "index", "masks")
"""The parameters that say where results go; all others say what is read."""


def _first_given(files: Sequence[Path]) -> Path | None:
    """The first of some files that the running command was given: as a picture, data, a network or anything else.

    Args:
        files: Files that are there.
    """
    context = click.get_current_context(silent=True)
    if context is None or not files:
        return None
    there = {(status.st_dev, status.st_ino): file for file in files if (status := file.stat())}
    for name, value in context.params.items():
        named = _given_files(value, data=name == "data") if name not in OUTPUTS else iter(())
        for file in named:
            with suppress(OSError, ValueError):
                status = file.stat()
                if (status.st_dev, status.st_ino) in there:
                    return there[status.st_dev, status.st_ino]
    return None


def _given_files(value: Any, *, data: bool) -> Iterator[Path]:
    """The files that words of the command line stand for: files, functions in them, the pictures of a folder, data."""
    if isinstance(value, tuple):
        for each in value:
            yield from _given_files(each, data=data)
    elif isinstance(value, (str, Path)):
        text = str(value)
        for named in (text, text.rpartition(":")[0], text.partition(":")[2], *named_files(text)):
            yield Path(named).expanduser()
        with suppress(CnnvizError, OSError, ValueError):  # which the command itself says, once it reads it
            yield from cnnviz.expand_paths([text])
        if data and not text.startswith("hf:"):
            with suppress(CnnvizError, OSError, ValueError):
                yield from cnnviz.open_dataset(text).files()


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


def echo(text: object, *, err: bool = False) -> None:
    """Print what may hold names and labels of strangers: what a terminal would obey is spelt out, lines stay lines.

    Args:
        text: One line or several.
        err: Whether to stderr.
    """
    click.echo(visible(str(text), keep="\n"), err=err)


class Console:
    """What a command says while it works: files on stdout, notes and progress on stderr, at the end its document.

    Args:
        total: How many pictures there are.
        values: What the command line gave: with ``quiet`` there are neither notes nor progress, with ``as_json`` a
            document names the files.

    Attributes:
        document: What is printed as JSON at the end, where that is asked for; None for nothing.
    """

    def __init__(self, total: int, values: Mapping[str, Any]) -> None:
        from tqdm import tqdm

        self.document: Any = None
        self._quiet, self._as_json = values["quiet"], values.get("as_json", False)
        shown = sys.stderr.isatty() and not self._quiet
        self._bar = tqdm(total=total, bar_format=BAR, disable=not shown, leave=False, file=sys.stderr)
        self._notes: dict[str, None] = {}
        self._warnings = warnings.catch_warnings()

    def __enter__(self) -> Self:
        self._warnings.__enter__()
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            self.note([str(message)]) if category is FontWarning else others(message, category, *where, **more)

        warnings.simplefilter("always", FontWarning)
        warnings.showwarning = show
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Take progress off the screen, say the notes and print the document."""
        self._warnings.__exit__(None, None, None)
        self._bar.close()
        if not self._quiet:
            for note in self._notes:
                echo(f"note: {visible(note)}", err=True)
        if kind is None and self._as_json and self.document is not None:
            print_json(self.document)

    @contextmanager
    def progress(self, count: int) -> Iterator[None]:
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
        self._bar.set_description_str(visible(words), refresh=False)

    def name_files(self, files: Iterable[Path]) -> None:
        """Name files that were written."""
        if not self._as_json:
            with self._bar.external_write_mode(file=sys.stdout):
                echo("\n".join(visible(str(file)) for file in files))

    def note(self, notes: Iterable[str]) -> None:
        """Keep notes, to be said at the end and each once."""
        self._notes.update(dict.fromkeys(map(name_options, notes)))


def name_options(note: str) -> str:
    """A note with the command line's options in place of settings of Python.

    ``fold=True`` becomes ``--fold``, ``classes=False`` ``--no-classes``, ``units=...`` ``--units`` and
    ``score='logit'`` ``--score logit``; what stands in parentheses, as in ``Model(..., grid=(7, 7))``, is code.
    """
    return SETTING.sub(_spell_setting, note)


def _spell_setting(found: re.Match[str]) -> str:
    name, value = found["name"].replace("_", "-"), found["value"].strip("'")
    option = f"--no-{name}" if value == "False" else f"--{name}"
    return option if value in ("True", "False", "...") else f"{option} {value}"


def print_json(document: Any) -> None:
    """Print one JSON document; numbers that are not finite become null, what a terminal would obey an escape."""
    text = json.dumps(_nan_to_none(document), ensure_ascii=False, indent=2, allow_nan=False, default=str)
    click.echo("".join(map(_escape, text)))


def _escape(letter: str) -> str:
    """A letter of a JSON document as it is printed."""
    return letter if visible(letter, keep="\n") == letter else json.dumps(letter)[1:-1]


def _nan_to_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _nan_to_none(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_nan_to_none(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows with their columns aligned."""
    shown = [[visible(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*shown, strict=True)]
    for row in shown:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
