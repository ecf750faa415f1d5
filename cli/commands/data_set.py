"""The command of a method on a data set: its maps in one store, or as pictures in a folder; shared and resumable."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

import cnnviz
from cnnviz.errors import OutputError, UsageError
from cnnviz.method import Method

from ..errors import FAILED, say_error
from ..options import FIGURE, LOOK, Option, paper_of
from ..output import Console, OutputPlan, echo, ensure_folder, is_folder, print_json, spell_question
from ..run import PictureFiles, choose_device, is_first_process, open_model, open_sources

if TYPE_CHECKING:
    from cnnviz.bulk.draw_maps import DrawnMaps

__all__ = [
    "DATA_SET",
    "DATA_SET_HELP",
    "draw_files",
    "ensure_no_store_options",
    "is_stored",
    "merge_stores",
    "names_data_set",
    "run_on_data_set",
    "unfinished_in",
]

STORE = ".zarr"
SOURCE = re.compile(r"(?:shapes|hf):.*|.*\.(?:txt|tsv|tar)", re.IGNORECASE)
"""What names a data set that is neither a folder nor a file of one picture."""
MOST_NAMED = 20

DATA_SET_HELP = (
    "\n\nOr a data set: a folder, a list of pictures (.txt), WebDataset tars ('name-{000..009}.tar'), shapes:COUNT or "
    "hf:NAME. -o FOLDER/ draws a picture of each map, -o NAME.zarr writes all raw maps into one store. An interrupted "
    "run is continued; torchrun -m cnnviz METHOD ... splits it among processes."
)

DATA_SET = (
    Option(
        "--shard", metavar="I/N", section="Data set",
        help="Do part I of N of the work; jobs may write to one place, and 'cnnviz merge' joins stores.",
    ),
    Option(
        "--threads", type=click.IntRange(1), section="Data set",
        help="CPU threads that compute the maps of a store (-o maps.zarr); default: 1.",
    ),
    Option(
        "--workers", type=click.IntRange(0), section="Data set",
        help="Processes that read the pictures of a store; default: up to 4.",
    ),
)  # fmt: skip


def is_stored(values: Mapping[str, Any]) -> bool:
    """Whether the raw maps are to be written into a store."""
    return Path(values["out"] or "").suffix.lower() == STORE


def names_data_set(values: Mapping[str, Any]) -> bool:
    """Whether a data set is asked about, by its name or by where its maps go."""
    named = any(SOURCE.fullmatch(image) and not is_folder(image) for image in values["images"])
    return named or is_stored(values)


def unfinished_in(folder: Path) -> bool:
    """Whether a run has left in a folder what it had drawn."""
    from cnnviz.bulk.draw_maps import PREFIX, SUFFIX

    return any(folder.glob(f"{PREFIX}*{SUFFIX}"))


def run_on_data_set(method: Method[Any, Any], values: Mapping[str, Any]) -> None:
    """Write the maps of a data set, into a store or a folder.

    Args:
        method: The method.
        values: What the command line gave.
    """
    if values.get("truth") is not None:
        raise UsageError("--truth is for picture files and folders; 'cnnviz audit' is about a data set's classes.")
    values = {**values, "quiet": values["quiet"] or not is_first_process()}
    if is_stored(values):
        _ensure_raw(values)
        ensure_folder(Path(values["out"]).absolute().parent)
    else:
        _ensure_own_places(values)
    model = open_model({**values, "device": choose_device(values["device"])})
    data = open_sources(values["images"], model)
    if is_stored(values):
        _store(method, values, model, data)
        return
    from cnnviz.bulk.draw_maps import picture_files

    files = picture_files(data, method, values["out"] or "", spell_question(values))
    _ensure_kept(files, data, force=values["force"])
    with Console(len(data), values) as console:
        console.note(data.notes)
        drawn = _draw(method, values, model, data, files, console=console)
        if is_first_process():
            console.document = list(drawn.entries)
    if is_first_process():
        _say_failures(drawn.failures, len(drawn), finished=drawn.finished)


def draw_files(
    method: Method[Any, Any], values: Mapping[str, Any], pictures: PictureFiles, planned: OutputPlan
) -> None:
    """Draw the maps of many picture files into a folder, block by block.

    Where files were named one by one each that cannot be used is an error; those of folders are counted and named.

    Args:
        method: The method.
        values: What the command line gave.
        pictures: The files.
        planned: Where to.
    """
    alone = "RANK" not in os.environ and not all(is_folder(image) for image in values["images"])
    values = {**values, "quiet": values["quiet"] or not is_first_process()}
    shared = "RANK" in os.environ
    model = open_model({**values, "device": choose_device(values["device"])}) if shared else pictures.model()
    names = [str(file) for file in pictures.files]
    data = cnnviz.open_dataset(names, entrance=model.preprocess.entrance)
    if (true := pictures.true_classes()) is not None:
        from cnnviz.images.datasets.labelled import LabelledDataset

        data = LabelledDataset(data, [true[int(key.partition(" ")[0])] for key in data.keys])
    with Console(len(names), values) as console:
        console.note(pictures.notes)
        drawn = _draw(method, values, model, data, planned.files, console=console)
        numbers = {key: number for number, key in enumerate(data.keys)}
        if is_first_process():
            console.document = [{**each, "image": names[numbers[each["image"]]]} for each in drawn.entries]
    if not is_first_process():
        return
    failed = [_with_path(sentence, names[numbers[key]]) for key, sentence in drawn.failures] if alone else []
    failures = [*pictures.failures, *failed]
    if not alone:
        _say_failures(drawn.failures, len(drawn), finished=drawn.finished)
    for sentence in failures:
        say_error(sentence)
    if failures:
        click.get_current_context().exit(FAILED)


def _with_path(sentence: str, path: str) -> str:
    """A sentence about a file with its path, as it was typed, in the place of its bare name."""
    return sentence.replace(f"'{Path(path).name}'", f"'{path}'", 1)


def _draw(
    method: Method[Any, Any],
    values: Mapping[str, Any],
    model: cnnviz.Model,
    data: cnnviz.Dataset,
    files: Sequence[Path],
    *,
    console: Console,
) -> DrawnMaps:
    look = {str(option.name): values[str(option.name)] for option in LOOK}
    targets: tuple[str, ...] = values.get("target") or ()
    with console.progress(len(data)):
        drawn = cnnviz.draw_maps(
            model,
            data,
            method,
            values["out"] or ".",
            targets[0] if len(targets) == 1 else None,
            side_by_side=targets if len(targets) > 1 else (),
            files=files,
            look={**look, **paper_of(values)},
            shard=values["shard"],
            replace=values["force"],
            settings={name: values[name] for name in method.parameters},
            told=console.name_files,
            described=values["as_json"],
        )
    console.note(drawn.checks)
    if not drawn.finished:
        console.note(["a part of the pictures; the other jobs draw the others into the same folder"])
    return drawn


def _store(method: Method[Any, Any], values: Mapping[str, Any], model: cnnviz.Model, data: cnnviz.Dataset) -> None:
    """Write the raw maps into a store, or a job's share of them."""
    targets: tuple[str, ...] = values.get("target") or ()
    if len(targets) > 1:
        raise UsageError(f"A store holds one map of each picture; name one --target instead of {len(targets)}.")
    with Console(len(data), values) as console:
        console.note(data.notes)
        with console.progress(len(data)):
            found = cnnviz.write_maps(
                model,
                data,
                method,
                values["out"],
                targets[0] if targets else None,
                shard=values["shard"],
                threads=values["threads"],
                workers=values["workers"],
                replace=values["force"],
                settings={name: values[name] for name in method.parameters},
            )
        if not is_first_process():
            return
        console.name_files([Path(values["out"])])
        if found is None:
            console.note(["a part of the store; of all parts 'cnnviz merge STORE... -o STORE' makes the whole"])
            console.document = {"output": values["out"], "shard": values["shard"]}
        else:
            console.note(found.checks)
            console.document = {"output": values["out"], **found.describe()}
    if found is not None:
        _say_failures(found.failures, len(found), finished=True)


def merge_stores(stores: Sequence[str], into: str, *, as_json: bool) -> None:
    """Make one store of maps of what several jobs found.

    Args:
        stores: What they wrote.
        into: The store.
        as_json: Whether to print a document.
    """
    ensure_folder(Path(into).absolute().parent)
    found = cnnviz.merge_maps(list(stores), into)
    if as_json:
        print_json({"output": into, **found.describe()})
        return
    echo(into)
    _say_failures(found.failures, len(found), finished=True)


def _say_failures(failures: Sequence[tuple[str, str]], count: int, *, finished: bool) -> None:
    """Say how many pictures could not be used, and which: the work is done without them."""
    if not failures:
        return
    so_far = "" if finished else " so far"
    echo(f"{len(failures)} of {count} pictures could not be used{so_far}:", err=True)
    for _, sentence in failures[:MOST_NAMED]:
        echo(f"  {' '.join(sentence.split())}", err=True)
    if len(failures) > MOST_NAMED:
        echo(f"  and {len(failures) - MOST_NAMED} more", err=True)


def _given(names: Sequence[str]) -> list[str]:
    """Which of some parameters the command line gave."""
    context = click.get_current_context()
    usual = (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)
    return [name for name in names if context.get_parameter_source(name) not in (*usual, None)]


def _ensure_raw(values: Mapping[str, Any]) -> None:
    """Refuse what is about pictures, where raw maps are asked for.

    Raises:
        UsageError: If it was given.
    """
    options = {str(option.name): str(option.opts[0]) for option in (*LOOK, *FIGURE)}
    odd = _given([name for name in options if name in values])
    if odd:
        raise UsageError(f"{options[odd[0]]} is about pictures; '{values['out']}' holds raw maps.")


def _ensure_own_places(values: Mapping[str, Any]) -> None:
    """Refuse one file, or one scale, for the maps of a data set.

    Raises:
        UsageError: If it is asked for.
    """
    out = values["out"]
    if out is not None and not out.endswith(("/", os.sep)) and not Path(out).is_dir():
        raise UsageError(
            f"The maps of a data set are drawn into a folder, or written raw into a store; name one with -o, such as "
            f"'{Path(out).stem or 'maps'}/' or '{Path(out).stem or 'maps'}.zarr'."
        )
    if values.get("shared"):
        raise UsageError("One scale for all maps is known only once all are there; leave out --shared-scale.")
    ensure_no_store_options()
    ensure_folder(Path(out or ""))


def ensure_no_store_options() -> None:
    """Refuse what is about a store, where pictures are drawn.

    Raises:
        UsageError: If it was given.
    """
    for name in _given(["threads", "workers"]):
        raise UsageError(f"--{name} is about a store; write one with -o, such as -o maps.zarr.")


def _ensure_kept(files: Sequence[Path], data: cnnviz.Dataset, *, force: bool) -> None:
    """Refuse to replace what the data set is made of.

    Raises:
        OutputError: If a file would be.
    """
    there = [file for file in files if file.exists()] if force else []
    if not there:
        return
    own = {(status.st_dev, status.st_ino) for file in data.files() if file.exists() and (status := file.stat())}
    for file in there:
        status = file.stat()
        if (status.st_dev, status.st_ino) in own:
            raise OutputError(f"'{file}' is what this command was given, and would be replaced; choose another place.")
