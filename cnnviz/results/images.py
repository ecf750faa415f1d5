"""Images: the pictures that a method made, still or as an animation of how they came about."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cnnviz.core.target import Target
from cnnviz.drawing.sheet import Sheet
from cnnviz.provenance import Provenance
from cnnviz.results.animating import in_rows, write_animation
from cnnviz.results.batch import Batch
from cnnviz.results.grid import Grid
from cnnviz.results.image import Image

__all__ = ["Images"]

ALWAYS_ANIMATED: Final = (".gif", ".mp4")


@dataclass(frozen=True, eq=False)
class Images(Batch[Image]):
    """Synthesised pictures of one size; a sequence of :class:`Image`.

    Attributes:
        parts: The pictures.
        checks: What the user should know about the result as a whole.
        provenance: How it was made.
    """

    parts: tuple[Image, ...]
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    @property
    def pixels(self) -> NDArray[np.float32]:
        """``(N, C, H, W)`` float32 in [0, 1], in the network's channels, before its normalisation."""
        return np.stack([one.pixels for one in self.parts])

    @property
    def targets(self) -> tuple[Target, ...]:
        """What each picture shows."""
        return tuple(one.target for one in self.parts)

    @property
    def scores(self) -> NDArray[np.float32]:
        """``(N,)``: each target's score on its clean picture."""
        return np.array([one.score for one in self.parts], dtype=np.float32)

    @property
    def history(self) -> tuple[NDArray[np.float32], ...]:
        """For each picture its score after every step, ``(S,)``."""
        return tuple(one.history for one in self.parts)

    @property
    def quality(self) -> tuple[Mapping[str, Any], ...]:
        """For each picture its quality record."""
        return tuple(one.quality for one in self.parts)

    @property
    def model(self) -> str:
        """The network's name."""
        return self.parts[0].model

    def grid(self) -> Grid:
        """The pictures side by side, each with its target, score and quality."""
        cells = [one.cell() for one in self.parts]
        title = " · ".join(part for part in (self.provenance.method, self.model) if part)
        return Grid(Sheet(in_rows(cells), title=title, notes=self.checks), self.provenance)

    def save(self, path: str | os.PathLike[str], *, animate: bool | None = None, fps: float = 6.0) -> Path:
        """Write the pictures: .png, .jpg, .webp, .svg, .pdf side by side, .npz as raw values, .gif, .mp4 animated.

        An ``.npz`` holds ``pixels``, ``targets``, ``scores``, ``history`` (the scores after every step, NaN after a
        picture's last), ``quality`` (JSON text, one a picture) and ``provenance`` (JSON text).

        Args:
            path: Where to; an existing file is replaced.
            animate: Whether to show how the pictures came about, which needs their snapshots; None for .gif and .mp4
                only, so that a .webp is animated when this is asked for.
            fps: Snapshots a second of an animation.

        Raises:
            OutputError: If the suffix is unknown, the file cannot be written, or there are no snapshots to animate.
        """
        where = Path(path)
        suffix = where.suffix.lower()
        if suffix in ALWAYS_ANIMATED if animate is None else animate:
            return write_animation(self.parts, where, self.provenance, fps=fps)
        return self._saved_as_arrays(where) or self.grid().save(where)

    def save_each(
        self, paths: Iterable[str | os.PathLike[str]], *, animate: bool | None = None, fps: float = 6.0
    ) -> tuple[Path, ...]:
        """Write every picture into a file of its own, as :meth:`save` does.

        Args:
            paths: Where to, a path a picture.
            animate: As for :meth:`save`.
            fps: As for :meth:`save`.

        Raises:
            OutputError: If a suffix is unknown or a file cannot be written.
            ValueError: If there are not as many paths as pictures.
        """
        return tuple(one.save(path, animate=animate, fps=fps) for one, path in zip(self.parts, paths, strict=True))

    def plot(self, ax: Axes | None = None) -> Figure:
        """A matplotlib figure; with ``ax`` a single picture is drawn into it."""
        return self.grid().plot(ax)

    def describe(self) -> dict[str, Any]:
        """What there is to say without pictures, as plain values."""
        return {"images": [one.describe() for one in self.parts], "checks": list(self.checks)}

    def stamped(self, method: str, settings: Mapping[str, Any]) -> Self:
        """The same with method, settings and quality in its provenance, and in that of every picture."""
        made = super().stamped(method, settings)
        return replace(made, provenance=measured(made.provenance, made.parts))

    def _recorded(self, one: Image, record: Provenance) -> Image:
        return replace(one, provenance=measured(record, (one,)))

    def _arrays(self) -> dict[str, NDArray[Any]]:
        steps = max(len(one.history) for one in self.parts)
        history = np.full((len(self), steps), np.nan, dtype=np.float32)
        for row, one in zip(history, self.parts, strict=True):
            row[: len(one.history)] = one.history
        return {
            "pixels": self.pixels,
            "targets": np.array([str(target) for target in self.targets]),
            "scores": self.scores,
            "history": history,
            "quality": np.array([json.dumps(dict(each), sort_keys=True, ensure_ascii=False) for each in self.quality]),
        }


def measured(record: Provenance, parts: Sequence[Image]) -> Provenance:
    """A record with the quality of the pictures it is about."""
    known = tuple(dict(one.quality) for one in parts)
    return replace(record, quality=known if any(known) else ())
