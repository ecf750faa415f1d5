"""The request of an ascent, checked: targets, the picture to start from, the canvas, the recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor
from torch.nn import functional

from cnnviz.core.aim import parse_aim
from cnnviz.core.dimensions import Size
from cnnviz.core.picture import Picture
from cnnviz.core.similar import SimilarPair
from cnnviz.core.target import Finer, RegionTarget, Target, TargetLike, TopClass, Unit
from cnnviz.errors import ParameterError, PictureError, TargetError, UsageError
from cnnviz.images.inputs import gather
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.ascent.optimise import ImageRequest
from cnnviz.methods.ascent.recipes import RECIPES, SMALL, Recipe, RecipeName
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


def read_start(model: Model, like: ImagesLike) -> tuple[Tensor, Picture]:
    """The picture to start from: pixels ``(C, H, W)`` in [0, 1], and the picture itself.

    Raises:
        UsageError: If there are several, or a tensor has another number of channels.
        PictureError: If it cannot be read, or the network takes neither grey nor colour.
    """
    items = gather(like)
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
    assert isinstance(items[0], Tensor)
    values = items[0].detach().float().cpu()
    if len(values) != channels:
        raise UsageError(f"'{model.name}' takes {channels} channels; the picture to start from has {len(values)}.")
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (model.preprocess.mean, model.preprocess.std))
    return (values * std + mean).clamp(0, 1), Picture(model.preprocess.to_pixels(values[None])[0], "input")


def choose_canvas(model: Model, recipe: Recipe, size: int | None, start: Tensor | None) -> Size:
    """Height and width of the pictures: in the proportions of the start, or of the network's input.

    Raises:
        ParameterError: If that is too small or too large.
    """
    shape = tuple(start.shape[-2:]) if start is not None else model.preprocess.input_size
    shorter = size if size is not None else round(min(model.preprocess.input_size) * recipe.canvas)
    height, width = (max(1, round(side * shorter / min(shape))) for side in shape)
    if not SMALLEST <= min(height, width) <= max(height, width) <= LARGEST:
        raise ParameterError(
            f"size gives pictures of {height} x {width} pixels; expected sides of {SMALLEST} to {LARGEST}."
        )
    return height, width


def resize(pixels: Tensor, size: Size) -> Tensor:
    """Pixels ``(C, H, W)`` in another size, averaged where it is smaller."""
    if tuple(pixels.shape[-2:]) == size:
        return pixels
    return functional.interpolate(pixels[None], size=size, mode="bilinear", antialias=True)[0].clamp(0, 1)


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
