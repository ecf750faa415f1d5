"""Detections: which box a target means, and its score on pictures that may have changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cnnviz.core.target import (
    ClassSum,
    ClassTarget,
    DetectionTarget,
    Difference,
    Finer,
    RegionTarget,
    Target,
    TopClass,
    detection_target,
    named_class,
)
from cnnviz.engine.capture import widen_half
from cnnviz.engine.detections import LABEL, NOTHING, SCORE
from cnnviz.errors import NowhereError, TargetError

__all__ = ["DETECTIONS", "join_answers", "score_match", "score_overlap", "settle_detection"]

NAMED, SMALLEST, DETECTIONS = 8, 1e-12, 3
UNTOLD = (ClassSum, Difference, Finer, RegionTarget)


def settle_detection(target: Target, detections: Tensor, labels: Sequence[str] | None) -> Target:
    """A target with the box that it means.

    Args:
        target: A class, the top class or a detection; others are left to be refused, or need no box.
        detections: Of one picture, encoded, ``(M, 6)``, the surest first.
        labels: Names of the classes, or None.

    Raises:
        TargetError: If there is no such detection, or its box has no area (NowhereErrors), or the target is none
            of a detector's.
    """
    if isinstance(target, UNTOLD):
        raise TargetError(
            f"'{target}' does not apply to detections; expected a class, 'LABEL #2' (its second box) or '#2'."
        )
    found = detection_target(target)
    if not isinstance(found, DetectionTarget) or found.box is not None:
        return found
    there = [row for row in detections.detach().double().tolist() if row[LABEL] != NOTHING]
    some = [row for row in there if isinstance(found.side, TopClass) or int(row[LABEL]) == found.side.index]
    if len(some) < found.number:
        listed = _name_detections(some or there, labels)
        what = f"There is no detection '{found.recorded}' on"
        raise NowhereError(f"{what} this picture; there {listed}.", what, f"there {listed}")
    row = some[found.number - 1]
    if not (row[0] < row[2] and row[1] < row[3]):
        what, others = (
            f"No box can overlap '{found.recorded}', which was cut off at the edge to no area, on",
            "name another",
        )
        raise NowhereError(f"{what} this picture; {others}.", what, others)
    side = named_class(int(row[LABEL]), labels)
    number = found.number
    if isinstance(found.side, TopClass):
        number = 1 + sum(int(other[LABEL]) == side.index for other in some[: found.number - 1])
    return replace(found, side=side, number=number, box=tuple(row[:LABEL]), probability=row[SCORE])


def _name_detections(rows: Sequence[Sequence[float]], labels: Sequence[str] | None) -> str:
    """The surest detections in words, with their numbers: ``"are dog #1 (98%) and 3 more"``."""
    if not rows:
        return "are none"
    said, counted = [], dict[int, int]()
    for row in rows[:NAMED]:
        index = int(row[LABEL])
        counted[index] = counted.get(index, 0) + 1
        said.append(f"{named_class(index, labels)} #{counted[index]} ({row[SCORE]:.1%})")
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return f"{'are' if len(rows) > 1 else 'is'} {', '.join(said)}{more}"


def score_match(target: DetectionTarget, detections: Tensor) -> Tensor:
    """Scores ``(n,)`` of the detections of its class that overlap its box most, times that overlap; 0 for none.

    The overlap has no gradient: what is explained is the score.

    Args:
        target: Settled.
        detections: Encoded, ``(n, M, 6)``.
    """
    overlaps, scores = _overlaps(target, detections)
    best = overlaps.argmax(dim=1, keepdim=True)
    return (overlaps.gather(1, best) * scores.gather(1, best))[:, 0]


def score_overlap(target: DetectionTarget, detections: Tensor) -> Tensor:
    """The largest product of overlap and score ``(n,)`` among the detections of its class.

    Reference: Petsiuk et al., Black-box Explanation of Object Detectors via Saliency Maps, CVPR 2021 (D-RISE).

    Args:
        target: Settled.
        detections: Encoded, ``(n, M, 6)``.
    """
    overlaps, scores = _overlaps(target, detections)
    return (overlaps * scores).amax(dim=1)


def _overlaps(target: DetectionTarget, detections: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union with the target's box, 0 for other classes, and scores, both ``(n, M)``."""
    if target.box is None or not isinstance(target.side, ClassTarget):
        raise TargetError(f"'{target}' cannot be scored before it is settled on a detector's answer.")
    detections = widen_half(detections)
    boxes = detections[..., :LABEL].detach().double()
    box = torch.tensor(target.box, dtype=torch.float64, device=boxes.device)
    corner, other = torch.maximum(boxes[..., :2], box[:2]), torch.minimum(boxes[..., 2:], box[2:])
    shared = (other - corner).clamp_min(0).prod(dim=-1)
    areas = (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(dim=-1) + (box[2:] - box[:2]).clamp_min(0).prod()
    overlaps = shared / (areas - shared).clamp_min(SMALLEST)
    overlaps = overlaps * (detections[..., LABEL].detach().round() == target.side.index)
    return overlaps.to(detections), detections[..., SCORE]


def join_answers(parts: Sequence[Tensor]) -> Tensor:
    """Logits, or encoded detections ``(n, M, 6)``, of several pictures as one tensor."""
    if parts[0].dim() != DETECTIONS:
        return torch.cat(list(parts))
    most = max(part.shape[1] for part in parts)
    padded = []
    for part in parts:
        rest = part.new_zeros(len(part), most - part.shape[1], part.shape[2])
        rest[..., LABEL] = NOTHING
        padded.append(torch.cat([part, rest], dim=1))
    return torch.cat(padded)
