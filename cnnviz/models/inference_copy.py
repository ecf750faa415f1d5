"""Private copies of a model: a faster one, compared with the network before it is used; one with other weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.core.dimensions import count_places
from cnnviz.engine.batch_norms import Pair, channels_last, folded_copy, observe_pairs
from cnnviz.engine.scores.score import is_detected
from cnnviz.engine.state.contents import Fingerprint
from cnnviz.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

    from cnnviz.core.target import Target
    from cnnviz.models.model import Model

__all__ = ["Ask", "InferenceCopy", "around", "inference_copy"]

FOLDED_LOSS, TINY = 1e-3, 1e-30
NO_ROOM = "there is not enough memory for a faster copy of this network; the original was used"

Ask: TypeAlias = "Callable[[Model, Tensor], Tensor]"
"""From a model and inputs ``(1, C, ...)`` to logits ``(1, K)``."""


@dataclass(frozen=True)
class InferenceCopy:
    """What answers many forwards.

    Attributes:
        model: A private copy; the model itself where a copy cannot be made or answers differently.
        checks: What was lost, or why there is no copy.
        logits: ``(1, K)`` that the network itself gave for the example; None if it was not asked.
    """

    model: Model
    checks: tuple[str, ...] = ()
    logits: Tensor | None = None


def inference_copy(
    model: Model,
    example: Tensor,
    targets: Sequence[Target] | None = None,
    *,
    halved: bool = False,
    ask: Ask | None = None,
) -> InferenceCopy:
    """A private copy for many forwards: batch norm folded, channels last where it can be.

    A network that views its activations needs them contiguous: then the copy's are.

    The network itself runs once, and the copy once in each of its types. A network that carries forward hooks is not
    copied: a copy's hooks may still write to what the original reads.

    Args:
        model: The model; left alone.
        example: One input ``(1, C, ...)`` in the network's type and on its device.
        targets: What will be asked for, where that may need no logits; None for the logits.
        halved: Compute in bfloat16.
        ask: How a copy is asked about the example, by one forward; default: as a model is.

    Raises:
        ModelError: If the network fails on the example.
    """
    if any(part._forward_hooks for part in model.module.modules()):
        return InferenceCopy(
            model, ("the network has hooks of other code, so no copy was made; the original network was used",)
        )
    with observe_pairs(model.module) as pairs:
        logits = _ask(model, example, targets)
    if is_detected(logits):
        own = "bfloat16 was not used: a detector answers itself, so that its boxes do not change"
        return InferenceCopy(model, (own,) if halved else (), logits)
    return _compared_copy(model, example, logits, pairs, ask or partial(_ask, targets=targets), halved=halved)


def around(model: Model, module: nn.Module) -> Model:
    """The same model around another module of the same structure.

    It looks at the same layers where none is named, and remembers for itself what it finds out.

    Args:
        model: The model; left alone.
        module: Such as a copy of its network that gets other weights.
    """
    clone = copy.copy(model)
    clone.module, clone.automatic_layers, clone._fingerprint = module, dict(model.automatic_layers), Fingerprint()
    clone._bottlenecks, own = {}, id(model.module)
    clone._observed = {(id(module), *size): seen for (kept, *size), seen in model._observed.items() if kept == own}
    clone._dense = {(id(module), *size): dense for (kept, *size), dense in model._dense.items() if kept == own}
    return clone


def _compared_copy(
    model: Model, example: Tensor, logits: Tensor, pairs: Sequence[Pair], ask: Ask, *, halved: bool
) -> InferenceCopy:
    with torch.no_grad():
        usual = channels_last(count_places(example.shape))
        for memory_format in dict.fromkeys((usual, torch.contiguous_format)):
            try:
                clone = _make_clone(model, pairs, memory_format)
                loss = _logit_loss(ask(clone, example.contiguous(memory_format=memory_format)), logits)
                break
            except (ModelError, RuntimeError, ValueError, TypeError, AttributeError, KeyError, copy.Error) as error:
                if ran_out_of_memory(error):
                    return InferenceCopy(model, (NO_ROOM,), logits)
                continue
        else:
            return InferenceCopy(model, ("no faster copy of this network can be made; the original was used",), logits)
        if loss > FOLDED_LOSS:
            return InferenceCopy(
                model, ("folding batch norm changes this network's answers; the original was used",), logits
            )
        if not halved:
            return InferenceCopy(clone, (), logits)
        clone.module.to(torch.bfloat16)
        loss = _logit_loss(ask(clone, example.bfloat16()), logits)
    return InferenceCopy(clone, (f"bfloat16: logits differ by up to {loss:.1%} of the largest",), logits)


def _ask(model: Model, example: Tensor, targets: Sequence[Target] | None) -> Tensor:
    return model.forward(example) if targets is None else model.answer(example, targets)


def _make_clone(model: Model, pairs: Sequence[Pair], memory_format: torch.memory_format) -> Model:
    clone = copy.copy(model)
    clone.memory_format = memory_format
    clone.module = folded_copy(model.module, pairs, memory_format)
    return clone


def _logit_loss(found: Tensor, logits: Tensor) -> float:
    """The largest difference of logits, as a share of the largest of them."""
    return float((found.float() - logits.float()).abs().max() / logits.float().abs().max().clamp_min(TINY))
