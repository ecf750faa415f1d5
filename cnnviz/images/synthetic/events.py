"""Signals of two channels: one event at a known place in one of them, on drift, noise and what looks like no event.

A signal depends on ``(seed, index, length, label)`` only, like a scene of `cnnviz.images.synthetic.scenes`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cnnviz.core.sample import Signal

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = []

RATE: Final = 250.0
"""Samples a second."""

CHANNELS: Final = 2

_SHORTEST: Final = 256
_LEAST_EVENT: Final = 72
_GREATEST_EVENT: Final = 144
_MARGIN: Final = 4


def _seconds(count: int) -> NDArray[np.float64]:
    """When the samples of an event are taken, ``(count,)`` seconds after its start."""
    return np.asarray((np.arange(count) + 0.5) / RATE)


def _window(count: int, rise: float) -> NDArray[np.float64]:
    """A window ``(count,)`` that rises from 0 to 1 over a share of its length, stays, and falls as it rose."""
    away = (np.arange(count) + 0.5) / count
    ramp = np.clip(np.minimum(away, 1 - away) / rise, 0, 1)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * ramp))


def _bump(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    return np.asarray(rng.choice((-1.0, 1.0)) * _window(count, 0.5))


def _plateau(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    return np.asarray(rng.choice((-1.0, 1.0)) * _window(count, rng.uniform(0.02, 0.06)))


def _decay(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    away = (np.arange(count) + 0.5) / count
    fall = np.exp(-rng.uniform(3, 4.5) * away)
    return np.asarray(rng.choice((-1.0, 1.0)) * fall * np.clip(away / 0.03, 0, 1) * np.clip((1 - away) / 0.1, 0, 1))


def _burst(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    turns = rng.uniform(14, 34) * _seconds(count) + rng.random()
    return np.asarray(np.sin(2 * np.pi * turns) * _window(count, 0.35))


def _chirp(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    slow, fast = rng.uniform((4, 38), (7, 55)).tolist()
    away = (np.arange(count) + 0.5) / count
    turns = _seconds(count) * slow * (((fast / slow) ** away - 1) / (np.log(fast / slow) * away)) + rng.random()
    return np.asarray(np.sin(2 * np.pi * turns) * _window(count, 0.15))


def _sawtooth(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    turns = rng.uniform(8, 14) * _seconds(count) + rng.random()
    return np.asarray(rng.choice((-1.0, 1.0)) * (2 * (turns % 1) - 1) * _window(count, 0.1))


_FORMS: Final[dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]]] = {
    "bump": _bump,
    "plateau": _plateau,
    "decay": _decay,
    "burst": _burst,
    "chirp": _chirp,
    "sawtooth": _sawtooth,
}
"""Label -> the form of an event of so many samples, from -1 to 1."""

EVENTS: Final[tuple[str, ...]] = tuple(_FORMS)
"""The labels, in the order of their class index."""


@dataclass(frozen=True)
class DrawnSignal:
    """A drawn signal.

    Attributes:
        values: ``(2, length)``, around 0; noise of about 0.2 and an event of 0.9 to 1.8.
        rate: Samples a second.
        event: ``(2, length)``, what was added to the background; 0 outside the event's samples and channel.
        start: The event's first sample.
        stop: The sample after its last.
        channel: The channel it is in.
        label: The event's name, one of `EVENTS`.
        target: The label's class index.
        index: The number it was drawn from.
    """

    values: NDArray[np.float32]
    rate: float
    event: NDArray[np.float32]
    start: int
    stop: int
    channel: int
    label: str
    target: int
    index: int

    @property
    def mask(self) -> NDArray[np.bool_]:
        """``(length,)``, the event's samples."""
        samples = np.arange(self.values.shape[1])
        return np.asarray((samples >= self.start) & (samples < self.stop))

    @property
    def sample(self) -> Signal:
        """The signal as methods are asked about it, with its rate."""
        return Signal(self.values, f"signal {self.index}", rate=self.rate)


def draw_signal(index: int, *, seed: int = 0, length: int = 512, label: str | None = None) -> DrawnSignal:
    """Draw a signal: the same arguments always give the same bytes.

    Args:
        index: Which signal of the seed's endless series, from 0.
        seed: Which series, from 0.
        length: How many samples, at least 256; an event has 72 to 143 of them in a signal of any length.
        label: Forces the event, in otherwise the same place, channel and background.

    Returns:
        The signal and where its event is.

    Raises:
        ValueError: If the label is unknown, the length too small, or a number negative.
    """
    if length < _SHORTEST:
        raise ValueError(f"length must be at least {_SHORTEST} samples, not {length}")
    if label is not None and label not in _FORMS:
        raise ValueError(f"no event is called {label!r}; the events are {', '.join(EVENTS)}")
    rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
    drawn = EVENTS[int(rng.integers(len(EVENTS)))]
    name = drawn if label is None else label
    count = int(rng.integers(_LEAST_EVENT, _GREATEST_EVENT))
    start = int(rng.integers(_MARGIN, length - _MARGIN - count))
    channel = int(rng.integers(CHANNELS))
    height = rng.uniform(0.9, 1.8)
    background = _draw_background(rng, length)
    event = np.zeros((CHANNELS, length), np.float32)
    event[channel, start : start + count] = height * _FORMS[name](rng, count)
    return DrawnSignal(
        values=background + event,
        rate=RATE,
        event=event,
        start=start,
        stop=start + count,
        channel=channel,
        label=name,
        target=EVENTS.index(name),
        index=index,
    )


def _draw_background(rng: np.random.Generator, length: int) -> NDArray[np.float32]:
    """What a signal is without its event: ``(2, length)``."""
    seconds = _seconds(length)
    values = _draw_drift(rng, seconds) + _draw_noise(rng, length)
    hum = rng.uniform(0, 0.12, (CHANNELS, 1))
    values += hum * np.sin(2 * np.pi * (50 * seconds + rng.random()))
    for kind in rng.integers(len(_ARTEFACTS), size=int(rng.integers(1, 5))).tolist():
        _ARTEFACTS[kind](rng, values)
    return values.astype(np.float32)


def _draw_drift(rng: np.random.Generator, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """A slow wander, in part the same in both channels."""
    pace = rng.uniform(0.05, 0.5, 4)
    waves = np.sin(2 * np.pi * (pace[:, None] * seconds + rng.random((4, 1))))
    return np.asarray(rng.uniform(-0.3, 0.3, (CHANNELS, 4)) @ waves)


def _draw_noise(rng: np.random.Generator, length: int) -> NDArray[np.float64]:
    """Noise that is stronger where it is slower: white noise through a short and a long running mean."""
    white = rng.standard_normal((CHANNELS, length + 24))
    sums = np.cumsum(white, axis=1)
    short, long = ((sums[:, width:] - sums[:, :-width])[:, -length:] / np.sqrt(width) for width in (4, 24))
    strength = rng.uniform((0.06, 0.04, 0.02), (0.16, 0.12, 0.08))
    return np.asarray(strength[0] * white[:, -length:] + strength[1] * short + strength[2] * long)


def _add_spike(rng: np.random.Generator, values: NDArray[np.float64]) -> None:
    """A pulse of a few samples in both channels, up and down or only up."""
    place = int(rng.integers(2, values.shape[1] - 4))
    height, back = rng.uniform((-2.5, -0.5), (2.5, 0.5)).tolist()
    values[:, place : place + 2] += height
    values[:, place + 2 : place + 4] += back * height


def _add_dropout(rng: np.random.Generator, values: NDArray[np.float64]) -> None:
    """A few samples of one channel that repeat the one before them."""
    width = int(rng.integers(8, 28))
    channel, place = int(rng.integers(CHANNELS)), int(rng.integers(1, values.shape[1] - width))
    values[channel, place : place + width] = values[channel, place - 1]


def _add_crackle(rng: np.random.Generator, values: NDArray[np.float64]) -> None:
    """A stretch with more white noise in one channel."""
    width = int(rng.integers(20, 60))
    channel, place = int(rng.integers(CHANNELS)), int(rng.integers(values.shape[1] - width))
    values[channel, place : place + width] += rng.uniform(0.1, 0.35) * rng.standard_normal(width)


def _add_swell(rng: np.random.Generator, values: NDArray[np.float64]) -> None:
    """A low hill, much longer than an event, in both channels."""
    width = int(rng.integers(200, 256))
    place = int(rng.integers(values.shape[1] - width + 1))
    values[:, place : place + width] += rng.uniform(-0.5, 0.5) * _window(width, 0.5)


_ARTEFACTS: Final = (_add_spike, _add_dropout, _add_crackle, _add_swell)
