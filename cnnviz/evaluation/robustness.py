"""Robustness: maps of slightly changed pictures, and maps of the same picture with other random numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.engine.batching import part_of_progress
from cnnviz.errors import ParameterError
from cnnviz.evaluation.explain import ask_maps, next_seed, pixel_unit, settled_batch
from cnnviz.evaluation.randomisation.agreement import named_similarities
from cnnviz.method import MOST_SEED

if TYPE_CHECKING:
    from cnnviz.core.sample import Sample
    from cnnviz.core.target import TargetLike
    from cnnviz.evaluation.metric import Explain
    from cnnviz.models.model import Model

__all__ = ["repeatability", "sensitivity"]

RADIUS: Final = 0.02
SAMPLES: Final = 10
DRAWS: Final = 3
FEWEST = 2


def sensitivity(
    model: Model,
    pictures: Sequence[Sample] | Tensor,
    target: TargetLike,
    methods: Mapping[str, Explain],
    *,
    radius: float = RADIUS,
    samples: int = SAMPLES,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Max-sensitivity: how far a map changes, of its own size, when its picture changes by less than can be seen.

    The largest of ``||map(x + d) - map(x)|| / ||map(x)||`` over some ``d``, uniform in ``[-radius, radius]`` in every
    pixel and channel; norms are Euclidean. Lower is better; the range is 0 upwards, and a map of numbers uniform in
    0..1 that are drawn anew each time has about 0.7. A constant map has 0: it is no proof. As captum's
    ``sensitivity_max``, but that the radius is in pixels, and that a map of zeros is undefined: NaN. The class stays
    that of the unchanged picture; what a method draws at random is drawn anew, as in its use.

    Reference: Yeh et al., On the (In)fidelity and Sensitivity of Explanations, NeurIPS 2019.

    Args:
        model: The network.
        pictures: Pictures, or inputs ``(N, C, H, W)``.
        target: Any accepted form of target; None for the top class of each picture.
        methods: Methods by name.
        radius: Largest change of a pixel, of pixels in 0..1.
        samples: How many changes.
        seed: Of the changes, the same for every picture, and of what methods draw at random.

    Returns:
        ``(M, N)`` float64.

    Raises:
        ParameterError: If radius or samples are not positive.
    """
    if not radius > 0 or samples < 1:
        raise ParameterError(f"radius={radius:g} and samples={samples}; expected both to be positive.")
    batch = settled_batch(model, pictures, target)
    generator, unit = torch.Generator().manual_seed(seed), pixel_unit(model)
    total, found = len(methods) * (samples + 1), np.zeros((len(methods), len(batch.targets)))
    clean: list[NDArray[np.float32]] = []
    for number in range(samples + 1):
        drawn = torch.rand(batch.inputs.shape[1:], generator=generator) * 2 - 1 if number else 0
        inputs = batch.inputs + (radius * unit * drawn).to(batch.inputs) if number else batch.inputs
        for row, explain in enumerate(methods.values()):
            step = number * len(methods) + row
            with part_of_progress(slice(step, step + 1), total):
                maps = ask_maps(explain, model, inputs, batch.targets, next_seed(seed, number))
            if number:
                found[row] = np.maximum(found[row], _relative_change(clean[row], maps))
            else:
                clean.append(maps)
    return found


def _relative_change(clean: NDArray[np.float32], changed: NDArray[np.float32]) -> NDArray[np.float64]:
    """``(N,)``: the norm of the difference over that of the unchanged map, where both have values; NaN for zeros."""
    known = np.isfinite(clean) & np.isfinite(changed)
    before, after = (np.where(known, each, 0).astype(np.float64).reshape(len(each), -1) for each in (clean, changed))
    norms = np.linalg.norm(before, axis=1)
    change = np.linalg.norm(after - before, axis=1)
    return np.where(norms > 0, change / np.where(norms > 0, norms, 1), np.nan)


def repeatability(
    model: Model,
    pictures: Sequence[Sample] | Tensor,
    target: TargetLike,
    methods: Mapping[str, Explain],
    *,
    seed: int = 0,
    draws: int = DRAWS,
    similarity: str = "spearman",
) -> NDArray[np.float64]:
    """Repeatability: how alike the maps of one picture are with other random numbers.

    The mean rank correlation of every two seeds' maps. Higher is better; the range is [-1, 1], a random map has 0, and
    a method that draws nothing has 1. A constant map counts 0.

    Args:
        model: The network.
        pictures: Pictures, or inputs ``(N, C, H, W)``.
        target: Any accepted form of target; None for the top class of each picture.
        methods: Methods by name.
        seed: Of the first map, those of the others following.
        draws: How many maps of each picture: at least two.
        similarity: ``"spearman"`` or ``"ssim"``.

    Returns:
        ``(M, N)`` float64.

    Raises:
        ParameterError: If there are fewer draws than two, or no such similarity.
    """
    if draws < FEWEST:
        raise ParameterError(f"draws is {draws}; expected at least {FEWEST}.")
    alike = named_similarities([similarity])[similarity]
    batch = settled_batch(model, pictures, target)
    found, total = [], len(methods) * draws
    for row, explain in enumerate(methods.values()):
        drawn: list[NDArray[Any]] = []
        for at in range(draws):
            with part_of_progress(slice(row * draws + at, row * draws + at + 1), total):
                drawn.append(ask_maps(explain, model, pictures, batch.targets, (seed + at) % (MOST_SEED + 1)))
        pairs = list(combinations(drawn, 2))
        found.append([np.mean([alike(one[n], other[n]) for one, other in pairs]) for n in range(len(batch.targets))])
    return np.array(found, dtype=np.float64)
