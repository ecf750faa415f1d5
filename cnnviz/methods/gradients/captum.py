"""Attributions of the captum library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from annotated_types import Ge

from cnnviz.lengths import Counts
from cnnviz.method import Seed, method
from cnnviz.methods.settings import Channels

if TYPE_CHECKING:
    from torch import Tensor

    from cnnviz.core.target import Target, TargetLike
    from cnnviz.images.reading import ImagesLike
    from cnnviz.methods.ask import Answer
    from cnnviz.models.model import Model
    from cnnviz.results.attribution import Attributions

__all__ = ["captum"]

Algorithm: TypeAlias = Literal["DeepLift", "GradientShap", "KernelShap", "Lime", "FeatureAblation"]


@method
def captum(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    algorithm: Algorithm = "GradientShap",
    baseline: str = "mean",
    samples: Annotated[int, Ge(1)] = 50,
    cells: Counts = 8,
    seed: Seed = 0,
    channels: Channels = "signed",
    batch_size: Annotated[int, Ge(1)] = 16,
) -> Attributions:
    """Attributions of the pixels by an algorithm of the captum library.

    ``captum:DeepLift`` on the command line is ``captum --algorithm DeepLift``. KernelShap, Lime and FeatureAblation
    switch square cells of the picture off, all channels together. DeepLift and GradientShap should add up to the
    score's change from the baseline; by how much they do not is in the checks. captum runs on a copy of the network in
    at least float32, because DeepLift leaves traces on the modules where it fails. cnnviz's own ``deeplift`` adds up
    on any network.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class. Units of layers cannot be.
        algorithm: Name of the algorithm in captum.
        baseline: What replaces missing pixels: mean (0 after normalisation), black, noise or blur.
        samples: Points of GradientShap, or pictures with cells switched off of KernelShap and Lime.
        cells: Cells down and across, or along each axis such as 4x8x8, of KernelShap, Lime and FeatureAblation.
        seed: Seed for everything drawn at random.
        channels: How channels are drawn: largest magnitude, signed sum, or as colours; values are not changed.
        batch_size: Batch size.

    Returns:
        Attributions ``(N, C, H, W)`` at the input's resolution, in units of the score.

    Raises:
        MissingExtraError: If captum (or scikit-learn, for KernelShap and Lime) is not installed.
        UnknownNameError: If there is no such label or baseline.
        ExplanationError: If the target is a unit, or captum fails on this network.

    Reference:
        Kokhlikyan et al., Captum: A Unified and Generic Model Interpretability Library for PyTorch, arXiv 2009.07896,
        2020.
    """
    from cnnviz.methods.ask import attribute
    from cnnviz.methods.gradients.captum_caller import Caller
    from cnnviz.methods.gradients.input_gradients import settled_scores

    caller = Caller(model, algorithm, baseline, samples=samples, cells=cells, seed=seed, at_once=batch_size)

    def answer(inputs: Tensor, targets: Sequence[Target]) -> Answer:
        clean = settled_scores(model, inputs, targets)
        values, checks = caller.attribute(inputs[: len(targets)], clean.targets)
        return clean.with_values(values, checks=checks)

    return attribute(model, images, target, answer, channels=channels, batch_size=batch_size, seed=seed)
