"""The colours of a drawn scene: a quiet ground, a vivid object, and clutter that stays away from both."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np

Colour = tuple[float, float, float]
"""Red, green and blue between 0 and 1."""

OBJECT_DISTANCE: Final = 0.5
"""Least Euclidean distance between the object's colour and the ground's."""

CLUTTER_DISTANCE: Final = 0.35
"""Least Euclidean distance between the object's colour and that of anything else painted."""


@dataclass(frozen=True)
class Palette:
    """The two colours a scene is built on."""

    ground: Colour
    object: Colour

    def clutter(self, rng: np.random.Generator, least: float, most: float) -> Colour:
        """A colour between the ground's and any other, away from the object's.

        Args:
            rng: Where the choices come from.
            least: Least share of the other colour, between 0 and 1.
            most: Greatest share of the other colour, between 0 and 1.
        """
        for _ in range(8):
            share, hue, saturation, value = rng.random(4).tolist()
            other = colorsys.hsv_to_rgb(hue, 0.2 + 0.7 * saturation, 0.2 + 0.8 * value)
            mixed = _mixed(self.ground, other, least + (most - least) * share)
            if math.dist(mixed, self.object) >= CLUTTER_DISTANCE:
                return mixed
        return self.ground


def _mixed(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (a + share * (b - a) for a, b in zip(first, second, strict=True))
    return red, green, blue


def draw_palette(rng: np.random.Generator) -> Palette:
    """Choose a pale or dark ground, and a vivid object colour that stands out from it."""
    night, hue, saturation, value = rng.random(4).tolist()
    dark = night < 0.4
    if dark:
        ground = colorsys.hsv_to_rgb(hue, 0.3 + 0.35 * saturation, 0.16 + 0.22 * value)
    else:
        ground = colorsys.hsv_to_rgb(hue, 0.06 + 0.3 * saturation, 0.72 + 0.24 * value)
    while True:
        turn, saturation, value = rng.random(3).tolist()
        bright = 0.75 + 0.25 * value if dark else 0.3 + 0.65 * value
        vivid = colorsys.hsv_to_rgb((hue + 0.2 + 0.6 * turn) % 1.0, 0.55 + 0.37 * saturation, bright)
        if math.dist(vivid, ground) >= OBJECT_DISTANCE:
            return Palette(ground, vivid)
