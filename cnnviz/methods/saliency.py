"""Saliency: the plain gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge
from torch import Tensor

from cnnviz.core.target import Target, TargetLike
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.asking import Answer
from cnnviz.methods.attributing import attribute
from cnnviz.methods.input_gradients import input_gradients
from cnnviz.models.model import Model
from cnnviz.registry import method
from cnnviz.results.attribution import Channels
from cnnviz.results.attributions import Attributions

__all__ = ["saliency"]


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
    """Which pixels the target's score is most sensitive to: its gradient (saliency).

    With the score ``y`` (a logit, before any softmax) and the network's input ``x``::

        values = dy / dx,   or x * dy / dx

    One forward and one backward. The values keep their sign; the paper draws the largest magnitude among the channels.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        times_input: Multiply by the input as the network gets it, normalised.
        channels: How channels are drawn: the largest magnitude, the signed sum, or as colours; changes no value.
        batch_size: Most images at once; halved when memory runs out.

    Returns:
        Attributions ``(N, C, H, W)`` at the input's resolution, in units of the score per unit of input.

    Raises:
        UnknownNameError: If there is no such label.
        ExplanationError: If the target does not depend on the picture.

    Reference:
        Simonyan et al., Deep Inside Convolutional Networks: Visualising Image Classification Models and
        Saliency Maps, ICLR Workshops 2014.
    """

    def ask(inputs: Tensor, targets: Sequence[Target]) -> Answer:
        found = input_gradients(model, inputs, targets)
        return found.answer(found.values * inputs[: len(targets)] if times_input else None)

    return attribute(model, images, target, ask, channels=channels, batch_size=batch_size)
