"""How maps are drawn: the choices that change no value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.sample import Sample
from cnnviz.drawing.colour import ColourMap, Normalisation, Scale, cmap_name, scale_of
from cnnviz.drawing.samples import usual_cmap
from cnnviz.drawing.volumes import Axis, Slicing
from cnnviz.errors import ParameterError

__all__ = ["Align", "Look", "Style", "look_of"]

Align: TypeAlias = Literal["field", "pixel"]
Style: TypeAlias = Literal["panel", "overlay", "map"]
USUAL: Final = "max"


@dataclass(frozen=True)
class Look:
    """How maps are drawn; changes no value.

    Attributes:
        style: ``"panel"`` (photograph, overlay and colour bar), or only the ``"overlay"`` or the ``"map"``, bare.
        normalise: ``"max"``, ``"minmax"``, ``"percentile"`` (ends at the 99th) or ``"none"`` (0 to 1); None is the
            usual: the maximum for heat maps, the percentile for attributions to pixels.
        shared: Whether all maps of a result have one scale.
        cmap: A matplotlib colour map or its name; None is ``inferno`` for positive maps and ``RdBu_r`` for signed ones.
        alpha: Opacity of the strongest colour over the photograph, 0 to 1.
        align: Where a layer's values lie: ``"field"`` at the centre of what each unit sees, ``"pixel"`` evenly over the
            network's input, as other tools draw them. A map whose units have no places, and one of pixels, is the same
            under both.
        slices: Of volumes: how many slices are drawn; None draws three views through the map's peak, or where an axis
            is named and of clips eight.
        axis: Of volumes: the axis across which the slices lie: ``"axial"`` (or 0), ``"coronal"`` (1) or ``"sagittal"``
            (2); None is the first.

    Raises:
        UnknownNameError: If there is no such colour map.
        ParameterError: If there is no such style, normalisation, alignment or axis, or alpha is out of bounds.
    """

    style: Style = "panel"
    normalise: Normalisation | None = None
    shared: bool = False
    cmap: ColourMap | None = None
    alpha: float = 0.7
    align: Align = "field"
    slices: int | None = None
    axis: Axis | int | None = None

    def __post_init__(self) -> None:
        if self.style not in get_args(Style):
            raise ParameterError(f"style is one of {', '.join(get_args(Style))}, not '{self.style}'.")
        if self.align not in get_args(Align):
            raise ParameterError(f"align is one of {', '.join(get_args(Align))}, not '{self.align}'.")
        if not 0 <= self.alpha <= 1:
            raise ParameterError(f"alpha lies from 0 to 1, not at {self.alpha}.")
        object.__setattr__(self, "cmap", cmap_name(self.cmap))
        self.scale_of(np.zeros(1))
        Slicing(self.slices, self.axis)

    @property
    def slicing(self) -> Slicing:
        """Which slices of a volume are drawn."""
        return Slicing(self.slices, self.axis)

    def describe(self) -> dict[str, Any]:
        """The look as plain values, for provenance; what only volumes have is left out unless it is asked for."""
        asked = {"slices": self.slices, "axis": self.axis}
        own = {name: value for name, value in asdict(self).items() if name not in asked}
        return own | {name: value for name, value in asked.items() if value is not None}

    def suited(self, sample: Sample, *, signed: bool) -> Look:
        """The same with the colour map that suits what is drawn, where none is named."""
        usual = usual_cmap(sample, signed=signed) if self.cmap is None else None
        return self if usual is None else replace(self, cmap=usual)

    def scale_of(self, values: NDArray[Any], *, signed: bool = False, usual: Normalisation = USUAL) -> Scale:
        """The scale that this look has for some values.

        Args:
            values: Any shape.
            signed: Whether values below zero mean the opposite of values above it.
            usual: The normalisation where the look names none.
        """
        return scale_of(values, normalise=self.normalise or usual, signed=signed, cmap=self.cmap)


def look_of(fields: Mapping[str, Any]) -> Look:
    """A look from its fields by name.

    Raises:
        ParameterError: If there is no such field.
    """
    try:
        return Look(**fields)
    except TypeError:
        known = ", ".join(Look.__dataclass_fields__)
        raise ParameterError(f"A map's look has the fields {known}; got {', '.join(fields)}.") from None
