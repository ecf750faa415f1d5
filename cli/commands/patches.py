"""``cnnviz patches`` and ``cnnviz merge``: what of a data set excites a layer's units most."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

import cnnviz
from cnnviz.catalogue import load
from cnnviz.core.atomic import make_folder
from cnnviz.core.dimensions import PICTURE
from cnnviz.core.sample import Entrance
from cnnviz.errors import CnnvizError, UsageError
from cnnviz.methods.scan.scope import choose_layers

from ..options import FIGURE, FORCE, JSON, NETWORK, OUT, QUIET, Option, SectionedCommand, paper_of, setting_option
from ..output import Console, echo, ensure_folder, ensure_free, plan_output, print_json
from ..run import choose_device, is_first_process, open_model
from .data_set import merge_stores

__all__ = ["merge", "patches"]

METHOD = load("patches")
UNFIT = re.compile(r"[^\w.,#+-]+")
SCAN = ("layer", "k", "samples", "block", "threads", "workers", "autocast", "seed")


def run_patches(**values: Any) -> None:
    """Scan the data set, or what is left of it to scan, and draw the patches of every layer.

    Args:
        **values: What the command line gave.
    """
    paper_of(values)
    data, model = _open_both({**values, "device": choose_device(values["device"])})
    names = choose_layers(values["layer"], model.layers)
    folder = Path(values["index"] or _usual_folder(data, model, values["layer"]))
    ensure_folder(folder)
    with Console(len(names), {**values, "quiet": values["quiet"] or not is_first_process()}) as console:
        job = _Job(model, data, folder, values, console)
        entries = job.draw(names) if values["shard"] is None else job.scan()
        console.document = entries if is_first_process() else None


@dataclass(frozen=True)
class _Job:
    """A network, a data set, and where the index of both lies."""

    model: cnnviz.Model
    data: cnnviz.Dataset
    folder: Path
    values: Mapping[str, Any]
    console: Console

    def draw(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """One figure a layer; the first call scans all of them, the others find their layer in the index."""
        files = _plan_figures(self.data, names, self.values)
        settings = {name: self.values[name] for name in METHOD.parameters} | {"index": str(self.folder)}
        entries = []
        for number, (name, file) in enumerate(zip(names, files, strict=True)):
            with self.console.progress(1):
                wanted = settings | {"layer": name if number else ",".join(names)}
                found = cnnviz.patches(self.model, self.data, **wanted)
            if is_first_process():
                self.console.note(found.checks)
                entries.append(self._write(found, file))
        self.console.note([f"the index is in '{self.folder}': with it other units of its layers are drawn at once"])
        return entries

    def scan(self) -> list[dict[str, Any]]:
        """A part of the scan."""
        settings = {name: self.values[name] for name in SCAN}
        with self.console.progress(1):
            cnnviz.scan_patches(self.model, self.data, self.folder, shard=self.values["shard"], **settings)
        if is_first_process():
            self.console.name_files([self.folder])
        self.console.note(["a part of the index; of all parts 'cnnviz merge FOLDER... -o FOLDER' makes the whole"])
        return [{"data": self.data.name, "index": str(self.folder), "shard": self.values["shard"]}]

    def _write(self, found: cnnviz.Patches, file: Path) -> dict[str, Any]:
        """Write a layer's figure, and what there is to say about it."""
        make_folder(file.parent)
        paper = paper_of(self.values)
        files = {"output": found.save(file, **paper)}
        if self.values["matrix"]:
            files["matrix"] = found.classes().save(_matrix_file(file), **paper)
        self.console.name_files(files.values())
        named = {name: str(path) for name, path in files.items()}
        return {"data": self.data.name, "index": str(self.folder), **named, **found.describe()}


def _open_both(values: Mapping[str, Any]) -> tuple[cnnviz.Dataset, cnnviz.Model]:
    """The data set and the network; the data are pictures unless the network takes signals or volumes."""
    try:
        data = _open_dataset(values)
    except CnnvizError:
        other = _open_other_network(values)
        if other is None:
            raise
        return _open_dataset(values, other.preprocess.entrance), other
    model = open_model(values)
    return data if model.places == PICTURE else _open_dataset(values, model.preprocess.entrance), model


def _open_dataset(values: Mapping[str, Any], entrance: Entrance | None = None) -> cnnviz.Dataset:
    sources, taken = values["data"], {} if entrance is None else {"entrance": entrance}
    source = sources[0] if len(sources) == 1 else list(sources)
    data = cnnviz.open_dataset(source, classes=values["classes"], **taken)
    if values["matrix"] and data.classes is None:
        raise UsageError(f"--matrix is of units and classes, but the data set '{data.name}' has no classes.")
    return data


def _open_other_network(values: Mapping[str, Any]) -> cnnviz.Model | None:
    """The network, if it can be opened and takes no pictures."""
    try:
        model = open_model(values)
    except CnnvizError:
        return None
    return model if model.places != PICTURE else None


def _usual_folder(data: cnnviz.Dataset, model: cnnviz.Model, layer: str) -> str:
    """A folder in the current one whose name says what it is the index of."""
    return UNFIT.sub("-", f"{data.name}.{model.name}.{layer}").strip("-.") + ".patches"


def _plan_figures(data: cnnviz.Dataset, names: Sequence[str], values: Mapping[str, Any]) -> tuple[Path, ...]:
    """The figure of every layer.

    Raises:
        UsageError: If one file is named for several layers.
        OutputError: If one cannot be written.
    """
    stems = [Path(UNFIT.sub("-", f"{data.name}.{name}") + ".figure") for name in names]
    planned = plan_output(stems, "patches", values["out"], force=values["force"])
    if planned.together and len(names) > 1:
        raise UsageError(f"{len(names)} layers have a figure each; name a folder with -o, such as 'patches/'.")
    if values["matrix"]:
        ensure_free(map(_matrix_file, planned.files), force=values["force"])
    return planned.files


def _matrix_file(file: Path) -> Path:
    """The file of the matrix that belongs to a figure."""
    return file.with_name(f"{file.stem}.classes{'.png' if file.suffix == '.npz' else file.suffix}")


def run_merge(folders: Sequence[str], into: str, *, as_json: bool) -> None:
    """Make one index, or one store of maps, of what several jobs found.

    Args:
        folders: What they wrote.
        into: The folder of the index, or the store.
        as_json: Whether to print a document.
    """
    if Path(into).suffix == ".zarr" or any(Path(folder).suffix == ".zarr" for folder in folders):
        merge_stores(folders, into, as_json=as_json)
        return
    ensure_folder(Path(into))
    index = cnnviz.merge_patches(list(folders), into)
    if as_json:
        print_json({"index": into, **index.describe()})
        return
    echo(into)
    for failure in index.failures:
        echo(f"note: {failure.sentence}", err=True)


patches = SectionedCommand(
    "patches",
    params=[
        click.Argument(["data"], metavar="DATASET...", nargs=-1, required=True),
        *(setting_option(parameter) for parameter in METHOD.parameters.values()),
        Option(
            "--classes/--no-classes", "classes", default=None, section="Method",
            help="Whether the subfolders of a folder are classes; default: yes, if at least two hold pictures and no "
            "picture lies beside them.",
        ),
        Option(
            "--matrix", is_flag=True, section="Method",
            help="Also draw the units most selective for each class, in a second file.",
        ),
        Option(
            "--shard", metavar="I/N", section="Method",
            help="Scan part I of N and draw nothing; 'cnnviz merge' joins the parts.",
        ),
        *NETWORK, *FIGURE, OUT, FORCE, JSON, QUIET,
    ],
    callback=run_patches,
    help=f"{METHOD.summary}\n\nDATASET is a folder of pictures, a list of them (.txt), WebDataset tars "
    "('name-{000..009}.tar'), shapes:COUNT, hf:NAME, or several picture files. An interrupted scan is continued; "
    "torchrun -m cnnviz patches ... splits it among processes."
    f"\n\nReference: {METHOD.reference}",
    short_help=METHOD.summary,
)  # fmt: skip
merge = SectionedCommand(
    "merge",
    params=[
        click.Argument(["folders"], metavar="FOLDER...", nargs=-1, required=True),
        Option(
            "--out",
            "-o",
            "into",
            metavar="FOLDER",
            required=True,
            section="Output",
            help="Folder for the index, or the store.",
        ),
        JSON,
    ],
    callback=run_merge,
    help="Merge the results of several jobs (--shard I/N) into one index or one store of maps.\n\n"
    "FOLDER is what 'cnnviz patches' wrote, or a store that 'cnnviz METHOD ... -o NAME.zarr' wrote; one, if it was the "
    "same for all jobs.",
)
