"""The assessor: the maps of a block of pictures by every candidate, and what every metric says of them."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.catalogue import load
from cnnviz.core.sample import Geometry
from cnnviz.core.target import Target, class_index
from cnnviz.engine.batching import in_chunks, usual_size
from cnnviz.engine.scores.score import class_probabilities, settle, share_of
from cnnviz.errors import ExplanationError, PictureError
from cnnviz.evaluation.faithfulness import Removal, area, average_scores, removal_curves
from cnnviz.evaluation.metric import Case, Metric, load_metric
from cnnviz.evaluation.study.annotations import Annotations, PlacedAnnotation, place
from cnnviz.evaluation.study.candidates import Candidate
from cnnviz.evaluation.study.meter import Meter, metered
from cnnviz.images.datasets.dataset import Dataset
from cnnviz.methods.cams.kept import keeping_answers
from cnnviz.methods.occlusion.scorer import Scorer
from cnnviz.methods.scan.loader import Block
from cnnviz.models.model import Model

__all__ = ["Found", "Assessor", "Measurement", "read_metrics"]

APART: Final = 1_000_003
"""Between seeds, so that pictures of two seeds share no random map."""

REMOVALS: Final[Mapping[str, tuple[Removal, ...]]] = {
    "deletion": ("deletion",),
    "insertion": ("insertion",),
    "srg": ("least-first", "deletion"),
}
"""Metrics that share the forwards of their curves; of two kinds the difference counts."""

SUMMARIES: Final[Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = {
    "road": lambda curve: np.asarray(curve.mean(axis=1)),
    "max-box-acc": lambda curve: np.asarray(curve.max(axis=2).mean(axis=1)),
}
"""What the value of a metric with another curve is, so that the curve is computed once."""

AVERAGES: Final = {"average-drop", "average-increase", "average-gain"}
"""Metrics that share their forwards likewise."""


@dataclass(frozen=True)
class Measurement:
    """A metric and how it is computed.

    Attributes:
        metric: Its line in the catalogue.
        function: ``(case, maps, **settings) -> values``.
        curve: Likewise to curves ``(M, steps + 1)``, or None.
        settings: What is not its default.
    """

    metric: Metric
    function: Callable[..., NDArray[np.float64]]
    curve: Callable[..., NDArray[np.float64]] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def read_metrics(names: Sequence[str], budget: int | None = None) -> tuple[Measurement, ...]:
    """Metrics by name, each once.

    Args:
        names: The names.
        budget: Most forwards for each map, of metrics that have steps.

    Raises:
        UnknownNameError: If there is no such metric.
    """
    found = []
    for name in dict.fromkeys(names):
        metric, function = load_metric(name)
        module = import_module(function.__module__)
        curve = getattr(module, f"{name.replace('-', '_')}_curve", None) if metric.curve else None
        steps = "steps" in inspect.signature(function).parameters and budget is not None
        found.append(Measurement(metric, function, curve, {"steps": budget} if steps else {}))
    return tuple(found)


@dataclass
class Found:
    """What was found about some pictures, in their order.

    Attributes:
        images: ``(n,)``: their numbers in the data set.
        values: ``(n, M, K)`` float64: of each picture, candidate and metric; NaN is undefined.
        curves: By metric ``(n, M, steps + 1)`` float64.
        targets: What was explained.
        scores: ``(n,)``: the targets' logits.
        probabilities: ``(n,)``: their probabilities; NaN where there is none.
        failures: Number and sentence of pictures that could not be used.
        passing: Those among them that perhaps can be another time.
        costs: By candidate what its maps took.
    """

    images: NDArray[np.int64]
    values: NDArray[np.float64]
    curves: dict[str, NDArray[np.float64]]
    targets: list[str]
    scores: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    failures: list[tuple[int, str]] = field(default_factory=list)
    passing: set[int] = field(default_factory=set)
    costs: dict[str, Meter] = field(default_factory=dict)

    @classmethod
    def joined(cls, several: Sequence[Found]) -> Found:
        """All of several, one after the other."""
        curves = {
            name: np.concatenate([each.curves[name] for each in several if name in each.curves])
            for name in dict.fromkeys(name for each in several for name in each.curves)
        }
        costs: dict[str, Meter] = {}
        for each in several:
            for name, meter in each.costs.items():
                held = costs.setdefault(name, Meter())
                held.forwards, held.seconds = held.forwards + meter.forwards, held.seconds + meter.seconds
        return cls(
            np.concatenate([each.images for each in several]),
            np.concatenate([each.values for each in several]),
            curves,
            [target for each in several for target in each.targets],
            np.concatenate([each.scores for each in several]),
            np.concatenate([each.probabilities for each in several]),
            [failure for each in several for failure in each.failures],
            set().union(*(each.passing for each in several)),
            costs,
        )


class Assessor:
    """Judges the candidates' maps of pictures, a block at a time, within ``undisturbed``.

    Args:
        model: The network.
        data: The pictures.
        candidates: What gives maps.
        measurements: What judges them.
        targets: What is explained of the picture of a number.
        annotations: Where its object is, or None.
        seed: Of whatever is drawn at random.
        batch_size: Most pictures at once.
    """

    def __init__(
        self,
        model: Model,
        data: Dataset,
        candidates: Sequence[Candidate],
        measurements: Sequence[Measurement],
        *,
        targets: Callable[[int], Target],
        annotations: Annotations | None = None,
        seed: int = 0,
        batch_size: int | None = None,
    ) -> None:
        self.model, self.data, self.candidates, self.measurements = model, data, candidates, measurements
        self._targets, self._annotations, self._seed, self._size = targets, annotations, seed, batch_size
        self._scorer: Scorer | None = None

    def warm(self, block: Block) -> None:
        """Explain the first picture by every method that chooses its layer, and forget it.

        So what networks remember from their first question is the same whichever block comes first, and no cost has it.
        """
        if not block.rows:
            return
        row, image = block.rows[0], block.images[0]
        inputs = self.model.to_device(block.inputs[row : row + 1])
        for candidate in self.candidates:
            if candidate.method and candidate.layer is None and "layer" in load(candidate.method).parameters:
                candidate.explain(self.model, inputs, [self._targets(image)], self._seed)

    def assess(self, block: Block) -> Found:
        """What is found about the pictures of a block.

        Raises:
            ExplanationError: If a method cannot explain them.
            CnnvizError: Whatever else a method raises.
        """
        failures = list(block.failures)
        inputs = self.model.to_device(block.inputs)
        settled, logits = self._settle(inputs, block)
        kept: list[int] = []
        placed: dict[int, PlacedAnnotation] = {}
        for row, image in zip(block.rows, block.images, strict=True):
            try:
                placed[row] = self._place(image, settled.get(row))
                kept.append(row)
            except PictureError as error:
                failures.append((image, str(error)))
        if not kept:
            return self._nothing(failures, block)
        numbers = dict(zip(block.rows, block.images, strict=True))
        targets = [settled[row] for row in kept]
        maps, costs = self._explain(inputs[kept], targets, numbers[kept[0]])
        cases = [self._case(inputs[row : row + 1], settled[row], placed[row], numbers[row]) for row in kept]
        values, curves = self._measure(cases, maps)
        values = self._ask_again(inputs[kept], targets, values)
        logs = logits[kept].detach().double().cpu()
        shares = class_probabilities(logs, self.model.head)
        probabilities = [share_of(target, shares[row], self.model.head) for row, target in enumerate(targets)]
        return Found(
            np.array([numbers[row] for row in kept], np.int64),
            values,
            curves,
            [str(target) for target in targets],
            np.array([float(case.logit(case.inputs)[0]) for case in cases]),
            np.array([math.nan if each is None else each for each in probabilities]),
            sorted(failures),
            set(block.passing),
            costs,
        )

    def _nothing(self, failures: list[tuple[int, str]], block: Block) -> Found:
        """What is found where not one picture can be used."""
        shape = 0, len(self.candidates), len(self.measurements)
        none = np.zeros(0)
        return Found(np.zeros(0, np.int64), np.zeros(shape), {}, [], none, none, sorted(failures), set(block.passing))

    def _settle(self, inputs: Tensor, block: Block) -> tuple[dict[int, Target], Tensor]:
        """The targets by row, and the logits of all rows."""
        wanted = {row: self._targets(image) for row, image in zip(block.rows, block.images, strict=True)}
        first = next(iter(wanted.values()), self._targets(0))
        every = [wanted.get(row, first) for row in range(len(inputs))]
        logits = self._answer(inputs, every)
        rows = [row for row in wanted if bool(logits[row].isfinite().all())]
        settled = settle([every[row] for row in rows], logits[rows], self.model.labels, self.model.head)
        return dict(zip(rows, settled, strict=True)), logits

    def _answer(self, inputs: Tensor, targets: Sequence[Target]) -> Tensor:
        """The logits of all rows, in batches that the network takes."""

        def ask(some: Tensor, rows: slice) -> Tensor:
            with torch.no_grad():
                return self.model.answer(some, targets[rows])[: rows.stop - rows.start]

        model = self.model
        size = self._size or usual_size(model.device)
        found = in_chunks(inputs, ask, size=size, device=model.device, dtype=model.dtype, fixed=model.fixed_batch)
        return torch.cat(found.results)

    def _ask_again(self, inputs: Tensor, targets: Sequence[Target], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The values with those of metrics that ask the methods themselves, about all pictures at once."""
        methods = {each.name: each.explain for each in self.candidates}
        for column, one in enumerate(self.measurements):
            if one.metric.needs == "method":
                seeded = {"seed": self._seed} if "seed" in inspect.signature(one.function).parameters else {}
                found = one.function(self.model, inputs, list(targets), methods, **seeded)
                values[:, :, column] = found.T
        return values

    def _place(self, image: int, target: Target | None) -> PlacedAnnotation:
        """Where the object is on the network's input; a picture without a finite answer is refused."""
        if target is None:
            raise PictureError(f"For '{self.data.keys[image]}' the network gives numbers that are not finite.")
        if self._annotations is None:
            return PlacedAnnotation()
        item = self.data.item(image)
        index, labels = class_index(target), self.model.labels
        label = labels[index] if labels and index is not None else ""
        if isinstance(item, Tensor):
            return place(self._annotations(image), Geometry.whole(*item.shape[1:]), label)
        return place(self._annotations(image), self.model.preprocess.geometry(item), label)

    def _explain(
        self, inputs: Tensor, targets: Sequence[Target], first: int
    ) -> tuple[NDArray[np.float32], dict[str, Meter]]:
        """Maps ``(n, M, H, W)``, and what each candidate takes alone, though those of one layer share a forward."""
        found: list[NDArray[np.float32]] = []
        costs: dict[str, Meter] = {}
        shape = tuple(inputs.shape[1:])
        with keeping_answers() as kept:
            for candidate in self.candidates:
                seed = self._seed * APART + first if candidate.control else self._seed
                before, meter = replace(kept), costs.setdefault(candidate.name, Meter())
                with metered(meter, shape):
                    maps = candidate.explain(self.model, inputs, list(targets), seed)
                meter.forwards += kept.forwards - before.forwards  # what it would take alone
                meter.seconds += kept.seconds - before.seconds
                if maps.shape != (len(inputs), *shape[1:]):
                    had = maps.shape[1:]
                    raise ExplanationError(f"'{candidate.name}' gives maps of {had}, not of the input's size.")
                found.append(maps)
        return np.stack(found, axis=1), costs

    def _case(self, inputs: Tensor, target: Target, placed: PlacedAnnotation, image: int) -> Case:
        if self._scorer is None:
            self._scorer = Scorer(self.model, inputs, [target], batch_size=self._size)
        seed = self._seed * APART + image
        return make_case(self._scorer, inputs, target, placed, name=self.data.keys[image], seed=seed)

    def _measure(
        self, cases: Sequence[Case], maps: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """Values ``(n, M, K)`` and curves."""
        values = np.full((len(cases), len(self.candidates), len(self.measurements)), np.nan)
        curves: dict[str, list[NDArray[np.float64]]] = {}
        for row, case in enumerate(cases):
            found = _measure_case(case, maps[row], self.measurements)
            for column, one in enumerate(self.measurements):
                values[row, :, column] = found.values.get(one.metric.name, np.nan)
            for name, curve in found.curves.items():
                curves.setdefault(name, []).append(curve)
        return values, {name: np.stack(each) for name, each in curves.items()}


@dataclass
class _CaseValues:
    """What metrics say of the maps of one picture: values ``(M,)`` and curves ``(M, steps + 1)``, by name."""

    values: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    curves: dict[str, NDArray[np.float64]] = field(default_factory=dict)


def _measure_case(case: Case, maps: NDArray[np.float32], measurements: Sequence[Measurement]) -> _CaseValues:
    """What all metrics say of the maps ``(M, H, W)`` of one picture, those with forwards in common at once."""
    found = _CaseValues()
    names = {one.metric.name: one for one in measurements}
    removing = [name for name in REMOVALS if name in names]
    if removing:
        kinds = list(dict.fromkeys(kind for name in removing for kind in REMOVALS[name]))
        curves = removal_curves(case, maps, kinds, **names[removing[0]].settings)
        for name in removing:
            first, *less = (curves[kind] for kind in REMOVALS[name])
            found.curves[name] = first - less[0] if less else first
            found.values[name] = area(found.curves[name])
    if AVERAGES & names.keys():
        found.values |= {name: each for name, each in average_scores(case, maps).items() if name in names}
    if case.mask is None:  # what needs one is undefined
        case = replace(case, mask=np.zeros(maps.shape[1:], dtype=bool), boxes=())
    for name, one in names.items():
        if name in found.values or one.metric.needs == "method":
            continue
        if one.curve is None:
            found.values[name] = one.function(case, maps, **one.settings)
        else:
            found.curves[name] = one.curve(case, maps, **one.settings)
            found.values[name] = SUMMARIES[name](found.curves[name])
    return found


def make_case(
    scorer: Scorer,
    inputs: Tensor,
    target: Target,
    placed: PlacedAnnotation | None = None,
    *,
    name: str = "",
    seed: int = 0,
) -> Case:
    """A picture as metrics look at it.

    Args:
        scorer: Asks the network about changed pictures.
        inputs: ``(1, C, H, W)``, on the network's device.
        target: Settled.
        placed: Where its object is.
        name: The picture's name.
        seed: Of whatever is drawn at random.
    """
    _, std = scorer.model.preprocess.columns(inputs.dtype, inputs.device)
    where = placed or PlacedAnnotation()
    return Case(
        inputs,
        _asking(scorer, target, "logit"),
        _asking(scorer, target, "probability"),
        1 / std,
        where.mask,
        where.ignored,
        where.boxes,
        name=name,
        seed=seed,
        batch=scorer.size,
    )


def _asking(scorer: Scorer, target: Target, kind: Any) -> Callable[[Tensor], Tensor]:
    """A target's logit or probability as a function of inputs, without gradient."""
    asker = copy.copy(scorer)
    asker.kind = kind

    def ask(inputs: Tensor) -> Tensor:
        return asker.scores(len(inputs), lambda some: inputs[some], [target])[:, 0]

    return ask
