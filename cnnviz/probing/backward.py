"""The backward, in one place: what goes wrong in it becomes one sentence."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cnnviz.errors import ExplanationError

__all__ = ["CHECKPOINTED", "differentiate"]

CHECKPOINTED = (
    "This network saves memory by torch.utils.checkpoint, which runs parts of it anew in the backward, in a way that "
    "this question cannot follow; turn checkpointing off to ask it."
)


def differentiate(
    value: Tensor,
    leaves: Sequence[Tensor],
    weights: Tensor | None = None,
    *,
    connected: bool = False,
    again: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of a value with respect to leaves; None for those it does not depend on. No ``.grad`` is touched.

    Args:
        value: What is differentiated.
        leaves: With respect to what.
        weights: What each element of the value counts, in its shape; None for a single element.
        connected: Keep the gradients' own graph.
        again: Keep the forward's graph.

    Raises:
        ExplanationError: If the network's backward fails.
    """
    try:
        return torch.autograd.grad(
            value, leaves, weights, allow_unused=True, create_graph=connected, retain_graph=connected or again
        )
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        if "torch.utils.checkpoint" in str(error):
            raise ExplanationError(CHECKPOINTED) from error
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ExplanationError(f"The network fails on the way back to its gradients: {reason}") from error
