"""The first principal component of maps, without a whole decomposition, its sign fixed."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnviz.core.dimensions import own_dims

__all__ = ["principal_map"]

MOST_ROUNDS, CONVERGED = 40, 1e-12


def principal_map(maps: Tensor, like: Tensor) -> Tensor:
    """Each place's coordinate along the first right singular vector of its sample's ``(places, channels)`` matrix.

    By power iteration where it comes to rest at an eigenvector that is provably the largest's, else by the Gram
    matrix's whole decomposition; both in float64.

    Args:
        maps: ``(N, C, h, w)``, not centred.
        like: ``(N, h, w)``; of the two signs the one is taken whose product with it is positive.

    Returns:
        ``(N, h, w)``; NaN for a sample that holds a value that is not finite.
    """
    flat = maps.flatten(2)
    low, high = flat.amin(dim=(1, 2), keepdim=True), flat.amax(dim=(1, 2), keepdim=True)
    largest = torch.maximum(-low, high)
    scaled = (flat / largest.where(largest > 0, torch.ones_like(largest))).double()
    scaled[~largest.isfinite().flatten()] = 0
    along, proven = _iterate_power(scaled, (low >= 0)[:, 0, 0])
    if not bool(proven.all()):
        along[~proven] = _decompose_gram(scaled[~proven].transpose(1, 2))
    found = (along * largest).reshape(len(maps), *maps.shape[2:])
    agreement = (found * like).sum(dim=own_dims(found), keepdim=True)
    return torch.where(agreement < 0, -found, found).to(maps.dtype)


def _iterate_power(channels: Tensor, rectified: Tensor) -> tuple[Tensor, Tensor]:
    """First singular vectors ``(N, P, 1)`` times their value, and for which samples ``(N,)`` they are proven to be it.

    An eigenvector of the Gram matrix is the largest's if its eigenvalue is more than half of the trace, or if it is
    positive at every place that holds anything and the matrix has no negative entry (Perron and Frobenius).

    Args:
        channels: ``(N, C, P)``.
        rectified: ``(N,)``, whether a sample has no negative entry.
    """
    tiny = torch.finfo(channels.dtype).tiny
    vector = whole = channels.sum(dim=1).unsqueeze(2)
    for _ in range(MOST_ROUNDS):
        vector = vector / vector.norm(dim=1, keepdim=True).clamp_min(tiny)
        image = channels.transpose(1, 2) @ (channels @ vector)
        value = (vector * image).sum(dim=1, keepdim=True)
        apart = (image - value * vector).norm(dim=1, keepdim=True) / value.clamp_min(tiny)
        if bool((apart < CONVERGED).all()):
            break
        vector = image
    vector = vector / vector.norm(dim=1, keepdim=True).clamp_min(tiny)
    dominant = value[:, 0, 0] > channels.norm(dim=(1, 2)).square() / 2
    positive = rectified & ((vector > 0) | (whole == 0)).all(dim=(1, 2))
    return vector * value.clamp_min(0).sqrt(), (apart[:, 0, 0] < CONVERGED) & (dominant | positive)


def _decompose_gram(matrix: Tensor) -> Tensor:
    """First singular vectors ``(N, P, 1)`` times their value, by the smaller Gram matrix's eigenvectors."""
    if matrix.shape[2] <= matrix.shape[1]:
        right: Tensor = torch.linalg.eigh(matrix.transpose(1, 2) @ matrix).eigenvectors
        return matrix @ right[..., -1:]
    values, left = torch.linalg.eigh(matrix @ matrix.transpose(1, 2))
    along: Tensor = left[..., -1:] * values[:, None, -1:].clamp_min(0).sqrt()
    return along
