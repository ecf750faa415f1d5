"""The parts of a study: what decides over its values, written first, and what was found in some blocks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from cnnviz.core.atomic import write_whole
from cnnviz.core.untrusted import parse_json
from cnnviz.errors import OutputError
from cnnviz.evaluation.study.assessor import Found
from cnnviz.evaluation.study.meter import Meter
from cnnviz.methods.scan.manifest import Manifest
from cnnviz.methods.scan.part_files import PartFolder, PartKind, agree_on_parts

__all__ = ["STUDY_FILE", "Store", "agree_on_study"]

STUDY_FILE = "study.json"
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


KIND: Final = PartKind("study", STUDY_FILE, DIFFERENCES)


def agree_on_study(folder: Path | None, wanted: Manifest, left: Sequence[str]) -> Manifest:
    """The manifest of the study in a folder, if it fits what is wanted; or else the wanted one, written there.

    Args:
        folder: The folder; None keeps nothing.
        wanted: What is asked for.
        left: What was left open, and so what the study that is there decides over.

    Raises:
        OutputError: If the folder holds a study of something else, or cannot be written.
    """
    return wanted if folder is None else agree_on_parts(KIND, folder, wanted, left)


class Store:
    """What was found in some blocks of a study, a part each: in a folder, or in memory.

    What forwards and seconds its maps took lies beside a part, in a file of its own: it is another one each time.

    Args:
        folder: Where they lie; None keeps them in memory.
        manifest: What they are of.
    """

    def __init__(self, folder: Path | None, manifest: Manifest) -> None:
        self._parts = None if folder is None else PartFolder(KIND, folder, manifest)
        self._manifest = manifest
        self._held: dict[int, Found] = {}

    def missing(self) -> list[int]:
        """Numbers of the parts that are still to be found, or lack pictures that perhaps can be read now."""
        if self._parts is not None:
            return self._parts.missing()
        return [number for number in range(self._manifest.shards) if number not in self._held]

    def keep(self, number: int, found: Found) -> None:
        """Put a part there, as a whole.

        Raises:
            OutputError: If it cannot be written.
        """
        if self._parts is None:
            self._held[number] = found
            return
        costs = {name: [meter.forwards, meter.seconds] for name, meter in found.costs.items()}
        text = json.dumps({"images": len(found.images), "costs": costs})
        write_whole(self._parts.file(number).with_suffix(".cost.json"), text.encode())
        record = {
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
        self._parts.write(number, arrays, record)

    def read(self) -> Iterator[Found]:
        """All parts in their order.

        Raises:
            OutputError: If one is missing, damaged or of another study.
        """
        for number in range(self._manifest.shards):
            yield self._held[number] if self._parts is None else self._read_part(self._parts, number)

    def _read_part(self, parts: PartFolder, number: int) -> Found:
        arrays, record = parts.read(number)
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
                _read_costs(parts.file(number)),
            )
            counts = {len(each) for each in (found.images, found.values, found.targets, found.scores)}
            sound = len(counts) == 1 and found.values.shape[1:] == self._shape
        except (KeyError, TypeError, ValueError):
            sound = False
        if not sound:
            raise OutputError(f"'{parts.file(number)}' is damaged; delete it and run the study again.")
        return found

    @property
    def _shape(self) -> tuple[int, int]:
        """How many candidates and metrics there are."""
        return len(self._manifest["methods"]), len(self._manifest["metrics"])


def _read_costs(part: Path) -> dict[str, Meter]:
    """What the maps of a part took; nothing where that is not known any more."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        held = parse_json(part.with_suffix(".cost.json").read_bytes())
        return {str(name): Meter(int(each[0]), float(each[1])) for name, each in held["costs"].items()}
    return {}
