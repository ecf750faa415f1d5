"""Which layers' places reach the target: a class token alone may be all that the classifier reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from cnnviz.core.layer import Arrangement, Layer, Layers, split_call
from cnnviz.errors import ExplanationError

__all__ = ["entrance", "last_reached", "reaches_places"]

TOGETHER = 16


def reaches_places(gradient: Tensor | None, arrangement: Arrangement | None) -> bool:
    """Whether there is a gradient and, in a token sequence, goes to its places, not only to the tokens before them."""
    if gradient is None:
        return False
    if arrangement is None or arrangement.prefix == 0:
        return True
    places, before = gradient[:, arrangement.prefix :], gradient[:, : arrangement.prefix]
    return bool(places.any()) or not bool(before.any())


def entrance(layers: Layers, name: str) -> str:
    """Where to stop looking for places that a unit's value is made from: its layer, or a part of it.

    A layer with nothing spatial before it (all convolutions in one, say) is entered: its part that finishes last is
    taken instead, and that one's, until there is something before it or it has no parts.

    Args:
        layers: The network's layers.
        name: The unit's layer.
    """
    found = split_call(name)[0]
    while True:
        inside = [layer for layer in layers.values() if layer.name.startswith(f"{found}.") and layer.order >= 0]
        begun = min((layer.order for layer in inside), default=layers[found].order)
        if not inside or any(layer.spatial and layer.order < begun for layer in layers.values()):
            return found
        found = max(inside, key=lambda layer: layer.order).name


def _is_projection(layer: Layer) -> bool:
    """Whether it may be queries, keys or values: what an attention makes of tokens, and not the tokens."""
    return layer.kind == "Linear" and layer.arrangement is not None and layer.arrangement.order == "NTC"


def last_reached(
    layers: Layers,
    found: str,
    gradients: Callable[[Sequence[str]], tuple[dict[str, Tensor], dict[str, Arrangement | None]]],
) -> str:
    """The last layer at or before ``found`` whose places receive a gradient; an attention's projections come last.

    Args:
        layers: The network's layers.
        found: A layer whose places receive none.
        gradients: Gradients and arrangements of some layers, by one forward and backward.

    Raises:
        ExplanationError: If there is none.
    """
    limit = layers[found].order
    earlier = [layer for layer in layers.values() if layer.spatial and layer.order < limit]
    names = [layer.name for layer in sorted(earlier, key=lambda layer: (_is_projection(layer), -layer.order))]
    for start in range(0, len(names), TOGETHER):
        group = names[start : start + TOGETHER]
        found_gradients, arrangements = gradients(group)
        for name in group:
            gradient = found_gradients.get(name)
            if gradient is not None and gradient.any() and reaches_places(gradient, arrangements[name]):
                return name
    raise ExplanationError(
        f"No layer's places reach the target: it does not depend on layer '{found}' nor any before; name a layer."
    )
