"""Image: one picture that a method made, with its score, how it got there, and how good it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cnnviz.core.target import ClassTarget, Target
from cnnviz.drawing.sheet import Cell
from cnnviz.provenance import Provenance
from cnnviz.results.quality import quality_lines

if TYPE_CHECKING:
    from cnnviz.results.images import Images

__all__ = ["Image", "Snapshot", "as_pixels"]

Snapshot = tuple[int, NDArray[np.uint8]]
"""A step, counted from 0 for the start, and the picture ``(H, W, 3)`` after it."""

COLOURS = (1, 3)
PHOTOGRAPHIC = 3


def as_pixels(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values in [0, 1] as a picture that can be looked at.

    Args:
        values: ``(C, H, W)``: three channels are red, green and blue, one is grey, and any other number is drawn as
            its mean.

    Returns:
        ``(H, W, 3)`` RGB.
    """
    shown = np.asarray(values, dtype=np.float64)
    shown = shown if len(shown) in COLOURS else shown.mean(axis=0, keepdims=True)
    levels = np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(levels, (3, *levels.shape[1:])).transpose(1, 2, 0))


@dataclass(frozen=True, eq=False)
class Image:
    """One synthesised picture.

    Attributes:
        pixels: ``(C, H, W)`` float32 in [0, 1], in the network's channels, before its normalisation.
        target: What it shows.
        score: The target's score on this picture, clean.
        model: The network's name.
        history: ``(S,)`` float32: the score after every step, as the optimisation saw it.
        snapshots: The picture on the way there, each with its step.
        quality: How good it is: plain values by name, see :func:`cnnviz.methods.quality.judge_images`; may be empty.
        checks: What the user should know about this picture.
        provenance: How it was made.
    """

    pixels: NDArray[np.float32] = field(repr=False)
    target: Target
    score: float
    model: str
    history: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32), repr=False)
    snapshots: tuple[Snapshot, ...] = field(default=(), repr=False)
    quality: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    @property
    def drawn(self) -> NDArray[np.uint8]:
        """The picture as it is drawn, ``(H, W, 3)`` uint8, RGB."""
        return as_pixels(self.pixels)

    def cell(self) -> Cell:
        """The picture with its target and score, and below them, small, what is known of its quality."""
        return Cell(self.drawn, self.caption(), note="\n".join(self._said()))

    def caption(self) -> str:
        """Target and score, and what is drawn where the channels are no colours."""
        words = f"{self.target}, score {self.score:.4g}"
        return words if len(self.pixels) in COLOURS else f"{words}\nmean of {len(self.pixels)} channels"

    def frame(self, step: int) -> Cell:
        """The last snapshot that is not later than a step, captioned; the first where all are later."""
        passed = [each for each in self.snapshots if each[0] <= step] or list(self.snapshots[:1])
        number, pixels = passed[-1]
        reached = f", score {self.history[number - 1]:.4g}" if 0 < number <= len(self.history) else ""
        return Cell(pixels, f"{self.target}\nstep {number}{reached}")

    def describe(self) -> dict[str, Any]:
        """What there is to say without a picture, as plain values."""
        return {
            "target": str(self.target),
            "index": self.target.index if isinstance(self.target, ClassTarget) else None,
            "score": self.score,
            "steps": len(self.history),
            "quality": dict(self.quality),
            "checks": list(self.checks),
        }

    def save(self, path: str | os.PathLike[str], **how: Any) -> Path:
        """Write the picture alone, as :meth:`Images.save` does."""
        return self._alone().save(path, **how)

    def plot(self, ax: Axes | None = None) -> Figure:
        """A matplotlib figure; with ``ax`` the picture is drawn into it."""
        return self._alone().plot(ax)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.pixels, dtype=dtype, copy=copy)

    def _repr_png_(self) -> bytes:
        return self._alone()._repr_png_()

    def _said(self) -> tuple[str, ...]:
        return quality_lines(self.quality, photographic=len(self.pixels) == PHOTOGRAPHIC)

    def _alone(self) -> Images:
        from cnnviz.results.images import Images

        return Images((self,), self.checks, self.provenance)
