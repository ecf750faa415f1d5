"""Labels in doubt, and near-duplicates: pictures whose given class, or whose place in the data set, may be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from cnnviz.auditing.outcomes import Outcomes

__all__ = ["Doubts", "Duplicate", "Duplicates", "find_doubts", "find_duplicates"]

FEWEST: Final = 2
"""Pictures of a class below which it has no threshold."""

COPY: Final = 0.98
"""Correlation of thumbnails from which one picture is a near copy of another."""

ALIKE: Final = 0.95
ROUGHLY: Final = 0.8
"""Cosine of embeddings about their mean, and correlation of thumbnails, from which two pictures are alike."""

AT_ONCE: Final = 1 << 20
"""Pairs that are compared at once."""

MOST_COMPARED: Final = 60_000
"""Pictures up to which all are compared with all; of more those of one answer with each other."""

Kind = Literal["identical", "near copy", "mirrored", "alike"]


@dataclass(frozen=True, eq=False)
class Doubts:
    """Pictures whose given class is in doubt.

    Attributes:
        rows: ``(D,)``: rows of the outcomes, the surest first.
        classes: ``(D,)``: the class that the network gives them with enough confidence.
        margins: ``(D,)``: its probability less that of the given class.
        thresholds: ``(K,)``: the mean probability that pictures of a class are given for it; NaN of too few.
    """

    rows: NDArray[np.int64]
    classes: NDArray[np.int64]
    margins: NDArray[np.float64]
    thresholds: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)


def find_doubts(found: Outcomes) -> Doubts:
    """Pictures that lie beside the diagonal of the confident joint of given and predicted classes.

    A class's threshold is the mean probability that the pictures labelled as it are given for it. Of the classes whose
    probability reaches their threshold the most probable one is counted; where that is not the given class, the label
    is in doubt. Only the five most probable classes of a picture are looked at. Pictures that the network was trained
    on tell little: it may have learnt their wrong labels by heart.

    Args:
        found: The outcomes.

    Reference:
        Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 2021, section 3.
    """
    counts = np.bincount(found.truth, minlength=found.outputs)
    sums = np.bincount(found.truth, found.true_shares.astype(np.float64), minlength=found.outputs)
    with np.errstate(invalid="ignore", divide="ignore"):
        thresholds = np.where(counts >= FEWEST, sums / counts, np.nan)
    reached = found.shares >= np.nan_to_num(thresholds, nan=np.inf)[found.top]
    first = reached.argmax(axis=1)
    named = found.top[np.arange(len(found)), first]
    rows = np.flatnonzero(reached.any(axis=1) & (named != found.truth))
    margins = (found.shares[rows, first[rows]] - found.true_shares[rows]).astype(np.float64)
    order = np.argsort(-margins, kind="stable")
    return Doubts(rows[order], named[rows][order], margins[order], thresholds)


@dataclass(frozen=True)
class Duplicate:
    """Two pictures that are the same or nearly so.

    Attributes:
        first: A row of the outcomes.
        second: Another.
        kind: ``"identical"``: the same network input; ``"near copy"``: nearly the same thumbnail, ``"mirrored"`` where
            that is so of its mirror image; ``"alike"``: the network hardly tells them apart.
        likeness: The correlation of the thumbnails, or of two that are alike the cosine of the embeddings.
    """

    first: int
    second: int
    kind: Kind
    likeness: float


@dataclass(frozen=True)
class Duplicates:
    """Pairs of pictures across classes, the surest first, and how many there are of each kind.

    Attributes:
        pairs: Pairs of pictures with different true classes.
        across: By kind, how many such pairs there are.
        within: By kind, how many pairs within one class there are.
        whole: Whether all pictures were compared with all.
    """

    pairs: tuple[Duplicate, ...]
    across: Mapping[str, int]
    within: Mapping[str, int]
    whole: bool


KINDS: Final[tuple[Kind, ...]] = ("identical", "near copy", "mirrored", "alike")


def find_duplicates(found: Outcomes, most: int = 200) -> Duplicates:
    """Pairs of pictures that are identical, nearly so, or alike to the network.

    Args:
        found: The outcomes.
        most: Pairs across classes that are kept.
    """
    whole = len(found) <= MOST_COMPARED
    groups = [np.arange(len(found))] if whole else _by_answer(found.predicted)
    centred = found.embeddings.astype(np.float32)
    centred = centred - centred.mean(axis=0, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    centred = np.where(lengths > 1e-6, centred / np.maximum(lengths, 1e-6), np.float32(0))
    by = _Compared(centred, found.prints.astype(np.float32))
    pairs: list[Duplicate] = []
    across: dict[str, int] = dict.fromkeys(KINDS, 0)
    within: dict[str, int] = dict.fromkeys(KINDS, 0)
    for group in groups:
        step = max(1, AT_ONCE // len(group))
        for start in range(0, len(group), step):
            for one in _pairs_in(found, by, group, slice(start, start + step)):
                apart = bool(found.truth[one.first] != found.truth[one.second])
                (across if apart else within)[one.kind] += 1
                if apart:
                    pairs.append(one)
        pairs = sorted(pairs, key=_order)[:most]
    return Duplicates(tuple(sorted(pairs, key=_order)), across, within, whole)


def _order(pair: Duplicate) -> tuple[int, float, int, int]:
    return KINDS.index(pair.kind), -pair.likeness, pair.first, pair.second


def _by_answer(predicted: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    order = np.argsort(predicted, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(predicted[order])) + 1)


@dataclass(frozen=True, eq=False)
class _Compared:
    """What pictures are compared by, in float32: embeddings about their mean and thumbnails, each of length 1."""

    embeddings: NDArray[np.float32]
    prints: NDArray[np.float32]


def _pairs_in(found: Outcomes, by: _Compared, group: NDArray[np.int64], some: slice) -> list[Duplicate]:
    """The pairs of some rows of a group with all that come after them."""
    mine, rest = group[some], group[some.start :]
    alike = by.embeddings[mine] @ by.embeddings[rest].T
    ours, theirs = by.prints[mine], by.prints[rest].T
    plain, turned = ours @ theirs, _mirrored(ours) @ theirs
    later = np.arange(len(rest))[None] > np.arange(len(mine))[:, None]
    held = []
    nearer = np.maximum(plain, turned)
    for row, column in np.argwhere(later & ((nearer >= COPY) | ((alike >= ALIKE) & (nearer >= ROUGHLY)))):
        first, second = int(mine[row]), int(rest[column])
        copied, mirror, cosine = float(plain[row, column]), float(turned[row, column]), float(alike[row, column])
        if found.digests[first] == found.digests[second]:
            held.append(Duplicate(first, second, "identical", 1.0))
        elif max(copied, mirror) >= COPY:
            kind: Kind = "near copy" if copied >= mirror else "mirrored"
            held.append(Duplicate(first, second, kind, max(copied, mirror)))
        else:
            held.append(Duplicate(first, second, "alike", cosine))
    return held


def _mirrored(prints: NDArray[np.float32]) -> NDArray[np.float32]:
    side = round(prints.shape[1] ** 0.5)
    if side * side != prints.shape[1]:
        return prints
    return np.ascontiguousarray(prints.reshape(-1, side, side)[:, :, ::-1]).reshape(len(prints), -1)
