"""What a method is given, made ready for the network: images and targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.core.field import Field
from cnnviz.core.picture import Geometry, Picture
from cnnviz.core.target import ClassTarget, NoTarget, Target, TargetLike, Unit, parse_target
from cnnviz.engine.batching import Chunks, in_chunks
from cnnviz.engine.scores import class_probabilities
from cnnviz.engine.undisturbed import undisturbed
from cnnviz.errors import TargetError, UsageError
from cnnviz.images.inputs import gather
from cnnviz.images.reading import ImagesLike
from cnnviz.models.model import Model
from cnnviz.provenance import Provenance
from cnnviz.results.attribution import Attribution, Attributions, Channels
from cnnviz.results.heatmap import Heatmap, Heatmaps

__all__ = [
    "Batch",
    "prepare",
    "provenance_of",
    "Answer",
    "ask_in_chunks",
    "heatmaps",
    "probabilities",
    "unsound",
    "Ask",
    "attribute",
]


@dataclass(frozen=True)
class Batch:
    """Network inputs with the pictures they were made from, and a target for each.

    Attributes:
        inputs: ``(N, C, H, W)``, on whatever device they were given.
        pictures: For each input its picture with the geometry; for a tensor the input itself, as pixels.
        targets: For each input its target, not yet settled.
        checks: What preprocessing assumed or reading decided.
        tensors: Which of them were given as tensors, so that no picture of theirs can be found again.
    """

    inputs: Tensor
    pictures: tuple[Picture, ...]
    targets: tuple[Target, ...]
    checks: tuple[str, ...]
    tensors: frozenset[int] = frozenset()


def prepare(model: Model, images: ImagesLike, target: TargetLike = None) -> Batch:
    """Images and target in any accepted form, as a batch.

    Raises:
        PictureError: If a picture cannot be read.
        TargetError: If a target cannot be understood, or there are not as many targets as images.
        UsageError: If there is no image, or tensors have several sizes or another number of channels.
    """
    inputs: list[Tensor] = []
    pictures: dict[int, Picture] = {}
    notes: list[str] = []
    for row, item in enumerate(gather(images)):
        if isinstance(item, Picture):
            values, pictures[row] = model.preprocess(item)
            notes += [*(f"{item.name}: {note}" for note in item.notes), *model.notes]
        else:
            values = item.detach()
        inputs.append(values)
    batch = _together(model, images, inputs)
    targets = _targets(model, target, len(inputs))
    tensors = [row for row in range(len(inputs)) if row not in pictures]
    pictures |= _as_seen(model, batch, tensors)
    shown = tuple(pictures[row] for row in range(len(inputs)))
    return Batch(batch, shown, targets, tuple(dict.fromkeys(notes)), frozenset(tensors))


def provenance_of(model: Model, batch: Batch, **more: Any) -> Provenance:
    """How a result of this model and batch was made, but for the method and its settings."""
    return Provenance(
        model=model.describe(),
        images=tuple(_named(picture, tensor=row in batch.tensors) for row, picture in enumerate(batch.pictures)),
        device=model.device.type,
        dtype=str(model.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        **more,
    )


def _named(picture: Picture, *, tensor: bool) -> dict[str, str]:
    """A picture as provenance names it: by its file's name and the hash of its pixels."""
    named = {"name": picture.name, "sha256": picture.digest}
    return {**named, "kind": "tensor"} if tensor else named


def _as_seen(model: Model, batch: Tensor, rows: Sequence[int]) -> dict[int, Picture]:
    """Some rows of a batch as pictures, by row."""
    if not rows:
        return {}
    seen = model.preprocess.to_pixels(batch if len(rows) == len(batch) else batch[list(rows)])
    whole = Geometry.whole(*seen.shape[1:3])
    return {row: Picture(pixels, f"input {row + 1}", whole) for row, pixels in zip(rows, seen, strict=True)}


def _together(model: Model, images: ImagesLike, inputs: Sequence[Tensor]) -> Tensor:
    """The inputs ``(N, C, H, W)``; a batch that was given as one tensor is taken as it is: nothing writes into it."""
    shapes = {tuple(values.shape) for values in inputs}
    if len(shapes) > 1:
        spoken = ", ".join(str(shape) for shape in sorted(shapes))
        raise UsageError(f"All inputs of one call must have one size; got {spoken}.")
    channels = next(iter(shapes))[0]
    if channels != model.preprocess.channels:
        raise UsageError(f"'{model.name}' takes {model.preprocess.channels} channels; the input has {channels}.")
    if isinstance(images, Tensor) and images.dim() > inputs[0].dim() and not images.is_inference():
        return images.detach()
    device = inputs[0].device
    with torch.inference_mode(mode=False):
        return torch.stack([values.to(device) for values in inputs])


def _targets(model: Model, like: TargetLike, count: int) -> tuple[Target, ...]:
    given: Any = like
    per_image = isinstance(given, (list, tuple)) or (isinstance(given, (Tensor, np.ndarray)) and given.ndim == 1)
    likes: list[Any] = list(given) if per_image else [given] * count
    if len(likes) != count:
        raise TargetError(f"Give one target for all images, or one for each: {len(likes)} targets, {count} images.")
    known: dict[Any, Target] = {}
    return tuple(_parsed(model, each, known) for each in likes)


def _parsed(model: Model, like: Any, known: dict[Any, Target]) -> Target:
    key = like if isinstance(like, (str, int, type(None))) and not isinstance(like, bool) else id(like)
    if key not in known:
        known[key] = parse_target(like, model.labels, model.layer_names)
        if isinstance(like, Unit):
            model.check_layer(like.layer)
    return known[key]


EVEN = 1e-6
"""A map whose values differ by no more than this share of the largest is the same everywhere."""


@dataclass(frozen=True)
class Answer:
    """What one chunk of images gave.

    Attributes:
        values: Maps ``(n, h, w)``, raw and signed.
        scores: ``(n,)``.
        probabilities: For each image the softmax probability of its target's class, or None.
        targets: The settled targets.
        layer: The layer that was looked at, or None.
        checks: What the user should know.
        field: What the values' places see of the input; None where they are pixels, or nothing is known.
    """

    values: Tensor
    scores: Tensor
    probabilities: tuple[float | None, ...]
    targets: tuple[Target, ...]
    layer: str | None
    checks: tuple[str, ...] = ()
    field: Field | None = None


def ask_in_chunks(
    model: Model, batch: Batch, ask: Callable[[Tensor, Sequence[Target]], Answer], *, batch_size: int, rectified: bool
) -> Heatmaps:
    """Ask about every image, some at a time, and put the answers together.

    Args:
        model: The network; ``ask`` runs while it is undisturbed.
        batch: Inputs, pictures and targets.
        ask: Called with inputs ``(n, C, H, W)`` and the targets of the first of them; the rest is padding.
        batch_size: Most images at once.
        rectified: Whether the method's definition keeps positive values only.
    """

    def ask_rows(inputs: Tensor, rows: slice) -> Answer:
        return ask(inputs, batch.targets[rows])

    with undisturbed(model.module):
        chunks = in_chunks(
            batch.inputs, ask_rows, size=batch_size, device=model.device, dtype=model.dtype, fixed=model.fixed_batch
        )
    return heatmaps(model, batch, chunks.results, chunk=chunks.size, checks=chunks.checks, rectified=rectified)


def heatmaps(
    model: Model, batch: Batch, answers: Sequence[Answer], *, chunk: int, checks: Sequence[str], rectified: bool
) -> Heatmaps:
    """The answers of all chunks as one result."""
    values = torch.cat([answer.values for answer in answers]).detach().float().cpu().numpy()
    scores = torch.cat([answer.scores for answer in answers]).detach().double().cpu().tolist()
    targets = [target for answer in answers for target in answer.targets]
    probable = [probability for answer in answers for probability in answer.probabilities]
    layer = answers[0].layer
    checks = [
        *unsound(_numbers(scores, targets, values), batch),
        *_even(values, batch),
        *batch.checks,
        *checks,
        *(each for answer in answers for each in answer.checks),
    ]
    said = tuple(dict.fromkeys(checks))
    provenance = provenance_of(model, batch, targets=tuple(str(target) for target in targets), layer=layer, chunk=chunk)
    about = layer, rectified, model.name, said
    maps = tuple(
        Heatmap(
            values[row],
            targets[row],
            scores[row],
            probable[row],
            picture,
            *about,
            provenance.only(row),
            field=answers[0].field,
        )
        for row, picture in enumerate(batch.pictures)
    )
    return Heatmaps(maps, said, provenance)


def _numbers(scores: Sequence[float], targets: Sequence[Target], values: NDArray[np.float32]) -> list[float]:
    """For each image a number that is finite where its answer is: the score, or the map's sum where there is none."""
    sums: list[float] = values.reshape(len(values), -1).sum(axis=1, dtype=np.float64).tolist()
    return [
        own if isinstance(target, NoTarget) else score for score, target, own in zip(scores, targets, sums, strict=True)
    ]


def _even(values: NDArray[np.float32], batch: Batch) -> tuple[str, ...]:
    """A warning that names the pictures whose map, though not zero, tells no place from another."""
    flat = values.reshape(len(values), -1)
    most = np.abs(flat).max(axis=1)
    with np.errstate(invalid="ignore"):
        same = (most > 0) & (np.ptp(flat, axis=1) <= EVEN * most)
    names = [picture.name for picture, one in zip(batch.pictures, same, strict=True) if one]
    if not names or flat.shape[1] == 1:
        return ()
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return (
        f"the map of {names[0]}{more} has the same value everywhere and tells no place from another; where it is of "
        "probabilities, these are full, and logits may differ",
    )


def probabilities(logits: Tensor, targets: Sequence[Target]) -> tuple[float | None, ...]:
    """Each image's softmax probability (sigmoid for a single logit) of its target's class; None for other targets."""
    shares = class_probabilities(logits.detach().double())
    return tuple(
        float(shares[row, target.index]) if isinstance(target, ClassTarget) else None
        for row, target in enumerate(targets)
    )


def unsound(scores: Sequence[float], batch: Batch) -> tuple[str, ...]:
    """A warning that names the pictures whose score is no finite number."""
    names = [picture.name for picture, score in zip(batch.pictures, scores, strict=True) if not math.isfinite(score)]
    if not names:
        return ()
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return (f"the network's answer to {names[0]}{more} is not finite: its weights or its input hold NaN or infinity",)


Ask: TypeAlias = Callable[[Tensor, Sequence[Target]], Answer]


def attribute(
    model: Model,
    images: ImagesLike,
    target: TargetLike,
    ask: Ask,
    *,
    channels: Channels,
    batch_size: int,
    seed: int | None = None,
    caveat: str = "",
) -> Attributions:
    """Ask about every image, some at a time, and put the answers together.

    Args:
        model: The network; ``ask`` runs while it is undisturbed.
        images: Any accepted form of images.
        target: Any accepted form of target.
        ask: From inputs ``(n, C, H, W)`` and the targets of the first of them to attributions of these.
        channels: How the channels are drawn.
        batch_size: Most images at once.
        seed: Of whatever ``ask`` draws at random.
        caveat: What the result does not show.
    """
    batch = prepare(model, images, target)
    with undisturbed(model.module):
        chunks = in_chunks(
            batch.inputs,
            lambda inputs, rows: ask(inputs, batch.targets[rows]),
            size=batch_size,
            device=model.device,
            dtype=model.dtype,
            fixed=model.fixed_batch,
        )
    return _joined(model, batch, chunks, channels=channels, seed=seed, caveat=caveat)


def _joined(
    model: Model, batch: Batch, chunks: Chunks[Answer], *, channels: Channels, seed: int | None, caveat: str
) -> Attributions:
    answers = chunks.results
    values = torch.cat([answer.values for answer in answers]).detach().float().cpu().numpy()
    scores = torch.cat([answer.scores for answer in answers]).detach().double().cpu().tolist()
    targets = [target for answer in answers for target in answer.targets]
    probable = [probability for answer in answers for probability in answer.probabilities]
    layer = answers[0].layer
    own = [check for answer in answers for check in answer.checks]
    said = [*unsound(scores, batch), *batch.checks, *chunks.checks, *own, caveat]
    checks = tuple(dict.fromkeys(check for check in said if check))
    provenance = provenance_of(
        model, batch, targets=tuple(str(target) for target in targets), layer=layer, chunk=chunks.size, seed=seed
    )
    parts = []
    for row, picture in enumerate(batch.pictures):
        rectified, made = channels != "signed", provenance.only(row)
        about = (targets[row], scores[row], probable[row], picture, layer, rectified, model.name, checks, made)
        parts.append(Attribution(values[row], *about, channels=channels))
    return Attributions(tuple(parts), checks, provenance)
