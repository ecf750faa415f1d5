"""Heatmap: one map, with everything that is needed to read and to draw it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.dimensions import PICTURE
from cnnviz.core.field import Field
from cnnviz.core.region import USUAL_THRESHOLD, Threshold, above, bounding_box
from cnnviz.core.target import NoTarget, class_index
from cnnviz.drawing.colour import Scale, colourise, scale_of
from cnnviz.drawing.overlay import place, upsample
from cnnviz.drawing.samples import (
    Align,
    Look,
    Style,
    draw_alone,
    draw_in_place,
    draw_over,
    draw_panel,
    is_wide,
    look_of,
    name_place,
    pixels_of,
    usual_cmap,
)
from cnnviz.drawing.sheet import Cell
from cnnviz.errors import ExplanationError, ParameterError
from cnnviz.provenance import Provenance
from cnnviz.results.explanation import PLAIN, Explanation, Explanations

__all__ = ["EVENLY", "Align", "Explanation", "Explanations", "Heatmap", "Heatmaps", "Look", "Style", "look_of"]


@dataclass(frozen=True, eq=False)
class Heatmap(Explanation):
    """One map of one picture; its values are ``(h, w)`` float32, raw and signed, at the method's own resolution.

    Attributes:
        spread: ``(h, w)`` float32: the values' standard deviation over baselines, or their standard error; or None.
        error_bar: Bound that at least 90 % of a method's estimated values are within, at 95 % confidence; or None.
        field: What the values' places see of the network's input, which says where on it they lie; None for evenly.
        rounding: Up to this magnitude a value may be nothing but the rounding of the scores it was computed from; a map
            without a larger one is flat, and drawn as one of zeros.
    """

    spread: NDArray[np.float32] | None = field(default=None, repr=False)
    error_bar: float | None = None
    field: Field | None = field(default=None, repr=False)
    rounding: float = 0.0

    @property
    def blank(self) -> bool:
        """Whether there is nothing to see: no positive value of a rectified map, or only zeros and rounding."""
        shown = self._rectified_values()
        return not bool(np.any(np.abs(shown[np.isfinite(shown)]) > self.rounding))

    def upsampled(self, align: Align = "field") -> NDArray[np.float32]:
        """The map on the network's input grid, ``(H, W)`` float32: rectified if the method is, then bilinear.

        Of signals ``(T,)``, linear, and of volumes ``(D, H, W)``, trilinear.

        Args:
            align: ``"field"``: each value at the centre of what its unit sees, the outer ones held as far
                as their fields reach, NaN beyond. ``"pixel"``: the values spread evenly, which is what
                ``torch.nn.functional.interpolate(mode="bilinear")`` and other tools do; also done where the units have
                no places of their own.
        """
        return upsample(self._rectified_values(), self.geometry.size, self.field if align == "field" else None)

    def on_original(self, align: Align = "field", *, fill: float = np.nan) -> NDArray[np.float32]:
        """The map on the original picture's pixels, ``(H, W)`` float32.

        Args:
            align: As in :meth:`upsampled`.
            fill: What stands where the network did not look, and where no unit's field reaches.
        """
        return place(self.upsampled(align), self.geometry, fill)

    def peak(self, align: Align = "field") -> tuple[int, ...]:
        """Column and row (x, y) of the map's maximum on the original picture, in pixels.

        Of signals the sample (t,), and of volumes column, row and slice (x, y, z).

        Args:
            align: As in :meth:`upsampled`.

        Raises:
            ExplanationError: If the map holds no number, because the network's answer holds none.
        """
        placed = self.on_original(align)
        if np.isnan(placed).all():
            raise ExplanationError(f"The map of '{self.picture.name}' holds no number, so it has no maximum.")
        return tuple(int(at) for at in reversed(np.unravel_index(int(np.nanargmax(placed)), placed.shape)))

    def mask(self, threshold: Threshold = USUAL_THRESHOLD) -> NDArray[np.bool_]:
        """Where the map is high, ``(H, W)`` on the original picture's pixels; nowhere if it is blank.

        Args:
            threshold: The share of the map's maximum that is high enough: 0.2 in the paper of class activation maps,
                0.15 in that of Grad-CAM. Or ``"otsu"``, which parts the map's values into two groups that differ most.
                What is negative counts as 0.

        Raises:
            ParameterError: If it is neither.
        """
        return above(self.on_original(), threshold) & (not self.blank)

    def bounding_box(self, threshold: Threshold = USUAL_THRESHOLD) -> tuple[int, int, int, int] | None:
        """The box around the largest connected part of :meth:`mask`: left, top, right and bottom.

        In pixels of the original picture; right and bottom are the first that are outside. None if the map is blank.

        Args:
            threshold: As in :meth:`mask`.

        Raises:
            ParameterError: If it is neither a share nor ``"otsu"``, or the map is not one of a picture.
        """
        found = self.mask(threshold)
        if found.ndim != PICTURE:
            raise ParameterError("A bounding box is that of a map of a picture; this is one of a signal or a volume.")
        return bounding_box(found)

    def caption(self) -> str:
        """Target with probability or score; of signals and volumes also where the map is strongest."""
        return "\n".join(filter(None, (super().caption(), self.strongest())))

    def strongest(self) -> str:
        """Where the map of a signal or a volume is strongest, in words; empty for pictures, and where it is blank."""
        if not is_wide(self.picture) or self.blank:
            return ""
        return f"strongest at {name_place(self.picture, self.peak()[::-1])}"

    def scale(self, look: Look = PLAIN) -> Scale:
        """What the colours of this map mean, on a scale of its own."""
        signed = not self.rectified
        suited, values = look.suited(self.picture, signed=signed), self._drawn_values(look)
        return suited.scale_of(values, signed=signed, measures=self.measures)

    def overlay(self, look: Look = PLAIN, scale: Scale | None = None) -> NDArray[np.uint8]:
        """The map over the original photograph, ``(H, W, 3)`` uint8 at the photograph's own size.

        Signals are drawn as lines over the map's colours, volumes as slices with the map over them.
        """
        return self._draw_over(self._drawn_values(look), scale or self.scale(look), look)

    def in_place(self, scale: Scale) -> NDArray[np.uint8]:
        """A map that is too fine for an overlay, in the place of the photograph that the network saw."""
        return self.boxed(draw_in_place(self.picture, self.on_original(), scale))

    def cells(self, look: Look = PLAIN, scale: Scale | None = None) -> tuple[Cell, ...]:
        """The pictures of this map in the asked style: one, or photograph and overlay."""
        scale = scale or self.scale(look)
        if is_wide(self.picture):
            return self._wide_cells(look, scale)
        if look.style == "map":
            return (Cell(self._boxed_input(colourise(self._drawn_values(look), scale))),)
        drawn = self.overlay(look, scale)
        if look.style == "overlay":
            return (Cell(drawn),)
        shown = Cell(self.boxed(pixels_of(self.picture)), self.picture.name), Cell(drawn, self.caption(), scale)
        return shown if self.spread is None else (*shown, self._spread_cell(self.spread, look))

    def volume_values(self, look: Look = PLAIN) -> NDArray[np.float32]:
        """The map as it is drawn, on what it is of."""
        return place(self._drawn_values(look), self.geometry)

    def describe(self) -> dict[str, Any]:
        """What there is to say without a picture, as plain values."""
        return {
            "target": str(self.target),
            "index": class_index(self.target),
            "score": self.score,
            "probability": self.probability,
            **({} if self.right is None else {"true": self.picture.true_class, "right": self.right}),
            **({} if self.unit is None else {"unit": self.unit}),
            **({} if self.box is None else {"box": list(self.box)}),
            "layer": self.layer,
            "peak": None if self.blank else list(self.peak()),
            "blank": self.blank,
            "error_bar": self.error_bar,
            "checks": list(self.checks),
        }

    def blank_note(self) -> str:
        """The sentence for a map with nothing to see."""
        if isinstance(self.target, NoTarget):
            return "nothing stands out" + (f" at {self.layer}" if self.layer else "")
        evidence = "no positive evidence" if self.rectified else "no evidence"
        return f"{evidence} for '{self.target}'" + (f" at {self.layer}" if self.layer else "")

    def _wide_cells(self, look: Look, scale: Scale) -> tuple[Cell, ...]:
        """The pictures of a signal's or volume's map: what it is of and the map are one."""
        wide = self._drawn_values(look)
        if look.style == "map":
            return (Cell(draw_alone(self.picture, place(wide, self.geometry), scale, look.slicing), paper=True),)
        if look.style == "overlay":
            return (Cell(self._draw_over(wide, scale, look), paper=True),)
        placed, seen = place(wide, self.geometry), self.seen()
        drawn = draw_panel(self.picture, placed, scale, alpha=look.alpha, seen=seen, slicing=look.slicing)
        shown = Cell(drawn, f"{self.picture.name}: {self.caption()}", scale, paper=True)
        return (shown,) if self.spread is None else (shown, self._spread_cell(self.spread, look))

    def _spread_cell(self, spread: NDArray[np.float32], look: Look) -> Cell:
        wide = upsample(spread, self.geometry.size, self.field if look.align == "field" else None)
        cmap = usual_cmap(self.picture, signed=False)
        scale = scale_of(wide, signed=False, cmap=cmap, measures=self.measures)
        return Cell(self._draw_over(wide, scale, look), "spread", scale, paper=is_wide(self.picture))

    def _draw_over(self, wide: NDArray[np.float32], scale: Scale, look: Look) -> NDArray[np.uint8]:
        """A map of the network's input over the photograph; faded is only what the network did not see."""
        placed, seen = place(wide, self.geometry), self.seen()
        return self.boxed(draw_over(self.picture, placed, scale, alpha=look.alpha, seen=seen, slicing=look.slicing))

    def _drawn_values(self, look: Look) -> NDArray[np.float32]:
        """The map on the network's input grid as it is drawn: a flat one is zero wherever it has a value."""
        wide = self.upsampled(look.align)
        return wide * np.float32(0) if self.blank and self.rounding else wide

    def _rectified_values(self) -> NDArray[np.float32]:
        return np.maximum(self.values, 0) if self.rectified else self.values

    def _as_batch(self) -> Heatmaps:
        return Heatmaps((self,), self.checks, self.provenance)


EVENLY = (
    "the values are stretched evenly over the input (align='pixel'), not placed at the centres of the receptive fields"
)


@dataclass(frozen=True, eq=False)
class Heatmaps(Explanations[Heatmap]):
    """Maps of a batch of pictures; a sequence of :class:`Heatmap`, drawn as the fields of :class:`Look` say.

    Saved as ``.npz`` they are ``values``, ``targets``, ``scores``, ``images`` (names), ``boxes`` (left, top, right,
    bottom of the network's input on each picture, in its pixels) and ``provenance`` (JSON text); where there are any,
    also ``spreads``, ``error_bars``, and ``rows`` and ``columns`` (the centres of a map's places on the input, in
    pixels; of volumes also ``slices``, and of signals ``samples`` alone).

    Attributes:
        maps: The maps, one a picture.
        checks: What the user should know about the result as a whole.
        provenance: How it was made.
    """

    _PARTS = "maps"
    _INTO_AXES = "overlay"

    maps: tuple[Heatmap, ...]
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    @property
    def layer(self) -> str | None:
        """The layer that was looked at, or None."""
        return self.maps[0].layer

    def upsampled(self, align: Align = "field") -> NDArray[np.float32]:
        """The maps on the network's input grid, ``(N, H, W)`` float32; see :meth:`Heatmap.upsampled`."""
        return np.stack([one.upsampled(align) for one in self.maps])

    def on_original(self, index: int, align: Align = "field", *, fill: float = np.nan) -> NDArray[np.float32]:
        """One map on its original picture's pixels, ``(H, W)`` float32; see :meth:`Heatmap.on_original`."""
        return self.maps[index].on_original(align, fill=fill)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {**super()._arrays(), **self._certainty(), **self._centres()}

    def _centres(self) -> dict[str, NDArray[Any]]:
        seen = self.maps[0].field
        if seen is None:
            return {}
        names = ("samples",) if len(seen.spans) == 1 else ("slices", "rows", "columns")[-len(seen.spans) :]
        return {name: span.middles() for name, span in zip(names, seen.spans, strict=False)}

    def _certainty(self) -> dict[str, NDArray[Any]]:
        spreads = [one.spread for one in self.maps if one.spread is not None]
        bars = [one.error_bar for one in self.maps if one.error_bar is not None]
        found: dict[str, NDArray[Any]] = {"spreads": np.stack(spreads)} if len(spreads) == len(self) else {}
        return found | ({"error_bars": np.array(bars)} if len(bars) == len(self) else {})

    def _layer_words(self) -> str | None:
        return self.layer

    def _notes(self, look: Look) -> tuple[str, ...]:
        seen = self.maps[0].field
        return (EVENLY,) if look.align == "pixel" and seen is not None and seen.placed else ()

    def _shared_scale(self, look: Look) -> Scale | None:
        if not look.shared:
            return None
        shown = np.concatenate([one._drawn_values(look).ravel() for one in self.maps])
        signed = not self.maps[0].rectified
        suited = look.suited(self.maps[0].picture, signed=signed)
        return suited.scale_of(shown, signed=signed, measures=self.maps[0].measures)
