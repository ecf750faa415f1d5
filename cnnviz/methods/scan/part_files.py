"""Parts: what work on a data set found in some blocks, a file each, beside a manifest of what they are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cnnviz.core.atomic import make_folder, read_record, write_record, write_whole
from cnnviz.core.untrusted import parse_json
from cnnviz.errors import OutputError
from cnnviz.methods.scan.manifest import Manifest

__all__ = ["PartKind", "PartFolder", "agree_on_parts", "read_question"]


@dataclass(frozen=True)
class PartKind:
    """What parts are of, in words.

    Attributes:
        noun: What the work is called.
        file: The name of the manifest.
        differences: By what of a manifest differs, how that is said; what comes first is said first.
    """

    noun: str
    file: str
    differences: Mapping[str, str]

    def difference(self, wanted: Manifest, there: Manifest, left: Sequence[str] = ()) -> str:
        """In what another manifest differs from what is wanted, in words; empty if in nothing.

        Args:
            wanted: What is asked for.
            there: The other.
            left: What does not matter.
        """
        others = sorted({*wanted.held, *there.held} - self.differences.keys())
        for name in [each for each in (*self.differences, *others) if each not in left]:
            mine, theirs = wanted.held.get(name), there.held.get(name)
            if mine != theirs:
                return self.differences.get(name, f"{name.replace('_', ' ')} {theirs}, not {mine}")
        return ""


def agree_on_parts(
    kind: PartKind, folder: Path, wanted: Manifest, left: Sequence[str] = (), *, where: Path | None = None
) -> Manifest:
    """The manifest in a folder, if it fits what is wanted; or else, where no part is there, the wanted one, written.

    Args:
        kind: What the parts are of.
        folder: The folder; it is made.
        wanted: What is asked for.
        left: What was left open, and so what is there already decides over.
        where: What an error calls the folder.

    Raises:
        OutputError: If the folder holds parts of something else, or cannot be written.
    """
    make_folder(folder)
    there = read_question(folder / kind.file)
    if there is None or not any(folder.glob("part-*.safetensors")):
        write_whole(folder / kind.file, wanted.text.encode())
        return wanted
    if difference := kind.difference(wanted, there, left):
        raise OutputError(
            f"The {kind.noun} in '{where or folder}' is of something else: {difference}. Choose another folder, or "
            "delete this one."
        )
    return there


def read_question(path: Path) -> Manifest | None:
    """The manifest in a file; None if there is none.

    Raises:
        OutputError: If it cannot be read, or is none.
    """
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


class PartFolder:
    """The parts of some work in a folder.

    Args:
        kind: What they are of, in words.
        folder: Where they lie.
        manifest: What they are of.
    """

    def __init__(self, kind: PartKind, folder: Path, manifest: Manifest) -> None:
        self.kind, self.folder, self.manifest = kind, folder, manifest

    def file(self, number: int) -> Path:
        """A part's file."""
        return self.folder / f"part-{number:06}.safetensors"

    def missing(self) -> list[int]:
        """Numbers of the parts that are still to be found, or lack pictures that perhaps can be read now."""
        return [number for number in range(self.manifest.shards) if not self._is_there(number)]

    def _is_there(self, number: int) -> bool:
        path = self.file(number)
        return path.exists() and not read_record(path)[1].get("passing")

    def write(
        self, number: int, arrays: Mapping[str, NDArray[Any]], record: Mapping[str, Any], *, synced: bool = True
    ) -> None:
        """Put a part there, as a whole.

        Args:
            number: Which part.
            arrays: By name.
            record: Plain values.
            synced: Whether to wait until it is on the disk.

        Raises:
            OutputError: If it cannot be written.
        """
        held = {**record, self.kind.noun: self.manifest.digest, "part": number}
        write_record(self.file(number), arrays, held, synced=synced)

    def read(self, number: int) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """The arrays and plain values of a part.

        Raises:
            OutputError: If it is missing, damaged or of something else.
        """
        path = self.file(number)
        if not path.exists():
            raise OutputError(
                f"Part {number} of {self.manifest.shards} is missing in '{self.folder}': a job has not finished. Run "
                "it again and it goes on where it was."
            )
        arrays, record = read_record(path)
        if record.get(self.kind.noun) != self.manifest.digest or record.get("part") != number:
            raise OutputError(f"'{path}' is of another {self.kind.noun}; delete it and run the {self.kind.noun} again.")
        return arrays, record
