"""A store of maps on the disk: chunks and parts while the work goes on, a zarr 3 group once it is done."""

from __future__ import annotations

import math
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cnnviz.bulk.asker import BlockMaps, checks_of
from cnnviz.bulk.map_request import DIFFERENCES
from cnnviz.bulk.zarr_group import GROUP, MAPS, KnownBlock, group_bytes, read_group, write_arrays
from cnnviz.core.atomic import TEMPORARY, make_folder, replacing, write_whole
from cnnviz.errors import OutputError, PictureError
from cnnviz.methods.scan.manifest import Manifest
from cnnviz.methods.scan.part_files import PartFolder, PartKind, agree_on_parts, read_question
from cnnviz.provenance import merge_checks

__all__ = ["KIND", "PARTS", "MapStore", "delete", "read_manifest"]

PARTS: Final = ".parts"
"""The folder in a store that holds what is found, until everything is."""

KIND: Final = PartKind("run", "run.json", DIFFERENCES)
MOST_SAID: Final = 64
"""Checks in a record; how many more there are is said."""


@dataclass
class Summary:
    """What all parts say together.

    Attributes:
        used: How many pictures have a map.
        shape: Of one map.
        about: What all maps have in common.
        checks: What there is to say.
        failures: Number, key and sentence of pictures without a map.
    """

    used: int = 0
    shape: tuple[int, ...] | None = None
    about: dict[str, Any] = field(default_factory=dict)
    checks: tuple[str, ...] = ()
    failures: list[tuple[int, str, str]] = field(default_factory=list)


class MapStore:
    """A store in the making.

    Args:
        path: Where it is.
        manifest: What it is of.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path, self.manifest = path, manifest
        self.parts = PartFolder(KIND, path / PARTS, manifest)

    @classmethod
    def begin(cls, path: Path, wanted: Manifest, left: Sequence[str], *, replace: bool) -> Manifest:
        """The manifest of the store that is there already, if it fits what is wanted; or else the wanted one.

        Args:
            path: The store.
            wanted: What is asked for.
            left: What was left open, and so what is there already decides over.
            replace: Whether a store of something else is deleted.

        Raises:
            OutputError: If there is a store of something else, or something that is no store.
        """
        _ensure_ours(path)
        there = read_manifest(path)
        if there is not None and (difference := KIND.difference(wanted, there, left)):
            if not replace:
                raise OutputError(
                    f"'{path}' holds maps of something else: {difference}. Choose another path, or replace it "
                    "(--force)."
                )
            delete(path)
        elif there is not None and read_group(path) is not None:
            return there
        make_folder(path)
        return agree_on_parts(KIND, path / PARTS, wanted, left, where=path)

    @property
    def finished(self) -> bool:
        """Whether everything is there."""
        return (self.path / GROUP).exists()

    def keep(self, number: int, found: BlockMaps, keys: Sequence[str], labels: Sequence[int]) -> None:
        """Put a block's maps there, and then what else is known of its pictures.

        Args:
            number: Which block.
            found: What was found.
            keys: Keys of all pictures of the block.
            labels: Their classes in the data set.

        Raises:
            OutputError: If it cannot be written, or maps have another size than those of another block.
        """
        size = int(self.manifest["block"])
        if found.values is not None:
            filled = np.full((size, *found.values.shape[1:]), np.nan, dtype="<f4")
            filled[found.images - number * size] = found.values
            self.write_chunk(number, found.values.ndim - 1, filled.tobytes())
        record = {
            "targets": found.targets,
            "keys": list(keys),
            "labels": [int(each) for each in labels],
            "shape": None if found.values is None else list(found.values.shape[1:]),
            "about": found.about,
            "checks": found.checks,
            "failures": [[image, sentence] for image, sentence in found.failures],
            "passing": sorted(found.passing),
        }
        arrays: dict[str, NDArray[Any]] = {
            "images": found.images,
            "indices": found.indices,
            "scores": found.scores,
            "probabilities": found.probabilities,
        }
        self.parts.write(number, arrays, record, synced=False)

    def write_chunk(self, number: int, axes: int, content: bytes) -> None:
        """Put the file of a block's maps there, as a whole; half of one is left among the parts, if anywhere.

        Nothing waits until it is on the disk: whoever reads it makes sure of its size.

        Args:
            number: Which block.
            axes: How many axes one map has.
            content: What it holds.

        Raises:
            OutputError: If it cannot be written.
        """
        chunk = self.chunk(number, axes)
        make_folder(chunk.parent)
        with replacing(chunk, self.parts.folder / f".chunk-{number}.{secrets.token_hex(6)}{TEMPORARY}") as file:
            file.write(content)

    def chunk(self, number: int, axes: int) -> Path:
        """The file of a block's maps.

        Args:
            number: Which block.
            axes: How many axes one map has.
        """
        return self.path.joinpath(MAPS, "c", str(number), *["0"] * axes)

    def read(self, number: int) -> KnownBlock:
        """What is known of a block's pictures.

        Raises:
            OutputError: If it is missing, damaged or of something else.
        """
        arrays, record = self.parts.read(number)
        first, size = number * int(self.manifest["block"]), len(record.get("keys", ()))
        try:
            part = KnownBlock(
                arrays["images"],
                [str(each) for each in record["keys"]],
                [int(each) for each in record["labels"]],
                [str(each) for each in record["targets"]],
                arrays["indices"],
                arrays["scores"],
                arrays["probabilities"],
                None if record["shape"] is None else tuple(map(int, record["shape"])),
                record["about"],
                checks_of(record["checks"]),
                [(int(image), str(sentence)) for image, sentence in record["failures"]],
            )
            counts = {len(each) for each in (part.images, part.targets, part.indices, part.scores, part.probabilities)}
            places = [*part.images.tolist(), *(image for image, _ in part.failures)]
            expected = range(first, min(first + int(self.manifest["block"]), self.manifest.images))
            sound = len(counts) == 1 and sorted(places) == list(expected) and len(part.labels) == size == len(expected)
        except (KeyError, TypeError, ValueError):
            sound = False
        if not sound:
            raise OutputError(f"'{self.parts.file(number)}' is damaged; delete it and run again.")
        return part

    def finish(self) -> None:
        """Make a zarr group of it, once every part is there; the parts are deleted.

        Raises:
            OutputError: If a part is missing, or it cannot be written.
            PictureError: If not one picture could be used; nothing is left then.
        """
        if not self.finished:
            summary = self._summarise()
            if summary.shape is None:
                delete(self.path)
                raise PictureError(f"No picture of the data set could be used. The first: {summary.failures[0][2]}")
            try:
                for folder in (self.path, self.path / MAPS):
                    for half in folder.glob(f".{GROUP}.*{TEMPORARY}"):
                        half.unlink()
                write_arrays(self.path, self.manifest, summary.shape, map(self.read, range(self.manifest.shards)))
                write_whole(self.path / GROUP, group_bytes(self._attributes(summary)))
            except OSError as error:
                raise OutputError(f"'{self.path}' cannot be written: {error.strerror or error}.") from error
        shutil.rmtree(self.path / PARTS, ignore_errors=True)

    def _summarise(self) -> Summary:
        found = Summary()
        checks: dict[str, str] = {}
        more = 0
        for number in range(self.manifest.shards):
            part = self.read(number)
            first = number * int(self.manifest["block"])
            found.failures += [(image, part.keys[image - first], sentence) for image, sentence in part.failures]
            found.used += len(part.images)
            for check in part.checks:
                if len(checks) < MOST_SAID or check in checks:
                    checks.setdefault(check, check)
                else:
                    more += 1
            if part.shape is None or part.about is None:
                continue
            self._ensure_chunk(number, part.shape)
            if found.shape is None:
                found.shape, found.about = part.shape, part.about
            elif found.shape != part.shape:
                raise OutputError(
                    f"Maps of two sizes cannot be in one store: {_spell(found.shape)} and {_spell(part.shape)}. Choose "
                    "a layer by name, or write pictures."
                )
            elif found.about["layer"] != part.about["layer"]:
                found.about = {**found.about, "layer": None, "field": None}
        said = [f"what else there is to say about single blocks is left out: {more}"] if more else []
        found.checks = merge_checks([*checks.values(), *said])
        return found

    def _ensure_chunk(self, number: int, shape: tuple[int, ...]) -> None:
        """Refuse a store that lacks the maps of a block whose part is there.

        Raises:
            OutputError: If it does.
        """
        chunk, size = self.chunk(number, len(shape)), 4 * int(self.manifest["block"]) * math.prod(shape)
        if not chunk.exists() or chunk.stat().st_size != size:
            raise OutputError(f"'{chunk}' is missing or damaged; delete '{self.parts.file(number)}' and run it again.")

    def _attributes(self, summary: Summary) -> dict[str, Any]:
        """What the group says: the ordinary record, what the store is of, pictures without a map."""
        about = {name: value for name, value in summary.about.items() if name != "layer"}
        record = {
            **self.manifest["record"],
            "layer": summary.about["layer"],
            "checks": list(summary.checks),
            "chunk": self.manifest["block"],
            "threads": self.manifest["threads"],
            "look": {"format": "zarr"},
        }
        return {
            "cnnviz": record,
            "question": self.manifest.held,
            "about": about,
            "pictures": self.manifest.images,
            "used": summary.used,
            "failures": [list(each) for each in summary.failures],
        }


def _spell(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def read_manifest(path: Path) -> Manifest | None:
    """What a store is of, finished or not; None where nothing is there yet."""
    attributes = read_group(path)
    if attributes is not None:
        return Manifest(attributes["question"])
    return read_question(path / PARTS / KIND.file)


def _ensure_ours(path: Path) -> None:
    """Refuse what is there and is no store of ours.

    Raises:
        OutputError: If it is a file, or a folder of something else.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise OutputError(f"'{path}' is a file, and a store is a folder; choose another path.")
    there = {each.name for each in path.iterdir()}
    if there and read_group(path) is None and PARTS not in there:
        raise OutputError(f"'{path}' is no store of maps that cnnviz wrote; choose another path.")


def delete(path: Path) -> None:
    """Delete a store.

    Raises:
        OutputError: If that is not possible.
    """
    with suppress(FileNotFoundError):
        (path / GROUP).unlink()  # first, so that what is left is no store
    try:
        shutil.rmtree(path)
    except OSError as error:
        raise OutputError(f"'{path}' cannot be replaced: {error.strerror or error}.") from error
