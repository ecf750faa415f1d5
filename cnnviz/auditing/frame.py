"""FrameMaps: what a network looks at over a whole data set: mean maps, and shares in mask, centre and border."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from cnnviz.catalogue import load, proper_name
from cnnviz.core.picture import Picture
from cnnviz.core.sample import Geometry
from cnnviz.engine.batching import in_slices
from cnnviz.errors import PictureError, UsageError
from cnnviz.evaluation.statistics import Intervals, bootstrap
from cnnviz.evaluation.study.annotations import place
from cnnviz.results.heatmap import Heatmap

if TYPE_CHECKING:
    from cnnviz.auditing.outcomes import Outcomes
    from cnnviz.evaluation.study.annotations import Annotations
    from cnnviz.images.datasets.dataset import Dataset
    from cnnviz.method import Method
    from cnnviz.models.model import Model

__all__ = [
    "FRAME",
    "FrameMaps",
    "MapSource",
    "PLACES",
    "find_evidence",
    "map_method",
    "on_frame",
    "overlap",
    "spread_rows",
]

FRAME: Final = 40
"""Cells a side of the frame that pictures of all sizes are brought to."""

PLACES: Final = ("centre", "border", "mask")
"""Where shares of the evidence are counted: the middle quarter of the picture (half of each side), its outer edge (a
tenth of each side), and the object's mask."""

FROM: Final = 4
"""Pictures of a class from which it has a mean map."""


@dataclass(frozen=True, eq=False)
class FrameMaps:
    """Maps of the answered class over many pictures, on the pictures' own frame.

    Attributes:
        method: The method's name.
        rows: ``(M,)``: rows of the outcomes whose maps are counted.
        maps: ``(M, 40, 40)`` float16: of each picture its positive evidence, of sum 1.
        seen: ``(M, 40, 40)`` float16: how much of each cell the network sees.
        shares: ``(M, 3)``: the share of the evidence in the centre, at the border and in the mask; NaN without a mask.
        even: ``(M, 3)``: the same shares of evidence that lies evenly on all that the network sees.
        blank: How many maps have no positive value.
        spread: ``(M,)``: the maps that stand for the whole data set; the others are of mistakes besides.
    """

    method: str
    rows: NDArray[np.int64]
    maps: NDArray[np.float16] = field(repr=False)
    seen: NDArray[np.float16] = field(repr=False)
    shares: NDArray[np.float64] = field(repr=False)
    even: NDArray[np.float64] = field(repr=False)
    blank: int = 0
    spread: NDArray[np.bool_] | None = field(default=None, repr=False)

    @property
    def standing(self) -> NDArray[np.bool_]:
        """``(M,)``: the maps that stand for the whole data set."""
        return np.ones(len(self.rows), bool) if self.spread is None else self.spread

    def mean(self, which: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
        """``(40, 40)``: the mean map, 1 where it is as strong as evidence that lies evenly; NaN where nothing is seen.

        Args:
            which: ``(M,)``: the maps that are meant; default: all.
        """
        chosen = np.ones(len(self.rows), bool) if which is None else which
        seen = self.seen[chosen].astype(np.float64)
        total = seen.sum(axis=0)
        even = seen / np.maximum(seen.sum(axis=(1, 2), keepdims=True), 1e-12)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = self.maps[chosen].astype(np.float64).sum(axis=0) / even.sum(axis=0)
        return np.where(total > 0, found, np.nan).astype(np.float32)

    def intervals(self, which: NDArray[np.bool_] | None = None, seed: int = 0) -> Intervals:
        """``(3,)``: mean shares with bootstrap intervals over pictures.

        Args:
            which: ``(M,)``: the maps that are meant; default: all.
            seed: Of what is drawn.
        """
        return bootstrap(self.shares if which is None else self.shares[which], seed=seed)

    def even_shares(self, which: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """``(3,)``: the mean shares of evidence that lies evenly.

        Args:
            which: ``(M,)``: the maps that are meant; default: all.
        """
        held = self.even if which is None else self.even[which]
        some = np.isfinite(held)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(some, held, 0).sum(axis=0) / some.sum(axis=0))


def map_method(name: str) -> Method[Any, Any]:
    """A method that gives a map of each picture and target.

    Args:
        name: Its name.

    Raises:
        UnknownNameError: If there is none of that name.
        UsageError: If it gives no such maps.
    """
    method = load(name)
    if not {"model", "images", "target"} == set(method.needs) or not method.singly:
        raise UsageError(f"'{name}' gives no map of a class; an audit takes a method that does, such as gradcam.")
    return method


@dataclass(frozen=True)
class MapSource:
    """Maps of a method for the pictures of a data set.

    Attributes:
        model: The network.
        data: The pictures.
        method: The method's name.
        settings: Its settings.
    """

    model: Model
    data: Dataset
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def ask(self, items: Any, classes: Sequence[int]) -> Any:
        """The maps of some pictures or inputs, each of one class."""
        return map_method(self.method)(self.model, items, list(classes), **self.settings)


def find_evidence(
    request: MapSource, found: Outcomes, rows: NDArray[np.int64], annotations: Annotations | None
) -> FrameMaps | None:
    """Maps of the answered class of some pictures.

    Args:
        request: How maps are asked for.
        found: The outcomes.
        rows: Which of them.
        annotations: Where the objects are, where that is known.

    Returns:
        The evidence; None if not one map has a positive value.
    """
    counted = _Counted(annotations)

    def ask(some: slice) -> None:
        chosen, pictures = _read(request.data, found, rows[some])
        if not chosen:
            return
        classes = [int(found.predicted[row]) for row in chosen]
        for row, one in zip(chosen, request.ask(pictures, classes), strict=True):
            counted.add(row, int(found.images[row]), one)

    in_slices(len(rows), ask, size=found.block)
    return counted.evidence(request.method)


def _read(data: Dataset, found: Outcomes, rows: NDArray[np.int64]) -> tuple[list[int], list[Picture]]:
    chosen, pictures = [], []
    for row in rows.tolist():
        try:
            pictures.append(data.picture(int(found.images[row])))
        except PictureError:  # read a moment ago, and gone
            continue
        chosen.append(row)
    return chosen, pictures


class _Counted:
    def __init__(self, annotations: Annotations | None) -> None:
        self._annotations = annotations
        self._rows: list[int] = []
        self._held: list[tuple[NDArray[np.float16], NDArray[np.float16], list[float], list[float]]] = []
        self._blank = 0

    def add(self, row: int, image: int, one: Any) -> None:
        """Count a picture's map in."""
        values = np.nan_to_num(_input_map(one), nan=0.0).clip(min=0)
        if not values.sum() > 0:
            self._blank += 1
            return
        geometry = one.geometry
        mass, seen = on_frame(values, geometry), on_frame(np.ones_like(values), geometry)
        mass, seen = mass / mass.sum(), seen / (seen.max() or 1)
        shares = [float(mass[where].sum()) for where in _regions()]
        even = [float(seen[where].sum() / seen.sum()) for where in _regions()]
        annotation = None if self._annotations is None else place(self._annotations(image), geometry).mask
        shares.append(float(values[annotation].sum() / values.sum()) if annotation is not None else np.nan)
        even.append(float(annotation.mean()) if annotation is not None else np.nan)
        self._rows.append(row)
        self._held.append((mass.astype(np.float16), seen.astype(np.float16), shares, even))

    def evidence(self, method: str) -> FrameMaps | None:
        """All that was counted."""
        if not self._held:
            return None
        maps, seen, shares, even = zip(*self._held, strict=True)
        return FrameMaps(
            proper_name(method), np.array(self._rows, np.int64), np.stack(maps), np.stack(seen),
            np.array(shares), np.array(even), self._blank,
        )  # fmt: skip


def _input_map(one: Any) -> NDArray[np.float32]:
    """A map on the network's input, ``(H, W)``; of attributions the sum over channels."""
    if isinstance(one, Heatmap):
        return one.upsampled()
    values = np.asarray(one.values, dtype=np.float32)
    summed: NDArray[np.float32] = np.abs(values).sum(axis=0) if one.rectified else values.sum(axis=0)
    return summed


def _regions() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Centre and border of the frame."""
    quarter, tenth = FRAME // 4, FRAME // 10
    centre, border = np.zeros((FRAME, FRAME), bool), np.ones((FRAME, FRAME), bool)
    centre[quarter:-quarter, quarter:-quarter] = True
    border[tenth:-tenth, tenth:-tenth] = False
    return centre, border


def on_frame(values: NDArray[np.float32], geometry: Geometry) -> NDArray[np.float64]:
    """A map on the network's input summed into the cells of the picture's frame, ``(40, 40)``; what is padded is lost.

    Args:
        values: ``(H, W)``.
        geometry: How the input was cut from the picture.
    """
    left, top, right, bottom = geometry.box
    high, wide = geometry.original
    down = overlap(FRAME, float(high), (top, bottom), values.shape[0])
    across = overlap(FRAME, float(wide), (left, right), values.shape[1])
    return np.asarray(down @ values.astype(np.float64) @ across.T)


def overlap(cells: int, length: float, ends: tuple[float, float], pixels: int) -> NDArray[np.float64]:
    """``(cells, pixels)``: the share of each pixel of a cut that lies in each cell of the whole.

    Args:
        cells: How many cells the whole is divided into.
        length: Of the whole.
        ends: Where the cut begins and ends on it; may reach beyond it.
        pixels: How many pixels the cut has.
    """
    edges = np.linspace(0, length, cells + 1)
    marks = np.linspace(ends[0], ends[1], pixels + 1)
    lows = np.maximum(edges[:-1, None], marks[None, :-1])
    highs = np.minimum(edges[1:, None], marks[None, 1:])
    return np.asarray((highs - lows).clip(min=0) / ((ends[1] - ends[0]) / pixels))


def spread_rows(classes: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """At most so many rows, drawn at random and as evenly over the classes as their pictures allow; ascending.

    Args:
        classes: ``(N,)``.
        most: How many.
        seed: Of what is drawn.
    """
    order = np.random.default_rng(seed).permutation(len(classes))
    turn = np.empty(len(classes), np.int64)
    for rows in _rows_by_class(classes[order]):
        turn[rows] = np.arange(len(rows))
    return np.sort(order[np.argsort(turn, kind="stable")[:most]])


def _rows_by_class(classes: NDArray[np.int64]) -> Sequence[NDArray[np.int64]]:
    order = np.argsort(classes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(classes[order])) + 1)
