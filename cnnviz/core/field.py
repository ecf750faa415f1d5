"""Receptive fields: which part of the input a layer's units see, and where on it they belong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from cnnviz.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Box", "Field", "Kind", "Span"]

Kind: TypeAlias = Literal["spatial", "gated", "whole", "unknown"]

Box: TypeAlias = tuple[int, int, int, int]
"""Top, left, bottom and right in pixels of the network's input; bottom and right are one past the last."""


@dataclass(frozen=True)
class Span:
    """The fields of a layer's units along one axis of the input, in pixels; the centre of pixel 0 is 0.

    Attributes:
        size: Pixels from the first to the last that a unit sees, as if the input had no end; where the units differ,
            the most.
        stride: From the centre of one unit to the next; where that differs, on average.
        offset: Centre of unit 0; where the strides differ, of the straight line through all centres.
        seen: First and one past the last pixel that each unit really sees on the measured input; equal where a unit
            sees nothing but padding.
        centres: The centre of each unit, where they are not ``offset + stride * unit``.
        aligned: Whether all branches that lead to the layer have the same centres.
    """

    size: int
    stride: float
    offset: float
    seen: tuple[tuple[int, int], ...]
    centres: tuple[float, ...] | None = None
    aligned: bool = True

    @property
    def regular(self) -> bool:
        """Whether every unit is the one before, moved by the stride."""
        return self.centres is None

    def centre(self, unit: int) -> float:
        """Centre of a unit in pixels, also of one beyond the measured layer's ends."""
        if self.centres is not None and 0 <= unit < len(self.centres):
            return self.centres[unit]
        return self.offset + self.stride * unit

    def reach(self, unit: int, length: int) -> tuple[int, int]:
        """First and one past the last pixel that a unit can see of an input of another length, by arithmetic.

        Raises:
            UsageError: If the units differ, so that there is no arithmetic.
        """
        if not self.regular:
            raise UsageError(
                "The fields of this layer are irregular, so what its units see of another input than the measured one "
                f"is not known; look at the layers of an input of {length} pixels."
            )
        first = round(self.centre(unit) - (self.size - 1) / 2)
        start = min(max(first, 0), length)
        return start, max(min(first + self.size, length), start)

    def units_at(self, pixels: NDArray[Any], length: int) -> NDArray[np.float64]:
        """Where pixels lie among the units: 0 at the centre of the first, 1 at that of the second.

        The outer units are held for half a stride beyond their centres; farther out there is no unit, and NaN. Where
        all units have the same centre they are spread evenly over the image.

        Args:
            pixels: Positions on the input; the centre of its first pixel is 0.
            length: The input's length in pixels.
        """
        import numpy as np

        count = len(self)
        if self.stride == 0:
            return np.clip((np.asarray(pixels) + 0.5) * count / length - 0.5, 0, count - 1)
        units = (np.asarray(pixels, dtype=np.float64) - self.offset) / self.stride
        if self.centres is not None and min(np.diff(self.centres), default=0.0) >= self.stride / 2 > 0:
            centres = np.asarray(self.centres)
            ends = centres[0] - self.stride / 2, centres[-1] + self.stride / 2
            units = np.interp(pixels, [ends[0], *centres, ends[1]], [-0.5, *range(count), count - 0.5], -1, count)
        beyond = (units < -0.5) | (units > count - 0.5)
        return np.where(beyond, np.nan, np.clip(units, 0, count - 1))

    def middles(self) -> NDArray[np.float64]:
        """The centre of every unit on a straight line, or its own where the units are irregular."""
        import numpy as np

        return np.array([self.centre(unit) for unit in range(len(self))])

    def __len__(self) -> int:
        return len(self.seen)


@dataclass(frozen=True)
class Field:
    """What the units of a layer see of the network's input.

    A ``"spatial"`` field is a box around the unit's centre. A ``"gated"`` one is such a box, and the rest of the image
    comes in only through numbers that all places share: the factors of a squeeze-and-excitation, the statistics of a
    norm. A ``"whole"`` field is the whole image, and of an ``"unknown"`` one nothing is known but that.

    Attributes:
        kind: ``"spatial"``, ``"gated"``, ``"whole"`` or ``"unknown"``.
        input: Height and width of the input that it was measured on.
        because: The operation that let the whole image in, or that is not known; empty for spatial fields.
        rows: The fields down the image; None unless spatial or gated.
        columns: The fields across the image; None unless spatial or gated.
    """

    kind: Kind
    input: tuple[int, int]
    because: str = ""
    rows: Span | None = None
    columns: Span | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of a unit's field as if the input had no end; None unless spatial or gated."""
        return (self.rows.size, self.columns.size) if self.rows and self.columns else None

    @property
    def stride(self) -> tuple[float, float] | None:
        """Pixels from one unit to the next, down and across; None unless spatial or gated."""
        return (self.rows.stride, self.columns.stride) if self.rows and self.columns else None

    @property
    def offset(self) -> tuple[float, float] | None:
        """Centre of unit 0 in pixels, down and across, (0, 0) being the centre of the first pixel; or None."""
        return (self.rows.offset, self.columns.offset) if self.rows and self.columns else None

    @property
    def placed(self) -> bool:
        """Whether every unit has a place of its own on the input: a spatial or gated field."""
        return self.rows is not None and self.columns is not None

    @property
    def regular(self) -> bool:
        """Whether every unit's field is its neighbour's, moved by the stride."""
        return not self.rows or not self.columns or (self.rows.regular and self.columns.regular)

    @property
    def aligned(self) -> bool:
        """Whether all branches that lead to the layer have the same centres."""
        return not self.rows or not self.columns or (self.rows.aligned and self.columns.aligned)

    def centre(self, y: int, x: int) -> tuple[float, float]:
        """Centre of a unit's field in input pixels, down and across; the image's own where the field is no box."""
        if not self.rows or not self.columns:
            return (self.input[0] - 1) / 2, (self.input[1] - 1) / 2
        return self.rows.centre(y), self.columns.centre(x)

    def box(self, y: int, x: int, height: int, width: int) -> Box:
        """What a unit sees of an input: exact on the measured input, by arithmetic on one of another size.

        Args:
            y: The unit's row.
            x: The unit's column.
            height: Of the input, in pixels.
            width: Of the input, in pixels.

        Returns:
            Top, left, bottom, right, clipped to the input; bottom and right are one past the last. A unit that sees
            nothing but padding has an empty box.

        Raises:
            UsageError: If there is no such unit, or the fields are irregular and the input is not the measured one.
        """
        if not self.rows or not self.columns:
            return 0, 0, height, width
        if (height, width) != self.input:
            (top, bottom), (left, right) = self.rows.reach(y, height), self.columns.reach(x, width)
            return top, left, bottom, right
        if not (0 <= y < len(self.rows) and 0 <= x < len(self.columns)):
            raise UsageError(f"There is no unit {y},{x} among {len(self.rows)} x {len(self.columns)}.")
        (top, bottom), (left, right) = self.rows.seen[y], self.columns.seen[x]
        return top, left, bottom, right

    def describe(self) -> dict[str, Any]:
        """Plain values: kind, because, and where it is a box size, stride, offset, regular and aligned."""
        said: dict[str, Any] = {"kind": self.kind, "because": self.because or None}
        if not self.placed:
            return said
        plain = {"size": self.size, "stride": self.stride, "offset": self.offset}
        return said | plain | {"regular": self.regular, "aligned": self.aligned}
