"""A picture, and how a network's input was cut from it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LUMA", "Geometry", "Picture"]

LUMA: Final = (0.299, 0.587, 0.114)
"""How much red, green and blue add to a pixel's grey (ITU-R BT.601)."""


@dataclass(frozen=True)
class Geometry:
    """How a network's input was cut from a picture: resized as a whole, then cropped (or padded) to the input.

    Attributes:
        original: Height and width of the picture, in pixels.
        resized: Height and width after the resize, in pixels.
        crop: Top, left, height and width of the input within the resized picture; top and left are negative where
            the picture was padded.
    """

    original: tuple[int, int]
    resized: tuple[int, int]
    crop: tuple[int, int, int, int]

    @classmethod
    def whole(cls, height: int, width: int) -> Geometry:
        """The geometry of an input that is the picture itself."""
        return cls((height, width), (height, width), (0, 0, height, width))

    @property
    def scale(self) -> tuple[float, float]:
        """Picture pixels per input pixel, down and across."""
        return self.original[0] / self.resized[0], self.original[1] / self.resized[1]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom edge of the input on the picture, in picture pixels (may reach beyond it)."""
        top, left, height, width = self.crop
        down, across = self.scale
        return left * across, top * down, (left + width) * across, (top + height) * down


@dataclass(frozen=True, eq=False)
class Picture:
    """Upright sRGB pixels, where they came from, and how the network's input was cut from them.

    Attributes:
        pixels: ``(H, W, 3)`` uint8, sRGB, upright.
        name: A file's name (never its folder) or a word such as ``"image 3"``; used in captions and file names.
        geometry: How the network's input was cut out; None until a model has preprocessed the picture.
        notes: What reading had to decide, such as a transparent background filled.
    """

    pixels: NDArray[np.uint8] = field(repr=False)
    name: str = "image"
    geometry: Geometry | None = None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.pixels.shape[0]), int(self.pixels.shape[1])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shape and pixels, hexadecimal: the same picture has the same digest, whatever its file format."""
        import numpy as np

        pixels = np.ascontiguousarray(self.pixels)
        digest = hashlib.sha256(f"{pixels.shape}{pixels.dtype}".encode())
        digest.update(pixels.data)
        return digest.hexdigest()

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> NDArray:  # type: ignore[type-arg]
        import numpy as np

        return np.array(self.pixels, dtype=dtype, copy=True if copy is None else copy)
