"""A picture, and how a network's input was cut from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cnnviz.core.sample import Geometry, Sample
from cnnviz.errors import ParameterError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LUMA", "Geometry", "Picture", "ValueRange", "check_range", "scale_values"]

LUMA: Final = (0.299, 0.587, 0.114)
"""How much red, green and blue add to a pixel's grey (ITU-R BT.601)."""


ValueRange: TypeAlias = tuple[float, float]
"""The values that stand for 0 and 1."""

HELD: Final = 1e-3
"""8 bits hold values that are no farther from their levels, in levels."""
PAIR: Final = 2


def check_range(value_range: ValueRange | None) -> None:
    """Refuse a range that is no lower and higher number; None is one.

    Raises:
        ParameterError: If it is none.
    """
    if value_range is None:
        return
    numbers = tuple(value_range)
    if len(numbers) != PAIR or not all(map(math.isfinite, numbers)) or not numbers[0] < numbers[1]:
        raise ParameterError(f"value_range is {value_range}; expected a lower and a higher number, such as (0, 4095).")


def scale_values(
    values: NDArray[Any], value_range: ValueRange
) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None, tuple[str, ...]]:
    """Values as 0 to 255, in [0, 1] at their own depth (None where 8 bits hold them), and a note if any are clipped.

    Args:
        values: Any numbers.
        value_range: Those that stand for 0 and 1.
    """
    import numpy as np

    low, high = value_range
    shares = (np.asarray(values, dtype=np.float64) - low) / (high - low)
    outside = float(np.mean((shares < 0) | (shares > 1))) if shares.size else 0.0
    more = f"{max(outside, 0.001):.1%} of the values lie outside {low:g} to {high:g}, and are clipped"
    shares = shares.clip(0, 1)
    levels = np.rint(shares * 255)
    held = bool(np.all(np.abs(shares * 255 - levels) < HELD))
    return levels.astype(np.uint8), None if held else shares.astype(np.float32), (more,) if outside else ()


@dataclass(frozen=True, eq=False, repr=False)
class Picture(Sample):
    """Upright sRGB pixels, where they came from, and how the network's input was cut from them.

    Attributes:
        pixels: ``(H, W, 3)`` uint8, sRGB, upright.
        name: A file's name (never its folder) or a word such as ``"image 3"``; used in captions and file names.
        geometry: How the network's input was cut out; None until a model has preprocessed the picture.
        notes: What reading had to decide, such as a transparent background filled.
        exact: ``(H, W)`` or ``(H, W, 3)`` float32 in [0, 1]: the same values at their own depth, which the network is
            given; None where 8 bits hold them.
        value_range: The values that stand for 0 and 1.
        true_class: The class that it is known to show, as the network's captions name it; None where that is not known.
    """

    pixels: NDArray[np.uint8] = field(repr=False)
    name: str = "image"
    geometry: Geometry | None = None
    notes: tuple[str, ...] = ()
    exact: NDArray[np.float32] | None = field(default=None, repr=False)
    value_range: ValueRange = (0.0, 255.0)
    true_class: str | None = field(default=None, kw_only=True)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.pixels.shape[0]), int(self.pixels.shape[1])

    def _shown(self) -> NDArray[np.uint8]:
        """The pixels."""
        return self.pixels

    @property
    def held(self) -> NDArray[np.uint8]:
        """The 8-bit pixels ``(H, W, 3)``, which the digest is of."""
        return self.pixels

    def in_range(self, value_range: ValueRange | None) -> Picture:
        """The same picture with other values standing for 0 and 1; itself where these do already, or None is given."""
        import numpy as np

        if value_range is None or value_range == self.value_range:
            return self
        low, high = self.value_range
        held = self.pixels / 255 if self.exact is None else self.exact.astype(np.float64)
        levels, exact, notes = scale_values(held * (high - low) + low, value_range)
        shown = levels[:, :, None] if levels.ndim < self.pixels.ndim else levels
        pixels = np.ascontiguousarray(np.broadcast_to(shown, self.pixels.shape))
        return replace(self, pixels=pixels, exact=exact, value_range=value_range, notes=(*self.notes, *notes))
