"""What a detector finds: boxes with classes and scores, in whatever form a network returns them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from cnnviz.engine.capture import widen_half
from cnnviz.engine.logits import OutputSelector, apply_function, sketch_output
from cnnviz.errors import ExplanationError, ParameterError

__all__ = [
    "LABEL",
    "NOTHING",
    "SCORE",
    "Detected",
    "DetectionReader",
    "check_reader",
    "encode_detections",
    "find_detections",
]

DetectionReader: TypeAlias = Callable[[Any], Any]
"""From a network's output to boxes, scores and labels: a mapping of batched tensors, or one for each image."""

LABEL, SCORE, NOTHING = 4, 5, -1
"""Where the label and the score stand in an encoded detection, after its box; the label of one that is none."""

CANDIDATES, KEPT, OVERLAP = 1000, 100, 0.5
"""How many of a network's candidates are suppressed, how many of these are kept, and at which overlap (IoU)."""

WANTED = ("boxes", "scores")
FORM = (
    "expected for each image boxes (M, 4), which are left, top, right and bottom in pixels of the input, with scores "
    "(M,) in [0, 1] and labels (M,), or with scores (M, K) of all classes before suppression"
)

UNSOUND = "The boxes or scores of detections are not finite: the network's weights or its input hold NaN or infinity."


@dataclass(frozen=True)
class Detected:
    """What was found on one picture, the surest first.

    Attributes:
        boxes: ``(M, 4)``: left, top, right and bottom in pixels of the network's input.
        scores: ``(M,)`` in [0, 1], connected to the network.
        labels: ``(M,)`` int64.
        masks: ``(M, h, w)``: how surely each pixel belongs to it, in [0, 1]; None where the network says nothing.
        points: ``(M, P, 2)`` or ``(M, P, 3)``: x, y and, where there is a third, whether it is seen; or None.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor | None = None
    points: Tensor | None = None


def find_detections(output: Any, reader: DetectionReader | None, count: int) -> list[Detected] | None:
    """The detections in a network's output, for each image; None if it holds none and no reader says otherwise.

    Args:
        output: What the network returned. A list of a mapping with ``boxes``, ``scores`` and ``labels`` for each image,
            as torchvision's detectors return it, is understood without a reader.
        reader: Reads them where they have another form.
        count: How many images the network was given.

    Raises:
        ExplanationError: If the reader fails or returns anything else.
    """
    found = output if reader is None else _read(reader, output)
    if reader is not None and isinstance(found, Mapping):
        found = _split_batch(found, count)
    whole = isinstance(found, (list, tuple)) and len(found) == count and all(map(_holds_boxes, found))
    if not whole and reader is None:
        return None
    if not whole:
        raise ExplanationError(f"The detections function returned {sketch_output(found)}; {FORM}.")
    checked = [_check_image(each) for each in found]
    for one in checked:
        _check_values(one)
    return checked


def encode_detections(found: Sequence[Detected]) -> Tensor:
    """Detections as one tensor ``(N, M, 6)``: box, label and score; where there are fewer, of label -1 and score 0.

    It is of at least float32, since half the digits hold neither the edges of boxes nor the labels of many classes.
    """
    rows = [
        torch.cat([one.boxes.detach().to(scores), one.labels.to(scores)[:, None], scores[:, None]], dim=1)
        for one, scores in ((one, widen_half(one.scores)) for one in found)
    ]
    least = torch.tensor([[0.0] * LABEL + [NOTHING, 0.0]], dtype=rows[0].dtype, device=rows[0].device)
    padded = pad_sequence([torch.cat([row, least]) for row in rows], batch_first=True)
    missing = torch.arange(padded.shape[1], device=padded.device) >= torch.tensor(
        [[len(row)] for row in rows], device=padded.device
    )
    return torch.where(missing[..., None], least[0], padded)


def _read(reader: DetectionReader, output: Any) -> Any:
    what = "The detections function failed on"
    return apply_function(
        reader, output, lambda failure: ExplanationError(f"{what} {sketch_output(output)}: {failure}.")
    )


def _holds_boxes(one: Any) -> bool:
    if not isinstance(one, Mapping) or not all(isinstance(one.get(name), Tensor) for name in WANTED):
        return False
    return isinstance(one.get("labels"), Tensor) or one["scores"].dim() > 1


def _split_batch(found: Mapping[str, Any], count: int) -> Any:
    """Batched tensors as a mapping for each image; what is none as it is."""
    held = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    if not all(value.dim() > 1 and len(value) == count for value in held.values()):
        return found
    return [{name: value[row] for name, value in held.items()} for row in range(count)]


def _check_image(one: Mapping[str, Tensor]) -> Detected:
    boxes, scores, labels = one["boxes"], one["scores"], one.get("labels")
    kinds = boxes.is_floating_point() and scores.is_floating_point()
    fits = boxes.dim() > 1 and boxes.shape[1:] == (LABEL,) and len(boxes) == len(scores) and kinds
    if labels is not None and scores.dim() == 1:
        fits &= labels.shape == scores.shape and not labels.is_floating_point()
    if not fits or scores.dim() not in (1, 2):
        raise ExplanationError(f"The detections hold {sketch_output(dict(one))}; {FORM}.")
    known = scores.detach()
    if not bool(known.isfinite().all()):
        raise ExplanationError(UNSOUND)
    if len(known) and not bool(((known >= 0) & (known <= 1)).all()):
        low, high = float(known.min()), float(known.max())
        raise ExplanationError(f"The scores of detections lie in [0, 1]; these reach from {low:.3g} to {high:.3g}.")
    if scores.dim() > 1:
        return _suppress(boxes, scores)
    assert labels is not None
    masks = one.get("masks")
    found = Detected(boxes, scores, labels.long(), masks, one.get("keypoints"))
    return _take(found, scores.detach().sort(descending=True, stable=True).indices)


def _check_values(found: Detected) -> None:
    boxes = found.boxes.detach()
    if not bool(boxes.isfinite().all()):
        raise ExplanationError(UNSOUND)
    turned = int((boxes[:, 2:] < boxes[:, :2]).any(dim=1).sum())
    if turned:
        raise ExplanationError(
            f"{turned} of {len(boxes)} boxes end left of where they begin, or above; expected left, top, right and "
            "bottom, and not x, y, width and height."
        )
    if len(found.labels) and int(found.labels.min()) < 0:
        raise ExplanationError(f"Labels of detections are counted from 0; there is {int(found.labels.min())}.")


def _suppress(boxes: Tensor, scores: Tensor) -> Detected:
    """Of candidates with scores ``(M, K)`` of all classes those that no surer one of the same class overlaps."""
    from torchvision.ops import batched_nms

    best = scores.detach().flatten().sort(descending=True, stable=True).indices[:CANDIDATES]
    rows, labels = best // scores.shape[1], best % scores.shape[1]
    chosen = Detected(boxes[rows], scores[rows, labels], labels)
    kept = batched_nms(chosen.boxes.detach().float(), chosen.scores.detach().float(), labels, OVERLAP)
    return _take(chosen, kept[:KEPT])


def _take(found: Detected, rows: Tensor) -> Detected:
    masks, points = (None if each is None else each[rows] for each in (found.masks, found.points))
    if masks is not None and masks.dim() > 3:  # torchvision's have a channel
        masks = masks[:, 0]
    return Detected(found.boxes[rows], found.scores[rows], found.labels[rows], masks, points)


def check_reader(detections: DetectionReader | None, logits: OutputSelector) -> DetectionReader | None:
    """A user's reader of boxes, or None.

    Raises:
        ParameterError: If it cannot be called, or the place of logits is given too.
    """
    if detections is not None and not callable(detections):
        raise ParameterError(f"detections is {detections!r}; expected a function from the network's output to boxes.")
    if detections is not None and logits is not None:
        raise ParameterError("logits names class scores, detections reads boxes: give one of them.")
    return detections
