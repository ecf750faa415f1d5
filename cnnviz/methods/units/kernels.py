"""Properties of a layer's kernels: norms, dead ones, duplicates, an order, and three colours for many channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.core.dimensions import SIGNAL, is_one_input
from cnnviz.errors import UsageError
from cnnviz.methods.concepts import factorize

if TYPE_CHECKING:
    from cnnviz.methods.units.filters import KernelOrder

__all__ = ["find_dead", "find_duplicates", "sort_units", "norms", "compress_kernels", "strongest_inputs"]

PLANES: Final = 3
NAMES: Final = ("red", "green", "blue")
STEPS: Final = 200
NAMED: Final = 4
LEAST: Final = 0.2
TINY: Final = 1e-30


def compress_kernels(
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
    if is_one_input(values[0].shape, SIGNAL):
        raise UsageError("Kernels over time are drawn as lines, which have no colours to compress channels to.")
    if values.shape[1] <= PLANES:
        raise UsageError(
            f"Each unit reads {values.shape[1]} channels: there is nothing to compress to {PLANES} colours."
        )
    parts = torch.from_numpy(np.concatenate([values.clip(0), (-values).clip(0)], axis=1)).double()
    if way == "layer":
        if groups > 1:
            raise UsageError(f"The units read {groups} separate groups of channels; compress each unit on its own.")
        maps, vectors = factorize(parts, PLANES, steps=STEPS, seed=0)
        shares = _held_shares(parts[drawn], maps[drawn], vectors)
        said = [
            f"three colours hold {_held_share(parts, maps, vectors):.0%} of the layer's squared weights",
            *_name_colours(vectors),
        ]
        return maps[drawn].float().contiguous().numpy(), shares, said
    found = [factorize(parts[[unit]], PLANES, steps=STEPS, seed=0) for unit in drawn]
    maps = torch.cat([each for each, _ in found])
    shares = np.concatenate([_held_shares(parts[[unit]], *each) for unit, each in zip(drawn, found, strict=True)])
    said = [f"each unit has three colours of its own, which hold {shares.mean():.0%} of its squared weights on average"]
    return maps.float().contiguous().numpy(), shares, said


def _missed_squares(parts: Tensor, maps: Tensor, vectors: Tensor) -> Tensor:
    """The squared weights ``(U,)`` that the factors miss."""
    return (parts - torch.einsum("uk...,kc->uc...", maps, vectors)).square().flatten(1).sum(dim=1)


def _held_shares(parts: Tensor, maps: Tensor, vectors: Tensor) -> NDArray[np.float32]:
    whole = parts.square().flatten(1).sum(dim=1).clamp_min(TINY)
    return np.asarray((1 - _missed_squares(parts, maps, vectors) / whole).float().numpy())


def _held_share(parts: Tensor, maps: Tensor, vectors: Tensor) -> float:
    return 1 - float(_missed_squares(parts, maps, vectors).sum() / parts.square().sum().clamp_min(TINY))


def _name_colours(vectors: Tensor) -> list[str]:
    """For each colour the input channels that weigh most in it, with their sign."""
    count = vectors.shape[1] // 2
    said = []
    for name, vector in zip(NAMES, vectors, strict=True):
        best = vector.argsort(descending=True, stable=True)[:NAMED].tolist()
        strong = [part for part in best if vector[part] >= LEAST * vector[best[0]]]
        words = ", ".join(f"{'+' if part < count else chr(0x2212)}{part % count}" for part in strong)
        said.append(f"{name}: mostly input {words}")
    return said


DEAD: Final = 0.02
ALIKE: Final = 0.95
GREYISH: Final = 0.2
COLOURS: Final = 3


def norms(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The Euclidean norm of each unit's kernels ``(U, C, kh, kw)``, ``(U,)``."""
    return np.asarray(np.linalg.norm(values.reshape(len(values), -1).astype(np.float64), axis=1))


def find_dead(lengths: NDArray[np.float64]) -> tuple[int, ...]:
    """Units whose norm is below a fiftieth of the median one, or zero.

    Args:
        lengths: ``(U,)``: the norms, with what a batch norm that follows multiplies them with: a small kernel that is
            made large again is not dead, and one of usual size that is made small is.
    """
    least = DEAD * float(np.median(lengths))
    return tuple(int(unit) for unit in np.flatnonzero((lengths < least) | (lengths == 0)))


def find_duplicates(values: NDArray[np.float32], groups: int, dead: tuple[int, ...]) -> dict[int, tuple[int, float]]:
    """For each unit that repeats an earlier one which reads the same channels: that one, and the cosine between them.

    Args:
        values: ``(U, C, kh, kw)``.
        groups: In how many groups the units read the input channels.
        dead: Units that are left out.

    Returns:
        By unit the earlier unit with the largest absolute cosine, where that is above 0.95; a negative one means the
        opposite.
    """
    found: dict[int, tuple[int, float]] = {}
    each = len(values) // groups
    for start in range(0, len(values), each) if each > 1 else ():
        units = [unit for unit in range(start, start + each) if unit not in dead]
        if len(units) < 2:
            continue
        rows = values[units].reshape(len(units), -1).astype(np.float64)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        cosines = np.tril(rows @ rows.T, -1)
        for row in np.flatnonzero(np.abs(cosines).max(axis=1, initial=0) > ALIKE):
            other = int(np.abs(cosines[row]).argmax())
            found[units[row]] = units[other], float(cosines[row, other])
    return found


def sort_units(units: list[int], values: NDArray[np.float32], sort: KernelOrder) -> list[int]:
    """Units in the order they are drawn in.

    Args:
        units: Which.
        values: ``(U, C, kh, kw)`` of all units.
        sort: ``"index"`` leaves them as they are, ``"norm"`` puts the strongest first, ``"hue"`` the grey ones, the
            strongest first, and then the coloured ones along the colour circle.

    Raises:
        UsageError: If there is no hue, because the kernels are not of three colours.
    """
    if sort == "index":
        return units
    lengths = norms(values)
    if sort == "norm":
        return sorted(units, key=lambda unit: (-lengths[unit], unit))
    if is_one_input(values[0].shape, SIGNAL):
        raise UsageError("Kernels over time have no hue; sort by norm or index.")
    if values.shape[1] != COLOURS:
        raise UsageError(f"Kernels on {values.shape[1]} channels have no hue; sort by norm or index.")
    hues, colourful = _measure_hues(values)
    grey = sorted((unit for unit in units if colourful[unit] < GREYISH), key=lambda unit: (-lengths[unit], unit))
    coloured = sorted((unit for unit in units if colourful[unit] >= GREYISH), key=lambda unit: (hues[unit], unit))
    return grey + coloured


def strongest_inputs(values: NDArray[np.float32], drawn: list[int], groups: int, most: int) -> NDArray[np.int64]:
    """The strongest input channels of each drawn unit ``(D, m)``, counted in the layer's whole input."""
    each, count = len(values) // groups, values.shape[1]
    starts = np.array(drawn)[:, None] // each * count
    if count <= most:
        return np.asarray(starts + np.arange(count), dtype=np.int64)
    strengths = np.linalg.norm(values[drawn].astype(np.float64).reshape(len(drawn), count, -1), axis=2)
    return np.asarray(starts + np.argsort(-strengths, axis=1, kind="stable")[:, :most], dtype=np.int64)


def _measure_hues(values: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each unit's main axis on the colour circle, and the share of its squared weights that is colour.

    An opponent kernel has a colour and its complement: angles are doubled, so that the two agree instead of cancelling.
    """
    red, green, blue = values.astype(np.float64).reshape(len(values), COLOURS, -1).transpose(1, 0, 2)
    colour = (2 * red - green - blue) / np.sqrt(6) + 1j * (green - blue) / np.sqrt(2)
    axis = (colour**2).sum(axis=1)
    energy = red**2 + green**2 + blue**2
    share = (np.abs(colour) ** 2).sum(axis=1) / np.maximum(energy.sum(axis=1), np.finfo(np.float64).tiny)
    return np.mod(np.angle(axis), 2 * np.pi) / 2, share
