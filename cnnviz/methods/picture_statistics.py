"""What can be measured of a picture without any network: how fine, how smooth and how saturated it is."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["high_frequency_share", "saturated_share", "spectrum_slope", "total_variation"]

COARSEST: Final = 4
FINEST: Final = 2 / 7
FEWEST_RINGS: Final = 4
FINE: Final = 0.25
RAIL: Final = 0.02


def spectrum_slope(values: NDArray[Any]) -> float | None:
    """How steeply amplitudes fall with the frequency: the slope of a line through their logarithms.

    The picture's mean over channels is weighed by a Hann window; amplitudes are averaged over rings of 4 cycles along
    the shorter side up to 2/7 of a cycle a pixel.

    Args:
        values: ``(C, H, W)``.

    Returns:
        About -1 to -1.5 for photographs, 0 for noise; None where the picture is too small or a ring is empty.
    """
    power, frequency = _spectrum(values)
    side = min(values.shape[1:])
    ring = np.rint(frequency * side).astype(int)
    rings = np.arange(COARSEST, int(FINEST * side) + 1)
    if len(rings) < FEWEST_RINGS:
        return None
    amplitude = np.array([np.sqrt(power[ring == each]).mean() for each in rings])
    if not (amplitude > 0).all():
        return None
    return float(np.polyfit(np.log(rings), np.log(amplitude), 1)[0])


def high_frequency_share(values: NDArray[Any]) -> float:
    """Share (0..1) of the variance, under a Hann window, that is finer than a quarter of a cycle a pixel.

    Args:
        values: ``(C, H, W)``; its mean over channels counts.
    """
    power, frequency = _spectrum(values)
    return float(power[frequency > FINE].sum() / max(power.sum(), np.finfo(float).tiny))


def total_variation(values: NDArray[Any]) -> float:
    """Mean step from a pixel to its right neighbour plus mean step to the one below, over all channels.

    Args:
        values: ``(C, H, W)``.
    """
    steps = (np.abs(np.diff(np.asarray(values, dtype=np.float64), axis=axis)) for axis in (1, 2))
    return float(sum(each.mean() for each in steps if each.size))


def saturated_share(values: NDArray[Any]) -> float:
    """Share (0..1) of pixels of which some channel is nearer than 0.02 to 0 or 1.

    Args:
        values: ``(C, H, W)`` in [0, 1].
    """
    return float(((values < RAIL) | (values > 1 - RAIL)).any(axis=0).mean())


def _spectrum(values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Power and frequency (cycles a pixel) of every wave of the windowed picture but its mean."""
    grey = np.asarray(values, dtype=np.float64).mean(axis=0)
    window = np.hanning(grey.shape[0] + 2)[1:-1, None] * np.hanning(grey.shape[1] + 2)[None, 1:-1]
    level = (grey * window).sum() / window.sum()
    power = np.abs(np.fft.fft2((grey - level) * window)) ** 2
    down, across = (np.fft.fftfreq(side) for side in grey.shape)
    return power, np.hypot(down[:, None], across[None])
