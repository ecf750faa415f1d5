"""evaluate: maps of several methods on a data set, judged by several metrics beside controls."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from cnnviz.core.target import TargetLike
from cnnviz.engine.batching import in_slices
from cnnviz.engine.undisturbed import fixed_threads
from cnnviz.errors import PictureError, UsageError
from cnnviz.evaluation.evaluation import Evaluation
from cnnviz.evaluation.study.assessor import Assessor, Found
from cnnviz.evaluation.study.candidates import MethodsLike
from cnnviz.evaluation.study.design import DataLike, StudyDesign, StudySettings
from cnnviz.evaluation.study.store import Store, agree_on_study
from cnnviz.method import interruptible
from cnnviz.methods.scan.loader import example_shape, load_blocks
from cnnviz.methods.scan.manifest import Manifest
from cnnviz.methods.scan.processes import conditions, own_numbers, processes
from cnnviz.methods.scan.scope import JobShare
from cnnviz.models.model import Model
from cnnviz.provenance import Provenance, asking

__all__ = ["evaluate", "evaluate_shard"]

BOXES: Final = "max-box-acc"


@interruptible
def evaluate(
    model: Model,
    data: DataLike,
    methods: MethodsLike,
    metrics: str | Sequence[str] | None = None,
    *,
    masks: str | os.PathLike[str] | None = None,
    boxes: str | os.PathLike[str] | None = None,
    target: TargetLike = None,
    layers: str | Sequence[str] = (),
    budget: int | None = None,
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
    block: int | None = None,
    threads: int | None = None,
    workers: int | None = None,
    settings: Mapping[str, Any] | None = None,
    **more: Any,
) -> Evaluation:
    """How good the maps of several methods are on a data set, measured, beside controls, with intervals.

    Every picture is explained by every method and by four controls (random numbers, a Gaussian in the centre, the
    picture's edges, a constant map), and all maps of a picture are judged by every metric. Pictures that cannot be read
    are listed, and the work goes on.

    With ``folder`` what was found is written there, block by block; stopped at any moment, the same call goes on where
    it was. Under ``torchrun`` its processes share the work. The values have the same bytes however they were found.

    Args:
        model: The network.
        data: A folder of pictures, a list of them, ``"shapes:500"`` or whatever else ``open_dataset`` opens; also
            images as all methods take them.
        methods: Methods that give maps, separated by commas; ``gradcam@layer3`` is one at a layer of its own. Or a
            mapping from your own names to these, or to functions ``(model, inputs, targets) -> maps``: from inputs
            ``(N, C, H, W)``, as the network takes them, and N classes to maps ``(N, H, W)``.
        metrics: Metrics, separated by commas; default: deletion, insertion, SRG and average drop, and where the
            objects are known pointing game, mass and IoU.
        masks: A folder with a PNG for each picture: 255 where the object is, 128 where nothing is counted.
        boxes: A JSON file of boxes, plain or COCO's, instead.
        target: What is explained: None is each image's top class, ``"label"`` its class in the data set; a class or
            anything else that methods take, or one for each image.
        layers: Layers at which every method that looks at one is judged.
        budget: Most steps of each deletion and insertion curve; default: 28.
        seed: Seed for everything drawn at random.
        folder: Folder for what is found; default: it is held in memory.
        block: Pictures explained together; default: the folder's own, or 8 on the CPU and 128 on a GPU.
        threads: CPU threads that compute; default: with a folder its own or 1, else as many as torch uses.
        workers: Processes that read pictures; default: up to 4.
        settings: Settings by name, such as ``{"window": 48}``, given to every method that has them.
        **more: Likewise, of those whose names are not taken here, such as ``layer`` or ``batch_size``.

    Returns:
        The values of every picture, method and metric; draws itself as intervals, and saves itself as a table.

    Raises:
        UnknownNameError: If there is no such method, metric, layer or label.
        UsageError: If a method gives no maps, a metric needs masks and there are none, or no method has a setting.
        PictureError: If the data set cannot be opened, or not one of its pictures be used.
        OutputError: If the folder holds a study of something else, cannot be written, or lacks other jobs' shards.
    """
    how = StudySettings(None if folder is None else Path(folder), block, threads, workers)
    question = StudyDesign.of(
        model, data, methods, metrics, masks=masks, boxes=boxes, target=target, layers=layers, budget=budget, seed=seed,
        settings={**(settings or {}), **more},
    )  # fmt: skip
    with asking(question.question):
        manifest, parts, _ = _find_parts(question, how)
        return _read(question, manifest, parts)


@interruptible
def evaluate_shard(
    model: Model,
    data: DataLike,
    methods: MethodsLike,
    metrics: str | Sequence[str] | None = None,
    *,
    folder: str | os.PathLike[str],
    shard: str,
    masks: str | os.PathLike[str] | None = None,
    boxes: str | os.PathLike[str] | None = None,
    target: TargetLike = None,
    layers: str | Sequence[str] = (),
    budget: int | None = None,
    seed: int = 0,
    block: int | None = None,
    threads: int | None = None,
    workers: int | None = None,
    settings: Mapping[str, Any] | None = None,
    **more: Any,
) -> int:
    """A job's share of the work of ``evaluate``, which gives the whole once all jobs have done theirs in that folder.

    Args:
        model: As ``evaluate`` takes it, and so are all others that are not said here.
        data: The pictures.
        methods: The methods.
        metrics: The metrics.
        folder: Folder for what is found, which all jobs see.
        shard: ``"2/3"`` does the second third of the work.
        masks: A folder of masks.
        boxes: A file of boxes.
        target: What is explained.
        layers: Layers at which methods are judged.
        budget: Most steps of each curve.
        seed: Seed for everything drawn at random.
        block: Pictures explained together.
        threads: CPU threads that compute.
        workers: Processes that read pictures.
        settings: Settings by name, given to every method that has them.
        **more: Likewise.

    Returns:
        How many parts were found; 0 where all were there.

    Raises:
        CnnvizError: As ``evaluate`` does.
    """
    how, share = StudySettings(Path(folder), block, threads, workers), JobShare.parse(shard)
    question = StudyDesign.of(
        model, data, methods, metrics, masks=masks, boxes=boxes, target=target, layers=layers, budget=budget, seed=seed,
        settings={**(settings or {}), **more},
    )  # fmt: skip
    return _find_parts(question, how, share)[2]


def _find_parts(
    question: StudyDesign, how: StudySettings, share: JobShare | None = None
) -> tuple[Manifest, Store, int]:
    """Find what is missing, or a job's share of it; and how many parts that were."""
    team = processes(question.model.device)
    if how.folder is None and team.count > 1:
        raise UsageError("Processes that evaluate together need a folder for what they find, which all of them see.")
    wanted = question.manifest(how)
    manifest = team.first(lambda: agree_on_study(how.folder, wanted, how.left_open))
    parts = Store(how.folder, manifest)
    missing = team.first(parts.missing)
    with conditions(question.model), fixed_threads(int(manifest["threads"])):
        ours = own_numbers(missing, team, share)
        number = team.all(lambda: _find(question, manifest, parts, ours, how.workers))
    return manifest, parts, number


def _find(question: StudyDesign, manifest: Manifest, parts: Store, numbers: Sequence[int], workers: int | None) -> int:
    """Find some parts; how many they were."""
    if not numbers:
        return 0
    model, data = question.model, question.data
    assessor = Assessor(
        model,
        data,
        question.candidates,
        question.measurements,
        targets=question.targets,
        annotations=question.annotations,
        seed=int(manifest["seed"]),
        batch_size=question.batch_size,
    )
    shape = example_shape(model, data)
    assessor.warm(next(load_blocks(model, data, [0], shape=shape, size=int(manifest["block"]), workers=0)))
    blocks = [block for number in numbers for block in manifest.blocks_of(number)]
    ends = {manifest.blocks_of(number)[-1]: number for number in numbers}
    loaded = load_blocks(model, data, blocks, shape=shape, size=int(manifest["block"]), workers=workers)
    held: list[Found] = []

    def ask(_some: slice) -> None:
        block = next(loaded)
        held.append(assessor.assess(block))
        if (number := ends.get(block.number)) is not None:
            parts.keep(number, Found.joined(held))
            held.clear()

    in_slices(len(blocks), ask, size=1)
    return len(numbers)


def _read(question: StudyDesign, manifest: Manifest, parts: Store) -> Evaluation:
    """Everything that was found."""
    several = list(parts.read())
    found = _at_best_thresholds(Found.joined(several), [one.metric.name for one in question.measurements])
    data = question.data
    if not len(found.images):
        raise PictureError(f"No picture of the data set could be used. The first: {found.failures[0][1]}")
    provenance = Provenance(
        model=question.model.describe(),
        images=({"name": data.name, "sha256": data.fingerprint, "kind": "dataset"},),
        device=question.model.device.type,
        dtype=str(manifest["dtype"]),
        threads=int(manifest["threads"]),
        chunk=int(manifest["block"]),
        seed=int(manifest["seed"]),
    )
    return Evaluation(
        values=found.values,
        curves=found.curves,
        images=tuple(data.keys[image] for image in found.images.tolist()),
        targets=tuple(found.targets),
        scores=found.scores,
        probabilities=found.probabilities,
        candidates=question.candidates,
        metrics=tuple(one.metric for one in question.measurements),
        model=question.model.name,
        data=data.name,
        failures=tuple((data.keys[image], sentence) for image, sentence in sorted(found.failures)),
        costs=_costs(several),
        seed=int(manifest["seed"]),
        provenance=provenance,
        source=question,
    ).completed()


def _at_best_thresholds(found: Found, metrics: Sequence[str]) -> Found:
    """The same with MaxBoxAccV2 at each method's best thresholds of the data set, not of each picture."""
    if BOXES not in found.curves:
        return found
    from cnnviz.evaluation.localisation import at_best_thresholds

    values, curves = found.values.copy(), dict(found.curves)
    hits = curves.pop(BOXES)
    for row in range(hits.shape[1]):
        values[:, row, metrics.index(BOXES)] = at_best_thresholds(hits[:, row])
    return replace(found, values=values, curves=curves)


def _costs(several: Sequence[Found]) -> dict[str, tuple[float, float]]:
    """Forwards and seconds an image of every method's maps; of parts whose costs are known."""
    found: dict[str, tuple[float, float]] = {}
    for name in dict.fromkeys(name for each in several for name in each.costs):
        known = [(each.costs[name], len(each.images)) for each in several if name in each.costs and len(each.images)]
        images = sum(count for _, count in known)
        if images:
            totals = sum(meter.forwards for meter, _ in known), sum(meter.seconds for meter, _ in known)
            found[name] = totals[0] / images, totals[1] / images
    return found
