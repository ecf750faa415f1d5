"""Heatmaps: a batch of maps, what most methods return."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self, overload

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cnnviz.core.target import Target
from cnnviz.drawing.colour import Scale, scale_of
from cnnviz.drawing.files import ARRAY_SUFFIXES, SUFFIXES, ensure_writable, write_arrays
from cnnviz.drawing.sheet import Sheet
from cnnviz.provenance import Provenance
from cnnviz.results.grid import Grid
from cnnviz.results.heatmap import USUAL, Align, Heatmap, Look, look_of

__all__ = ["Heatmaps"]

EVENLY = "the values are spread evenly over the input (align 'pixel'), not drawn where their units look"


@dataclass(frozen=True, eq=False)
class Heatmaps(Sequence[Heatmap]):
    """Maps of a batch of pictures; a sequence of :class:`Heatmap`.

    Attributes:
        maps: The maps, one a picture.
        checks: What the user should know about the result as a whole.
        provenance: How it was made.
    """

    maps: tuple[Heatmap, ...]
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    @property
    def values(self) -> NDArray[np.float32]:
        """``(N, h, w)`` float32, raw and signed, at the method's own resolution."""
        return np.stack([one.values for one in self.maps])

    @property
    def targets(self) -> tuple[Target, ...]:
        """What is explained, for each picture."""
        return tuple(one.target for one in self.maps)

    @property
    def scores(self) -> NDArray[np.float32]:
        """``(N,)``: the targets' scores on the unchanged pictures."""
        return np.array([one.score for one in self.maps], dtype=np.float32)

    @property
    def layer(self) -> str | None:
        """The layer that was looked at, or None."""
        return self.maps[0].layer

    @overload
    def __getitem__(self, index: int) -> Heatmap: ...
    @overload
    def __getitem__(self, index: slice) -> Heatmaps: ...
    def __getitem__(self, index: int | slice) -> Heatmap | Heatmaps:
        if not isinstance(index, slice):
            return self.maps[index]
        return replace(self, maps=self.maps[index], provenance=self.provenance.only(index))

    def __len__(self) -> int:
        return len(self.maps)

    def __iter__(self) -> Iterator[Heatmap]:
        return iter(self.maps)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.values, dtype=dtype)

    def upsampled(self, align: Align = "field") -> NDArray[np.float32]:
        """The maps on the network's input grid, ``(N, H, W)`` float32; see :meth:`Heatmap.upsampled`."""
        return np.stack([one.upsampled(align) for one in self.maps])

    def on_original(self, index: int, align: Align = "field") -> NDArray[np.float32]:
        """One map on its original picture's pixels, ``(H, W)`` float32; see :meth:`Heatmap.on_original`."""
        return self.maps[index].on_original(align)

    def grid(self, **look: Any) -> Grid:
        """The maps as a grid, a row a picture.

        Args:
            **look: Fields of :class:`Look`.

        Raises:
            ParameterError: If there is no such field.
        """
        chosen = look_of(look)
        return self._drawn(chosen, self._shared_scale(chosen))

    def save(self, path: str | os.PathLike[str], **look: Any) -> Path:
        """Write the maps: .png, .jpg, .webp, .svg, .pdf as pictures, .npz as raw values.

        An ``.npz`` holds ``values``, ``targets``, ``scores``, ``images`` (names), ``boxes`` (left, top, right, bottom
        of the network's input on each picture, in its pixels) and ``provenance`` (JSON text); where there are any, also
        ``spreads``, ``error_bars``, and ``rows`` and ``columns`` (the centres of a map's places on the input, in
        pixels).

        Args:
            path: Where to; an existing file is replaced.
            **look: Fields of :class:`Look`.

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
        """
        chosen = look_of(look)
        return self._write(Path(path), chosen, self._shared_scale(chosen))

    def save_each(self, paths: Iterable[str | os.PathLike[str]], **look: Any) -> tuple[Path, ...]:
        """Write every map into a file of its own, as :meth:`save` does; ``shared=True`` gives all of them one scale.

        Args:
            paths: Where to, a path a map.
            **look: Fields of :class:`Look`.

        Raises:
            OutputError: If a suffix is unknown or a file cannot be written.
            ValueError: If there are not as many paths as maps.
        """
        chosen = look_of(look)
        scale = self._shared_scale(chosen)
        each = {"each": True} if chosen.shared else {}
        alone = [replace(self, maps=(one,), provenance=one.provenance.drawn(**each)) for one in self.maps]
        return tuple(one._write(Path(path), chosen, scale) for one, path in zip(alone, paths, strict=True))

    def plot(self, ax: Axes | None = None, **look: Any) -> Figure:
        """A matplotlib figure; with ``ax`` the overlay of a single map is drawn into it."""
        return self.grid(**(look if ax is None else {"style": "overlay", **look})).plot(ax)

    def stamped(self, method: str, settings: Mapping[str, Any]) -> Self:
        """The same with method and settings in its provenance, and in that of every map."""
        said = method, settings, self.checks
        maps = tuple(replace(one, provenance=one.provenance.stamped(*said)) for one in self.maps)
        return replace(self, maps=maps, provenance=self.provenance.stamped(*said))

    def _repr_png_(self) -> bytes:
        return self.grid()._repr_png_()

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "values": self.values,
            "targets": np.array([str(target) for target in self.targets]),
            "scores": self.scores,
            "images": np.array([one.picture.name for one in self.maps]),
            "boxes": np.array([one.geometry.box for one in self.maps], dtype=np.float64),
            **self._certainty(),
            **self._centres(),
        }

    def _centres(self) -> dict[str, NDArray[Any]]:
        seen = self.maps[0].field
        if seen is None or not seen.rows or not seen.columns:
            return {}
        return {"rows": seen.rows.middles(), "columns": seen.columns.middles()}

    def _certainty(self) -> dict[str, NDArray[Any]]:
        spreads = [one.spread for one in self.maps if one.spread is not None]
        bars = [one.error_bar for one in self.maps if one.error_bar is not None]
        found: dict[str, NDArray[Any]] = {"spreads": np.stack(spreads)} if len(spreads) == len(self) else {}
        return found | ({"error_bars": np.array(bars)} if len(bars) == len(self) else {})

    def _write(self, where: Path, look: Look, scale: Scale | None) -> Path:
        ensure_writable(where, force=True, suffixes=SUFFIXES)
        if where.suffix.lower() in ARRAY_SUFFIXES:
            write_arrays(where, self._arrays(), self.provenance.drawn(format="npz").to_json())
            return where
        return self._drawn(look, scale).save(where)

    def _drawn(self, look: Look, scale: Scale | None) -> Grid:
        rows = tuple(one.cells(look, scale) for one in self.maps)
        provenance = self.provenance.drawn(**asdict(look))
        if look.style != "panel":
            return Grid(Sheet(rows), provenance)
        first = self.maps[0]
        title = " · ".join(part for part in (self.provenance.method, first.model, first.layer) if part)
        return Grid(Sheet(rows, title=title, notes=(*self.checks, *self._drawn_evenly(look))), provenance)

    def _drawn_evenly(self, look: Look) -> tuple[str, ...]:
        seen = self.maps[0].field
        return (EVENLY,) if look.align == "pixel" and seen is not None and seen.placed else ()

    def _shared_scale(self, look: Look) -> Scale | None:
        if not look.shared:
            return None
        signed = not self.maps[0].rectified
        shown = self.upsampled(look.align)
        return scale_of(shown, normalise=look.normalise or USUAL, signed=signed, cmap=look.cmap)
