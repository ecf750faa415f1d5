"""Colour statistics of photographs: the covariance of their channels and their amplitude spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cnnviz.core.sample import Sample
from cnnviz.errors import UsageError
from cnnviz.images.inputs import gather
from cnnviz.images.reading import ImagesLike
from cnnviz.models.model import Model

__all__ = ["ColourStatistics", "assumed_statistics", "measure_statistics"]

COLOURS = 3
ROOT_COVARIANCE = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
"""A square root of the covariance of red, green and blue over ImageNet's pixels (Olah et al., Distill 2017)."""

SLOPE = 1.5
"""How steeply the amplitudes of independent colours fall with the frequency, where no pictures say it."""

SMALLEST = 1e-6


@dataclass(frozen=True)
class ColourStatistics:
    """Covariance of the channels and amplitude spectrum of the pictures of a network's world.

    Attributes:
        mixing: ``(C, C)``: from independent colours to channels, its largest column of length 1.
        centre: ``(C, 1, 1)``: the channels of a blank picture, in [0, 1].
        amplitudes: ``(C, H, W)`` mean amplitude of each frequency of the independent colours, or None: a power law.
        pictures: How many pictures it was measured on; 0 where it is assumed.
    """

    mixing: Tensor
    centre: Tensor
    amplitudes: Tensor | None = None
    pictures: int = 0

    def magnitude(self, height: int, width: int) -> Tensor:
        """Amplitudes ``(C, height, width // 2 + 1)`` of a half spectrum."""
        if self.amplitudes is None:
            power = torch.pow(frequencies(height, width), -SLOPE)
            return power.expand(len(self.mixing), *power.shape)
        centred = torch.fft.fftshift(self.amplitudes, dim=(1, 2))
        sized = functional.interpolate(centred[None], size=(height, width), mode="bilinear", antialias=True)[0]
        whole: Tensor = torch.fft.ifftshift(sized, dim=(1, 2))
        return whole[..., : width // 2 + 1]


def frequencies(height: int, width: int) -> Tensor:
    """``(height, width // 2 + 1)``: cycles a pixel of a half spectrum, its zero raised to the lowest there is."""
    down, across = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
    return torch.sqrt(down**2 + across**2).clamp_min(1 / max(height, width))


def assumed_statistics(model: Model) -> ColourStatistics:
    """Three channels as photographs have them, around grey; any others independent, around the network's mean."""
    channels = model.preprocess.channels
    if channels == COLOURS:
        return ColourStatistics(_scale_to_one(torch.tensor(ROOT_COVARIANCE)), torch.full((channels, 1, 1), 0.5))
    return ColourStatistics(torch.eye(channels), _as_column(model.preprocess.mean).expand(channels, 1, 1))


def measure_statistics(model: Model, images: ImagesLike) -> ColourStatistics:
    """The covariance of the channels and the mean amplitude spectrum of a user's own pictures.

    Args:
        model: The network, whose preprocessing makes them one size.
        images: Pictures, or network inputs ``(N, C, H, W)``.

    Raises:
        UsageError: If the inputs are not of the network's channels, or all alike.
    """
    mean, std = (_as_column(values) for values in (model.preprocess.mean, model.preprocess.std))
    pixels: list[Tensor] = []
    for item in gather(images):
        values = model.preprocess(item)[0] if isinstance(item, Sample) else item.detach().float().cpu()
        if values.shape[0] != model.preprocess.channels or (pixels and pixels[0].shape != values.shape):
            expected = tuple(pixels[0].shape) if pixels else (model.preprocess.channels, "H", "W")
            raise UsageError(f"The examples must have one size, {expected}; got {tuple(values.shape)}.")
        pixels.append(values * std + mean)
    stacked = torch.stack(pixels)
    centre = stacked.mean(dim=(0, 2, 3))[:, None, None]
    centred = stacked - centre
    mixing = _scale_to_one(_root_of_covariance(centred))
    independent = torch.einsum("dc,nchw->ndhw", torch.linalg.pinv(mixing), centred)
    window = _hann_window(*independent.shape[-2:])
    amplitudes = torch.fft.fft2(independent * window).abs().mean(dim=0)
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


def _hann_window(height: int, width: int) -> Tensor:
    """A Hann window, so that a picture's edges are no edges of the spectrum; plain for a single row or column."""
    down, across = (torch.from_numpy(np.hanning(length + 2)[1:-1]).float() for length in (height, width))
    window: Tensor = down[:, None] * across
    return window


def _as_column(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1)
