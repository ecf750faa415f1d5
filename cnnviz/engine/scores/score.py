"""Targets on a network's answers: what they are settled to, each image's score, and probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cnnviz.core.aim import Direction, WholeLayer
from cnnviz.core.dimensions import is_dense, own_dims
from cnnviz.core.head import Head
from cnnviz.core.similar import Similar, SimilarPair
from cnnviz.core.target import (
    ClassSum,
    ClassTarget,
    CustomTarget,
    DetectionTarget,
    Difference,
    Finer,
    NoTarget,
    RegionTarget,
    Target,
    TopClass,
    Unit,
    check_indices,
    class_indices,
    named_class,
)
from cnnviz.engine.arrangement import to_maps
from cnnviz.engine.capture import Capture
from cnnviz.engine.logits import apply_function
from cnnviz.engine.scores.dense import mean_probability, settle_dense, sum_region
from cnnviz.engine.scores.detection import DETECTIONS, score_match, settle_detection
from cnnviz.engine.scores.similarity import cosines
from cnnviz.errors import ExplanationError, TargetError

__all__ = [
    "at_peaks",
    "check_labels",
    "class_probabilities",
    "is_detected",
    "roundings",
    "score",
    "score_region",
    "settle",
    "share_of",
    "wants_classes",
    "wants_logits",
    "watched_layers",
]

UNREAD = (Unit, NoTarget, WholeLayer, Direction)
"""Targets that look at no logit."""


def settle(
    targets: Sequence[Target], logits: Tensor, labels: Sequence[str] | None, head: Head | None = None
) -> list[Target]:
    """The targets with each image's top class filled in, checked against the number of classes.

    Of a dense answer the pixels are filled in too: those that the class wins, or those of the region that was named.

    Args:
        targets: A target for each image.
        logits: ``(N, K)``, dense ``(N, K, h, w)``, or encoded detections ``(N, M, 6)``.
        labels: The network's class names, or None.
        head: What the logits mean; None for classes that exclude each other.

    Raises:
        TargetError: If a class index is out of range, the labels are not as many as the classes, a class wins no pixel
            of a dense answer, or there is no such detection.
    """
    if not wants_logits(targets):
        return list(targets)
    classes = logits.shape[1]
    if is_detected(logits):
        return [settle_detection(target, logits[row], labels) for row, target in enumerate(targets)]
    if wants_classes(targets):
        check_labels(labels, classes)
    if is_dense(logits):
        return [settle_dense(target, logits[row].detach(), labels, head) for row, target in enumerate(targets)]
    best = logits.argmax(dim=1).tolist()
    settled: list[Target] = []
    for row, (target, top) in enumerate(zip(targets, best, strict=True)):
        if isinstance(target, Similar):
            settled.append(target)
            continue
        if isinstance(target, RegionTarget) and target.peak:
            raise TargetError(
                f"'{target}' is the peak of a heat map (N, points, h, w); this network gives {classes} numbers for the "
                "whole of a picture: name one of them by its index, or take others with logits=function."
            )
        if isinstance(target, (RegionTarget, DetectionTarget)):
            what = "a part of the picture" if isinstance(target, RegionTarget) else "a detection"
            raise TargetError(f"'{target}' asks about {what}; this network has one answer for the whole picture.")
        best_class = named_class(top, labels)
        found = best_class if isinstance(target, TopClass) else target
        if isinstance(found, Finer) and isinstance(found.first, TopClass):
            found = replace(found, first=best_class)
        check_indices(found, classes)
        if isinstance(found, Finer) and isinstance(found.first, ClassTarget) and found.others is None:
            others = _nearest_classes(found, found.first.index, logits[row, None].detach())[0].tolist()
            found = replace(found, others=tuple(others))
        settled.append(found)
    return settled


def check_labels(labels: Sequence[str] | None, classes: int) -> None:
    """Refuse labels that are not as many as the classes, with a TargetError."""
    if labels is not None and len(labels) != classes:
        raise TargetError(f"The network has {classes} classes but {len(labels)} labels were given.")


def is_detected(logits: Tensor) -> bool:
    """Whether there are encoded detections, ``(N, M, 6)``, and no logits."""
    return logits.dim() == DETECTIONS


def wants_logits(targets: Sequence[Target]) -> bool:
    """Whether any of the targets is about logits; units of a layer are not, nor are its embeddings."""
    return not all(isinstance(target, UNREAD) or _watches(target) for target in targets)


def wants_classes(targets: Sequence[Target]) -> bool:
    """Whether any of the targets is about classes, and so about what the logits mean; likeness is not."""
    return not all(isinstance(target, (*UNREAD, Similar, SimilarPair)) for target in targets)


def _watches(target: Target) -> bool:
    """Whether a target looks at a layer, and at the answer of the whole network only by that."""
    return isinstance(target, (Unit, Similar)) and target.layer is not None


def watched_layers(targets: Sequence[Target]) -> list[str]:
    """Names of the layers that targets look at: those of units and of embeddings."""
    return sorted({target.layer for target in targets if isinstance(target, (Unit, Similar)) and target.layer})


def score(targets: Sequence[Target], logits: Tensor, captured: Capture | None = None) -> Tensor:
    """Each image's score ``(N,)`` of its own target, connected to the logits.

    Args:
        targets: A settled target for each image.
        logits: ``(N, K)``.
        captured: The capture that watches the layers of unit targets.

    Raises:
        TargetError: If a unit's channel or place is out of range, or a function fails or returns another shape.
        ExplanationError: If a unit's layer was not watched, or has no channels.
    """
    groups: dict[Target, list[int]] = {}
    for row, target in enumerate(targets):
        groups.setdefault(target, []).append(row)
    scores = [(rows, _score_target(target, logits, rows, captured)) for target, rows in groups.items()]
    order = [row for rows, _ in scores for row in rows]
    joined = torch.cat([values for _, values in scores])
    return joined if order == sorted(order) else joined[torch.tensor(order, device=joined.device).argsort()]


def at_peaks(targets: Sequence[Target], captured: Capture) -> list[Target]:
    """The targets, with units that name no place at the place where each image's map is largest, the first of equals.

    Args:
        targets: A target for each image.
        captured: The capture that watches the layers of unit targets.

    Raises:
        TargetError: If a unit's channel is out of range.
        ExplanationError: If a unit's layer was not watched, or has no channels.
    """
    placed: list[Target] = []
    for row, target in enumerate(targets):
        if isinstance(target, Unit) and target.place is None:
            one = _unit_maps(target, captured)[row, target.channel]
            placed.append(replace(target, place=_largest_place(one)))
        else:
            placed.append(target)
    return placed


def _largest_place(one: Tensor) -> tuple[int, ...]:
    """Where a unit's map is largest, the first of equals."""
    return tuple(int(along) for along in torch.unravel_index(one.argmax(), one.shape))


def _score_target(target: Target, logits: Tensor, rows: list[int], captured: Capture | None) -> Tensor:
    match target:
        case ClassTarget() | ClassSum() | Difference():
            return _score_classes(target, logits[rows])
        case NoTarget():
            return logits.new_full((len(rows),), torch.nan)
        case Finer(first=ClassTarget(index=index)):
            return _score_finer(target, index, logits[rows])
        case Unit() | Similar():
            every = _score_unit(target, captured) if isinstance(target, Unit) else cosines(target, logits, captured)
            return every[rows]
        case RegionTarget() | DetectionTarget():
            return _score_place(target, logits[rows])
        case CustomTarget():
            return _score_custom(target, logits[rows])
    raise TargetError(f"'{target}' cannot be scored before it is settled.")


def _score_place(target: RegionTarget | DetectionTarget, logits: Tensor) -> Tensor:
    if isinstance(target, DetectionTarget) is not is_detected(logits):
        raise TargetError(f"'{target}' cannot be scored on an answer of shape {tuple(logits.shape)}.")
    return sum_region(target, logits) if isinstance(target, RegionTarget) else score_match(target, logits)


def _score_classes(target: ClassTarget | ClassSum | Difference, logits: Tensor) -> Tensor:
    if isinstance(target, Difference):
        return logits[:, target.first.index] - logits[:, target.second.index]
    if isinstance(target, ClassSum):
        return logits[:, [each.index for each in target.classes]].sum(dim=1)
    return logits[:, target.index]


def _score_finer(target: Finer, index: int, logits: Tensor) -> Tensor:
    """Class logit less the mean of the others', ``(n,)``; the choice of the others has no gradient."""
    own = logits[:, index]
    if target.others is not None:
        nearest = torch.tensor([target.others], device=logits.device).expand(len(logits), -1)
    else:
        nearest = _nearest_classes(target, index, logits.detach())
    return own - target.strength * logits.gather(1, nearest).mean(dim=1) if nearest.shape[1] else own


def _nearest_classes(target: Finer, index: int, logits: Tensor) -> Tensor:
    """Indices ``(n, rivals)`` of the classes whose logits are nearest to the class's own."""
    distance = (logits - logits[:, index, None]).abs()
    distance[:, index] = torch.inf
    return distance.topk(min(target.rivals, logits.shape[1] - 1), dim=1, largest=False).indices


def _score_custom(target: CustomTarget, logits: Tensor) -> Tensor:
    values = apply_function(
        target.function, logits, lambda failure: TargetError(f"The target function '{target}' failed: {failure}.")
    )
    if not isinstance(values, Tensor) or values.shape != logits.shape[:1]:
        got = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise TargetError(
            f"The target function '{target}' must return a score for each image, shape ({len(logits)},); got {got}."
        )
    if not values.is_floating_point() or values.layout != torch.strided:
        kind = str(values.dtype).removeprefix("torch.") if values.layout == torch.strided else "a sparse tensor"
        raise TargetError(
            f"The target function '{target}' must return scores that are floating-point numbers, which have gradients; "
            f"got {kind}."
        )
    return values.to(torch.promote_types(values.dtype, logits.dtype))


def _unit_maps(target: Unit, captured: Capture | None) -> Tensor:
    """The maps ``(N, C, h, w)`` of a unit's layer, which has that unit; a vector's numbers have one place."""
    if captured is None or target.layer not in captured.watched:
        raise ExplanationError(f"Layer '{target.layer}' was not watched, so its units have no score here.")
    output = captured.watched[target.layer]
    arrangement = captured.watched_arrangements[target.layer]
    if arrangement is None and output.dim() != 2:
        raise ExplanationError(f"Layer '{target.layer}' has no channels: its output is {tuple(output.shape[1:])}.")
    maps = to_maps(output, arrangement) if arrangement else output[:, :, None]
    channels = maps.shape[1]
    if not 0 <= target.channel < channels:
        raise TargetError(f"Layer '{target.layer}' has channels 0 to {channels - 1}; there is no {target.channel}.")
    return maps


def _score_unit(target: Unit, captured: Capture | None) -> Tensor:
    maps = _unit_maps(target, captured)
    place, grid, held = target.place, maps.shape[2:], maps[:, target.channel]
    if place is None:
        return held.mean(dim=own_dims(held))
    if len(place) != len(grid) or not all(0 <= at < length for at, length in zip(place, grid, strict=True)):
        sides, asked = "x".join(map(str, grid)), ",".join(map(str, place))
        raise TargetError(f"Layer '{target.layer}' has {sides} places; there is none at {asked}.")
    *before, last = place
    for at in (*before, grid[-1] - 1 - last if target.mirrored else last):
        held = held[:, at]
    return held


def class_probabilities(logits: Tensor, head: Head) -> Tensor:
    """The classes' probabilities ``(N, K)`` as a head reads them off its logits; of a head of values these.

    Args:
        logits: ``(N, K)``.
        head: What they mean.
    """
    if not head.probable or head.kind == "probabilities":
        return logits
    independent = not head.exclusive or head.kind == "binary" or logits.shape[1] == 1
    return logits.sigmoid() if independent else logits.softmax(dim=1)


def share_of(target: Target, shares: Tensor, head: Head) -> float | None:
    """The probability of a target's class, or of one of its classes; of a region the mean over it; None if none.

    Args:
        target: Settled.
        shares: The classes' probabilities ``(K,)``, or dense ``(K, h, w)``.
        head: What the logits mean.
    """
    if isinstance(target, ClassTarget) and head.probable:
        return float(shares[target.index])
    if isinstance(target, DetectionTarget):
        return target.probability
    if isinstance(target, ClassSum) and head.exclusive:
        return float(shares[[each.index for each in target.classes]].sum())
    if isinstance(target, RegionTarget) and head.probable and target.rival is None:
        return float(mean_probability(target, shares[None])) if head.exclusive or len(target.classes) == 1 else None
    return None


def score_region(target: RegionTarget, logits: Tensor, kind: str, head: Head) -> Tensor:
    """Scores ``(n,)`` of a region: the sum of logits or values, the mean of probabilities, or the logarithm of that.

    Args:
        target: Settled.
        logits: Dense, ``(n, K, h, w)``.
        kind: ``"logit"``, ``"probability"`` or ``"log-probability"``.
        head: What the logits mean.
    """
    if kind == "logit" or not head.probable:
        return sum_region(target, logits)
    shares = class_probabilities(logits, head)
    tiny = torch.finfo(shares.dtype).tiny
    if kind == "log-probability" and target.rival is not None:
        return mean_probability(target, shares.clamp_min(tiny).log())
    found = mean_probability(target, shares)
    return found if kind == "probability" else found.clamp_min(tiny).log()


def roundings(
    targets: Sequence[Target],
    logits: Tensor,
    scores: Tensor,
    kind: str,
    types: tuple[torch.dtype, torch.dtype],
    *,
    head: Head,
) -> list[float]:
    """How far apart two scores may be by rounding alone, for each target.

    A logit is known to one unit in the last place of the largest, and what is read from it to what follows from that:
    a probability ``p`` to ``p (1 - p)`` times it, its logarithm to ``1 - p`` times it; besides, each to its own last
    place.

    Args:
        targets: Settled targets.
        logits: ``(n, K)``.
        scores: ``(n,)``, of targets that are made of no class.
        kind: ``"logit"``, ``"probability"`` or ``"log-probability"``; of classes and their differences alone.
        types: What the network computed in, and what scores were read in.
        head: What the logits mean.
    """
    computed, read = types
    plain = kind == "logit" or not head.probable or head.kind == "probabilities"
    found = []
    shares = class_probabilities(logits.detach().double(), head)
    for row, target in enumerate(targets):
        step = torch.finfo(computed).eps * float(logits[row].detach().abs().max())
        if isinstance(target, DetectionTarget):
            found.append(2 * torch.finfo(computed).eps)
            continue
        if isinstance(target, RegionTarget):
            found.append(2 * step * (target.count if plain else 1))
            continue
        if isinstance(target, Similar):
            numbers = max((len(each.vector) for each in target.references), default=1)
            found.append(2 * len(target.sides) * math.sqrt(numbers) * torch.finfo(computed).eps)
            continue
        chosen = shares[row, class_indices(target)]
        if not len(chosen):
            found.append(2 * torch.finfo(computed).eps * abs(float(scores[row])))
        elif plain or not isinstance(target, (ClassTarget, Difference)):
            found.append(2 * step)
        else:
            probable = kind == "probability"
            slope, own = (chosen, chosen) if probable else (1, chosen.clamp_min(torch.finfo(chosen.dtype).tiny).log())
            found.append(2 * float((slope * (1 - chosen)).sum() * step + own.abs().sum() * torch.finfo(read).eps))
    return found
