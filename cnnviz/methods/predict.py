"""What a network answers: the most probable classes of every picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from cnnviz.method import method

if TYPE_CHECKING:
    from torch import Tensor

    from cnnviz.core.target import Target
    from cnnviz.images.reading import ImagesLike
    from cnnviz.models.model import Model
    from cnnviz.results.predictions import Prediction, Predictions

__all__ = ["predict"]

ROUNDING = 1e-2
"""How far the sum of bfloat16 probabilities may be from 1."""


@method
def predict(
    model: Model,
    images: ImagesLike,
    *,
    k: Annotated[int, Ge(1)] = 5,
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Predictions:
    """What the network answers: the most probable classes of every picture.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        k: How many classes to keep.
        batch_size: Most images at once; halved when memory runs out.

    Returns:
        For each picture its ``k`` first classes with logit and probability, and all logits.

    Raises:
        TargetError: If there are not as many labels as classes.
    """
    import torch

    from cnnviz.core.target import TopClass
    from cnnviz.engine.scores import settle
    from cnnviz.methods.ask import ask, prepare, provenance_of, unsound
    from cnnviz.results.predictions import Predictions

    batch = prepare(model, images)

    def answer(inputs: Tensor, targets: Sequence[Target]) -> Tensor:
        with torch.no_grad():
            return model.forward(inputs)[: len(targets)].double().cpu()

    chunks = ask(model, batch, answer, batch_size=batch_size)
    logits = torch.cat(chunks.results)
    settle([TopClass()] * len(logits), logits, model.labels)
    return Predictions(
        tuple(_rank_classes(row, model.labels, k) for row in logits),
        logits.float().numpy(),
        batch.pictures,
        (*unsound(logits.sum(dim=1).tolist(), batch), *_warn_of_probabilities(logits), *batch.checks, *chunks.checks),
        provenance_of(model, batch, chunk=chunks.size),
    )


def _warn_of_probabilities(logits: Tensor) -> tuple[str, ...]:
    """A warning where what the network gives are probabilities already."""
    if logits.shape[1] < 2 or bool((logits < 0).any()) or bool(((logits.sum(dim=1) - 1).abs() > ROUNDING).any()):
        return ()
    return (
        "the network's numbers are probabilities already (they add up to 1), and a softmax of them, as shown here, "
        "means nothing; take its own softmax off, so that it gives logits",
    )


def _rank_classes(logits: Tensor, labels: tuple[str, ...] | None, k: int) -> tuple[Prediction, ...]:
    from cnnviz.core.target import ClassTarget
    from cnnviz.results.predictions import Prediction

    shares = logits.sigmoid() if len(logits) == 1 else logits.softmax(dim=0)
    order = logits.sort(descending=True, stable=True).indices[:k].tolist()
    return tuple(
        Prediction(ClassTarget(index, labels[index] if labels else None), float(logits[index]), float(shares[index]))
        for index in order
    )
