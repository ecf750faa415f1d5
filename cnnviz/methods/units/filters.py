"""Filters: a layer's convolution kernels as pictures, and which of them are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

from annotated_types import Interval

from cnnviz.core.dimensions import PICTURE, SIGNAL, VOLUME, has_places, spell_size
from cnnviz.core.layer import split_call
from cnnviz.errors import UsageError
from cnnviz.method import method
from cnnviz.methods.units.features import parse_units

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from cnnviz.engine.kernels import Kernels
    from cnnviz.models.model import Model
    from cnnviz.provenance import Provenance
    from cnnviz.results.filters import Filters

__all__ = ["filters", "choose_kernels"]


def choose_kernels(found: Mapping[str, Kernels], model: Model, layer: str | None) -> tuple[Kernels, list[str]]:
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
        one = spell_size((1,) * model.places)
        if not drawable:
            raise UsageError(f"'{model.name}' has no convolution with kernels larger than {one}, so nothing to draw.")
        return found[drawable[0]], [f"layer {drawable[0]}, the first whose kernels are larger than {one}"]
    plain, _ = split_call(layer)
    model.check_layer(plain)
    if plain in drawable:
        return found[plain], []
    raise UsageError(f"{_describe_unfit(plain, found, model)} {_nearest_drawable(plain, drawable, model)}")


def _describe_unfit(layer: str, found: Mapping[str, Kernels], model: Model) -> str:
    kind = model.layers[layer].kind
    over = OVER[model.places]
    if layer not in found:
        return f"Layer '{layer}' ({kind}) has no kernels over {over} to draw."
    values = found[layer].values
    if has_places(values, model.places):
        size = spell_size(values.shape[2:])
        return (
            f"Layer '{layer}' has {size} kernels: a number for each pair of channels, and nothing to see in a picture."
        )
    shape = values.shape[2:]
    return f"Layer '{layer}' has {'x'.join(map(str, shape))} kernels over {len(shape)} dimensions, not {over}."


def _nearest_drawable(layer: str, drawable: list[str], model: Model) -> str:
    """The nearest layer to draw: one inside a block, or the nearest in the forward."""
    inside = [name for name in drawable if name.startswith(f"{layer}.")]
    if inside:
        return f"The first inside it that can be drawn is '{inside[0]}'."
    if not drawable:
        one = spell_size((1,) * model.places)
        return f"No other layer of this network has kernels larger than {one} either."
    order = model.layers[layer].order
    nearest = min(drawable, key=lambda name: (abs(model.layers[name].order - order), model.layers[name].order))
    return f"The nearest that can be drawn is '{nearest}'."


KernelOrder: TypeAlias = Literal["index", "norm", "hue"]
Compress: TypeAlias = Literal["no", "layer", "unit"]

MOST: Final = 256
PICTURES, ROWS = 128, 16
COLOURS: Final = 3
OVER: Final = {SIGNAL: "time", PICTURE: "rows and columns", VOLUME: "slices, rows and columns"}
"""What the kernels of a network slide along, by the number of its input's axes."""


@method
def filters(
    model: Model,
    *,
    layer: str | None = None,
    units: str | None = None,
    sort: KernelOrder = "index",
    scale: Literal["shared", "own"] = "shared",
    channels: Annotated[int, Interval(ge=1, le=64)] = 12,
    compress: Compress = "no",
    fold: bool = False,
    most: Annotated[int, Interval(ge=1, le=256)] | None = None,
) -> Filters:
    """The filters (kernels) of a layer, with dead and duplicate ones marked (filters).

    Kernels on the picture's three colours are drawn as colours around mid grey; kernels on one channel, as in a
    depthwise convolution, as one map a unit; all others as a row a unit with the input channels of largest norm, or
    compressed to three colours. Those of signals are lines, those of volumes all their slices. The weights are those
    that one forward convolves with, however they were computed.

    Compressing splits the kernels into their positive and negative parts, as twice as many input channels, and
    factorises these without negative numbers into three groups: ``[max(W, 0), max(-W, 0)] ~ S H``. ``S`` is drawn.

    Args:
        model: The network.
        layer: The layer; default: the first whose kernels are larger than 1 x 1.
        units: Units to draw, such as 0-15,31; default: the first ones in the order of --sort.
        sort: By index, by norm (the strongest first), or by hue (grey ones first, then along the colour circle).
        scale: Colour range: one symmetric range for the layer, or one per unit; values are not changed.
        channels: Number of input channels drawn per unit, those with the largest norm.
        compress: Compress the input channels to three colours, the same for the whole layer or each unit's own.
        fold: Fold the batch norm that follows into the weights.
        most: Number of units drawn; default: 128 with one picture each, or 16 rows.

    Returns:
        Filters with values ``(U, C, kh, kw)`` of all units (``(U, C, k)``, ``(U, C, kd, kh, kw)``).

    Raises:
        UnknownNameError: If there is no such layer.
        UsageError: If the layer has no kernels to see, or no hue to sort by.
        ParameterError: If there is no such unit.

    Reference:
        Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014; compressed, Voss et al.,
        Visualizing Weights, Distill 2021.
    """
    from cnnviz.engine.kernels import observe_kernels
    from cnnviz.methods.units.kernels import (
        compress_kernels,
        find_dead,
        find_duplicates,
        norms,
        sort_units,
        strongest_inputs,
    )
    from cnnviz.results.filters import Filters

    found, said = choose_kernels(observe_kernels(model.module, _example_input(model)), model, layer)
    values, folding = _fold_batch_norm(found, fold=fold)
    coloured = found.on_picture and found.groups == 1 and values.shape[1] == COLOURS and compress == "no"
    coloured = coloured and found.places != SIGNAL
    lengths = norms(values)
    gains = found.gains if found.gains is not None and found.calls == 1 else None
    dead = find_dead(lengths if gains is None or fold else lengths * gains.abs().double().numpy())
    doubles = find_duplicates(values, found.groups, dead)
    single = coloured or values.shape[1] == 1 or compress != "no"
    listed = parse_units(units, found.name, len(values), most=MOST) if units else list(range(len(values)))
    drawn = sort_units(listed, values, sort)[: most or (MOST if units else PICTURES if single else ROWS)]
    shown, shares, about = compress_kernels(values, drawn, found.groups, compress)
    checks = [
        *said,
        *folding,
        *_describe_drawn(drawn, listed, sort),
        *_describe_marked(dead, doubles, normed=gains is not None),
        *about,
        *_describe_inputs(model, found),
    ]
    return Filters(
        values=values,
        layer=found.name,
        drawn=tuple(drawn),
        inputs=strongest_inputs(values, drawn, found.groups, channels),
        groups=found.groups,
        coloured=coloured,
        scaling=scale,
        colours=shown,
        shares=shares,
        norms=lengths.astype("float32"),
        dead=dead,
        duplicates=doubles,
        model=model.name,
        checks=tuple(checks),
        provenance=_provenance(model, found.name),
    )


def _example_input(model: Model) -> torch.Tensor:
    import torch

    size = (model.fixed_batch or 1, model.preprocess.channels, *model.preprocess.input_size)
    return model.to_device(torch.randn(size, generator=torch.Generator().manual_seed(0)))


def _provenance(model: Model, layer: str) -> Provenance:
    import torch

    from cnnviz.provenance import Provenance

    return Provenance(
        model=model.describe(),
        layer=layer,
        device=model.device.type,
        dtype=str(model.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
    )


def _fold_batch_norm(found: Kernels, *, fold: bool) -> tuple[NDArray[np.float32], list[str]]:
    """The kernels, with the batch norm's gains on request, and what is to be said about that."""
    values = found.values.double().contiguous()
    if not fold:
        said = ["the batch norm that follows is not folded in; fold=True makes norms comparable"]
        return values.float().numpy(), said if found.gains is not None else []
    if found.gains is None:
        return values.float().numpy(), [f"no batch norm takes the output of {found.name}: nothing was folded"]
    if found.calls > 1:
        return values.float().numpy(), [f"{found.name} runs {found.calls} times in a forward: nothing was folded"]
    folded = values * found.gains.reshape(-1, *[1] * (values.dim() - 1))
    return folded.float().numpy(), ["the batch norm that follows is folded in: weight * gamma / sqrt(variance + eps)"]


def _describe_drawn(drawn: list[int], listed: list[int], sort: KernelOrder) -> list[str]:
    if len(drawn) == len(listed):
        return []
    return [
        f"the first {len(drawn)} of {len(listed)} units by {sort} are drawn; choose others with most=... or units=..."
    ]


def _describe_marked(dead: tuple[int, ...], doubles: dict[int, tuple[int, float]], *, normed: bool) -> list[str]:
    also = ", the batch norm that follows counted in" if normed else ""
    said = (
        f"dead (norm below a fiftieth of the median{also}): {', '.join(map(str, dead))}" if dead else "no dead filters"
    )
    pairs = [
        f"{unit} \N{ALMOST EQUAL TO} {'' if cos > 0 else chr(0x2212)}{other}" for unit, (other, cos) in doubles.items()
    ]
    same = f"duplicates (absolute cosine above 0.95): {', '.join(pairs)}" if pairs else "no duplicates"
    return [said, same] if dead or pairs else [f"{said}, {same}"]


def _describe_inputs(model: Model, found: Kernels) -> list[str]:
    """What the kernels act on."""
    said = []
    if found.on_picture:
        mean, std = ([f"{value:.3g}" for value in values] for values in (model.preprocess.mean, model.preprocess.std))
        centred = f"(value - {_format_numbers(mean)}) / {_format_numbers(std)}"
        centred += ", values from 0 to 1" if model.places == PICTURE else ""
        said = [f"the weights act on normalised input: {centred}", *model.notes]
    if found.transposed:
        said.append("a transposed convolution: a kernel is what one input position adds to the unit's output")
    if not found.alone:
        said.append(f"{found.name} convolves with several weights; those of the first are shown")
    return said


def _format_numbers(numbers: list[str]) -> str:
    return numbers[0] if len(set(numbers)) == 1 else f"[{', '.join(numbers)}]"
