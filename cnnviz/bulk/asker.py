"""A method asked about a block of pictures: maps with their targets and scores, and pictures that have none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cnnviz.bulk.map_request import MapRequest
from cnnviz.core.target import class_index
from cnnviz.errors import NowhereError, PassingPictureError, PictureError
from cnnviz.methods.prepare import unseen
from cnnviz.methods.scan.loader import Block
from cnnviz.provenance import Caution, Margin, Measure

__all__ = ["Asker", "BlockMaps", "checks_of", "plain_check"]

NAMED: Final = re.compile(r"\binput (\d+)\b")
"""How a check names a picture that was given as the network's input."""

NO_INDEX: Final = -1


@dataclass
class BlockMaps:
    """What a method says about some pictures, in their order.

    Attributes:
        images: ``(n,)``: their numbers in the data set, ascending.
        values: Maps ``(n, ...)`` float32, raw and signed; None where there is none.
        targets: What was explained.
        indices: ``(n,)``: the class of each target, -1 where it is not one.
        scores: ``(n,)``: the targets' scores.
        probabilities: ``(n,)``: NaN where there is none.
        about: What all maps have in common: layer, whether only positive values are shown, the score's unit, what the
            maps' places see of the input.
        checks: What there is to say about them, as plain values.
        failures: Number and sentence of pictures without a map.
        passing: Those among them that perhaps can be read another time.
    """

    images: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    values: NDArray[np.float32] | None = None
    targets: list[str] = field(default_factory=list)
    indices: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    scores: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    probabilities: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    about: dict[str, Any] | None = None
    checks: list[Any] = field(default_factory=list)
    failures: list[tuple[int, str]] = field(default_factory=list)
    passing: set[int] = field(default_factory=set)


class Asker:
    """Asks a method about blocks of a data set.

    Args:
        request: What is asked.
    """

    def __init__(self, request: MapRequest) -> None:
        self._request = request

    def warm(self, blocks: Iterable[Block]) -> None:
        """Ask about the first picture that can be read, and forget the answer.

        So what a network remembers from its first question (the layer that is chosen, what its output means) is the
        same whichever block this process begins with.

        Args:
            blocks: The data set's first pictures, one a block.
        """
        for block in blocks:
            if block.rows:
                self._ask(block, list(zip(block.rows, block.images, strict=True)))
                return

    def ask(self, block: Block) -> BlockMaps:
        """What the method says about the pictures of a block; of no picture that cannot be read or explained.

        Raises:
            CnnvizError: Whatever the method raises that is not about single pictures.
        """
        rows = list(zip(block.rows, block.images, strict=True))
        found, failures = self._ask(block, rows)
        found.failures = sorted([*block.failures, *failures])
        found.passing |= set(block.passing)
        return found

    def _ask(self, block: Block, rows: list[tuple[int, int]]) -> tuple[BlockMaps, list[tuple[int, str]]]:
        """The maps of some rows of a block, and why others have none."""
        failures: list[tuple[int, str]] = []
        passing: set[int] = set()
        while rows:
            numbers = [image for _, image in rows]
            try:
                with unseen():
                    result = self._request.ask(self._given(block, rows), numbers)
            except _UnreadableError as error:
                failures.append((error.image, str(error.cause)))
                passing |= {error.image} if isinstance(error.cause, PassingPictureError) else set()
                rows = [each for each in rows if each[1] != error.image]
            except NowhereError as error:
                lost = {numbers[row] for row in error.rows}
                failures += [(image, str(error)) for image in sorted(lost)]
                rows = [each for each in rows if each[1] not in lost]
            else:
                found, unsound = self._read(result, numbers)
                found.passing = passing
                return found, [*failures, *unsound]
        return BlockMaps(passing=passing), failures

    def _given(self, block: Block, rows: Sequence[tuple[int, int]]) -> Any:
        """What the method is given: the network's inputs, or pictures where it needs those."""
        if not self._request.whole and not self._is_dense(block):
            chosen = [row for row, _ in rows]
            return block.inputs if chosen == list(range(len(block.inputs))) else block.inputs[chosen]
        found = []
        for _, image in rows:
            try:
                found.append(self._request.data.item(image))
            except PictureError as error:
                raise _UnreadableError(image, error) from error
        return found

    def _is_dense(self, block: Block) -> bool:
        """Whether the network answers for every pixel: what lies around a picture counts for nothing then."""
        return self._request.model.answers_pixels(block.inputs)

    def _read(self, result: Any, numbers: Sequence[int]) -> tuple[BlockMaps, list[tuple[int, str]]]:
        """What a result says, without the pictures whose answers are no finite numbers."""
        values = np.asarray(result.values, dtype=np.float32)
        sound = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
        kept = np.flatnonzero(sound)
        keys = self._request.data.keys
        unsound = [
            (numbers[row], f"For '{keys[numbers[row]]}' the map holds values that are no finite numbers.")
            for row in np.flatnonzero(~sound).tolist()
        ]
        parts = [result[int(row)] for row in kept]
        indices = [class_index(part.target) for part in parts]
        names = [keys[number] for number in numbers]
        return BlockMaps(
            images=np.array(numbers, np.int64)[kept],
            values=values[kept] if len(kept) else None,
            targets=[str(part.target) for part in parts],
            indices=np.array([NO_INDEX if each is None else each for each in indices], np.int32),
            scores=np.array([part.score for part in parts], np.float64),
            probabilities=np.array(
                [np.nan if part.probability is None else part.probability for part in parts], np.float64
            ),
            about=_describe(parts[0]) if parts else None,
            checks=[plain_check(_with_names(check, names)) for check in result.checks],
        ), unsound


class _UnreadableError(Exception):
    """A picture that could be read before, and cannot be read again."""

    def __init__(self, image: int, cause: PictureError) -> None:
        super().__init__(str(cause))
        self.image, self.cause = image, cause


def _describe(part: Any) -> dict[str, Any]:
    """What all maps of a method have in common, as plain values."""
    seen = getattr(part, "field", None)
    return {
        "layer": part.layer,
        "rectified": bool(part.rectified),
        "unit": part.unit,
        "size": list(part.geometry.size),
        "channels": getattr(part, "channels", None),
        "field": None if seen is None else asdict(seen),
    }


def _with_names(check: str, names: Sequence[str]) -> str:
    """A check with the keys of pictures in place of their numbers among the inputs."""
    if isinstance(check, Measure) or not NAMED.search(check):
        return check

    def name(found: re.Match[str]) -> str:
        row = int(found[1]) - 1
        return names[row] if row < len(names) else found[0]

    return Caution.like(check, NAMED.sub(name, check))


def plain_check(check: str) -> Any:
    """A check as values that JSON has, of which ``checks_of`` makes it again."""
    if isinstance(check, Measure):
        kind = "margin" if isinstance(check, Margin) else "measure"
        return {"kind": kind, "sentence": check.sentence, "values": list(check.values), "form": check.form}
    return {"kind": "caution", "sentence": str(check)} if isinstance(check, Caution) else str(check)


def checks_of(held: Iterable[Any]) -> list[str]:
    """Checks, of what ``plain_check`` made of them.

    Raises:
        KeyError: If one is none of these.
        TypeError: Likewise.
    """
    found: list[str] = []
    for each in held:
        if not isinstance(each, Mapping):
            found.append(str(each))
        elif each["kind"] == "caution":
            found.append(Caution(each["sentence"]))
        else:
            kind = Margin if each["kind"] == "margin" else Measure
            found.append(kind(str(each["sentence"]), *map(float, each["values"]), form=str(each["form"])))
    return found
