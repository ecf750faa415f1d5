"""Localisation: how well a map finds the object, as masks and boxes say where it is.

The object is that of the class that is explained. Pixels to be ignored are taken out of the map and out of the mask.
Where there are only boxes, the mask is what they cover; where there is only a mask, the boxes are those around its
connected parts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.region import component_boxes, otsu
from cnnviz.errors import ParameterError
from cnnviz.evaluation.metric import Case, check_maps, has_evidence

__all__ = [
    "at_best_thresholds",
    "iou",
    "iou_otsu",
    "mass",
    "max_box_acc",
    "max_box_acc_curve",
    "object_boxes",
    "object_mask",
    "pointing",
    "rank",
]

Maps: TypeAlias = NDArray[np.floating[Any]]
Values: TypeAlias = NDArray[np.float64]

TOLERANCE: Final = 15.0
OVERLAPS: Final = (0.3, 0.5, 0.7)
THRESHOLDS: Final = 100


def pointing(case: Case, maps: Maps, *, tolerance: float = TOLERANCE) -> Values:
    """Whether a map's maximum lies on the object, or less than 15 pixels from it: 1 or 0.

    Zhang et al. 2018 (excitation backprop), with the tolerance of its code and of TorchRay, here in pixels of the
    network's input. Higher is better; a random map has the share of the picture that is so near to the object. Of
    several equal maxima the share that hits, so that a constant map has that value too.

    Args:
        case: The picture and where its object is.
        maps: ``(M, H, W)``.
        tolerance: A hit is nearer than that; 0 for the object alone.

    Returns:
        ``(M,)``; NaN for a map without a positive value, and if nothing of the object is counted.
    """
    import cv2

    def judge(values: Values, inside: NDArray[np.bool_], counted: NDArray[np.bool_]) -> float:
        away = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        near = inside | (away < tolerance)
        return float(near[counted & (values == values[counted].max())].mean())

    return _judge_each(case, maps, judge)


def mass(case: Case, maps: Maps) -> Values:
    """The share of a map's positive values that lies on the object.

    Wang et al. 2020 (Score-CAM: the energy-based pointing game), Arras et al. 2022 (relevance mass). Higher is better;
    0 to 1; a random map has the share of the picture that the object covers, and a constant map exactly that.

    Args:
        case: The picture and where its object is.
        maps: ``(M, H, W)``.

    Returns:
        ``(M,)``; NaN for a map without a positive value, and if nothing of the object is counted.
    """

    def judge(values: Values, inside: NDArray[np.bool_], counted: NDArray[np.bool_]) -> float:
        kept = np.where(counted, np.maximum(values, 0), 0)
        return float(kept[inside].sum() / kept.sum())

    return _judge_each(case, maps, judge)


def rank(case: Case, maps: Maps) -> Values:
    """Of as many pixels of a map as the object has, the highest ones: the share that lies on the object.

    Arras et al. 2022 (relevance rank). Higher is better; 0 to 1; a random map has the share of the picture that the
    object covers. Where pixels of equal value compete for the last places, the mean over all ways to choose among them,
    so that a constant map has exactly that share.

    Args:
        case: The picture and where its object is.
        maps: ``(M, H, W)``.

    Returns:
        ``(M,)``; NaN for a map without a positive value, and if nothing of the object is counted.
    """

    def judge(values: Values, inside: NDArray[np.bool_], counted: NDArray[np.bool_]) -> float:
        size = np.count_nonzero(inside)
        last = np.sort(values[counted])[-size]
        higher, equal = values > last, (values == last) & counted
        places = size - np.count_nonzero(higher & counted)
        return float((np.count_nonzero(higher & inside) + places * equal[inside].sum() / equal.sum()) / size)

    return _judge_each(case, maps, judge)


def iou(case: Case, maps: Maps) -> Values:
    """Overlap (intersection over union) of the object and what lies above a map's best threshold.

    As in Cao et al. 2015 (feedback networks), but with each map's own best threshold, which no method could know: it
    says what the order of the pixels is worth. Higher is better; 0 to 1; a random map has about the share of the
    picture that the object covers, and a constant map exactly that. Equal values are above a threshold together.

    Args:
        case: The picture and where its object is.
        maps: ``(M, H, W)``.

    Returns:
        ``(M,)``; NaN for a map without a positive value, and if nothing of the object is counted.
    """

    def judge(values: Values, inside: NDArray[np.bool_], counted: NDArray[np.bool_]) -> float:
        line, right = values[counted], inside[counted]
        order = np.argsort(-line, kind="stable")
        line, hits = line[order], np.cumsum(right[order])
        whole = np.append(line[1:] < line[:-1], True)
        return float((hits / (np.arange(1, len(line) + 1) + hits[-1] - hits))[whole].max())

    return _judge_each(case, maps, judge)


def iou_otsu(case: Case, maps: Maps) -> Values:
    """Overlap (intersection over union) of the object and what lies above Otsu's threshold of a map.

    Otsu 1979, over the map's values without what is negative. Higher is better; 0 to 1; a random map has less than the
    share of the picture that the object covers. A constant map has no threshold: all of it is above, which gives
    exactly that share.

    Args:
        case: The picture and where its object is.
        maps: ``(M, H, W)``.

    Returns:
        ``(M,)``; NaN for a map without a positive value, and if nothing of the object is counted.
    """

    def judge(values: Values, inside: NDArray[np.bool_], counted: NDArray[np.bool_]) -> float:
        kept = np.maximum(values[counted], 0)
        found, right = kept > otsu(kept), inside[counted]
        return float(np.count_nonzero(found & right) / np.count_nonzero(found | right))

    return _judge_each(case, maps, judge)


def max_box_acc(case: Case, maps: Maps, *, thresholds: int = THRESHOLDS) -> Values:
    """MaxBoxAccV2 of one picture: whether a box made from the map finds a box of the object, at its best threshold.

    Choe et al. 2020. Higher is better; 0 to 1: the mean over three overlaps, 0.3, 0.5 and 0.7, that count as found. A
    random map has about that of a box of the whole picture, which is what a constant map marks at every threshold. In
    the paper the threshold is the best one of a whole data set: see :func:`at_best_thresholds`, which cannot be above
    the mean of these.

    Args:
        case: The picture and where its object is.
        maps: ``(M, H, W)``.
        thresholds: How many are tried, evenly from 0.

    Returns:
        ``(M,)``; NaN for a map without a positive value, and if there is no box.
    """
    return np.asarray(max_box_acc_curve(case, maps, thresholds=thresholds).max(axis=2).mean(axis=1))


def max_box_acc_curve(case: Case, maps: Maps, *, thresholds: int = THRESHOLDS) -> Values:
    """Whether each threshold's boxes find a box of the object, 1 or 0: ``(M, 3, thresholds)``, by overlap.

    Boxes are those around all connected parts of what is above the threshold, after the map was spread from 0 to 1;
    one of them must overlap one of the object's by at least 0.3, 0.5 and 0.7 (intersection over union). Pixels without
    a value are the least.
    """
    check_maps(case, maps)
    wanted = object_boxes(case)
    curves = np.full((len(maps), len(OVERLAPS), thresholds), np.nan)
    if not len(wanted):
        return curves
    for at in np.flatnonzero(has_evidence(maps)):
        values = maps[at].astype(np.float64)
        low, high = np.nanmin(values), np.nanmax(values)
        spread = np.nan_to_num((values - low) / (high - low), nan=-1.0) if high > low else np.ones(values.shape)
        overlaps = [_best_overlap(component_boxes(spread > part / thresholds), wanted) for part in range(thresholds)]
        curves[at] = np.array(overlaps) >= np.array(OVERLAPS)[:, None]
    return curves


def at_best_thresholds(curves: Values) -> Values:
    """MaxBoxAccV2 as its paper has it: what a picture adds to it, ``(N,)``; their mean is the metric.

    Args:
        curves: Of one method and all pictures of a data set, ``(N, 3, thresholds)`` of :func:`max_box_acc_curve`; NaN
            where undefined, which stays NaN and is not counted.

    Returns:
        For each picture the mean over the three overlaps, each at the threshold that finds most in the data set.
    """
    defined = ~np.isnan(curves).any(axis=(1, 2))
    if not defined.any():
        return np.full(len(curves), np.nan)
    best = curves[defined].mean(axis=0).argmax(axis=1)
    return np.asarray(curves[:, np.arange(len(best)), best].mean(axis=1))


def object_mask(case: Case) -> NDArray[np.bool_]:
    """Where the object is, ``(H, W)``: the case's mask, or what its boxes cover, without what is ignored.

    Raises:
        ParameterError: If the case has neither.
    """
    height, width = case.inputs.shape[2:]
    if case.mask is not None:
        found = case.mask.copy()
    elif case.boxes:
        rows, columns = np.arange(height)[:, None] + 0.5, np.arange(width) + 0.5
        found = np.zeros((height, width), dtype=bool)
        for left, top, right, bottom in case.boxes:
            found |= (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    else:
        raise ParameterError(f"Where the object of '{case.name}' is, nobody says: expected a mask or boxes.")
    return found if case.ignored is None else found & ~case.ignored


def object_boxes(case: Case) -> Values:
    """Boxes of the object, ``(K, 4)``: the case's, or those around the connected parts of its mask."""
    if case.boxes:
        return np.array(case.boxes, dtype=np.float64)
    return component_boxes(object_mask(case)).astype(np.float64)


def _judge_each(
    case: Case, maps: Maps, judge: Callable[[Values, NDArray[np.bool_], NDArray[np.bool_]], float]
) -> Values:
    """A number for every map that says something: ``(M,)``, else NaN.

    Args:
        case: The picture and where its object is.
        maps: ``(M, H, W)``.
        judge: Called with a map, minus infinity where it has no value, the object, and what is counted.
    """
    check_maps(case, maps)
    inside = object_mask(case)
    counted = np.ones(inside.shape, dtype=bool) if case.ignored is None else ~case.ignored
    found = np.full(len(maps), np.nan)
    if inside.any():
        for at in np.flatnonzero(has_evidence(np.where(counted, maps, np.nan))):
            values = maps[at].astype(np.float64)
            found[at] = judge(np.where(np.isnan(values), -np.inf, values), inside, counted)
    return found


def _best_overlap(boxes: NDArray[np.int64], wanted: Values) -> float:
    """The largest intersection over union of a found and a wanted box; 0 if none is found."""
    if not len(boxes):
        return 0.0
    low = np.maximum(boxes[:, None, :2], wanted[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], wanted[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    one, other = (np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (boxes, wanted))
    return float((shared / (one[:, None] + other[None] - shared)).max())
