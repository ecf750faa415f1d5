"""The private copy of a network that captum may do with as it likes, and what of it captum cannot take as it is."""

from __future__ import annotations

import copy
from collections import Counter
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from cnnviz.errors import ExplanationError
from cnnviz.models.model import Model

__all__ = ["private_copy", "untangled"]


def private_copy(model: Model) -> Model:
    """A copy in evaluation mode, of at least float32, whose weights need no gradients.

    Raises:
        ExplanationError: If the network cannot be copied.
    """
    try:
        module = copy.deepcopy(model.module)
    except (RuntimeError, TypeError, AttributeError, NotImplementedError, copy.Error):
        raise ExplanationError("captum needs a copy of the network, and this one cannot be copied.") from None
    clone = copy.copy(model)
    clone.module = module if model.dtype == torch.float64 else module.float()
    for part in module.modules():
        part.training = False
    module.requires_grad_(requires_grad=False)
    return clone


def untangled(model: Model, example: Tensor) -> Model:
    """The copy, changed so that each of its activation functions runs once and on what is made from the picture.

    captum's DeepLift keeps what it needs of an activation on its module, so that a module which a network calls several
    times (the ReLU of a residual block) needs one for every call. And it takes every activation to be of pictures and
    baselines, which a table of positions that goes through layers of its own is not. The answers stay the same.

    Args:
        model: A private copy; its module is changed.
        example: One input ``(1, C, H, W)``.
    """
    calls, constant = _observed(model, example)
    wrappers: dict[nn.Module, nn.Module] = {}
    for part in constant:
        wrappers[part] = _Hidden(part)
    for part, count in calls.items():
        if count > 1 and part not in constant:
            wrappers[part] = _InTurn(part, count)
    for parent in list(model.module.modules()):
        for name, part in parent.named_children():
            if part in wrappers:
                parent._modules[name] = wrappers[part]
    return model


class _InTurn(nn.Module):
    """A module that one forward calls so often, as one module for each call."""

    def __init__(self, part: nn.Module, count: int) -> None:
        super().__init__()
        self.turns = nn.ModuleList(copy.deepcopy(part) for _ in range(count))
        self._now = 0

    def forward(self, *given: Any) -> Any:
        part = self.turns[self._now]
        self._now = (self._now + 1) % len(self.turns)
        return part(*given)


class _Hidden(nn.Module):
    """A module that a search through the network does not find."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self._part = [part]

    def forward(self, *given: Any) -> Any:
        return self._part[0](*given)


def _observed(model: Model, example: Tensor) -> tuple[Counter[nn.Module], set[nn.Module]]:
    """How often each part without weights and parts of its own runs, and those that never get anything of the input."""
    calls: Counter[nn.Module] = Counter()
    related: set[nn.Module] = set()

    def observe(part: nn.Module, given: tuple[Any, ...]) -> None:
        calls[part] += 1
        if any(isinstance(each, Tensor) and each.requires_grad for each in given):
            related.add(part)

    with ExitStack() as hooks, torch.enable_grad():
        for part in model.module.modules():
            if not any(True for _ in part.children()) and not any(True for _ in part.parameters()):
                hooks.callback(part.register_forward_pre_hook(observe).remove)
        model.forward(example.detach().clone().requires_grad_())
    return calls, set(calls) - related
