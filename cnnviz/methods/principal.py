"""The first principal component of maps, without a whole decomposition, its sign fixed."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["principal_map"]


def principal_map(maps: Tensor, like: Tensor) -> Tensor:
    """Each place's coordinate along the first right singular vector of its sample's ``(places, channels)`` matrix.

    Args:
        maps: ``(N, C, h, w)``, not centred.
        like: ``(N, h, w)``; of the two signs the one is taken whose product with it is positive.

    Returns:
        ``(N, h, w)``.
    """
    count, channels, height, width = maps.shape
    matrix = maps.flatten(2).transpose(1, 2)
    largest = matrix.abs().amax(dim=(1, 2), keepdim=True)
    scaled = (matrix / largest.where(largest > 0, torch.ones_like(largest))).double()
    if channels <= height * width:
        vectors = torch.linalg.eigh(scaled.transpose(1, 2) @ scaled).eigenvectors[..., -1:]
        along = scaled @ vectors
    else:
        values, vectors = torch.linalg.eigh(scaled @ scaled.transpose(1, 2))
        along = vectors[..., -1:] * values[:, None, -1:].clamp_min(0).sqrt()
    found = (along * largest).reshape(count, height, width)
    agreement = (found * like).sum(dim=(1, 2), keepdim=True)
    return torch.where(agreement < 0, -found, found).to(maps.dtype)
