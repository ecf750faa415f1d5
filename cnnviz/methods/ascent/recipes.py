"""Recipes: ways of ascending that belong together, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

__all__ = [
    "RECIPES",
    "AscentPrecision",
    "Parameterisation",
    "SMALL",
    "Recipe",
    "RecipeName",
    "Transformations",
    "VIEW_TRANSFORMS",
    "ViewTransform",
]


@dataclass(frozen=True)
class ViewTransform:
    """Distribution of the random views of a picture that a step averages over.

    Attributes:
        near: Smallest side of the view, as a share of the largest view that fits into the canvas.
        far: Largest side.
        spread: Standard deviation of the view's centre, in shares of the canvas.
        turn: Most degrees it is turned either way.
        stretch: Most that one side is longer than the other, as the logarithm of their ratio.
        mirror: Whether every other one is mirrored.
        noise: Standard deviation of the noise added at the first step, on pixels in [0, 1].
        noise_last: The same at the last step; it changes evenly in between.
    """

    near: float = 1.0
    far: float = 1.0
    spread: float = 0.0
    turn: float = 0.0
    stretch: float = 0.0
    mirror: bool = False
    noise: float = 0.0
    noise_last: float = 0.0


VIEW_TRANSFORMS = {
    "crops": ViewTransform(near=0.5, far=1.0, spread=0.15, noise=0.08, noise_last=0.08),
    "affine": ViewTransform(near=0.83, far=1.1, spread=0.04, turn=10.0),
    "jitter": ViewTransform(spread=0.02),
    "none": ViewTransform(),
}
"""Transformations by name."""


RecipeName: TypeAlias = Literal["auto", "crops", "whole", "natural", "lucid", "dream", "simonyan", "yosinski"]
Parameterisation: TypeAlias = Literal["fourier", "phase", "pyramid", "pixels"]
Transformations: TypeAlias = Literal["crops", "affine", "jitter", "none"]
AscentPrecision: TypeAlias = Literal["full", "bfloat16"]


@dataclass(frozen=True)
class Recipe:
    """What an ascent does.

    Attributes:
        parameterisation: What a picture is made of.
        transformations: How samples differ from it.
        at_a_place: The same for a unit at one place, which should stay in view; None for no other.
        steps: Number of steps.
        crops: Samples a step, whose gradients are averaged.
        rate: Step size (learning rate).
        adaptive: Adam; otherwise the plain gradient, divided by its root mean square.
        canvas: Side of the picture, in sides of the network's input.
        fineness: The power of the frequency that a wave's weight falls with (``"fourier"``).
        coarsest: Waves with fewer cycles a picture count as much as those with so many (``"fourier"``); they would
            otherwise make large areas black or white.
        contrast: Largest standard deviation before the sigmoid; 0 for any (``"fourier"`` and ``"pyramid"``).
        noisy: Standard deviation of the start (``"pixels"``).
        decay: Share of itself that a pixel loses at each step (``"pixels"``).
        blur_every: Steps between two blurs; 0 for none (``"pixels"``).
        blur: Their standard deviation in pixels (``"pixels"``).
        clipped: Whether pixels are cut off at black and white at each step (``"pixels"``).
    """

    parameterisation: Parameterisation = "fourier"
    transformations: Transformations = "crops"
    at_a_place: Transformations | None = None
    steps: int = 64
    crops: int = 4
    rate: float = 0.05
    adaptive: bool = True
    canvas: float = 8 / 7
    fineness: float = 1.5
    coarsest: float = 2.0
    contrast: float = 0.0
    noisy: float = 0.0
    decay: float = 0.0
    blur_every: int = 0
    blur: float = 1.0
    clipped: bool = False


SMALL = 128
"""Networks with a smaller input tell things apart by their place and size, and are not asked about crops."""

RECIPES: Mapping[RecipeName, Recipe] = MappingProxyType(
    {
        "crops": Recipe(at_a_place="jitter"),
        "whole": Recipe(
            transformations="affine", at_a_place="jitter", steps=256, crops=1, canvas=1.0, coarsest=1.0
        ),
        "natural": Recipe(parameterisation="phase", at_a_place="jitter", rate=0.1),
        "lucid": Recipe(transformations="affine", steps=256, crops=1, canvas=1.0, fineness=1.0, coarsest=1.0),
        "dream": Recipe(parameterisation="pyramid", steps=40, crops=2, rate=0.02, contrast=1.5),
        "simonyan": Recipe(
            parameterisation="pixels", transformations="none", steps=256, crops=1, rate=0.01, adaptive=False,
            canvas=1.0, decay=0.05,
        ),
        "yosinski": Recipe(
            parameterisation="pixels", transformations="none", steps=256, crops=1, rate=0.03, adaptive=False,
            canvas=1.0, noisy=0.04, decay=1e-4, blur_every=4, blur=1.0, clipped=True,
        ),
    }
)  # fmt: skip
