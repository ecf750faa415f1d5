"""Which layer's kernels can be drawn, and a sentence for those that cannot."""

from __future__ import annotations

from collections.abc import Mapping

from cnnviz.core.layer import split_call
from cnnviz.errors import UsageError
from cnnviz.models.model import Model
from cnnviz.probing.kernels import Kernels

__all__ = ["chosen_kernels"]


def chosen_kernels(found: Mapping[str, Kernels], model: Model, layer: str | None) -> tuple[Kernels, list[str]]:
    """The kernels of the layer asked for, or of the first that has something to see.

    Args:
        found: The kernels of every layer that convolves, in the order of the forward.
        model: The network.
        layer: A layer's name, or None.

    Returns:
        The kernels, and a word where the layer was chosen.

    Raises:
        UnknownNameError: If there is no such layer.
        UsageError: If it has nothing to see; the message names the nearest that has.
    """
    drawable = [name for name, kernels in found.items() if kernels.drawable]
    if layer is None:
        if not drawable:
            raise UsageError(f"'{model.name}' has no convolution with kernels larger than 1 x 1, so nothing to draw.")
        return found[drawable[0]], [f"layer {drawable[0]}, the first whose kernels are larger than 1 x 1"]
    plain, _ = split_call(layer)
    model.check_layer(plain)
    if plain in drawable:
        return found[plain], []
    raise UsageError(f"{_reason(plain, found, model)} {_offer(plain, drawable, model)}")


def _reason(layer: str, found: Mapping[str, Kernels], model: Model) -> str:
    kind = model.layers[layer].kind
    if layer not in found:
        return f"Layer '{layer}' ({kind}) has no kernels over rows and columns to draw."
    shape = found[layer].values.shape[2:]
    if len(shape) == 2:
        return (
            f"Layer '{layer}' has 1 x 1 kernels: a number for each pair of channels, and nothing to see in a picture."
        )
    return (
        f"Layer '{layer}' has {'x'.join(map(str, shape))} kernels over {len(shape)} dimensions, not rows and columns."
    )


def _offer(layer: str, drawable: list[str], model: Model) -> str:
    """The nearest layer to draw: one inside a block, or the nearest in the forward."""
    inside = [name for name in drawable if name.startswith(f"{layer}.")]
    if inside:
        return f"The first inside it that can be drawn is '{inside[0]}'."
    if not drawable:
        return "No other layer of this network has kernels larger than 1 x 1 either."
    order = model.layers[layer].order
    nearest = min(drawable, key=lambda name: (abs(model.layers[name].order - order), model.layers[name].order))
    return f"The nearest that can be drawn is '{nearest}'."
