"""Deep feature factorization: what activations over several pictures have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from cnnviz.core.dimensions import size_of
from cnnviz.errors import ExplanationError, UsageError
from cnnviz.method import Seed, method

if TYPE_CHECKING:
    from torch import Tensor

    from cnnviz.core.target import ClassTarget, Target
    from cnnviz.images.reading import ImagesLike
    from cnnviz.methods.prepare import InputBatch
    from cnnviz.models.model import Model
    from cnnviz.results.concepts import Concepts

__all__ = ["dff"]

TINY, NOTABLE = 1e-12, 0.01
NOTHING = "the maps are zero everywhere: the layer has no positive activation on these pictures"


@method
def dff(
    model: Model,
    images: ImagesLike,
    *,
    concepts: Annotated[int, Ge(1)] = 5,
    layer: str | None = None,
    steps: Annotated[int, Ge(1)] = 200,
    seed: Seed = 0,
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Concepts:
    """A few labelled concepts that a layer's activations share over several pictures (DFF).

    With ``V`` the layer's positive activations, a row a place of any picture and a column a channel, multiplicative
    updates find non-negative ``W`` and ``H`` that minimise ``|V - W H|``: a row of ``H`` is a concept, a column of
    ``W`` its map. A concept is named by the class that the network gives when the layer shows nothing but that concept,
    at every place as strong as where it is strongest.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        concepts: Number of concepts.
        layer: The layer; default: the last convolutional (spatial) layer that the top class depends on.
        steps: Number of update steps of the factorization.
        seed: Seed for the random initialisation.
        batch_size: Batch size (images); halved automatically if memory runs out.

    Returns:
        Maps ``(N, k, h, w)`` (of signals ``(N, k, t)``, of volumes ``(N, k, d, h, w)``), concept vectors ``(k, C)`` and
        a class for each concept.

    Raises:
        UnknownNameError: If there is no such layer.
        UsageError: If the layer has no spatial extent, or several layers were named.
        ExplanationError: If an activation is not finite.

    Reference:
        Collins, Achanta and Suesstrunk, Deep Feature Factorization For Concept Discovery, ECCV 2018.
    """
    from cnnviz.core.layer import AUTOMATIC
    from cnnviz.engine.undisturbed import undisturbed
    from cnnviz.methods.cams.layer_maps import field_of, note_call
    from cnnviz.methods.prepare import prepare, provenance_of
    from cnnviz.results.concepts import Concepts

    if layer is not None and "," in layer:
        raise UsageError(f"Concepts are of one layer; got '{layer}'.")
    if layer is not None and layer != AUTOMATIC:
        model.check_layer(layer)
    batch = prepare(model, images)
    with undisturbed(model.module):
        found, activations, chunk, notes = _gather_activations(model, batch, layer or AUTOMATIC, batch_size)
        maps, vectors = factorize(activations, concepts, steps=steps, seed=seed)
        one = model.to_device(batch.inputs[:1]).expand(model.fixed_batch or 1, *batch.inputs.shape[1:])
        strongest = maps.transpose(0, 1).flatten(1).amax(dim=1)
        classes, replayed = _name_concepts(model, one, found, vectors * strongest[:, None])
    called = note_call(model, found, size_of(batch.inputs))
    nothing = [] if maps.any() else [NOTHING]
    return Concepts(
        values=maps.float().numpy(),
        vectors=vectors.float().numpy(),
        classes=classes,
        pictures=batch.pictures,
        layer=found,
        field=field_of(model, found, size_of(batch.inputs)),
        model=model.name,
        checks=(*nothing, *batch.checks, *notes, *called, *replayed),
        provenance=provenance_of(model, batch, layer=found, chunk=chunk, seed=seed),
    )


def _gather_activations(
    model: Model, batch: InputBatch, layer: str, size: int
) -> tuple[str, Tensor, int, tuple[str, ...]]:
    """The layer found, its activations ``(N, C, ...)`` on the CPU, the chunk size, and what the user should know."""
    import torch

    from cnnviz.core.layer import AUTOMATIC
    from cnnviz.core.target import NoTarget
    from cnnviz.methods.ask import ask, unsound
    from cnnviz.methods.cams.layer_maps import activations_of
    from cnnviz.methods.cams.probe import automatic_layer

    def answer(inputs: Tensor, targets: Sequence[Target]) -> tuple[str, Tensor, tuple[str, ...]]:
        chosen = automatic_layer(model, inputs, targets) if layer == AUTOMATIC else None
        found = activations_of(model, [chosen.name if chosen else layer], inputs, [NoTarget()] * len(targets))
        return found.layers[0], found.values[0].cpu(), (*(chosen.describe() if chosen else ()), *found.checks)

    chunks = ask(model, batch, answer, batch_size=size)
    activations = torch.cat([maps for _, maps, _ in chunks.results])
    if lost_to := unsound(activations.double().flatten(1).sum(dim=1).tolist(), batch):
        raise ExplanationError(f"There are no concepts among these pictures: {lost_to[0]}.")
    lost = float((activations.clamp_max(0) ** 2).sum() / (activations**2).sum().clamp_min(TINY))
    said = [f"negative activations were set to zero: {lost:.0%} of the squared activation"] if lost > NOTABLE else []
    return chunks.results[0][0], activations, chunks.size, (*chunks.results[0][2], *chunks.checks, *said)


def factorize(activations: Tensor, concepts: int, *, steps: int, seed: int) -> tuple[Tensor, Tensor]:
    """Non-negative factors of activations ``(N, C, ...)``: maps ``(N, k, ...)`` and unit vectors ``(k, C)``."""
    import torch

    count, channels, *grid = activations.shape
    values = activations.clamp_min(0).double().movedim(1, -1).reshape(-1, channels)
    generator = torch.Generator().manual_seed(seed)
    scale = (values.mean() / concepts).sqrt()
    shares = scale * torch.rand(len(values), concepts, generator=generator, dtype=values.dtype)
    vectors = scale * torch.rand(concepts, channels, generator=generator, dtype=values.dtype)
    for _ in range(steps):
        vectors *= (shares.T @ values) / (shares.T @ shares @ vectors).clamp_min(TINY)
        shares *= (values @ vectors.T) / (shares @ (vectors @ vectors.T)).clamp_min(TINY)
    norms = vectors.norm(dim=1).clamp_min(TINY)
    order = (shares.sum(dim=0) * norms).argsort(descending=True, stable=True)
    maps = (shares * norms)[:, order].reshape(count, *grid, concepts).movedim(-1, 1)
    return maps, (vectors / norms[:, None])[order]


def _name_concepts(
    model: Model, one: Tensor, layer: str, vectors: Tensor
) -> tuple[tuple[tuple[ClassTarget, float], ...], tuple[str, ...]]:
    """The class of each concept ``(k, C)``, shown at every place of the layer."""
    import numpy as np
    import torch

    from cnnviz.core.dimensions import is_dense
    from cnnviz.core.target import named_class
    from cnnviz.engine.arrangement import from_maps
    from cnnviz.engine.replay import replay
    from cnnviz.engine.scores.score import class_probabilities

    if not model.readable:
        return (), ("the network gives no logits of classes, so its concepts have no names",)
    if model.detecting:
        return (), ("the network gives detections, so its concepts have no names",)
    fixed = bool(model.fixed_batch)
    with torch.no_grad(), replay(model.module, model.forward, one, layer, fixed=fixed) as found:
        arrangement = found.arrangement
        assert arrangement is not None
        logits = []
        for vector in vectors.to(found.activation):
            spread = vector.reshape(1, -1, *(1 for _ in arrangement.grid))
            maps = spread.expand(found.fixed or 1, -1, *arrangement.grid)
            logits.append(found(from_maps(maps, arrangement, found.activation))[:1])
    shares = class_probabilities(torch.cat(logits).double(), model.head)
    shares = shares.flatten(2).mean(dim=2) if is_dense(shares) else shares
    best: Sequence[int] = shares.argmax(dim=1).tolist()
    named = tuple(
        (named_class(index, model.labels), float(share[index]))
        for index, share in zip(best, np.asarray(shares.cpu()), strict=True)
    )
    return named, found.checks
