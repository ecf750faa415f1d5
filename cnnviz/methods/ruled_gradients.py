"""What guided backpropagation and deconvnet share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from cnnviz.core.target import Target, TargetLike
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.asking import Answer
from cnnviz.methods.attributing import attribute
from cnnviz.methods.input_gradients import input_gradients
from cnnviz.models.model import Model
from cnnviz.probing.rules import Rule
from cnnviz.results.attribution import Channels
from cnnviz.results.attributions import Attributions

__all__ = ["CAVEAT", "ruled_gradients"]

CAVEAT = (
    "it shows what in the pixels drove the network's units, not why this class: such maps largely redraw the picture, "
    "much the same for every class (Adebayo et al. 2018, Nie et al. 2018)"
)


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

    def ask(inputs: Tensor, targets: Sequence[Target]) -> Answer:
        return input_gradients(model, inputs, targets, rule).answer()

    return attribute(model, images, target, ask, channels=channels, batch_size=batch_size, caveat=CAVEAT)
