"""What a network is asked about: the base of pictures, signals over time, and volumes in space or of frames."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import permutations
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

from cnnviz.core.dimensions import PICTURE, Size, spell_size
from cnnviz.core.notebook import html_picture, html_table, repr_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Entrance", "Geometry", "Orientation", "Sample", "Signal", "Volume"]

Kind = TypeVar("Kind", bound="Sample")

COLOURS: Final = 3
"""Red, green and blue."""


class Entrance(NamedTuple):
    """What a network takes, as far as reading has to know.

    Attributes:
        places: How many axes of places its input has: 1 for signals, 2 for pictures, 3 for volumes and clips.
        channels: How many channels; None where that is not known.
        value_range: The values of pictures that stand for 0 and 1; None for those of their kinds.
        rate: Of a network for clips the frames a second that it was trained with; None for any other, or unknown.
        frames: How many of them; None for all.
    """

    places: int = PICTURE
    channels: int | None = None
    value_range: tuple[float, float] | None = None
    rate: float | None = None
    frames: int | None = None


@dataclass(frozen=True)
class Geometry:
    """How a network's input was cut from a picture: resized as a whole, then cropped (or padded) to the input.

    The same holds for signals and volumes, with one and three lengths.

    Attributes:
        original: Height and width of the picture, in pixels.
        resized: Height and width after the resize, in pixels.
        crop: Top, left, height and width of the input within the resized picture; top and left are negative where
            the picture was padded.
    """

    original: Size
    resized: Size
    crop: tuple[int, ...]

    @classmethod
    def whole(cls, *size: int) -> Geometry:
        """The geometry of an input that is the picture itself."""
        return cls(size, size, (*(0 for _ in size), *size))

    @classmethod
    def centred(cls, original: Size, resized: Size, size: Size) -> Geometry:
        """The geometry of an input of some size out of the middle of the resized picture, rounded as torchvision does.

        Padding has its odd pixel at the end.
        """
        starts = [
            round((length - wanted) / 2) if length >= wanted else -((wanted - length) // 2)
            for length, wanted in zip(resized, size, strict=True)
        ]
        return cls(original, resized, (*starts, *size))

    @property
    def start(self) -> tuple[int, ...]:
        """Where the input begins within the resized picture: top and left."""
        return self.crop[: len(self.original)]

    @property
    def size(self) -> Size:
        """Height and width of the input."""
        return self.crop[len(self.original) :]

    @property
    def scale(self) -> tuple[float, ...]:
        """Picture pixels per input pixel, down and across."""
        return tuple(original / resized for original, resized in zip(self.original, self.resized, strict=True))

    @property
    def padded(self) -> bool:
        """Whether something was put around the picture."""
        ends = zip(self.start, self.size, self.resized, strict=True)
        return any(start < 0 or start + length > resized for start, length, resized in ends)

    @property
    def box(self) -> tuple[float, ...]:
        """Left, top, right and bottom edge of the input on the picture, in picture pixels (may reach beyond it)."""
        starts = [start * scale for start, scale in zip(self.start, self.scale, strict=True)]
        places = zip(self.start, self.size, self.scale, strict=True)
        stops = [(start + length) * scale for start, length, scale in places]
        return (*reversed(starts), *reversed(stops))

    def on_picture(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """A box (left, top, right, bottom) on the input, in picture pixels and within the picture."""
        top, left = self.crop[:2]
        (down, across), (high, wide) = self.scale, self.original
        columns = [min(max((edge + left) * across, 0.0), float(wide)) for edge in box[::2]]
        rows = [min(max((edge + top) * down, 0.0), float(high)) for edge in box[1::2]]
        return columns[0], rows[0], columns[1], rows[1]

    def points_on_picture(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points ``(P, 2)`` (x, y) on the input, in picture pixels."""
        top, left = self.crop[:2]
        down, across = self.scale
        import numpy as np

        placed: NDArray[np.float64] = (points + np.array([left, top])) * np.array([across, down])
        return placed


class Sample:
    """One thing to ask a network about; its kinds are ``Picture``, ``Signal`` and ``Volume``, each a frozen dataclass.

    Attributes:
        name: A file's name (never its folder) or a word such as ``"image 3"``; used in captions and file names.
        geometry: How the network's input was cut out; None until a model has preprocessed the sample.
        notes: What reading had to decide.
        true_class: The class that it is known to show, as the network's captions name it; None where that is not known.
    """

    if TYPE_CHECKING:  # fields of the kinds, whose order is theirs

        @property
        def name(self) -> str: ...  # noqa: D102
        @property
        def geometry(self) -> Geometry | None: ...  # noqa: D102
        @property
        def notes(self) -> tuple[str, ...]: ...  # noqa: D102
        @property
        def true_class(self) -> str | None: ...  # noqa: D102

    @property
    def held(self) -> NDArray[Any]:
        """The values themselves, as the kind holds them; not a copy."""
        raise NotImplementedError

    @property
    def size(self) -> tuple[int, ...]:
        """The length of each axis of places: ``(T,)``, ``(H, W)`` or ``(D, H, W)``."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return repr_line(type(self).__name__, self.name, self._words())

    def _repr_html_(self) -> str:
        shown = self._shown()
        if shown is None:
            return html_table(self.name, (), [(type(self).__name__.lower(), self._words())])
        return html_picture(self.name, self._words(), shown)

    def _words(self) -> str:
        """Its size in words."""
        return spell_size(self.size)

    def _shown(self) -> NDArray[np.uint8] | None:
        """What a notebook shows, ``(H, W, 3)``; None for nothing but words."""
        return None

    @property
    def cut(self) -> Geometry:
        """How the network's input was cut from it: all of it, where none was."""
        return self.geometry or Geometry.whole(*self.size)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shape, type and values, hexadecimal: the same content has the same one, whatever its format."""
        import numpy as np

        values = np.ascontiguousarray(self.held)
        digest = hashlib.sha256(f"{values.shape}{values.dtype}".encode())
        digest.update(values.data)
        return digest.hexdigest()

    def changed(self: Kind, **fields: Any) -> Kind:
        """The same sample with some of its fields replaced."""
        return cast("Kind", replace(cast("Any", self), **fields))

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> NDArray:  # type: ignore[type-arg]
        import numpy as np

        return np.array(self.held, dtype=dtype, copy=True if copy is None else copy)


@dataclass(frozen=True, eq=False, repr=False)
class Signal(Sample):
    """Values of each channel, one after another in time.

    Attributes:
        values: ``(C, T)`` float32, finite, in the units they were read in.
        name: A file's name (never its folder) or a word such as ``"signal 3"``.
        geometry: How the network's input was cut out; None until a model has preprocessed the signal.
        notes: What reading had to decide, such as another rate.
        rate: Samples a second; None where it is not known.
        channel_names: A name for each channel; empty where they have none.
        true_class: The class that it is known to show; None where that is not known.
    """

    values: NDArray[np.float32] = field(repr=False)
    name: str = "signal"
    geometry: Geometry | None = None
    notes: tuple[str, ...] = ()
    rate: float | None = None
    channel_names: tuple[str, ...] = ()
    true_class: str | None = field(default=None, kw_only=True)

    @property
    def held(self) -> NDArray[np.float32]:
        """The values ``(C, T)``."""
        return self.values

    @property
    def size(self) -> tuple[int]:
        """How many samples each channel has."""
        return (int(self.values.shape[1]),)

    @property
    def channels(self) -> int:
        """How many channels there are."""
        return int(self.values.shape[0])

    def _words(self) -> str:
        rate = "" if self.rate is None else f", {self.rate:g} Hz"
        return f"{self.channels} channel{'s' if self.channels > 1 else ''}, {self.size[0]} samples{rate}"

    @property
    def seconds(self) -> float | None:
        """How long it lasts; None where its rate is not known."""
        return None if self.rate is None else self.size[0] / self.rate


@dataclass(frozen=True, eq=False, repr=False)
class Volume(Sample):
    """Values on a grid of slices, rows and columns; of a clip the slices are its frames.

    Where a file says how the body lies in it, slices run from the feet to the head (inferior to superior), rows from
    the front to the back (anterior to posterior) and columns from the patient's right to the left. So a slice drawn as
    it is has the front of the body at its top and the patient's left on its right: the radiological convention.

    Attributes:
        values: ``(C, D, H, W)`` float32, finite, in the units they were read in; of a clip red, green and blue, 0 to
            255, and ``D`` is time.
        name: A file's or a folder's name (never where it is) or a word such as ``"volume 3"``.
        geometry: How the network's input was cut out; None until a model has preprocessed the volume.
        notes: What reading had to decide.
        spacing: Millimetres from one slice, row and column to the next; None where they are not known.
        affine: ``(4, 4)`` float64, from the indices (i, j, k) of the file it was read from to millimetres to the
            patient's right, front and head (RAS+); None where the file says nothing of it. How ``values`` lie to the
            file's axes follows from it: see :class:`Orientation`.
        rate: Frames a second of a clip; None for any other volume.
        window: The values to be drawn black and white; None for the lowest and the highest.
        true_class: The class that it is known to show; None where that is not known.
    """

    values: NDArray[np.float32] = field(repr=False)
    name: str = "volume"
    geometry: Geometry | None = None
    notes: tuple[str, ...] = ()
    spacing: tuple[float, float, float] | None = None
    affine: NDArray[np.float64] | None = field(default=None, repr=False)
    rate: float | None = None
    window: tuple[float, float] | None = None
    true_class: str | None = field(default=None, kw_only=True)

    @property
    def held(self) -> NDArray[np.float32]:
        """The values ``(C, D, H, W)``."""
        return self.values

    @property
    def size(self) -> tuple[int, int, int]:
        """How many slices (or frames), rows and columns there are."""
        slices, rows, columns = self.values.shape[1:]
        return int(slices), int(rows), int(columns)

    @property
    def channels(self) -> int:
        """How many channels there are."""
        return int(self.values.shape[0])

    def _words(self) -> str:
        if self.rate is not None:
            return f"{self.size[0]} frames of {spell_size(self.size[1:])}, {self.rate:g} a second"
        steps = "" if self.spacing is None else f", {' x '.join(f'{each:.3g}' for each in self.spacing)} mm"
        return spell_size(self.size) + steps

    def _shown(self) -> NDArray[np.uint8]:
        """The middle slice or frame."""
        import numpy as np

        held = self.values[:, self.size[0] // 2]
        low, high = (0.0, 255.0) if self.is_clip else self.window or (float(held.min()), float(held.max()))
        shares = np.clip((held - low) / ((high - low) or 1.0), 0, 1)
        colours = shares if len(shares) == COLOURS else np.repeat(shares[:1], COLOURS, axis=0)
        return np.ascontiguousarray(np.rint(colours * 255).astype(np.uint8).transpose(1, 2, 0))

    @property
    def is_clip(self) -> bool:
        """Whether its slices are frames, one after another in time."""
        return self.rate is not None

    @property
    def orientation(self) -> Orientation:
        """How the values lie to the axes of the file; as they are where it says nothing of the body."""
        return Orientation((2, 1, 0), (False, False, False)) if self.affine is None else Orientation.of(self.affine)


WANTED: Final = ((2, 1), (1, -1), (0, -1))
"""The axis of RAS+ millimetres, and the direction on it, that slices, rows and columns run along: S, P and L."""


class Orientation(NamedTuple):
    """How a volume's slices, rows and columns lie to the three axes (i, j, k) of the file it comes from.

    Attributes:
        axes: For slices, rows and columns the axis of the file that they run along.
        flipped: Whether they run against it.
    """

    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]

    @classmethod
    def of(cls, affine: NDArray[np.float64]) -> Orientation:
        """The axes of a file that run most nearly to the head, to the back and to the left of a patient.

        Args:
            affine: ``(4, 4)``, from indices (i, j, k) to RAS+ millimetres; of full rank.
        """
        import numpy as np

        directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)

        def agreement(axes: tuple[int, ...]) -> float:
            return float(sum(abs(directions[world, axis]) for (world, _), axis in zip(WANTED, axes, strict=True)))

        slices, rows, columns = max(permutations(range(3)), key=agreement)
        held = [
            bool(directions[world, axis] * way < 0)
            for (world, way), axis in zip(WANTED, (slices, rows, columns), strict=True)
        ]
        return cls((slices, rows, columns), (held[0], held[1], held[2]))

    def from_file(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values on the file's axes ``(..., I, J, K)``, as a view ``(..., D, H, W)``."""
        import numpy as np

        return self._flip(np.moveaxis(values, [axis - 3 for axis in self.axes], [-3, -2, -1]))

    def to_file(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values ``(..., D, H, W)``, as a view on the file's axes ``(..., I, J, K)``."""
        import numpy as np

        return np.moveaxis(self._flip(values), [-3, -2, -1], [axis - 3 for axis in self.axes])

    def _flip(self, values: NDArray[Any]) -> NDArray[Any]:
        slices, rows, columns = (slice(None, None, -1 if each else 1) for each in self.flipped)
        flipped: NDArray[Any] = values[..., slices, rows, columns]
        return flipped

    def spacing(self, affine: NDArray[np.float64]) -> tuple[float, float, float]:
        """Millimetres from one slice, row and column to the next."""
        lengths = [float((affine[:3, axis] ** 2).sum() ** 0.5) for axis in self.axes]
        return lengths[0], lengths[1], lengths[2]
