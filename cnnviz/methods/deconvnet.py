"""Deconvnet: a class's map, or what the units of a layer respond to."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge

from cnnviz.core.target import TargetLike
from cnnviz.errors import UsageError
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.ruled_gradients import ruled_gradients
from cnnviz.methods.unit_projections import project_units
from cnnviz.models.model import Model
from cnnviz.registry import method
from cnnviz.results.attribution import Channels
from cnnviz.results.attributions import Attributions
from cnnviz.results.projections import Projections

__all__ = ["deconvnet"]


@method
def deconvnet(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    units: str | None = None,
    channels: Channels = "colour",
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Attributions | Projections:
    """What in the pixels the network run backwards finds again, starting at the target (deconvnet).

    The gradient, but at every activation function only what is positive goes on down, whether the unit was active or
    not; max-pooling passes it to where the maximum was::

        R_below = max(R_above, 0)

    A class's map starts at its logit. A unit as target (``layer3:17``) starts as in the paper at one activation, the
    largest of its map or the one at the place that is named, by its own value; all others are set to zero. A unit that
    does not respond gives an empty map.

    With a layer or units it is the deconvnet of the paper: for each unit up to nine pictures that excite it most, the
    largest activation projected back (the seed is that activation at its place), the forward stopped at the layer.

    The rule is put on activation functions as they are called and not on modules, so it holds for any network; what it
    touched is counted in the checks, and a forward that it changes, or in which it finds nothing, is refused. Gates
    (the output of a sigmoid or softmax that is multiplied with something else) count as constants.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        layer: The layer whose units are shown, instead of the target's map.
        units: Its units, such as 0-8 or 3,17; left out, the nine with the largest activations.
        channels: How channels are drawn: the largest magnitude, the signed sum, or as colours; changes no value.
        batch_size: Most images at once; halved when memory runs out.

    Returns:
        Attributions ``(N, C, H, W)`` at the input's resolution; or with a layer, ``Projections`` of its units, with
        values ``(U, K, C, H, W)``.

    Raises:
        UnknownNameError: If there is no such label or layer.
        UsageError: If units are named without a layer, or together with a target.
        ParameterError: If the layer has no such unit.
        ExplanationError: If the network calls no activation function, or the target does not depend on the picture.

    Reference:
        Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014.
    """
    if layer is not None:
        if target is not None:
            raise UsageError("A layer's units are shown without a target; leave out the target, or the layer.")
        return project_units(model, images, layer, units, batch_size=batch_size)
    if units is not None:
        raise UsageError(f"Units {units} of which layer? Name it with layer.")
    return ruled_gradients(model, images, target, "deconvnet", channels=channels, batch_size=batch_size)
