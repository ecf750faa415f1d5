"""The parts of a study: what decides over its values, written first, and what was found in some blocks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from cnnviz.core.atomic import make_folder, read_record, write_record, write_whole
from cnnviz.core.untrusted import parse_json
from cnnviz.errors import OutputError
from cnnviz.evaluation.study.assessor import Found
from cnnviz.evaluation.study.meter import Meter
from cnnviz.methods.scan.manifest import Manifest

__all__ = ["STUDY_FILE", "Store", "agree_on_study"]

STUDY_FILE = "study.json"
PART = re.compile(r"part-(\d+)\.safetensors")
CURVE: Final = "curve:"

DIFFERENCES: Final[Mapping[str, str]] = {
    "network": "another network, or the same with other weights or preprocessing",
    "data": "another data set, or the data set has changed",
    "methods": "other methods, layers or settings",
    "metrics": "other metrics",
    "annotations": "other masks or boxes",
    "target": "another target",
    "versions": "another version of torch or cnnviz",
    "device": "another kind of device",
    "dtype": "another floating type",
}


def agree_on_study(folder: Path | None, wanted: Manifest, left: Sequence[str]) -> Manifest:
    """The manifest of the study in a folder, if it fits what is wanted; or else the wanted one, written there.

    Args:
        folder: The folder; None keeps nothing.
        wanted: What is asked for.
        left: What was left open, and so what the study that is there decides over.

    Raises:
        OutputError: If the folder holds a study of something else, or cannot be written.
    """
    if folder is None:
        return wanted
    make_folder(folder)
    there = _read_study(folder / STUDY_FILE)
    if there is None or not any(PART.fullmatch(each.name) for each in folder.iterdir()):
        write_whole(folder / STUDY_FILE, wanted.text.encode())
        return wanted
    names = sorted({*wanted.held, *there.held} - {*left}, key=lambda name: (name not in DIFFERENCES, name))
    for name in names:
        if wanted.held.get(name) != there.held.get(name):
            what = DIFFERENCES.get(
                name, f"{name.replace('_', ' ')} {there.held.get(name)}, not {wanted.held.get(name)}"
            )
            raise OutputError(
                f"The study in '{folder}' is of something else: {what}. Choose another folder, or delete this one."
            )
    return there


def _read_study(path: Path) -> Manifest | None:
    try:
        held = dict(parse_json(path.read_bytes()))
        manifest = Manifest(held)
        sizes = manifest.images, int(held["block"]), int(held["blocks_a_shard"]), int(held["threads"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise OutputError(f"'{path}' is damaged, or not a file that cnnviz wrote.") from error
    if min(sizes) < 1:
        raise OutputError(f"'{path}' is damaged, or not a file that cnnviz wrote.")
    return manifest


class Store:
    """What was found in some blocks of a study, a part each: in a folder, or in memory.

    What forwards and seconds its maps took lies beside a part, in a file of its own: it is another one each time.

    Args:
        folder: Where they lie; None keeps them in memory.
        manifest: What they are of.
    """

    def __init__(self, folder: Path | None, manifest: Manifest) -> None:
        self._folder, self._manifest = folder, manifest
        self._held: dict[int, Found] = {}

    def missing(self) -> list[int]:
        """Numbers of the parts that are still to be found, or lack pictures that perhaps can be read now."""
        return [number for number in range(self._manifest.shards) if not self._is_there(number)]

    def _is_there(self, number: int) -> bool:
        if self._folder is None:
            return number in self._held
        path = self._file(number)
        return path.exists() and not read_record(path)[1].get("passing")

    def _file(self, number: int) -> Path:
        assert self._folder is not None
        return self._folder / f"part-{number:06}.safetensors"

    def keep(self, number: int, found: Found) -> None:
        """Put a part there, as a whole.

        Raises:
            OutputError: If it cannot be written.
        """
        if self._folder is None:
            self._held[number] = found
            return
        costs = {name: [meter.forwards, meter.seconds] for name, meter in found.costs.items()}
        text = json.dumps({"images": len(found.images), "costs": costs})
        write_whole(self._file(number).with_suffix(".cost.json"), text.encode())
        record = {
            "study": self._manifest.digest,
            "part": number,
            "targets": found.targets,
            "failures": [[image, sentence] for image, sentence in found.failures],
            "passing": sorted(found.passing),
        }
        arrays = {
            "images": found.images,
            "values": found.values,
            "scores": found.scores,
            "probabilities": found.probabilities,
            **{f"{CURVE}{name}": each for name, each in found.curves.items()},
        }
        write_record(self._file(number), arrays, record)

    def read(self) -> Iterator[Found]:
        """All parts in their order.

        Raises:
            OutputError: If one is missing, damaged or of another study.
        """
        for number in range(self._manifest.shards):
            yield self._held[number] if self._folder is None else self._read_part(number)

    def _read_part(self, number: int) -> Found:
        path = self._file(number)
        if not path.exists():
            raise OutputError(
                f"Part {number} of {self._manifest.shards} is missing in '{self._folder}': a job has not finished. Run "
                "it again and it goes on where it was."
            )
        arrays, record = read_record(path)
        if record.get("study") != self._manifest.digest or record.get("part") != number:
            raise OutputError(f"'{path}' is of another study; delete it and run the study again.")
        try:
            found = Found(
                arrays["images"],
                arrays["values"],
                {name.removeprefix(CURVE): each for name, each in arrays.items() if name.startswith(CURVE)},
                [str(each) for each in record["targets"]],
                arrays["scores"],
                arrays["probabilities"],
                [(int(image), str(sentence)) for image, sentence in record["failures"]],
                set(map(int, record["passing"])),
                self._read_costs(number),
            )
            counts = {len(each) for each in (found.images, found.values, found.targets, found.scores)}
            sound = len(counts) == 1 and found.values.shape[1:] == self._shape
        except (KeyError, TypeError, ValueError):
            sound = False
        if not sound:
            raise OutputError(f"'{path}' is damaged; delete it and run the study again.")
        return found

    @property
    def _shape(self) -> tuple[int, int]:
        """How many candidates and metrics there are."""
        return len(self._manifest["methods"]), len(self._manifest["metrics"])

    def _read_costs(self, number: int) -> dict[str, Meter]:
        """What the maps of a part took; nothing where that is not known any more."""
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            held = parse_json(self._file(number).with_suffix(".cost.json").read_bytes())
            return {str(name): Meter(int(each[0]), float(each[1])) for name, each in held["costs"].items()}
        return {}
