"""Faithfulness: what becomes of the target's probability when pixels go, or come, in the order of a map.

Several metrics of the same maps share their forwards: ask for them together, by :func:`removal_curves` and
:func:`average_scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d

from cnnviz.engine.batching import in_slices, usual_size
from cnnviz.errors import ParameterError
from cnnviz.evaluation.metric import RISE_2018, Case, check_maps, has_evidence

__all__ = [
    "Removal",
    "area",
    "ask",
    "average_drop",
    "average_gain",
    "average_increase",
    "average_scores",
    "deletion",
    "deletion_curve",
    "insertion",
    "insertion_curve",
    "order_ranks",
    "removal_curves",
    "rise_blur",
    "srg",
    "srg_curve",
]

Maps: TypeAlias = NDArray[np.floating[Any]]
Values: TypeAlias = NDArray[np.float64]
Removal: TypeAlias = Literal["deletion", "insertion", "least-first"]

STEPS: Final = RISE_2018["data set"]
KERNEL, DEVIATION, TRUNCATE = 11, 5.0, 4


def deletion(case: Case, maps: Maps, *, steps: int = STEPS) -> Values:
    """Area under the target's probability while pixels are deleted, the most important first.

    Petsiuk et al. 2018 (RISE). Lower is better; 0 to 1. A random map has about the value of any other order of pixels.
    A deleted pixel is 0 in all channels of the network's input, which is the training pictures' mean. Pixels of equal
    value go in the order of reading, row by row; those without a value last. The area is the trapezoids', both ends
    included, as a share of its width.

    Args:
        case: The picture and its target.
        maps: ``(M, H, W)``; or ``(M, C, H, W)``, where single channels are deleted.
        steps: In how many equal steps all pixels go; see :data:`cnnviz.evaluation.metric.RISE_2018`.

    Returns:
        ``(M,)``; NaN for a map without a positive value.
    """
    return area(deletion_curve(case, maps, steps=steps))


def deletion_curve(case: Case, maps: Maps, *, steps: int = STEPS) -> Values:
    """``(M, steps + 1)``: the probability before and after each step of :func:`deletion`."""
    return removal_curves(case, maps, ("deletion",), steps=steps)["deletion"]


def insertion(case: Case, maps: Maps, *, steps: int = STEPS) -> Values:
    """Area under the target's probability while pixels come into the blurred picture, the most important first.

    Petsiuk et al. 2018 (RISE). Higher is better; 0 to 1. A random map has about the value of any other order of pixels.
    Ties, steps and the area are those of :func:`deletion`, the blur is :func:`rise_blur`.

    Args:
        case: The picture and its target.
        maps: ``(M, H, W)``.
        steps: In how many equal steps all pixels come.

    Returns:
        ``(M,)``; NaN for a map without a positive value.
    """
    return area(insertion_curve(case, maps, steps=steps))


def insertion_curve(case: Case, maps: Maps, *, steps: int = STEPS) -> Values:
    """``(M, steps + 1)``: the probability before and after each step of :func:`insertion`."""
    return removal_curves(case, maps, ("insertion",), steps=steps)["insertion"]


def srg(case: Case, maps: Maps, *, steps: int = STEPS) -> Values:
    """Symmetric relevance gain: area with the least important pixels deleted first, minus :func:`deletion`.

    Blücher et al. 2024. Higher is better; -1 to 1, a random map has 0 on average. Equal values go in the order of
    reading both times, so that a constant map has exactly 0; pixels without a value are the least important.

    Args:
        case: The picture and its target.
        maps: ``(M, H, W)``.
        steps: In how many equal steps all pixels go.

    Returns:
        ``(M,)``; NaN for a map without a positive value.
    """
    return area(srg_curve(case, maps, steps=steps))


def srg_curve(case: Case, maps: Maps, *, steps: int = STEPS) -> Values:
    """``(M, steps + 1)``: the difference of the two curves of :func:`srg`, least important first minus most."""
    found = removal_curves(case, maps, ("least-first", "deletion"), steps=steps)
    return found["least-first"] - found["deletion"]


def removal_curves(case: Case, maps: Maps, kinds: Sequence[Removal], *, steps: int = STEPS) -> dict[str, Values]:
    """Curves of several kinds at once, which share their ends and the network's batches.

    Args:
        case: The picture and its target.
        maps: ``(M, H, W)``; or ``(M, C, H, W)``, where single channels go.
        kinds: ``"deletion"``, ``"insertion"`` and ``"least-first"``, the deletion of the least important first.
        steps: In how many equal steps all pixels go.

    Returns:
        For each kind ``(M, steps + 1)``: the probability, before the first step and after each; NaN for a map without a
        positive value.

    Raises:
        ParameterError: If the maps have not the size of the network's input, or there are no steps.
    """
    check_maps(case, maps)
    if steps < 1:
        raise ParameterError(f"steps must be at least 1; got {steps}.")
    defined = np.flatnonzero(has_evidence(maps))
    curves: dict[str, Values] = {kind: np.full((len(maps), steps + 1), np.nan) for kind in kinds}
    if not len(defined) or not kinds:
        return curves
    pictures, names = _Removed.of(case, maps[defined], kinds, steps), _ends_of(kinds)
    values = ask(case, case.probability, len(pictures.jobs), pictures)
    inner = values[len(names) :].reshape(len(kinds), len(defined), steps - 1)
    for kind, between in zip(kinds, inner, strict=True):
        start, end = (values[names.index(name)] for name in ENDS[kind])
        ends = np.full((len(defined), 1), 1.0)
        curves[kind][defined] = np.concatenate([start * ends, between, end * ends], axis=1)
    return curves


def area(curves: Values) -> Values:
    """``(M,)``: the area of the trapezoids under curves ``(M, steps + 1)``, as a share of their width."""
    inner = curves.sum(axis=1) - curves[:, 0] / 2 - curves[:, -1] / 2
    return np.asarray(inner / (curves.shape[1] - 1), dtype=np.float64)


def ask(case: Case, question: Callable[[Tensor], Tensor], total: int, picture: Callable[[slice], Tensor]) -> Values:
    """What the network says about ``total`` changed pictures, made and asked about some at a time: ``(total,)``.

    Args:
        case: For the number of pictures at once.
        question: The case's logit or probability.
        total: How many pictures there are.
        picture: From some of them to ``(n, C, H, W)``.
    """

    def some(rows: slice) -> Values:
        return np.asarray(question(picture(rows)).detach().double().cpu().numpy(), dtype=np.float64)

    chunks = in_slices(total, some, size=case.batch or usual_size(case.inputs.device))
    return np.concatenate(chunks.results)


def order_ranks(maps: Maps, *, least_first: bool = False) -> NDArray[np.int32]:
    """At which place of its map's order each pixel stands, from 0; shaped as the maps.

    Equal values stand in the order of reading; pixels without a value are the least important.

    Args:
        maps: ``(M, ...)``.
        least_first: Whether the order begins with the least important.
    """
    flat = np.where(np.isnan(maps), -np.inf, maps).reshape(len(maps), -1)
    order = np.argsort(flat if least_first else -flat, axis=1, kind="stable")
    ranks = np.empty(order.shape, dtype=np.int32)
    np.put_along_axis(ranks, order, np.arange(order.shape[1], dtype=np.int32)[None], axis=1)
    return ranks.reshape(maps.shape)


def rise_blur(inputs: Tensor) -> Tensor:
    """The blurred picture that insertion begins with, ``(N, C, H, W)``: zeros beyond the border, as RISE's code does.

    RISE filters an impulse on 11 x 11 pixels by a Gaussian of deviation 5 that is mirrored at their border. So the
    kernel is nearly flat: the whole weight of the tails falls back on it.
    """
    impulse = np.zeros(KERNEL)
    impulse[KERNEL // 2] = 1
    reach = round(TRUNCATE * DEVIATION)
    gauss = np.exp(-0.5 * (np.arange(-reach, reach + 1) / DEVIATION) ** 2)
    line = np.convolve(np.pad(impulse, reach, mode="symmetric"), gauss / gauss.sum(), mode="valid")
    kernel = torch.from_numpy(np.outer(line, line)).to(inputs)
    channels = inputs.shape[1]
    return conv2d(inputs, kernel.expand(channels, 1, KERNEL, KERNEL), padding=KERNEL // 2, groups=channels)


def average_drop(case: Case, maps: Maps) -> Values:
    """How much of the target's probability is lost where a map is low: ``max(0, before - after) / before``.

    Chattopadhay et al. 2018 (Grad-CAM++). Lower is better; 0 to 1, near 1 for a random map where its noise hides the
    object. After: of the network's input times the map, which is 0 where negative or without a value and then spread
    from 0 to 1 (Wang et al. 2020). There is no order, so nothing is said of ties; a constant map keeps the whole
    picture, and has 0.

    Args:
        case: The picture and its target.
        maps: ``(M, H, W)``.

    Returns:
        ``(M,)``; NaN for a map without a positive value, and where the probability is 0.
    """
    return average_scores(case, maps)["average-drop"]


def average_increase(case: Case, maps: Maps) -> Values:
    """Whether the target's probability rises where only what a map marks is kept: 1 or 0.

    Chattopadhay et al. 2018 (Grad-CAM++). Higher is better; near 0 for a random map. Kept is what
    :func:`average_drop` keeps. A constant map has 0.

    Args:
        case: The picture and its target.
        maps: ``(M, H, W)``.

    Returns:
        ``(M,)``; NaN for a map without a positive value.
    """
    return average_scores(case, maps)["average-increase"]


def average_gain(case: Case, maps: Maps) -> Values:
    """How much of what is missing to certainty is gained: ``max(0, after - before) / (1 - before)``.

    Zhang et al. 2024 (Opti-CAM). Higher is better; 0 to 1, near 0 for a random map. Kept is what :func:`average_drop`
    keeps. A constant map has 0, and so has any map where the probability is 1.

    Args:
        case: The picture and its target.
        maps: ``(M, H, W)``.

    Returns:
        ``(M,)``; NaN for a map without a positive value.
    """
    return average_scores(case, maps)["average-gain"]


def average_scores(case: Case, maps: Maps) -> dict[str, Values]:
    """Average drop, increase and gain by their names, from the same forwards: one, and one a map."""
    check_maps(case, maps)
    defined = np.flatnonzero(has_evidence(maps))
    found = {name: np.full(len(maps), np.nan) for name in ("average-drop", "average-increase", "average-gain")}
    if not len(defined):
        return found
    kept = torch.from_numpy(np.stack([np.ones(maps.shape[1:]), *map(_spread, maps[defined])])).to(case.inputs)
    asked = ask(case, case.probability, len(kept), lambda rows: case.inputs * kept[rows].unsqueeze(1))
    before, after = asked[0], asked[1:]
    if before != 0:
        found["average-drop"][defined] = np.maximum(before - after, 0) / before
    found["average-increase"][defined] = after > before
    gain = np.maximum(after - before, 0)
    found["average-gain"][defined] = np.where(gain > 0, gain / max(1 - before, np.finfo(float).tiny), 0)
    return found


def _spread(values: Maps) -> Values:
    """One map without what is negative, spread from 0 to 1; ones if it is constant."""
    kept = np.maximum(np.nan_to_num(values.astype(np.float64), nan=0.0), 0)
    low, high = kept.min(), kept.max()
    return (kept - low) / (high - low) if high > low else np.ones_like(kept)


SOURCES: Final[Mapping[str, Callable[[Tensor], Tensor]]] = {
    "picture": lambda inputs: inputs,
    "nothing": torch.zeros_like,
    "blurred": rise_blur,
}
ENDS: Final[Mapping[Removal, tuple[str, str]]] = {
    "deletion": ("picture", "nothing"),
    "least-first": ("picture", "nothing"),
    "insertion": ("blurred", "picture"),
}
"""What a curve of each kind begins and ends with."""


@dataclass(frozen=True)
class _Removed:
    """The pictures of some curves, made some at a time: the curves' ends, each once, then what lies between them.

    Attributes:
        sources: ``(S, C, H, W)``: the ends.
        ranks: ``(R, 1 or C, H, W)``: orders of pixels.
        jobs: ``(total, 4)``: of each picture its order, how many pixels of the order are changed, the source they are
            changed from and the one to.
    """

    sources: Tensor
    ranks: Tensor
    jobs: Tensor

    @classmethod
    def of(cls, case: Case, maps: Maps, kinds: Sequence[Removal], steps: int) -> _Removed:
        """The pictures of all maps' curves: kind by kind, map by map, step by step."""
        names = _ends_of(kinds)
        firsts = list(dict.fromkeys(kind == "least-first" for kind in kinds))
        ranks = np.concatenate([order_ranks(maps, least_first=least) for least in firsts])
        total = ranks[0].size
        jobs = [(0, 0, at, at) for at in range(len(names))]
        for kind in kinds:
            start, end = (names.index(name) for name in ENDS[kind])
            first = firsts.index(kind == "least-first") * len(maps)
            counts = [round(step * total / steps) for step in range(1, steps)]
            jobs += [(first + at, count, start, end) for at in range(len(maps)) for count in counts]
        height, width = maps.shape[-2:]
        shaped = torch.from_numpy(ranks).view(len(ranks), -1, height, width).to(case.inputs.device)
        sources = torch.cat([SOURCES[name](case.inputs) for name in names])
        return cls(sources, shaped, torch.tensor(jobs, device=case.inputs.device))

    def __call__(self, rows: slice) -> Tensor:
        order, count, start, end = self.jobs[rows].unbind(1)
        changed = self.ranks[order] < count.view(-1, 1, 1, 1)
        return torch.where(changed, self.sources[end], self.sources[start])


def _ends_of(kinds: Sequence[Removal]) -> list[str]:
    return list(dict.fromkeys(name for kind in kinds for name in ENDS[kind]))
