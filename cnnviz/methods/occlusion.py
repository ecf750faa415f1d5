"""Occlusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from cnnviz.core.target import TargetLike
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.asking import Answer, heatmaps
from cnnviz.methods.baselines import fill_with, parse_baselines
from cnnviz.methods.hiding import Hiding, same_pictures
from cnnviz.methods.inputs import prepare
from cnnviz.methods.scorer import Precision, Scorer, ScoreKind
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
        precision: Compute in TF32 (CUDA only) or bfloat16 instead; the loss is stated.
        seed: Of the noise.
        batch_size: Most hidden windows at once; left out, what suits the device; halved when memory runs out.

    Returns:
        Maps ``(N, H, W)`` at the input's resolution, signed, in units of the score.

    Raises:
        UnknownNameError: If there is no such label or baseline.
        ParameterError: If the window is larger than the input, or the stride than the window.

    Reference:
        Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, section 4.2.
    """
    batch = prepare(model, images, target)
    height, width = batch.inputs.shape[-2:]
    side = window or max(1, round(min(height, width) / SHARE))
    windows = Windows.over((height, width), side, stride or max(1, side // STEPS), soft)
    names = parse_baselines(baseline)
