"""Colour statistics of photographs: the covariance of their channels and their amplitude spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cnnviz.core.dimensions import PICTURE, Size, own_dims, place_dims, size_of, spell_shape
from cnnviz.core.sample import Sample
from cnnviz.errors import UsageError
from cnnviz.images.inputs import gather
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.ascent.views import resample
from cnnviz.models.model import Model

__all__ = ["ColourStatistics", "assumed_statistics", "has_colours", "measure_statistics", "value_range"]

COLOURS = 3
ROOT_COVARIANCE = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
"""A square root of the covariance of red, green and blue over ImageNet's pixels (Olah et al., Distill 2017)."""

SLOPE = 1.5
"""How steeply the amplitudes of independent colours fall with the frequency, where no pictures say it."""

SMALLEST = 1e-6
REACH = 4.0
"""How many deviations from the mean the values of signals and volumes can be that are made."""


@dataclass(frozen=True)
class ColourStatistics:
    """Covariance of the channels and amplitude spectrum of the pictures of a network's world.

    Attributes:
        mixing: ``(C, C)``: from independent colours to channels, its largest column of length 1.
        centre: ``(C, 1, 1)``: the channels of a blank picture, in [0, 1].
        amplitudes: ``(C, H, W)`` (or ``(C, T)``, ``(C, D, H, W)``) mean amplitude of each frequency of the independent
            colours, or None: a power law.
        pictures: How many pictures it was measured on; 0 where it is assumed.
    """

    mixing: Tensor
    centre: Tensor
    amplitudes: Tensor | None = None
    pictures: int = 0

    def magnitude(self, *size: int) -> Tensor:
        """Amplitudes ``(C, height, width // 2 + 1)`` of a half spectrum; of as many axes as there are lengths."""
        if self.amplitudes is None:
            power = torch.pow(frequencies(*size), -SLOPE)
            return power.expand(len(self.mixing), *power.shape)
        dims = own_dims(self.amplitudes)
        centred = torch.fft.fftshift(self.amplitudes, dim=dims)
        whole: Tensor = torch.fft.ifftshift(resample(centred[None], size)[0], dim=dims)
        return whole[..., : size[-1] // 2 + 1]


def frequencies(*size: int) -> Tensor:
    """``(height, width // 2 + 1)``: cycles a pixel of a half spectrum, its zero raised to the lowest there is.

    Of signals and volumes as many axes as there are lengths.
    """
    along = [*map(torch.fft.fftfreq, size[:-1]), torch.fft.rfftfreq(size[-1])]
    squares = [each.reshape(-1, *[1] * (len(size) - axis - 1)) ** 2 for axis, each in enumerate(along)]
    return torch.sqrt(sum(squares[1:], squares[0])).clamp_min(1 / max(size))


def value_range(model: Model) -> tuple[Tensor, Tensor]:
    """The lowest value and the span ``(C, 1, ...)`` that a network's inputs can have, before its normalisation.

    Pictures and clips have colours from 0 to 1. The values of a signal or volume have no such ends; they are kept
    within four of the normalisation's deviations of its mean.
    """
    mean, std = model.preprocess.columns()
    if has_colours(model):
        return torch.zeros_like(mean), torch.ones_like(mean)
    return mean - REACH * std, 2 * REACH * std


def has_colours(model: Model) -> bool:
    """Whether the network takes pictures, or clips: colours from 0 to 1."""
    return model.places == PICTURE or model.preprocess.entrance.rate is not None


def assumed_statistics(model: Model) -> ColourStatistics:
    """Three channels as photographs have them, around grey; any others independent, around the network's mean."""
    channels, ones = model.preprocess.channels, (1,) * model.places
    if channels == COLOURS and has_colours(model):
        return ColourStatistics(_scale_to_one(torch.tensor(ROOT_COVARIANCE)), torch.full((channels, *ones), 0.5))
    low, span = value_range(model)
    centre = (model.preprocess.columns()[0] - low) / span
    return ColourStatistics(torch.eye(channels), centre.expand(channels, *ones))


def measure_statistics(model: Model, images: ImagesLike) -> ColourStatistics:
    """The covariance of the channels and the mean amplitude spectrum of a user's own pictures.

    Args:
        model: The network, whose preprocessing makes them one size.
        images: Pictures (signals, volumes), or network inputs ``(N, C, ...)``.

    Raises:
        UsageError: If the inputs are not of the network's channels, or all alike.
    """
    mean, std = model.preprocess.columns()
    low, span = value_range(model)
    pixels: list[Tensor] = []
    for item in gather(images, model.preprocess.entrance._replace(value_range=None)):
        values = model.preprocess(item)[0] if isinstance(item, Sample) else item.detach().float().cpu()
        if values.shape[0] != model.preprocess.channels or (pixels and pixels[0].shape != values.shape):
            usual = spell_shape(model.places, model.preprocess.channels, images=None)
            expected = tuple(pixels[0].shape) if pixels else usual
            raise UsageError(f"The examples must have one size, {expected}; got {tuple(values.shape)}.")
        shown = values * std + mean
        pixels.append(shown if has_colours(model) else (shown - low) / span)
    stacked = torch.stack(pixels)
    dims = place_dims(stacked)
    centre = stacked.mean(dim=(0, *dims)).reshape(-1, *[1] * model.places)
    centred = stacked - centre
    mixing = _scale_to_one(_root_of_covariance(centred))
    independent = torch.einsum("dc,nc...->nd...", torch.linalg.pinv(mixing), centred)
    window = _hann_window(size_of(independent))
    amplitudes = torch.fft.fftn(independent * window, dim=dims).abs().mean(dim=0)
    return ColourStatistics(mixing, centre, amplitudes, len(stacked))


def _root_of_covariance(centred: Tensor) -> Tensor:
    flat = centred.transpose(0, 1).flatten(1).double()
    strengths, axes = torch.linalg.eigh(flat @ flat.T / flat.shape[1])
    if float(strengths[-1]) < SMALLEST:
        raise UsageError("The examples are blank; expected pictures with something in them.")
    axes = axes * torch.where(axes.sum(dim=0) < 0, -1.0, 1.0)
    root: Tensor = axes * strengths.clamp_min(SMALLEST * float(strengths[-1])).sqrt()
    return root.flip(1).float()


def _scale_to_one(root: Tensor) -> Tensor:
    scaled: Tensor = root / torch.linalg.vector_norm(root, dim=0).max()
    return scaled


def _hann_window(size: Size) -> Tensor:
    """A Hann window, so that a picture's edges are no edges of the spectrum; plain for a single row or column."""
    window = torch.ones(())
    for length in size:
        window = window[..., None] * torch.from_numpy(np.hanning(length + 2)[1:-1]).float()
    return window
