"""Deconvnet: a class's map."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge

from cnnviz.core.target import TargetLike
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.ruled_gradients import ruled_gradients
from cnnviz.models.model import Model
from cnnviz.registry import method
from cnnviz.results.attribution import Channels
from cnnviz.results.attributions import Attributions

__all__ = ["deconvnet"]


@method
def deconvnet(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    channels: Channels = "colour",
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Attributions:
    """What in the pixels the network run backwards finds again, starting at the target (deconvnet).

    The gradient, but at every activation function only what is positive goes on down, whether the unit was active or
    not; max-pooling passes it to where the maximum was::

        R_below = max(R_above, 0)

    The rule is put on activation functions as they are called and not on modules, so it holds for any network; what it
    touched is counted in the checks, and a forward that it changes, or in which it finds nothing, is refused. Gates
    (the output of a sigmoid or softmax that is multiplied with something else) count as constants.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        channels: How channels are drawn: the largest magnitude, the signed sum, or as colours; changes no value.
        batch_size: Most images at once; halved when memory runs out.

    Returns:
        Attributions ``(N, C, H, W)`` at the input's resolution.

    Raises:
        UnknownNameError: If there is no such label.
        ExplanationError: If the network calls no activation function, or the target does not depend on the picture.

    Reference:
        Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014.
    """
    return ruled_gradients(model, images, target, "deconvnet", channels=channels, batch_size=batch_size)
