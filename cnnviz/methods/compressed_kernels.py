"""Kernels on many channels as three colours: one-sided non-negative factorisation."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.errors import UsageError
from cnnviz.methods.dff import factorize

__all__ = ["compressed"]

COLOURS: Final = 3
NAMES: Final = ("red", "green", "blue")
STEPS: Final = 200
NAMED: Final = 4
LEAST: Final = 0.2
TINY: Final = 1e-30


def compressed(
    values: NDArray[np.float32], drawn: list[int], groups: int, way: Literal["no", "layer", "unit"]
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32], list[str]]:
    """Units' kernels as three non-negative planes, how much of each is in them, and what they stand for.

    Args:
        values: ``(U, C, kh, kw)`` of all units.
        drawn: The units that are wanted.
        groups: In how many groups the units read the input channels.
        way: Three colours for the whole layer, or each unit's own; ``"no"`` compresses nothing.

    Returns:
        ``(D, 3, kh, kw)`` and shares of the squared weights ``(D,)``; or None and nothing.

    Raises:
        UsageError: If there are too few channels to compress, or those of a layer are in several groups.
    """
    if way == "no":
        return None, np.zeros(0, dtype=np.float32), []
    if values.shape[1] <= COLOURS:
        raise UsageError(
            f"Each unit reads {values.shape[1]} channels: there is nothing to compress to {COLOURS} colours."
        )
    parts = torch.from_numpy(np.concatenate([values.clip(0), (-values).clip(0)], axis=1)).double()
    if way == "layer":
        if groups > 1:
            raise UsageError(f"The units read {groups} separate groups of channels; compress each unit on its own.")
        maps, vectors = factorize(parts, COLOURS, steps=STEPS, seed=0)
        shares = _shares(parts[drawn], maps[drawn], vectors)
        said = [
            f"three colours hold {_held(parts, maps, vectors):.0%} of the layer's squared weights",
            *_named(vectors),
        ]
        return maps[drawn].float().contiguous().numpy(), shares, said
    found = [factorize(parts[[unit]], COLOURS, steps=STEPS, seed=0) for unit in drawn]
    maps = torch.cat([each for each, _ in found])
    shares = np.concatenate([_shares(parts[[unit]], *each) for unit, each in zip(drawn, found, strict=True)])
    said = [f"each unit has three colours of its own, which hold {shares.mean():.0%} of its squared weights on average"]
    return maps.float().contiguous().numpy(), shares, said


def _left(parts: Tensor, maps: Tensor, vectors: Tensor) -> Tensor:
    """The squared weights ``(U,)`` that the factors miss."""
    return (parts - torch.einsum("ukhw,kc->uchw", maps, vectors)).square().sum(dim=(1, 2, 3))


def _shares(parts: Tensor, maps: Tensor, vectors: Tensor) -> NDArray[np.float32]:
    whole = parts.square().sum(dim=(1, 2, 3)).clamp_min(TINY)
    return np.asarray((1 - _left(parts, maps, vectors) / whole).float().numpy())


def _held(parts: Tensor, maps: Tensor, vectors: Tensor) -> float:
    return 1 - float(_left(parts, maps, vectors).sum() / parts.square().sum().clamp_min(TINY))


def _named(vectors: Tensor) -> list[str]:
    """For each colour the input channels that weigh most in it, with their sign."""
    count = vectors.shape[1] // 2
    said = []
    for name, vector in zip(NAMES, vectors, strict=True):
        best = vector.argsort(descending=True, stable=True)[:NAMED].tolist()
        strong = [part for part in best if vector[part] >= LEAST * vector[best[0]]]
        words = ", ".join(f"{'+' if part < count else chr(0x2212)}{part % count}" for part in strong)
        said.append(f"{name}: mostly input {words}")
    return said
