"""Occlusion of windows of the picture, and of places of a layer (feature occlusion)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Le

from cnnviz.lengths import Counts, Lengths
from cnnviz.method import Seed, method
from cnnviz.methods.settings import Fuse, Precision, ScoreKind

if TYPE_CHECKING:
    from torch import Tensor

    from cnnviz.core.dimensions import Size
    from cnnviz.core.sample import Sample
    from cnnviz.core.target import TargetLike
    from cnnviz.engine.windows.window import Windows
    from cnnviz.images.reading import ImagesLike
    from cnnviz.methods.ask import Answer
    from cnnviz.methods.cams.changed_layer import ChangedLayer
    from cnnviz.methods.occlusion.budget import Values
    from cnnviz.methods.occlusion.scorer import Question
    from cnnviz.models.model import Model
    from cnnviz.results.heatmap import Heatmaps

__all__ = ["occlusion", "feature_occlusion"]


@method
def occlusion(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    window: Lengths | None = None,
    stride: Lengths | None = None,
    baseline: str = "mean",
    score: ScoreKind = "probability",
    soft: Annotated[float, Ge(0), Le(1)] = 0.0,
    budget: Annotated[int, Ge(1)] | None = None,
    seconds: Annotated[float, Gt(0)] | None = None,
    precision: Precision = "full",
    seed: Seed = 0,
    batch_size: Annotated[int, Ge(1)] | None = None,
) -> Heatmaps:
    """The drop of the target's score when each part of the picture is hidden (occlusion).

    A window slides over the picture; with ``s`` the score, each place gets the mean drop of the windows that hide it::

        map = mean over the windows that cover a pixel of  s(x) - s(x with the window hidden)

    The last window of each row and column is shifted in, never cut. The same picture given several times with several
    targets is asked once. Several baselines give the mean of their maps, and as ``spread`` their standard deviation.
    Where windows reach only a part of the network's early maps, only that part is computed again, with the same result.
    Of signals a window hides some time, of volumes a box, in all channels.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        window: Side of the window in pixels of the input, or one along each axis such as 8x16x16, or lengths such as
            10mm or 0.2s where the spacing is known; default: a seventh of the shorter side (32 of 224), of volumes of
            each side.
        stride: Pixels from one window to the next, or lengths likewise; default: a quarter of the window, of volumes
            half of it.
        baseline: What replaces a hidden window, or several separated by commas: mean (0 in normalised space), black,
            blur, noise, inpaint.
        score: Of a class, or of a difference of two: the softmax probability, the logit, or the log-probability.
        soft: Share of the window's side over which its edges fade out; 0: hard edges.
        budget: Most forwards per picture, one per window; the other windows are estimated, with an error bar measured
            on 30 windows chosen at random.
        seconds: Time limit per picture in seconds, instead of a number of forwards.
        precision: Compute in TF32 (CUDA only) or bfloat16 instead; the resulting error is reported.
        seed: Seed for the noise and for the windows that judge the estimate.
        batch_size: Batch size (hidden windows); default: chosen for the device; halved automatically if memory runs
            out.

    Returns:
        Maps ``(N, H, W)`` at the input's resolution, signed, in units of the score.

    Raises:
        UnknownNameError: If there is no such label or baseline.
        ParameterError: If the window is larger than the input, the stride than the window, or the budget too small.

    Reference:
        Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, section 4.2.
    """
    from functools import cache

    from cnnviz.core.dimensions import size_of
    from cnnviz.engine.windows.window import Windows
    from cnnviz.methods.occlusion.baselines import fill_with, parse_baselines
    from cnnviz.methods.occlusion.budget import Plan
    from cnnviz.methods.occlusion.scorer import scored_maps
    from cnnviz.methods.occlusion.windows import HiddenWindows, Regions
    from cnnviz.methods.prepare import prepare

    batch = prepare(model, images, target)
    names = parse_baselines(baseline)
    laid = [_sides_on(sample, size_of(batch.inputs), window, stride) for sample in batch.pictures]

    @cache
    def plan_of(side: int | Size, step: int | Size) -> tuple[Windows, Plan, Regions]:
        windows = Windows.over(size_of(batch.inputs), side, step, soft)
        return windows, Plan(windows, len(names), budget, seconds, seed), Regions(model, windows)

    *_, (_, _, first) = [plan_of(side, step) for side, step, _ in reversed(laid)]

    def explain(asked: Question) -> list[Answer]:
        side, step, said = _sides_on(asked.picture, size_of(batch.inputs), window, stride)
        windows, plan, regions = plan_of(side, step)
        fills = [fill_with(name, model, asked.image, side=side, seed=seed) for name in names]
        hidden = HiddenWindows(asked.scorer, asked.image, asked.clean.targets, windows, fills, regions=regions)
        values = plan.follow(hidden)
        values = replace(values, checks=(*said, *values.checks))
        return [_answer_target(asked, values, windows, at) for at in range(len(asked.clean.targets))]

    return scored_maps(model, batch, explain, kind=score, precision=precision, batch_size=batch_size, ask=first.see)


def _sides_on(
    sample: Sample, size: Size, window: Lengths | None, stride: Lengths | None
) -> tuple[int | Size, int | Size, tuple[str, ...]]:
    """Window and stride in places of a sample's input; and what they are, where they were told in another unit."""
    from cnnviz.methods.occlusion.sides import is_measured, sides_of, spell_sides, usual_stride, usual_window

    side = usual_window(size) if window is None else sides_of("window", window, size, sample)
    step = usual_stride(side, size) if stride is None else sides_of("stride", stride, size, sample)
    if not is_measured(window) and not is_measured(stride):
        return side, step, ()
    return side, step, (f"{sample.name}: windows of {spell_sides(side, size)}, {spell_sides(step, size)} apart",)


def _answer_target(asked: Question, values: Values, windows: Windows, at: int) -> Answer:
    """The map of one of the targets."""
    import torch

    from cnnviz.methods.occlusion.estimate import PROBES
    from cnnviz.provenance import Margin

    maps = windows.average(torch.from_numpy(values.drops[:, at]))
    spread = maps.std(dim=0) if len(maps) > 1 else None
    if not values.bars:
        return asked.answer(at, maps.mean(dim=0), spread=spread, checks=values.checks)
    mean = maps.mean(dim=0)
    reach = float(mean.max() - mean.min())
    judged = Margin(
        f"{values.estimated} of {len(windows)} windows were estimated, at least 90 % of them within {{}} of the map's "
        "range, at 95 % confidence",
        100 * values.bars[at] / reach if reach > 0 else 100.0,
        form="{:.1f}%",
    )
    how = f"{len(windows) - values.estimated} windows were evaluated; {PROBES} of the others, drawn at random, judge it"
    checks = (*values.checks, judged, how)
    return asked.answer(at, mean, spread=spread, error_bar=values.bars[at], checks=checks)


@method
def feature_occlusion(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    fuse: Fuse = "mean",
    window: Counts = 1,
    stride: Counts = 1,
    baseline: Literal["mean", "zero"] = "mean",
    score: ScoreKind = "probability",
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Heatmaps:
    """The drop of the target's score when each part of a layer's activation is hidden (feature occlusion).

    As occlusion, but a window hides places of the layer, in all its channels, and only what comes after the layer runs
    again; places of a deep layer know what lies around them, so this is another quantity than hiding pixels::

        map = mean over the windows that cover a place of  s(A) - s(A with the window hidden)

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        layer: The layer, or several separated by commas; default: the last convolutional (spatial) layer that the
            target depends on.
        fuse: How the maps of several layers are combined, each divided by its maximum first.
        window: Side of the window in positions of the layer, or one along each axis such as 1x2x2.
        stride: Positions from one window to the next, likewise.
        baseline: What replaces a hidden position: each channel's mean over all positions, or zero.
        score: Of a class: the softmax probability, the logit, or the log-probability; other targets use their own.
        batch_size: Batch size (changed activations); halved automatically if memory runs out.

    Returns:
        Maps ``(N, h, w)`` at the layer's resolution, signed, in units of the score.

    Raises:
        UnknownNameError: If there is no such layer or label.
        UsageError: If the layer has no spatial extent.
        ExplanationError: If the target does not depend on the layer.
        ParameterError: If the window is larger than the layer, or the stride than the window.

    Reference:
        Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, section 4.2, at the input.
    """
    from cnnviz.methods.cams.changed_layer import perturbation_maps
    from cnnviz.methods.cams.layer_maps import CamSettings

    def explain(asked: ChangedLayer) -> Tensor:
        return hide_places(asked, window, stride, zero=baseline == "zero", kind=score)

    return perturbation_maps(
        model, images, target, explain, CamSettings(layer, fuse, relu=False, batch_size=batch_size)
    )


def hide_places(layer: ChangedLayer, window: Counts, stride: Counts, *, zero: bool, kind: ScoreKind) -> Tensor:
    """The mean drop ``(h, w)`` of the windows that hide each place of one image's layer."""
    import torch

    from cnnviz.core.dimensions import place_dims, size_of
    from cnnviz.engine.windows.window import Windows
    from cnnviz.methods.occlusion.sides import sides_of

    maps = layer.maps
    size = size_of(maps)
    windows = Windows.over(size, sides_of("window", window, size), sides_of("stride", stride, size))
    fill = maps.mean(dim=place_dims(maps), keepdim=True)
    fill = torch.zeros_like(fill) if zero else fill

    def hidden(some: slice) -> Tensor:
        """The unchanged maps first, then each window's."""
        numbers = torch.arange(some.start, some.stop, device=maps.device) - 1
        return torch.where(windows.masks(numbers) > 0, fill, maps)

    layer.expect_differences(kind)
    scores = layer.scores(len(windows) + 1, hidden, kind=kind).double().cpu()
    return windows.average(scores[0] - scores[1:]).to(maps)
