"""One question to a network: answers chunk by chunk, and a result made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.core.dimensions import is_dense
from cnnviz.core.field import Field
from cnnviz.core.head import Head
from cnnviz.core.similar import Similar
from cnnviz.core.target import ClassSum, DetectionTarget, NoTarget, RegionTarget, Target, TargetLike
from cnnviz.engine.batching import Chunks, in_chunks
from cnnviz.engine.scores.dense import nowhere_in
from cnnviz.engine.scores.score import class_probabilities, settle, share_of, wants_classes
from cnnviz.engine.undisturbed import undisturbed
from cnnviz.errors import NowhereError
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.prepare import InputBatch, prepare, provenance_of
from cnnviz.methods.settings import Channels
from cnnviz.models.model import Model
from cnnviz.provenance import Caution, Measure, merge_checks
from cnnviz.results.attribution import Attribution, Attributions
from cnnviz.results.heatmap import Heatmap, Heatmaps

__all__ = [
    "ASK_THE_LOGIT",
    "Answer",
    "ask",
    "assemble",
    "attribute",
    "naming_pictures",
    "unsound",
]

ASK_THE_LOGIT = "a probability near 0 or 1 is saturated; try score='logit'"
NO_GRADIENT = "the gradient of the target's score is zero at every pixel"

FULL, FLAT_TOP = 1 - 1e-6, "its maximum, where the gradient is zero: gradient maps are rounding errors; use occlusion"
"""A cosine that is 1 but for rounding, and what that means."""

EVEN = 1e-6
"""A map whose values differ by no more than this share of the largest is the same everywhere."""

UNSTEADY = Caution(
    "the network gives another answer for the same picture in another batch: it is random, or uses batch statistics"
)

Reply = TypeVar("Reply")


@dataclass(frozen=True)
class Answer:
    """What a network answered about some images, the first of a chunk.

    Attributes:
        layers: The layers that were looked at; none where it is the pixels.
        values: For each layer its maps, or the one of them all, raw and signed: ``(n, h, w)``; activations and pixels
            have channels, ``(n, C, h, w)``.
        logits: ``(n, K)``, or dense ``(n, K, h, w)``.
        scores: ``(n,)``.
        targets: The settled targets.
        checks: What the user should know.
        field: What the values' places see of the input; None where they are pixels, or nothing is known.
        spread: The standard deviation or error of the values, in their shape; None where there is none.
        error_bars: For each image the error bar of its estimated values; none where none is estimated.
        roundings: For each image up to which magnitude its values may be rounding; none where values are differences of
            nothing that was rounded.
        flat: What it means if an image's values are zero or rounding.
        shares: Each image's probability where it was read already; dense logits are kept of the first image only then.
    """

    layers: tuple[str, ...]
    values: tuple[Tensor, ...]
    logits: Tensor
    scores: Tensor
    targets: tuple[Target, ...]
    checks: tuple[str, ...] = ()
    field: Field | None = None
    spread: Tensor | None = None
    error_bars: tuple[float, ...] = ()
    roundings: tuple[float, ...] = ()
    flat: str = ""
    shares: tuple[float | None, ...] = ()

    @property
    def layer(self) -> str | None:
        """The layers in one text."""
        return ", ".join(self.layers) if self.layers else None

    def probabilities(self, head: Head) -> list[float | None]:
        """Each image's probability of its target's class, or of one of its classes; None where it has none.

        Args:
            head: What the logits mean.
        """
        if self.shares:
            return list(self.shares)
        shares = class_probabilities(self.logits.detach().double(), head)
        return [share_of(target, shares[row], head) for row, target in enumerate(self.targets)]

    def with_values(self, *values: Tensor, checks: Sequence[str] = ()) -> Answer:
        """The same answer with values made of it, and what more there is to know."""
        return replace(self, values=values, checks=(*self.checks, *checks))


def _condensed(reply: Any, head: Head) -> Any:
    """An answer without the dense logits of all images but the first: they may be larger than all else."""
    if not isinstance(reply, Answer) or not is_dense(reply.logits):
        return reply
    return replace(reply, shares=tuple(reply.probabilities(head)), logits=reply.logits[:1].detach().clone())


def ask(
    model: Model, batch: InputBatch, answer: Callable[[Tensor, Sequence[Target]], Reply], *, batch_size: int
) -> Chunks[Reply]:
    """Ask about every image, some at a time, while the network is undisturbed; out of memory halves how many.

    Args:
        model: The network.
        batch: Inputs, pictures and targets.
        answer: Called with inputs ``(N, C, H, W)`` and the targets of the first of them; the rest is padding.
        batch_size: Most images at once.

    Raises:
        NowhereError: If a class wins no pixel of some pictures, which it names.
    """
    with undisturbed(model.module), naming_pictures(model, batch):
        return in_chunks(
            batch.inputs,
            lambda inputs, rows: _condensed(answer(inputs, batch.targets[rows]), model.head),
            size=batch_size,
            device=model.device,
            dtype=model.dtype,
            fixed=model.fixed_batch,
        )


@contextmanager
def naming_pictures(model: Model, batch: InputBatch) -> Iterator[None]:
    """Inside, the error for a class that wins no pixel of a picture names it, if there are several, and all like it.

    Args:
        model: The network, undisturbed.
        batch: Inputs, pictures and targets.
    """
    try:
        yield
    except NowhereError as error:
        raise _find_nowhere(model, batch, error) if len(batch.pictures) > 1 else error from None


def _find_nowhere(model: Model, batch: InputBatch, error: NowhereError) -> NowhereError:
    """The error of all pictures of a call in which a class wins no pixel; they are asked about one by one."""
    found: dict[int, NowhereError] = {}
    for row, target in enumerate(batch.targets):
        one = model.to_device(batch.inputs[row : row + 1].expand(model.fixed_batch or 1, *batch.inputs.shape[1:]))
        try:
            with torch.no_grad():
                settle([target], model.answer(one, [target])[:1], model.labels, model.head)
        except NowhereError as missing:
            found[row] = missing
    return nowhere_in(found, [picture.name for picture in batch.pictures]) if found else error


@overload
def assemble(
    model: Model,
    batch: InputBatch,
    chunks: Chunks[Answer],
    *,
    rectified: bool,
    channels: None = None,
    steady: bool = False,
) -> Heatmaps: ...
@overload
def assemble(
    model: Model,
    batch: InputBatch,
    chunks: Chunks[Answer],
    *,
    rectified: bool,
    channels: Channels,
    seed: int | None = None,
    caveat: str = "",
    steady: bool = False,
) -> Attributions: ...
def assemble(
    model: Model,
    batch: InputBatch,
    chunks: Chunks[Answer],
    *,
    rectified: bool,
    channels: Channels | None = None,
    seed: int | None = None,
    caveat: str = "",
    steady: bool = False,
) -> Heatmaps | Attributions:
    """The answers of all chunks as one result.

    Args:
        model: The network.
        batch: Inputs, pictures and targets.
        chunks: An answer for each chunk, its values one tensor.
        rectified: Whether only positive values are drawn.
        channels: How the channels of pixels are drawn; None for heat maps.
        seed: Of whatever was drawn at random.
        caveat: What the result does not show.
        steady: Whether it is known that the network answers alike whenever it is asked, whatever beside.
    """
    answers = chunks.results
    values = torch.cat([answer.values[0] for answer in answers]).detach().float().cpu().numpy()
    scores = torch.cat([answer.scores for answer in answers]).detach().double().cpu().tolist()
    targets = [
        target.settled_for(picture) if isinstance(target, (RegionTarget, DetectionTarget)) else target
        for target, picture in zip((each for answer in answers for each in answer.targets), batch.pictures, strict=True)
    ]
    warnings = unsound(_number_images(scores, targets, values), batch)
    if not (steady or model.answers_again(batch.inputs[:1], answers[0].logits[:1], answers[0].targets[:1])):
        warnings += (UNSTEADY,)
    roundings = [each for answer in answers for each in answer.roundings or [0.0] * len(answer.targets)]
    warnings += _warn_of_flat_maps(values, batch, roundings, answers[0].flat)
    if rectified and channels is None:
        warnings += _warn_of_nothing_positive(values, batch, roundings)
    if channels is None:
        warnings += _warn_of_even_maps(values, batch)
    warnings += _warn_of_no_likeness(scores, targets, batch)
    own = [check for answer in answers for check in answer.checks]
    said = [*warnings, *batch.checks, *_explain_scores(model, targets), *chunks.checks, *own, caveat]
    checks = merge_checks(filter(None, said))
    alone = [_checks_alone(said, answer) for answer in answers for _ in answer.targets]
    first = answers[0]
    provenance = provenance_of(
        model, batch, targets=tuple(map(str, targets)), layer=first.layer, chunk=chunks.size, seed=seed
    )
    probabilities = [each for answer in answers for each in answer.probabilities(model.head)]
    spreads = [each for answer in answers for each in _unstack(answer.spread, len(answer.targets))]
    error_bars = [each for answer in answers for each in answer.error_bars or [None] * len(answer.targets)]
    shared = first.layer, rectified, model.name
    each = [
        (values[row], targets[row], scores[row], probabilities[row], picture, *shared, alone[row], provenance.only(row))
        for row, picture in enumerate(batch.pictures)
    ]
    if channels is not None:
        made = (Attribution(*one, channels=channels, unit=_unit_of(model, one[1])) for one in each)
        return Attributions(tuple(made), checks, provenance)
    maps = tuple(
        Heatmap(
            *one, field=first.field, spread=spread, error_bar=error_bar, rounding=rounding, unit=_unit_of(model, one[1])
        )
        for one, spread, error_bar, rounding in zip(each, spreads, error_bars, roundings, strict=True)
    )
    return Heatmaps(maps, checks, provenance)


def _checks_alone(said: Sequence[str], answer: Answer) -> tuple[str, ...]:
    """What there is to say about one of the maps: of what was measured of each only what its own answer says."""
    own = set(answer.checks)
    return merge_checks(each for each in dict.fromkeys(said) if each and (not isinstance(each, Measure) or each in own))


def _unit_of(model: Model, target: Target) -> str | None:
    """The unit of a score that is a value of the network; None of any other."""
    return None if model.head.probable or isinstance(target, Similar) else model.head.unit


def _explain_scores(model: Model, targets: Sequence[Target]) -> tuple[str, ...]:
    """What the scores of the targets are, where that is not a class's logit or was recognised."""
    values = not model.head.probable
    sums = [target.explain() for target in targets if isinstance(target, ClassSum)]
    sums += [target.explain(values=values) for target in targets if isinstance(target, RegionTarget)]
    sums += [target.explain() for target in targets if isinstance(target, DetectionTarget)]
    return *sums, *(model.head.notes if wants_classes(targets) else ())


def attribute(
    model: Model,
    images: ImagesLike,
    target: TargetLike,
    answer: Callable[[Tensor, Sequence[Target]], Answer],
    *,
    channels: Channels,
    batch_size: int,
    seed: int | None = None,
    caveat: str = "",
) -> Attributions:
    """Attributions to the pixels of every image.

    Args:
        model: The network.
        images: Any accepted form of images.
        target: Any accepted form of target.
        answer: From inputs ``(N, C, H, W)`` and the targets of the first of them to attributions of these.
        channels: How the channels are drawn.
        batch_size: Most images at once.
        seed: Of whatever ``answer`` draws at random.
        caveat: What the result does not show.
    """
    batch = prepare(model, images, target)
    chunks = ask(model, batch, answer, batch_size=batch_size)
    rectified = channels != "signed"
    chunks = replace(chunks, results=[replace(each, flat=each.flat or NO_GRADIENT) for each in chunks.results])
    return assemble(model, batch, chunks, rectified=rectified, channels=channels, seed=seed, caveat=caveat)


def _number_images(scores: Sequence[float], targets: Sequence[Target], values: NDArray[np.float32]) -> list[float]:
    """For each image a number that is finite where its answer is: the score, or the map's sum where there is none."""
    return [
        float(own.sum(dtype=np.float64)) if isinstance(target, NoTarget) else score
        for score, target, own in zip(scores, targets, values, strict=True)
    ]


def _name_some(batch: InputBatch, chosen: Sequence[bool] | NDArray[np.bool_]) -> str:
    """The first of some pictures, and how many more there are; empty for none."""
    names = [picture.name for picture, one in zip(batch.pictures, chosen, strict=True) if one]
    return (names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")) if names else ""


def _warn_of_flat_maps(
    values: NDArray[np.float32], batch: InputBatch, roundings: Sequence[float], meaning: str
) -> tuple[str, ...]:
    """A warning that names the pictures whose map is zero, or no larger than the rounding of what it is made of."""
    most = np.abs(values.reshape(len(values), -1)).max(axis=1)
    zero = most == 0
    rounded = (most > 0) & (most <= np.array(roundings))
    because = f": {meaning}" if meaning else ""
    said = [Caution(f"the map of {named} is zero everywhere{because}") for named in [_name_some(batch, zero)] if named]
    said += [
        Caution(f"the map of {named} is flat: its values, up to {most[rounded].max():.2g}, are rounding{because}")
        for named in [_name_some(batch, rounded)]
        if named
    ]
    return tuple(said)


def _warn_of_nothing_positive(
    values: NDArray[np.float32], batch: InputBatch, roundings: Sequence[float]
) -> tuple[str, ...]:
    """A warning that names the pictures whose map, though not flat, has nothing that a rectified one shows."""
    flat = values.reshape(len(values), -1)
    floor = np.array(roundings)
    named = _name_some(batch, (np.abs(flat).max(axis=1) > floor) & (flat.max(axis=1) <= floor))
    said = Caution(f"the map of {named} has no positive values, so nothing is drawn; the signed values are kept")
    return (said,) * bool(named)


def _warn_of_no_likeness(scores: Sequence[float], targets: Sequence[Target], batch: InputBatch) -> tuple[str, ...]:
    """Warnings that name the pictures whose embeddings have nothing, or all, in common with their reference."""
    likened = [isinstance(target, Similar) for target in targets]
    none = _name_some(batch, [one and score == 0 for one, score in zip(likened, scores, strict=True)])
    full = _name_some(batch, [one and score > FULL for one, score in zip(likened, scores, strict=True)])
    said = (Caution(f"the cosine of {none} is exactly 0: its embedding is zero, or at right angles"),) * bool(none)
    return said + (Caution(f"the cosine of {full} is 1, {FLAT_TOP}"),) * bool(full)


def _warn_of_even_maps(values: NDArray[np.float32], batch: InputBatch) -> tuple[str, ...]:
    """A warning that names the pictures whose map, though not zero, tells no place from another."""
    flat = values.reshape(len(values), -1)
    most = np.abs(flat).max(axis=1)
    with np.errstate(invalid="ignore"):
        same = (most > 0) & (np.ptp(flat, axis=1) <= EVEN * most)
    named = _name_some(batch, same)
    if not named or flat.shape[1] == 1:
        return ()
    said = f"the map of {named} is constant; if it is of probabilities, these are saturated, and logits may differ"
    return (Caution(said),)


def unsound(scores: Sequence[float], batch: InputBatch) -> tuple[str, ...]:
    """A warning that names the pictures whose score is no finite number."""
    named = _name_some(batch, [not math.isfinite(score) for score in scores])
    if not named:
        return ()
    return (Caution(f"the network's answer to {named} is not finite: its weights or its input hold NaN or infinity"),)


def _unstack(spread: Tensor | None, count: int) -> list[NDArray[np.float32] | None]:
    """Each image's spread."""
    return [None] * count if spread is None else list(spread.float().cpu().numpy())
