"""Calibration: whether answers are right as often as their probabilities say, and what one temperature changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["BINS", "Calibration", "Reliability", "calibrate", "fit_temperature", "reliability"]

BINS: Final = 15
FEWEST: Final = 20
"""Pictures below which no temperature is fitted."""

RANGE: Final = (0.05, 20.0)
"""Temperatures that are tried."""


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence and accuracy, bin by bin.

    Attributes:
        counts: ``(B,)``: how many answers fall into each bin.
        confidence: ``(B,)``: their mean probability; NaN of an empty bin.
        accuracy: ``(B,)``: the share that is right; NaN of an empty bin.
        error: The expected calibration error (ECE): the mean over answers of the difference of the two.
    """

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    error: float

    @property
    def largest(self) -> float:
        """The largest difference of any bin (maximum calibration error)."""
        return float(np.nanmax(np.abs(self.accuracy - self.confidence)))


@dataclass(frozen=True, eq=False)
class Calibration:
    """How well a network's probabilities are calibrated.

    Attributes:
        plain: As they are.
        scaled: After temperature scaling; None where too few pictures are there to fit one.
        temperature: Fitted to all pictures: what to divide logits by; NaN where none was fitted.
        halves: The temperatures of the two halves by which ``scaled`` was found.
        pictures: How many pictures the temperature was fitted to.
    """

    plain: Reliability
    scaled: Reliability | None = None
    temperature: float = float("nan")
    halves: tuple[float, float] = (float("nan"), float("nan"))
    pictures: int = 0


def reliability(confidence: NDArray[np.float32], right: NDArray[np.bool_], bins: int = BINS) -> Reliability:
    """Answers in bins of equal width, each closed on the left: ``[0, 1/15)`` and so on, the last with 1 in it.

    For the error a probability of exactly 1, to which float32 rounds those of a very sure network, is a bin of its own,
    as it is in torchmetrics.

    Args:
        confidence: ``(N,)`` float32 in [0, 1]: the probability of each answer.
        right: ``(N,)``: whether it is right.
        bins: How many.

    Reference:
        Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, ICML 2017, equation 3.
    """
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float32).numpy()
    place = np.clip(np.searchsorted(edges, confidence.astype(np.float32), side="right") - 1, 0, bins)
    sure = np.bincount(place, confidence.astype(np.float64), minlength=bins + 1)
    hits = np.bincount(place, right.astype(np.float64), minlength=bins + 1)
    error = float(np.abs(hits - sure).sum() / max(1, len(confidence)))
    counts = np.bincount(place, minlength=bins + 1)
    for sums in (sure, hits, counts):
        sums[bins - 1] += sums[bins]
    with np.errstate(invalid="ignore", divide="ignore"):
        means, shares = sure[:bins] / counts[:bins], hits[:bins] / counts[:bins]
    return Reliability(counts[:bins].astype(np.int64), means, shares, error)


def calibrate(
    confidence: NDArray[np.float32],
    right: NDArray[np.bool_],
    logits: NDArray[np.float32],
    truth: NDArray[np.int64],
    *,
    seed: int = 0,
) -> Calibration:
    """Reliability as it is, and beside it what one temperature gives to pictures that it was not fitted to.

    The pictures are halved at random. Each half's probabilities are those at the temperature fitted to the other half,
    so that the error after scaling is honest; the temperature to use is that fitted to all.

    Args:
        confidence: ``(N,)``: the probability of each answer.
        right: ``(N,)``.
        logits: ``(M, K)`` float32: of all pictures, or of a random part of them; of classes that exclude each other.
        truth: ``(M,)``: their true classes.
        seed: Of the halves.
    """
    plain = reliability(confidence, right)
    number = len(logits)
    if number < FEWEST:
        return Calibration(plain)
    order = np.random.default_rng(seed).permutation(number)
    halves = order[: number // 2], order[number // 2 :]
    temperatures = [fit_temperature(logits[half], truth[half]) for half in halves]
    predicted = logits.argmax(axis=1)
    scaled = np.empty(number, np.float32)
    for half, temperature in zip(halves, reversed(temperatures), strict=True):
        scaled[half] = np.exp(_true_log_shares(logits[half] / temperature, predicted[half]))
    held = reliability(scaled, predicted == truth)
    return Calibration(plain, held, fit_temperature(logits, truth), (temperatures[0], temperatures[1]), number)


def fit_temperature(logits: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """The temperature that makes the true classes most likely, between 0.05 and 20.

    The mean negative log-likelihood is convex in one over the temperature; its slope's zero is found by bisection.

    Args:
        logits: ``(N, K)``.
        truth: ``(N,)``.

    Reference:
        Guo et al., 2017, section 4.2.
    """
    high, low = 1 / RANGE[0], 1 / RANGE[1]
    for _ in range(40):
        middle = (low * high) ** 0.5
        if _slope(logits, truth, middle) > 0:
            high = middle
        else:
            low = middle
    return float(1 / (low * high) ** 0.5)


AT_ONCE: Final = 1 << 20


def _slope(logits: NDArray[np.float32], truth: NDArray[np.int64], inverse: float) -> float:
    """How the mean negative log-likelihood changes with one over the temperature."""
    total, step = 0.0, max(1, AT_ONCE // logits.shape[1])
    for start in range(0, len(logits), step):
        some = logits[start : start + step].astype(np.float64)
        some -= some.max(axis=1, keepdims=True)
        weights = np.exp(some * inverse)
        expected = (weights * some).sum(axis=1) / weights.sum(axis=1)
        total += float((expected - some[np.arange(len(some)), truth[start : start + step]]).sum())
    return total / len(logits)


def _true_log_shares(logits: NDArray[np.float32], classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each row the logarithm of one class's probability."""
    held = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    own = held[np.arange(len(held)), classes]
    return np.asarray(own - np.log(np.exp(held).sum(axis=1)))
