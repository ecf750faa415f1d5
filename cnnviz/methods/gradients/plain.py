"""Saliency, the plain gradient, and its mean over noisy copies of the picture, SmoothGrad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from annotated_types import Ge

from cnnviz.method import Seed, method
from cnnviz.methods.settings import Channels

if TYPE_CHECKING:
    from torch import Tensor

    from cnnviz.core.target import Target, TargetLike
    from cnnviz.images.reading import ImagesLike
    from cnnviz.methods.ask import Answer
    from cnnviz.models.model import Model
    from cnnviz.results.attribution import Attributions

__all__ = ["saliency", "smoothgrad"]

Statistic: TypeAlias = Literal["mean", "squared", "variance"]


@method
def saliency(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    times_input: bool = False,
    channels: Channels = "absolute",
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Attributions:
    """The gradient of the target's score with respect to the pixels (saliency).

    With the score ``y`` (a logit, before any softmax) and the network's input ``x``::

        values = dy / dx,   or x * dy / dx

    One forward and one backward. The values keep their sign; the paper draws the largest magnitude among the channels.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        times_input: Multiply by the (normalised) input.
        channels: How channels are drawn: largest magnitude, signed sum, or as colours; values are not changed.
        batch_size: Batch size (images); halved automatically if memory runs out.

    Returns:
        Attributions ``(N, C, H, W)`` at the input's resolution, in units of the score per unit of input.

    Raises:
        UnknownNameError: If there is no such label.
        ExplanationError: If the target does not depend on the picture.

    Reference:
        Simonyan et al., Deep Inside Convolutional Networks: Visualising Image Classification Models and
        Saliency Maps, ICLR Workshops 2014.
    """
    from cnnviz.methods.ask import attribute
    from cnnviz.methods.gradients.input_gradients import input_gradients

    def answer(inputs: Tensor, targets: Sequence[Target]) -> Answer:
        found = input_gradients(model, inputs, targets)
        return found.with_values(found.values[0] * inputs[: len(targets)]) if times_input else found

    return attribute(model, images, target, answer, channels=channels, batch_size=batch_size)


@method
def smoothgrad(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    samples: Annotated[int, Ge(1)] = 50,
    noise: Annotated[float, Ge(0)] = 0.15,
    statistic: Statistic = "mean",
    seed: Seed = 0,
    channels: Channels = "absolute",
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Attributions:
    """Saliency averaged over noisy copies of the picture (SmoothGrad).

    With gradients ``g_s`` of the score at ``samples`` copies of the input with Gaussian noise::

        mean: mean of g_s        squared: mean of g_s ** 2        variance: variance of g_s (VarGrad)

    Gradients are averaged with their sign, before any magnitude is taken, one group after another (the variance by
    Welford's recurrence, never negative), so memory does not grow with the number of samples.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        samples: Number of noisy copies per image.
        noise: Standard deviation of the noise, as a share of the range of the image's values.
        statistic: The gradients' mean, the mean of their squares, or their variance.
        seed: Seed for the noise; each image's noise depends on it alone, not on the rest of the batch.
        channels: How channels are drawn: largest magnitude, signed sum, or as colours; values are not changed.
        batch_size: Batch size (images or noisy copies); halved automatically if memory runs out.

    Returns:
        Attributions ``(N, C, H, W)`` at the input's resolution.

    Raises:
        UnknownNameError: If there is no such label.
        ExplanationError: If the target does not depend on the picture.

    Reference:
        Smilkov et al., SmoothGrad: Removing Noise by Adding Noise, arXiv 1706.03825, 2017; the squared form Hooker et
        al., A Benchmark for Interpretability Methods in Deep Neural Networks, NeurIPS 2019; VarGrad Adebayo et al.,
        Local Explanation Methods for Deep Neural Networks Lack Sensitivity to Parameter Values, ICLR Workshops 2018.
    """
    import torch

    from cnnviz.engine.batching import in_slices
    from cnnviz.methods.ask import attribute
    from cnnviz.methods.gradients.input_gradients import Moments, NoisyCopies, input_gradients, settled_scores

    def answer(inputs: Tensor, targets: Sequence[Target]) -> Answer:
        clean = settled_scores(model, inputs, targets)
        copies, moments = NoisyCopies(inputs, noise, seed, samples), Moments(inputs[: len(targets)])

        def gradients(some: slice) -> None:
            rows = list(clean.targets) * (some.stop - some.start)
            (found,) = input_gradients(model, copies.of(some), rows).values
            for one in torch.split(found, len(targets)):
                moments.add(one**2 if statistic == "squared" else one)

        at_once = 1 if model.fixed_batch else max(1, batch_size // len(inputs))
        checks = in_slices(samples, gradients, size=at_once).checks
        return clean.with_values(moments.variance if statistic == "variance" else moments.mean, checks=checks)

    return attribute(model, images, target, answer, channels=channels, batch_size=batch_size, seed=seed)
