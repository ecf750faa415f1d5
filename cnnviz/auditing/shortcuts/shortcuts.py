"""shortcuts: what a network looks at in each class of a data set, clustered, and which of it is a shortcut."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import torch

from cnnviz.auditing.shortcuts.clusters import FEWEST, require_clustering
from cnnviz.auditing.shortcuts.findings import Shortcuts
from cnnviz.auditing.shortcuts.relevance import Reader, choose_pictures, gather_relevance
from cnnviz.auditing.shortcuts.search import Search
from cnnviz.auditing.truth import Truth, true_classes
from cnnviz.core.change import contextmanager
from cnnviz.core.dimensions import PICTURE
from cnnviz.core.layer import AUTOMATIC
from cnnviz.engine.batching import in_slices, part_of_progress
from cnnviz.engine.undisturbed import reproducible, undisturbed
from cnnviz.errors import ParameterError, UnknownNameError, UsageError
from cnnviz.evaluation.study.candidates import read_candidates
from cnnviz.images.datasets.open import open_dataset
from cnnviz.method import interruptible
from cnnviz.provenance import Provenance
from cnnviz.results.patch_index import PatchIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnviz.auditing.shortcuts.relevance import Relevance
    from cnnviz.evaluation.study.candidates import Candidate
    from cnnviz.images.datasets.dataset import Dataset
    from cnnviz.models.model import Model

__all__ = ["shortcuts"]

BLOCK: Final = 32
MOST: Final = 200
FEW: Final = 30
"""Pictures of a class below which its clusters and intervals are rough."""


@interruptible
def shortcuts(
    model: Model,
    data: Any,
    classes: Sequence[str | int] | str | None = None,
    method: str = "gradcam",
    *,
    truth: str | os.PathLike[str] | None = None,
    by: Literal["maps", "channels"] = "maps",
    most: int = MOST,
    layer: str | None = None,
    patches: PatchIndex | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    workers: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Shortcuts:
    """Which places a network looks at in the pictures of each class, and which of them are shortcuts.

    The maps of a class's pictures for that class are clustered as spectral relevance analysis does (SpRAy; Lapuschkin
    et al., 2019). Of the whole class and of each cluster the place that the maps look at, and whose content its
    pictures have in common, is then put to the test. It is a shortcut if covering it on the cluster's pictures lowers
    the class's probability, and putting the common content on pictures of other classes, at the same place, raises it,
    both beyond the 95 % bootstrap interval, the latter by more than 10 points, and in the mean of more than half of the
    other classes.

    What is found is a mark that looks alike and lies at the same place: a logo, a border, a date. Not found are marks
    that move, and whatever has no place. Objects that look the same at the same place in all pictures of a cluster may
    be flagged too: look at the pictures.

    Args:
        model: A classifier of pictures.
        data: A data set with classes: a folder of folders, tars, ``"shapes:2000"`` or whatever ``open_dataset`` opens.
        classes: The classes to look at, by name or index; default: all that have at least 10 pictures.
        method: The method that gives the maps.
        truth: A table of pictures and classes (CSV), instead of the data set's own.
        by: Cluster pictures by their ``"maps"``, or by what each of the layer's ``"channels"`` adds to the score.
        most: Pictures of a class that are looked at, spread evenly over the data set.
        layer: The layer of the maps and channels; default: the last spatial one.
        patches: An index of patches (``cnnviz.scan_patches``): the channels of its layer are told, with the pictures
            that excite them most.
        seed: Of everything drawn at random.
        batch_size: Pictures at once; default: 32.
        workers: Processes that read pictures; default: up to 4.
        settings: Settings of the method by name.

    Returns:
        The clusters of every class and the flagged ones; draws itself and saves itself as a page or a table.

    Raises:
        MissingExtraError: If scikit-learn is not installed.
        UsageError: If the data set has no classes, or fewer than two of them can be used.
        UnknownNameError: If there is no such method, layer or class.
        ParameterError: If a setting is out of its range.
        PictureError: If the data set cannot be opened, or not one of its pictures be used.
    """
    require_clustering()
    _check(model, by, most, batch_size)
    dataset = open_dataset(data, entrance=model.preprocess.entrance)
    known = true_classes(model, dataset, truth)
    asked = _choose_classes(known, classes)
    named = {} if layer is None else {"layer": layer}
    candidates = read_candidates(model, method, settings={**(settings or {}), **named})
    if len(candidates) != 1:
        raise UsageError("Shortcuts are looked for with one method at a time.")
    reader = Reader(model, dataset, batch_size or model.fixed_batch or BLOCK, workers)
    with _conditions(model):
        relevance = _gather(reader, candidates[0], known, asked, most=most, seed=seed)
        search = Search(
            reader, relevance, known.labels, _layer_of(patches, layer), patches, by_channel=by == "channels", seed=seed
        )
        usable = [index for index in asked if (relevance.classes == index).any()]
        with part_of_progress(slice(1, 2), 2):
            found = in_slices(len(usable), lambda some: search.search(usable[some.start]), size=1)
    failures = tuple((dataset.keys[image], sentence) for image, sentence in relevance.failures)
    checks = _find_checks(known, relevance, asked, failures)
    told = {"by": by, "most": most, **({} if layer is None else {"layer": layer})}
    return Shortcuts(
        classes=tuple(found.results),
        keys=dataset.keys,
        model=model.name,
        data=dataset.name,
        method=candidates[0].proper,
        pictures=len(relevance.images),
        failures=failures,
        checks=checks,
        provenance=_record(model, dataset, seed).stamped("shortcuts", {"method": candidates[0].name, **told}, checks),
        source=reader,
    )


def _check(model: Model, by: str, most: int, batch_size: int | None) -> None:
    if model.places != PICTURE:
        raise UsageError("Shortcuts are looked for in pictures; this network takes none.")
    if by not in ("maps", "channels"):
        raise ParameterError(f"by is 'maps' or 'channels', not {by!r}.")
    for name, value, least in (("most", most, FEWEST), ("batch_size", batch_size, 1)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
            raise ParameterError(f"{name} must be a whole number of at least {least}; got {value!r}.")


def _choose_classes(truth: Truth, classes: Sequence[str | int] | str | None) -> list[int]:
    """The classes that are looked at, as indices: those named, or all with enough pictures."""
    counts = np.bincount(truth.classes[truth.classes >= 0], minlength=len(truth.labels))
    if np.count_nonzero(counts) < 2:
        raise UsageError("Pictures of at least two of the network's classes are needed: a mark is tried on others.")
    if classes is None:
        found = np.flatnonzero(counts >= FEWEST).tolist()
        if not found:
            raise UsageError(f"No class has {FEWEST} pictures, which are needed to look for what they have in common.")
        return found
    named = [each.strip() for each in classes.split(",")] if isinstance(classes, str) else list(classes)
    return sorted({_index_of(truth, each, counts) for each in named})


def _index_of(truth: Truth, name: str | int, counts: NDArray[np.int64]) -> int:
    """A class by its name or index."""
    plain = str(name).casefold().replace("_", " ")
    index = next((at for at, label in enumerate(truth.labels) if label.casefold().replace("_", " ") == plain), None)
    if index is None and plain.isdecimal() and int(plain) < len(truth.labels):
        index = int(plain)
    if index is None:
        raise UnknownNameError("class", str(name), truth.labels)
    if counts[index] < FEWEST:
        raise UsageError(
            f"'{truth.labels[index]}' has {counts[index]} pictures in the data set; at least {FEWEST} are needed."
        )
    return index


def _gather(
    reader: Reader, candidate: Candidate, truth: Truth, asked: Sequence[int], *, most: int, seed: int
) -> Relevance:
    """Relevance of the classes asked for; of one class alone pictures of the others stand beside it."""
    every = np.unique(truth.classes[truth.classes >= 0]).tolist()
    images = choose_pictures(truth.classes, asked if len(asked) > 1 else every, most)
    with part_of_progress(slice(0, 1), 2):
        return gather_relevance(reader, candidate.explain, images, truth.classes[images], seed=seed)


@contextmanager
def _conditions(model: Model) -> Iterator[None]:
    """The network in evaluation mode and deterministic."""
    device = model.device
    with undisturbed(model.module), reproducible(device), torch.autocast(device.type, enabled=False):
        yield


def _layer_of(patches: PatchIndex | None, layer: str | None) -> str:
    """The layer whose channels are told."""
    if patches is None:
        return layer or AUTOMATIC
    if layer is not None and layer not in patches.layers:
        raise UsageError(f"The index of patches has no layer '{layer}'; it has {', '.join(patches.layers)}.")
    return layer or next(iter(patches.layers))


def _find_checks(
    truth: Truth, relevance: Relevance, asked: Sequence[int], failures: Sequence[tuple[str, str]]
) -> tuple[str, ...]:
    """What the user should know."""
    checks = [*truth.notes]
    counts = {index: int((relevance.classes == index).sum()) for index in asked}
    few = [truth.labels[index] for index, count in counts.items() if count < FEW]
    if few:
        named = ", ".join(few[:6]) + (f" and {len(few) - 6} others" if len(few) > 6 else "")
        checks.append(f"fewer than {FEW} pictures, so that clusters and intervals are rough: {named}")
    if failures:
        number = len(failures)
        checks.append(f"{number} picture{'s' if number > 1 else ''} could not be used; the first: {failures[0][1]}")
    return tuple(checks)


def _record(model: Model, data: Dataset, seed: int) -> Provenance:
    return Provenance(
        model=model.describe(),
        images=({"name": data.name, "sha256": data.fingerprint, "kind": "dataset"},),
        device=model.device.type,
        dtype=str(model.dtype).removeprefix("torch."),
        seed=seed,
    )
