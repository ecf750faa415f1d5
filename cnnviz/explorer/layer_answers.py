"""Questions about layers: what there is, all units' maps on a picture, and what responds at a place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnnviz.core.field import Field
from cnnviz.explorer.exploration import ExploredNetwork

if TYPE_CHECKING:
    from cnnviz.core.layer import Layer

__all__ = ["describe_field", "layers_of"]


def layers_of(network: ExploredNetwork) -> list[dict[str, Any]]:
    """The network's layers in the order in which they finish; those that are not run stand last."""
    layers = sorted(network.model.layers.values(), key=lambda layer: (layer.order < 0, layer.order))
    inside = [layer.name for layer in layers]
    return [_describe_layer(layer, any(name.startswith(f"{layer.name}.") for name in inside)) for layer in layers]


def _describe_layer(layer: Layer, whole: bool) -> dict[str, Any]:
    arrangement = layer.arrangement
    shape = None if arrangement is None else [arrangement.channels, *arrangement.grid]
    return {
        "name": layer.name,
        "kind": layer.kind,
        "shape": shape if shape is not None else (None if layer.shape is None else list(layer.shape)),
        "field": describe_field(layer.field),
        "parameters": layer.parameters,
        "units": 0 if arrangement is None else arrangement.channels,
        "spatial": layer.spatial,
        "calls": layer.calls,
        "container": whole,
    }


def describe_field(field: Field | None) -> dict[str, Any] | None:
    """What a layer's units see, as plain values."""
    if field is None:
        return None
    said = field.describe()
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}
    return {**plain, "grid": list(field.grid)}
