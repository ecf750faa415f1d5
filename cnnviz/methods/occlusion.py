"""Occlusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from cnnviz.core.picture import Picture
from cnnviz.core.target import TargetLike
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.asking import Answer, heatmaps
from cnnviz.methods.baselines import fill_with, parse_baselines
from cnnviz.methods.hiding import Hiding, same_pictures
from cnnviz.methods.inputs import Batch, prepare
from cnnviz.methods.planning import Plan, Values
from cnnviz.methods.scorer import Clean, Precision, Scorer, ScoreKind
from cnnviz.models.model import Model
from cnnviz.probing.chunks import in_slices
from cnnviz.probing.state import undisturbed
from cnnviz.probing.windows import Windows
from cnnviz.registry import method
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["occlusion"]

SHARE, STEPS = 7, 4


@method
def occlusion(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    window: Annotated[int, Ge(1)] | None = None,
    stride: Annotated[int, Ge(1)] | None = None,
    baseline: str = "mean",
    score: ScoreKind = "probability",
    soft: Annotated[float, Ge(0), Le(1)] = 0.0,
    budget: Annotated[int, Ge(1)] | None = None,
    seconds: Annotated[float, Gt(0)] | None = None,
    precision: Precision = "full",
    seed: Annotated[int, Ge(0)] = 0,
    batch_size: Annotated[int, Ge(1)] | None = None,
) -> Heatmaps:
    """How much hiding each part of the picture lowers the target's score (occlusion).

    A window slides over the picture; with ``s`` the score, each place gets the mean drop of the windows that hide it::

        map = mean over the windows that cover a pixel of  s(x) - s(x with the window hidden)

    The last window of each row and column is shifted in, never cut. The same picture given several times with several
    targets is asked once. Several baselines give the mean of their maps, and as ``spread`` their standard deviation.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        window: Side of the window in pixels of the input; left out, a seventh of its shorter side (32 of 224).
        stride: Pixels from one window to the next; left out, a quarter of the window.
        baseline: What hides a window, or several with commas between: mean (0 in normalised space), black, blur,
            noise, inpaint.
        score: Of a class, or of a difference of two: the softmax probability, the logit, or the log-probability.
        soft: Share of the window's side over which it fades out at its ends; 0 hides all of it.
        budget: Most forwards a picture, all counted; windows that are not evaluated are estimated, with an error bar.
        seconds: About so long a picture, instead of a number of forwards.
        precision: Compute in TF32 (CUDA only) or bfloat16 instead; the loss is stated.
        seed: Of the noise, and of the windows that judge the estimate.
        batch_size: Most hidden windows at once; left out, what suits the device; halved when memory runs out.

    Returns:
        Maps ``(N, H, W)`` at the input's resolution, signed, in units of the score.

    Raises:
        UnknownNameError: If there is no such label or baseline.
        ParameterError: If the window is larger than the input, the stride than the window, or the budget too small.

    Reference:
        Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, section 4.2.
    """
    batch = prepare(model, images, target)
    height, width = batch.inputs.shape[-2:]
    side = window or max(1, round(min(height, width) / SHARE))
    windows = Windows.over((height, width), side, stride or max(1, side // STEPS), soft)
    names = parse_baselines(baseline)
    plan = Plan(windows, len(names), budget, seconds, seed)
    with undisturbed(model.module):
        scorer = Scorer(
            model,
            model.to_device(batch.inputs[:1]),
            batch.targets,
            kind=score,
            precision=precision,
            batch_size=batch_size,
        )

        def explain(rows: Sequence[int]) -> list[_Explained]:
            image = model.to_device(batch.inputs[rows[0]])
            clean = scorer.clean(image, [batch.targets[row] for row in rows])
            fills = [fill_with(name, model, image, side=side, seed=seed) for name in names]
            values = plan.follow(Hiding(scorer, image, clean.targets, windows, fills))
            return [_explained(clean, values, windows, place, batch.pictures[row]) for place, row in enumerate(rows)]

        groups = same_pictures(batch.inputs)
        parts = in_slices(len(groups), lambda some: explain(groups[some.start]), size=1)
    order = np.argsort([row for group in groups for row in group])
    found = [one for part in parts.results for one in part]
    return _together(model, batch, [found[place] for place in order], scorer)


@dataclass(frozen=True)
class _Explained:
    answer: Answer
    spread: NDArray[np.float32] | None
    bar: float | None


def _explained(clean: Clean, values: Values, windows: Windows, place: int, picture: Picture) -> _Explained:
    """One target's map of one picture."""
    maps = windows.average(torch.from_numpy(values.drops[:, place]))
    target, checks = clean.targets[place], values.checks
    bar = values.bars[place] if values.bars else None
    if bar is not None:
        checks += (
            f"{picture.name}: {values.evaluated} of {len(windows)} windows were evaluated; at least 90 % of the "
            f"{values.estimated} others are within {bar:.3g} of the estimate for '{target}', at 95 % confidence",
        )
    spread = maps.std(dim=0).float().numpy() if len(maps) > 1 else None
    answer = Answer(
        maps.mean(dim=0)[None], clean.scores[place, None], (clean.probabilities[place],), (target,), None, checks
    )
    return _Explained(answer, spread, bar)


def _together(model: Model, batch: Batch, found: Sequence[_Explained], scorer: Scorer) -> Heatmaps:
    answers = [one.answer for one in found]
    whole = heatmaps(model, batch, answers, chunk=scorer.size, checks=scorer.checks, rectified=False)
    maps = tuple(
        replace(one, spread=each.spread, error_bar=each.bar) for one, each in zip(whole.maps, found, strict=True)
    )
    return replace(whole, maps=maps)
