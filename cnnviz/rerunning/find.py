"""What an output was made of, found again by its content: pictures by their pixels, files by their hash."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch

from cnnviz.core.picture import Picture, ValueRange
from cnnviz.errors import CnnvizError, ModelError, PictureError, UsageError
from cnnviz.images.datasets.dataset import Dataset
from cnnviz.images.datasets.open import open_dataset
from cnnviz.images.reading import SUFFIXES, as_picture
from cnnviz.models.load import load_model
from cnnviz.models.model import Model
from cnnviz.models.origin import file_digest

__all__ = [
    "as_pair",
    "find_dataset",
    "find_file",
    "find_pictures",
    "folders_below",
    "folders_of",
    "split_sources",
    "Substitutes",
    "reopen",
]

SHORT = 12
DEEPEST, MOST_FOLDERS, MOST_PICTURES = 5, 500, 1000
"""How far rerun looks of itself: levels below a folder, folders, and pictures in those folders that are opened."""


def split_sources(given: Iterable[Any]) -> tuple[list[Path], list[Picture]]:
    """Folders and files apart from pictures in memory.

    Raises:
        PictureError: If a folder or file is not there, or a picture in memory cannot be used.
    """
    places: list[Path] = []
    held: list[Picture] = []
    for each in given:
        if not isinstance(each, (str, os.PathLike)):
            held.append(as_picture(each))
            continue
        place = Path(each).expanduser()
        if not place.exists():
            raise PictureError(f"There is no folder or file '{place}' to look for pictures in.")
        places.append(place)
    return places, held


def folders_of(places: Iterable[Path]) -> list[Path]:
    """The places that are folders, and the folders of those that are files."""
    return list(dict.fromkeys(place if place.is_dir() else place.parent for place in places))


def folders_below(folders: Iterable[Path]) -> list[Path]:
    """The folders in some folders, those of a level before those below them: five levels and 500 folders at most.

    Hidden folders and links to folders are left out, and so is what cannot be read.
    """
    found: dict[Path, None] = {}
    left = deque((folder, 0) for folder in folders)
    while left and len(found) < MOST_FOLDERS:
        folder, depth = left.popleft()
        inner = [] if depth == DEEPEST else _folders_in(folder)
        left.extend((each, depth + 1) for each in inner if each not in found)
        found |= dict.fromkeys(inner)
    return list(found)[:MOST_FOLDERS]


def _folders_in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            inner = [each.path for each in entries if each.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [each for each in map(Path, sorted(inner)) if not each.name.startswith(".")]


def find_pictures(
    wanted: Sequence[Mapping[str, str]],
    places: Sequence[Path],
    near: Sequence[Path],
    held: Iterable[Picture] = (),
    below: Sequence[Path] = (),
    *,
    value_range: ValueRange | None = None,
) -> list[Picture | None]:
    """Pictures with the pixels that a record names, under the names that it gives them.

    Args:
        wanted: Name and hash of each.
        places: Files, and folders that are searched with all that is in them.
        near: Folders of which only the files themselves are looked at, after the places.
        held: Pictures in memory, looked at first.
        below: Folders that are looked at last, likewise; up to a thousand of their pictures.
        value_range: The values that stood for 0 and 1.

    Returns:
        For each wanted one its picture, or None where there is none.
    """
    missing = {each["sha256"] for each in wanted}
    found: dict[str, Picture] = {}
    names = list(dict.fromkeys(each["name"] for each in wanted))
    for picture in _candidates(names, places, near, held, below, value_range=value_range):
        if picture.digest in missing:
            found[picture.digest] = picture
            missing.remove(picture.digest)
        if not missing:
            break
    return [replace(found[each["sha256"]], name=each["name"]) if each["sha256"] in found else None for each in wanted]


def find_dataset(
    named: Mapping[str, str], places: Sequence[Path], near: Sequence[Path], below: Sequence[Path] = ()
) -> Dataset:
    """A data set by its fingerprint: by its name, one of the places, or something of its name in one of the folders.

    Raises:
        PictureError: If none has that fingerprint.
    """
    name = named["name"]
    deep = [folder / name for folder in below if (folder / name).exists()]
    sources = [*places, *(folder / name for folder in (*folders_of(places), *near)), *deep]
    for source in (name, *map(str, dict.fromkeys(sources))):
        for classes in (None, True, False) if Path(source).is_dir() else (None,):
            try:
                found = open_dataset(source, classes=classes)
                if found.fingerprint == named["sha256"]:
                    found.name = name
                    return found
            except CnnvizError:
                continue
    raise PictureError(
        f"No data set '{name}' with the fingerprint {named['sha256'][:SHORT]}... is where rerun looked; name it with "
        "--images."
    )


def find_file(
    named: Mapping[str, str], what: str, option: str, folders: Sequence[Path], below: Sequence[Path] = ()
) -> Path:
    """A file by its name and hash: the same content, or else the same name.

    Args:
        named: Its name and hash.
        what: What it is, in words.
        option: The option that names it.
        folders: Where it may lie.
        below: Where it may lie with both.

    Raises:
        ModelError: If no folder holds either.
    """
    for folder in (*folders, *below):
        file = folder / named["file"]
        if file.is_file() and file_digest(file) == named["sha256"]:
            return file
    for folder in folders:
        for file in sorted(folder.glob(f"*{Path(named['file']).suffix}")):
            if file.is_file() and file_digest(file) == named["sha256"]:
                return file
    for folder in folders:
        if (folder / named["file"]).is_file():
            return folder / named["file"]
    raise ModelError(
        f"The {what} '{named['file']}' (sha256 {named['sha256'][:SHORT]}...) is in none of the folders looked at; "
        f"name it with {option}."
    )


def _candidates(
    names: Sequence[str],
    places: Sequence[Path],
    near: Sequence[Path],
    held: Iterable[Picture],
    below: Sequence[Path],
    *,
    value_range: ValueRange | None,
) -> Iterator[Picture]:
    """Pictures in memory, then files: those with the right name first, each once."""
    yield from (picture.in_range(value_range) for picture in held)
    seen: set[Path] = set()
    for file in _candidate_files(names, places, near, below):
        if file in seen:
            continue
        seen.add(file)
        try:
            yield as_picture(file, value_range=value_range)
        except CnnvizError:
            continue


def _candidate_files(
    names: Sequence[str], places: Sequence[Path], near: Sequence[Path], below: Sequence[Path]
) -> Iterator[Path]:
    folders = [place for place in places if place.is_dir()]
    yield from (place for place in places if place.is_file())
    yield from _files_named(names, (*folders, *near))
    for folder in folders:
        yield from _picture_files(folder.rglob("*"))
    for folder in near:
        yield from _picture_files(folder.glob("*"))
    deep = (file for folder in below for file in _picture_files(folder.glob("*")) if file.name not in names)
    yield from islice(chain(_files_named(names, below), deep), MOST_PICTURES)


def _files_named(names: Sequence[str], folders: Iterable[Path]) -> Iterator[Path]:
    return (folder / name for folder in folders for name in names if (folder / name).is_file())


def _picture_files(entries: Iterable[Path]) -> list[Path]:
    return sorted(entry for entry in entries if entry.suffix.lower() in SUFFIXES and entry.is_file())


@dataclass(frozen=True)
class Substitutes:
    """What the user gives in place of what the record names, or None.

    Attributes:
        model: A network, or its name or file.
        weights: A weights file or name.
        labels: A file of labels.
    """

    model: Any = None
    weights: Any = None
    labels: Any = None


def reopen(described: Mapping[str, Any], device: str, substitutes: Substitutes, folders: Sequence[Path]) -> Model:
    """The network of a record, on the device of the record where there is one.

    Args:
        described: The network's part of the record.
        device: The type of the device that computed.
        substitutes: What the user names in place of it.
        folders: Where files of the user's own are looked for.

    Raises:
        UsageError: If the network was made in memory and none is given.
        ModelError: If a file is not found, or the network cannot be opened.
    """
    if isinstance(substitutes.model, Model):
        return substitutes.model
    opening = dict(described.get("opening", {}))
    if not opening and substitutes.model is None:
        raise UsageError(
            f"The network '{described.get('name', '')}' was in memory when this was made; rerun needs it as model."
        )
    output = opening.get("output")
    if isinstance(output, Mapping) and "file" not in output:
        raise UsageError(
            f"The network's logits were chosen by the function '{output['function']}', which only the "
            "script that has it can give; open the network there and give it as model."
        )
    name = _find_model(opening, substitutes, folders)
    weights = substitutes.weights or _find_path(opening.get("weights"), "weights file", "--weights", folders)
    labels = substitutes.labels or _find_path(opening.get("labels"), "labels file", "--labels", folders)
    size = opening.get("input_size")
    return load_model(
        name,
        weights=weights,
        labels=labels,
        mean=opening.get("mean"),
        std=opening.get("std"),
        input_size=(size[0], size[1]) if isinstance(size, list) else size,
        value_range=as_pair(opening.get("value_range")),
        output=_find_code(output, "logits' file", "--images", folders),
        head=opening.get("head"),
        grid=(grid[0], grid[1]) if (grid := opening.get("grid")) else None,
        device=_choose_device(device),
        seed=opening.get("seed", 0),
    )


def _find_model(opening: Mapping[str, Any], substitutes: Substitutes, folders: Sequence[Path]) -> Any:
    if substitutes.model is not None:
        return substitutes.model
    named = opening["model"]
    if not isinstance(named, Mapping):
        return named
    return _find_code(named, "network's file", "--model", folders)


def _find_code(named: Any, what: str, option: str, folders: Sequence[Path]) -> Any:
    """A name as it is; a file by its content, with the function in it where there is one."""
    if not isinstance(named, Mapping):
        return named
    file = find_file(named, what, option, folders)
    return f"{file}:{named['function']}" if "function" in named else str(file)


def as_pair(values: Sequence[float] | None) -> ValueRange | None:
    """A recorded range as a pair."""
    return None if values is None else (values[0], values[1])


def _find_path(named: Any, what: str, option: str, folders: Sequence[Path]) -> Any:
    return find_file(named, what, option, folders) if isinstance(named, Mapping) else named


def _choose_device(recorded: str) -> str:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return recorded if there.get(recorded) else "cpu"
