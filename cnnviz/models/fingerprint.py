"""The hash that says which weights a result was made with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Fingerprint"]

GLANCES = 16


class Fingerprint:
    """SHA-256 over names, shapes and bytes of a network's weights and buffers; made anew only when they changed."""

    def __init__(self) -> None:
        self._key: object = None
        self._digest = ""

    def of(self, module: nn.Module) -> str:
        """The network's hash, hexadecimal."""
        parts = list(module.modules())
        held = [each for part in parts for each in (*part._parameters.values(), *part._buffers.values())]
        tensors = [tensor for tensor in held if tensor is not None]
        key = [(id(tensor), tensor.data_ptr(), tensor._version) for tensor in tensors], _glance(tensors)
        if self._key != key:
            self._key, self._digest = key, _hashed(module)
        return self._digest


@torch.no_grad()
def _glance(tensors: Sequence[Tensor]) -> list[bytes]:
    """A few values of each tensor: notices weights that were written past their version counter, as through ``.data``.

    Those of one type and device are read in one piece, so that a GPU waits once.
    """
    groups: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for tensor in tensors:
        count, step = tensor.numel(), max(1, tensor.numel() // GLANCES)
        dense = tensor.is_contiguous()
        some = tensor.as_strided((-(-count // step),), (step,)) if dense else tensor.reshape(-1)[::step]
        groups.setdefault((tensor.device, tensor.dtype), []).append(some)
    return [torch.cat(some).cpu().view(torch.uint8).numpy().tobytes() for some in groups.values()]


def _hashed(module: nn.Module) -> str:
    digest = hashlib.sha256()
    named: list[tuple[str, Tensor]] = [*module.named_parameters(), *module.named_buffers()]
    for name, tensor in sorted(named, key=lambda pair: pair[0]):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name}{tuple(plain.shape)}{plain.dtype}".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data if plain.numel() else b"")
    return digest.hexdigest()
