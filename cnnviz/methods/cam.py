"""CAM: class activation mapping proper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from cnnviz.core.layer import Arrangement
from cnnviz.core.target import Target, TargetLike
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.asking import Answer, ask_in_chunks, probabilities
from cnnviz.methods.inputs import prepare
from cnnviz.models.model import Model
from cnnviz.probing.fields import Fields
from cnnviz.probing.heads import find_class_maps
from cnnviz.probing.targets import score, settle
from cnnviz.registry import method
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["cam"]


@method
def cam(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Heatmaps:
    """Where the classifier's own weights see the class (CAM).

    For a network that averages maps ``A`` over all places and classifies with weights ``W``, or averages one map per
    class::

        map_c = sum over k of W_ck * A_k        (or the class's own map)

    so that the map's mean, plus the bias, is the logit. The head is found by the numbers of the forward itself,
    whatever its modules are called. The map is signed, as in the paper.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: A class or a difference of classes; None is each image's top class.
        batch_size: Most images at once; halved when memory runs out.

    Returns:
        Maps ``(N, h, w)`` at the resolution of what is averaged, in units of the logit.

    Raises:
        ExplanationError: If the network has no such head, or the target is not made of classes.
        UnknownNameError: If there is no such label.

    Reference:
        Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016.
    """
    batch = prepare(model, images, target)

    def ask(inputs: Tensor, targets: Sequence[Target]) -> Answer:
        with Fields(inputs) as fields:
            found = find_class_maps(model.forward, inputs)
        logits = found.logits[: len(targets)]
        settled = tuple(settle(targets, logits, model.labels))
        values = torch.stack([found.of(row, each) for row, each in enumerate(settled)])
        _, channels, height, width = found.activation.shape
        field = fields.of(found.activation, Arrangement("NCHW", (height, width), channels))
        return Answer(values, score(settled, logits), probabilities(logits, settled), settled, None, field=field)

    return ask_in_chunks(model, batch, ask, batch_size=batch_size, rectified=False)
