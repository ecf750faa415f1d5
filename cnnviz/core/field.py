"""Receptive fields: which part of the input a layer's units see, and where on it they belong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from cnnviz.core.dimensions import Size, spell_size
from cnnviz.core.notebook import html_table, repr_line, spell_sides
from cnnviz.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Box", "Field", "Kind", "Span", "spell_field"]

Kind: TypeAlias = Literal["spatial", "gated", "whole", "unknown"]

Box: TypeAlias = tuple[int, ...]
"""The first place along each axis of the network's input, then one past the last: top, left, bottom and right."""


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

    def units_at(self, pixels: NDArray[Any], length: int, *, covered: bool = False) -> NDArray[np.float64]:
        """Where pixels lie among the units: 0 at the centre of the first, 1 at that of the second.

        The outer units are held for half a stride beyond their centres; farther out there is no unit, and NaN. Where
        all units have the same centre they are spread evenly over the image.

        Args:
            pixels: Positions on the input; the centre of its first pixel is 0.
            length: The input's length in pixels.
            covered: Whether the outer units are held as far as their fields cover the measured input, too.
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
        if covered:
            before, after = (self.seen[unit] for unit in (0, -1))
            start, stop = (np.where(units < 0, *ends) for ends in zip(before, after, strict=True))
            beyond &= (np.asarray(pixels) < start) | (np.asarray(pixels) >= stop)
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
        input: Lengths of the input that it was measured on: of a picture height and width.
        because: The operation that let the whole image in, or that is not known; empty for spatial fields.
        spans: The fields along each axis of the input: of a picture down and across; none unless spatial or gated.
    """

    kind: Kind
    input: Size
    because: str = ""
    spans: tuple[Span, ...] = ()

    def __repr__(self) -> str:
        return repr_line("Field", "", self.kind, *filter(None, [self.because]), *_facts_of(self).values())

    def _repr_html_(self) -> str:
        facts = {"kind": self.kind, "because of": self.because, **_facts_of(self)}
        rows = [(name, said.removeprefix(f"{name} ")) for name, said in facts.items() if said]
        return html_table("Receptive field", (), rows)

    @property
    def rows(self) -> Span | None:
        """The fields down the image; None unless spatial or gated, and of signals."""
        return self.spans[-2] if len(self.spans) > 1 else None

    @property
    def columns(self) -> Span | None:
        """The fields across the image, or along a signal; None unless spatial or gated."""
        return self.spans[-1] if self.spans else None

    @property
    def size(self) -> Size | None:
        """Lengths of a unit's field as if the input had no end: of a picture height and width; or None."""
        return tuple(span.size for span in self.spans) or None

    @property
    def stride(self) -> tuple[float, ...] | None:
        """Pixels from one unit to the next along each axis; None unless spatial or gated."""
        return tuple(span.stride for span in self.spans) or None

    @property
    def offset(self) -> tuple[float, ...] | None:
        """Centre of unit 0 in pixels along each axis, 0 being the centre of the first pixel; or None."""
        return tuple(span.offset for span in self.spans) or None

    @property
    def grid(self) -> Size:
        """How many units there are along each axis; empty unless spatial or gated."""
        return tuple(len(span) for span in self.spans)

    @property
    def placed(self) -> bool:
        """Whether every unit has a place of its own on the input: a spatial or gated field."""
        return bool(self.spans)

    @property
    def regular(self) -> bool:
        """Whether every unit's field is its neighbour's, moved by the stride."""
        return all(span.regular for span in self.spans)

    @property
    def aligned(self) -> bool:
        """Whether all branches that lead to the layer have the same centres."""
        return all(span.aligned for span in self.spans)

    def centre(self, *place: int) -> tuple[float, ...]:
        """Centre of a unit's field in input pixels along each axis; the image's own where the field is no box."""
        if not self.spans:
            return tuple((length - 1) / 2 for length in self.input)
        return tuple(span.centre(unit) for span, unit in zip(self.spans, place, strict=True))

    @overload
    def box(self, *place_and_size: int) -> Box: ...
    @overload
    def box(self, *place_and_size: int, spacing: float | Sequence[float]) -> tuple[float, ...]: ...
    def box(self, *place_and_size: int, spacing: float | Sequence[float] | None = None) -> Box | tuple[float, ...]:
        """What a unit sees of an input: exact on the measured input, by arithmetic on one of another size.

        Args:
            *place_and_size: The unit's place, then the lengths of the input in pixels: of a picture row, column, height
                and width; of a signal the place and the length.
            spacing: The distance from one place of the input to the next, along each axis or all: seconds a sample of a
                signal, millimetres a voxel of a volume.

        Returns:
            The first place along each axis, then one past the last (of a picture top, left, bottom, right), clipped to
            the input. A unit that sees nothing but padding has an empty box. With a spacing the same in its unit, from
            the first place's edge.

        Raises:
            UsageError: If there is no such unit, or the fields are irregular and the input is not the measured one.
        """
        count = len(self.input)
        if len(place_and_size) != 2 * count:
            raise UsageError(f"A box needs a place and a size of {count} numbers each; got {len(place_and_size)}.")
        seen = self._seen_at(place_and_size[:count], place_and_size[count:])
        found = (*(start for start, _ in seen), *(stop for _, stop in seen))
        if spacing is None:
            return found
        steps = tuple(spacing) if isinstance(spacing, Sequence) else (spacing,) * count
        return tuple(edge * step for edge, step in zip(found, steps * 2, strict=True))

    def _seen_at(self, place: Size, size: Size) -> list[tuple[int, int]]:
        if not self.spans:
            return [(0, length) for length in size]
        if size != self.input:
            return [span.reach(unit, length) for span, unit, length in zip(self.spans, place, size, strict=True)]
        if not all(0 <= unit < len(span) for span, unit in zip(self.spans, place, strict=True)):
            raise UsageError(f"There is no unit {','.join(map(str, place))} among {spell_size(self.grid)}.")
        return [span.seen[unit] for span, unit in zip(self.spans, place, strict=True)]

    def describe(self) -> dict[str, Any]:
        """Plain values: kind, because, and where it is a box size, stride, offset, regular and aligned."""
        said: dict[str, Any] = {"kind": self.kind, "because": self.because or None}
        if not self.placed:
            return said
        plain = {"size": self.size, "stride": self.stride, "offset": self.offset}
        return said | plain | {"regular": self.regular, "aligned": self.aligned}


def _facts_of(field: Field) -> dict[str, str]:
    """Size, stride and input in words, with what they are."""
    if field.size is None or field.stride is None:
        return {"input": f"input {spell_sides(field.input)}"}
    strides = sorted({*field.stride})
    stride = " x ".join(f"{each:g}" for each in (field.stride if len(strides) > 1 else strides))
    return {"size": spell_sides(field.size), "stride": f"stride {stride}", "input": f"input {spell_sides(field.input)}"}


def spell_field(field: Field | None) -> str:
    """The size and stride of a field in a few words, or its kind; empty where there is none."""
    if field is None:
        return ""
    facts = _facts_of(field)
    return f"{facts['size']}, {facts['stride']}" if field.placed else field.kind
