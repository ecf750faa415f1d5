"""One call of ``maximize``: its settings, and its pictures, optimised some at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.core.dimensions import Size
from cnnviz.core.sample import Sample
from cnnviz.core.similar import Similar, record_references
from cnnviz.core.target import DetectionTarget, Target
from cnnviz.engine.batching import in_slices
from cnnviz.engine.undisturbed import intact
from cnnviz.errors import TargetError
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.ascent.objective import Objective, layer_of
from cnnviz.methods.ascent.optimise import ImageRequest, OptimisedImage, Optimiser, generator_of
from cnnviz.methods.ascent.parameterisation import Fourier, ParameterisedImages, Phase, Pixels, Pyramid
from cnnviz.methods.ascent.recipes import VIEW_TRANSFORMS, AscentPrecision, Recipe
from cnnviz.methods.ascent.request import is_at_a_place, list_requests, resize
from cnnviz.methods.ascent.spectrum import assumed_statistics, has_colours, measure_statistics, value_range
from cnnviz.models.model import Model
from cnnviz.provenance import Provenance
from cnnviz.results.images import Image, Images, as_pixels

__all__ = ["Session", "AscentSettings"]

AT_ONCE = 8
"""Pictures at once where there are many cores to feed."""


@dataclass(frozen=True)
class AscentSettings:
    """The settings of a call of ``maximize``.

    Attributes:
        recipe: How to go about it.
        canvas: Height and width of the pictures; of signals and volumes the length of each axis.
        seed: Seed for everything drawn at random.
        frames: Snapshots, evenly spaced; 0 takes them after 1, 2, 4, 8, ... steps.
        patience: Steps over which the mean score has to grow; 0 for ever.
        precision: What the network computes in.
        compiled: Whether it is compiled.
        at_once: Most pictures at once, or None.
    """

    recipe: Recipe
    canvas: Size
    seed: int = 0
    frames: int = 0
    patience: int = 0
    precision: AscentPrecision = "full"
    compiled: bool = False
    at_once: int | None = None


class Session:
    """The pictures of one call.

    Args:
        model: The network.
        targets: What they show, not yet settled.
        settings: The settings.
        start: Pixels ``(C, H, W)`` in [0, 1] to start from and the picture they come from, or None.
        examples: The user's own pictures, or None.

    Raises:
        TargetError: If the network has no such class or unit, or there is no picture that a box lies on.
    """

    def __init__(
        self,
        model: Model,
        targets: Sequence[Target],
        settings: AscentSettings,
        start: tuple[Tensor, Sample] | None,
        examples: ImagesLike | None,
    ) -> None:
        self.model, self.settings, self.picture = model, settings, start[1] if start else None
        self.statistics = assumed_statistics(model) if examples is None else measure_statistics(model, examples)
        self.start = resize(start[0], settings.canvas) if start else None
        self.mean, self.std = model.preprocess.columns(device=model.device)
        self.range: tuple[Tensor, Tensor] | None = None if has_colours(model) else value_range(model)
        example = self._example_input()
        self.objective = Objective(model, example, targets, precision=settings.precision, compiled=settings.compiled)
        with self.objective.running():
            settled = self.objective.settle_targets(example, targets)
        if boxed := next((each for each in settled if isinstance(each, DetectionTarget) and not start), None):
            raise TargetError(
                f"'{boxed}' is a detector's box on a picture that there is; give that as the start, or name a unit, "
                "such as 'layer4:17'."
            )
        self.requests = list_requests(settled)
        self.interrupted = False

    def run(self) -> Images:
        """All pictures, or those that there are at an interrupt."""
        size = self.settings.at_once or (1 if self.model.device.type == "cpu" else AT_ONCE)
        with self.objective.running():
            chunks = in_slices(len(self.requests), self._make_some, size=size)
            made = [each for some in chunks.results for each in some]
            scores = [self._score(each) for each in made]
        return self._images(made, scores, chunks.checks)

    def score(self, inputs: Tensor, row: int) -> Tensor:
        """Scores ``(n,)`` of network inputs for the target of a picture, by the network itself."""
        return self.objective.clean_scores(inputs, self.requests[row].target)

    def _make_some(self, some: slice) -> list[OptimisedImage]:
        found: list[OptimisedImage] = []
        for _, requests in groupby(
            self.requests[some], key=lambda request: (layer_of(request.target), is_at_a_place(request.target))
        ):
            if self.interrupted:
                break
            try:
                found += intact(partial(self._climb, list(requests)))
            except KeyboardInterrupt:
                if not found and not some.start:
                    raise
                self.interrupted = True
        return found

    def _climb(self, requests: list[ImageRequest]) -> list[OptimisedImage]:
        device, recipe = self.model.device, self.settings.recipe
        generators = [generator_of(self.settings.seed, request, device) for request in requests]
        kind = (recipe.at_a_place if is_at_a_place(requests[0].target) else None) or recipe.transformations
        made = Optimiser(
            self.objective,
            self._parameterise(generators),
            requests,
            generators,
            recipe=recipe,
            transform=VIEW_TRANSFORMS[kind],
            normalise=self._normalise,
            input_size=self.model.preprocess.input_size,
            pictures=len(self.requests),
            patience=self.settings.patience,
            keep=_snapshot_steps(recipe.steps, self.settings.frames),
        ).run()
        self.interrupted = any(each.interrupted for each in made)
        return made

    def _parameterise(self, generators: Sequence[torch.Generator]) -> ParameterisedImages:
        recipe, canvas = self.settings.recipe, self.settings.canvas
        half = (*canvas[:-1], canvas[-1] // 2 + 1)
        shapes = {"fourier": (*half, 2), "phase": half}
        shape = self.model.preprocess.channels, *shapes.get(recipe.parameterisation, canvas)
        device = generators[0].device
        noise = torch.stack([torch.randn(shape, generator=each, device=device) for each in generators])
        start = None if self.start is None else self.start.to(device).expand(len(generators), *self.start.shape)
        size, statistics = self.settings.canvas, self.statistics
        match recipe.parameterisation:
            case "fourier":
                return Fourier(size, noise, statistics, recipe, start=start)
            case "phase":
                return Phase(size, noise, statistics, start=start)
            case "pyramid":
                return Pyramid(size, noise, statistics, contrast=recipe.contrast, start=start)
        return Pixels(size, noise, recipe, start=start)

    def _normalise(self, samples: Tensor) -> Tensor:
        return self.model.to_device((self._as_values(samples) - self.mean) / self.std)

    def _as_values(self, shares: Tensor) -> Tensor:
        """What the network's inputs are before its normalisation: of pictures the shares in [0, 1] themselves."""
        if self.range is None:
            return shares
        low, span = (each.to(shares.device) for each in self.range)
        return shares * span + low

    def _draw(self, pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
        return as_pixels(self._as_values(torch.from_numpy(pixels)).numpy())

    def _example_input(self) -> Tensor:
        """The input that targets are settled on: the picture to start from, or an empty one."""
        size = self.model.preprocess.input_size
        if self.start is None:
            return self.model.to_device(torch.zeros(1, self.model.preprocess.channels, *size))
        return self._normalise(resize(self.start, size)[None].to(self.model.device))

    def _score(self, made: OptimisedImage) -> float:
        pixels = resize(made.pixels, self.model.preprocess.input_size)[None].to(self.model.device)
        return float(self.objective.clean_scores(self._normalise(pixels), made.request.target)[0])

    def _images(self, made: Sequence[OptimisedImage], scores: Sequence[float], decided: Sequence[str]) -> Images:
        missing = len(self.requests) - len(made)
        left_out = (f"interrupted: {missing} of {len(self.requests)} pictures were not begun",) if missing else ()
        calls = [said for name, layer in self.objective.layers.items() for said in layer.describe_call(name)]
        about = (*self.model.notes, *self.model.steadiness.checks, *calls)
        checks = (*about, *self.objective.checks, *decided, *left_out)
        provenance = self._provenance([each.request for each in made])
        parts = tuple(
            Image(
                self._as_values(each.pixels).numpy(),
                each.request.target,
                score,
                self.model.name,
                np.array(each.history, dtype=np.float32),
                tuple((step, self._draw(pixels)) for step, pixels in each.snapshots),
                checks=(*checks, *_describe_end(each)),
                provenance=provenance.only(row),
            )
            for row, (each, score) in enumerate(zip(made, scores, strict=True))
        )
        ended = [f"{each.request.target}: {said}" for each in made for said in _describe_end(each)]
        return Images(parts, (*checks, *ended), provenance)

    def _provenance(self, requests: Sequence[ImageRequest]) -> Provenance:
        targets = tuple(str(request.target) for request in requests)
        named = [one.target.recorded if isinstance(one.target, Similar) else str(one.target) for one in requests]
        asked = record_references({"target": named}, [one.target for one in requests])
        images: tuple[dict[str, str], ...] = ()
        if self.picture is not None:
            asked["start"] = self.picture.name
            images = ({"name": self.picture.name, "sha256": self.picture.digest},) * len(requests)
        if self.statistics.pictures:
            asked["examples"] = self.statistics.pictures
        return Provenance(
            asked=asked,
            model=self.model.describe(),
            images=images,
            targets=targets,
            device=self.model.device.type,
            dtype=str(self.model.dtype).removeprefix("torch."),
            threads=torch.get_num_threads(),
            chunk=self.settings.recipe.crops,
            seed=self.settings.seed,
        )


def _describe_end(made: OptimisedImage) -> list[str]:
    """How the way to a picture ended, and whether it led anywhere."""
    history = np.array(made.history, dtype=np.float32)
    still = history.size > 1 and np.ptp(history) <= 2 * np.finfo(np.float32).eps * np.abs(history).max()
    flat = "its score is flat: no step changed it by more than rounding, so the picture shows nothing of the target"
    return [*filter(None, [made.ended]), *([flat] if still else [])]


def _snapshot_steps(steps: int, frames: int) -> frozenset[int]:
    """The steps after which a snapshot is taken; 0 is the start."""
    if frames:
        return frozenset(round(steps * number / max(1, frames - 1)) for number in range(frames))
    return frozenset({0, steps, *(2**power for power in range(steps.bit_length()))})
