"""The network is the user's: run it without leaving a trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["undisturbed"]


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, everything as before outside, also after an exception.

    Training flags are set as plain attributes, so no overridden ``train`` runs. Buffers that a forward writes to or
    replaces are put back. Inference mode is left (its tensors take no gradient) and attention's fused fast path,
    which skips the hooks of the layers inside it, is off.
    """
    modes = [(part, part.training) for part in module.modules()]
    buffers = [_Buffer.of(part, name) for part in module.modules() for name in part._buffers]
    fast = torch.backends.mha.get_fastpath_enabled()
    with torch.inference_mode(mode=False):
        try:
            torch.backends.mha.set_fastpath_enabled(False)
            for part, _ in modes:
                part.training = False
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            for part, training in modes:
                part.training = training
            for buffer in buffers:
                buffer.restore()


@dataclass(frozen=True)
class _Buffer:
    part: nn.Module
    name: str
    tensor: Tensor | None
    values: Tensor | None

    @classmethod
    def of(cls, part: nn.Module, name: str) -> _Buffer:
        tensor = part._buffers[name]
        return cls(part, name, tensor, None if tensor is None else tensor.detach().clone())

    def restore(self) -> None:
        """Put the buffer back; its values are compared, because a write through ``.data`` leaves no mark on it."""
        if self.tensor is not None and self.values is not None and not torch.equal(self.tensor, self.values):
            with torch.no_grad():
                self.tensor.copy_(self.values)
        if self.part._buffers.get(self.name) is not self.tensor:
            self.part._buffers[self.name] = self.tensor
