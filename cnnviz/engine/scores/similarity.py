"""Embeddings, and their cosines to those of other pictures."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnviz.core.dimensions import is_dense, place_dims
from cnnviz.core.layer import Arrangement
from cnnviz.core.similar import Similar
from cnnviz.engine.arrangement import to_maps
from cnnviz.engine.capture import Capture, widen_half
from cnnviz.engine.scores.detection import DETECTIONS
from cnnviz.errors import ExplanationError, TargetError

__all__ = ["cosines", "embedding_of"]

VECTORS = 2


def embedding_of(layer: str | None, logits: Tensor, captured: Capture | None) -> tuple[Tensor, bool]:
    """The embeddings ``(N, M)``, and whether they are means over places.

    Args:
        layer: The layer whose output it is; None for the network's output.
        logits: The network's output, ``(N, M)`` or dense ``(N, M, h, w)``.
        captured: The capture that watches the layer.

    Raises:
        ExplanationError: If the layer was not watched, or has no channels.
    """
    output, arrangement = logits, None
    if layer is not None:
        if captured is None or layer not in captured.watched:
            raise ExplanationError(f"Layer '{layer}' was not watched, so there is no embedding here.")
        output, arrangement = captured.watched[layer], captured.watched_arrangements[layer]
    elif is_dense(logits):
        arrangement = Arrangement.of_maps(tuple(logits.shape[1:]))
    if arrangement is not None:
        maps = to_maps(output, arrangement)
        return maps.mean(dim=place_dims(maps)), arrangement.spatial
    if layer is None and output.dim() == DETECTIONS:
        raise ExplanationError(
            "A detector's boxes are no embedding; --embedding LAYER (Model(..., embedding=LAYER)) takes a layer's."
        )
    if output.dim() != VECTORS or not output.is_floating_point():
        what = "The network" if layer is None else f"Layer '{layer}'"
        advice = "; --embedding LAYER takes a layer's" if layer is None else ""
        raise ExplanationError(
            f"{what} gives no embedding: its output is {tuple(output.shape[1:])} for each image, where channels are "
            f"expected, (C), (C, h, w) or tokens on a grid{advice}."
        )
    return output, False


def cosines(target: Similar, logits: Tensor, captured: Capture | None) -> Tensor:
    """Cosines ``(N,)`` to the target's picture, less those to the other if there is one; 0 of an embedding of zeros.

    They are computed in double precision where the device has it, and given in at least float32.

    Args:
        target: Its references known.
        logits: The network's output.
        captured: The capture that watches the target's layer.

    Raises:
        TargetError: If the references are not known, or of another length than the embeddings.
        ExplanationError: If the layer was not watched, or has no channels.
    """
    found, _ = embedding_of(target.layer, logits, captured)
    if not target.references:
        raise TargetError(f"'{target}' cannot be scored before its picture was shown to the network; ask a method.")
    known = len(target.references[0].vector)
    if found.shape[1] != known:
        raise TargetError(f"'{target}' compares embeddings of {known} numbers; these have {found.shape[1]}.")
    wide = widen_half(found)
    exact = wide if wide.device.type == "mps" else wide.double()
    first, *others = (torch.as_tensor(each.vector).to(exact) for each in target.references)
    direction = first - others[0] if others else first
    size = torch.linalg.vector_norm(exact, dim=1)
    some = size != 0
    share = (exact @ direction) / torch.where(some, size, torch.ones_like(size))
    return torch.where(some, share, torch.zeros_like(share)).to(wide.dtype)
