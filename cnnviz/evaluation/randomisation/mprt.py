"""The model-parameter randomisation test: maps that do not change when the network forgets do not explain it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.engine.batching import part_of_progress
from cnnviz.errors import ExplanationError, NowhereError, ParameterError
from cnnviz.evaluation.controls import CONTROLS
from cnnviz.evaluation.explain import ask_maps, next_seed, pixel_unit, settled_batch
from cnnviz.evaluation.randomisation.agreement import (
    SIMILARITIES,
    Similarity,
    is_constant,
    named_similarities,
    value_entropy,
)
from cnnviz.evaluation.randomisation.cascade import Cascade
from cnnviz.methods.prepare import prepare
from cnnviz.provenance import Caution

if TYPE_CHECKING:
    from cnnviz.core.sample import Sample
    from cnnviz.core.target import Target, TargetLike
    from cnnviz.evaluation.metric import Explain
    from cnnviz.methods.prepare import InputBatch
    from cnnviz.models.model import Model

__all__ = ["DEPTHS", "SEEDS", "Randomisation", "floor", "mprt", "randomisation", "similarity_between"]

DEPTHS: Final = (0.25, 0.5, 0.75, 1.0)
SEEDS: Final = (0, 1, 2)
OTHERS = 8
"""Other pictures that a picture's map is compared with, for the floor."""


@dataclass(frozen=True, eq=False)
class Randomisation:
    """How alike the maps of some methods stay when a network's layers are drawn anew, the last called first.

    Arrays begin with an axis of methods and one of pictures: M methods, N pictures, D depths, S seeds.

    Attributes:
        methods: Names of the methods.
        depths: Shares of the network's layers that were drawn anew.
        seeds: Seeds of the weights.
        layers: Names of the layers, in the order of their first call.
        similarities: By name of the similarity ``(M, N, D, S)``: of each map to that of the trained network.
        constant: ``(M, N, D, S)``: where either map was the same everywhere, or there was none, which counted 0.
        rise: ``(M, N, S)``: by how much, of itself, the entropy of a map's values rose with all layers drawn anew; 0
            where the map became constant, NaN where the trained network's was, or not all layers were drawn.
        floor: By name of the similarity ``(M, N)``: of the trained network's maps of different pictures.
        edges: Likewise, of the trained network's maps to their pictures' edges.
        maps: ``(M, D + 1, H, W)``: of the first picture, the trained network's map and those of the first seed.
        edge_map: ``(H, W)``: the first picture's edges.
        shown: ``(H, W, 3)`` uint8: the first picture as the network sees it.
        pictures: The pictures.
        targets: What was explained in each.
        checks: What the user should know.
    """

    methods: tuple[str, ...]
    depths: tuple[float, ...]
    seeds: tuple[int, ...]
    layers: tuple[str, ...]
    similarities: Mapping[str, NDArray[np.float64]] = field(repr=False)
    constant: NDArray[np.bool_] = field(repr=False)
    rise: NDArray[np.float64] = field(repr=False)
    floor: Mapping[str, NDArray[np.float64]] = field(repr=False)
    edges: Mapping[str, NDArray[np.float64]] = field(repr=False)
    maps: NDArray[np.float32] = field(repr=False)
    edge_map: NDArray[np.float32] = field(repr=False)
    shown: NDArray[np.uint8] = field(repr=False)
    pictures: tuple[Sample, ...] = field(repr=False)
    targets: tuple[Target, ...] = field(repr=False)
    checks: tuple[str, ...] = ()

    def at(self, depth: float, similarity: str = "spearman") -> NDArray[np.float64]:
        """``(M, N)``: the similarity at one depth, the mean over seeds.

        Args:
            depth: One of :attr:`depths`.
            similarity: ``"spearman"`` or ``"ssim"``.

        Raises:
            ParameterError: If the network was not drawn anew to that depth.
        """
        if depth not in self.depths:
            raise ParameterError(
                f"depth is {depth:g}; expected one of {', '.join(f'{each:g}' for each in self.depths)}."
            )
        return np.asarray(self._found(similarity)[:, :, self.depths.index(depth)].mean(axis=-1))

    def values(self, similarity: str = "spearman") -> NDArray[np.float64]:
        """``(M, N)``: the mean over depths and seeds; lower is better, and not below the floor is expected.

        Args:
            similarity: ``"spearman"`` or ``"ssim"``.
        """
        return np.asarray(self._found(similarity).mean(axis=(2, 3)))

    def _found(self, similarity: str) -> NDArray[np.float64]:
        if similarity not in self.similarities:
            raise ParameterError(f"similarity is {similarity!r}; expected one of {', '.join(self.similarities)}.")
        return self.similarities[similarity]


@dataclass(frozen=True)
class _Asking:
    """What every network is asked.

    Attributes:
        methods: The methods, by name.
        batch: The pictures as inputs, with settled targets.
        pictures: The pictures.
        noise: ``(samples, C, H, W)``: added to every picture in turn, the mean of the maps being taken; None for none.
        steps: How many questions there are in all.
        seed: Of what methods draw at random.
    """

    methods: Mapping[str, Explain]
    batch: InputBatch
    pictures: Sequence[Sample] | Tensor
    noise: Tensor | None
    steps: int
    seed: int

    def ask_all(self, model: Model, step: int, *, drawn: bool = True) -> list[NDArray[np.float32]]:
        """The maps of every method ``(N, H, W)``; NaN where a network that was drawn anew has none."""
        return [self._ask(name, model, step + row, drawn=drawn) for row, name in enumerate(self.methods)]

    def _ask(self, name: str, model: Model, step: int, *, drawn: bool) -> NDArray[np.float32]:
        seed = next_seed(self.seed, step // len(self.methods))
        with part_of_progress(slice(step, step + 1), self.steps):
            try:
                return self._mean_maps(name, model, slice(None), seed)
            except (ExplanationError, NowhereError):
                if not drawn:
                    raise
            return self._one_by_one(name, model, seed)

    def _one_by_one(self, name: str, model: Model, seed: int) -> NDArray[np.float32]:
        rows: list[NDArray[np.float32]] = []
        for row in range(len(self.batch.targets)):
            try:
                rows.append(self._mean_maps(name, model, slice(row, row + 1), seed)[0])
            except (ExplanationError, NowhereError):
                rows.append(np.full(self.batch.inputs.shape[-2:], np.nan, np.float32))
        return np.stack(rows)

    def _mean_maps(self, name: str, model: Model, rows: slice, seed: int) -> NDArray[np.float32]:
        explain, targets = self.methods[name], self.batch.targets[rows]
        if self.noise is None:
            return ask_maps(explain, model, self.pictures[rows], targets, seed)
        inputs = self.batch.inputs[rows]
        noisy = [inputs + each.to(inputs) for each in self.noise]
        found = [ask_maps(explain, model, each, targets, seed + at) for at, each in enumerate(noisy)]
        return np.asarray(np.mean(found, axis=0, dtype=np.float64), np.float32)


def randomisation(
    model: Model,
    pictures: Sequence[Sample] | Tensor,
    target: TargetLike,
    methods: Mapping[str, Explain],
    *,
    seed: int = 0,
    depths: Sequence[float] = DEPTHS,
    draws: int = len(SEEDS),
) -> NDArray[np.float64]:
    """Similarity after randomisation: the rank correlation of maps with those of a network that forgets.

    The mean of Spearman's correlation of the signed maps over depths of the model-parameter randomisation test and over
    draws of the weights: :func:`mprt`, which gives more. Lower is better, down to the floor; the range is [-1, 1], a
    random map has 0, and an edge detector 1. A constant map counts 0.

    Reference: Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018.

    Args:
        model: The network; left alone.
        pictures: Pictures, or inputs ``(N, C, H, W)``.
        target: Any accepted form of target; None for the top class of each picture.
        methods: Methods by name.
        seed: Of the first draw of weights, the others following, and of what methods draw at random.
        depths: Shares of the layers that are drawn anew, growing.
        draws: How many times the weights are drawn.

    Returns:
        ``(M, N)`` float64.
    """
    seeds = range(seed, seed + draws)
    found = mprt(
        model, pictures, target, methods, depths=depths, seeds=seeds, seed=seed, similarities=("spearman",)
    )  # fmt: skip
    return found.values()


def floor(
    model: Model,
    pictures: Sequence[Sample] | Tensor,
    target: TargetLike,
    methods: Mapping[str, Explain],
    *,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Similarity between pictures: the rank correlation of the maps of different pictures, asked about together.

    What similarity after randomisation is to be compared with: maps that are no more alike have nothing in common but
    what all maps of the method have. Lower is better; the range is [-1, 1], a random map has 0, the centre 1. A
    constant map counts 0. NaN where there is but one picture.

    Reference: the comparison that Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, leave to the eye.

    Args:
        model: The network.
        pictures: Pictures, or inputs ``(N, C, H, W)``.
        target: Any accepted form of target; None for the top class of each picture.
        methods: Methods by name.
        seed: Of what methods draw at random.

    Returns:
        ``(M, N)`` float64.
    """
    targets = settled_batch(model, pictures, target).targets
    return np.stack([similarity_between(ask_maps(each, model, pictures, targets, seed)) for each in methods.values()])


def mprt(
    model: Model,
    pictures: Sequence[Sample] | Tensor,
    target: TargetLike,
    methods: Mapping[str, Explain],
    *,
    depths: Sequence[float] = DEPTHS,
    seeds: Sequence[int] = SEEDS,
    calibration: Sequence[Sample] | Tensor | None = None,
    samples: int = 0,
    noise: float = 0.1,
    seed: int = 0,
    similarities: Sequence[str] = tuple(SIMILARITIES),
) -> Randomisation:
    """The model-parameter randomisation test (MPRT): how alike maps stay when a network forgets, layer by layer.

    A copy of the network has its layers drawn anew, from the last called to the first, and every method is asked again
    about the same pictures and classes. Maps that stay as they were say nothing of what the network has learnt: lower
    is better, down to the floor, the similarity of maps of different pictures. Spearman's rank correlation of the
    signed maps lies in [-1, 1], structural similarity is at most 1; a random map has 0, an edge detector 1. A constant
    map counts 0, and is counted. It is no proof: drawn from the top down, the network keeps the scale of its
    activations, and maps that are noise score well (Binder et al., CVPR 2023).

    References: Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018. With ``samples``, smooth MPRT: the mean
    of the maps of noisy copies of a picture is compared. ``Randomisation.rise`` is efficient MPRT (higher is better; 0
    for a map that ignores the network). Both are of Hedström et al., Sanity Checks Revisited, 2024.

    Args:
        model: The network; left alone.
        pictures: Pictures, or inputs ``(N, C, H, W)``.
        target: Any accepted form of target; None for the top class of each picture.
        methods: Methods by name.
        depths: Shares of the layers that are drawn anew, growing.
        seeds: Seeds of the weights.
        calibration: Pictures on which batch-norm statistics are estimated, 16 at most; default: those asked about.
        samples: Noisy copies of each picture; 0 for the picture itself.
        noise: Their standard deviation, of pixels in 0..1.
        seed: Of the noise, and of what methods draw at random.
        similarities: ``"spearman"``, ``"ssim"``, or both.

    Raises:
        ParameterError: If depths, seeds, samples, noise or similarities are none.
        ModelError: If the network cannot be copied.
        ExplanationError: If no layer draws its own weights.
    """
    steps = _checked_depths(depths, seeds, samples, noise)
    batch = settled_batch(model, pictures, target)
    fitted = batch.inputs if calibration is None else prepare(model, calibration).inputs
    added = _draw_noise(model, batch.inputs, samples, noise, seed) if samples else None
    question = _Asking(methods, batch, pictures, added, len(methods) * (1 + len(steps) * len(seeds)), seed)
    edge_maps = _edges_of(model, batch.inputs)
    trained, shape = question.ask_all(model, 0, drawn=False), (len(steps), len(seeds))
    tally = _SimilarityTable(trained, edge_maps, shape, named_similarities(similarities))
    checks, layers = batch.checks, tuple[str, ...]()
    for number, drawn in enumerate(seeds):
        cascade = Cascade(model, fitted, seed=drawn)
        for place, depth in enumerate(steps):
            network, asked = cascade.draw(depth), 1 + number * len(steps) + place
            tally.add(place, number, question.ask_all(network, asked * len(methods)))
        layers, checks = cascade.layers, (*batch.checks, *cascade.describe())
    shown = model.preprocess.to_pixels(batch.inputs[:1])[0]
    return Randomisation(
        tuple(methods), steps, tuple(seeds), layers, tally.similarities, tally.constant,
        tally.rise if steps[-1] == 1 else np.full_like(tally.rise, np.nan), tally.floor(), tally.edges(),
        np.stack(tally.kept, axis=1), edge_maps[0], shown, batch.pictures, batch.targets, (*checks, *tally.describe()),
    )  # fmt: skip


def similarity_between(maps: NDArray[np.float32], similarity: str = "spearman") -> NDArray[np.float64]:
    """How alike the maps of different pictures are: of each the mean over the next 8, the first following the last.

    Args:
        maps: ``(N, H, W)``.
        similarity: ``"spearman"`` or ``"ssim"``.

    Returns:
        ``(N,)`` float64; NaN where there is but one picture.
    """
    alike, count = named_similarities([similarity])[similarity], len(maps)
    others = range(1, min(OTHERS, count - 1) + 1)
    found = {(row, (row + step) % count): math.nan for row in range(count) for step in others}
    for one, other in found:
        known = found.get((other, one), math.nan)
        found[one, other] = alike(maps[one], maps[other]) if math.isnan(known) else known
    means = [[value for (one, _), value in found.items() if one == row] for row in range(count)]
    return np.array([np.mean(each) if each else math.nan for each in means], dtype=np.float64)


class _SimilarityTable:
    """What is found of every method's maps, network by network.

    Args:
        trained: By method the trained network's maps ``(N, H, W)``.
        edge_maps: ``(N, H, W)``: the pictures' edges.
        drawn: How many depths and seeds there are.
        alike: Similarities by name.
    """

    def __init__(
        self,
        trained: Sequence[NDArray[np.float32]],
        edge_maps: NDArray[np.float32],
        drawn: tuple[int, int],
        alike: Mapping[str, Similarity],
    ) -> None:
        shape = len(trained), len(edge_maps), *drawn
        self._trained, self._edges, self._deepest, self._alike = trained, edge_maps, drawn[0] - 1, alike
        self.similarities = {name: np.zeros(shape) for name in alike}
        self.constant = np.zeros(shape, dtype=np.bool_)
        self.rise = np.full((*shape[:2], drawn[1]), np.nan)
        self.kept = [np.stack([maps[0] for maps in trained])]
        self._blank = [[is_constant(each) for each in maps] for maps in trained]
        self._entropy = [[value_entropy(each) for each in maps] for maps in trained]

    def add(self, depth: int, seed: int, found: Sequence[NDArray[np.float32]]) -> None:
        """Compare every method's maps of one drawn network with those of the trained one."""
        for row, maps in enumerate(found):
            for picture, each in enumerate(maps):
                at = row, picture, depth, seed
                self.constant[at] = self._blank[row][picture] or is_constant(each)
                for name, alike in self._alike.items():
                    self.similarities[name][at] = alike(self._trained[row][picture], each)
                before = self._entropy[row][picture]
                if depth == self._deepest and before:
                    self.rise[row, picture, seed] = (value_entropy(each) or before) / before - 1
        if seed == 0:
            self.kept.append(np.stack([maps[0] for maps in found]))

    def floor(self) -> dict[str, NDArray[np.float64]]:
        """By similarity ``(M, N)``: of the trained network's maps of different pictures."""
        return {name: np.stack([similarity_between(maps, name) for maps in self._trained]) for name in self._alike}

    def describe(self) -> tuple[str, ...]:
        """How many maps were constant, in a sentence; none where none was."""
        if not self.constant.any():
            return ()
        count = f"{int(self.constant.sum())} of {self.constant.size}"
        return (Caution(f"{count} maps are constant where layers are randomised, which counts as similarity 0"),)

    def edges(self) -> dict[str, NDArray[np.float64]]:
        """By similarity ``(M, N)``: of the trained network's maps to the pictures' edges."""
        return {
            name: np.array([list(map(alike, maps, self._edges)) for maps in self._trained])
            for name, alike in self._alike.items()
        }


def _checked_depths(depths: Sequence[float], seeds: Sequence[int], samples: int, noise: float) -> tuple[float, ...]:
    """The depths as numbers."""
    steps = tuple(map(float, depths))
    if not steps or any(not 0 < each <= 1 for each in steps) or list(steps) != sorted(set(steps)):
        raise ParameterError(f"depths are {list(depths)}; expected growing shares of the layers, such as (0.5, 1).")
    if not seeds:
        raise ParameterError("seeds are empty; expected at least one, such as (0, 1, 2).")
    if samples < 0 or not noise >= 0:
        raise ParameterError(f"samples={samples} and noise={noise:g}; expected neither to be negative.")
    return steps


def _draw_noise(model: Model, inputs: Tensor, samples: int, noise: float, seed: int) -> Tensor:
    """Noise ``(samples, C, H, W)`` on the scale of the inputs, the same for every picture."""
    generator = torch.Generator().manual_seed(seed)
    return noise * torch.randn(samples, *inputs.shape[1:], generator=generator) * pixel_unit(model)


def _edges_of(model: Model, inputs: Tensor) -> NDArray[np.float32]:
    """``(N, H, W)``: the edges of what the network is given, of pixels in 0..1."""
    pixels = (inputs.detach().cpu().float() / pixel_unit(model)).numpy()
    return np.stack([CONTROLS["edges"](each, 0) for each in pixels])
