"""Signals, volumes and clips brought to the network's rate, spacing and size: the arithmetic of their preprocessing."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cnnviz.core.dimensions import INTERPOLATION, KINDS, PICTURE, Size, spell_size
from cnnviz.core.sample import Geometry, Sample, Signal, Volume
from cnnviz.errors import ParameterError, PictureError, quoted

if TYPE_CHECKING:
    from cnnviz.models.preprocess import Preprocess

__all__ = ["RANGES", "check_range_word", "fit", "fit_geometry", "resample"]

FINEST: Final = 4096
"""Largest number in the ratio of two rates, of which others are approximated."""
CROSSINGS: Final = 32
"""Zero crossings of the windowed sinc on either side."""
ROLLOFF: Final = 0.95
"""Share of the lower of two Nyquist frequencies up to which everything passes."""
BETA: Final = 8.6
"""Shape of the Kaiser window: what lies beyond is weaker by some 90 dB."""
ALIKE: Final = 1e-6
MOST_VALUES: Final = 1 << 31
EIGHT_BITS: Final = 255.0
WINDOW: Final = "window"
PERCENTILES: Final = "percentiles"
RANGES: Final = (WINDOW, PERCENTILES)
"""Ranges that are each sample's own."""
LOWEST: Final = 0.005
"""Share of the values below those that stand for 0, and above those that stand for 1."""


def resample(values: Tensor, old: float, new: float) -> Tensor:
    """Signals at another rate, by a windowed sinc; the first sample stays where it is.

    Args:
        values: ``(C, T)``; before its begin and after its end it is taken to stay as it is there.
        old: Samples a second.
        new: Samples a second wanted.

    Returns:
        ``(C, ceil(T * new / old))``, float32.
    """
    ratio = Fraction(new / old).limit_denominator(FINEST)
    up, down = ratio.numerator, ratio.denominator
    length = resampled_length(values.shape[1], old, new)
    cutoff = ROLLOFF * min(up, down)
    width = math.ceil(CROSSINGS * down / cutoff)
    offsets = torch.arange(-width, width + down, dtype=torch.float64)[None] / down
    times = (offsets - torch.arange(up, dtype=torch.float64)[:, None] / up) * cutoff
    within = times.clamp(-CROSSINGS, CROSSINGS)
    window = torch.i0(BETA * torch.sqrt(1 - (within / CROSSINGS) ** 2)) * (times.abs() < CROSSINGS)
    kernels = torch.sinc(times) * window
    kernels = (kernels / kernels.sum(dim=1, keepdim=True)).to(torch.float32)[:, None]
    padded = functional.pad(values[:, None].to(torch.float32), (width, width + down), mode="replicate")
    made: Tensor = functional.conv1d(padded, kernels, stride=down)
    return made.transpose(1, 2).reshape(values.shape[0], -1)[:, :length].contiguous()


def resampled_length(length: int, old: float, new: float) -> int:
    """How many samples there are at another rate."""
    ratio = Fraction(new / old).limit_denominator(FINEST)
    return max(1, math.ceil(length * ratio))


def in_units(sample: Sample, preprocess: Preprocess) -> tuple[Sample, tuple[str, ...]]:
    """A sample with the network's rate or spacing where it does not say its own, and a note of that."""
    if isinstance(sample, Signal) and sample.rate is None and preprocess.rate:
        known = f"the signal does not say its rate: taken to be the network's, {preprocess.rate:g} Hz"
        return sample.changed(rate=preprocess.rate), (known,)
    if isinstance(sample, Volume) and sample.spacing is None and preprocess.spacing and not sample.is_clip:
        wanted = f"taken to be what the network wants, {_spell(preprocess.spacing)} mm"
        known = f"the volume does not say how far its voxels lie apart: {wanted}"
        return sample.changed(spacing=preprocess.spacing), (known,)
    return sample, ()


def fit_geometry(sample: Sample, preprocess: Preprocess) -> Geometry:
    """How the network's input is cut from a signal or a volume.

    Raises:
        PictureError: If it is of a kind that the network does not take, or would be too large.
    """
    if len(sample.size) != preprocess.places:
        kind, wanted = KINDS[len(sample.size)], KINDS[preprocess.places]
        raise PictureError(f"{quoted(sample.name)} is a {kind}, and the network takes {wanted}s.")
    held = sample.held.shape[0]
    if held != preprocess.channels:
        raise PictureError(
            f"{quoted(sample.name)} has {held} channel{'' if held == 1 else 's'}; the network takes "
            f"{preprocess.channels}."
        )
    natural = _natural_size(sample, preprocess)
    if _resizes_frames(sample, preprocess):
        resized = (natural[0], *preprocess.resized_size(natural[1:], preprocess.input_size[1:]))
    else:
        resized = preprocess.resized_size(natural, preprocess.input_size)
    if math.prod(resized) * held > MOST_VALUES:
        raise PictureError(
            f"{quoted(sample.name)} of {spell_size(sample.size)} would be resized to {spell_size(resized)}; expected a "
            "smaller one."
        )
    size = resized if preprocess.keeps_size else preprocess.input_size
    return Geometry.centred(tuple(sample.size), resized, size)


def _resizes_frames(sample: Sample, preprocess: Preprocess) -> bool:
    """Whether the resize is one of each frame: of a clip, unless it says how many frames too."""
    if isinstance(preprocess.resize, tuple):
        return len(preprocess.resize) < preprocess.places
    return isinstance(sample, Volume) and sample.is_clip


def _natural_size(sample: Sample, preprocess: Preprocess) -> Size:
    """The size at the network's rate or spacing; its own where either is not known."""
    if isinstance(sample, Signal) and sample.rate and preprocess.rate:
        return (resampled_length(sample.size[0], sample.rate, preprocess.rate),)
    if isinstance(sample, Volume) and sample.spacing and preprocess.spacing and not sample.is_clip:
        lengths = zip(sample.size, sample.spacing, preprocess.spacing, strict=True)
        return tuple(max(1, round(count * own / wanted)) for count, own, wanted in lengths)
    return tuple(sample.size)


def fit_sample(sample: Sample, preprocess: Preprocess) -> tuple[Tensor, Sample]:
    """The network's input ``(C, *size)`` of a signal, volume or clip, and the same sample with its geometry.

    Raises:
        PictureError: If the network takes none of its kind, or it would be too large.
    """
    known, assumed = in_units(sample, preprocess)
    geometry = fit_geometry(known, preprocess)
    values, notes = fit(known, geometry, preprocess)
    return values, known.changed(geometry=geometry, notes=(*known.notes, *assumed, *notes))


def fit(sample: Sample, geometry: Geometry, preprocess: Preprocess) -> tuple[Tensor, tuple[str, ...]]:
    """The network's input of a signal, a volume or a clip, and notes of what was done to it.

    Args:
        sample: With as many axes of places and channels as the network takes.
        geometry: How the input is cut from it.
        preprocess: The network's preprocessing.

    Returns:
        ``(C, *size)`` float32 on the CPU.
    """
    notes: list[str] = []
    values = torch.from_numpy(sample.held)
    if isinstance(sample, Volume) and sample.is_clip:
        values = _resize_frames(values, geometry, preprocess, notes)
    else:
        values = _resize(_ranged(values, sample, preprocess, notes), sample, geometry, preprocess, notes)
    shape = -1, *(1 for _ in geometry.size)
    cut = _cut(values, geometry)
    if preprocess.standardise:  # what is put around it counts for nothing, and is its mean afterwards
        seen = _cut(torch.ones_like(values[:1]), geometry) > 0
        inside = cut[:, seen[0]]
        centre, spread = inside.mean(dim=1).view(shape), inside.std(dim=1, correction=0).view(shape)
        cut = torch.where(seen, (cut - centre) / spread.clamp_min(torch.finfo(torch.float32).tiny), 0.0)
        notes.append("standardised: each channel has mean 0 and deviation 1")
    mean, std = preprocess.columns()
    return ((cut - mean) / std).contiguous(), (*notes, *_cut_notes(geometry))


def check_range_word(value_range: tuple[float, float] | str | None, places: int) -> None:
    """Refuse a range that is a word of none, or one that pictures do not have.

    Raises:
        ParameterError: If it is.
    """
    if not isinstance(value_range, str):
        return
    if value_range not in RANGES or places == PICTURE:
        words = "" if places == PICTURE else f", or {' or '.join(map(repr, RANGES))}"
        raise ParameterError(
            f"value_range is {value_range!r}; expected a lower and a higher number, such as (0, 4095){words}."
        )


def _ranged(values: Tensor, sample: Sample, preprocess: Preprocess, notes: list[str]) -> Tensor:
    """Values with those of the range, where one was asked for, as 0 and 1."""
    asked = preprocess.value_range
    if asked is None:
        return values
    low, high = _own_range(values, sample, asked) if isinstance(asked, str) else asked
    if isinstance(asked, str):
        notes.append(f"values {low:g} to {high:g} ({asked}) stand for 0 to 1")
    shares = (values - low) / (high - low)
    outside = float(((shares < 0) | (shares > 1)).double().mean())
    if outside:
        notes.append(f"{max(outside, 0.001):.1%} of the values lie outside {low:g} to {high:g}, and are clipped")
    return shares.clamp(0, 1)


def _own_range(values: Tensor, sample: Sample, asked: str) -> tuple[float, float]:
    if asked == WINDOW:
        window = sample.window if isinstance(sample, Volume) else None
        if window is None:
            raise PictureError(f"{quoted(sample.name)} says no window; expected a DICOM series that does, or a range.")
        return window
    low, high = np.quantile(values.numpy(), [LOWEST, 1 - LOWEST])
    if low == high:
        raise PictureError(f"{quoted(sample.name)} is {low:g} nearly everywhere, so its percentiles are no range.")
    return float(low), float(high)


def _resize(values: Tensor, sample: Sample, geometry: Geometry, preprocess: Preprocess, notes: list[str]) -> Tensor:
    """Values at the network's rate and of the size before the crop."""
    old, new = sample.rate if isinstance(sample, Signal) else None, preprocess.rate
    if old and new and abs(old / new - 1) > ALIKE:
        values = resample(values, old, new)
        notes.append(f"resampled from {old:g} to {new:g} Hz")
    if tuple(values.shape[1:]) == geometry.resized:
        return values
    nearest = preprocess.interpolation == "nearest"
    mode = "nearest-exact" if nearest else INTERPOLATION[preprocess.places]
    settings: dict[str, Any] = {} if nearest else {"align_corners": False}
    made: Tensor = functional.interpolate(values[None], size=geometry.resized, mode=mode, **settings)[0]
    word = "nearest" if nearest else mode
    notes.append(f"resized from {spell_size(values.shape[1:])} to {spell_size(geometry.resized)} ({word})")
    return made


def _resize_frames(values: Tensor, geometry: Geometry, preprocess: Preprocess, notes: list[str]) -> Tensor:
    """Frames ``(C, T, H, W)`` in [0, 1], resized as torchvision resizes those of its clips."""
    from torchvision.transforms import functional as frames_functional

    whole = values.round() if bool((values == values.round()).all()) else None
    frames = (values if whole is None else whole.to(torch.uint8)).transpose(0, 1)
    size = [int(side) for side in geometry.resized[1:]]
    mode = frames_functional.InterpolationMode(preprocess.interpolation)
    made = frames_functional.resize(frames, size, interpolation=mode, antialias=False).transpose(0, 1)
    if made.shape[1] != geometry.resized[0]:
        steps = torch.arange(geometry.resized[0]) * made.shape[1] // geometry.resized[0]
        made = made[:, steps]
        notes.append(f"{geometry.resized[0]} frames taken of {values.shape[1]}")
    levels: Tensor = made.to(torch.float32)
    return levels / EIGHT_BITS


def _cut(values: Tensor, geometry: Geometry) -> Tensor:
    """The input cut out at its place, zeros around it where it reaches beyond."""
    starts, size = geometry.start, geometry.size
    ends = zip(starts, size, values.shape[1:], strict=True)
    spans = [(max(start, 0), min(start + length, own)) for start, length, own in ends]
    inner = values[(slice(None), *(slice(*span) for span in spans))]
    around: list[int] = []
    for (first, last), start, length in zip(spans, starts, size, strict=True):
        around = [first - start, start + length - last, *around]
    padded: Tensor = functional.pad(inner, around) if any(around) else inner
    return padded


def _cut_notes(geometry: Geometry) -> tuple[str, ...]:
    """What was cut off at the edges, or put around."""
    if geometry.size == geometry.resized:
        return ()
    said = f"the middle {spell_size(geometry.size)} of {spell_size(geometry.resized)}"
    if geometry.padded:
        said = f"{spell_size(geometry.resized)} in the middle of {spell_size(geometry.size)}, zeros around it"
    return (said,)


def _spell(spacing: tuple[float, ...]) -> str:
    return " x ".join(f"{length:g}" for length in spacing)
