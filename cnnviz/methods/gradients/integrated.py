"""Integrated gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt

from cnnviz.method import Seed, method
from cnnviz.methods.settings import Channels

if TYPE_CHECKING:
    from torch import Tensor

    from cnnviz.core.target import Target, TargetLike
    from cnnviz.images.reading import ImagesLike
    from cnnviz.methods.ask import Answer
    from cnnviz.models.model import Model
    from cnnviz.results.attribution import Attributions

__all__ = ["integrated_gradients"]


@method
def integrated_gradients(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    baseline: str = "mean",
    steps: Annotated[int, Ge(1)] = 50,
    tolerance: Annotated[float, Gt(0)] = 0.02,
    most_steps: Annotated[int, Ge(1)] = 400,
    seed: Seed = 0,
    channels: Channels = "signed",
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Attributions:
    """Gradients integrated along the straight path from a baseline to the picture (integrated gradients).

    With the input ``x``, a baseline ``b`` and the score ``y``, integrated by Gauss and Legendre's rule::

        values = (x - b) * integral over a from 0 to 1 of dy / dx at b + a (x - b)

    so that they add up to ``y(x) - y(b)``. By how much they do not is the completeness error, a share of that
    difference: where it is above the tolerance, the steps are doubled until it is not or there are ``most_steps``; the
    checks say which. Of several baselines the mean is taken. Steps are added up one group after another, so memory
    does not grow with their number.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        baseline: One or several separated by commas: mean (0 after normalisation), black, white, noise, blur (a
            Gaussian with a standard deviation of a tenth of the shorter side), or a picture file.
        steps: Initial number of integration points.
        tolerance: Completeness error at which the doubling stops.
        most_steps: Largest number of integration points; they are doubled until the tolerance is met.
        seed: Seed for the noise, if that is the baseline.
        channels: How channels are drawn: largest magnitude, signed sum, or as colours; values are not changed.
        batch_size: Batch size (images or path points); halved automatically if memory runs out.

    Returns:
        Attributions ``(N, C, H, W)`` at the input's resolution, in units of the score.

    Raises:
        UnknownNameError: If there is no such label or baseline.
        ExplanationError: If the target does not depend on the picture.

    Reference:
        Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML 2017.
    """
    from cnnviz.methods.ask import attribute
    from cnnviz.methods.gradients.input_gradients import settled_scores
    from cnnviz.methods.gradients.path_integral import fill_inputs, integrate, parse_starts

    names = parse_starts(baseline)
    many = max(steps, most_steps)

    def answer(inputs: Tensor, targets: Sequence[Target]) -> Answer:
        clean = settled_scores(model, inputs, targets)
        baselines = [fill_inputs(model, inputs, name, seed) for name in names]
        found = integrate(
            model, inputs, baselines, clean, steps=steps, tolerance=tolerance, most=many, batch_size=batch_size
        )
        return clean.with_values(found.values, checks=found.checks)

    return attribute(model, images, target, answer, channels=channels, batch_size=batch_size, seed=seed)
