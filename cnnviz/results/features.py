"""Features: the feature maps of a layer for some pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, overload

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cnnviz.drawing.colour import Scale, scale_of
from cnnviz.drawing.files import ARRAY_SUFFIXES, SUFFIXES, ensure_writable, write_arrays
from cnnviz.drawing.legend import legend
from cnnviz.drawing.sheet import Sheet
from cnnviz.provenance import Provenance
from cnnviz.results.feature_maps import NORMALISED, FeatureLook, FeatureMaps, feature_look
from cnnviz.results.grid import Grid
from cnnviz.results.heatmaps import EVENLY

__all__ = ["Features"]

SMALLEST, LARGEST, WIDEST = 112, 320, 2000


@dataclass(frozen=True, eq=False)
class Features(Sequence[FeatureMaps]):
    """The feature maps of a layer for a batch of pictures; a sequence of :class:`FeatureMaps`.

    Attributes:
        parts: The maps of each picture.
        checks: What the user should know about the result as a whole.
        provenance: How it was made.
    """

    parts: tuple[FeatureMaps, ...]
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    @property
    def values(self) -> NDArray[np.float32]:
        """``(N, U, h, w)`` float32: of each picture its units' maps, the layer's own values."""
        return np.stack([one.values for one in self.parts])

    @property
    def units(self) -> NDArray[np.int64]:
        """``(N, U)``: the units that are shown of each picture."""
        return np.array([one.units for one in self.parts], dtype=np.int64)

    @property
    def layer(self) -> str:
        """The layer."""
        return self.parts[0].layer

    @overload
    def __getitem__(self, index: int) -> FeatureMaps: ...
    @overload
    def __getitem__(self, index: slice) -> Features: ...
    def __getitem__(self, index: int | slice) -> FeatureMaps | Features:
        if not isinstance(index, slice):
            return self.parts[index]
        return replace(self, parts=self.parts[index], provenance=self.provenance.only(index))

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[FeatureMaps]:
        return iter(self.parts)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.values, dtype=dtype)

    def grid(self, **look: Any) -> Grid:
        """Every picture with its units' maps, one picture below the other.

        Args:
            **look: ``style`` (``"maps"``, ``"overlay"`` or ``"masked"``), ``quantile``, and the fields of
                :class:`Look` but its style; ``shared=True`` gives all maps one scale.

        Raises:
            ParameterError: If there is no such field, style or quantile.
        """
        chosen = feature_look(look)
        return self._drawn(chosen, self._shared_scale(chosen))

    def save(self, path: str | os.PathLike[str], **look: Any) -> Path:
        """Write the maps: .png, .jpg, .webp, .svg, .pdf as pictures, .npz as raw values.

        An ``.npz`` holds ``values`` ``(N, U, h, w)``, ``units`` ``(N, U)``, ``images`` (names), ``boxes`` (left, top,
        right, bottom of the network's input on each picture, in its pixels) and ``provenance`` (JSON text).

        Args:
            path: Where to; an existing file is replaced.
            **look: As :meth:`grid` takes it.

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
        """
        chosen = feature_look(look)
        return self._write(Path(path), chosen, self._shared_scale(chosen))

    def save_each(self, paths: Iterable[str | os.PathLike[str]], **look: Any) -> tuple[Path, ...]:
        """Write each picture's maps into a file of its own; ``shared=True`` gives all of them one scale.

        Args:
            paths: Where to, a path a picture.
            **look: As :meth:`grid` takes it.

        Raises:
            OutputError: If a suffix is unknown or a file cannot be written.
            ValueError: If there are not as many paths as pictures.
        """
        chosen = feature_look(look)
        scale = self._shared_scale(chosen)
        each = {"each": True} if scale else {}
        alone = [replace(self, parts=(one,), provenance=one.provenance.drawn(**each)) for one in self.parts]
        return tuple(one._write(Path(path), chosen, scale) for one, path in zip(alone, paths, strict=True))

    def plot(self, **look: Any) -> Figure:
        """A matplotlib figure of the grid."""
        return self.grid(**look).plot()

    def stamped(self, method: str, settings: Mapping[str, Any]) -> Self:
        """The same with method and settings in its provenance, and in that of every picture."""
        said = method, settings, self.checks
        parts = tuple(replace(one, provenance=one.provenance.stamped(*said)) for one in self.parts)
        return replace(self, parts=parts, provenance=self.provenance.stamped(*said))

    def _repr_png_(self) -> bytes:
        return self.grid()._repr_png_()

    def _write(self, where: Path, look: FeatureLook, scale: Scale | None) -> Path:
        ensure_writable(where, force=True, suffixes=SUFFIXES)
        if where.suffix.lower() not in ARRAY_SUFFIXES:
            grid = self._drawn(look, scale)
            return grid.save(where, cell=max(SMALLEST, min(LARGEST, WIDEST // grid.sheet.shape[1])))
        arrays: dict[str, NDArray[Any]] = {"values": self.values, "units": self.units}
        arrays["images"] = np.array([one.picture.name for one in self.parts])
        arrays["boxes"] = np.array([one[0].geometry.box for one in self.parts], dtype=np.float64)
        write_arrays(where, arrays, self.provenance.drawn(format="npz").to_json())
        return where

    def _drawn(self, look: FeatureLook, scale: Scale | None) -> Grid:
        first = self.parts[0]
        rows = tuple(row for one in self.parts for row in one.rows(look, scale))
        bar = ((legend(scale),),) if scale is not None and look.style != "masked" else ()
        shown = f"{len(first)} of {first.total} units, {' x '.join(map(str, first[0].values.shape))} places"
        title = " · ".join(part for part in (self.provenance.method, first[0].model, first.layer, shown) if part)
        sheet = Sheet((*rows, *bar), title=title, notes=(*self._notes(look), *self.checks))
        return Grid(sheet, self.provenance.drawn(**look.describe()))

    def _notes(self, look: FeatureLook) -> list[str]:
        notes = [f"{one.silent} of {one.total} units are zero all over {one.picture.name}" for one in self.parts]
        notes = [note for note, one in zip(notes, self.parts, strict=True) if one.silent]
        if look.style == "masked":
            share = f"{100 * (1 - look.quantile):.3g} %"
            notes.insert(
                0, f"In colour: where a unit is at least as strong as at the strongest {share} of its map's places."
            )
        elif not look.look.shared:
            end = "" if look.look.normalise else ", up to its 99th percentile"
            notes.insert(0, f"Each map has a scale of its own{end}.")
        seen = self.parts[0][0].field
        if look.style != "maps" and look.look.align == "pixel" and seen is not None and seen.placed:
            notes.append(EVENLY)
        return notes

    def _shared_scale(self, look: FeatureLook) -> Scale | None:
        if not look.look.shared:
            return None
        signed = not all(map_.rectified for one in self.parts for map_ in one)
        return scale_of(self.values, normalise=look.look.normalise or NORMALISED, signed=signed, cmap=look.look.cmap)
