"""Driving units: the units of a layer that contribute most to a target's score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor

from cnnviz.core.layer import AUTOMATIC, Layer, Layers
from cnnviz.core.picture import Picture
from cnnviz.core.sample import Sample
from cnnviz.core.target import Target, Unit
from cnnviz.drawing.pages.blocks import Gallery, Plate, Size, Table
from cnnviz.engine.batching import in_chunks
from cnnviz.engine.layers import observe_layers
from cnnviz.engine.replay import replay
from cnnviz.engine.undisturbed import undisturbed
from cnnviz.methods.cams.changed_layer import ChangedLayer
from cnnviz.methods.cams.layer_maps import field_of
from cnnviz.methods.cams.probe import Probe, probe
from cnnviz.methods.prepare import InputBatch, provenance_of
from cnnviz.models.model import Model
from cnnviz.provenance import Provenance
from cnnviz.results.heatmap import Heatmap

__all__ = ["driving_units", "DrivingUnits", "DrivingUnit"]

ACROSS = 6
"""Most pictures in one row."""


@dataclass(frozen=True, eq=False)
class DrivingUnit:
    """One unit of a layer, on one picture.

    Attributes:
        unit: Its layer and channel.
        contribution: Its mean gradient times its summed activation, in units of the score.
        share: That as a share of the sum of all units' positive contributions, 0 to 1.
        drop: How much lower the score is with the unit's activation at zero.
        heatmap: Its activation on the picture.
    """

    unit: Unit
    contribution: float
    share: float
    drop: float
    heatmap: Heatmap

    def describe(self) -> dict[str, Any]:
        """What there is to say without a picture, as plain values."""
        names = ("contribution", "share", "drop")
        return {"unit": self.unit.channel, **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True, eq=False)
class DrivingUnits(Sequence[DrivingUnit]):
    """The units that speak most for one picture's target, the strongest first.

    Attributes:
        units: The units.
        layer: Their layer.
        target: What they speak for.
        score: The target's score.
        total: How many units the layer has.
        positive: How many of them speak for the target at all.
        checks: What the user should know.
    """

    units: tuple[DrivingUnit, ...]
    layer: str
    target: Target
    score: float
    total: int
    positive: int
    checks: tuple[str, ...] = ()

    @overload
    def __getitem__(self, index: int) -> DrivingUnit: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[DrivingUnit, ...]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self.units[index]

    def __len__(self) -> int:
        return len(self.units)

    def __iter__(self) -> Iterator[DrivingUnit]:
        return iter(self.units)

    @property
    def share(self) -> float:
        """What these units add, as a share of everything that speaks for the target."""
        return sum(one.share for one in self.units)

    def gallery(self) -> Gallery:
        """Each unit's activation over the photograph, with its share."""
        words = (
            f"{self.positive} of {self.total} units support it; these {len(self)} make up {self.share:.0%} of their "
            "contributions."
        )
        size: Size = "row" if len(self) <= ACROSS else "medium"
        if self.units and not isinstance(self.units[0].heatmap.picture, Picture):
            size = "broad"
        return Gallery(tuple(_unit_plate(one) for one in self.units), size, words)

    def table(self) -> Table:
        """Each unit's contribution, share, and the score without it."""
        rows = tuple(
            (str(one.unit.channel), f"{one.contribution:.3g}", f"{one.share:.1%}", f"{one.drop:.3g}") for one in self
        )
        headings = ("unit", "contribution to the score", "share", "score drop without it")
        caption = f"Units of {self.layer} supporting {self.target} (score {self.score:.4g})"
        return Table(caption, headings, rows, (1, 2, 3))

    def describe(self) -> dict[str, Any]:
        """What there is to say without a picture, as plain values."""
        about = {"layer": self.layer, "target": str(self.target), "score": self.score}
        return {**about, "units": [one.describe() for one in self], "checks": list(self.checks)}


def _unit_plate(one: DrivingUnit) -> Plate:
    name, flat = f"unit {one.unit.channel}", one.heatmap
    under = "over the photograph" if isinstance(flat.picture, Picture) else flat.strongest()
    words = f"Where {name} of {one.unit.layer} responds in {flat.picture.name}, {under}."
    return Plate(flat.overlay(), words, name, f"adds {one.share:.1%}", flat.scale())


PASSING = ("Dropout", "Dropout2d", "Identity")
"""Kinds of layers that hand on what they are given."""


def driving_units(
    model: Model, batch: InputBatch, *, layer: str | None, count: int, batch_size: int
) -> tuple[tuple[DrivingUnits, ...], Provenance]:
    """For each picture the units of a layer that add most to its target's score.

    With activations ``A`` of the layer and the score ``y``, unit ``k`` adds Grad-CAM's weight times what it weighs::

        c_k = (mean over i, j of dy / dA_kij) * (sum over i, j of A_kij)

    which is the very term of the logit where that is a linear layer of the layer's spatial mean. Beside it stands what
    really happens to the score when the unit's activation is set to zero, found by running what comes after the layer.

    Args:
        model: The network.
        batch: Inputs, pictures and settled targets.
        layer: The layer; None takes the last convolutional (spatial) layer that the target depends on, or the one
            before it where its units are the classes themselves, so that each speaks for itself alone.
        count: How many units a picture.
        batch_size: Most pictures, and most changed activations, at once.

    Returns:
        For each picture its units, and how they were found.

    Raises:
        UnknownNameError: If there is no such layer.
        UsageError: If the layer has no spatial extent.
        ExplanationError: If a target does not depend on the layer.
    """
    if layer is not None and layer != AUTOMATIC:
        model.check_layer(layer)
    with undisturbed(model.module):
        name = _choose_working_layer(model, batch) if layer in (None, AUTOMATIC) else layer

    def ask(inputs: Tensor, rows: slice) -> list[DrivingUnits]:
        found = probe(model, [name], inputs, batch.targets[rows])
        return [
            _DrivingUnitFinder(model, inputs, found, count).find(row, picture)
            for row, picture in enumerate(batch.pictures[rows])
        ]

    with undisturbed(model.module):
        chunks = in_chunks(
            batch.inputs, ask, size=batch_size, device=model.device, dtype=model.dtype, fixed=model.fixed_batch
        )
    found = tuple(one for result in chunks.results for one in result)
    targets = tuple(str(one.target) for one in found)
    return found, provenance_of(model, batch, targets=targets, layer=found[0].layer, chunk=chunks.size)


def _contributions(found: Probe, row: int) -> Tensor:
    """What each unit adds to a picture's score, ``(C,)`` float64."""
    maps, gradients = found.activations[0][row].double(), found.gradients[0][row].double()
    return gradients.flatten(1).mean(dim=1) * maps.flatten(1).sum(dim=1)


def _choose_working_layer(model: Model, batch: InputBatch) -> str:
    """The automatic layer; where only one of its units adds anything, the last before it of which more do."""
    one = model.to_device(batch.inputs[:1].expand(model.fixed_batch or 1, *batch.inputs.shape[1:]))

    def speaking(name: str) -> tuple[str, int]:
        found = probe(model, [name], one, batch.targets[:1])
        return found.answer.layers[0], int((_contributions(found, 0) != 0).sum())

    automatic, count = speaking(AUTOMATIC)
    if count > 1:
        return automatic
    layers = observe_layers(model.module, one)
    earlier = [layer for layer in layers.values() if layer.spatial and layer.order < layers[automatic].order]
    for layer in sorted(earlier, key=lambda layer: -layer.order):
        if layer.kind not in PASSING and speaking(layer.name)[1] > 1:
            return _innermost_part(layers, layer)
    return automatic


def _innermost_part(layers: Layers, layer: Layer) -> str:
    """The part of a container that its output comes from, where it is handed on as it is."""
    for part in layers.values():
        if part.name.startswith(f"{layer.name}.") and part.order == layer.order - 1 and part.shape == layer.shape:
            return _innermost_part(layers, part)
    return layer.name


class _DrivingUnitFinder:
    """Finds the units of one layer that drive each of some pictures' answers."""

    def __init__(self, model: Model, inputs: Tensor, found: Probe, count: int) -> None:
        self._model, self._inputs, self._found, self._count = model, inputs, found, count
        self._name = found.answer.layers[0]
        self._field = field_of(model, self._name, tuple(inputs.shape[2:]))

    def find(self, row: int, picture: Sample) -> DrivingUnits:
        """The strongest units of one picture."""
        target, added = self._found.answer.targets[row], _contributions(self._found, row)
        strongest = added.sort(descending=True, stable=True).indices[: self._count].tolist()
        chosen = [unit for unit in strongest if added[unit] > 0]
        drops, checks = self._measure_drops(row, target, chosen)
        speaking = float(added.clamp_min(0).sum())
        units = tuple(
            DrivingUnit(
                unit=Unit(self._name, channel),
                contribution=float(added[channel]),
                share=float(added[channel]) / speaking,
                drop=drop,
                heatmap=self._activation_map(row, channel, picture),
            )
            for channel, drop in zip(chosen, drops, strict=True)
        )
        said = tuple(dict.fromkeys((*self._found.answer.checks, *checks)))
        score, positive = float(self._found.answer.scores[row]), int((added > 0).sum())
        return DrivingUnits(units, self._name, target, score, len(added), positive, said)

    def _measure_drops(self, row: int, target: Target, units: Sequence[int]) -> tuple[list[float], tuple[str, ...]]:
        """How much lower the score is with each unit's activation at zero."""
        if not units:
            return [], ()
        model = self._model
        one = self._inputs[row, None].expand(model.fixed_batch or 1, *self._inputs.shape[1:])
        fixed = bool(model.fixed_batch)
        with torch.no_grad(), replay(model.module, model.answering([target]), one, self._name, fixed=fixed) as found:
            layer = ChangedLayer(found, self._name, target, found.fixed or len(units), head=model.head)

            def without(some: slice) -> Tensor:
                each = torch.tensor(units[some], device=layer.maps.device)
                ablated = layer.maps[:1].repeat(len(each), *[1] * (layer.maps.dim() - 1))
                ablated[torch.arange(len(each), device=each.device), each] = 0
                return ablated

            drops = layer.score - layer.scores(len(units), without)
            return drops.double().cpu().tolist(), layer.checks

    def _activation_map(self, row: int, channel: int, picture: Sample) -> Heatmap:
        maps = self._found.activations[0][row]
        values, unit = maps[channel].float().cpu().numpy(), Unit(self._name, channel)
        rectified = bool(maps.min() >= 0)
        about = (unit, float(values.mean()), None, picture, self._name, rectified, self._model.name)
        return Heatmap(values, *about, field=self._field)
