"""evaluate: maps of several methods on a data set, judged by several metrics beside controls."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import torch

from cnnviz.core.change import contextmanager
from cnnviz.core.dimensions import KINDS, PICTURE
from cnnviz.core.parse_target import parse_target
from cnnviz.core.similar import Similar, SimilarPair
from cnnviz.core.target import ClassTarget, DetectionTarget, RegionTarget, Target, TargetLike, TopClass, named_class
from cnnviz.engine.batching import in_slices, usual_size
from cnnviz.engine.undisturbed import fixed_threads, reproducible, undisturbed
from cnnviz.errors import ParameterError, PictureError, TargetError, UsageError
from cnnviz.evaluation.evaluation import Evaluation
from cnnviz.evaluation.metric import METRICS
from cnnviz.evaluation.study.annotations import Annotations, open_annotations
from cnnviz.evaluation.study.candidates import Candidate, MethodsLike, control_candidates, read_candidates
from cnnviz.evaluation.study.judge import Found, Judge, Measurement, read_metrics
from cnnviz.evaluation.study.parts import Parts, agree_on_study
from cnnviz.images.datasets.dataset import Dataset
from cnnviz.images.datasets.open import open_dataset
from cnnviz.images.reading import ImagesLike
from cnnviz.method import MOST_SEED, check_network, interruptible
from cnnviz.methods.scan.loader import example_shape, load_blocks
from cnnviz.methods.scan.manifest import IDENTITY, Manifest
from cnnviz.methods.scan.scan import Processes, processes
from cnnviz.methods.scan.scope import JobShare
from cnnviz.models.model import Model
from cnnviz.models.origin import file_digest
from cnnviz.provenance import Provenance, __version__, asking, plain

__all__ = ["evaluate"]

DataLike: TypeAlias = Dataset | ImagesLike

USUAL: Final = ("deletion", "insertion", "srg", "average-drop")
USUAL_WITH_MASKS: Final = (*USUAL, "pointing", "mass", "iou")
"""What is measured where nothing is named: without annotation, and with it."""

LABEL: Final = "label"
"""The target that is each picture's own class."""

MOST_PARTS: Final = 1024
LAYOUT: Final = 1


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
    shard: str | None = None,
    block: int | None = None,
    threads: int | None = None,
    workers: int | None = None,
    **settings: Any,
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
        shard: ``"2/3"`` does the second third of the work in that folder; without it, the same call gives the whole.
        block: Pictures explained together; default: the folder's own, or 8 on the CPU and 128 on a GPU.
        threads: CPU threads that compute; default: with a folder its own or 1, else as many as torch uses.
        workers: Processes that read pictures; default: up to 4.
        **settings: Settings such as ``layer`` or ``batch_size``, given to every method that has them.

    Returns:
        The values of every picture, method and metric; draws itself as intervals, and saves itself as a table.

    Raises:
        UnknownNameError: If there is no such method, metric, layer or label.
        UsageError: If a method gives no maps, a metric needs masks and there are none, or no method has a setting.
        PictureError: If the data set cannot be opened, or not one of its pictures be used.
        OutputError: If the folder holds a study of something else, cannot be written, or lacks other jobs' shards.
    """
    check_network(model)
    if model.places != PICTURE:
        raise UsageError(f"evaluate judges maps of pictures; '{model.name}' takes {KINDS[model.places]}s.")
    opened = open_dataset(data, entrance=model.preprocess.entrance)
    annotations = open_annotations(opened, masks, boxes)
    measurements = read_metrics(_metric_names(metrics, annotated=annotations is not None), _positive("budget", budget))
    _check_needs(measurements, annotations)
    candidates = (*read_candidates(model, methods, layers, settings), *control_candidates())
    question = _Question(model, opened, candidates, measurements, _targets_of(model, opened, target), annotations)
    place = None if folder is None else Path(folder)
    share = None if shard is None else JobShare.parse(shard)
    if share is not None and place is None:
        raise UsageError("Jobs that share the work need a folder for what they find, which all of them see.")
    asked = {
        "methods": _describe_methods(methods),
        "metrics": [one.metric.name for one in measurements],
        "layers": plain(layers) or None,
        "masks": _describe_masks(masks),
        "boxes": None if boxes is None else {"file": Path(boxes).name, "sha256": file_digest(Path(boxes))},
        "target": plain(target),
        "budget": budget,
        "seed": _seed(seed),
        **{name: plain(value) for name, value in settings.items()},
    }
    wanted = _manifest(question, asked, block=_positive("block", block), threads=threads, placed=place is not None)
    with asking({name: value for name, value in asked.items() if value is not None}):
        return _study(question, wanted, place, share, workers, left=_left_open(block, threads))


@dataclass(frozen=True)
class _Question:
    """What is judged, by what, on which pictures."""

    model: Model
    data: Dataset
    candidates: tuple[Candidate, ...]
    measurements: tuple[Measurement, ...]
    targets: Callable[[int], Target]
    annotations: Annotations | None


def _study(
    question: _Question,
    wanted: Manifest,
    folder: Path | None,
    share: JobShare | None,
    workers: int | None,
    *,
    left: Sequence[str],
) -> Evaluation:
    """Find what is missing, and read all of it."""
    team = processes(question.model.device)
    if folder is None and team.count > 1:
        raise UsageError("Processes that evaluate together need a folder for what they find, which all of them see.")
    manifest = team.first(lambda: agree_on_study(folder, wanted, left))
    parts = Parts(folder, manifest)
    missing = team.first(parts.missing)
    with _conditions(question.model, int(manifest["threads"])):
        ours = _own_parts(missing, team, share)
        team.all(lambda: _find(question, manifest, parts, ours, workers))
    return _read(question, manifest, parts)


def _own_parts(missing: Sequence[int], team: Processes, share: JobShare | None) -> list[int]:
    ours = [number for number in missing if share is None or number % share.jobs == share.job - 1]
    return ours[team.rank :: team.count]


@contextmanager
def _conditions(model: Model, threads: int) -> Iterator[None]:
    """The network in evaluation mode, deterministic, on so many threads, whatever was switched on around."""
    device = model.device
    with (
        undisturbed(model.module),
        reproducible(device),
        torch.cuda.device(device) if device.type == "cuda" else nullcontext(),
        torch.autocast(device.type, enabled=False),
        fixed_threads(threads),
    ):
        yield


def _find(question: _Question, manifest: Manifest, parts: Parts, numbers: Sequence[int], workers: int | None) -> int:
    """Find some parts; how many they were."""
    if not numbers:
        return 0
    model, data = question.model, question.data
    judge = Judge(
        model,
        data,
        question.candidates,
        question.measurements,
        targets=question.targets,
        annotations=question.annotations,
        seed=int(manifest["seed"]),
    )
    shape = example_shape(model, data)
    judge.warm(next(load_blocks(model, data, [0], shape=shape, size=int(manifest["block"]), workers=0)))
    blocks = [block for number in numbers for block in manifest.blocks_of(number)]
    ends = {manifest.blocks_of(number)[-1]: number for number in numbers}
    loaded = load_blocks(model, data, blocks, shape=shape, size=int(manifest["block"]), workers=workers)
    held: list[Found] = []

    def ask(_some: slice) -> None:
        block = next(loaded)
        held.append(judge.judge(block))
        if (number := ends.get(block.number)) is not None:
            parts.keep(number, Found.joined(held))
            held.clear()

    in_slices(len(blocks), ask, size=1)
    return len(numbers)


def _read(question: _Question, manifest: Manifest, parts: Parts) -> Evaluation:
    """Everything that was found."""
    several = list(parts.read())
    found = Found.joined(several)
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


def _metric_names(metrics: str | Sequence[str] | None, *, annotated: bool) -> list[str]:
    if metrics is None:
        return list(USUAL_WITH_MASKS if annotated else USUAL)
    names = [each.strip() for each in metrics.split(",")] if isinstance(metrics, str) else list(metrics)
    names = [str(each).replace("_", "-") for each in names if each]
    if not names:
        raise UsageError(f"Name at least one metric; there are {', '.join(METRICS)}.")
    return names


def _check_needs(measurements: Sequence[Measurement], annotations: Annotations | None) -> None:
    lacking = [one.metric.name for one in measurements if one.metric.needs == "mask"] if annotations is None else []
    if lacking:
        raise UsageError(
            f"{', '.join(lacking)}: needs to know where the objects are; give masks (a folder of PNGs) or boxes (a "
            "JSON file), or evaluate on drawn scenes, shapes:COUNT, which know it."
        )


def _targets_of(model: Model, data: Dataset, like: Any) -> Callable[[int], Target]:
    """From the number of a picture to what is explained of it."""
    if isinstance(like, str) and like.strip() == LABEL and LABEL not in (model.labels or ()):
        return _own_classes(model, data)
    if isinstance(like, (list, tuple)) or getattr(like, "ndim", 0) == 1:
        several = list(like)
        if len(several) != len(data):
            raise TargetError(f"Give one target for all, or one for each: {len(several)} targets, {len(data)} images.")
        parsed = {index: _parse(model, each) for index, each in enumerate(several)}
        return parsed.__getitem__
    one = _parse(model, like)
    return lambda _: one


def _parse(model: Model, like: Any) -> Target:
    target = TopClass() if like is None else parse_target(like, model.labels, model.layer_names)
    if isinstance(target, (Similar, SimilarPair, DetectionTarget)) or (
        isinstance(target, RegionTarget) and (target.region is not None or target.peak)
    ):
        raise TargetError(
            f"evaluate explains classes, of one picture as of many; '{like}' is about a place or a picture."
        )
    return target


def _own_classes(model: Model, data: Dataset) -> Callable[[int], Target]:
    """Each picture's class in the data set as the network's class of that name, or of that number."""
    if data.classes is None:
        raise TargetError(f"The data set '{data.name}' has no classes, so 'label' says nothing; name a class.")
    labels = list(model.labels or ())
    lower = {label.casefold(): index for index, label in enumerate(labels)}
    named = [lower.get(name.casefold()) for name in data.classes]
    if labels and None in named:
        unknown = data.classes[named.index(None)]
        raise TargetError(f"The data set's class '{unknown}' is none of the network's; name classes as it does.")
    indices = [at for at in named if at is not None] if labels else list(range(len(data.classes)))

    def target(index: int) -> ClassTarget:
        own = data.label(index)
        if own is None:
            raise TargetError(f"'{data.keys[index]}' has no class in the data set, so 'label' says nothing of it.")
        return named_class(indices[own], model.labels)

    return target


def _manifest(
    question: _Question, asked: Mapping[str, Any], *, block: int | None, threads: int | None, placed: bool
) -> Manifest:
    """All that decides over the values."""
    model, data = question.model, question.data
    size = block or min(usual_size(model.device), len(data))
    blocks = -(-len(data) // size)
    usual = 1 if placed else torch.get_num_threads()
    told = model.describe()
    held = {
        "layout": LAYOUT,
        "network": {name: told[name] for name in IDENTITY if name in told},
        "data": data.describe(),
        "methods": [[each.name, each.method, each.layer, plain(each.settings)] for each in question.candidates],
        "metrics": [[one.metric.name, dict(one.settings)] for one in question.measurements],
        "annotations": [asked["masks"], asked["boxes"]],
        "target": asked["target"],
        "seed": asked["seed"],
        "block": int(size),
        "blocks_a_shard": max(1, -(-blocks // MOST_PARTS)),
        "threads": _positive("threads", threads) or usual,
        "device": model.device.type
        if model.device.type != "cuda"
        else f"cuda, {torch.cuda.get_device_name(model.device)}",
        "dtype": str(model.dtype).removeprefix("torch."),
        "versions": {"cnnviz": __version__, "torch": str(torch.__version__), "numpy": np.__version__},
    }
    return Manifest(json.loads(json.dumps(held)))


def _left_open(block: int | None, threads: int | None) -> list[str]:
    given = {"block": block, "threads": threads}
    return ["blocks_a_shard", *(name for name, value in given.items() if value is None)]


def _describe_methods(methods: MethodsLike) -> Any:
    if isinstance(methods, Mapping):
        return {str(name): plain(what) for name, what in methods.items()}
    return [each.strip() for each in methods.split(",") if each.strip()] if isinstance(methods, str) else plain(methods)


def _describe_masks(masks: str | os.PathLike[str] | None) -> dict[str, str] | None:
    """A folder of masks as a record names it."""
    if masks is None:
        return None
    held = open_dataset(Path(masks), classes=False)
    return {"kind": "dataset", "name": held.name, "sha256": held.fingerprint}


def _positive(name: str, value: int | None) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < 1:
        raise ParameterError(f"{name} must be a whole number of at least 1; got {value!r}.")
    return int(value)


def _seed(value: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or not 0 <= int(value) <= MOST_SEED:
        raise ParameterError(f"seed must be a whole number from 0 to {MOST_SEED}; got {value!r}.")
    return int(value)
