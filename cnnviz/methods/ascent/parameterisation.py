"""Paintings: numbers that a picture is made of, and how it is made of them."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

from cnnviz.methods.ascent.recipes import Recipe
from cnnviz.methods.ascent.spectrum import Nature, frequencies

__all__ = ["Fourier", "Painting", "Phase", "Pixels", "Pyramid"]

DARKEST = 0.02
"""Pixels of a picture to start from are kept so far from black and white, where the sigmoid has no slope."""

GAIN = 4.0
"""What the Fourier sums are divided by before the sigmoid (Olah et al., Distill 2017)."""

START = 0.01
COARSEST = 4
LEVEL = 0.25
SMALLEST = 1e-5


class Painting(ABC):
    """Some pictures of one size, each made of its own numbers; nothing in one depends on another.

    Attributes:
        numbers: ``(G, ...)``, what is optimised.
        size: Height and width of the pictures.
    """

    def __init__(self, size: tuple[int, int], numbers: Tensor) -> None:
        self.size = size
        self.numbers = numbers.requires_grad_()

    @abstractmethod
    def pictures(self, numbers: Tensor) -> Tensor:
        """``(G, C, H, W)``; in [0, 1] but for :class:`Pixels`, whose caller clips."""

    def settle(self, step: int) -> None:  # noqa: B027 - most paintings have nothing to settle
        """What a regulariser does to the numbers after a step, counted from 1."""


class Colours:
    """From independent colours to pixels, and back.

    Args:
        nature: How channels vary together, and what a blank picture is.
        device: Where the pictures are.
    """

    def __init__(self, nature: Nature, device: torch.device) -> None:
        self.mixing = nature.mixing.to(device)
        self.apart = torch.linalg.inv(nature.mixing).to(device)
        self.centre = torch.logit(nature.centre, eps=DARKEST).to(device)

    def put_on(self, independent: Tensor, contrast: float = 0.0) -> Tensor:
        """Pixels in [0, 1]; what deviates by more than ``contrast`` before the sigmoid is shrunk to it."""
        channels = torch.einsum("dc,gchw->gdhw", self.mixing, independent)
        return torch.sigmoid(_limited(channels, contrast) + self.centre)

    def taken_off(self, pictures: Tensor) -> Tensor:
        """The independent colours of pixels."""
        channels = torch.logit(pictures, eps=DARKEST) - self.centre
        return torch.einsum("cd,gdhw->gchw", self.apart, channels)


class Fourier(Painting):
    """Amplitudes of waves, the fine ones weaker; independent colours; a sigmoid.

    Args:
        size: Height and width.
        noise: ``(G, C, H, W // 2 + 1, 2)`` standard normal numbers.
        nature: How independent colours make channels.
        recipe: How a wave's weight depends on its frequency, and the largest contrast.
        start: Pictures ``(G, C, H, W)`` in [0, 1] to start from.
    """

    def __init__(
        self, size: tuple[int, int], noise: Tensor, nature: Nature, recipe: Recipe, *, start: Tensor | None
    ) -> None:
        waves = frequencies(*size)
        weights = waves.clamp_min(recipe.coarsest / max(size)) ** -recipe.fineness
        usual = (1 / waves).mean() / (waves**-recipe.fineness).mean()
        self.weights = (weights * usual / GAIN).to(noise.device)[..., None]
        self.colours, self.contrast = Colours(nature, noise.device), recipe.contrast
        numbers = noise * START
        if start is not None:
            spectrum = torch.view_as_real(torch.fft.rfft2(self.colours.taken_off(start), norm="ortho"))
            numbers = spectrum / self.weights
        super().__init__(size, numbers)

    def pictures(self, numbers: Tensor) -> Tensor:
        """The waves added up."""
        spectrum = torch.view_as_complex(numbers * self.weights)
        return self.colours.put_on(torch.fft.irfft2(spectrum, s=self.size, norm="ortho"), self.contrast)


class Phase(Painting):
    """Only the phases of waves, whose amplitudes are those of natural pictures (MACO).

    Args:
        size: Height and width.
        noise: ``(G, C, H, W // 2 + 1)`` standard normal numbers.
        nature: How independent colours make channels, and the amplitudes.
        start: Pictures ``(G, C, H, W)`` in [0, 1] whose phases to start from.
    """

    def __init__(self, size: tuple[int, int], noise: Tensor, nature: Nature, *, start: Tensor | None) -> None:
        self.magnitude = nature.magnitude(*size).to(noise.device)
        self.colours = Colours(nature, noise.device)
        numbers = noise
        if start is not None:
            numbers = torch.fft.rfft2(self.colours.taken_off(start)).angle()
        super().__init__(size, numbers.clone())
        self.spread = _statistics(numbers) if start is not None else None

    def pictures(self, numbers: Tensor) -> Tensor:
        """The waves added up, brought to mean 0 and standard deviation 1 before the colours are mixed."""
        phases = _standardised(numbers)
        if self.spread is not None:
            phases = phases * self.spread[1] + self.spread[0]
        waves = torch.polar(self.magnitude.expand_as(phases), phases)
        return self.colours.put_on(_standardised(torch.fft.irfft2(waves, s=self.size)))


class Pyramid(Painting):
    """Pictures of halving size added up, the coarse ones enlarged; independent colours; a sigmoid.

    Args:
        size: Height and width.
        noise: ``(G, C, H, W)`` standard normal numbers.
        nature: How independent colours make channels.
        contrast: Largest standard deviation of a picture before the sigmoid; 0 for any.
        start: Pictures ``(G, C, H, W)`` in [0, 1] to start from.
    """

    def __init__(
        self, size: tuple[int, int], noise: Tensor, nature: Nature, *, contrast: float, start: Tensor | None
    ) -> None:
        self.colours, self.contrast = Colours(nature, noise.device), contrast
        self.sizes = [size]
        while min(self.sizes[-1]) > COARSEST:
            self.sizes.append(((self.sizes[-1][0] + 1) // 2, (self.sizes[-1][1] + 1) // 2))
        groups, channels = noise.shape[:2]
        base = noise * START if start is None else self.colours.taken_off(start) / LEVEL
        coarse = [
            torch.zeros(groups, channels, rows * columns, device=noise.device) for rows, columns in self.sizes[1:]
        ]
        super().__init__(size, torch.cat([base.flatten(2), *coarse], dim=2))

    def pictures(self, numbers: Tensor) -> Tensor:
        """The levels added up, from the coarsest."""
        levels = torch.split(numbers, [rows * columns for rows, columns in self.sizes], dim=2)
        total = levels[-1].reshape(*numbers.shape[:2], *self.sizes[-1])
        for level, size in zip(levels[-2::-1], self.sizes[-2::-1], strict=True):
            total = functional.interpolate(total, size=size, mode="bilinear") + level.reshape(*numbers.shape[:2], *size)
        return self.colours.put_on(total * LEVEL, self.contrast)


class Pixels(Painting):
    """The pixels themselves, as distances from the middle grey.

    Args:
        size: Height and width.
        noise: ``(G, C, H, W)`` standard normal numbers.
        recipe: How strong the start's noise is, and what happens to the numbers after each step.
        start: Pictures ``(G, C, H, W)`` in [0, 1] to start from.
    """

    def __init__(self, size: tuple[int, int], noise: Tensor, recipe: Recipe, *, start: Tensor | None) -> None:
        self.recipe = recipe
        self.kernel = _gaussian(recipe.blur).to(noise.device) if recipe.blur_every else None
        super().__init__(size, noise * recipe.noisy if start is None else start - 0.5)

    def pictures(self, numbers: Tensor) -> Tensor:
        """The numbers around the middle grey."""
        return numbers + 0.5

    @torch.no_grad()
    def settle(self, step: int) -> None:
        """Decay, blur and clip."""
        self.numbers.mul_(1 - self.recipe.decay)
        if self.kernel is not None and step % self.recipe.blur_every == 0:
            self.numbers.copy_(_blurred(self.numbers, self.kernel))
        if self.recipe.clipped:
            self.numbers.clamp_(-0.5, 0.5)


def _statistics(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each picture's values."""
    rest = tuple(range(1, values.dim()))
    return values.mean(dim=rest, keepdim=True), values.std(dim=rest, keepdim=True)


def _standardised(values: Tensor) -> Tensor:
    mean, deviation = _statistics(values)
    return (values - mean) / (deviation + SMALLEST)


def _limited(values: Tensor, most: float) -> Tensor:
    """Pictures of more than that standard deviation shrunk to it."""
    if not most:
        return values
    return values * (most / _statistics(values)[1].clamp_min(most))


def _gaussian(deviation: float) -> Tensor:
    reach = max(1, round(3 * deviation))
    places = torch.arange(-reach, reach + 1, dtype=torch.float32)
    weights = torch.exp(-(places**2) / (2 * deviation**2))
    return weights / weights.sum()


def _blurred(values: Tensor, kernel: Tensor) -> Tensor:
    channels, reach = values.shape[1], len(kernel) // 2
    down = kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    padded = functional.pad(values, (0, 0, reach, reach), mode="replicate")
    values = functional.conv2d(padded, down, groups=channels)
    padded = functional.pad(values, (reach, reach, 0, 0), mode="replicate")
    return functional.conv2d(padded, down.transpose(2, 3), groups=channels)
