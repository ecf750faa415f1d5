"""Pictures that others are compared with: read, prepared and shown to the network once a call."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.core.sample import Sample
from cnnviz.core.similar import PAIR, Reference, Similar, SimilarPair
from cnnviz.core.target import NoTarget, Target
from cnnviz.engine.batching import in_chunks, progress_to
from cnnviz.engine.capture import capture, widen_half
from cnnviz.engine.scores.similarity import embedding_of
from cnnviz.engine.undisturbed import undisturbed
from cnnviz.errors import PictureError, TargetError, UsageError, quoted
from cnnviz.images.inputs import gather, is_many
from cnnviz.models.model import Model

__all__ = ["Placed", "place_references"]

PAIR_SIZE, AT_ONCE, FEWEST = 2, 32, 2


@dataclass(frozen=True)
class Placed:
    """Targets with the embeddings that they are compared with.

    Attributes:
        targets: For each image its target.
        checks: What the embedding is, and what reading the pictures decided.
    """

    targets: tuple[Target, ...]
    checks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _ReadReference:
    """A picture to be shown to the network: its input ``(C, H, W)``, and how a record names it."""

    name: str
    sha256: str
    values: Tensor
    tensor: bool = False
    notes: tuple[str, ...] = ()


def place_references(
    model: Model, targets: Sequence[Target], inputs: Tensor | None = None, pictures: Sequence[Sample] = (), *,
    tensors: frozenset[int] = frozenset(),
) -> Placed:  # fmt: skip
    """Targets of likeness with the embeddings of the pictures that they name; others as they are.

    Each picture is asked about once, however many targets name it.

    Args:
        model: The network.
        targets: For each image its target.
        inputs: The images' own inputs ``(N, C, H, W)``, for a pair; None where there are none.
        pictures: The images.
        tensors: Which of them were given as tensors.

    Raises:
        TargetError: If a pair is no pair, or an embedding is zero, not finite, or of one number.
        PictureError: If a picture cannot be read.
    """
    samples: dict[Any, _ReadReference] = {}
    if any(isinstance(target, SimilarPair) for target in targets):
        targets = _pair_up(targets, inputs, pictures, tensors, samples)
    wanted = [target for target in targets if isinstance(target, Similar)]
    if not wanted:
        return Placed(tuple(targets))
    for target in wanted:
        _read_sides(model, target, samples)
    vectors, check = _embed(model, list(samples.values()))
    known = {
        key: _reference_of(sample, vector, check)
        for (key, sample), vector in zip(samples.items(), vectors, strict=True)
    }
    placed = tuple(
        replace(target, layer=model.embedding, references=tuple(known[_key(side)] for side in target.sides))
        if isinstance(target, Similar)
        else target
        for target in targets
    )
    return Placed(placed, (check, *(note for sample in samples.values() for note in sample.notes)))


def _key(side: Any) -> Any:
    return os.fsdecode(side) if isinstance(side, (str, os.PathLike)) else id(side)


def _pair_up(
    targets: Sequence[Target],
    inputs: Tensor | None,
    pictures: Sequence[Sample],
    tensors: frozenset[int],
    samples: dict[Any, _ReadReference],
) -> list[Target]:
    """Each of two pictures explained towards the other, whose input is known already."""
    alone = all(isinstance(target, SimilarPair) for target in targets)
    if inputs is None or len(pictures) != PAIR_SIZE or not alone:
        given = f"got {len(pictures)}" if alone else "and is not mixed with other targets"
        raise TargetError(f"'{PAIR}' explains exactly two pictures, each towards the other; {given}.")
    sides: list[Any] = [inputs[row] if row in tensors else picture for row, picture in enumerate(pictures)]
    for row, (side, picture) in enumerate(zip(sides, pictures, strict=True)):
        samples[_key(side)] = _ReadReference(picture.name, picture.digest, inputs[row], row in tensors)
    return [Similar(side) for side in reversed(sides)]


def _read_sides(model: Model, target: Similar, samples: dict[Any, _ReadReference]) -> None:
    """Read and prepare the pictures that a target names, but those that are known."""
    left = [side for side in target.sides if _key(side) not in samples]
    for side in left:
        if isinstance(side, (str, os.PathLike)) and is_many(Path(os.fsdecode(side)), model.places):
            raise PictureError(f"{quoted(os.fsdecode(side))} is a folder; name one picture in it.")
    items = gather(left, model.preprocess.entrance) if left else []
    if len(items) != len(left):
        raise TargetError(f"'{target}' takes one picture at a time; got {len(items)}.")
    for side, item in zip(left, items, strict=True):
        if isinstance(item, Sample):
            values, _ = model.preprocess(item)
            notes = tuple(f"{item.name}: {note}" for note in item.notes)
            samples[_key(side)] = _ReadReference(item.name, item.digest, values, notes=notes)
            continue
        if len(item) != model.preprocess.channels:
            raise UsageError(f"'{model.name}' takes {model.preprocess.channels} channels; the picture to be similar to "
                             f"has {len(item)}.")  # fmt: skip
        values = item.detach().float().cpu()
        digest = hashlib.sha256(values.contiguous().numpy().tobytes()).hexdigest()
        samples[_key(side)] = _ReadReference("a tensor", digest, item.detach(), tensor=True)


def _embed(model: Model, samples: Sequence[_ReadReference]) -> tuple[list[NDArray[np.float64]], str]:
    """The embeddings of some pictures, those of one size together; and in words what an embedding is."""
    watch = [] if model.embedding is None else [model.embedding]
    found: dict[int, NDArray[np.float64]] = {}
    averaged = False

    def ask(inputs: Tensor, rows: slice) -> Tensor:
        nonlocal averaged
        with torch.no_grad(), capture(model.module, [], watch) as caught:
            logits = model.answer(inputs, [NoTarget()]) if watch else model.forward(inputs)
            vectors, averaged = embedding_of(model.embedding, logits, caught)
        if len(vectors) != len(inputs):
            raise TargetError(f"Layer '{model.embedding}' gives {len(vectors)} vectors for {len(inputs)} pictures.")
        return widen_half(vectors)[: rows.stop - rows.start].double().cpu()

    shapes = list(dict.fromkeys(tuple(sample.values.shape) for sample in samples))
    with undisturbed(model.module), progress_to(lambda _done, _total: None):
        for shape in shapes:
            numbers = [number for number, sample in enumerate(samples) if tuple(sample.values.shape) == shape]
            batch = torch.stack([samples[number].values.cpu() for number in numbers])
            chunks = in_chunks(
                batch, ask, size=AT_ONCE, device=model.device, dtype=model.dtype, fixed=model.fixed_batch
            )
            found |= dict(zip(numbers, torch.cat(chunks.results).numpy(), strict=True))
    count = len(found[0])
    if count < FEWEST or (not watch and model.head.kind == "binary"):
        raise TargetError(
            f"The embedding is {_describe_source(model, averaged=averaged)}, one number, whose cosine is 1 or -1 "
            "whatever the picture; expected several (--embedding LAYER takes a layer's)."
        )
    return [found[number] for number in range(len(samples))], _describe_embedding(model, count, averaged=averaged)


def _describe_source(model: Model, *, averaged: bool) -> str:
    mean = "the mean over places of " if averaged else ""
    if model.embedding is not None:
        return f"{mean or 'the output of '}{model.embedding}"
    return f"{mean}the network's output{f' before its {model.head.end}' if model.head.end else ''}"


def _describe_embedding(model: Model, count: int, *, averaged: bool) -> str:
    advice = "; --embedding LAYER takes a layer's" if model.embedding is None else ""
    return f"the embedding is {_describe_source(model, averaged=averaged)}, {count} numbers{advice}"


def _reference_of(sample: _ReadReference, vector: NDArray[np.float64], check: str) -> Reference:
    size = float(np.linalg.norm(vector))
    if not np.isfinite(size) or size == 0:
        kind = "zero" if size == 0 else "not finite"
        raise TargetError(f"The embedding of '{sample.name}' is {kind}, so nothing can be compared with it; {check}.")
    return Reference(sample.name, sample.sha256, vector / size, sample.tensor)
