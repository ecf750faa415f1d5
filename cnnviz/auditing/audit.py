"""audit: a network's answers on a whole data set with true classes, and what it looks at."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cnnviz.auditing.accuracy import mcnemar
from cnnviz.auditing.audit_result import Audit, Versus
from cnnviz.auditing.calibration import Calibration, calibrate, reliability
from cnnviz.auditing.cases import Cases, draw_cases
from cnnviz.auditing.doubts import find_doubts, find_duplicates
from cnnviz.auditing.frame import FrameMaps, MapSource, find_evidence, map_method, spread_rows
from cnnviz.auditing.outcomes import Outcomes, find_outcomes
from cnnviz.auditing.tables import find_checks
from cnnviz.auditing.truth import true_classes
from cnnviz.core.dimensions import PICTURE
from cnnviz.engine.batching import part_of_progress
from cnnviz.errors import ParameterError, UsageError
from cnnviz.evaluation.study.annotations import Annotations, open_annotations
from cnnviz.images.datasets.dataset import Dataset
from cnnviz.images.datasets.open import open_dataset
from cnnviz.method import MOST_SEED, interruptible
from cnnviz.models.model import Model
from cnnviz.provenance import Provenance

if TYPE_CHECKING:
    from cnnviz.auditing.shortcuts.findings import Shortcuts

__all__ = ["audit"]

PAIRS: Final = 6
"""Pairs of near-duplicates that are drawn."""


@interruptible
def audit(
    model: Model,
    data: Any,
    *,
    truth: str | os.PathLike[str] | None = None,
    against: Model | None = None,
    method: str = "gradcam",
    maps: int = 500,
    cases: int = 12,
    masks: str | os.PathLike[str] | None = None,
    boxes: str | os.PathLike[str] | None = None,
    cluster: bool = False,
    block: int | None = None,
    workers: int | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> Audit:
    """Where a network is wrong on a data set with true classes, how sure it is, and what it looks at.

    Accuracy with intervals, of every class and group; the confusion matrix; calibration, with temperature scaling
    beside it; the most confident mistakes with the maps of the answer and of the true class; labels in doubt;
    near-duplicates across classes; mean maps and shares of the evidence. Pictures without a class, with a class that
    the network does not have, and those that cannot be read are counted, and the work goes on.

    Args:
        model: The network.
        data: A folder with a folder for each class, a list, tars, ``"shapes:500"`` or whatever else ``open_dataset``
            opens.
        truth: A table of pictures and classes (CSV) instead of the data set's own; its further columns are groups.
        against: A second network that is compared on the same pictures.
        method: The method of the maps.
        maps: Of how many pictures there are maps for the mean maps, spread over the classes, and as many of mistakes;
            0 for none.
        cases: How many mistakes, unsure hits and labels in doubt are drawn; 0 for none.
        masks: A folder with a PNG for each picture: 255 where the object is, 128 where nothing is counted.
        boxes: A JSON file of boxes, plain or COCO's, instead.
        cluster: Whether shortcuts are looked for: clusters of the maps of each class, with a causal check.
        block: Pictures that are computed together; default: 8 on the CPU and 128 on a GPU.
        workers: Processes that read pictures; default: up to 4.
        seed: Seed for everything drawn at random.
        settings: Settings of the method, such as ``{"layer": "layer3"}``.

    Returns:
        The audit: prints itself, and saves itself as a page, a table or figures.

    Raises:
        PictureError: If the data set cannot be opened, has no true classes, or not one of its pictures can be used.
        UsageError: If the table cannot be read, or the method gives no such maps.
        ExplanationError: If the network gives pictures no class.
        UnknownNameError: If there is no such method or setting.
    """
    _check_numbers(maps=maps, cases=cases, seed=seed, block=block, workers=workers)
    given = {name: map_method(method).parameters[name] for name in settings or {} if _has_setting(method, name)}
    chosen = {name: given[name].check(value) for name, value in (settings or {}).items()}
    opened = open_dataset(data, entrance=model.preprocess.entrance)
    known = true_classes(model, opened, truth)
    annotations = open_annotations(opened, masks, boxes)
    request = MapSource(model, opened, method, chosen)
    how: dict[str, Any] = {"block": block, "workers": workers, "seed": seed}
    steps = 2 + (against is not None) + bool(maps)
    with part_of_progress(slice(0, 1), steps):
        found = find_outcomes(model, opened, known, **how)
    versus = None
    if against is not None:
        with part_of_progress(slice(1, 2), steps):
            versus = _compare(found, against, opened, truth, how)
    doubts, duplicates = find_doubts(found), find_duplicates(found)
    evidence = None
    if maps and model.places == PICTURE:
        with part_of_progress(slice(steps - 2, steps - 1), steps):
            evidence = _find_evidence(request, found, annotations, maps, seed)
    made = Audit(
        outcomes=found,
        truth=known,
        keys=tuple(opened.keys[image] for image in found.images.tolist()),
        model=model.name,
        data=opened.name,
        calibration=_calibrate(model, found, seed),
        doubts=doubts,
        duplicates=duplicates,
        evidence=evidence,
        cases=Cases(),
        versus=versus,
        failures=tuple((opened.keys[image], sentence) for image, sentence in found.failures),
        provenance=_record(model, opened, found, seed),
    )
    with part_of_progress(slice(steps - 1, steps), steps):
        made = replace(made, cases=_draw(request, made, cases))
    if cluster:
        made = replace(made, shortcuts=_find_shortcuts(model, opened, truth, method, seed))
    asked = {"method": method, "maps": maps, "cases": cases, "cluster": cluster, "settings": chosen}
    return replace(made, checks=find_checks(made, opened.notes)).stamped("audit", asked)


def _check_numbers(**numbers: int | None) -> None:
    least = {"maps": 0, "cases": 0, "seed": 0, "block": 1, "workers": 0}
    for name, value in numbers.items():
        if value is None and name in ("block", "workers"):
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not least[name] <= value <= MOST_SEED:
            raise ParameterError(f"{name} must be a whole number of at least {least[name]}; got {value!r}.")


def _has_setting(method: str, name: str) -> bool:
    """Whether a method has a setting.

    Raises:
        UsageError: If it has none of that name.
    """
    known = map_method(method).parameters
    if name not in known:
        raise UsageError(f"'{method}' has no setting '{name}'; it has {', '.join(known) or 'none'}.")
    return True


def _calibrate(model: Model, found: Outcomes, seed: int) -> Calibration:
    """Calibration; a temperature only where classes exclude each other and their logits are at hand."""
    if model.head.kind != "softmax":
        return Calibration(reliability(found.confidence, found.right))
    return calibrate(found.confidence, found.right, found.logits, found.truth[found.sampled], seed=seed)


def _compare(
    found: Outcomes, other: Model, data: Dataset, truth: str | os.PathLike[str] | None, how: Mapping[str, Any]
) -> Versus:
    """A second network on the pictures that both answer."""
    known = true_classes(other, data, truth)
    theirs = find_outcomes(other, data, known, **how)
    rows = np.flatnonzero(np.isin(found.images, theirs.images)).astype(np.int64)
    places = np.searchsorted(theirs.images, found.images[rows])
    if not len(rows):
        raise UsageError(f"There is no picture that '{other.name}' and the first network both have a class for.")
    right = theirs.right[places]
    return Versus(
        other.name,
        right,
        rows,
        tuple(known.labels[index] for index in theirs.predicted[places].tolist()),
        theirs.confidence[places],
        _calibrate(other, theirs, int(how["seed"])),
        mcnemar(found.right[rows], right),
    )


def _find_evidence(
    request: MapSource, found: Outcomes, annotations: Annotations | None, most: int, seed: int
) -> FrameMaps | None:
    """Maps of some pictures, spread over the classes, and of some mistakes."""
    spread = spread_rows(found.truth, most, seed)
    wrong = np.flatnonzero(~found.right)
    if len(wrong) > most:
        wrong = np.sort(np.random.default_rng(seed).choice(wrong, most, replace=False))
    rows = np.union1d(spread, wrong).astype(np.int64)
    evidence = find_evidence(request, found, rows, annotations)
    return None if evidence is None else replace(evidence, spread=np.isin(evidence.rows, spread))


def _draw(request: MapSource, made: Audit, count: int) -> Cases:
    if not count:
        return Cases()
    others = [*made.doubts.rows[:count].tolist()]
    for pair in made.duplicates.pairs[:PAIRS]:
        others += [pair.first, pair.second]
    if made.versus is not None:
        others += [row for rows in made.disagreements for row in rows[:count].tolist()]
    mistakes, hits = made.mistakes[:count], made.unsure_hits[: count // 2]
    return draw_cases(request, made.outcomes, mistakes=mistakes, hits=hits, others=others)


def _find_shortcuts(
    model: Model, data: Dataset, truth: str | os.PathLike[str] | None, method: str, seed: int
) -> Shortcuts:
    from cnnviz.auditing.shortcuts.shortcuts import shortcuts

    return shortcuts(model, data, method=method, truth=truth, seed=seed)


def _record(model: Model, data: Dataset, found: Outcomes, seed: int) -> Provenance:
    return Provenance(
        model=model.describe(),
        images=({"name": data.name, "sha256": data.fingerprint, "kind": "dataset"},),
        device=model.device.type,
        dtype=str(model.dtype).removeprefix("torch."),
        chunk=found.block,
        seed=seed,
    )
