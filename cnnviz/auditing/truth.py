"""Truth: the true classes of a data set as the network's own, and the groups that its pictures belong to."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from cnnviz.auditing.class_names import ClassNames, Match
from cnnviz.auditing.class_table import read_class_table
from cnnviz.core.target import named_class
from cnnviz.errors import PictureError, UsageError, quoted
from cnnviz.images.datasets.dataset import NO_CLASS, Dataset

if TYPE_CHECKING:
    from cnnviz.models.model import Model

__all__ = ["Truth", "name_true_classes", "true_classes"]

NAMED: Final = 6
"""Names that a sentence lists."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The true class of every picture of a data set.

    Attributes:
        classes: ``(N,)`` int64: the network's class, -1 for a picture without one, or with one that it does not have.
        labels: What the network's classes are called; those of a network without labels after the data set, or
            ``class 0`` and so on.
        unknown: Names that are none of the network's classes, each with how many pictures have it.
        unlabelled: How many pictures have no class.
        groups: Columns of the table by name: for each picture a value, empty where the table has none.
        notes: What was decided and left out, a sentence each.
    """

    classes: NDArray[np.int64]
    labels: tuple[str, ...]
    unknown: Mapping[str, int] = field(default_factory=dict)
    unlabelled: int = 0
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def known(self) -> int:
        """How many pictures have a class that the network has."""
        return int((self.classes >= 0).sum())


def true_classes(model: Model, data: Dataset, labels: str | os.PathLike[str] | None = None) -> Truth:
    """The true classes of a data set as the network's own.

    The data set's classes (folders, tars, a list, Hugging Face) or those of a table are looked for among the network's
    labels, whatever their case and with spaces, underscores and hyphens alike, then by WordNet id (``n02123045``) where
    the network's classes are ImageNet's, then by index. A network without labels whose classes are as many as the data
    set's has them in the order of their names, as torchvision's ``ImageFolder`` does; a note says so.

    Args:
        model: The network.
        data: The data set.
        labels: A table of pictures and classes (CSV), instead of the data set's own classes; further columns are
            groups.

    Raises:
        UsageError: If the table cannot be read.
        PictureError: If neither the data set nor the table has classes.
    """
    table = None if labels is None else read_class_table(labels, data.keys)
    names, numbers = _given_classes(data, None if table is None else table.classes)
    if not names:
        raise PictureError(
            f"The pictures of '{data.name}' have no true classes; put them in a folder for each class, or name a table "
            "of pictures and classes (CSV)."
        )
    outputs = len(model.labels) if model.labels else _count_outputs(model)
    found, shown, notes = _match(model, outputs, names, np.bincount(numbers[numbers >= 0], minlength=len(names)))
    indices = np.array([NO_CLASS if each.index is None else each.index for each in found], dtype=np.int64)
    classes = np.where(numbers >= 0, indices[numbers.clip(min=0)], NO_CLASS).astype(np.int64)
    counts = Counter(numbers[(numbers >= 0) & (classes < 0)].tolist())
    unlabelled = int((numbers < 0).sum())
    return Truth(
        classes,
        shown,
        {names[number]: count for number, count in counts.items()},
        unlabelled,
        {} if table is None else table.groups,
        (
            *(() if table is None else table.notes),
            *notes,
            *([f"pictures without a class, which are left out: {unlabelled}"] if unlabelled else []),
            *_say_unknown(names, found, counts),
        ),
    )


FOLDERS: Final = "folders"


def name_true_classes(
    model: Model, files: Sequence[Path], truth: str | os.PathLike[str]
) -> tuple[list[str | None], tuple[str, ...]]:
    """The true classes of some files as captions name them, None where they are not known; and notes.

    Args:
        model: The network.
        files: The pictures.
        truth: A table of pictures and classes (CSV), or ``"folders"``: each picture's folder is its class.

    Raises:
        UsageError: If the table cannot be read, or no picture has a class that the network has.
    """
    if os.fspath(truth) == FOLDERS:
        names: list[str | None] = [file.absolute().parent.name for file in files]
        notes: tuple[str, ...] = ()
    else:
        table = read_class_table(truth, [file.as_posix() for file in files])
        names, notes = list(table.classes or ()), table.notes
        if not names:
            raise UsageError(f"The table {quoted(Path(truth).name)} has no column of classes; name one 'class'.")
    outputs = len(model.labels) if model.labels else _count_outputs(model)
    by_name = ClassNames(model.labels, outputs)
    several = list(dict.fromkeys(name for name in names if name is not None))
    found = {name: by_name.find(name) for name in several}
    lost = [name for name in several if found[name].index is None]
    if len(lost) == len(several):
        why = f"; {quoted(lost[0])} {found[lost[0]].reason}" if lost else ""
        raise UsageError(f"No picture has a true class that the network has{why}.")
    said = [
        f"true classes that are not known: {', '.join(f'{quoted(each)} {found[each].reason}' for each in lost[:3])}"
    ]

    def caption(name: str | None) -> str | None:
        index = None if name is None else found[name].index
        return None if index is None else str(named_class(index, model.labels))

    return [caption(name) for name in names], (*notes, *(said if lost else ()))


def _given_classes(data: Dataset, listed: Sequence[str | None] | None) -> tuple[Sequence[str], NDArray[np.int64]]:
    """The names of the classes, and for each picture which of them it has, -1 for none."""
    if listed is None:
        return data.classes or (), data.labels.astype(np.int64)
    names = sorted({name for name in listed if name is not None})
    number = {name: index for index, name in enumerate(names)}
    return names, np.array([NO_CLASS if name is None else number[name] for name in listed], dtype=np.int64)


def _match(
    model: Model, outputs: int, names: Sequence[str], counts: NDArray[np.int64]
) -> tuple[list[Match], tuple[str, ...], list[str]]:
    """What every name is among the network's classes, what these are called, and notes."""
    by_name = ClassNames(model.labels, outputs)
    found = [by_name.find(name) if count else Match(None) for name, count in zip(names, counts, strict=True)]
    if model.labels:
        return found, tuple(model.labels), _say_beside(names, found, model.labels)
    if all(each.index is None for each in found) and len(names) == outputs:
        note = "the network has no labels: its classes are taken to be the data set's, in the order of their names"
        return [Match(index) for index in range(outputs)], tuple(names), [note]
    return found, tuple(f"class {index}" for index in range(outputs)), []


def _count_outputs(model: Model) -> int:
    """How many classes a network without labels has, from one forward of an empty picture."""
    import torch

    preprocess = model.preprocess
    example = torch.zeros(model.fixed_batch or 1, preprocess.channels, *preprocess.input_size)
    with torch.no_grad():
        return int(model.forward(model.to_device(example)).shape[1])


def _say_beside(names: Sequence[str], found: Sequence[Match], labels: Sequence[str]) -> list[str]:
    """Of classes whose name begins another label, which one was taken."""
    several = [(name, match) for name, match in zip(names, found, strict=True) if match.beside]
    said = []
    for name, match in several[:NAMED]:
        others = " or ".join(f"{quoted(labels[at])} ({at})" for at in match.beside[:2])
        said.append(f"{quoted(name)} is class {match.index}, and not {others}")
    return [f"classes by name: {'; '.join(said)}{'; ...' if len(several) > NAMED else ''}"] if said else []


def _say_unknown(names: Sequence[str], found: Sequence[Match], counts: Counter[int]) -> list[str]:
    """Of each class that the network does not have why, the most frequent first."""
    said = [
        f"{quoted(names[number])} {found[number].reason} ({count} picture{'s' if count > 1 else ''})"
        for number, count in counts.most_common(NAMED)
    ]
    more = len(counts) - NAMED
    if not said:
        return []
    return [f"classes that are left out: {'; '.join(said)}{f'; and {more} others' if more > 0 else ''}"]
