"""Shards: what was found in some blocks, in a file of its own, so that a scan goes on where it was stopped."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.atomic import TEMPORARY, make_folder, read_record, write_record, write_whole
from cnnviz.engine.tally.tally import Tally
from cnnviz.errors import OutputError
from cnnviz.methods.scan.index import finish_index
from cnnviz.methods.scan.manifest import MANIFEST_FILE, Manifest, read_manifest
from cnnviz.results.patch_index import INDEX_FILE, PatchIndex

__all__ = ["Shards", "read_finished", "find_shards", "read_shards", "common_manifest", "merge_patches"]

NAME = re.compile(r"shard-(\d+)\.safetensors")
PARTIAL = re.compile(rf"\.(?:shard-\d+\.safetensors|index\.safetensors|manifest\.json)\.[0-9a-f]+\{TEMPORARY}")


class Shards:
    """The shards of one scan: in a folder, or in memory.

    Args:
        folder: Where they lie; None keeps them in memory.
        manifest: What they are of.
    """

    def __init__(self, folder: Path | None, manifest: Manifest) -> None:
        self._folder, self._manifest = folder, manifest
        self._held: dict[int, Tally] = {}

    def missing(self) -> list[int]:
        """Numbers of the shards that are still to be found, or lack pictures that perhaps can be read now."""
        there = find_shards([self._folder]) if self._folder else self._held
        every = range(self._manifest.shards)
        return [number for number in every if number not in there or self._lacks_pictures(there[number])]

    def _lacks_pictures(self, shard: Path | Tally) -> bool:
        return bool(shard.passing if isinstance(shard, Tally) else read_record(shard)[1].get("passing"))

    def keep(self, number: int, tally: Tally) -> None:
        """Put a shard there, as a whole.

        Raises:
            OutputError: If it cannot be written.
        """
        if self._folder is None:
            self._held[number] = tally
            return
        self._ensure_ours()
        record = {
            "manifest": self._manifest.digest,
            "shard": number,
            "images": tally.images,
            "failures": [[image, sentence] for image, sentence in tally.failures],
            "keys": {str(image): key for image, key in tally.keys.items()},
            **({"passing": sorted(tally.passing)} if tally.passing else {}),
        }
        write_record(self._folder / f"shard-{number:06}.safetensors", tally.arrays(), record)

    def _ensure_ours(self) -> None:
        """Refuse to add to the scan of another, who has begun one where none had found anything yet."""
        assert self._folder is not None
        there = read_manifest(self._folder)
        if there is not None and (difference := self._manifest.difference(there)):
            raise OutputError(
                f"Another scan into '{self._folder}' has begun meanwhile, of something else: {difference}. Choose "
                "another folder."
            )

    def tallies(self) -> Iterator[Tally]:
        """All shards in their order, one in memory at a time.

        Raises:
            OutputError: If one is missing, damaged or of another scan.
        """
        if self._folder is None:
            yield from (self._held[number] for number in range(self._manifest.shards))
        else:
            yield from read_shards(self._manifest, [self._folder])

    def clear(self) -> None:
        """Delete the shards, once the index holds all they held; what cannot be deleted does no harm."""
        if self._folder is None:
            return
        ours = [path for number, path in find_shards([self._folder]).items() if number < self._manifest.shards]
        for path in [*ours, *self._partial()]:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _partial(self) -> list[Path]:
        """Files that were being written when a process was stopped."""
        assert self._folder is not None
        return [path for path in self._folder.iterdir() if PARTIAL.fullmatch(path.name)]


def find_shards(folders: Iterable[Path]) -> dict[int, Path]:
    """The shard files in folders, by number, in order; of one that is there twice the first."""
    found: dict[int, Path] = {}
    for folder in folders:
        for path in folder.iterdir():
            if match := NAME.fullmatch(path.name):
                found.setdefault(int(match[1]), path)
    return dict(sorted(found.items()))


def read_shards(manifest: Manifest, folders: Sequence[Path]) -> Iterator[Tally]:
    """All shards of a scan in their order, read one at a time.

    Raises:
        OutputError: If one is missing, damaged or of another scan.
    """
    there = find_shards(folders)
    if lacking := list(islice((number for number in range(manifest.shards) if number not in there), 6)):
        named = ", ".join(str(number) for number in lacking[:5]) + (", ..." if len(lacking) > 5 else "")
        missing = manifest.shards - sum(number < manifest.shards for number in there)
        raise OutputError(
            f"{missing} of {manifest.shards} shards are missing ({named}): a job has not finished, or wrote to a "
            "folder that is not seen from here. Run it again and it goes on where it was."
        )
    for number in range(manifest.shards):
        arrays, record = read_record(there[number])
        if record.get("manifest") != manifest.digest or record.get("shard") != number:
            raise OutputError(f"'{there[number]}' is of another scan; delete it and run the scan again.")
        yield _read_tally(there[number], arrays, record, manifest)


def _read_tally(path: Path, arrays: Mapping[str, NDArray[Any]], record: Mapping[str, Any], manifest: Manifest) -> Tally:
    """The tally of a shard.

    Raises:
        OutputError: If something in it is not what it should be.
    """
    layers = manifest["layers"]
    try:
        failures = [(int(image), str(sentence)) for image, sentence in record["failures"]]
        keys = {int(image): str(key) for image, key in record["keys"].items()}
        tally = Tally.of_arrays(arrays, int(record["images"]), failures, keys)
        tally.passing = set(map(int, record.get("passing", ())))
        tally.ensure_sound(sum(each["units"] for each in layers), manifest["k"])
        ends = np.repeat([math.prod(each["grid"]) for each in layers], [each["units"] for each in layers])
        tally.ensure_within(ends, images=manifest.images, classes=len(manifest["classes"] or ()))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError):
        raise OutputError(f"'{path}' is damaged; delete it and run the scan again.") from None
    return tally


def read_finished(folder: Path | None, manifest: Manifest) -> PatchIndex | None:
    """The index in a folder, if it is there already and lacks no picture that perhaps can be read now.

    Raises:
        OutputError: If it is damaged, or of another scan.
    """
    if folder is None or not (folder / INDEX_FILE).exists():
        return None
    index = PatchIndex.read(folder)
    if difference := manifest.difference(Manifest(index.manifest)):
        raise OutputError(f"'{folder / INDEX_FILE}' is of {difference}; delete it and run the scan again.")
    told = [(each["name"], each["ranked"], each["units"], tuple(each["grid"])) for each in manifest["layers"]]
    classes = None if manifest["classes"] is None else tuple(manifest["classes"])
    if told != [(each.name, each.ranked, len(each), each.grid) for each in index.layers.values()] or (
        classes != index.classes
    ):
        raise OutputError(f"'{folder / INDEX_FILE}' is damaged; delete it and run the scan again.")
    return index if index.complete else None


def common_manifest(folders: Sequence[Path]) -> Manifest:
    """The one manifest of several folders.

    Raises:
        OutputError: If one has none, or they differ.
    """
    first: Manifest | None = None
    for folder in folders:
        manifest = read_manifest(folder)
        if manifest is None:
            raise OutputError(f"'{folder}' holds no scan: there is no {MANIFEST_FILE} in it.")
        if first is not None and (difference := first.difference(manifest)):
            raise OutputError(
                f"These are not parts of one scan: '{folder}' is of {difference}, beside '{folders[0]}'. "
                "Run all jobs with the same settings, data set and versions."
            )
        first = first or manifest
    if first is None:
        raise OutputError("Name the folders to merge.")
    return first


def merge_patches(
    folders: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], into: str | os.PathLike[str]
) -> PatchIndex:
    """Make the index of a scan whose shards several jobs found; it is, byte for byte, the one that a single job makes.

    Needs neither the network nor the pictures. The shards stay where they are.

    Args:
        folders: Folders that the jobs wrote to; one, if it was the same for all.
        into: Folder that the index is written to; may be one of them.

    Raises:
        OutputError: If the folders hold parts of different scans, shards are missing or damaged, or the index cannot be
            written.
        PictureError: If not one picture of the data set could be used.
    """
    several = [folders] if isinstance(folders, (str, os.PathLike)) else list(folders)
    paths, target = [Path(folder) for folder in several], Path(into)
    for path in paths:
        if not path.is_dir():
            raise OutputError(f"There is no folder '{path}' with parts of a scan.")
    manifest = common_manifest(paths)
    make_folder(target)
    if target.resolve() not in {path.resolve() for path in paths}:
        if any((target / name).exists() for name in (MANIFEST_FILE, "index.safetensors")):
            raise OutputError(f"The folder '{target}' holds an index already; choose another folder, or delete it.")
        write_whole(target / MANIFEST_FILE, manifest.text.encode())
    index = finish_index(read_shards(manifest, paths), manifest)
    if target.resolve() not in {path.resolve() for path in paths}:  # without shards there is nothing to go on from
        index = replace(index, failures=tuple(replace(each, passing=False) for each in index.failures))
    index.write(target)
    return index
