"""rerun: an output made again from the record inside it, and what is different about it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cnnviz.core.dimensions import PICTURE, VOLUME
from cnnviz.core.sample import Entrance, Sample
from cnnviz.core.similar import PAIR, restore_references
from cnnviz.drawing.files import NOTED_SUFFIXES, ensure_writable, read_note
from cnnviz.drawing.notes import STORE
from cnnviz.engine.undisturbed import fixed_threads
from cnnviz.errors import CnnvizError, OutputError, PictureError, UsageError, quoted, visible
from cnnviz.images.datasets.open import open_dataset
from cnnviz.images.reading import ImageLike
from cnnviz.provenance import ENCODER, Provenance
from cnnviz.rerunning.difference import LargestDifference, differences, largest_difference
from cnnviz.rerunning.find import (
    SHORT,
    ensure_kept,
    find_dataset,
    find_file,
    find_pictures,
    folders_below,
    folders_of,
    split_sources,
)
from cnnviz.rerunning.question import (
    FILES,
    ask_again,
    check_question,
    ensure_askable,
    film_again,
    held_masks,
    write_again,
)
from cnnviz.rerunning.schema import check_form
from cnnviz.rerunning.substitutes import (
    Substitutes,
    as_pair,
    open_judge,
    open_networks,
    refuse_untrusted,
)

__all__ = ["Rerun", "rerun"]

MOST_NAMED = 5

MANY_THREADS = 256
"""More are not started on a record's word, unless the machine has as many cores."""


@dataclass(frozen=True)
class Rerun:
    """An output that was made again.

    Attributes:
        path: The new file.
        identical: Whether its bytes are those of the old one.
        differences: What is not as it was: versions, device, threads, chunk sizes, weights, answers.
        largest: The largest difference of the values, or of the pixels of 255; None where nothing could be compared.
    """

    path: Path
    identical: bool
    differences: tuple[str, ...]
    largest: LargestDifference | None

    @property
    def verdict(self) -> str:
        """In a sentence, whether it is the same."""
        if self.identical:
            return "identical, byte for byte"
        return f"not identical: {self.largest.what if self.largest else 'nothing in it can be compared'}"

    def __str__(self) -> str:
        return "\n".join([f"{self.path}: {self.verdict}", *(f"  {line}" for line in self.differences)])

    def describe(self) -> dict[str, Any]:
        """The same as plain values."""
        return {
            "output": str(self.path),
            "identical": self.identical,
            "verdict": self.verdict,
            "differences": list(self.differences),
            "largest": None if self.largest is None else self.largest.value,
        }


def rerun(
    file: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    images: ImageLike | Sequence[ImageLike] = (),
    model: Any = None,
    weights: str | os.PathLike[str] | None = None,
    labels: str | os.PathLike[str] | None = None,
    judge: Any = None,
    trust: bool = False,
) -> Rerun:
    """Make an output again from the record inside it: same pictures, network, settings, look and format.

    Pictures are found by their content, whatever they are called now: among those given, then in the current folder and
    beside the file, then in the folders in these (five levels, 500 folders, 1000 pictures at most). The network is
    opened as it was. Where versions, device, threads, chunk sizes and weights are the same, so are the bytes.

    A record can be a stranger's, so its word opens little: bundled networks and those of torchvision and timm, by name,
    with their own weights. Modules, files of code, weights and labels, a judge and data sets are given here, or, by
    ``trust``, opened where they have the hash that the record names.

    Args:
        file: An output of cnnviz.
        out: Where to, an existing file is replaced; default: ``NAME.rerun.SUFFIX`` in the current folder. Another
            suffix draws the same in another format, which cannot be compared.
        images: Folders (searched with all in them), files or pictures in memory, or a list of these.
        model: A network, or a name or file of one, in place of the recorded one; a list of as many as were compared.
        weights: A weights file or name, likewise.
        labels: A file of labels, likewise.
        judge: The second network of ``maximize``, likewise.
        trust: Whether files and data sets that the record names may be opened, which can run code of theirs: those in
            the folders looked at, of the recorded hash.

    Returns:
        The new file, whether it is identical, and otherwise what differs.

    Raises:
        OutputError: If the file holds no record, one that cnnviz did not write, or the new one cannot be written.
        PictureError: If a picture is not found; the message names those that are missing.
        ModelError: If it names what has to be given or trusted, is not found, or cannot be opened.
        UsageError: If no record can bring it back: a function as target, tensors, a network in memory, a composed grid.
    """
    source = Path(file)
    record = _read_record(source)
    target = _choose_target(source, out)
    before = _read_bytes(source)
    places, held = split_sources(images if isinstance(images, (list, tuple)) else [images])
    substitutes = Substitutes(model, weights, labels, judge, trust)
    refuse_untrusted(record, source.name, substitutes, placed=bool(places))
    near = list(dict.fromkeys([Path.cwd(), source.resolve().parent]))
    pictures, absent = _find_inputs(record, places, near if trust else [], near, held)
    references = _find_references(record, places, near, held)
    folders = [*folders_of(places), *near]
    with fixed_threads(min(record.threads, max(MANY_THREADS, os.cpu_count() or 1))):
        network = open_networks(record, substitutes, folders)
        asked = _restore_given(record, substitutes, pictures, places, near)
        question = replace(record, asked=restore_references(asked, references) if "references" in asked else asked)
        named = [source, *places, *_named_files(model, weights, labels, judge)]
        known = [*question.asked.values(), *question.asked.get(FILES, {}).values()]
        ensure_kept(target, named, [pictures, references, *known])
        with _record_at_fault(source.name):
            if isinstance(pictures, Path):
                film_again(question, network, pictures, target)
            else:
                write_again(ask_again(question, network, pictures), record, target)
    found = _compare_files(before, source, target, record)
    return Rerun(target, found[0], (*absent, *found[1]), found[2])


def _named_files(*given: Any) -> Iterator[Path]:
    """The files among what was given in place of what a record names."""
    for each in given:
        several = each if isinstance(each, (list, tuple)) else [each]
        yield from (Path(one) for one in several if isinstance(one, (str, os.PathLike)))


def _read_record(source: Path) -> Provenance:
    """The record in a file, once it is sure to be one that cnnviz could have written."""
    if source.suffix.lower() == STORE:
        raise UsageError(
            f"{quoted(str(source))} is a store of maps, which rerun does not make again; write another with the "
            "command that its record describes ('cnnviz info'), and compare the two folders: they have the same bytes."
        )
    record = Provenance.from_json(read_note(source))
    ensure_askable(record, source.name)
    check_form(record, source.name)
    check_question(record, source.name)
    return record


def _choose_target(source: Path, out: str | os.PathLike[str] | None) -> Path:
    """Where to write; a name that nobody gave is not written through a link, which a stranger may have laid."""
    target = Path(out) if out is not None else Path(f"{source.stem}.rerun{source.suffix}")
    if out is None and target.is_symlink():
        raise OutputError(f"{quoted(str(target))} is a link to another place; name a file to write.")
    ensure_writable(target, force=True, suffixes=NOTED_SUFFIXES)
    return target


@contextmanager
def _record_at_fault(name: str) -> Iterator[None]:
    """Inside, a request that is wrong is the record's, not that of whoever reruns it."""
    try:
        yield
    except UsageError as error:
        raise OutputError(f"What the record in {quoted(name)} asks cannot be asked: {error}") from error


def _find_inputs(
    record: Provenance, places: list[Path], trusted: list[Path], near: list[Path], held: list[Sample]
) -> tuple[Any, list[str]]:
    """What the network is shown: pictures, a data set or the file of a clip."""
    named = record.images[0] if record.images else {}
    if named.get("kind") == "dataset":
        return find_dataset(named, places, trusted, folders_below(trusted)), []
    if named.get("kind") == "clip":
        clip = {**named, "file": named["name"]}
        return find_file(clip, "clip", "--images", [*folders_of(places), *near], folders_below(near)), []
    return _find_batch(record, places, near, held)


def _restore_given(
    record: Provenance, substitutes: Substitutes, pictures: Any, places: list[Path], near: list[Path]
) -> dict[str, Any]:
    """What was asked, with data sets, the picture to start from and the judge in place of their names."""
    asked, trusted = dict(record.asked), near if substitutes.trust else []
    if isinstance(asked.get("examples"), Mapping):
        asked["examples"] = find_dataset(asked["examples"], places, trusted, folders_below(trusted))
    if "start" in asked:
        asked["start"] = pictures[0]
    if record.method == "evaluate" and "masks" in asked:
        asked["masks"] = _find_masks(asked["masks"], [*folders_of(places), *near], trusted)
    if record.method == "evaluate" and "boxes" in asked:
        below = folders_below(near)
        asked["boxes"] = find_file(asked["boxes"], "file of boxes", "--images", [*folders_of(places), *near], below)
    if masks := held_masks(record):
        folders = [*folders_of(places), *near]
        asked[FILES] = {
            name: find_file(each, "mask", "--images", folders, folders_below(near)) for name, each in masks.items()
        }
    judge = open_judge(record, substitutes, [*folders_of(places), *near]) if record.method == "maximize" else None
    return asked if judge is None else {**asked, "judge": judge}


def _find_masks(named: Mapping[str, str], folders: list[Path], trusted: list[Path]) -> Path:
    """The folder of masks of a name and a fingerprint."""
    below = folders_below(trusted)
    for folder in dict.fromkeys([*folders, *(each / named["name"] for each in (*folders, *trusted)), *below]):
        if folder.is_dir() and folder.name == named["name"]:
            with suppress(CnnvizError):
                if open_dataset(folder, classes=False).fingerprint == named["sha256"]:
                    return folder
    raise PictureError(
        f"No folder of masks {quoted(named['name'])} with the fingerprint {named['sha256'][:SHORT]}... is where rerun "
        "looked; name it with --images."
    )


def _find_batch(
    record: Provenance, places: list[Path], near: list[Path], held: list[Sample]
) -> tuple[list[Sample], list[str]]:
    """The pictures of the whole call, and which of them another stands in for."""
    wanted = record.batch or record.images
    found = _find_all(wanted, record, places, near, held)
    paired = PAIR in (record.asked.get("target"), *_listed(record.asked.get("target")))
    needed = record.rows if record.batch and not paired else range(len(wanted))
    _refuse_missing([wanted[row] for row in needed if found[row] is None])
    others = [each["name"] for each, picture in zip(wanted, found, strict=True) if picture is None]
    stand_in = next((picture for row in needed if (picture := found[row]) is not None), None)
    pictures = [each or stand_in for each in found]
    said = [f"not found, and asked together with it then: {', '.join(others)}"] if others else []
    return [each for each in pictures if each is not None], said


def _find_references(record: Provenance, places: list[Path], near: list[Path], held: list[Sample]) -> list[Sample]:
    """The pictures that the record's targets are compared with."""
    wanted = record.asked.get("references", [])
    found = _find_all(wanted, record, places, near, held) if wanted else []
    _refuse_missing([each for each, picture in zip(wanted, found, strict=True) if picture is None])
    return [each for each in found if each is not None]


def _find_all(
    wanted: Sequence[Mapping[str, str]],
    record: Provenance,
    places: list[Path],
    near: list[Path],
    held: list[Sample],
) -> list[Sample | None]:
    """Pictures by their pixels, read as the record's network reads them."""
    networks = record.model.get("networks") or [record.model]
    entrance = _entrance_of(networks[0].get("preprocess", {}))
    return find_pictures(wanted, places, near, held, folders_below(near), entrance=entrance)


def _entrance_of(preprocess: Mapping[str, Any]) -> Entrance:
    """What the network of a record takes, as far as reading has to know."""
    size, known = preprocess.get("input_size", [1] * PICTURE), as_pair(preprocess.get("value_range"))
    clips = preprocess.get("rate") if len(size) == VOLUME else None
    frames = size[0] if clips and not preprocess.get("keeps_size") else None
    return Entrance(len(size), preprocess.get("channels"), None if isinstance(known, str) else known, clips, frames)


def _listed(target: Any) -> list[Any]:
    return target if isinstance(target, list) else []


def _refuse_missing(missing: Sequence[Mapping[str, str]]) -> None:
    if not missing:
        return
    names = ", ".join(f"{visible(each['name'])} (sha256 {each['sha256'][:SHORT]}...)" for each in missing[:MOST_NAMED])
    more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
    raise PictureError(
        f"There is no picture with the pixels of {names}{more} where rerun looked; name their folder with --images."
    )


def _compare_files(
    before: bytes, source: Path, target: Path, record: Provenance
) -> tuple[bool, tuple[str, ...], LargestDifference | None]:
    after = _read_bytes(target)
    if before == after:
        return True, (), None
    differ = differences(record, Provenance.from_json(read_note(target)))
    if source.suffix.lower() == target.suffix.lower() == ".mp4" and ENCODER not in record.versions:
        differ = ("video: MPEG-4 by OpenCV in an earlier version of cnnviz, H.264 by PyAV now", *differ)
    if source.suffix.lower() != target.suffix.lower():
        return False, differ, None
    return False, differ, largest_difference(before, after, source.suffix.lower())


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OutputError(f"{quoted(str(path))} cannot be read: {error.strerror or error}.") from error
