"""Questions about one unit: its map, its kernel, what it reads and serves, what switching it off changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.target import class_index, named_class
from cnnviz.errors import CnnvizError, ExplanationError, ParameterError
from cnnviz.explorer.cache import name_answer
from cnnviz.explorer.exploration import Exploration, ExploredNetwork
from cnnviz.explorer.questions.drawings import Drawn, shrink
from cnnviz.explorer.questions.layer_answers import UnitMaps, maps_on
from cnnviz.explorer.questions.picture_answers import hold_map, read_target
from cnnviz.explorer.questions.wiring import Wiring, wiring_of

if TYPE_CHECKING:
    from torch import Tensor

    from cnnviz.models.model import Model

__all__ = ["unit_of"]

NEAREST: Final = 6
MOST_KERNELS: Final = 144
"""Input channels whose kernels are drawn, in their order."""
ENLARGED: Final = 8
GAP: Final = 128
SERVED: Final = 6
"""Classes of each sign that are listed."""
SHOWN: Final = 10
"""Classes whose bars are shown with the unit on and off."""


def unit_of(
    exploration: Exploration, network: ExploredNetwork, key: str, place: tuple[str, int], target: str
) -> dict[str, Any]:
    """Everything about one unit that a picture, the weights and a forward or two tell.

    Args:
        exploration: What is explored.
        network: The network.
        key: The picture's.
        place: The layer and the unit's number.
        target: What the contribution is to; empty for the predicted class.

    Raises:
        ParameterError: If there is no such unit.
    """
    layer, unit = place
    found = maps_on(exploration, network, key, layer, read_target(network, target))
    if not 0 <= unit < len(found.values):
        raise ParameterError(f"Layer '{layer}' has units 0 to {len(found.values) - 1}; there is no unit {unit}.")
    name = name_answer("unit", network.key, key, layer, unit, target)
    known = exploration.cache.find(name)
    if known is not None and (known["map"] is None or exploration.cache.find(known["map"]["id"]) is not None):
        return {**known, "patches": _tell_patches(exploration, network, layer)}
    wiring = wiring_of(exploration, network)
    one = found.values[unit]
    answer = {
        "unit": unit,
        "layer": layer,
        "units": len(found.values),
        "value": float(one.max()),
        "mean": float(one.mean(dtype=np.float64)),
        "contribution": None if found.contributions is None else float(found.contributions[unit]),
        "target": found.target,
        "map": _map_of_unit(exploration, network, key, place) if found.spatial else None,
        "kernel": _kernel_of(exploration, network, wiring, place),
        "inputs": wiring.inputs_of(layer, unit),
        "outputs": wiring.outputs_of(layer, unit),
        **_nearest_units(wiring, found, place),
        **_switch_off(exploration, network, key, place),
        "projections": _projection_of(exploration, network, key, place) if found.spatial else [],
        "notes": list(found.notes),
    }
    exploration.cache.hold(name, answer, 1 << 13)
    return {**answer, "patches": _tell_patches(exploration, network, layer)}


def _tell_patches(exploration: Exploration, network: ExploredNetwork, layer: str) -> dict[str, Any] | None:
    """Whether there are top patches of a layer's units, or a data set to find them in."""
    ready = exploration.index_of(network, layer) is not None
    if not ready and exploration.data is None:
        return None
    return {"ready": ready, "scannable": not ready and exploration.data is not None}


def _map_of_unit(
    exploration: Exploration, network: ExploredNetwork, key: str, place: tuple[str, int]
) -> dict[str, Any] | None:
    import cnnviz

    layer, unit = place
    try:
        found = cnnviz.features(network.model, exploration.shelf.picture(key), layer=layer, units=str(unit))
    except CnnvizError:
        return None
    one: Any = found[0][0]
    name = name_answer("unit map", network.key, key, layer, unit)
    told = hold_map(exploration, network, name, one, made=found.provenance)
    exploration.cache.hold(f"{name}.result", found, one.values.nbytes)
    return told


def _kernel_of(
    exploration: Exploration, network: ExploredNetwork, wiring: Wiring, place: tuple[str, int]
) -> dict[str, Any] | None:
    layer, unit = place
    kernels = wiring.kernel_of(layer)
    if kernels is None or unit >= len(kernels.values):
        return None
    own = kernels.values[unit].double()
    name = name_answer("kernel", network.key, kernels.name, unit)
    return {
        "of": kernels.name,
        "shape": list(own.shape),
        "groups": kernels.groups,
        "norm": float(own.norm()),
        "image": _draw_kernel(exploration, network, name, (kernels.name, unit)) if kernels.drawable else None,
    }


def _draw_kernel(exploration: Exploration, network: ExploredNetwork, name: str, place: tuple[str, int]) -> str | None:
    import cnnviz
    from cnnviz.drawing.colour import colourise, paint

    layer, unit = place
    try:
        found = cnnviz.filters(network.model, layer=layer, units=str(unit), scale="own")
    except CnnvizError:
        return None
    scale, values = found.scale(0), found.values[unit]
    tiles = [paint(values, scale)] if found.coloured else [colourise(each, scale) for each in values[:MOST_KERNELS]]
    large = np.kron(tile_kernels(tiles), np.ones((ENLARGED, ENLARGED, 1), dtype=np.uint8)).astype(np.uint8)
    exploration.cache.hold(name, Drawn(partial(shrink, large)), large.nbytes)
    exploration.cache.hold(f"{name}.result", found, 1 << 16)
    return f"api/images/{name}.png"


def tile_kernels(tiles: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Kernels ``(h, w, 3)`` in about a square, row by row with a grey pixel between."""
    across = math.ceil(math.sqrt(len(tiles)))
    height, width = tiles[0].shape[0] + 1, tiles[0].shape[1] + 1
    rows = -(-len(tiles) // across)
    held = np.full((rows * height - 1, across * width - 1, 3), GAP, dtype=np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, across)
        held[row * height : (row + 1) * height - 1, column * width : (column + 1) * width - 1] = tile
    return held


def _nearest_units(wiring: Wiring, found: UnitMaps, place: tuple[str, int]) -> dict[str, Any]:
    """The units of the same layer that are most alike: by their kernels, or else by their maps on this picture."""
    layer, unit = place
    kernels = wiring.kernel_of(layer)
    if kernels is not None and len(kernels.values) == len(found.values):
        vectors, by = kernels.values.double().cpu().numpy().reshape(len(found.values), -1), "kernels"
    elif not found.spatial:
        return {"nearest": [], "nearest_by": ""}
    else:
        vectors, by = found.values.reshape(len(found.values), -1).astype(np.float64), "maps on this picture"
    likeness = cosines(vectors, unit)
    order = [int(at) for at in np.argsort(-likeness, kind="stable") if at != unit][:NEAREST]
    return {
        "nearest": [{"unit": at, "similarity": float(likeness[at])} for at in order if np.isfinite(likeness[at])],
        "nearest_by": by,
    }


def cosines(vectors: NDArray[np.float64], unit: int) -> NDArray[np.float64]:
    """The cosine of each row ``(C, n)`` with one of them; -inf for one of zeros."""
    lengths = np.linalg.norm(vectors, axis=1)
    known = (lengths > 0) & (lengths[unit] > 0)
    products = vectors @ vectors[unit]
    return np.where(known, products / np.where(known, lengths * lengths[unit], 1.0), -np.inf)


def _switch_off(exploration: Exploration, network: ExploredNetwork, key: str, place: tuple[str, int]) -> dict[str, Any]:
    """The classes with the unit on and at zero everywhere, found by running what comes after its layer."""
    from cnnviz.methods.prepare import prepare

    model = network.model
    try:
        batch = prepare(model, exploration.shelf.picture(key))
        before, after = model.intact(lambda: _logits_without(model, batch.inputs, *place))
    except CnnvizError as error:
        return {"classes": [], "off": {"classes": [], "note": str(error)}}
    return {"classes": _list_effects(model, before - after), "off": {"classes": _list_bars(model, before, after)}}


def _logits_without(model: Model, inputs: Tensor, layer: str, unit: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Logits ``(K,)`` of a picture, and with one unit of a layer at zero."""
    import torch

    from cnnviz.core.target import TopClass
    from cnnviz.engine.arrangement import from_maps, to_maps
    from cnnviz.engine.replay import replay
    from cnnviz.engine.undisturbed import undisturbed

    one = model.to_device(inputs.expand(model.fixed_batch or 1, *inputs.shape[1:]))
    fixed = bool(model.fixed_batch)
    with (
        undisturbed(model.module),
        torch.no_grad(),
        replay(model.module, model.answering([TopClass()]), one, layer, fixed=fixed) as found,
    ):
        if found.logits.dim() != 2:
            raise ExplanationError("This network answers for parts of the picture, so no class can be listed.")
        changed = found.activation.clone()
        if found.arrangement is not None and found.arrangement.spatial:
            maps = to_maps(changed, found.arrangement).clone()
            maps[:, unit] = 0
            changed = from_maps(maps, found.arrangement, found.activation)
        else:
            changed[:, unit] = 0
        answer = found(changed.expand(found.fixed or 1, *changed.shape[1:]).clone())[:1]
        return found.logits[0].double().cpu().numpy(), answer[0].double().cpu().numpy()


def _list_effects(model: Model, lost: NDArray[np.float64]) -> list[dict[str, Any]]:
    """The classes whose score the unit raises most, and lowers most."""
    order = np.argsort(-lost, kind="stable")
    chosen = dict.fromkeys([*order[:SERVED].tolist(), *order[-SERVED:].tolist()])
    return [
        {"index": index, "label": str(named_class(index, model.labels)), "effect": float(lost[index])}
        for index in chosen
        if lost[index] != 0
    ]


def _list_bars(model: Model, before: NDArray[np.float64], after: NDArray[np.float64]) -> list[dict[str, Any]]:
    """The first classes with their logits and probabilities on and off."""
    import torch

    from cnnviz.engine.scores.score import class_probabilities

    shares: list[list[float | None]] = [[None] * len(before)] * 2
    if model.head.probable:
        shares = class_probabilities(torch.from_numpy(np.stack([before, after])), model.head).tolist()
    order = np.argsort(-before, kind="stable")[:SHOWN].tolist()
    named = [named_class(index, model.labels) for index in order]
    return [
        {
            "index": class_index(target),
            "label": str(target),
            "before": {"logit": float(before[index]), "probability": shares[0][index]},
            "after": {"logit": float(after[index]), "probability": shares[1][index]},
        }
        for index, target in zip(order, named, strict=True)
    ]


def _projection_of(exploration: Exploration, network: ExploredNetwork, key: str, place: tuple[str, int]) -> list[str]:
    """The unit's strongest activation on this picture projected back to its pixels (deconvnet)."""
    from cnnviz.methods.units.projections import project_units

    layer, unit = place
    model, picture = network.model, exploration.shelf.picture(key)
    try:
        found = model.intact(lambda: project_units(model, picture, layer, str(unit), batch_size=1))
    except CnnvizError:
        return []
    pixels = draw_projection(found.values[0, 0])
    name = name_answer("projection", network.key, key, layer, unit)
    exploration.cache.hold(name, Drawn(partial(shrink, pixels)), pixels.nbytes)
    exploration.cache.hold(f"{name}.result", found, found.values.nbytes)
    return [f"api/images/{name}.png"]


def draw_projection(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A projection ``(C, H, W)`` around middle grey, which is zero; of other channels than three their sum."""
    from cnnviz.drawing.colour import COLOUR_CHANNELS, paint, scale_of

    known = np.nan_to_num(values if len(values) in COLOUR_CHANNELS else values.sum(axis=0, keepdims=True))
    return paint(known, scale_of(known, signed=True, cmap="gray", normalise="percentile"))
