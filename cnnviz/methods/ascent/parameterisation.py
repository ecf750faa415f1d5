"""Parameterisations of the images that are optimised: Fourier coefficients, phases, an image pyramid, or pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from cnnviz.core.dimensions import INTERPOLATION, Size, own_dims, place_dims
from cnnviz.methods.ascent.recipes import Recipe
from cnnviz.methods.ascent.spectrum import ColourStatistics, frequencies

__all__ = ["Fourier", "ParameterisedImages", "Phase", "Pixels", "Pyramid"]

DARKEST = 0.02
"""Pixels of a picture to start from are kept so far from black and white, where the sigmoid has no slope."""

GAIN = 4.0
"""What the Fourier sums are divided by before the sigmoid (Olah et al., Distill 2017)."""

START = 0.01
COARSEST = 4
LEVEL = 0.25
SMALLEST = 1e-5


class ParameterisedImages(ABC):
    """Some pictures of one size, each a function of its own parameters; nothing in one depends on another.

    Attributes:
        parameters: ``(G, ...)``, what is optimised.
        size: Height and width of the pictures; of signals and volumes the length of each axis.
    """

    def __init__(self, size: Size, parameters: Tensor) -> None:
        self.size = size
        self.parameters = parameters.requires_grad_()

    @abstractmethod
    def pictures(self, parameters: Tensor) -> Tensor:
        """``(G, C, H, W)``; in [0, 1] but for :class:`Pixels`, whose caller clips."""

    def regularise(self, step: int) -> None:  # noqa: B027 - most have no regulariser
        """What a regulariser does to the parameters after a step, counted from 1."""


class Colours:
    """From independent colours to pixels, and back.

    Args:
        statistics: How channels vary together, and what a blank picture is.
        device: Where the pictures are.
    """

    def __init__(self, statistics: ColourStatistics, device: torch.device) -> None:
        self.mixing = statistics.mixing.to(device)
        self.unmixing = torch.linalg.inv(statistics.mixing).to(device)
        self.centre = torch.logit(statistics.centre, eps=DARKEST).to(device)

    def to_pixels(self, independent: Tensor, contrast: float = 0.0) -> Tensor:
        """Pixels in [0, 1]; what deviates by more than ``contrast`` before the sigmoid is shrunk to it."""
        channels = torch.einsum("dc,gc...->gd...", self.mixing, independent)
        return torch.sigmoid(_limit_contrast(channels, contrast) + self.centre)

    def from_pixels(self, pictures: Tensor) -> Tensor:
        """The independent colours of pixels."""
        channels = torch.logit(pictures, eps=DARKEST) - self.centre
        return torch.einsum("cd,gd...->gc...", self.unmixing, channels)


class Fourier(ParameterisedImages):
    """Amplitudes of waves, the fine ones weaker; independent colours; a sigmoid.

    Args:
        size: Height and width; of signals and volumes the length of each axis.
        noise: ``(G, C, H, W // 2 + 1, 2)`` standard normal numbers.
        statistics: How independent colours make channels.
        recipe: How a wave's weight depends on its frequency, and the largest contrast.
        start: Pictures ``(G, C, H, W)`` in [0, 1] to start from.
    """

    def __init__(
        self,
        size: Size,
        noise: Tensor,
        statistics: ColourStatistics,
        recipe: Recipe,
        *,
        start: Tensor | None,
    ) -> None:
        waves, self.dims = frequencies(*size), place_dims(noise[..., 0])
        weights = waves.clamp_min(recipe.coarsest / max(size)) ** -recipe.fineness
        usual = (1 / waves).mean() / (waves**-recipe.fineness).mean()
        self.weights = (weights * usual / GAIN).to(noise.device)[..., None]
        self.colours, self.contrast = Colours(statistics, noise.device), recipe.contrast
        parameters = noise * START
        if start is not None:
            waves = torch.fft.rfftn(self.colours.from_pixels(start), dim=self.dims, norm="ortho")
            spectrum = torch.view_as_real(waves)
            parameters = spectrum / self.weights
        super().__init__(size, parameters)

    def pictures(self, parameters: Tensor) -> Tensor:
        """The waves added up."""
        spectrum = torch.view_as_complex(parameters * self.weights)
        summed = torch.fft.irfftn(spectrum, s=self.size, dim=self.dims, norm="ortho")
        return self.colours.to_pixels(summed, self.contrast)


class Phase(ParameterisedImages):
    """Only the phases of waves, whose amplitudes are those of natural pictures (MACO).

    Args:
        size: Height and width; of signals and volumes the length of each axis.
        noise: ``(G, C, H, W // 2 + 1)`` standard normal numbers.
        statistics: How independent colours make channels, and the amplitudes.
        start: Pictures ``(G, C, H, W)`` in [0, 1] whose phases to start from.
    """

    def __init__(self, size: Size, noise: Tensor, statistics: ColourStatistics, *, start: Tensor | None) -> None:
        self.magnitude = statistics.magnitude(*size).to(noise.device)
        self.colours, self.dims = Colours(statistics, noise.device), place_dims(noise)
        parameters = noise
        if start is not None:
            parameters = torch.fft.rfftn(self.colours.from_pixels(start), dim=self.dims).angle()
        super().__init__(size, parameters.clone())
        self.spread = _mean_and_deviation(parameters) if start is not None else None

    def pictures(self, parameters: Tensor) -> Tensor:
        """The waves added up, brought to mean 0 and standard deviation 1 before the colours are mixed."""
        phases = _standardise(parameters)
        if self.spread is not None:
            phases = phases * self.spread[1] + self.spread[0]
        waves = torch.polar(self.magnitude.expand_as(phases), phases)
        return self.colours.to_pixels(_standardise(torch.fft.irfftn(waves, s=self.size, dim=self.dims)))


class Pyramid(ParameterisedImages):
    """Pictures of halving size added up, the coarse ones enlarged; independent colours; a sigmoid.

    Args:
        size: Height and width; of signals and volumes the length of each axis.
        noise: ``(G, C, H, W)`` standard normal numbers.
        statistics: How independent colours make channels.
        contrast: Largest standard deviation of a picture before the sigmoid; 0 for any.
        start: Pictures ``(G, C, H, W)`` in [0, 1] to start from.
    """

    def __init__(
        self,
        size: Size,
        noise: Tensor,
        statistics: ColourStatistics,
        *,
        contrast: float,
        start: Tensor | None,
    ) -> None:
        self.colours, self.contrast = Colours(statistics, noise.device), contrast
        self.sizes = [size]
        while min(self.sizes[-1]) > COARSEST:
            self.sizes.append(tuple((side + 1) // 2 for side in self.sizes[-1]))
        groups, channels = noise.shape[:2]
        base = noise * START if start is None else self.colours.from_pixels(start) / LEVEL
        coarse = [torch.zeros(groups, channels, prod(each), device=noise.device) for each in self.sizes[1:]]
        super().__init__(size, torch.cat([base.flatten(2), *coarse], dim=2))

    def pictures(self, parameters: Tensor) -> Tensor:
        """The levels added up, from the coarsest."""
        levels = torch.split(parameters, list(map(prod, self.sizes)), dim=2)
        total = levels[-1].reshape(*parameters.shape[:2], *self.sizes[-1])
        for level, size in zip(levels[-2::-1], self.sizes[-2::-1], strict=True):
            larger = functional.interpolate(total, size=size, mode=INTERPOLATION[len(size)])
            total = larger + level.reshape(*parameters.shape[:2], *size)
        return self.colours.to_pixels(total * LEVEL, self.contrast)


class Pixels(ParameterisedImages):
    """The pixels themselves, as distances from the middle grey.

    Args:
        size: Height and width; of signals and volumes the length of each axis.
        noise: ``(G, C, H, W)`` standard normal numbers.
        recipe: How strong the start's noise is, and what happens to the numbers after each step.
        start: Pictures ``(G, C, H, W)`` in [0, 1] to start from.
    """

    def __init__(self, size: Size, noise: Tensor, recipe: Recipe, *, start: Tensor | None) -> None:
        self.recipe = recipe
        self.kernel = _gaussian_kernel(recipe.blur).to(noise.device) if recipe.blur_every else None
        super().__init__(size, noise * recipe.noisy if start is None else start - 0.5)

    def pictures(self, parameters: Tensor) -> Tensor:
        """The numbers around the middle grey."""
        return parameters + 0.5

    @torch.no_grad()
    def regularise(self, step: int) -> None:
        """Decay, blur and clip."""
        self.parameters.mul_(1 - self.recipe.decay)
        if self.kernel is not None and step % self.recipe.blur_every == 0:
            self.parameters.copy_(_blur(self.parameters, self.kernel))
        if self.recipe.clipped:
            self.parameters.clamp_(-0.5, 0.5)


def _mean_and_deviation(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each picture's values."""
    rest = own_dims(values)
    return values.mean(dim=rest, keepdim=True), values.std(dim=rest, keepdim=True)


def _standardise(values: Tensor) -> Tensor:
    mean, deviation = _mean_and_deviation(values)
    return (values - mean) / (deviation + SMALLEST)


def _limit_contrast(values: Tensor, most: float) -> Tensor:
    """Pictures of more than that standard deviation shrunk to it."""
    if not most:
        return values
    return values * (most / _mean_and_deviation(values)[1].clamp_min(most))


def _gaussian_kernel(deviation: float) -> Tensor:
    reach = max(1, round(3 * deviation))
    places = torch.arange(-reach, reach + 1, dtype=torch.float32)
    weights = torch.exp(-(places**2) / (2 * deviation**2))
    return weights / weights.sum()


def _blur(values: Tensor, kernel: Tensor) -> Tensor:
    channels, reach, dims = values.shape[1], len(kernel) // 2, place_dims(values)
    convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[len(dims) - 1]
    for dim in dims:
        shape = [-1 if each == dim else 1 for each in dims]
        around = [reach if each == dim else 0 for each in reversed(dims) for _ in range(2)]
        along = kernel.view(1, 1, *shape).expand(channels, *[-1] * (len(dims) + 1))
        values = convolve(functional.pad(values, around, mode="replicate"), along, groups=channels)
    return values
