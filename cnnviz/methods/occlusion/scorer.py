"""Scores of many changed copies of a picture: a faster copy of the network where one can be made, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from cnnviz.core.change import contextmanager, undoing
from cnnviz.core.dimensions import VOLUME, has_places
from cnnviz.core.head import Head
from cnnviz.core.sample import Sample
from cnnviz.core.similar import Similar
from cnnviz.core.target import ClassSum, ClassTarget, DetectionTarget, Difference, RegionTarget, Target
from cnnviz.engine.batching import Chunks, in_slices, usual_size
from cnnviz.engine.capture import Capture, capture, widen_half
from cnnviz.engine.scores.detection import score_overlap
from cnnviz.engine.scores.score import class_probabilities, roundings, score, score_region, settle, watched_layers
from cnnviz.engine.state.modes import inference
from cnnviz.engine.undisturbed import undisturbed
from cnnviz.methods.ask import ASK_THE_LOGIT, Answer, assemble, naming_pictures
from cnnviz.methods.occlusion.sides import distances_of
from cnnviz.methods.prepare import InputBatch
from cnnviz.methods.settings import Precision, ScoreKind
from cnnviz.models.inference_copy import Ask, InferenceCopy, inference_copy
from cnnviz.models.model import Model
from cnnviz.results.heatmap import Heatmaps

__all__ = ["Scorer", "scores_of", "Question", "scored_maps"]

TINY = 1e-30
MOST_VALUES = 1 << 24
"""Most values of changed volumes at once."""


class Scorer:
    """Asks for targets' scores of changed pictures, within ``undisturbed``.

    Unless a target is a unit or the network takes one batch size only, a private copy of it answers: batch norm folded,
    channels last, in inference mode.

    Args:
        model: The network.
        example: One input ``(1, C, H, W)`` on its device.
        targets: All targets that will be asked for.
        kind: What the score of a class, or of a difference of two, is.
        precision: What the copy computes in; the resulting error is reported in ``checks``.
        batch_size: Most pictures at once; None is as many as are usual on the device.
        ask: How a copy is first asked about the example, by one forward; default: as a model is.

    Attributes:
        size: Most pictures at once, so far.
        checks: What was lost or decided on the way.
    """

    def __init__(
        self,
        model: Model,
        example: Tensor,
        targets: Sequence[Target],
        *,
        kind: ScoreKind = "probability",
        precision: Precision = "full",
        batch_size: int | None = None,
        ask: Ask | None = None,
    ) -> None:
        self.model, self.kind, self.precision = model, kind, precision
        self.size = model.fixed_batch or batch_size or _usual_size_of(example)
        found = self._make_copy(example, targets, ask)
        self.quick, self.checks = found.model, found.checks
        self._known = example[0], found.logits

    def clean(self, image: Tensor, targets: Sequence[Target]) -> Answer:
        """The network itself asked about the unchanged picture ``(C, H, W)``, with its targets; it has no values yet.

        Its targets are settled by the picture's logits, its scores ``(T,)`` float64.
        """
        example, logits = self._known
        caught = None
        if logits is None or not torch.equal(image, example):
            with torch.no_grad(), _allow_tf32(allowed=False):
                logits, caught = _forward(self.model, image.expand(self.model.fixed_batch or 1, *image.shape), targets)
        every = logits[:1].expand(len(targets), *logits.shape[1:])
        settled = tuple(settle(targets, every, self.model.labels, self.model.head))
        scores = scores_of(settled, logits, self.kind, self.model.head, caught)[0]
        return Answer((), (), every, scores, settled)

    def scores(
        self,
        count: int,
        change: Callable[[slice], Tensor],
        targets: Sequence[Target],
        answer: Callable[[Tensor, slice], Tensor] | None = None,
    ) -> Tensor:
        """Scores ``(count, T)`` float64 on the CPU.

        Args:
            count: How many changed pictures there are.
            change: From a slice of them to inputs ``(b, C, H, W)``.
            targets: Settled targets; all are scored on the same forwards.
            answer: From such inputs, on the copy's device and in its type, and the slice to logits ``(b, K)``; asked
                in place of the copy. Only where there is one.
        """

        def ask(some: slice) -> Tensor:
            inputs = self.quick.to_device(change(some))
            with self.forward_modes():
                logits, caught = (answer(inputs, some), None) if answer else self._forward_filled(inputs, targets)
                return scores_of(targets, logits, self.kind, self.model.head, caught)[: len(inputs)].cpu()

        asked = in_slices(count, ask, size=self.size)
        if asked.checks:
            self.size = asked.size
            self.checks += asked.checks
        return torch.cat(asked.results)

    def roundings(self, clean: Answer, some: slice) -> tuple[float, ...]:
        """How far apart two scores of some targets of a picture may be by rounding alone."""
        rough = self.precision == "tf32" and self.model.device.type == "cuda"
        computed = torch.float16 if rough else self.quick.dtype  # TF32 has float16's digits
        known = clean.targets[some], clean.logits[some], clean.scores[some]
        return tuple(roundings(*known, self.kind, (computed, torch.float64), head=self.model.head))

    @property
    def private(self) -> bool:
        """Whether a private copy answers."""
        return self.quick is not self.model

    @contextmanager
    def forward_modes(self) -> Iterator[None]:
        """The modes in which changed pictures are asked about."""
        with inference(mode=self.private), torch.no_grad(), _allow_tf32(allowed=self.precision == "tf32"):
            yield

    def _forward_filled(self, inputs: Tensor, targets: Sequence[Target]) -> tuple[Tensor, Capture | None]:
        missing = (self.model.fixed_batch or 0) - len(inputs)
        if missing > 0:
            inputs = torch.cat([inputs, inputs[-1:].expand(missing, *inputs.shape[1:])])
        if self.private:
            inputs = inputs.to(memory_format=self.quick.memory_format)
        return _forward(self.quick, inputs, targets)

    def _make_copy(self, example: Tensor, targets: Sequence[Target], ask: Ask | None) -> InferenceCopy:
        if watched_layers(targets) or self.model.fixed_batch is not None:
            plain = f"{self.precision} was not used: units and networks of one batch size need the network itself"
            return InferenceCopy(self.model, (plain,) if self.precision == "bfloat16" else ())
        halved, rounded = self.precision == "bfloat16", self.precision == "tf32"
        with _allow_tf32(allowed=False):
            found = inference_copy(self.model, example, halved=halved, ask=None if rounded else ask)
        return replace(found, checks=found.checks + _measure_tf32_loss(found.model, example)) if rounded else found


def _usual_size_of(example: Tensor) -> int:
    """How many changed copies of an input are asked about at once: of large volumes fewer, for they take memory."""
    usual = usual_size(example.device)
    return max(1, min(usual, MOST_VALUES // example.numel())) if has_places(example, VOLUME) else usual


def _forward(model: Model, inputs: Tensor, targets: Sequence[Target]) -> tuple[Tensor, Capture | None]:
    watch = watched_layers(targets)
    with capture(model.module, [], watch) if watch else nullcontext() as caught:
        return model.answer(model.to_device(inputs), targets), caught


def scores_of(
    targets: Sequence[Target], logits: Tensor, kind: ScoreKind, head: Head, caught: Capture | None = None
) -> Tensor:
    """Every target's score ``(N, T)`` of logits ``(N, K)``; of classes, differences and sums in the kind asked for.

    Args:
        targets: Settled targets.
        logits: What the network answered.
        kind: What the score of a class is; of a head of values it is the value.
        head: What the logits mean.
        caught: The capture that watches the layers of unit targets.
    """
    precise = widen_half(logits)
    shares = logits.double() if kind == "logit" else class_probabilities(logits.double(), head)
    logs = _logarithm(shares) if kind == "log-probability" and head.probable else shares

    def column(target: Target) -> Tensor:
        every = [target] * len(logits)
        if isinstance(target, DetectionTarget):
            return score_overlap(target, logits.double())
        if isinstance(target, RegionTarget):
            return score_region(target, logits.double(), kind, head)
        if isinstance(target, ClassSum):
            found = score(every, shares, caught)
            return found if logs is shares else _logarithm(found)
        return score(every, logs if isinstance(target, (ClassTarget, Difference)) else precise, caught).double()

    return torch.stack([column(target) for target in targets], dim=1)


def _logarithm(shares: Tensor) -> Tensor:
    return shares.clamp_min(torch.finfo(shares.dtype).tiny).log()


@contextmanager
def _allow_tf32(*, allowed: bool) -> Iterator[None]:
    """Inside, CUDA's float32 convolutions and products are TF32 or are not; PyTorch itself allows it for the first."""
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32

    def put_back() -> None:
        convolutions.allow_tf32, products.allow_tf32 = before

    with undoing(put_back):
        convolutions.allow_tf32 = products.allow_tf32 = allowed
        yield


def _measure_tf32_loss(model: Model, example: Tensor) -> tuple[str, ...]:
    if model.device.type != "cuda":
        return ("tf32 was not used: only CUDA devices have it",)
    with torch.no_grad(), _allow_tf32(allowed=False):
        exact = model.forward(example)
    with torch.no_grad(), _allow_tf32(allowed=True):
        lost = float((model.forward(example) - exact).abs().max() / exact.abs().max().clamp_min(TINY))
    return (f"tf32: logits differ by up to {lost:.1%} of the largest",)


def flat_meaning(kind: ScoreKind) -> str:
    """What it means that hiding something changes no score."""
    nothing = "hiding does not change the target's score anywhere"
    return nothing if kind == "logit" else f"{nothing}; {ASK_THE_LOGIT}"


@dataclass(frozen=True)
class Question:
    """One picture with all its targets.

    Attributes:
        scorer: Asks for scores of changed pictures.
        image: ``(C, H, W)`` on the network's device.
        clean: What the unchanged picture gave, with the settled targets.
        picture: The picture.
    """

    scorer: Scorer
    image: Tensor
    clean: Answer
    picture: Sample

    def answer(
        self,
        target: int,
        values: Tensor,
        *,
        spread: Tensor | None = None,
        error_bar: float | None = None,
        checks: Sequence[str] = (),
    ) -> Answer:
        """The answer for one of the targets.

        Args:
            target: Which of them.
            values: Its map ``(H, W)``, signed.
            spread: Of the values, ``(H, W)``, or None.
            error_bar: Of estimated values, or None.
            checks: What the user should know.
        """
        one, settled = slice(target, target + 1), self.clean.targets[target]
        return Answer(
            (),
            (values[None],),
            self.clean.logits[one],
            self.clean.scores[one],
            self.clean.targets[one],
            tuple(checks),
            spread=None if spread is None else spread[None],
            error_bars=() if error_bar is None else (error_bar,),
            roundings=self.scorer.roundings(self.clean, one),
            flat=flat_meaning("logit" if isinstance(settled, (DetectionTarget, Similar)) else self.scorer.kind),
        )


ExplainPicture: TypeAlias = Callable[[Question], Sequence[Answer]]
"""From a question to an answer, with a map, for each of its targets."""


def scored_maps(
    model: Model,
    batch: InputBatch,
    explain: ExplainPicture,
    *,
    kind: ScoreKind,
    precision: Precision,
    batch_size: int | None,
    ask: Ask | None = None,
) -> Heatmaps:
    """Ask about every picture, one after another, with all its targets at once.

    Args:
        model: The network.
        batch: Inputs, pictures and targets.
        explain: From a question to an answer, with a map, for each of its targets.
        kind: What the score of a class is.
        precision: What the changed pictures' forwards compute in.
        batch_size: Most changed pictures at once; None is what suits the device.
        ask: How a private copy is first asked about the first picture; default: as a model is.
    """
    groups = _group_same_pictures(batch)
    answers: dict[int, Answer] = {}
    with undisturbed(model.module), naming_pictures(model, batch):
        example = model.to_device(batch.inputs[:1])
        scorer = Scorer(model, example, batch.targets, kind=kind, precision=precision, batch_size=batch_size, ask=ask)

        def explain_group(some: slice) -> None:
            rows = groups[some.start]
            image = model.to_device(batch.inputs[rows[0]])
            clean = scorer.clean(image, [batch.targets[row] for row in rows])
            found = explain(Question(scorer, image, clean, batch.pictures[rows[0]]))
            answers.update(zip(rows, found, strict=True))

        in_slices(len(groups), explain_group, size=1)
    chunks = Chunks([answers[row] for row in range(len(answers))], scorer.size, scorer.checks)
    return assemble(model, batch, chunks, rectified=False, steady=scorer.private)


def _group_same_pictures(batch: InputBatch) -> list[list[int]]:
    """Rows of a batch, those together whose inputs are equal, and as far apart their places."""
    groups: list[list[int]] = []
    apart = [distances_of(sample) for sample in batch.pictures]
    for row, one in enumerate(batch.inputs):
        alike = (group for group in groups if apart[group[0]] == apart[row])
        known = next((group for group in alike if torch.equal(batch.inputs[group[0]], one)), None)
        if known is None:
            groups.append([row])
        else:
            known.append(row)
    return groups
