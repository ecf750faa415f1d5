"""One call of ``maximize``: its pictures, some at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from cnnviz.core.picture import Picture
from cnnviz.core.target import Target
from cnnviz.engine.batching import in_slices
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.ascent.objective import Asked, Precision, layer_of
from cnnviz.methods.ascent.optimise import Climb, Climbed, Order, generator_of
from cnnviz.methods.ascent.parameterisation import Fourier, Painting, Phase, Pixels, Pyramid
from cnnviz.methods.ascent.recipes import MOVES, Recipe
from cnnviz.methods.ascent.request import ordered, resized, stays
from cnnviz.methods.ascent.spectrum import natural, natural_of
from cnnviz.models.model import Model
from cnnviz.provenance import Provenance
from cnnviz.results.images import Image, Images, as_pixels

__all__ = ["Session", "Wishes"]

AT_ONCE = 8
"""Pictures at once where there are many cores to feed."""


@dataclass(frozen=True)
class Wishes:
    """The settings of a call.

    Attributes:
        recipe: How to go about it.
        canvas: Height and width of the pictures.
        seed: Of everything drawn at random.
        frames: Snapshots, evenly spaced; 0 takes them after 1, 2, 4, 8, ... steps.
        patience: Steps over which the mean score has to grow; 0 for ever.
        precision: What the network computes in.
        compiled: Whether it is compiled.
        at_once: Most pictures at once, or None.
    """

    recipe: Recipe
    canvas: tuple[int, int]
    seed: int = 0
    frames: int = 0
    patience: int = 0
    precision: Precision = "full"
    compiled: bool = False
    at_once: int | None = None


class Session:
    """The pictures of one call.

    Args:
        model: The network.
        targets: What they show, not yet settled.
        wishes: The settings.
        start: Pixels ``(C, H, W)`` to start from and the picture they come from, or None.
        examples: The user's own pictures, or None.

    Raises:
        TargetError: If the network has no such class or unit.
    """

    def __init__(
        self,
        model: Model,
        targets: Sequence[Target],
        wishes: Wishes,
        start: tuple[Tensor, Picture] | None,
        examples: ImagesLike | None,
    ) -> None:
        self.model, self.wishes, self.picture = model, wishes, start[1] if start else None
        self.nature = natural(model) if examples is None else natural_of(model, examples)
        self.start = resized(start[0], wishes.canvas) if start else None
        self.mean, self.std = (
            torch.tensor(values, device=model.device).view(-1, 1, 1)
            for values in (model.preprocess.mean, model.preprocess.std)
        )
        example = self._example()
        self.asked = Asked(model, example, targets, precision=wishes.precision, compiled=wishes.compiled)
        with self.asked.running():
            self.orders = ordered(self.asked.settled(example, targets))
        self.interrupted = False

    def run(self) -> Images:
        """All pictures, or those that there are at an interrupt."""
        size = self.wishes.at_once or (1 if self.model.device.type == "cpu" else AT_ONCE)
        with self.asked.running():
            chunks = in_slices(len(self.orders), self._ask, size=size)
            climbed = [each for some in chunks.results for each in some]
            scores = [self._score(each) for each in climbed]
        return self._images(climbed, scores, chunks.checks)

    def score(self, inputs: Tensor, row: int) -> Tensor:
        """Scores ``(n,)`` of network inputs for the target of a picture, by the network itself."""
        return self.asked.clean(inputs, self.orders[row].target)

    def _ask(self, some: slice) -> list[Climbed]:
        found: list[Climbed] = []
        for _, orders in groupby(self.orders[some], key=lambda order: (layer_of(order.target), stays(order.target))):
            if self.interrupted:
                break
            try:
                found += self._climb(list(orders))
            except KeyboardInterrupt:
                if not found and not some.start:
                    raise
                self.interrupted = True
        return found

    def _climb(self, orders: list[Order]) -> list[Climbed]:
        device, recipe = self.model.device, self.wishes.recipe
        generators = [generator_of(self.wishes.seed, order, device) for order in orders]
        kind = (recipe.at_a_place if stays(orders[0].target) else None) or recipe.transformations
        climbed = Climb(
            self.asked,
            self._painting(generators),
            orders,
            generators,
            recipe=recipe,
            moves=MOVES[kind],
            normalise=self._normalised,
            input_size=self.model.preprocess.input_size,
            pictures=len(self.orders),
            patience=self.wishes.patience,
            keep=_kept(recipe.steps, self.wishes.frames),
        ).run()
        self.interrupted = any(each.interrupted for each in climbed)
        return climbed

    def _painting(self, generators: Sequence[torch.Generator]) -> Painting:
        recipe, (height, width) = self.wishes.recipe, self.wishes.canvas
        shapes = {"fourier": (height, width // 2 + 1, 2), "phase": (height, width // 2 + 1)}
        shape = self.model.preprocess.channels, *shapes.get(recipe.parameterisation, (height, width))
        device = generators[0].device
        noise = torch.stack([torch.randn(shape, generator=each, device=device) for each in generators])
        start = None if self.start is None else self.start.to(device).expand(len(generators), -1, -1, -1)
        size, nature = self.wishes.canvas, self.nature
        match recipe.parameterisation:
            case "fourier":
                return Fourier(size, noise, nature, recipe, start=start)
            case "phase":
                return Phase(size, noise, nature, start=start)
            case "pyramid":
                return Pyramid(size, noise, nature, contrast=recipe.contrast, start=start)
        return Pixels(size, noise, recipe, start=start)

    def _normalised(self, samples: Tensor) -> Tensor:
        return self.model.to_device((samples - self.mean) / self.std)

    def _example(self) -> Tensor:
        """The input that targets are settled on: the picture to start from, or an empty one."""
        size = self.model.preprocess.input_size
        if self.start is None:
            return self.model.to_device(torch.zeros(1, self.model.preprocess.channels, *size))
        return self._normalised(resized(self.start, size)[None].to(self.model.device))

    def _score(self, climbed: Climbed) -> float:
        pixels = resized(climbed.pixels, self.model.preprocess.input_size)[None].to(self.model.device)
        return float(self.asked.clean(self._normalised(pixels), climbed.order.target)[0])

    def _images(self, climbed: Sequence[Climbed], scores: Sequence[float], decided: Sequence[str]) -> Images:
        missing = len(self.orders) - len(climbed)
        left_out = (f"interrupted: {missing} of {len(self.orders)} pictures were not begun",) if missing else ()
        checks = (*self.model.notes, *self.asked.checks, *decided, *left_out)
        provenance = self._provenance([each.order for each in climbed])
        parts = tuple(
            Image(
                each.pixels.numpy(),
                each.order.target,
                score,
                self.model.name,
                np.array(each.history, dtype=np.float32),
                tuple((step, as_pixels(pixels)) for step, pixels in each.snapshots),
                checks=(*checks, *filter(None, [each.ended])),
                provenance=provenance.only(row),
            )
            for row, (each, score) in enumerate(zip(climbed, scores, strict=True))
        )
        ended = [f"{each.order.target}: {each.ended}" for each in climbed if each.ended]
        return Images(parts, (*checks, *ended), provenance)

    def _provenance(self, orders: Sequence[Order]) -> Provenance:
        targets = tuple(str(order.target) for order in orders)
        asked: dict[str, object] = {"target": list(targets)}
        images: tuple[dict[str, str], ...] = ()
        if self.picture is not None:
            asked["start"] = self.picture.name
            images = ({"name": self.picture.name, "sha256": self.picture.digest},) * len(orders)
        if self.nature.pictures:
            asked["examples"] = self.nature.pictures
        return Provenance(
            asked=asked,
            model=self.model.describe(),
            images=images,
            targets=targets,
            device=self.model.device.type,
            dtype=str(self.model.dtype).removeprefix("torch."),
            threads=torch.get_num_threads(),
            chunk=self.wishes.recipe.crops,
            seed=self.wishes.seed,
        )


def _kept(steps: int, frames: int) -> frozenset[int]:
    """The steps after which a snapshot is taken; 0 is the start."""
    if frames:
        return frozenset(round(steps * number / max(1, frames - 1)) for number in range(frames))
    return frozenset({0, steps, *(2**power for power in range(steps.bit_length()))})
