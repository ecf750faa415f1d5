"""prepare: images and targets in any accepted form, as one batch to ask about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnviz.core.change import contextmanager
from cnnviz.core.dimensions import PICTURE, SIGNAL, size_of
from cnnviz.core.layer import split_call
from cnnviz.core.parse_target import parse_target
from cnnviz.core.picture import Picture
from cnnviz.core.sample import Geometry, Sample, Signal, Volume
from cnnviz.core.similar import Similar, SimilarPair, record_references
from cnnviz.core.target import DetectionTarget, RegionTarget, Target, TargetLike, TopClass, Unit, dense_target
from cnnviz.engine.scores.score import watched_layers
from cnnviz.engine.state.modes import inference
from cnnviz.errors import CnnvizError, TargetError, UsageError
from cnnviz.images.inputs import gather
from cnnviz.images.reading import ImagesLike, read_mask
from cnnviz.methods.references import Placed, place_references
from cnnviz.models.model import Model
from cnnviz.models.origin import file_digest
from cnnviz.models.resampling import in_units
from cnnviz.provenance import Caution, Provenance

__all__ = ["InputBatch", "prepare", "provenance_of", "show_tensors", "unseen"]

LIKENESS = (Similar, SimilarPair)


@dataclass(frozen=True)
class InputBatch:
    """Network inputs with the pictures they were made from, and a target for each.

    Attributes:
        inputs: ``(N, C, H, W)``, on whatever device they were given.
        pictures: For each input its picture with the geometry; for a tensor the input itself, as pixels.
        targets: For each input its target, not yet settled.
        checks: What preprocessing assumed or reading decided.
        tensors: Which of them were given as tensors, so that no picture of theirs can be found again.
    """

    inputs: Tensor
    pictures: tuple[Sample, ...]
    targets: tuple[Target, ...]
    checks: tuple[str, ...]
    tensors: frozenset[int] = frozenset()


def prepare(model: Model, images: ImagesLike, target: TargetLike = None) -> InputBatch:
    """Images and target in any accepted form, as a batch.

    Raises:
        PictureError: If a picture cannot be read.
        TargetError: If a target cannot be understood, or there are not as many targets as images.
        UsageError: If there is no image, or tensors have several sizes or another number of channels.
    """
    inputs: list[Tensor] = []
    pictures: dict[int, Sample] = {}
    notes: list[str] = []
    for row, item in enumerate(gather(images, model.preprocess.entrance)):
        if isinstance(item, Sample):
            values, pictures[row] = model.preprocess(item)
            notes += [*(Caution.like(note, f"{item.name}: {note}") for note in pictures[row].notes), *model.notes]
        else:
            values = item.detach()
        inputs.append(values)
    batch = _stack_inputs(model, images, inputs)
    targets = _parse_targets(model, target, len(inputs))
    tensors = [row for row in range(len(inputs)) if row not in pictures]
    pictures |= show_tensors(model, batch, tensors)
    shown = tuple(pictures[row] for row in range(len(inputs)))
    likened = Placed(targets)
    if any(isinstance(target, LIKENESS) for target in targets):
        likened = place_references(model, targets, batch, shown, tensors=frozenset(tensors))
    targets = likened.targets
    notes += [*model.held_fixed, *model.steadiness.checks, *likened.checks, *_note_calls(model, targets, batch)]
    if any(each.geometry is not None and each.geometry.padded for each in shown) and _is_dense(model, batch):
        targets = tuple(map(dense_target, targets))
    placed = tuple(_place(target, picture) for target, picture in zip(targets, shown, strict=True))
    return InputBatch(batch, shown, placed, tuple(dict.fromkeys(notes)), frozenset(tensors))


def _place(target: Target, picture: Sample) -> Target:
    named = isinstance(target, RegionTarget) and (target.region is not None or target.peak)
    if (named or isinstance(target, DetectionTarget)) and not isinstance(picture, Picture):
        raise TargetError(f"'{target}' applies to pictures, which this network does not take; expected a class.")
    if isinstance(target, DetectionTarget):
        return target.placed(picture)
    return target.placed(picture, read_mask) if isinstance(target, RegionTarget) else target


def _is_dense(model: Model, batch: Tensor) -> bool:
    """Whether the network answers for every pixel, so that what lies around a picture counts."""
    try:
        return model.answers_pixels(batch)
    except CnnvizError:  # said by whatever asks next
        return False


def _note_calls(model: Model, targets: Sequence[Target], batch: Tensor) -> list[str]:
    """Which call is explained of units and embeddings whose layer runs several times."""
    names = watched_layers(targets)
    layers = model.layers_on(size_of(batch)) if names else {}
    return [check for name in names for check in layers[split_call(name)[0]].describe_call(name)]


def provenance_of(model: Model, batch: InputBatch, **more: Any) -> Provenance:
    """How a result of this model and batch was made, but for the method and its settings."""
    found = Provenance(
        model=model.describe(),
        images=tuple(_identify(picture, tensor=row in batch.tensors) for row, picture in enumerate(batch.pictures)),
        device=model.device.type,
        dtype=str(model.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        **more,
    )
    if files := _target_files(batch.targets):
        found = replace(found, asked={**found.asked, "files": files})
    if any(isinstance(target, LIKENESS) for target in batch.targets):
        found = replace(found, asked=record_references(found.asked, batch.targets))
    return found


def _target_files(targets: Sequence[Target]) -> list[dict[str, str]]:
    """Name and hash of every file that targets name, so that it can be found again: the masks of regions."""
    regions = dict.fromkeys(target.region for target in targets if isinstance(target, RegionTarget))
    named = {(each.text.removeprefix(" in "), each.file) for each in regions if each is not None and each.file}
    return [{"file": name, "sha256": file_digest(Path(file))} for name, file in sorted(named)]


def _identify(picture: Sample, *, tensor: bool) -> dict[str, str]:
    """A picture as provenance names it: by its file's name, the hash of its pixels, and its class if known."""
    identity = {"name": picture.name, "sha256": picture.digest}
    if picture.true_class is not None:
        identity["true"] = picture.true_class
    return {**identity, "kind": "tensor"} if tensor else identity


_seen: ContextVar[bool] = ContextVar("seen", default=True)


@contextmanager
def unseen() -> Iterator[None]:
    """Inside, inputs that are given as tensors are not turned into pictures, which takes time: nobody looks at them."""
    token = _seen.set(False)
    try:
        yield
    finally:
        _seen.reset(token)


def show_tensors(model: Model, batch: Tensor, rows: Sequence[int]) -> dict[int, Sample]:
    """Some rows of a batch as pictures, signals or volumes, by row."""
    if not rows:
        return {}
    if model.places == PICTURE and not _seen.get():
        empty, whole = np.zeros((1, 1, 3), np.uint8), Geometry.whole(*size_of(batch))
        return {row: Picture(empty, f"input {row + 1}", whole) for row in rows}
    some, whole = batch if len(rows) == len(batch) else batch[list(rows)], Geometry.whole(*size_of(batch))
    held: Any = model.preprocess.to_pixels(some) if model.places == PICTURE else model.preprocess.to_values(some)
    made = {row: _as_sample(model, each, f"input {row + 1}", whole) for row, each in zip(rows, held, strict=True)}
    return {row: in_units(each, model.preprocess)[0] for row, each in made.items()}


def _as_sample(model: Model, values: Any, name: str, geometry: Geometry) -> Sample:
    """What one network input shows; of a network for clips values are colours in [0, 1]."""
    if model.places == PICTURE:
        return Picture(values, name, geometry)
    if model.places == SIGNAL:
        return Signal(values, name, geometry)
    rate = model.preprocess.entrance.rate
    return Volume(values, name, geometry) if rate is None else Volume(values * 255, name, geometry, rate=rate)


def _stack_inputs(model: Model, images: ImagesLike, inputs: Sequence[Tensor]) -> Tensor:
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
    with inference(mode=False):
        return torch.stack([values.to(device) for values in inputs])


def _parse_targets(model: Model, like: TargetLike, count: int) -> tuple[Target, ...]:
    given: Any = like
    per_image = isinstance(given, (list, tuple)) or (isinstance(given, (Tensor, np.ndarray)) and given.ndim == 1)
    likes: list[Any] = list(given) if per_image else [given] * count
    if len(likes) != count:
        raise TargetError(f"Give one target for all images, or one for each: {len(likes)} targets, {count} images.")
    known: dict[Any, Target] = {}
    return tuple(_parse_once(model, each, known) for each in likes)


def _parse_once(model: Model, like: Any, known: dict[Any, Target]) -> Target:
    key = like if isinstance(like, (str, int, type(None))) and not isinstance(like, bool) else id(like)
    if key not in known:
        known[key] = TopClass() if like is None else parse_target(like, model.labels, model.layer_names)
        if isinstance(like, Unit):
            model.check_layer(like.layer)
    return known[key]
