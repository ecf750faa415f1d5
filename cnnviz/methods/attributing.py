"""Asking for attributions to the input's pixels, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from cnnviz.core.target import Target, TargetLike
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.asking import Answer, unsound
from cnnviz.methods.inputs import Batch, prepare, provenance_of
from cnnviz.models.model import Model
from cnnviz.probing.chunks import Chunks, in_chunks
from cnnviz.probing.state import undisturbed
from cnnviz.results.attribution import Attribution, Channels, flattened
from cnnviz.results.attributions import Attributions
from cnnviz.results.heatmap import Heatmap

__all__ = ["Ask", "attribute"]

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
        flat, rectified, made = flattened(values[row], channels), channels != "signed", provenance.only(row)
        about = (targets[row], scores[row], probable[row], picture, layer, rectified, model.name, checks, made)
        parts.append(Attribution(values[row], channels, Heatmap(flat, *about)))
    return Attributions(tuple(parts), checks, provenance)
