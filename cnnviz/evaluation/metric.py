"""What a metric of maps is: one line each. Listing them loads neither torch nor numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from cnnviz.errors import UnknownNameError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from cnnviz.core.sample import Sample
    from cnnviz.core.target import TargetLike
    from cnnviz.models.model import Model

__all__ = ["METRICS", "BoundingBox", "Case", "Explain", "Metric", "load_metric"]

BoundingBox: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels of the network's input; right and bottom are outside."""

Explain: TypeAlias = "Callable[[Model, Sequence[Sample] | Tensor, TargetLike, int], NDArray[np.float32]]"
"""A method as metrics ask it: network, pictures, targets and a seed to maps ``(N, H, W)`` at the network's input.

Pictures that a metric changed are given as the network takes them, ``(N, C, H, W)``.
"""

Needs: TypeAlias = Literal["maps", "mask", "method"]
"""What a metric needs: maps and the network's answers; where the object is, too; the method itself, to ask it again."""


@dataclass(frozen=True)
class Metric:
    """One number about a map, or about a method.

    Attributes:
        name: As it is typed.
        proper: As the field calls it.
        family: What it measures.
        direction: Whether higher or lower is better.
        low: Its least value; None for no bound.
        high: Its largest value; None for no bound.
        chance: The value of a random map, in words or a number.
        needs: What it needs besides the network.
        paper: Where it comes from.
        where: Its module, in this folder.
        curve: Whether the module has ``NAME_curve`` too, which gives the curve that the value is the area of.
    """

    name: str
    proper: str
    family: str
    direction: Literal["higher", "lower"]
    low: float | None
    high: float | None
    chance: str
    needs: Needs
    paper: str
    where: str
    curve: bool = False

    def better(self, one: float, other: float) -> bool:
        """Whether one value is better than another."""
        return one > other if self.direction == "higher" else one < other


@dataclass(frozen=True, eq=False)
class Case:
    """One picture as the network sees it, and the class explained: what maps are judged on.

    Attributes:
        inputs: ``(1, C, H, W)``, as the network takes it.
        logit: From ``(N, C, H, W)`` to ``(N,)``: the target's logit, without gradient.
        probability: Likewise its probability: softmax, or sigmoid of a multi-label network.
        unit: ``(C, 1, 1)``: how much of the input 1.0 of a pixel in 0..1 is.
        mask: ``(H, W)`` where the object is, in the network's input; None where nobody says.
        ignored: ``(H, W)`` what is not counted.
        boxes: Boxes of the object in pixels of the network's input.
        name: The picture's name.
        seed: Of whatever is drawn at random.
    """

    inputs: Tensor
    logit: Callable[[Tensor], Tensor]
    probability: Callable[[Tensor], Tensor]
    unit: Tensor
    mask: NDArray[np.bool_] | None = None
    ignored: NDArray[np.bool_] | None = None
    boxes: tuple[BoundingBox, ...] = ()
    name: str = ""
    seed: int = 0


FAITHFULNESS, LOCALISATION, RANDOMISATION = "Faithfulness", "Localisation", "Randomisation"
ROBUSTNESS, COMPLEXITY = "Robustness", "Complexity"

_ALL: tuple[Metric, ...] = ()

METRICS: Mapping[str, Metric] = MappingProxyType({each.name: each for each in _ALL})
"""The metrics there are, by name."""


def load_metric(name: str) -> tuple[Metric, Callable[..., Any]]:
    """A metric by its name, and the function that computes it.

    Raises:
        UnknownNameError: If there is none; the message offers the nearest names.
    """
    if name not in METRICS:
        raise UnknownNameError("metric", name, METRICS, "'cnnviz evaluate --help' lists them all.")
    metric = METRICS[name]
    module = import_module(f"cnnviz.evaluation.{metric.where}")
    return metric, getattr(module, name.replace("-", "_"))
