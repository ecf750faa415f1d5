"""Attribution: what each pixel and channel of one picture adds to a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.sample import Signal
from cnnviz.drawing.colour import COLOUR_CHANNELS, Scale, colourise, paint, ticks
from cnnviz.drawing.overlay import place
from cnnviz.drawing.samples import draw_alone, draw_in_place, draw_over, draw_panel, is_wide, pixels_of
from cnnviz.drawing.sheet import Cell
from cnnviz.provenance import Provenance
from cnnviz.results.explanation import Explanation, Explanations
from cnnviz.results.heatmap import Heatmap, Heatmaps, Look

__all__ = ["Attribution", "Attributions", "Channels", "flattened", "scale_among"]

Channels: TypeAlias = Literal["absolute", "signed", "colour"]
PLAIN: Final = Look()


def flattened(values: NDArray[np.float32], channels: Channels) -> NDArray[np.float32]:
    """Attributions ``(C, H, W)`` as one map ``(H, W)``.

    Args:
        values: Raw and signed.
        channels: ``"signed"`` adds the channels up; otherwise the largest magnitude among them.
    """
    return np.asarray(values.sum(axis=0) if channels == "signed" else np.abs(values).max(axis=0), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Attribution(Explanation):
    """Attributions to the pixels of one picture; values are ``(C, H, W)`` float32 on the network's input grid.

    Attributes:
        channels: How the channels are drawn: ``"absolute"`` is their largest magnitude on a sequential scale,
            ``"signed"`` their sum on a diverging one, ``"colour"`` the channels as colours around grey.
    """

    channels: Channels = field(kw_only=True)

    @cached_property
    def flat(self) -> Heatmap:
        """The channels as one map, with everything else there is to say."""
        return Heatmap(
            flattened(self.values, self.channels),
            self.target,
            self.score,
            self.probability,
            self.picture,
            self.layer,
            self.rectified,
            self.model,
            self.checks,
            self.provenance,
            unit=self.unit,
        )

    @property
    def blank(self) -> bool:
        """Whether there is nothing to see."""
        return self.flat.blank

    def blank_note(self) -> str:
        """The sentence for attributions with nothing to see."""
        return "zero gradient at the pixels"

    @property
    def coloured(self) -> bool:
        """Whether the channels are drawn as colours; other numbers of channels than 1 and 3 are none."""
        return self.channels == "colour" and len(self.values) in COLOUR_CHANNELS and not is_wide(self.picture)

    def on_original(self, *, fill: float = np.nan) -> NDArray[np.float32]:
        """The channels on the original picture's pixels, ``(C, H, W)`` float32.

        Args:
            fill: What stands where the network did not look.
        """
        return np.stack([place(channel, self.geometry, fill) for channel in self.values])

    def scale(self, look: Look = PLAIN) -> Scale:
        """What the colours mean, on a scale of its own."""
        return scale_among([self], look)

    def cells(self, look: Look = PLAIN, scale: Scale | None = None) -> tuple[Cell, ...]:
        """The pictures in the asked style: one, or the photograph and the map in the place of what the network saw."""
        scale = scale or self.scale(look)
        if is_wide(self.picture):
            return (self._wide_cell(look, scale),)
        if look.style == "overlay":
            return (Cell(self.flat.overlay(look, scale)),)
        if look.style == "map":
            return (Cell(self._boxed_input(self._colour(self.values, self.flat.upsampled(), scale))),)
        placed = self.flat.on_original()
        colours = self._colour(self.on_original(), placed, scale)
        drawn = self.boxed(draw_in_place(self.picture, placed, scale, colours))
        bar = None if self.coloured else scale
        shown = self.boxed(pixels_of(self.picture))
        return Cell(shown, self.picture.name), Cell(drawn, self._caption_with(scale), bar)

    def clear(self, look: Look = PLAIN, scale: Scale | None = None) -> NDArray[np.uint8]:
        """The channels as one map on the original picture's pixels, ``(H, W, 4)`` RGBA uint8."""
        if not self.coloured:
            return super().clear(look, scale)
        flat = replace(look, normalise=look.normalise or "percentile")
        return self.flat.clear(flat)

    def caption(self) -> str:
        """The caption of the channels as one map."""
        return super().caption() if self.blank else self.flat.caption()

    def describe(self) -> dict[str, Any]:
        """What there is to say without a picture, as plain values."""
        return self.flat.describe()

    def volume_values(self, look: Look = PLAIN) -> NDArray[np.float32]:
        """The channels as one map, on what they are of."""
        return self.flat.volume_values(look)

    def _wide_cell(self, look: Look, scale: Scale) -> Cell:
        """The picture of attributions to a signal, each channel's under its own line, or to a volume."""
        values = self.on_original()
        seen = np.asarray(np.isfinite(values).any(axis=0))
        if isinstance(self.picture, Signal) and len(values) == self.picture.channels:
            shown = values if self.channels != "absolute" else np.abs(values)
        else:
            shown = flattened(values, "absolute" if self.channels == "absolute" else "signed")
        if look.style == "map":
            return Cell(draw_alone(self.picture, shown, scale, look.slicing), paper=True)
        if look.style == "overlay":
            drawn = draw_over(self.picture, shown, scale, alpha=look.alpha, seen=seen, slicing=look.slicing)
            return Cell(drawn, paper=True)
        drawn = draw_panel(self.picture, shown, scale, alpha=look.alpha, seen=seen, slicing=look.slicing)
        return Cell(drawn, f"{self.picture.name}: {self._caption_with(scale)}", scale, paper=True)

    def _colour(self, values: NDArray[np.float32], flat: NDArray[np.float32], scale: Scale) -> NDArray[np.uint8]:
        return paint(values, scale) if self.coloured else colourise(flat, scale)

    def _caption_with(self, scale: Scale) -> str:
        """The caption, with what a colour bar does not say."""
        said = [f"\N{PLUS-MINUS SIGN}{ticks(scale)[-1][1]} about grey"] if self.coloured and not scale.blank else []
        said += [f"{scale.clipped:.1%} clipped"] if scale.clipped else []
        return "\n".join(filter(None, (self.caption(), ", ".join(said))))

    def _as_batch(self) -> Attributions:
        return Attributions((self,), self.checks, self.provenance)


def scale_among(parts: Sequence[Attribution], look: Look) -> Scale:
    """One scale for some attributions: symmetric where they are drawn with their sign."""
    first = parts[0]
    coloured = first.coloured and look.style != "overlay"
    shown = [one.values.ravel() if coloured else one.flat.upsampled().ravel() for one in parts]
    signed = coloured or not first.rectified
    way = replace(look, cmap=None) if coloured else look.suited(first.picture, signed=signed)
    return way.scale_of(np.concatenate(shown), signed=signed, usual="percentile", measures=first.measures)


@dataclass(frozen=True, eq=False)
class Attributions(Explanations[Attribution]):
    """Attributions to the pixels of a batch of pictures; a sequence of :class:`Attribution`.

    They are drawn as the fields of :class:`Look` say. Saved as ``.npz`` they are ``values``, ``targets``, ``scores``,
    ``images`` (names), ``boxes`` (left, top, right, bottom of the network's input on each picture, in its pixels) and
    ``provenance`` (JSON text).

    Attributes:
        parts: The attributions, one a picture.
        checks: What the user should know about the result as a whole.
        provenance: How it was made.
    """

    _INTO_AXES = "map"

    parts: tuple[Attribution, ...]
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    def heatmaps(self) -> Heatmaps:
        """The channels of each picture as one map, as they are drawn."""
        return Heatmaps(tuple(one.flat for one in self.parts), self.checks, self.provenance)

    def _shared_scale(self, look: Look) -> Scale | None:
        return scale_among(self.parts, look) if look.shared else None
