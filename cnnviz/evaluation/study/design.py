"""The design of a study: what is judged, by what, on which pictures, about which classes; what decides over values."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import torch

from cnnviz.core.dimensions import KINDS, PICTURE
from cnnviz.core.parse_target import parse_target
from cnnviz.core.similar import Similar, SimilarPair
from cnnviz.core.target import ClassTarget, DetectionTarget, RegionTarget, Target, TargetLike, TopClass, named_class
from cnnviz.engine.batching import usual_size
from cnnviz.errors import ParameterError, TargetError, UsageError
from cnnviz.evaluation.metric import METRICS
from cnnviz.evaluation.study.annotations import Annotations, open_annotations
from cnnviz.evaluation.study.assessor import Measurement, read_metrics
from cnnviz.evaluation.study.candidates import Candidate, MethodsLike, control_candidates, read_candidates
from cnnviz.images.datasets.dataset import Dataset
from cnnviz.images.datasets.open import open_dataset
from cnnviz.images.reading import ImagesLike
from cnnviz.method import MOST_SEED, check_network
from cnnviz.methods.scan.manifest import IDENTITY, Manifest, describe_device
from cnnviz.models.model import Model
from cnnviz.models.origin import file_digest
from cnnviz.provenance import __version__, plain

__all__ = ["DataLike", "StudyDesign", "StudySettings"]

DataLike: TypeAlias = Dataset | ImagesLike

USUAL: Final = ("deletion", "insertion", "srg", "average-drop")
USUAL_WITH_MASKS: Final = (*USUAL, "pointing", "mass", "iou")
"""What is measured where nothing is named: without annotation, and with it."""

LABEL: Final = "label"
"""The target that is each picture's own class."""

MOST_PARTS: Final = 1024
LAYOUT: Final = 1


@dataclass(frozen=True)
class StudySettings:
    """How a study is done, which is no part of what is asked.

    Attributes:
        folder: Where what is found is written; None keeps it in memory.
        block: Pictures explained together; None for the folder's own, or what suits the device.
        threads: CPU threads that compute; None likewise.
        workers: Processes that read pictures; None chooses.

    Raises:
        ParameterError: If a number is out of bounds.
    """

    folder: Path | None = None
    block: int | None = None
    threads: int | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("block", 1), ("threads", 1), ("workers", 0)):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _whole(name, value, least))

    @property
    def left_open(self) -> list[str]:
        """What a study that is there already decides over."""
        given = {"block": self.block, "threads": self.threads}
        return ["blocks_a_shard", *(name for name, value in given.items() if value is None)]


@dataclass(frozen=True)
class StudyDesign:
    """What is judged, by what, on which pictures, about which classes.

    Attributes:
        model: The network.
        data: The pictures.
        candidates: Methods and controls.
        measurements: Metrics.
        targets: From the number of a picture to what is explained of it.
        annotations: From the number of a picture to where its object is; None where nothing is known.
        asked: The same in the asker's words, as plain values.
        batch_size: Most pictures at once, where it was given.
    """

    model: Model
    data: Dataset
    candidates: tuple[Candidate, ...]
    measurements: tuple[Measurement, ...]
    targets: Callable[[int], Target]
    annotations: Annotations | None
    asked: Mapping[str, Any]
    batch_size: int | None = None

    @classmethod
    def of(
        cls,
        model: Model,
        data: DataLike,
        methods: MethodsLike,
        metrics: str | Sequence[str] | None,
        *,
        masks: str | os.PathLike[str] | None,
        boxes: str | os.PathLike[str] | None,
        target: TargetLike,
        layers: str | Sequence[str],
        budget: int | None,
        seed: int,
        settings: Mapping[str, Any],
    ) -> StudyDesign:
        """What a call of ``evaluate`` asks; see there.

        Raises:
            CnnvizError: As it says.
        """
        check_network(model)
        if model.places != PICTURE:
            raise UsageError(f"evaluate judges maps of pictures; '{model.name}' takes {KINDS[model.places]}s.")
        opened = open_dataset(data, entrance=model.preprocess.entrance)
        annotations = open_annotations(opened, masks, boxes)
        steps = None if budget is None else _whole("budget", budget, 1)
        measurements = read_metrics(_metric_names(metrics, annotated=annotations is not None), steps)
        _check_needs(measurements, annotations)
        candidates = (*read_candidates(model, methods, layers, settings), *control_candidates())
        asked = {
            "methods": _describe_methods(methods),
            "metrics": [one.metric.name for one in measurements],
            "layers": plain(layers) or None,
            "masks": _describe_masks(masks),
            "boxes": None if boxes is None else {"file": Path(boxes).name, "sha256": file_digest(Path(boxes))},
            "target": plain(target),
            "budget": steps,
            "seed": _seed(seed),
            "settings": {name: plain(value) for name, value in settings.items()} or None,
        }
        targets = _targets_of(model, opened, target)
        size = settings.get("batch_size")
        return cls(model, opened, candidates, measurements, targets, annotations, asked, size)

    @property
    def question(self) -> dict[str, Any]:
        """What was asked, as a record holds it: without what was left out."""
        return {name: value for name, value in self.asked.items() if value is not None}

    def manifest(self, how: StudySettings) -> Manifest:
        """All that decides over the values.

        Args:
            how: How it is done.
        """
        model, data, asked = self.model, self.data, self.asked
        size = how.block or min(usual_size(model.device), len(data))
        blocks = -(-len(data) // size)
        usual = torch.get_num_threads() if how.folder is None else 1
        told = model.describe()
        held = {
            "layout": LAYOUT,
            "network": {name: told[name] for name in IDENTITY if name in told},
            "data": data.describe(),
            "methods": [[each.name, each.method, each.layer, plain(each.settings)] for each in self.candidates],
            "metrics": [[one.metric.name, dict(one.settings)] for one in self.measurements],
            "annotations": [asked["masks"], asked["boxes"]],
            "target": asked["target"],
            "seed": asked["seed"],
            "block": int(size),
            "blocks_a_shard": max(1, -(-blocks // MOST_PARTS)),
            "threads": how.threads or usual,
            "device": describe_device(model.device),
            "dtype": str(model.dtype).removeprefix("torch."),
            "versions": {"cnnviz": __version__, "torch": str(torch.__version__), "numpy": np.__version__},
        }
        return Manifest(json.loads(json.dumps(held)))


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


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < least:
        raise ParameterError(f"{name} must be a whole number of at least {least}; got {value!r}.")
    return int(value)


def _seed(value: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or not 0 <= int(value) <= MOST_SEED:
        raise ParameterError(f"seed must be a whole number from 0 to {MOST_SEED}; got {value!r}.")
    return int(value)
