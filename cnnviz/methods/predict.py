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

EVEN_CHANCE = 0.5
"""Above it a label of several that can be right is listed."""


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
        k: How many classes to keep; of labels of which several can be right all above one half are kept (the first, if
            none is), and of values all.
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
    settle([TopClass()] * len(logits), logits, model.labels, model.head)
    assumed = () if model.known_classes else model.head.assumed
    return Predictions(
        tuple(_rank_classes(row, model, k) for row in logits),
        logits.float().numpy(),
        batch.pictures,
        (*unsound(logits.sum(dim=1).tolist(), batch), *batch.checks, *model.head.notes, *assumed, *chunks.checks),
        provenance_of(model, batch, chunk=chunks.size),
    )


def _rank_classes(logits: Tensor, model: Model, k: int) -> tuple[Prediction, ...]:
    from cnnviz.core.target import ClassTarget
    from cnnviz.engine.scores import class_probabilities
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
            ClassTarget(index, labels[index] if labels else None),
            float(logits[index]),
            float(shares[index]) if head.probable else None,
            None if head.probable else head.unit,
        )
        for index in order[:k]
    )
