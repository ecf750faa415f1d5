"""What an output was made of, found again by its content: pictures by their pixels, files by their hash."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any

from cnnviz.core.dimensions import VOLUME
from cnnviz.core.picture import Picture
from cnnviz.core.sample import Entrance, Sample
from cnnviz.errors import CnnvizError, ModelError, OutputError, PictureError, quoted
from cnnviz.images.datasets.dataset import Dataset
from cnnviz.images.datasets.open import open_dataset
from cnnviz.images.inputs import PICTURES, holds_volume, input_suffixes, read_sample
from cnnviz.images.reading import as_picture
from cnnviz.models.origin import file_digest
from cnnviz.rerunning.schema import is_plain_name

__all__ = [
    "DRAWN",
    "SHORT",
    "ensure_kept",
    "find_dataset",
    "find_file",
    "find_pictures",
    "folders_below",
    "folders_of",
    "is_drawn",
    "split_sources",
]

SHORT = 12
HUB, DRAWN = "hf:", "shapes:"
MOST_SHAPES_DIGITS = 5
DEEPEST, MOST_FOLDERS, MOST_PICTURES = 5, 500, 1000
"""How far rerun looks of itself: levels below a folder, folders, and pictures in those folders that are opened."""


def split_sources(given: Iterable[Any]) -> tuple[list[Path], list[Sample]]:
    """Folders and files apart from pictures in memory.

    Raises:
        PictureError: If a folder or file is not there, or a picture in memory cannot be used.
    """
    places: list[Path] = []
    held: list[Sample] = []
    for each in given:
        if not isinstance(each, (str, os.PathLike)):
            held.append(each if isinstance(each, Sample) else as_picture(each))
            continue
        place = Path(each).expanduser()
        if not place.exists() and not os.fspath(each).startswith(HUB):
            raise PictureError(f"There is no folder or file {quoted(str(place))} to look for pictures in.")
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
    held: Iterable[Sample] = (),
    below: Sequence[Path] = (),
    *,
    entrance: Entrance = PICTURES,
) -> list[Sample | None]:
    """Pictures, signals or volumes with the values that a record names, under the names that it gives them.

    Args:
        wanted: Name and hash of each.
        places: Files, and folders that are searched with all that is in them.
        near: Folders of which only the files themselves are looked at, after the places.
        held: Pictures in memory, looked at first.
        below: Folders that are looked at last, likewise; up to a thousand of their pictures.
        entrance: What the network takes, as which files are read.

    Returns:
        For each wanted one its picture, or None where there is none.
    """
    missing = {each["sha256"] for each in wanted}
    found: dict[str, Sample] = {}
    names = list(dict.fromkeys(each["name"] for each in wanted))
    for picture in _candidates(names, places, near, held, below, entrance=entrance):
        if picture.digest in missing:
            found[picture.digest] = picture
            missing.remove(picture.digest)
        if not missing:
            break
    return [
        found[each["sha256"]].changed(name=each["name"], true_class=each.get("true"))
        if each["sha256"] in found
        else None
        for each in wanted
    ]


def find_dataset(
    named: Mapping[str, str], places: Sequence[Path], near: Sequence[Path], below: Sequence[Path] = ()
) -> Dataset:
    """A data set by its fingerprint: drawn shapes, one of the places, or something of its name in one of the folders.

    Args:
        named: Its name and fingerprint.
        places: What the user gave, each of which may be the data set.
        near: Folders in which something of its name may be.
        below: Folders that are looked at last, likewise.

    Raises:
        PictureError: If none has that fingerprint.
    """
    name = named["name"]
    sources = [name] if name.startswith(DRAWN) else [*map(str, places)]
    if is_plain_name(name):
        folders = (*folders_of(places), *near, *(folder for folder in below if (folder / name).exists()))
        sources += [str(folder / name) for folder in folders]
    for source in dict.fromkeys(sources):
        for classes in (None, True, False) if Path(source).is_dir() else (None,):
            try:
                found = open_dataset(source, classes=classes)
                if found.fingerprint == named["sha256"]:
                    found.name = name
                    return found
            except (CnnvizError, OSError):
                continue
    raise PictureError(
        f"No data set {quoted(name)} with the fingerprint {named['sha256'][:SHORT]}... is where rerun looked; name it "
        "with --images."
    )


def is_drawn(named: Mapping[str, str]) -> bool:
    """Whether a data set is made of drawn shapes, which lie nowhere; not too many for a record to ask for."""
    count = named["name"].removeprefix(DRAWN).partition(":")[0]
    return named["name"].startswith(DRAWN) and count.isdecimal() and len(count) <= MOST_SHAPES_DIGITS


def ensure_kept(target: Path, files: Iterable[Path], inputs: Iterable[Any]) -> None:
    """Make sure that a file to be written is none of those that it is made of.

    Args:
        target: The file to be written.
        files: Files and folders that were named.
        inputs: What was found for the network: pictures, which are known by their pixels, data sets, files.

    Raises:
        OutputError: If it is one, which would be replaced.
    """
    if not target.exists():
        return
    named = [file for file in (*files, *(each for each in inputs if isinstance(each, Path))) if file.exists()]
    held = [one for each in inputs if isinstance(each, list) for one in each if isinstance(one, Picture)]
    taken = any(file.samefile(target) for file in named)
    taken = taken or any(each.holds(target) for each in inputs if isinstance(each, Dataset))
    if taken or _shows_one(target, held):
        raise OutputError(f"{quoted(str(target))} is what it is made of, and would be replaced; choose another place.")


def _shows_one(target: Path, held: Sequence[Picture]) -> bool:
    """Whether a file has the pixels of one of some pictures."""
    try:
        return bool(held) and as_picture(target, value_range=held[0].value_range).digest in {
            picture.digest for picture in held
        }
    except CnnvizError:
        return False


def find_file(
    named: Mapping[str, str], what: str, option: str, folders: Sequence[Path], below: Sequence[Path] = ()
) -> Path:
    """A file by its hash, whatever it is called now; what has its name is looked at first.

    Args:
        named: Its name and hash.
        what: What it is, in words.
        option: The option that names it.
        folders: Where it may lie.
        below: Where it may lie with that name.

    Raises:
        ModelError: If no folder holds a file of that content.
    """
    kind = Path(named["file"]).suffix
    called = (folder / named["file"] for folder in (*folders, *below) if is_plain_name(named["file"]))
    alike = (file for folder in folders for file in _files_in(folder) if file.suffix == kind)
    for file in chain(called, alike):
        with suppress(OSError):
            if file.is_file() and file_digest(file) == named["sha256"]:
                return file
    raise ModelError(
        f"The {what} {quoted(named['file'])} (sha256 {named['sha256'][:SHORT]}...) is in none of the folders looked "
        f"at; name it with {option}."
    )


def _files_in(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _candidates(
    names: Sequence[str],
    places: Sequence[Path],
    near: Sequence[Path],
    held: Iterable[Sample],
    below: Sequence[Path],
    *,
    entrance: Entrance,
) -> Iterator[Sample]:
    """Samples in memory, then files: those with the right name first, each once."""
    yield from (each.in_range(entrance.value_range) if isinstance(each, Picture) else each for each in held)
    seen: set[Path] = set()
    for file in _candidate_files(names, places, near, below, places_taken=entrance.places):
        if file in seen:
            continue
        seen.add(file)
        try:
            yield read_sample(file, entrance)
        except CnnvizError:
            continue


def _candidate_files(
    names: Sequence[str], places: Sequence[Path], near: Sequence[Path], below: Sequence[Path], *, places_taken: int
) -> Iterator[Path]:
    endings = input_suffixes(places_taken)
    folders = [place for place in places if place.is_dir()]
    yield from (place for place in places if place.is_file())
    if places_taken == VOLUME:  # a folder of slices is one volume
        named = (folder / name for folder in (*folders, *near) for name in names if is_plain_name(name))
        yield from (place for place in chain(folders, named) if place.is_dir() and _is_volume(place))
    yield from _files_named(names, (*folders, *near))
    for folder in folders:
        yield from _picture_files(folder.rglob("*"), endings)
    for folder in near:
        yield from _picture_files(folder.glob("*"), endings)
    deep = (file for folder in below for file in _picture_files(folder.glob("*"), endings) if file.name not in names)
    yield from islice(chain(_files_named(names, below), deep), MOST_PICTURES)


def _is_volume(folder: Path) -> bool:
    try:
        return holds_volume(folder)
    except CnnvizError:
        return False


def _files_named(names: Sequence[str], folders: Iterable[Path]) -> Iterator[Path]:
    """Files of these names; what is a way to a file, and not a name, is not followed."""
    plain = [name for name in names if is_plain_name(name)]
    return (folder / name for folder in folders for name in plain if (folder / name).is_file())


def _picture_files(entries: Iterable[Path], endings: tuple[str, ...]) -> list[Path]:
    return sorted(entry for entry in entries if entry.name.lower().endswith(endings) and entry.is_file())
