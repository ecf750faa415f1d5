"""A photograph with only those parts of it left in full colour where something responds."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from cnnviz.errors import ParameterError

__all__ = ["masked"]

LEFT: Final = 0.22
GROUND: Final = 40


def masked(pixels: NDArray[np.uint8], shown: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A photograph, dark and without colour but for some places.

    Args:
        pixels: ``(H, W, 3)`` RGB.
        shown: ``(H, W)``: the places that keep their colour.

    Raises:
        ParameterError: The places are not as many as the picture's.
    """
    if shown.shape != pixels.shape[:2]:
        raise ParameterError(f"The mask is {shown.shape}, but the picture is {pixels.shape[:2]}.")
    red, green, blue = np.moveaxis(pixels.astype(np.float32), -1, 0)
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    dark = np.rint(GROUND + LEFT * grey).astype(np.uint8)
    return np.where(shown[..., None], pixels, dark[..., None])
