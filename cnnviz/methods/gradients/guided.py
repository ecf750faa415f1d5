"""Guided backpropagation, with Grad-CAM (Guided Grad-CAM), and the deconvnet: gradients by a rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from cnnviz.errors import UsageError
from cnnviz.method import method
from cnnviz.methods.settings import Channels

if TYPE_CHECKING:
    from torch import Tensor

    from cnnviz.core.target import Target, TargetLike
    from cnnviz.engine.rules import Rule
    from cnnviz.images.reading import ImagesLike
    from cnnviz.methods.ask import Answer
    from cnnviz.models.model import Model
    from cnnviz.results.attribution import Attributions
    from cnnviz.results.projections import Projections

__all__ = ["guided_backprop", "guided_gradcam", "deconvnet", "CAVEAT", "ruled_gradients"]

CAVEAT = (
    "not class-discriminative: such maps largely reconstruct the picture and are nearly the same for every class "
    "(Adebayo et al. 2018, Nie et al. 2018)"
)


@method
def guided_backprop(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    channels: Channels = "colour",
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Attributions:
    """Gradients in which negative ones are set to zero at every activation function (guided backpropagation).

    The gradient, but at every activation function ``f`` at ``x`` only positive evidence for active units goes on down::

        R_below = max(f'(x), 0) * max(R_above, 0)          (for ReLU and its kin f' is 1 where x > 0)

    The rule is put on activation functions as they are called and not on modules, so it holds for any network; what it
    touched is counted in the checks, and a forward that it changes, or in which it finds nothing, is refused. Gates
    (the output of a sigmoid or softmax that is multiplied with something else) count as constants.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        channels: How channels are drawn: largest magnitude, signed sum, or as colours; values are not changed.
        batch_size: Batch size (images); halved automatically if memory runs out.

    Returns:
        Attributions ``(N, C, H, W)`` at the input's resolution.

    Raises:
        UnknownNameError: If there is no such label.
        ExplanationError: If the network calls no activation function, or the target does not depend on the picture.

    Reference:
        Springenberg et al., Striving for Simplicity: The All Convolutional Net, ICLR Workshops 2015.
    """
    return ruled_gradients(model, images, target, "guided", channels=channels, batch_size=batch_size)


@method
def guided_gradcam(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    channels: Channels = "colour",
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Attributions:
    """Guided backpropagation multiplied by Grad-CAM (Guided Grad-CAM).

    The product of both; Grad-CAM's map is rectified and enlarged bilinearly, as in the paper::

        values = guided backpropagation * enlarged relu(sum over k of alpha_k * A_k)

    Grad-CAM's values are spread evenly over the input in that, as in the paper; ``align`` changes nothing here.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        layer: Grad-CAM's layer; default: the last convolutional (spatial) layer that the target depends on.
        channels: How channels are drawn: largest magnitude, signed sum, or as colours; values are not changed.
        batch_size: Batch size (images); halved automatically if memory runs out.

    Returns:
        Attributions ``(N, C, H, W)`` at the input's resolution.

    Raises:
        UnknownNameError: If there is no such layer or label.
        UsageError: If the layer has no spatial extent.
        ExplanationError: If the network calls no activation function, or the target does not depend on the layer.

    Reference:
        Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017.
    """
    import torch

    from cnnviz.core.dimensions import place_dims
    from cnnviz.core.layer import AUTOMATIC
    from cnnviz.methods.ask import attribute
    from cnnviz.methods.cams.grids import enlarge_evenly
    from cnnviz.methods.cams.probe import automatic_layer, probe
    from cnnviz.methods.gradients.input_gradients import input_gradients

    if layer is not None and layer != AUTOMATIC:
        model.check_layer(layer)

    def answer(inputs: Tensor, targets: Sequence[Target]) -> Answer:
        guided = input_gradients(model, inputs, targets, "guided")
        name = layer if layer not in (None, AUTOMATIC) else automatic_layer(model, inputs, targets).name
        found = probe(model, [str(name)], inputs, guided.targets)
        weights = found.gradients[0].mean(dim=place_dims(found.gradients[0]))
        small = torch.einsum("nk,nk...->n...", weights, found.activations[0]).clamp_min(0)
        large = enlarge_evenly(small, inputs.shape[2:])
        weighed = guided.with_values(guided.values[0] * large[:, None], checks=found.answer.checks)
        return replace(weighed, layers=(str(name),))

    return attribute(model, images, target, answer, channels=channels, batch_size=batch_size, caveat=CAVEAT)


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
    """The target, or units of a layer, projected back to the pixels by a deconvolutional network (deconvnet).

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
        units: Its units, such as 0-8 or 3,17; default: the nine with the largest activations.
        channels: How channels are drawn: largest magnitude, signed sum, or as colours; values are not changed.
        batch_size: Batch size (images); halved automatically if memory runs out.

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
        from cnnviz.methods.units.projections import project_units

        return project_units(model, images, layer, units, batch_size=batch_size)
    if units is not None:
        raise UsageError(f"Units {units} of which layer? Name it with layer.")
    return ruled_gradients(model, images, target, "deconvnet", channels=channels, batch_size=batch_size)


def ruled_gradients(
    model: Model, images: ImagesLike, target: TargetLike, rule: Rule, *, channels: Channels, batch_size: int
) -> Attributions:
    """Gradients down to the input by a rule.

    Args:
        model: The network.
        images: Any accepted form of images.
        target: Any accepted form of target.
        rule: How gradients pass activation functions.
        channels: How the channels are drawn.
        batch_size: Most images at once.
    """
    from cnnviz.methods.ask import attribute
    from cnnviz.methods.gradients.input_gradients import input_gradients

    def answer(inputs: Tensor, targets: Sequence[Target]) -> Answer:
        return input_gradients(model, inputs, targets, rule)

    return attribute(model, images, target, answer, channels=channels, batch_size=batch_size, caveat=CAVEAT)
