"""The request of an ascent, checked: targets, the picture to start from, the canvas, the recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor

from cnnviz.core.aim import parse_aim
from cnnviz.core.dimensions import KINDS, PICTURE, Size, spell_size
from cnnviz.core.picture import Picture
from cnnviz.core.sample import Sample
from cnnviz.core.similar import SimilarPair
from cnnviz.core.target import Finer, RegionTarget, Target, TargetLike, TopClass, Unit
from cnnviz.errors import ParameterError, PictureError, TargetError, UsageError
from cnnviz.images.inputs import gather
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.ascent.optimise import ImageRequest
from cnnviz.methods.ascent.recipes import RECIPES, SMALL, Recipe, RecipeName
from cnnviz.methods.ascent.spectrum import has_colours, value_range
from cnnviz.methods.ascent.views import resample
from cnnviz.methods.prepare import show_tensors
from cnnviz.methods.references import place_references
from cnnviz.models.model import Model

__all__ = ["parse_targets", "choose_canvas", "list_requests", "choose_recipe", "resize", "read_start", "is_at_a_place"]

SMALLEST, LARGEST = 8, 4096
COLOURS = {1: "L", 3: "RGB"}


def parse_targets(model: Model, like: TargetLike, *, started: bool) -> list[Target]:
    """The targets, one a picture, not yet settled.

    Args:
        model: The network.
        like: A target, or a list or tuple of them.
        started: Whether there is a picture to start from, whose top class can be meant.

    Raises:
        TargetError: If there is none, or one cannot be understood.
    """
    given: list[Any] = list(like) if isinstance(like, (list, tuple)) else [like]
    if not given:
        raise TargetError("There is no target; expected at least one.")
    found = [parse_aim(each, model.labels, model.layer_names) for each in given]
    for target in found:
        if isinstance(target, RegionTarget):
            raise TargetError(
                f"'{target}' is about a region of a picture that there is; a picture that is made has none: name the "
                "class alone, or a unit's place, 'layer:12@ROW,COLUMN'."
            )
        first = target.first if isinstance(target, Finer) else target
        if isinstance(first, TopClass) and not started:
            raise TargetError(
                "What is the picture to show? Expected a class, a unit such as 'layer4:17', a whole layer such as "
                "'layer4:*', or a picture to start from, whose top class is meant then."
            )
        if isinstance(target, Unit):
            model.check_layer(target.layer)
    if any(isinstance(target, SimilarPair) for target in found):
        raise TargetError("'similar:pair' explains two pictures that there are; name a picture, as in 'similar:FILE'.")
    return list(place_references(model, found).targets)


def list_requests(targets: Sequence[Target]) -> list[ImageRequest]:
    """The pictures to be made, those of one target counted."""
    seen: Counter[str] = Counter()
    requests = []
    for number, target in enumerate(targets):
        requests.append(ImageRequest(number, target, seen[str(target)]))
        seen[str(target)] += 1
    return requests


def read_start(model: Model, like: ImagesLike) -> tuple[Tensor, Sample]:
    """The picture to start from: pixels ``(C, H, W)`` in [0, 1], and the picture itself.

    Of a signal or a volume its shares ``(C, ...)`` of the range that what is made can have.

    Raises:
        UsageError: If there are several, or a tensor has another number of channels.
        PictureError: If it cannot be read, or the network takes neither grey nor colour.
    """
    items = gather(like, model.preprocess.entrance._replace(value_range=None))
    if len(items) != 1:
        raise UsageError(f"An ascent starts from one picture; got {len(items)}.")
    channels = model.preprocess.channels
    if isinstance(items[0], Picture):
        if channels not in COLOURS:
            raise PictureError(
                f"The network takes {channels} channels, so a picture cannot be started from; expected a float tensor "
                f"({channels}, H, W)."
            )
        drawn = np.array(Pillow.fromarray(items[0].pixels).convert(COLOURS[channels]), dtype=np.float32) / 255
        return torch.from_numpy(drawn.reshape(*drawn.shape[:2], channels)).permute(2, 0, 1), items[0]
    values, sample = model.preprocess(items[0]) if isinstance(items[0], Sample) else (items[0], None)
    values = values.detach().float().cpu()
    if len(values) != channels:
        raise UsageError(f"'{model.name}' takes {channels} channels; the picture to start from has {len(values)}.")
    mean, std = model.preprocess.columns()
    low, span = value_range(model)
    shares = values * std + mean if has_colours(model) else (values * std + mean - low) / span
    return shares.clamp(0, 1), sample or show_tensors(model, values[None], [0])[0].changed(name="input", geometry=None)


def choose_canvas(model: Model, recipe: Recipe, size: int | None, start: Tensor | None) -> Size:
    """Height and width of the pictures (the length of each axis): in the proportions of the start, or of the input.

    Raises:
        ParameterError: If that is too small or too large.
    """
    shape = tuple(start.shape[1:]) if start is not None else model.preprocess.input_size
    shorter = size if size is not None else round(min(model.preprocess.input_size) * recipe.canvas)
    canvas = tuple(max(1, round(side * shorter / min(shape))) for side in shape)
    if model.places != PICTURE and prod(canvas) > LARGEST**2:
        kind = KINDS[model.places]
        raise ParameterError(f"size gives {kind}s of {spell_size(canvas)} values; expected at most {LARGEST**2:,}.")
    if model.places == PICTURE and not SMALLEST <= min(canvas) <= max(canvas) <= LARGEST:
        raise ParameterError(
            f"size gives pictures of {spell_size(canvas)} pixels; expected sides of {SMALLEST} to {LARGEST}."
        )
    return canvas


def resize(pixels: Tensor, size: Size) -> Tensor:
    """Pixels ``(C, ...)`` in [0, 1] in another size, averaged where it is smaller."""
    return pixels if tuple(pixels.shape[1:]) == size else resample(pixels[None], size)[0].clamp(0, 1)


def is_at_a_place(target: Target) -> bool:
    """Whether it is a unit at one place."""
    return isinstance(target, Unit) and target.place is not None


def choose_recipe(model: Model, name: RecipeName, **given: Any) -> Recipe:
    """A recipe, with what the user wants otherwise.

    Args:
        model: The network, by whose input's size ``"auto"`` decides.
        name: Which.
        **given: Its attributes; what is None stays.
    """
    if name == "auto":
        name = "crops" if min(model.preprocess.input_size) >= SMALL else "whole"
    changed = {key: value for key, value in given.items() if value is not None}
    if "transformations" in changed:
        changed["at_a_place"] = None
    return replace(RECIPES[name], **changed)
