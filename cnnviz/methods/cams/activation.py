"""Maps of activations alone: CAM, by the classifier's own weights, and Eigen-CAM, by principal components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from cnnviz.method import method
from cnnviz.methods.settings import Fuse

if TYPE_CHECKING:
    from torch import Tensor

    from cnnviz.core.target import Target, TargetLike
    from cnnviz.images.reading import ImagesLike
    from cnnviz.models.model import Model
    from cnnviz.results.heatmap import Heatmaps

__all__ = ["cam", "eigencam"]


NOTHING = "the maps before the mean, or the class's weights on them, are zero"


@method
def cam(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Heatmaps:
    """Activations of the last convolutional layer, weighted by the classifier's weights for the class (CAM).

    For a network that averages maps ``A`` over all places and classifies with weights ``W``, or averages one map per
    class::

        map_c = sum over k of W_ck * A_k        (or the class's own map)

    so that the map's mean, plus the bias, is the logit. The head is found by the numbers of the forward itself,
    whatever its modules are called. The map is signed, as in the paper.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: A class or a difference of classes; None is each image's top class.
        batch_size: Batch size (images); halved automatically if memory runs out.

    Returns:
        Maps ``(N, h, w)`` at the resolution of what is averaged, in units of the logit.

    Raises:
        ExplanationError: If the network has no such head, or the target is not made of classes.
        UnknownNameError: If there is no such label.

    Reference:
        Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016.
    """
    import torch

    from cnnviz.core.layer import Arrangement
    from cnnviz.engine.fields.trace import FieldTrace
    from cnnviz.engine.heads import find_class_maps
    from cnnviz.engine.scores.score import score, settle
    from cnnviz.methods.ask import Answer, ask, assemble
    from cnnviz.methods.prepare import prepare

    batch = prepare(model, images, target)

    def answer(inputs: Tensor, targets: Sequence[Target]) -> Answer:
        with FieldTrace(inputs) as fields:
            found = find_class_maps(model.forward, inputs)
        logits = found.logits[: len(targets)]
        settled = tuple(settle(targets, logits, model.labels, model.head))
        values = torch.stack([found.of(row, each) for row, each in enumerate(settled)])
        field = fields.of(found.activation, Arrangement.of_maps(tuple(found.activation.shape[1:])))
        scores = score(settled, logits).detach()
        return Answer((), (values,), logits.detach(), scores, settled, field=field, flat=NOTHING)

    chunks = ask(model, batch, answer, batch_size=batch_size)
    return assemble(model, batch, chunks, rectified=False)


@method
def eigencam(
    model: Model,
    images: ImagesLike,
    *,
    layer: str | None = None,
    fuse: Fuse = "mean",
    relu: bool = True,
    flip: bool = False,
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Heatmaps:
    """The first principal component of a layer's activations, independent of the class (Eigen-CAM).

    With ``M`` the layer's activations, a row a place and a column a channel::

        map = relu(M v),   v the first right singular vector of M, its sign such that M v is large where M is

    by the Gram matrix's largest eigenvector, hundreds of times cheaper than the whole decomposition. No class and no
    gradient is involved: the map shows what stands out, not what speaks for a class.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        layer: The layer, or several separated by commas; default: the last convolutional (spatial) layer that the
            target depends on.
        fuse: How the maps of several layers are combined, each divided by its maximum first.
        relu: Show positive values only, as in the paper; otherwise the signed map.
        flip: Average with the map of the mirrored picture.
        batch_size: Batch size (images); halved automatically if memory runs out.

    Returns:
        Maps ``(N, h, w)`` at the layer's resolution, in units of the activation.

    Raises:
        UnknownNameError: If there is no such layer.
        UsageError: If the layer has no spatial extent.

    Reference:
        Muhammad and Yeasin, Eigen-CAM: Class Activation Map using Principal Components, IJCNN 2020.
    """
    from cnnviz.methods.cams.layer_maps import CamSettings, activation_maps

    settings = CamSettings(layer, fuse, relu, flip=flip, batch_size=batch_size)
    return activation_maps(model, images, principal, settings)


def principal(activations: Tensor) -> Tensor:
    """First principal component of activations ``(N, C, h, w)``, positive where they are strong, ``(N, h, w)``."""
    from cnnviz.methods.cams.principal import principal_map

    return principal_map(activations, like=activations.abs().sum(dim=1))
