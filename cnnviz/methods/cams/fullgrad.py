"""FullGrad: what the input and the biases of all layers add to the score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from cnnviz.core.dimensions import own_dims
from cnnviz.method import method

if TYPE_CHECKING:
    from torch import Tensor

    from cnnviz.core.target import Target, TargetLike
    from cnnviz.engine.biases import FullGradients
    from cnnviz.images.reading import ImagesLike
    from cnnviz.models.model import Model
    from cnnviz.results.heatmap import Heatmaps

__all__ = ["fullgrad"]

CONSTANT = "all terms of the score are spatially constant"
COSINE = "a cosine does not depend on the embedding's length, so the terms sum to 0, not to the score"
OTHERS = "the rest is of kinds that are not told apart, such as attention in one function or compiled parts"


@method
def fullgrad(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    batch_size: Annotated[int, Ge(1)] = 8,
) -> Heatmaps:
    """Input gradients and bias gradients of every layer, summed (FullGrad).

    A network's score is ``y = x * dy/dx + sum over layers of b * dy/db``. What is not linear has a bias of its own at
    every place, ``f(x) - f'(x) x``: none for a ReLU, 6 where a ReLU6 is saturated, and minus the product for a gate
    times a map. Each term's absolute values, stretched to [0, 1] for each image, are enlarged to the input's size and
    added over channels and layers::

        map = sum over c of psi(|x dy/dx|)_c + sum over layers and c of psi(|b dy/db|)_c

    Whether the terms do add up to the score is checked at every use: the completeness error is in the checks, and is
    large where there are terms of other kinds (attention in one function, compiled parts). Layers without places count
    there only.

    Every layer's values are spread evenly inside the map, whatever ``align`` says of others: a value lies in the middle
    of its share of the input, which is where VGG's units look. The authors' code stretches corner to corner instead,
    which puts a layer's outer units up to half a stride too far out, each layer's by another amount.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        batch_size: Batch size (images); halved automatically if memory runs out.

    Returns:
        Maps ``(N, H, W)`` at the input's resolution, never negative.

    Raises:
        UnknownNameError: If there is no such label.

    Reference:
        Srinivas and Fleuret, Full-Gradient Representation for Neural Network Visualization, NeurIPS 2019.
    """
    from cnnviz.engine.biases import full_gradients
    from cnnviz.engine.capture import capture
    from cnnviz.engine.scores.score import score, settle, watched_layers
    from cnnviz.methods.ask import Answer, ask, assemble
    from cnnviz.methods.prepare import prepare

    batch = prepare(model, images, target)

    def answer(inputs: Tensor, targets: Sequence[Target]) -> Answer:
        count = len(targets)
        settled: list[Target] = []

        def score_logits(logits: Tensor) -> Tensor:
            settled[:] = settle(targets, logits[:count], model.labels, model.head)
            return score(settled, logits[:count], caught)

        with capture(model.module, [], watched_layers(targets)) as caught:
            found = full_gradients(model.module, model.answering(targets), inputs, score_logits)
        values, checks = _add_terms(found)[:count], _note_completeness(found, settled)
        return Answer((), (values,), found.logits[:count], found.scores, tuple(settled), checks, flat=CONSTANT)

    chunks = ask(model, batch, answer, batch_size=batch_size)
    return assemble(model, batch, chunks, rectified=True)


def _add_terms(found: FullGradients) -> Tensor:
    """The terms of the input and of the biases that have places, at the input's size, ``(N, H, W)``."""
    from cnnviz.engine.arrangement import to_maps
    from cnnviz.methods.cams.grids import enlarge_evenly

    size = found.inputs.shape[2:]
    total = _stretch_and_add(found.inputs)
    for bias, arrangement in found.biases:
        if arrangement is not None and arrangement.spatial:
            maps = _stretch_and_add(to_maps(bias, arrangement))
            total = total + enlarge_evenly(maps, size)
    return total


def _stretch_and_add(maps: Tensor) -> Tensor:
    """Absolute values ``(N, C, h, w)`` stretched to [0, 1] for each image, added over channels, ``(N, h, w)``."""
    import torch

    values = maps.abs().float()
    each = own_dims(values)
    low, high = values.amin(dim=each, keepdim=True), values.amax(dim=each, keepdim=True)
    range_ = high - low
    told = range_ > torch.finfo(values.dtype).eps * high
    return torch.where(told, (values - low) / range_, torch.zeros_like(values)).sum(dim=1)


def _note_completeness(found: FullGradients, targets: Sequence[Target]) -> tuple[str, ...]:
    import torch

    from cnnviz.core.similar import Similar

    count = len(targets)
    own, missing = found.scores.double()[:count], found.missing()[:count]
    if all(isinstance(target, Similar) for target in targets):
        return (f"{COSINE}; here they add up to {float((own - missing).abs().max()):.2g}",)
    scores = own.abs().clamp_min(torch.finfo(torch.float64).tiny)
    error = float((missing.abs() / scores).max())
    verdict = "" if error < 0.05 else f"; {OTHERS}"
    return (f"completeness: the terms add up to the score but for {error:.2g} of it{verdict}",)
