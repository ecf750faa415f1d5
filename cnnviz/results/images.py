"""Images: the pictures that a method made, still or as an animation of how they came about."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.dimensions import PICTURE, SIGNAL, is_one_input
from cnnviz.core.similar import Similar
from cnnviz.core.target import Target, class_index
from cnnviz.drawing.animation import ANIMATION_SUFFIXES, FrameWriter
from cnnviz.drawing.colour import COLOUR_CHANNELS
from cnnviz.drawing.files import ensure_writable
from cnnviz.drawing.layout import well_across
from cnnviz.drawing.plots import plot_window
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.errors import OutputError
from cnnviz.provenance import Provenance, cautions, remarks
from cnnviz.results.result import Grid, Part, ResultBatch

__all__ = [
    "Images",
    "Image",
    "Snapshot",
    "as_pixels",
    "in_rows",
    "write_animation",
    "NATURAL_SATURATION",
    "NATURAL_SLOPE",
    "quality_lines",
]

NATURAL_SLOPE: Final = (-1.29, 0.22)
"""Slope of the amplitude spectrum of photographs, and its standard deviation, over eleven of ImageNet's."""

NATURAL_SATURATION: Final = 0.25
"""A share of saturated pixels that seven of eight photographs stay below."""

FAR: Final = 2.0


def quality_lines(quality: Mapping[str, Any], *, photographic: bool = True) -> tuple[str, ...]:
    """Whether the picture convinces other eyes, and whether it has the fineness of a photograph.

    Args:
        quality: A record of :func:`cnnviz.methods.ascent.quality.judge_images`, or nothing.
        photographic: Whether it makes sense to compare the picture with photographs.

    Returns:
        At most two lines.
    """
    judgement = _describe_judgement(quality)
    held_out = "" if judgement and photographic else _describe_held_out(quality)
    return tuple(filter(None, (judgement, held_out, _describe_statistics(quality) if photographic else "")))


def _describe_judgement(quality: Mapping[str, Any]) -> str:
    if quality.get("judge_rank") is None:
        return ""
    if quality["judge_rank"] == 1:
        return f"{quality['judge']} agrees: {quality['judge_probability']:.0%}"
    return f"{quality['judge']}: {quality['judge_first']}, this {_ordinal(quality['judge_rank'])}"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _describe_held_out(quality: Mapping[str, Any]) -> str:
    if quality.get("held_out_mean") is None:
        return ""
    mean, deviation = quality["held_out_mean"], quality["held_out_deviation"]
    return f"{_spell(mean, 3)} \N{PLUS-MINUS SIGN} {_spell(deviation, 2)} when moved or cropped"


def _spell(value: float, digits: int) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.{digits}g}"


def _describe_statistics(quality: Mapping[str, Any]) -> str:
    said = [_describe_fineness(quality["slope"])] if quality.get("slope") is not None else []
    if quality.get("saturated_share", 0.0) > NATURAL_SATURATION:
        said.append(f"{quality['saturated_share']:.0%} saturated")
    return ", ".join(said)


def _describe_fineness(slope: float) -> str:
    mean, deviation = NATURAL_SLOPE
    if slope > mean + FAR * deviation:
        return "noisier than photographs"
    return "smoother than photographs" if slope < mean - FAR * deviation else "as fine as photographs"


Snapshot = tuple[int, NDArray[np.uint8]]
"""A step, counted from 0 for the start, and the picture ``(H, W, 3)`` after it."""

PHOTOGRAPHIC = 3


def as_pixels(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values in [0, 1] as a picture that can be looked at; a signal as lines, a volume as slices.

    Args:
        values: ``(C, H, W)``: three channels are red, green and blue, one is grey, and any other number is drawn as
            its mean. A signal ``(C, T)`` or volume ``(C, D, H, W)`` is drawn from its lowest to its highest value.

    Returns:
        ``(H, W, 3)`` RGB.
    """
    if not is_one_input(values.shape, PICTURE):
        return plot_window(np.asarray(values), np.asarray(values))
    shown = np.asarray(values, dtype=np.float64)
    shown = shown if len(shown) in COLOUR_CHANNELS else shown.mean(axis=0, keepdims=True)
    levels = np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(levels, (3, *levels.shape[1:])).transpose(1, 2, 0))


@dataclass(frozen=True, eq=False)
class Image(Part):
    """One synthesised picture.

    Attributes:
        pixels: ``(C, H, W)`` float32 in [0, 1], in the network's channels, before its normalisation; of signals and
            volumes their values ``(C, ...)``, within four deviations of the network's mean.
        target: What it shows.
        score: The target's score on this picture, clean.
        model: The network's name.
        history: ``(S,)`` float32: the score after every step, as the optimisation saw it.
        snapshots: The picture on the way there, each with its step.
        quality: How good it is: plain values by name (``cnnviz.methods.ascent.quality.judge_images``); may be empty.
        checks: What the user should know about this picture.
        provenance: How it was made.
    """

    _ARRAY = "pixels"

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
        return Cell(self.drawn, self.caption(), note="\n".join(self._quality_lines()))

    def caption(self) -> str:
        """Target and score, and what is drawn where the channels are no colours."""
        words = (
            f"{self.target}, {self.target.measure if isinstance(self.target, Similar) else 'score'} {self.score:.4g}"
        )
        plain = len(self.pixels) in COLOUR_CHANNELS or is_one_input(self.pixels.shape, SIGNAL)
        return words if plain else f"{words}\nmean of {len(self.pixels)} channels"

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
            "index": class_index(self.target),
            "score": self.score,
            "steps": len(self.history),
            "quality": dict(self.quality),
            "checks": list(self.checks),
        }

    def _quality_lines(self) -> tuple[str, ...]:
        photographic = is_one_input(self.pixels.shape, PICTURE) and len(self.pixels) == PHOTOGRAPHIC
        return quality_lines(self.quality, photographic=photographic)

    def _as_batch(self) -> Images:
        return Images((self,), self.checks, self.provenance)


MOST_ACROSS: Final = 6
LAST_SECONDS: Final = 2.0


def in_rows(cells: Sequence[Cell]) -> tuple[tuple[Cell, ...], ...]:
    """Cells in a block that is nearly square, full where that can be, at most six across."""
    across = min(MOST_ACROSS, well_across(len(cells)))
    return tuple(tuple(cells[start : start + across]) for start in range(0, len(cells), across))


def write_animation(parts: Sequence[Image], path: Path, record: Provenance, *, fps: float) -> Path:
    """Write the snapshots of pictures; a picture that was finished early stays as it is, the end stays for two seconds.

    Args:
        parts: The pictures; each with snapshots.
        path: Ends in .gif, .webp or .mp4.
        record: How they were made.
        fps: Snapshots a second.

    Raises:
        OutputError: A picture has no snapshots, or the file cannot be written.
    """
    ensure_writable(path, force=True, suffixes=ANIMATION_SUFFIXES)
    if not all(one.snapshots for one in parts):
        raise OutputError(f"'{path.name}' is an animation, but the pictures were made without snapshots on the way.")
    steps = sorted({step for one in parts for step, _ in one.snapshots})
    note = record.drawn(format=path.suffix.lower()[1:], animate=True, fps=fps).to_json()
    with FrameWriter(path, fps, note) as writer:
        for step in steps:
            drawn = Grid(Sheet(in_rows([one.frame(step) for one in parts]))).pixels()
            writer.add(drawn, seconds=LAST_SECONDS if step == steps[-1] else None)
    return path


ALWAYS_ANIMATED: Final = (".gif", ".mp4")


@dataclass(frozen=True, eq=False)
class Images(ResultBatch[Image]):
    """Synthesised pictures of one size; a sequence of :class:`Image`.

    Attributes:
        parts: The pictures.
        checks: What the user should know about the result as a whole.
        provenance: How it was made.
    """

    _ARRAY = "pixels"

    parts: tuple[Image, ...]
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    @property
    def interrupted(self) -> bool:
        """Whether an interrupt ended it, so that these are what there was by then."""
        return any(check.startswith("interrupted: ") or ": interrupted after step " in check for check in self.checks)

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
        notes, details = cautions(self.checks), remarks(self.checks)
        return Grid(Sheet(in_rows(cells), title=self._title(self.model), notes=notes, details=details), self.provenance)

    def save(self, path: str | os.PathLike[str], *, animate: bool | None = None, fps: float = 6.0, **size: Any) -> Path:
        """Write the pictures: .png, .jpg, .webp, .svg, .pdf side by side, .npz as raw values, .gif, .mp4 animated.

        An ``.npz`` holds ``pixels``, ``targets``, ``scores``, ``history`` (the scores after every step, NaN after a
        picture's last), ``quality`` (JSON text, one a picture) and ``provenance`` (JSON text).

        Args:
            path: Where to; an existing file is replaced.
            animate: Whether to show how the pictures came about, which needs their snapshots; None for .gif and .mp4
                only, so that a .webp is animated when this is asked for.
            fps: Snapshots a second of an animation.
            **size: ``cell``, or how pictures side by side are set on paper, as other results take it.

        Raises:
            OutputError: If the suffix is unknown, the file cannot be written, or there are no snapshots to animate.
        """
        where = Path(path)
        suffix = where.suffix.lower()
        if suffix in ALWAYS_ANIMATED if animate is None else animate:
            return write_animation(self.parts, where, self.provenance, fps=fps)
        return super().save(where, **size)

    def save_each(
        self, paths: Iterable[str | os.PathLike[str]], *, animate: bool | None = None, fps: float = 6.0, **size: Any
    ) -> tuple[Path, ...]:
        """Write every picture into a file of its own, as :meth:`save` does.

        Args:
            paths: Where to, a path a picture.
            animate: As for :meth:`save`.
            fps: As for :meth:`save`.
            **size: As for :meth:`save`.

        Raises:
            OutputError: If a suffix is unknown or a file cannot be written.
            ValueError: If there are not as many paths as pictures.
        """
        return tuple(
            one.save(path, animate=animate, fps=fps, **size) for one, path in zip(self.parts, paths, strict=True)
        )

    def stamped(self, method: str, settings: Mapping[str, Any]) -> Self:
        """The same with method, settings and quality in its provenance, and in that of every picture."""
        made = super().stamped(method, settings)
        parts = tuple(replace(one, provenance=measured(one.provenance, (one,))) for one in made)
        return replace(made, parts=parts, provenance=measured(made.provenance, parts))

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
