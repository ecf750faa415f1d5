"""The model-parameter randomisation test: maps that do not change when the network forgets do not explain it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.engine.batching import part_of_progress
from cnnviz.errors import ExplanationError, NowhereError, ParameterError, UsageError
from cnnviz.evaluation.explain import ask_maps, pixel_unit, settled_batch
from cnnviz.evaluation.randomisation.agreement import SIMILARITIES, is_constant, value_entropy
from cnnviz.evaluation.randomisation.cascade import Cascade
from cnnviz.methods.prepare import prepare

if TYPE_CHECKING:
    from cnnviz.core.sample import Sample
    from cnnviz.core.target import Target, TargetLike
    from cnnviz.evaluation.metric import Explain
    from cnnviz.methods.prepare import InputBatch
    from cnnviz.models.model import Model

__all__ = ["DEPTHS", "SEEDS", "Randomisation", "floor", "randomisation"]

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
        rise: ``(M, N, S)``: by how much, of itself, the entropy of a map's values rose with all layers drawn anew; NaN
            where the deepest was less than that, or the trained network's map constant.
        floor: By name of the similarity ``(M, N)``: of the trained network's maps of different pictures.
        edges: Likewise, of the trained network's maps to their pictures' edges; None where none were given.
        maps: ``(M, D + 1, H, W)``: of the first picture, the trained network's map and those of the first seed.
        pictures: The pictures.
        targets: What was explained in each.
        edge_map: ``(H, W)``: the first picture's edges; None where none were given.
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
    edges: Mapping[str, NDArray[np.float64]] | None = field(repr=False)
    maps: NDArray[np.float32] = field(repr=False)
    pictures: tuple[Sample, ...] = field(repr=False)
    targets: tuple[Target, ...] = field(repr=False)
    edge_map: NDArray[np.float32] | None = field(default=None, repr=False)
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
            raise ParameterError(f"depth is {depth:g}; expected one of {', '.join(f'{each:g}' for each in self.depths)}.")
        return self._found(similarity)[:, :, self.depths.index(depth)].mean(axis=-1)

    def values(self, similarity: str = "spearman") -> NDArray[np.float64]:
        """``(M, N)``: the mean over depths and seeds; lower is better, and not below the floor is expected.

        Args:
            similarity: ``"spearman"`` or ``"ssim"``.
        """
        return self._found(similarity).mean(axis=(2, 3))

    def _found(self, similarity: str) -> NDArray[np.float64]:
        if similarity not in self.similarities:
            raise ParameterError(f"similarity is {similarity!r}; expected one of {', '.join(self.similarities)}.")
        return self.similarities[similarity]


@dataclass(frozen=True)
class _Question:
    """What every network is asked.

    Attributes:
        methods: The methods, by name.
        batch: The pictures as inputs, with settled targets.
        pictures: The pictures.
        noise: ``(samples, C, H, W)``: added to every picture in turn, the mean of the maps being taken; None for none.
        steps: How many questions there are in all.
    """

    methods: Mapping[str, Explain]
    batch: InputBatch
    pictures: Sequence[Sample] | Tensor
    noise: Tensor | None
    steps: int

    def ask(self, name: str, model: Model, step: int, *, drawn: bool = True) -> NDArray[np.float32]:
        """The maps of one method ``(N, H, W)``; NaN where a network that was drawn anew has none."""
        with part_of_progress(slice(step, step + 1), self.steps):
            try:
                return self._mean_maps(name, model, slice(None))
            except (ExplanationError, NowhereError):
                if not drawn:
                    raise
            return self._one_by_one(name, model)

    def _one_by_one(self, name: str, model: Model) -> NDArray[np.float32]:
        rows: list[NDArray[np.float32]] = []
        for row in range(len(self.batch.targets)):
            try:
                rows.append(self._mean_maps(name, model, slice(row, row + 1))[0])
            except (ExplanationError, NowhereError):
                rows.append(np.full(self.batch.inputs.shape[-2:], np.nan, np.float32))
        return np.stack(rows)

    def _mean_maps(self, name: str, model: Model, rows: slice) -> NDArray[np.float32]:
        explain, targets = self.methods[name], self.batch.targets[rows]
        if self.noise is None:
            return ask_maps(explain, model, self.pictures[rows], targets, 0)
        inputs = self.batch.inputs[rows]
        found = [ask_maps(explain, model, inputs + each.to(inputs), targets, 0) for each in self.noise]
        return np.mean(found, axis=0, dtype=np.float64).astype(np.float32)


def randomisation(
    model: Model,
    pictures: Sequence[Sample] | Tensor,
    target: TargetLike,
    methods: Mapping[str, Explain],
    *,
    depths: Sequence[float] = DEPTHS,
    seeds: Sequence[int] = SEEDS,
    calibration: Sequence[Sample] | Tensor | None = None,
    edges: NDArray[np.float32] | None = None,
    samples: int = 0,
    noise: float = 0.1,
) -> Randomisation:
    """The model-parameter randomisation test (MPRT): how alike maps stay when a network forgets, layer by layer.

    A copy of the network has its layers drawn anew, from the last called to the first, and every method is asked again
    about the same pictures and classes. Maps that stay as they were say nothing of what the network has learnt; lower is
    better, but not than the floor, the similarity of maps of different pictures. Similarities lie in [-1, 1] (Spearman's
    rank correlation of the signed maps) and up to 1 (structural similarity); a random map has 0, an edge detector 1. A
    constant map counts 0, and is counted. It is no proof: drawn from the top down, the network keeps the scale of its
    activations, and maps that are noise score well (Binder et al., CVPR 2023).

    References: Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018. With ``samples``, smooth MPRT: the mean of
    maps of noisy copies of a picture is compared. ``Randomisation.rise`` is efficient MPRT (higher is better; 0 for a
    map that ignores the network). Both: Hedstroem et al., Sanity Checks Revisited, 2023.

    Args:
        model: The network; left alone.
        pictures: Pictures, or inputs ``(N, C, H, W)``.
        target: Any accepted form of target; None for the top class of each picture.
        methods: Methods by name.
        depths: Shares of the layers that are drawn anew, growing.
        seeds: Seeds of the weights.
        calibration: Pictures on which batch-norm statistics are estimated, 16 at most; default: those asked about.
        edges: ``(N, H, W)``: the pictures' edges, which maps are compared with.
        samples: Noisy copies of each picture; 0 for the picture itself.
        noise: Their standard deviation, of pixels in 0..1.

    Raises:
        ParameterError: If depths, seeds, samples or noise are none.
        ModelError: If the network cannot be copied.
        ExplanationError: If no layer draws its own weights.
    """
    steps = tuple(map(float, depths))
    _check(methods, steps, seeds, samples, noise)
    batch = settled_batch(model, pictures, target)
    fitted = batch.inputs if calibration is None else prepare(model, calibration).inputs
    added = _noise(model, batch.inputs, samples, noise)
    question = _Question(methods, batch, pictures, added, len(methods) * (1 + len(steps) * len(seeds)))
    trained = {name: question.ask(name, model, at, drawn=False) for at, name in enumerate(methods)}
    tally = _Tally(trained, steps, len(seeds))
    layers, checks, at = (), (), len(methods)
    for number, seed in enumerate(seeds):
        cascade = Cascade(model, fitted, seed=seed)
        for place, depth in enumerate(steps):
            network = cascade.draw(depth)
            for row, name in enumerate(methods):
                tally.add(row, place, number, question.ask(name, network, at))
                at += 1
        layers, checks = cascade.layers, cascade.describe()
    return Randomisation(
        tuple(methods), steps, tuple(seeds), layers, **tally.found(), **_references(trained, edges),
        pictures=batch.pictures, targets=batch.targets, checks=checks,
    )  # fmt: skip
