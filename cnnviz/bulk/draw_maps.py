"""draw_maps: the maps of a whole data set as pictures in a folder, each drawn once, by one process or several."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cnnviz.bulk.asker import checks_of, plain_check
from cnnviz.catalogue import command_name
from cnnviz.core.atomic import make_folder, number_twins
from cnnviz.core.sample import Sample
from cnnviz.errors import NowhereError, OutputError, PassingPictureError, PictureError, UsageError
from cnnviz.method import interruptible
from cnnviz.provenance import merge_checks, plain

if TYPE_CHECKING:
    from cnnviz.bulk.map_request import DataLike, MapRequest
    from cnnviz.core.target import TargetLike
    from cnnviz.images.datasets.dataset import Dataset
    from cnnviz.method import Method
    from cnnviz.methods.scan.manifest import Manifest
    from cnnviz.methods.scan.part_files import PartFolder
    from cnnviz.models.model import Model

__all__ = ["DrawnMaps", "draw_maps", "picture_files"]

UNSAFE: Final = re.compile(r"[^\w.,#+@=-]+")
NUMBERED: Final = re.compile(r"^\d+ ?")
"""The number that keys of pictures in memory begin with."""
PREFIX, SUFFIX = ".cnnviz-", ".parts"
"""Of the folder in which an unfinished run keeps which pictures it has drawn."""


@dataclass(frozen=True)
class DrawnMaps:
    """Pictures of maps in a folder.

    Attributes:
        files: For each picture of the data set its file; where the picture could not be used there is none.
        written: Those that this process has drawn now.
        finished: Whether every picture is drawn; of a share of the work perhaps not.
        checks: What the user should know, of all pictures.
        failures: Key and sentence of every picture that could not be used.
        entries: What there is to say about the maps of each picture, as plain values; none unless asked for.
    """

    files: tuple[Path, ...]
    written: tuple[Path, ...]
    finished: bool
    checks: tuple[str, ...] = ()
    failures: tuple[tuple[str, str], ...] = ()
    entries: tuple[Mapping[str, Any], ...] = ()

    @property
    def used(self) -> int:
        """How many pictures could be used."""
        return len(self.files) - len(self.failures)

    def __len__(self) -> int:
        return len(self.files)


@interruptible
def draw_maps(
    model: Model,
    data: DataLike,
    method: str | Method[Any, Any],
    folder: str | os.PathLike[str],
    target: TargetLike | Sequence[TargetLike] = None,
    *,
    side_by_side: Sequence[TargetLike] = (),
    files: Sequence[str | os.PathLike[str]] | None = None,
    look: Mapping[str, Any] | None = None,
    shard: str | None = None,
    replace: bool = False,
    settings: Mapping[str, Any] | None = None,
    told: Callable[[Sequence[Path]], object] | None = None,
    described: bool = False,
    **more: Any,
) -> DrawnMaps:
    """Explain every picture of a data set by one method, and draw each map into a file of a folder.

    The pictures are explained and drawn block by block, as many at once as the method's ``batch_size``, so memory does
    not grow with the data set. Stopped at any moment, the same call goes on where it was. Under ``torchrun`` its
    processes share the work, each picture drawn once, and so do jobs with ``shard``. The files have the same bytes
    however they were made, on as many threads. Pictures that cannot be read or explained are listed.

    Args:
        model: The network.
        data: A folder of pictures, a list of them, ``"shapes:500"`` or whatever else ``open_dataset`` opens.
        method: A method that gives one map of each picture, such as ``"gradcam"``.
        folder: Where to.
        target: What is explained: None is each picture's top class; or a list with one for each picture.
        side_by_side: Instead of a target: several, whose maps of a picture stand side by side in its file.
        files: The files, one for each picture; default: ``PICTURE.METHOD.png`` in the folder.
        look: How they are drawn and set on paper, as ``Heatmaps.save`` takes it.
        shard: ``"2/3"`` does the second third of the work.
        replace: Whether files that are there already, and of something else, are replaced.
        settings: Settings of the method by name, such as ``{"layer": "layer3"}``.
        told: Called with the files of a block once they are written.
        described: Whether what there is to say about each picture is kept.
        **more: Settings likewise, of those whose names are not taken here.

    Returns:
        The files, and what there is to say about them.

    Raises:
        UnknownNameError: If there is no such method, layer or label.
        UsageError: If the method gives no map of each picture, or has no such setting.
        PictureError: If the data set cannot be opened, or not one of its pictures be used.
        OutputError: If files are there already, or cannot be written.
    """
    import torch

    from cnnviz.bulk.map_request import MapRequest, MapSettings
    from cnnviz.methods.scan.processes import own_numbers, processes
    from cnnviz.methods.scan.scope import JobShare

    if target is not None and side_by_side:
        raise UsageError("Give a target, or several side by side, and not both.")
    share = None if shard is None else JobShare.parse(shard)
    request = MapRequest.of(model, data, method, target, {**(settings or {}), **more})
    named = [Path(each) for each in files] if files is not None else picture_files(request.data, request.method, folder)
    drawn = _Drawing(request, tuple(named), dict(look or {}), tuple(side_by_side))
    team = processes(model.device)
    manifest = request.manifest(MapSettings(threads=torch.get_num_threads()), **drawn.asked)
    parts = team.first(lambda: _begin(Path(folder), manifest, drawn.files, replace=replace))
    run = _Run(drawn, parts)
    ours = own_numbers(team.first(run.missing), team, share)
    written = team.all(lambda: run.draw(ours, told))
    return replaced(team.first(lambda: run.gather(described=described)), written=tuple(written))


def picture_files(
    data: Dataset, method: Method[Any, Any], folder: str | os.PathLike[str], asked: str = ""
) -> list[Path]:
    """The file of each picture of a data set, by its key: ``PICTURE.METHOD.png``, twins with a number.

    Args:
        data: The pictures.
        method: The method.
        folder: Where they lie.
        asked: What else the names say of the question.
    """
    from cnnviz.images.datasets.memory import MemoryDataset

    names = (NUMBERED.sub("", key) or key for key in data.keys) if isinstance(data, MemoryDataset) else data.keys
    stems = [UNSAFE.sub("-", Path(name).stem).strip("-.") or "picture" for name in names]
    ending = f"{command_name(method.name)}{asked}.png"
    return [Path(folder) / f"{stem}.{ending}" for stem in number_twins(stems)]


def _begin(folder: Path, manifest: Manifest, files: Sequence[Path], *, replace: bool) -> PartFolder:
    """Where a run keeps what it has drawn: the folder that one has left that was stopped, or a new one.

    Raises:
        OutputError: If files are there that this run has not drawn, or it cannot be written.
    """
    from cnnviz.bulk.map_store import KIND
    from cnnviz.methods.scan.part_files import PartFolder, agree_on_parts

    kept = folder / f"{PREFIX}{manifest.digest[:12]}{SUFFIX}"
    there = [] if replace or kept.is_dir() else [file for file in files if os.path.lexists(file)]
    if there:
        more = f" and {len(there) - 1} more exist" if len(there) > 1 else " exists"
        raise OutputError(f"'{there[0]}'{more} already; choose another folder, or replace them (--force).")
    agree_on_parts(KIND, kept, manifest, where=folder)
    return PartFolder(KIND, kept, manifest)


@dataclass(frozen=True)
class _Drawing:
    """What is drawn: of which request, into which files, how."""

    request: MapRequest
    files: tuple[Path, ...]
    look: Mapping[str, Any]
    side_by_side: tuple[Any, ...]

    @property
    def asked(self) -> dict[str, Any]:
        """What else than the request decides over the files."""
        names = hashlib.sha256("\n".join(file.name for file in self.files).encode("utf-8", "surrogatepass"))
        return {"look": plain(self.look), "files": names.hexdigest(), "side_by_side": plain(self.side_by_side)}

    @property
    def across(self) -> int:
        """How many maps stand in one file."""
        return max(1, len(self.side_by_side))

    def ask(self, images: Sequence[Any], numbers: Sequence[int]) -> Any:
        """The result of some pictures."""
        if not self.side_by_side:
            return self.request.ask(images, numbers)
        repeated = [image for image in images for _ in self.side_by_side]
        targets = list(self.side_by_side) * len(images)
        return self.request.method(self.request.model, repeated, targets, **self.request.settings)

    def write(self, result: Any, files: Sequence[Path]) -> None:
        """Draw a result into the files of its pictures."""
        if self.across == 1:
            result.save_each(files, **self.look)
            return
        for row, file in enumerate(files):
            result[row * self.across : (row + 1) * self.across].save(file, **self.look)


@dataclass
class _DrawnBlock:
    """What is known of the pictures of a block that is drawn."""

    images: list[int] = field(default_factory=list)
    checks: list[Any] = field(default_factory=list)
    entries: list[Any] = field(default_factory=list)
    failures: list[tuple[int, str]] = field(default_factory=list)
    passing: set[int] = field(default_factory=set)


class _Run:
    """Draws blocks of a data set.

    Args:
        drawing: What is drawn.
        parts: Where it is kept which blocks are.
    """

    def __init__(self, drawing: _Drawing, parts: PartFolder) -> None:
        self._drawing, self._parts = drawing, parts
        self._data = drawing.request.data
        self._size = int(parts.manifest["block"])

    def missing(self) -> list[int]:
        """Numbers of the blocks that are not drawn yet, or lack pictures that perhaps can be read now."""
        left = set(self._parts.missing())
        return [number for number in range(self._parts.manifest.shards) if number in left or self._lacks_files(number)]

    def _lacks_files(self, number: int) -> bool:
        without = {image for image, _ in self._parts.read(number)[1]["failures"]}
        return any(not self._drawing.files[image].exists() for image in self._images(number) if image not in without)

    def _images(self, number: int) -> range:
        return range(number * self._size, min((number + 1) * self._size, len(self._data)))

    def draw(self, numbers: Sequence[int], told: Callable[[Sequence[Path]], object] | None) -> list[Path]:
        """Draw some blocks; the files that were written."""
        from cnnviz.engine.batching import in_slices

        written: list[Path] = []
        if numbers:
            self._warm()

        def draw(some: slice) -> None:
            files = self._draw_block(numbers[some.start])
            written.extend(files)
            if told is not None and files:
                told(files)

        in_slices(len(numbers), draw, size=1)
        return written

    def _warm(self) -> None:
        """Ask about the first picture that can be read, so that all processes choose and remember alike."""
        block = _DrawnBlock()
        for image in self._images(0):
            if pictures := self._readable([image], block):
                with suppress(NowhereError):
                    self._drawing.ask(pictures, [image])
                return

    def _draw_block(self, number: int) -> list[Path]:
        block = _DrawnBlock()
        pictures = self._readable(self._images(number), block)
        result = self._ask(pictures, block)
        files = [self._drawing.files[image] for image in block.images]
        if result is not None:
            make_folder(files[0].parent)
            self._write(result, files)
            block.checks = [plain_check(check) for check in result.checks]
            across = self._drawing.across
            block.entries = [
                [str(files[row // across]), block.images[row // across], list(one.describe().items())]
                for row, one in enumerate(result)
            ]
        record = {
            "checks": block.checks,
            "entries": json.loads(json.dumps(block.entries, default=str, allow_nan=True), parse_constant=_no_number),
            "failures": sorted(block.failures),
            "passing": sorted(block.passing),
        }
        self._parts.write(number, {}, record)
        return files

    def _write(self, result: Any, files: Sequence[Path]) -> None:
        """Draw a result beside what is kept, and move the files to their places: half of one is left nowhere else."""
        drawn = [self._parts.folder / file.name for file in files]
        self._drawing.write(result, drawn)
        try:
            for file, place in zip(drawn, files, strict=True):
                file.replace(place)
        except OSError as error:
            raise OutputError(
                f"'{error.filename2 or files[0]}' cannot be written: {error.strerror or error}."
            ) from error

    def _readable(self, images: Iterable[int], block: _DrawnBlock) -> list[Any]:
        """The pictures of a block that can be read and fed to the network; their numbers are noted."""
        found = []
        for image in images:
            try:
                item = self._data.item(image)
                if isinstance(item, Sample):
                    self._drawing.request.model.preprocess.geometry(item)
            except PictureError as error:
                block.failures.append((image, str(error)))
                block.passing |= {image} if isinstance(error, PassingPictureError) else set()
                continue
            found.append(item)
            block.images.append(image)
        return found

    def _ask(self, pictures: list[Any], block: _DrawnBlock) -> Any:
        """The answer about the pictures that have the class that is asked about; None where none has."""
        while pictures:
            try:
                return self._drawing.ask(pictures, block.images)
            except NowhereError as error:
                lost = {row * len(pictures) // error.count for row in error.rows}
                block.failures += [(block.images[row], str(error)) for row in sorted(lost)]
                kept = [row for row in range(len(pictures)) if row not in lost]
                pictures, block.images = [pictures[row] for row in kept], [block.images[row] for row in kept]
        return None

    def gather(self, *, described: bool) -> DrawnMaps:
        """What there is to say about all blocks; what an unfinished run keeps is deleted once all are drawn.

        Raises:
            PictureError: If not one picture could be used.
        """
        finished, number = not self.missing(), self._parts.manifest.shards
        there = [each for each in range(number) if self._parts.file(each).exists()]
        checks: dict[str, None] = {}
        failures: list[tuple[str, str]] = []
        entries: list[Any] = []
        for each in there:
            record = self._parts.read(each)[1]
            checks |= dict.fromkeys(checks_of(record["checks"]))
            failures += [(self._data.keys[image], str(sentence)) for image, sentence in record["failures"]]
            entries += record["entries"] if described else []
        if finished:
            shutil.rmtree(self._parts.folder, ignore_errors=True)
        if finished and len(failures) == len(self._data):
            raise PictureError(f"No picture of the data set could be used. The first: {failures[0][1]}")
        said = merge_checks(checks)
        told = tuple({"image": self._data.keys[image], "output": file, **dict(one)} for file, image, one in entries)
        return DrawnMaps(self._drawing.files, (), finished, said, tuple(failures), told)


def _no_number(_: str) -> None:
    """What stands in JSON for a number that is not finite."""
