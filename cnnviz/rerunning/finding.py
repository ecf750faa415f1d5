"""What an output was made of, found again by its content: pictures by their pixels, files by their hash."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnnviz.core.picture import Picture
from cnnviz.errors import CnnvizError, ModelError, PictureError
from cnnviz.images.dataset import Dataset
from cnnviz.images.datasets import open_dataset
from cnnviz.images.reading import SUFFIXES, as_picture
from cnnviz.models.reopening import file_digest

__all__ = ["find_dataset", "find_file", "find_pictures", "folders_of", "split"]

SHORT = 12


def split(given: Iterable[Any]) -> tuple[list[Path], list[Picture]]:
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


def find_pictures(
    wanted: Sequence[Mapping[str, str]], places: Sequence[Path], near: Sequence[Path], held: Iterable[Picture] = ()
) -> list[Picture | None]:
    """Pictures with the pixels that a record names, under the names that it gives them.

    Args:
        wanted: Name and hash of each.
        places: Files, and folders that are searched with all that is in them.
        near: Folders of which only the files themselves are looked at, after the places.
        held: Pictures in memory, looked at first.

    Returns:
        For each wanted one its picture, or None where there is none.
    """
    missing = {each["sha256"] for each in wanted}
    found: dict[str, Picture] = {}
    for picture in _candidates(dict.fromkeys(each["name"] for each in wanted), places, near, held):
        if picture.digest in missing:
            found[picture.digest] = picture
            missing.remove(picture.digest)
        if not missing:
            break
    return [replace(found[each["sha256"]], name=each["name"]) if each["sha256"] in found else None for each in wanted]


def find_dataset(named: Mapping[str, str], places: Sequence[Path], near: Sequence[Path]) -> Dataset:
    """A data set by its fingerprint: by its name, one of the places, or something of its name in one of the folders.

    Raises:
        PictureError: If none has that fingerprint.
    """
    name = named["name"]
    sources = [*places, *(folder / name for folder in (*folders_of(places), *near))]
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


def find_file(named: Mapping[str, str], what: str, option: str, folders: Sequence[Path]) -> Path:
    """A file by its name and hash: the same content, or else the same name.

    Raises:
        ModelError: If no folder holds either.
    """
    for folder in folders:
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
    names: Iterable[str], places: Sequence[Path], near: Sequence[Path], held: Iterable[Picture]
) -> Iterator[Picture]:
    """Pictures in memory, then files: those with the right name first, each once."""
    yield from held
    files = [place for place in places if place.is_file()]
    folders = [place for place in places if place.is_dir()]
    files += [folder / name for folder in (*folders, *near) for name in names if (folder / name).is_file()]
    for file in dict.fromkeys(_all_of(files, folders, near)):
        try:
            yield as_picture(file)
        except CnnvizError:
            continue


def _all_of(first: Iterable[Path], folders: Iterable[Path], near: Iterable[Path]) -> Iterator[Path]:
    yield from first
    for folder in folders:
        yield from _pictures(folder.rglob("*"))
    for folder in near:
        yield from _pictures(folder.glob("*"))


def _pictures(entries: Iterable[Path]) -> list[Path]:
    return sorted(entry for entry in entries if entry.suffix.lower() in SUFFIXES and entry.is_file())
