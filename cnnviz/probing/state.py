"""The network is the user's: run it without leaving a trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

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
    buffers = _Buffers(module)
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
            buffers.restore()


class _Buffers:
    """A network's buffers and their values; those of one type and device in one piece, so that a GPU waits once."""

    def __init__(self, module: nn.Module) -> None:
        self._held = [(part, name, tensor) for part in module.modules() for name, tensor in part._buffers.items()]
        groups: dict[tuple[torch.device, torch.dtype], dict[int, Tensor]] = {}
        for _, _, tensor in self._held:
            if tensor is not None:
                groups.setdefault((tensor.device, tensor.dtype), {})[id(tensor)] = tensor
        self._groups = [list(each.values()) for each in groups.values()]
        self._values = [_together(tensors) for tensors in self._groups]

    def restore(self) -> None:
        """Put the buffers back; values are compared, because a write through ``.data`` leaves no mark on a tensor."""
        for tensors, values in zip(self._groups, self._values, strict=True):
            if not torch.equal(_together(tensors), values):
                _copy_back(tensors, values)
        for part, name, tensor in self._held:
            if part._buffers.get(name) is not tensor:
                part._buffers[name] = tensor


def _together(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def _copy_back(tensors: Sequence[Tensor], values: Tensor) -> None:
    """Write values into those tensors that differ from them; the others keep their version."""
    parts = values.split([tensor.numel() for tensor in tensors])
    with torch.no_grad():
        for tensor, part in zip(tensors, parts, strict=True):
            kept = part.view(tensor.shape)
            if not torch.equal(tensor, kept):
                tensor.copy_(kept)
