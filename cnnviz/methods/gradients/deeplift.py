"""DeepLIFT: contributions that add up to the change of the score between a baseline and the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge

from cnnviz.method import Seed, method
from cnnviz.methods.settings import Channels, Fuse

if TYPE_CHECKING:
    from torch import Tensor

    from cnnviz.core.target import Target, TargetLike
    from cnnviz.images.reading import ImagesLike
    from cnnviz.methods.ask import Answer
    from cnnviz.models.model import Model
    from cnnviz.results.attribution import Attributions
    from cnnviz.results.heatmap import Heatmaps

__all__ = ["deeplift"]


@method
def deeplift(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    baseline: str = "mean",
    layer: str | None = None,
    fuse: Fuse = "mean",
    norms: Literal["exact", "fixed"] = "exact",
    seed: Seed = 0,
    channels: Channels = "signed",
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Attributions | Heatmaps:
    """Contributions of each pixel to the change of the score from a baseline, which add up to it (DeepLIFT, rescale).

    With the input ``x``, a baseline ``b`` and the score ``y``, from one forward of both together and one backward::

        values = (x - b) * multiplier,   their sum is y(x) - y(b)

    Multipliers follow the chain rule with secants in the place of derivatives: an activation function ``f`` passes
    ``(f(x) - f(b)) / (x - b)``; of a product of two tensors each factor's change counts at the other's mean; max
    pooling shares the change between the two winners; softmax, attention and norms are taken apart into these; any
    other function that is not linear gets its own integrated gradients, by 16 points. How far the sum is from the
    change is computed every time and is in the checks. Of several baselines the mean is taken.

    Rules are for functions and not for modules, so that activation functions may be reused, called in place or between
    modules. With ``layer`` contributions are those of the layer's units, summed over channels.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        baseline: One or several separated by commas: mean (0 after normalisation), black, white, noise, blur (a
            Gaussian with a standard deviation of a tenth of the shorter side), or a picture file.
        layer: A layer whose units contribute, or several separated by commas; default: the pixels do.
        fuse: How the maps of several layers are combined, each divided by its maximum first.
        norms: Layer, group, instance and RMS norms: exact, or with their scale held at the picture's ("fixed"), which
            adds up no more.
        seed: Seed for the noise, if that is the baseline.
        channels: How channels are drawn: largest magnitude, signed sum, or as colours; values are not changed.
        batch_size: Batch size (images); halved automatically if memory runs out.

    Returns:
        Attributions ``(N, C, H, W)`` at the input's resolution, or maps ``(N, h, w)`` of a layer, in units of the
        score.

    Raises:
        UnknownNameError: If there is no such label, layer or baseline.
        UsageError: If the layer has no spatial extent.
        ExplanationError: If the target does not depend on the picture, or only through code that cannot be followed.

    Reference:
        Shrikumar et al., Learning Important Features Through Propagating Activation Differences, ICML 2017.
    """
    from cnnviz.methods.ask import attribute
    from cnnviz.methods.cams.layer_maps import CamSettings, layer_maps
    from cnnviz.methods.gradients.contributions import contribute
    from cnnviz.methods.gradients.path_integral import parse_starts

    starts = parse_starts(baseline)

    def answer(inputs: Tensor, targets: Sequence[Target], names: Sequence[str] = ()) -> Answer:
        return contribute(model, inputs, targets, starts, names, seed=seed, exact=norms == "exact")

    if layer is None:
        return attribute(model, images, target, answer, channels=channels, batch_size=batch_size, seed=seed)
    settings = CamSettings(layer, fuse, relu=False, batch_size=batch_size)
    return layer_maps(model, images, target, answer, settings)
