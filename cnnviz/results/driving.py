"""Driving: the units of a layer that speak most for a target, with how much each adds and what its removal costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from cnnviz.core.target import Target, Unit
from cnnviz.drawing.blocks import Gallery, Plate, Table
from cnnviz.results.heatmap import Heatmap

__all__ = ["Driving", "DrivingUnit"]

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
class Driving(Sequence[DrivingUnit]):
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
            f"Of {self.total} units {self.positive} speak for it; these {len(self)} make up {self.share:.0%} of all "
            "that they add."
        )
        return Gallery(tuple(_plate(one) for one in self.units), "row" if len(self) <= ACROSS else "medium", words)

    def table(self) -> Table:
        """Each unit's contribution, share, and the score without it."""
        rows = tuple(
            (str(one.unit.channel), f"{one.contribution:.3g}", f"{one.share:.1%}", f"{one.drop:.3g}") for one in self
        )
        headings = ("unit", "adds to the score", "share", "score falls by, without it")
        caption = f"Units of {self.layer} that speak for {self.target}, whose score is {self.score:.4g}"
        return Table(caption, headings, rows, (1, 2, 3))

    def describe(self) -> dict[str, Any]:
        """What there is to say without a picture, as plain values."""
        about = {"layer": self.layer, "target": str(self.target), "score": self.score}
        return {**about, "units": [one.describe() for one in self], "checks": list(self.checks)}


def _plate(one: DrivingUnit) -> Plate:
    name, flat = f"unit {one.unit.channel}", one.heatmap
    words = f"Where {name} of {one.unit.layer} responds in {flat.picture.name}, over the photograph."
    return Plate(flat.overlay(), words, name, f"adds {one.share:.1%}", flat.scale())
