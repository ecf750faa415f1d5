"""RISE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from cnnviz.core.target import Target, TargetLike
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.asking import Answer, heatmaps
from cnnviz.methods.baselines import fill_with
from cnnviz.methods.hiding import same_pictures
from cnnviz.methods.inputs import prepare
from cnnviz.methods.random_masks import RandomMasks
from cnnviz.methods.running_mean import RunningMean
from cnnviz.methods.scorer import Precision, Scorer, ScoreKind
from cnnviz.models.model import Model
from cnnviz.probing.chunks import in_slices
from cnnviz.probing.state import undisturbed
from cnnviz.registry import method
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["rise"]


@method
def rise(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    masks: Annotated[int, Ge(2)] = 2000,
    cells: Annotated[int, Ge(1)] = 7,
    visible: Annotated[float, Gt(0), Lt(1)] = 0.5,
    baseline: Literal["mean", "black", "blur", "noise"] = "mean",
    score: ScoreKind = "probability",
    precision: Precision = "full",
    seed: Annotated[int, Ge(0)] = 0,
    batch_size: Annotated[int, Ge(1)] | None = None,
) -> Heatmaps:
    """How much higher the target's score is where random masks leave the picture visible (RISE).

    A mask is a coarse grid of visible and hidden cells, enlarged bilinearly and shifted at random; with ``f_k`` the
    score of the picture through mask ``M_k``, each place gets the mean score of what shows it, less that of all::

        map = sum over k of M_k f_k / sum over k of M_k  -  mean over k of f_k

    The paper divides by the expected sum of the masks, and leaves the mean in; the actual sum varies less, and without
    the mean a network that does not look has a map of zeros. Masks are drawn from the seed when they are needed and
    kept nowhere. The standard error at every place is ``spread``, and its largest value is in the checks.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        masks: How many masks; the standard error falls with the square root.
        cells: Cells of a mask along each side.
        visible: Chance that a cell is visible.
        baseline: What is seen where the picture is hidden: mean (0 in normalised space), black, blur or noise.
        score: Of a class, or of a difference of two: the softmax probability, the logit, or the log-probability.
        precision: Compute in TF32 (CUDA only) or bfloat16 instead; the loss is stated.
        seed: Of the masks, and of the noise; every picture gets the same masks.
        batch_size: Most masked pictures at once; left out, what suits the device; halved when memory runs out.

    Returns:
        Maps ``(N, H, W)`` at the input's resolution, signed, in units of the score.

    Raises:
        UnknownNameError: If there is no such label.
        ParameterError: If there are more cells than pixels.

    Reference:
        Petsiuk et al., RISE: Randomized Input Sampling for Explanation of Black-box Models, BMVC 2018.
    """
    batch = prepare(model, images, target)
    height, width = batch.inputs.shape[-2:]
    drawn = RandomMasks((height, width), cells, visible, seed)
    with undisturbed(model.module):
        example = model.to_device(batch.inputs[:1])
        scorer = Scorer(model, example, batch.targets, kind=score, precision=precision, batch_size=batch_size)

        def explain(rows: Sequence[int]) -> list[tuple[Answer, Tensor]]:
            image = model.to_device(batch.inputs[rows[0]])
            clean = scorer.clean(image, [batch.targets[row] for row in rows])
            hidden = fill_with(baseline, model, image, side=height // cells, seed=seed)(drawn.none)
            found = _averaged(scorer, image, hidden, clean.targets, drawn, masks)
            values, errors = found.above_mean()
            said = tuple(_said(*each, masks) for each in zip(clean.targets, values, errors, strict=True))
            return [
                (Answer(values[[at]], clean.scores[[at]], clean.probabilities[at : at + 1], (one,), None, (said[at],)), error)
                for at, (one, error) in enumerate(zip(clean.targets, errors, strict=True))
            ]

        groups = same_pictures(batch.inputs)
        parts = in_slices(len(groups), lambda some: explain(groups[some.start]), size=1).results
    found = dict(zip((row for group in groups for row in group), (one for part in parts for one in part), strict=True))
