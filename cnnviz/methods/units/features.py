"""Features: what the units of a layer make of a picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple, TypeAlias

from annotated_types import Ge, Interval

from cnnviz.core.dimensions import size_of
from cnnviz.core.layer import AUTOMATIC, AutomaticLayer
from cnnviz.core.untrusted import NUMBER
from cnnviz.errors import ParameterError
from cnnviz.method import method

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from cnnviz.core.field import Field
    from cnnviz.core.layer import Layer
    from cnnviz.images.reading import ImagesLike
    from cnnviz.methods.prepare import InputBatch
    from cnnviz.models.model import Model
    from cnnviz.results.features import Features

__all__ = ["features", "parse_units"]

RANGE = re.compile(rf"({NUMBER})(?:-({NUMBER}))?")
MOST_UNITS = 64


def parse_units(text: str, layer: str, count: int, *, most: int = MOST_UNITS) -> list[int]:
    """``"0-8,12"`` as numbers, each once, in the order given.

    Args:
        text: Numbers and ranges separated by commas.
        layer: The layer's name, for messages.
        count: How many units it has.
        most: How many may be named.

    Raises:
        ParameterError: If it is nothing of this kind, there is no such unit, or there are too many.
    """
    numbers: dict[int, None] = {}
    for part in text.split(","):
        match = RANGE.fullmatch(part.strip())
        if match is None:
            raise ParameterError(f"units are numbers and ranges such as 0-8 or 3,17; got '{text}'.")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ParameterError(f"units {part.strip()} count backwards; write {last}-{first}.")
        if last >= count:
            raise ParameterError(f"Layer '{layer}' has units 0 to {count - 1}; there is no unit {last}.")
        numbers.update(dict.fromkeys(range(first, last + 1)))
    if len(numbers) > most:
        raise ParameterError(f"At most {most} units are shown at once; {len(numbers)} were named.")
    return list(numbers)


Strength: TypeAlias = Literal["peak", "mean", "spread"]

MOST: Final = 256
ALL: Final = "all"


@method
def features(
    model: Model,
    images: ImagesLike,
    *,
    layer: str | None = None,
    units: str | None = None,
    by: Strength = "peak",
    most: Annotated[int, Interval(ge=1, le=256)] = 24,
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Features:
    """Feature maps of a layer's units for a picture, or the regions that activate them (features).

    The maps are the layer's output as it left the layer, before anything after it could change it in place; the
    network runs no further. Of every picture the units that respond most are shown, unless some are named; where the
    layer ends in a function with a ceiling (ReLU6, hard sigmoid, tanh, ...), peaks are compared before it, since at the
    ceiling units are equal.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        layer: The layer; default: the last convolutional (spatial) layer that the top class depends on.
        units: Which units, such as 0-15,31, or all (of more than 256 the first); default: the strongest.
        by: How units are ranked: by maximum, mean or standard deviation over the positions.
        most: Number of strongest units shown.
        batch_size: Batch size (images); halved automatically if memory runs out.

    Returns:
        Features with values ``(N, U, h, w)``; of signals ``(N, U, t)``, of volumes ``(N, U, d, h, w)``.

    Raises:
        UnknownNameError: If there is no such layer.
        UsageError: If the layer has no spatial extent.
        ParameterError: If the layer has no such unit.

    Reference:
        Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014; Yosinski et al.,
        Understanding Neural Networks Through Deep Visualization, ICML Workshops 2015.
    """
    import torch

    from cnnviz.engine.batching import in_chunks
    from cnnviz.engine.undisturbed import undisturbed
    from cnnviz.methods.ask import unsound
    from cnnviz.methods.cams.layer_maps import field_of, note_call, note_unplaced
    from cnnviz.methods.cams.rank_layers import choose_layer
    from cnnviz.methods.prepare import prepare, provenance_of
    from cnnviz.results.features import Features

    automatic = layer is None or layer == AUTOMATIC
    if layer is not None and not automatic:
        model.check_layer(layer)
    batch = prepare(model, images)
    name = choose_layer(model) if layer is None or automatic else layer
    size = size_of(batch.inputs)
    found, field = model.layers_on(size).resolve(name), field_of(model, name, size)
    with undisturbed(model.module), torch.no_grad():
        chunks = in_chunks(
            batch.inputs,
            lambda inputs, rows: _show_units(
                model, name, found, inputs, count=rows.stop - rows.start, choice=(units, by, most)
            ),
            size=batch_size,
            device=model.device,
            dtype=model.dtype,
            fixed=model.fixed_batch,
        )
    shown = [each for some in chunks.results for each in some]
    checks = list(AutomaticLayer(name).describe("the top class")) if automatic else []
    blank = [picture.name for picture, one in zip(batch.pictures, shown, strict=True) if not one.maps.any()]
    checks += [f"zero everywhere: none of the units shown is active for {', '.join(blank)}"] if blank else []
    checks += unsound([float(one.maps.sum(dtype="float64")) for one in shown], batch)
    checks += [
        *_describe_choice(shown[0], units, by),
        *note_call(model, name, size),
        *note_unplaced(name, field),
        *batch.checks,
        *chunks.checks,
    ]
    provenance = provenance_of(model, batch, layer=name, chunk=chunks.size)
    return _assemble_features(batch, shown, Features((), tuple(dict.fromkeys(checks)), provenance), model.name, field)


class _ShownUnits(NamedTuple):
    """The units shown of one picture, their maps ``(U, h, w)``, how many there are, how many are silent, and peaks.

    ``before`` has the peaks before the ceiling of the function that the layer ends in; nothing where it ends in none.
    """

    units: list[int]
    maps: NDArray[np.float32]
    total: int
    silent: int
    before: tuple[float, ...]


def _show_units(
    model: Model, name: str, layer: Layer, inputs: Tensor, *, count: int, choice: tuple[str | None, Strength, int]
) -> list[_ShownUnits]:
    from cnnviz.engine.arrangement import to_maps, with_places
    from cnnviz.engine.partial import run_before_ceiling

    output, before = run_before_ceiling(model.module, model.forward, inputs, name, layer.call)
    arrangement = with_places(name, layer.arrangement, output)
    maps = to_maps(output, arrangement)[:count].float()
    raw = maps if before is None else to_maps(before, arrangement)[:count].float()
    answers = []
    for one, unclipped in zip(maps, raw, strict=True):
        units = _choose_units((one, unclipped), name, *choice)
        silent = int((one == 0).flatten(1).all(dim=1).sum())
        own = () if before is None else tuple(unclipped[units].flatten(1).amax(dim=1).tolist())
        answers.append(_ShownUnits(units, one[units].cpu().contiguous().numpy(), len(one), silent, own))
    return answers


def _choose_units(maps: tuple[Tensor, Tensor], layer: str, units: str | None, by: Strength, most: int) -> list[int]:
    """Numbers of the units that are shown; ``maps`` are the layer's own ``(C, h, w)``, and those before its ceiling."""
    count = len(maps[0])
    if units is not None and units.strip() == ALL:
        return list(range(min(count, MOST)))
    if units is not None:
        return parse_units(units, layer, count, most=MOST)
    flat, before = (each.flatten(1).double() for each in maps)
    strengths = {"peak": before.amax(dim=1), "mean": flat.mean(dim=1), "spread": flat.std(dim=1, correction=0)}
    order: list[int] = strengths[by].argsort(descending=True, stable=True)[:most].tolist()
    return order


def _describe_choice(shown: _ShownUnits, units: str | None, by: Strength) -> list[str]:
    of = f"{len(shown.units)} of {shown.total} units"
    if len(shown.units) == shown.total:
        return []
    if units is None:
        peak = "largest value before the ceiling" if shown.before else "largest value"
        words = {"peak": peak, "mean": "largest mean", "spread": "largest standard deviation"}
        return [f"{of} are shown: those with the {words[by]} on each picture, the strongest first"]
    return [f"the first {of} are shown; choose others with units=..."] if units.strip() == ALL else []


def _assemble_features(
    batch: InputBatch, shown: Sequence[_ShownUnits], whole: Features, model: str, field: Field | None
) -> Features:
    """The whole result, with every picture's maps filled in."""
    from cnnviz.core.target import Unit
    from cnnviz.results.features import FeatureMaps
    from cnnviz.results.heatmap import Heatmap

    layer = whole.provenance.layer or ""
    parts = []
    for row, (picture, one) in enumerate(zip(batch.pictures, shown, strict=True)):
        own, rectified = whole.provenance.only(row), bool(one.maps.min() >= 0)
        maps = tuple(
            Heatmap(
                values=values,
                target=Unit(layer, unit),
                score=float(values.mean()),
                probability=None,
                picture=picture,
                layer=layer,
                rectified=rectified,
                model=model,
                checks=whole.checks,
                provenance=own,
                field=field,
            )
            for unit, values in zip(one.units, one.maps, strict=True)
        )
        parts.append(FeatureMaps(maps, one.total, one.silent, whole.checks, own, one.before))
    return replace(whole, parts=tuple(parts))
