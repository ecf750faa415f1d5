"""Controls: maps that know nothing of the network, which every method has to be better than.

A metric on which a control does as well as a method says nothing for that method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["CONTROLS", "Control", "random_phases"]

Control: TypeAlias = Callable[[NDArray[np.float32], int], NDArray[np.float32]]
"""From pixels ``(C, H, W)``, up to a shift and in units of 0 to 1, and a seed to a map ``(H, W)``."""

SPREAD: Final = 0.25
"""Standard deviation of the centre's Gaussian, as a share of each side."""


def random_map(pixels: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Every pixel a number of its own, uniform in 0..1."""
    rng = np.random.default_rng(seed)
    return rng.random(pixels.shape[1:], dtype=np.float32)


def centre(pixels: NDArray[np.float32], _seed: int) -> NDArray[np.float32]:
    """A Gaussian in the middle of the picture, where photographers put what they mean.

    Its standard deviation is a quarter of each side.
    """
    height, width = pixels.shape[1:]
    down, across = (((np.arange(side) + 0.5) / side - 0.5) / SPREAD for side in (height, width))
    found: NDArray[np.float32] = np.exp(-(down[:, None] ** 2 + across[None] ** 2) / 2).astype(np.float32)
    return found


def edges(pixels: NDArray[np.float32], _seed: int) -> NDArray[np.float32]:
    """The magnitude of the picture's gradient (Sobel, 3 x 3), the root of the sum of squares over channels."""
    squares = np.zeros(pixels.shape[1:], dtype=np.float64)
    for channel in pixels.astype(np.float64):
        for along in ((1, 0), (0, 1)):
            squares += cv2.Sobel(channel, cv2.CV_64F, *along, ksize=3, borderType=cv2.BORDER_REFLECT_101) ** 2
    return np.sqrt(squares).astype(np.float32)


def constant(pixels: NDArray[np.float32], _seed: int) -> NDArray[np.float32]:
    """The same everywhere."""
    return np.ones(pixels.shape[1:], dtype=np.float32)


CONTROLS: Mapping[str, Control] = MappingProxyType(
    {"random": random_map, "centre": centre, "edges": edges, "constant": constant}
)
"""The controls of every table, by name."""


def random_phases(values: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32]:
    """Maps with the same amplitude spectrum, and so as smooth and as strong, whose phases are random.

    The phases are those of white noise, so that the maps are real; the mean is kept. NaN counts as the map's least.

    Args:
        values: ``(H, W)``.
        count: How many maps.
        seed: Of the phases.

    Returns:
        ``(count, H, W)`` float32.
    """
    held = np.nan_to_num(values.astype(np.float64), nan=float(np.nanmin(values)) if np.isfinite(values).any() else 0.0)
    spectrum = np.fft.rfft2(held)
    noise = np.random.default_rng(seed).standard_normal((count, *held.shape))
    phases = np.angle(np.fft.rfft2(noise))
    phases[:, 0, 0] = np.angle(spectrum[0, 0])
    turned = np.abs(spectrum) * np.exp(1j * phases)
    return np.fft.irfft2(turned, s=held.shape).astype(np.float32)
