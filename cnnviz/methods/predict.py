"""What a network answers: the most probable classes of every picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from annotated_types import Ge, Le

from cnnviz.method import method

if TYPE_CHECKING:
    from torch import Tensor

    from cnnviz.core.target import Target
    from cnnviz.engine.batching import Chunks
    from cnnviz.engine.detections import Detected
    from cnnviz.images.reading import ImagesLike
    from cnnviz.methods.prepare import InputBatch
    from cnnviz.models.model import Model
    from cnnviz.results.detections import Detection, Detections
    from cnnviz.results.predictions import Prediction, Predictions, Segmentations

__all__ = ["predict"]

EVEN_CHANCE = 0.5
"""Above it a label of several that can be right is listed."""


@method
def predict(
    model: Model,
    images: ImagesLike,
    *,
    k: Annotated[int, Ge(1)] = 5,
    threshold: Annotated[float, Ge(0), Le(1)] = 0.5,
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Predictions | Segmentations | Detections:
    """The network's predictions: classes with probabilities, segmented areas or detected boxes.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        k: Number of classes listed; of independent labels all above 0.5 (at least one), of regressions all values.
        threshold: Detectors: lowest score of a listed box.
        batch_size: Batch size (images); halved automatically if memory runs out.

    Returns:
        For each picture its ``k`` first classes with logit and probability, and all logits; of a network with a class
        for every pixel ``Segmentations``: the classes that win pixels, with their areas; of one with values for every
        pixel (heat maps of points, say) the largest of each, and where on the picture that is; of a detector
        ``Detections``: its boxes, each with a name that is a target.

    Raises:
        TargetError: If there are not as many labels as classes.
    """
    import torch

    from cnnviz.core.dimensions import is_dense
    from cnnviz.core.target import TopClass
    from cnnviz.engine.scores.score import settle
    from cnnviz.methods.ask import ask, unsound
    from cnnviz.methods.prepare import prepare, provenance_of
    from cnnviz.results.predictions import Predictions

    batch = prepare(model, images)

    def answer(
        inputs: Tensor, targets: Sequence[Target]
    ) -> Tensor | _Winners | _Peaks | list[tuple[list[Detection], int]]:
        with torch.no_grad():
            found = model.respond(inputs)
        if not isinstance(found, torch.Tensor):
            return [_list_boxes(one, model, threshold) for one in found[: len(targets)]]
        logits = found[: len(targets)]
        if is_dense(logits):
            return _find_winners(logits, model, targets) if model.head.probable else _find_peaks(logits, targets)
        return logits.double().cpu()

    chunks = ask(model, batch, answer, batch_size=batch_size)
    if isinstance(chunks.results[0], _Winners):
        return _describe_areas(model, batch, chunks)
    if isinstance(chunks.results[0], list):
        return _describe_boxes(model, batch, chunks, threshold)
    peaks = [each for each in chunks.results if isinstance(each, _Peaks)]
    values = [each.values for each in peaks] or [each for each in chunks.results if isinstance(each, torch.Tensor)]
    logits = torch.cat(values)
    settle([TopClass()] * len(logits), logits, model.labels, model.head)
    best = tuple(_rank_classes(row, model, k) for row in logits)
    best = _with_places(best, torch.cat([each.places for each in peaks]), batch) if peaks else best
    assumed = () if model.known_classes else model.head.assumed
    return Predictions(
        best,
        logits.float().numpy(),
        batch.pictures,
        (*unsound(logits.sum(dim=1).tolist(), batch), *batch.checks, *model.head.notes, *assumed, *chunks.checks),
        provenance_of(model, batch, chunk=chunks.size),
    )


def _rank_classes(logits: Tensor, model: Model, k: int) -> tuple[Prediction, ...]:
    from cnnviz.core.target import named_class
    from cnnviz.engine.scores.score import class_probabilities
    from cnnviz.results.predictions import Prediction

    head, labels = model.head, model.labels
    shares = class_probabilities(logits[None], head)[0]
    order = logits.sort(descending=True, stable=True).indices.tolist() if head.probable else range(len(logits))
    if head.multilabel:
        k = max(1, int((shares > EVEN_CHANCE).sum()))
    elif not head.probable:
        k = len(logits)
    return tuple(
        Prediction(
            named_class(index, labels),
            float(logits[index]),
            float(shares[index]) if head.probable else None,
            None if head.probable else head.unit,
        )
        for index in order[:k]
    )


class _Peaks(NamedTuple):
    """The largest value of each heat map ``(n, K)``, and where in it that is, as shares of its height and width."""

    values: Tensor
    places: Tensor


def _find_peaks(logits: Tensor, targets: Sequence[Target]) -> _Peaks:
    import torch

    from cnnviz.engine.scores.dense import on_picture

    rows, columns = int(logits.shape[2]), int(logits.shape[3])
    shown = torch.stack([on_picture(target, (rows, columns)) for target in targets]).to(logits.device)
    values, at = logits.double().masked_fill(~shown[:, None], -torch.inf).flatten(2).max(dim=2)
    places = torch.stack([(at // columns + 0.5) / rows, (at % columns + 0.5) / columns], dim=2)
    return _Peaks(values.cpu(), places.cpu())


def _with_places(
    best: tuple[tuple[Prediction, ...], ...], places: Tensor, batch: InputBatch
) -> tuple[tuple[Prediction, ...], ...]:
    """The predictions with the places ``(N, K, 2)`` of their peaks on the pictures."""
    from dataclasses import replace

    def place(row: int, index: int) -> tuple[int, int]:
        picture = batch.pictures[row]
        left, top, right, bottom = (picture.cut).box
        down, across = places[row, index].tolist()
        return int(left + across * (right - left)), int(top + down * (bottom - top))

    return tuple(
        tuple(replace(one, place=place(row, one.target.index)) for one in some) for row, some in enumerate(best)
    )


class _Winners(NamedTuple):
    """The classes of some pictures' pixels, without those that show nothing of the picture.

    Attributes:
        won: Which classes win each pixel, ``(n, K, h, w)``.
        probabilities: Each one's mean probability there, ``(n, K)``.
        shown: How many pixels show the picture, ``(n,)``.
        sums: Sums of all logits.
    """

    won: Tensor
    probabilities: Tensor
    shown: Tensor
    sums: list[float]


def _find_winners(logits: Tensor, model: Model, targets: Sequence[Target]) -> _Winners:
    import torch

    from cnnviz.engine.scores.dense import on_picture, winners
    from cnnviz.engine.scores.score import check_labels, class_probabilities

    check_labels(model.labels, logits.shape[1])
    grid = int(logits.shape[2]), int(logits.shape[3])
    shown = torch.stack([on_picture(target, grid) for target in targets])
    won = torch.stack([winners(each, model.head) for each in logits]) & shown[:, None].to(logits.device)
    shares = class_probabilities(logits.double(), model.head)
    means = (shares * won).sum(dim=(2, 3)) / won.sum(dim=(2, 3)).clamp_min(1)
    return _Winners(won.cpu(), means.cpu(), shown.sum(dim=(1, 2)), logits.double().sum(dim=(1, 2, 3)).tolist())


def _describe_areas(model: Model, batch: InputBatch, chunks: Chunks[Any]) -> Segmentations:
    import torch

    from cnnviz.core.target import named_class
    from cnnviz.methods.ask import unsound
    from cnnviz.methods.prepare import provenance_of
    from cnnviz.results.predictions import ClassArea, Segmentations

    won, means, shown = (torch.cat([each[place] for each in chunks.results]) for place in range(3))
    sums = [total for each in chunks.results for total in each.sums]
    counts, labels = won.sum(dim=(2, 3)), model.labels
    areas = tuple(
        tuple(
            ClassArea(
                named_class(index, labels),
                int(counts[row, index]) / int(shown[row]),
                int(counts[row, index]),
                float(means[row, index]),
            )
            for index in counts[row].sort(descending=True, stable=True).indices.tolist()
            if counts[row, index]
        )
        for row in range(len(won))
    )
    assumed = () if model.known_classes else model.head.assumed
    checks = (*unsound(sums, batch), *batch.checks, *model.head.notes, *assumed, *chunks.checks)
    return Segmentations(
        areas, won.numpy(), batch.pictures, model.name, checks, provenance_of(model, batch, chunk=chunks.size),
        labels=model.labels,
    )  # fmt: skip


def _list_boxes(found: Detected, model: Model, threshold: float) -> tuple[list[Detection], int]:
    """The boxes of one input with its pixels as units, and how many others there are."""
    from collections import Counter

    from cnnviz.core.target import DetectionTarget, named_class
    from cnnviz.results.detections import BELONGS, Detection

    numbers: Counter[int] = Counter()
    listed = []
    for row, (index, score) in enumerate(zip(found.labels.tolist(), found.scores.tolist(), strict=True)):
        if score < threshold:
            break
        numbers[index] += 1
        left, top, right, bottom = (float(edge) for edge in found.boxes[row].tolist())
        target = DetectionTarget(named_class(index, model.labels), numbers[index], (left, top, right, bottom), score)
        mask = None if found.masks is None else (found.masks[row] > BELONGS).cpu().numpy()
        points = None if found.points is None else found.points[row, :, :2].double().cpu().numpy()
        listed.append(Detection(target, (left, top, right, bottom), score, mask, points))
    return listed, len(found.scores) - len(listed)


def _describe_boxes(model: Model, batch: InputBatch, chunks: Chunks[Any], threshold: float) -> Detections:
    from dataclasses import replace

    from cnnviz.methods.prepare import provenance_of
    from cnnviz.results.detections import Detections

    rows = [one for each in chunks.results for one in each]
    found = []
    for picture, (listed, _) in zip(batch.pictures, rows, strict=True):
        geometry = picture.cut
        found.append(
            tuple(
                replace(
                    one,
                    target=one.target.settled_for(picture),
                    box=geometry.on_picture(one.box),
                    points=None if one.points is None else geometry.points_on_picture(one.points),
                )
                for one in listed
            )
        )
    checks = (*batch.checks, *chunks.checks)
    below = tuple(count for _, count in rows)
    provenance = provenance_of(model, batch, chunk=chunks.size)
    return Detections(tuple(found), batch.pictures, model.name, threshold, below, checks, provenance)
