"""Recipes: ways of ascending that belong together, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

__all__ = ["RECIPES", "Parameterisation", "SMALL", "Recipe", "RecipeName", "Transformations"]

RecipeName: TypeAlias = Literal["auto", "crops", "whole", "natural", "lucid", "dream", "simonyan", "yosinski"]
Parameterisation: TypeAlias = Literal["fourier", "phase", "pyramid", "pixels"]
Transformations: TypeAlias = Literal["crops", "affine", "jitter", "none"]


@dataclass(frozen=True)
class Recipe:
    """What an ascent does.

    Attributes:
        parameterisation: What a picture is made of.
        transformations: How samples differ from it.
        at_a_place: The same for a unit at one place, which should stay in view; None for no other.
        steps: How many steps.
        crops: Samples a step, whose gradients are averaged.
        rate: How far a step goes.
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
