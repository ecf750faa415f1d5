"""Effective receptive fields, measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from cnnviz.core.dimensions import Size, size_of
from cnnviz.core.layer import AUTOMATIC
from cnnviz.errors import ExplanationError, ParameterError
from cnnviz.method import check_network, interruptible

if TYPE_CHECKING:
    from torch import Tensor

    from cnnviz.core.layer import Arrangement, Layer
    from cnnviz.images.reading import ImagesLike
    from cnnviz.methods.prepare import InputBatch
    from cnnviz.models.model import Model
    from cnnviz.results.layers import EffectiveField

__all__ = ["effective_field"]

FEW = 20
ROUNDING = 16
"""A gradient of so many rounding errors of another is none."""


@interruptible
def effective_field(
    model: Model,
    layer: str = AUTOMATIC,
    images: ImagesLike | None = None,
    *,
    count: Annotated[int, Ge(1)] = FEW,
    batch_size: Annotated[int, Ge(1)] = 8,
    seed: int = 0,
) -> EffectiveField:
    """How much each pixel really moves the unit in the middle of a layer, over many inputs.

    Of all that a unit can see, the middle counts most: in an untrained network the effective field is a bell around
    the centre. The unit's channels are summed, and the magnitude of that sum's gradient is averaged over inputs and
    summed over the input's channels. Where the sum is the same whatever the input, as after a layer norm, every other
    channel is taken away instead, and a check says so. The field's size is the root (of volumes the cube root, of
    signals the number itself) of the number of pixels above 4.55 % of the largest value.

    Args:
        model: The network.
        layer: The layer; ``"last-spatial"`` is the last with more than one place.
        images: Any accepted form of images; None takes standard normal noise, in the units of the network's input.
        count: How many inputs of noise.
        batch_size: Batch size (inputs); halved automatically if memory runs out.
        seed: Seed of the noise.

    Returns:
        The mean magnitudes ``(H, W)`` (of signals ``(T,)``, of volumes ``(D, H, W)``), with size and radii in pixels
        of the network's input.

    Raises:
        UnknownNameError: If there is no such layer.
        UsageError: If the layer has no spatial extent.
        ParameterError: If count is below 1.
        ExplanationError: If the layer does not depend on the input, or has no gradient.

    Reference:
        Luo et al., Understanding the Effective Receptive Field in Deep Convolutional Neural Networks, NeurIPS 2016.
    """
    from cnnviz.methods.cams.layer_maps import field_of, note_call
    from cnnviz.methods.prepare import prepare, provenance_of
    from cnnviz.results.layers import EffectiveField

    check_network(model)
    if count < 1:
        raise ParameterError(f"count is at least 1, not {count}.")
    if layer != AUTOMATIC:
        model.check_layer(layer)
    batch = prepare(model, _draw_noise(model, count, seed) if images is None else images)
    lengths = size_of(batch.inputs)
    found = model.layers_on(lengths).resolve(layer)
    name = found.name if layer == AUTOMATIC else layer
    place = tuple(length // 2 for length in _arrange(found, name).grid)
    values, chunk, said = _mean_magnitudes(model, batch, found, name, place=place, size=batch_size)
    few = [f"over {len(batch.inputs)} images; use at least {FEW} for a stable mean"] if len(batch.inputs) < FEW else []
    return EffectiveField(
        values=values.float().numpy(),
        layer=name,
        place=place,
        field=field_of(model, name, lengths),
        inputs=len(batch.inputs),
        checks=(*batch.checks, *note_call(model, name, lengths), *few, *said),
        provenance=provenance_of(model, batch, layer=name, chunk=chunk, seed=seed if images is None else None).stamped(
            "effective_field", {"layer": layer, "count": count, "batch_size": batch_size, "seed": seed}
        ),
    )


def _arrange(layer: Layer, name: str) -> Arrangement:
    import torch

    from cnnviz.engine.arrangement import with_places

    return with_places(name, layer.arrangement, torch.empty(1, *(layer.shape or ())))


def _draw_noise(model: Model, count: int, seed: int) -> Tensor:
    """Standard normal inputs ``(count, C, H, W)``."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, model.preprocess.channels, *model.preprocess.input_size, generator=generator)


def _mean_magnitudes(
    model: Model, batch: InputBatch, layer: Layer, name: str, *, place: Size, size: int
) -> tuple[Tensor, int, tuple[str, ...]]:
    """Mean over inputs of the magnitude of one place's gradient ``(H, W)``, the chunk size, and what to know."""
    import torch

    from cnnviz.engine.arrangement import to_maps
    from cnnviz.engine.batching import in_chunks
    from cnnviz.engine.capture import differentiate
    from cnnviz.engine.partial import run_to
    from cnnviz.engine.undisturbed import undisturbed

    arrangement = _arrange(layer, name)
    middle: tuple[slice | int, ...] = (slice(None), slice(None), *place)

    def magnitudes(inputs: Tensor, count: int, signs: Tensor) -> Tensor:
        leaf = inputs.detach().clone().requires_grad_()
        with torch.enable_grad():
            maps = to_maps(run_to(model.module, model.forward, leaf, name, layer.call), arrangement)
            if not maps.requires_grad:
                raise ExplanationError(f"Layer '{name}' has no gradient at the input.")
            value = (maps[:count][middle] * signs.to(maps)).sum()
        (gradient,) = differentiate(value, [leaf])
        if gradient is None:
            raise ExplanationError(f"Layer '{name}' does not depend on the input.")
        return gradient.detach().abs().double().sum(dim=(0, 1)).cpu()

    with undisturbed(model.module):
        first = model.to_device(batch.inputs[:1].expand(model.fixed_batch or 1, *batch.inputs.shape[1:]))
        plus, minus = torch.ones(arrangement.channels), _alternating_signs(arrangement.channels)
        fixed = magnitudes(first, 1, plus).max() < ROUNDING * _rounding_error(model) * magnitudes(first, 1, minus).max()
        signs = minus if fixed else plus
        chunks = in_chunks(
            batch.inputs,
            lambda inputs, rows: magnitudes(inputs, rows.stop - rows.start, signs),
            size=size,
            device=model.device,
            dtype=model.dtype,
            fixed=model.fixed_batch,
        )
    said = (f"{name}'s channels add up to the same whatever the input: every other one is taken away",) if fixed else ()
    return torch.stack(chunks.results).sum(dim=0) / len(batch.inputs), chunks.size, (*said, *chunks.checks)


def _alternating_signs(count: int) -> Tensor:
    import torch

    return 1 - 2 * (torch.arange(count) % 2).float()


def _rounding_error(model: Model) -> float:
    import torch

    return float(torch.finfo(model.dtype).eps)
