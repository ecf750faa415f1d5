"""Attributions: what gradient methods return, with the channels kept."""

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
from cnnviz.drawing.colour import Scale
from cnnviz.drawing.files import ARRAY_SUFFIXES, SUFFIXES, ensure_writable, write_arrays
from cnnviz.drawing.sheet import Sheet
from cnnviz.provenance import Provenance
from cnnviz.results.attribution import Attribution, scale_among
from cnnviz.results.grid import Grid
from cnnviz.results.heatmap import Look, look_of
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["Attributions"]


@dataclass(frozen=True, eq=False)
class Attributions(Sequence[Attribution]):
    """Attributions to the pixels of a batch of pictures; a sequence of :class:`Attribution`.

    Attributes:
        parts: The attributions, one a picture.
        checks: What the user should know about the result as a whole.
        provenance: How it was made.
    """

    parts: tuple[Attribution, ...]
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    @property
    def values(self) -> NDArray[np.float32]:
        """``(N, C, H, W)`` float32, raw and signed, on the network's input grid."""
        return np.stack([one.values for one in self.parts])

    @property
    def targets(self) -> tuple[Target, ...]:
        """What is explained, for each picture."""
        return tuple(one.target for one in self.parts)

    @property
    def scores(self) -> NDArray[np.float32]:
        """``(N,)``: the targets' scores on the unchanged pictures."""
        return np.array([one.score for one in self.parts], dtype=np.float32)

    @overload
    def __getitem__(self, index: int) -> Attribution: ...
    @overload
    def __getitem__(self, index: slice) -> Attributions: ...
    def __getitem__(self, index: int | slice) -> Attribution | Attributions:
        if not isinstance(index, slice):
            return self.parts[index]
        return replace(self, parts=self.parts[index], provenance=self.provenance.only(index))

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[Attribution]:
        return iter(self.parts)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.values, dtype=dtype)

    def heatmaps(self) -> Heatmaps:
        """The channels of each picture as one map, as they are drawn."""
        return Heatmaps(tuple(one.flat for one in self.parts), self.checks, self.provenance)

    def grid(self, **look: Any) -> Grid:
        """The attributions as a grid, a row a picture.

        Args:
            **look: Fields of :class:`Look`.

        Raises:
            ParameterError: If there is no such field.
        """
        chosen = look_of(look)
        return self._drawn(chosen, self._shared_scale(chosen))

    def save(self, path: str | os.PathLike[str], **look: Any) -> Path:
        """Write the attributions: .png, .jpg, .webp, .svg, .pdf as pictures, .npz as raw values.

        An ``.npz`` holds ``values``, ``targets``, ``scores``, ``images`` (names), ``boxes`` (left, top, right, bottom
        of the network's input on each picture, in its pixels) and ``provenance`` (JSON text).

        Args:
            path: Where to; an existing file is replaced.
            **look: Fields of :class:`Look`.

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
        """
        chosen = look_of(look)
        return self._write(Path(path), chosen, self._shared_scale(chosen))

    def save_each(self, paths: Iterable[str | os.PathLike[str]], **look: Any) -> tuple[Path, ...]:
        """Write each picture's attributions into a file of its own; ``shared=True`` gives all of them one scale.

        Args:
            paths: Where to, a path a picture.
            **look: Fields of :class:`Look`.

        Raises:
            OutputError: If a suffix is unknown or a file cannot be written.
            ValueError: If there are not as many paths as pictures.
        """
        chosen = look_of(look)
        scale = self._shared_scale(chosen)
        each = {"each": True} if chosen.shared else {}
        alone = [Attributions((one,), self.checks, one.provenance.drawn(**each)) for one in self.parts]
        return tuple(one._write(Path(path), chosen, scale) for one, path in zip(alone, paths, strict=True))

    def plot(self, ax: Axes | None = None, **look: Any) -> Figure:
        """A matplotlib figure; with ``ax`` the attributions of a single picture are drawn into it."""
        return self.grid(**(look if ax is None else {"style": "map", **look})).plot(ax)

    def stamped(self, method: str, settings: Mapping[str, Any]) -> Self:
        """The same with method and settings in its provenance, and in that of every picture."""
        said = method, settings, self.checks
        parts = tuple(
            replace(one, flat=replace(one.flat, provenance=one.provenance.stamped(*said))) for one in self.parts
        )
        return replace(self, parts=parts, provenance=self.provenance.stamped(*said))

    def _repr_png_(self) -> bytes:
        return self.grid()._repr_png_()

    def _write(self, where: Path, look: Look, scale: Scale | None) -> Path:
        ensure_writable(where, force=True, suffixes=SUFFIXES)
        if where.suffix.lower() in ARRAY_SUFFIXES:
            arrays = {
                "values": self.values,
                "targets": np.array([str(target) for target in self.targets]),
                "scores": self.scores,
                "images": np.array([one.picture.name for one in self.parts]),
                "boxes": np.array([one.flat.geometry.box for one in self.parts], dtype=np.float64),
            }
            write_arrays(where, arrays, self.provenance.drawn(format="npz").to_json())
            return where
        return self._drawn(look, scale).save(where)

    def _drawn(self, look: Look, scale: Scale | None) -> Grid:
        rows = tuple(one.cells(look, scale) for one in self.parts)
        provenance = self.provenance.drawn(**asdict(look))
        if look.style != "panel":
            return Grid(Sheet(rows), provenance)
        title = " · ".join(part for part in (self.provenance.method, self.parts[0].flat.model) if part)
        return Grid(Sheet(rows, title=title, notes=self.checks), provenance)

    def _shared_scale(self, look: Look) -> Scale | None:
        return scale_among(list(self.parts), look) if look.shared else None
