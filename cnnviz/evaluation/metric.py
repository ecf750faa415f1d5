"""What a metric of maps is: one line each. Listing them loads neither torch nor numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from cnnviz.errors import ParameterError, UnknownNameError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from cnnviz.core.sample import Sample
    from cnnviz.core.target import TargetLike
    from cnnviz.models.model import Model

__all__ = [
    "METRICS",
    "RISE_2018",
    "BoundingBox",
    "Case",
    "Explain",
    "Metric",
    "check_maps",
    "has_evidence",
    "load_metric",
]

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
        curve: Whether the module has ``NAME_curve`` too, which gives the curve that the value is the area, the mean or
            the maximum of.
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
        batch: Most pictures to ask the network about at once; None for what suits its device.
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
    batch: int | None = None


RISE_2018: Final[Mapping[str, int]] = {"picture": 224, "data set": 28}
"""Steps of deletion and insertion in RISE's own protocol, of single pictures and of data sets.

All else of it is what these metrics do anyway: blur, what stands for a deleted pixel, the area, softmax of a class.
"""

FAITHFULNESS, LOCALISATION, RANDOMISATION = "Faithfulness", "Localisation", "Randomisation"
ROBUSTNESS, COMPLEXITY = "Robustness", "Complexity"
UNMARKED: Final = (RANDOMISATION, ROBUSTNESS)
"""Families of metrics by which a map that says nothing does well, so that controls tell nothing."""

_ALL: tuple[Metric, ...] = (
    Metric("deletion", "Deletion", FAITHFULNESS, "lower", 0, 1, "about that of any order of pixels",
           "maps", "Petsiuk et al. 2018 (RISE)", "faithfulness", curve=True),
    Metric("insertion", "Insertion", FAITHFULNESS, "higher", 0, 1, "about that of any order of pixels",
           "maps", "Petsiuk et al. 2018 (RISE)", "faithfulness", curve=True),
    Metric("srg", "SRG", FAITHFULNESS, "higher", -1, 1, "0",
           "maps", "Blücher et al. 2024 (symmetric relevance gain)", "faithfulness", curve=True),
    Metric("road", "ROAD", FAITHFULNESS, "higher", -1, 1, "0",
           "maps", "Rong et al. 2022", "road", curve=True),
    Metric("average-drop", "Average drop", FAITHFULNESS, "lower", 0, 1, "near 1 where noise hides the object",
           "maps", "Chattopadhay et al. 2018 (Grad-CAM++)", "faithfulness"),
    Metric("average-increase", "Average increase", FAITHFULNESS, "higher", 0, 1, "near 0",
           "maps", "Chattopadhay et al. 2018 (Grad-CAM++)", "faithfulness"),
    Metric("average-gain", "Average gain", FAITHFULNESS, "higher", 0, 1, "near 0",
           "maps", "Zhang et al. 2024 (Opti-CAM)", "faithfulness"),
    Metric("infidelity", "Infidelity", FAITHFULNESS, "lower", 0, None, "about that of a map that only knows areas",
           "maps", "Yeh et al. 2019", "infidelity"),
    Metric("pointing", "Pointing game", LOCALISATION, "higher", 0, 1, "the share of the mask, grown by 15 px",
           "mask", "Zhang et al. 2018 (excitation backprop)", "localisation"),
    Metric("mass", "Mass in mask", LOCALISATION, "higher", 0, 1, "the share of the mask",
           "mask", "Wang et al. 2020 (Score-CAM); Arras et al. 2022", "localisation"),
    Metric("rank", "Rank accuracy", LOCALISATION, "higher", 0, 1, "the share of the mask",
           "mask", "Arras et al. 2022", "localisation"),
    Metric("iou", "IoU at the best threshold", LOCALISATION, "higher", 0, 1, "about the share of the mask",
           "mask", "Cao et al. 2015 (feedback networks)", "localisation"),
    Metric("iou-otsu", "IoU at Otsu's threshold", LOCALISATION, "higher", 0, 1, "below the share of the mask",
           "mask", "Otsu 1979", "localisation"),
    Metric("max-box-acc", "MaxBoxAccV2", LOCALISATION, "higher", 0, 1, "that of a box of the whole picture",
           "mask", "Choe et al. 2020", "localisation", curve=True),
    Metric("gridpg", "GridPG", LOCALISATION, "higher", 0, 1, "0.25 on mosaics of 2 x 2",
           "method", "Böhle et al. 2021 (grid pointing game)", "mosaics"),
    Metric("randomisation", "Similarity after randomisation", RANDOMISATION, "lower", -1, 1, "0",
           "method", "Adebayo et al. 2018; Hedström et al. 2024", "randomisation.mprt"),
    Metric("floor", "Similarity between pictures", RANDOMISATION, "lower", -1, 1, "0",
           "method", "Adebayo et al. 2018", "randomisation.mprt"),
    Metric("sensitivity", "Max-sensitivity", ROBUSTNESS, "lower", 0, None, "0.71 for uniform noise drawn anew",
           "method", "Yeh et al. 2019", "robustness"),
    Metric("repeatability", "Repeatability", ROBUSTNESS, "higher", -1, 1, "0",
           "method", "rank correlation of maps of two seeds", "robustness"),
    Metric("gini", "Gini sparseness", COMPLEXITY, "higher", 0, 1, "0.33 for uniform noise",
           "maps", "Chalasani et al. 2020", "complexity"),
    Metric("entropy", "Entropy", COMPLEXITY, "lower", 0, None, "0.19 below the logarithm of the number of pixels",
           "maps", "Bhatt et al. 2020", "complexity"),
)  # fmt: skip

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


def has_evidence(maps: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Which of some maps ``(M, ...)`` say anything: ``(M,)``, whether any of its values is above 0.

    A map of zeros, of values that all are below 0, or without numbers does not: every metric of it is undefined, NaN.
    """
    import numpy as np

    return np.asarray((np.nan_to_num(maps, nan=0.0) > 0).reshape(len(maps), -1).any(axis=1))


def check_maps(case: Case, maps: NDArray[np.floating[Any]]) -> None:
    """Make sure that maps lie on the grid of the network's input.

    Raises:
        ParameterError: If they do not.
    """
    expected = tuple(case.inputs.shape[2:])
    if maps.shape[1:] != expected and maps.shape[1:] != (case.inputs.shape[1], *expected):
        raise ParameterError(
            f"Maps are judged at the size of the network's input: expected (maps, {', '.join(map(str, expected))}), "
            f"got {maps.shape}. heatmap.upsampled() has that size."
        )
