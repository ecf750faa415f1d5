"""Questions about layers: what there is, all units' maps on a picture, and what responds at a place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.field import Field
from cnnviz.errors import ExplanationError, ParameterError, UsageError
from cnnviz.explorer.cache import name_answer
from cnnviz.explorer.exploration import Exploration, ExploredNetwork
from cnnviz.explorer.questions.drawings import Drawn, draw_sheets, shrink
from cnnviz.explorer.questions.picture_answers import read_target

if TYPE_CHECKING:
    from torch import Tensor

    from cnnviz.core.layer import Layer
    from cnnviz.methods.prepare import InputBatch
    from cnnviz.models.model import Model

__all__ = ["UnitMaps", "describe_field", "layer_of", "layers_of", "maps_on", "place_of"]

STRONGEST: Final = 12
"""Units that are listed of those that respond at a place."""


@dataclass(frozen=True, eq=False)
class UnitMaps:
    """What all units of a layer answer on a picture.

    Attributes:
        values: ``(C, h, w)`` float32; of a layer without places ``(C, 1, 1)``.
        contributions: ``(C,)``: each unit's mean gradient times its summed activation, in units of the target's score;
            None where the target does not depend on the layer.
        target: The target of the contributions, in words.
        notes: What there is to know.
        spatial: Whether the layer has places.
    """

    values: NDArray[np.float32]
    contributions: NDArray[np.float64] | None
    target: str
    notes: tuple[str, ...]
    spatial: bool


def layers_of(network: ExploredNetwork) -> list[dict[str, Any]]:
    """The network's layers in the order in which they finish; those that are not run stand last."""
    layers = sorted(network.model.layers.values(), key=lambda layer: (layer.order < 0, layer.order))
    owners = {name.rpartition(".")[0] for name in network.model.layers}
    return [_describe_layer(layer, whole=layer.name in owners) for layer in layers]


def _describe_layer(layer: Layer, *, whole: bool) -> dict[str, Any]:
    arrangement = layer.arrangement
    shape = None if arrangement is None else [arrangement.channels, *arrangement.grid]
    units = (layer.shape or (0,))[0] if arrangement is None else arrangement.channels
    return {
        "name": layer.name,
        "kind": layer.kind,
        "shape": shape if shape is not None else (None if layer.shape is None else list(layer.shape)),
        "field": describe_field(layer.field),
        "parameters": layer.parameters,
        "units": units,
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


def maps_on(exploration: Exploration, network: ExploredNetwork, key: str, layer: str, target: str | None) -> UnitMaps:
    """All units' maps of a layer on a picture, and what each adds to a target's score.

    Args:
        exploration: What is explored.
        network: The network.
        key: The picture's.
        layer: The layer.
        target: What the contributions are to, as all methods take it; None for the predicted class.

    Raises:
        UnknownNameError: If there is no such layer.
        UsageError: If it has no units.
    """
    name = name_answer("maps", network.key, key, layer, target)
    return exploration.cache.remember(
        name,
        lambda: _ask_maps(network.model, exploration.shelf.picture(key), layer, target),
        lambda found: found.values.nbytes,
    )


def _ask_maps(model: Model, picture: Any, layer: str, target: str | None) -> UnitMaps:
    from cnnviz.core.dimensions import size_of
    from cnnviz.methods.prepare import prepare

    model.check_layer(layer)
    batch = prepare(model, picture, target)
    found = model.layers_on(size_of(batch.inputs)).resolve(layer)
    return model.intact(lambda: _probe_units(model, batch, found, layer))


def _probe_units(model: Model, batch: InputBatch, layer: Layer, name: str) -> UnitMaps:
    """Maps and contributions by one forward and backward; maps alone where the target does not depend on the layer."""
    from cnnviz.engine.undisturbed import undisturbed
    from cnnviz.methods.cams.probe import probe

    inputs = model.to_device(batch.inputs.expand(model.fixed_batch or 1, *batch.inputs.shape[1:]))
    with undisturbed(model.module):
        if not layer.spatial:
            return UnitMaps(_run_units(model, inputs, layer, name), None, "", batch.checks, spatial=False)
        try:
            found = probe(model, [name], inputs, batch.targets)
        except (ExplanationError, UsageError) as error:
            values = _run_units(model, inputs, layer, name)
            return UnitMaps(values, None, "", (*batch.checks, str(error)), spatial=True)
    maps, gradients = found.activations[0][0].double(), found.gradients[0][0].double()
    added = gradients.flatten(1).mean(dim=1) * maps.flatten(1).sum(dim=1)
    target, said = str(found.answer.targets[0]), (*batch.checks, *layer.describe_call(name))
    return UnitMaps(maps.float().cpu().numpy(), added.cpu().numpy(), target, said, spatial=True)


def _run_units(model: Model, inputs: Tensor, layer: Layer, name: str) -> NDArray[np.float32]:
    import torch

    from cnnviz.engine.arrangement import to_maps, with_places
    from cnnviz.engine.partial import run_to

    with torch.no_grad():
        output = run_to(model.module, model.forward, inputs, name, layer.call)
        if layer.spatial:
            maps = to_maps(output, with_places(name, layer.arrangement, output))[0]
        elif output.dim() > 1 and output.numel() == len(output) * output.shape[1]:
            maps = output[0].reshape(output.shape[1], 1, 1)
        else:
            raise UsageError(f"Layer '{name}' has no units that can be shown; choose another.")
        return np.ascontiguousarray(maps.float().cpu().numpy())


def layer_of(
    exploration: Exploration, network: ExploredNetwork, key: str, layer: str, *, target: str, shared: bool
) -> dict[str, Any]:
    """The maps of all units of a layer on a picture, as sheets of small grey pictures, with their numbers.

    Args:
        exploration: What is explored.
        network: The network.
        key: The picture's.
        layer: The layer.
        target: What the contributions are to; empty for the predicted class.
        shared: Whether all units have one range of values, or each its own.
    """
    found = maps_on(exploration, network, key, layer, read_target(network, target))
    name = name_answer("sheets", network.key, key, layer, shared)
    sheets = draw_sheets(found.values, shared=shared)
    for number, page in enumerate(sheets.pages):
        drawn = Drawn(partial(shrink, page))
        exploration.cache.hold(f"{name}-{number}", drawn, page.nbytes)
    flat = found.values.reshape(len(found.values), -1)
    return {
        "units": len(found.values),
        "grid": list(found.values.shape[1:]),
        "spatial": found.spatial,
        "peak": plain_numbers(flat.max(axis=1)),
        "mean": plain_numbers(flat.mean(axis=1, dtype=np.float64)),
        "contribution": None if found.contributions is None else plain_numbers(found.contributions),
        "target": found.target,
        "notes": list(found.notes),
        "sprite": {
            "tile": list(sheets.tile),
            "columns": sheets.columns,
            "rows": sheets.rows,
            "pages": [f"api/images/{name}-{number}.png" for number in range(len(sheets.pages))],
            "low": plain_numbers(sheets.low),
            "high": plain_numbers(sheets.high),
            "signed": sheets.signed,
        },
    }


def plain_numbers(values: NDArray[Any]) -> list[float | None]:
    """Numbers as JSON has them: six digits, and nothing for what is none."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values.tolist()]


def place_of(
    exploration: Exploration, network: ExploredNetwork, key: str, layer: str, at: tuple[float, float]
) -> dict[str, Any]:
    """What responds at a place of the network's input, and what it sees.

    Args:
        exploration: What is explored.
        network: The network.
        key: The picture's.
        layer: The layer.
        at: x and y in pixels of the input; its left upper corner is 0, 0.

    Raises:
        UsageError: If the layer has no places.
        ParameterError: If the place is outside the input.
    """
    found = maps_on(exploration, network, key, layer, None)
    if not found.spatial:
        raise UsageError(f"Layer '{layer}' has no places: each unit sees the whole picture.")
    values, _ = network.cut(exploration.shelf.picture(key))
    size = int(values.shape[1]), int(values.shape[2])
    if not (0 <= at[1] < size[0] and 0 <= at[0] < size[1]):
        raise ParameterError(f"x and y must lie within the input's {size[1]} x {size[0]} pixels.")
    field = network.model.layers_on(size).resolve(layer).field_of(layer)
    row, column = unit_at(field, (at[1], at[0]), size, found.values.shape[1:])
    top, left, bottom, right = (0, 0, *size) if field is None else field.box(row, column, *size)
    here = found.values[:, row, column]
    order = np.argsort(-here, kind="stable")[:STRONGEST]
    return {
        "position": [row, column],
        "box": [left, top, right, bottom],
        "kind": None if field is None else field.kind,
        "because": "" if field is None else field.because,
        "units": [{"unit": int(unit), "value": float(here[unit])} for unit in order],
    }


def unit_at(
    field: Field | None, place: tuple[float, float], size: tuple[int, int], grid: tuple[int, ...]
) -> tuple[int, int]:
    """Row and column of the place in the layer whose centre is nearest.

    Args:
        field: What the layer's places see; None or one without a box spreads them evenly.
        place: y and x in pixels of the input, from its left upper corner.
        size: Height and width of the input.
        grid: Rows and columns of the layer.
    """
    found: list[int] = []
    for axis, (at, length, count) in enumerate(zip(place, size, grid, strict=True)):
        if field is None or not field.placed:
            found.append(min(int(at * count / length), count - 1))
        else:
            found.append(int(np.argmin(np.abs(field.spans[axis].middles() - (at - 0.5)))))
    return found[0], found[1]
