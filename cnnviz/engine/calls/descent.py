"""Which of a forward's tensors are made from its input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cnnviz.core.change import contextmanager
from cnnviz.engine.fields.operations import UNRELATED
from cnnviz.engine.state.modes import inference

__all__ = ["Descent"]


class Descent(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode in which a forward marks what is made from its input: whole storages, so that views and writes count.

    No operation is changed, but that blocks in inference mode make ordinary tensors, which may meet gradients later.

    Args:
        inputs: The tensors that the forward starts from.

    Attributes:
        detached: Whether the network detached something that is made from the input.
    """

    def __init__(self, *inputs: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._made: dict[int, StorageWeakRef | Tensor] = {}
        self._paused = self.detached = False
        for tensor in inputs:
            self._mark(tensor)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Skipping would import torch's compiler, which takes seconds, at the first use."""
        return False

    def made(self, output: Any) -> bool:
        """Whether a tensor, or one of those in a container, is made from the input."""
        return any(_storage_of(each) in self._made for each in _tensors_in(output))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, what is detached is not the network's doing."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def _mark(self, tensor: Tensor) -> None:
        place = _storage_of(tensor)
        weak: Any = StorageWeakRef
        self._made[place] = weak(tensor.untyped_storage()) if place > 0 else tensor

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with inference(mode=False) if torch.is_inference_mode_enabled() else nullcontext():
            output = func(*args, **kwargs)
        self.follow(func._schema.name.partition("::")[2], (args, kwargs), output)
        return output

    def follow(self, name: str, given: Any, output: Any, *, begins: bool = False) -> None:
        """Mark what an operation returns, if one of its arguments is marked, or with it something begins."""
        if begins or (name not in UNRELATED and self.made(given)):
            self.detached |= name == "detach" and not self._paused
            for tensor in _tensors_in(output):
                self._mark(tensor)


def _tensors_in(held: Any) -> Iterator[Tensor]:
    return (each for each in tree_leaves(held) if isinstance(each, Tensor))


def _storage_of(tensor: Tensor) -> int:
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):  # of sparse tensors and such
        return -id(tensor)
