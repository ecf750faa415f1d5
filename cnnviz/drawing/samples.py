"""What a network was asked about as pixels, a map over it, and how: the one place that looks at its kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.dimensions import KINDS
from cnnviz.core.picture import Picture
from cnnviz.core.sample import Sample, Signal, Volume
from cnnviz.drawing.colour import ColourMap, Normalisation, Scale, cmap_name, colourise, scale_of
from cnnviz.drawing.files import ensure_writable, write_nifti
from cnnviz.drawing.overlay import outlined, overlay
from cnnviz.drawing.signals import draw_signal
from cnnviz.drawing.volumes import THROUGH, Axis, Shades, Slicing, draw_volume, world_place, write_slices
from cnnviz.errors import OutputError, ParameterError

__all__ = [
    "Align",
    "Look",
    "Style",
    "draw_alone",
    "draw_in_place",
    "draw_over",
    "draw_panel",
    "is_wide",
    "look_of",
    "name_place",
    "pixels_of",
    "usual_cmap",
    "write_grids",
    "write_moving",
]


def is_wide(sample: Sample) -> bool:
    """Whether it is drawn in one wide picture with the map in it, so that several stand one below the other."""
    return not isinstance(sample, Picture)


GLOW = ("#ffffff", "#ffe36e", "#ff9d2e", "#e8000b")
"""Colours of positive maps under the lines of a signal: on white paper, what is strong has to be darker."""


def usual_cmap(sample: Sample, *, signed: bool) -> ColourMap | None:
    """The colour map of its maps where none is named; None for that of photographs."""
    if signed or not isinstance(sample, Signal):
        return None
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("glow", GLOW)


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
        transparent: Of the style ``"map"``: on the photograph's own pixels and transparent where there is nothing to
            see, to be laid over it; saved as ``.png``, each map for itself.
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
    transparent: bool = False

    def __post_init__(self) -> None:
        if self.style not in get_args(Style):
            raise ParameterError(f"style is one of {', '.join(get_args(Style))}, not '{self.style}'.")
        if self.align not in get_args(Align):
            raise ParameterError(f"align is one of {', '.join(get_args(Align))}, not '{self.align}'.")
        if self.transparent and self.style != "map":
            raise ParameterError(f"transparent is of the style 'map', not of '{self.style}'.")
        if not 0 <= self.alpha <= 1:
            raise ParameterError(f"alpha lies from 0 to 1, not at {self.alpha}.")
        object.__setattr__(self, "cmap", cmap_name(self.cmap))
        self.scale_of(np.zeros(1))
        _ = self.slicing

    @property
    def slicing(self) -> Slicing:
        """Which slices of a volume are drawn."""
        return THROUGH if self.slices is None and self.axis is None else Slicing(self.slices, self.axis)

    def describe(self) -> dict[str, Any]:
        """The look as plain values, for provenance; what few figures have is left out unless it is asked for."""
        asked = {"slices": self.slices, "axis": self.axis, "transparent": self.transparent or None}
        own = {name: value for name, value in asdict(self).items() if name not in asked}
        return own | {name: value for name, value in asked.items() if value is not None}

    def suited(self, sample: Sample, *, signed: bool) -> Look:
        """The same with the colour map that suits what is drawn, where none is named."""
        usual = usual_cmap(sample, signed=signed) if self.cmap is None else None
        return self if usual is None else replace(self, cmap=usual)

    def scale_of(
        self, values: NDArray[Any], *, signed: bool = False, usual: Normalisation = USUAL, measures: str = ""
    ) -> Scale:
        """The scale that this look has for some values.

        Args:
            values: Any shape.
            signed: Whether values below zero mean the opposite of values above it.
            usual: The normalisation where the look names none.
            measures: What the values are, with their unit.
        """
        way = self.normalise or usual
        return scale_of(values, normalise=way, signed=signed, cmap=self.cmap, measures=measures)


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


def pixels_of(sample: Sample, slicing: Slicing = THROUGH) -> NDArray[np.uint8]:
    """A picture as it is, a signal as lines, a volume as slices; ``(H, W, 3)`` RGB.

    Args:
        sample: What the network was asked about.
        slicing: Which slices of a volume.
    """
    if isinstance(sample, Signal):
        return draw_signal(sample)
    if isinstance(sample, Volume):
        return draw_volume(sample, slicing=slicing)
    assert isinstance(sample, Picture)
    return sample.pixels


def draw_over(
    sample: Sample,
    values: NDArray[Any],
    scale: Scale,
    *,
    alpha: float = 0.7,
    seen: NDArray[np.bool_] | None = None,
    slicing: Slicing = THROUGH,
) -> NDArray[np.uint8]:
    """A map over what it is of: the stronger a value, the more of its colour.

    Args:
        sample: What the network was asked about.
        values: As long as it along each axis; where NaN, there is no value. Of a signal also ``(C, T)``.
        scale: What the colours mean.
        alpha: How much of the colour the strongest value gets, 0 to 1.
        seen: What the network saw; the rest is faded. Default: it saw whatever is not NaN.
        slicing: Which slices of a volume.

    Returns:
        ``(H, W, 3)`` RGB.

    Raises:
        ParameterError: The map is not as large as it, or alpha is out of bounds.
    """
    if isinstance(sample, Signal):
        return draw_signal(sample, values, scale, alpha=alpha, seen=seen)
    if isinstance(sample, Volume):
        return draw_volume(sample, Shades(values, scale, alpha, seen), slicing)
    seen = ~np.isnan(np.asarray(values)) if seen is None else seen
    return outlined(overlay(pixels_of(sample), values, scale, alpha=alpha, seen=seen), seen)


def draw_panel(
    sample: Sample, values: NDArray[Any], scale: Scale, *, alpha: float, seen: NDArray[np.bool_], slicing: Slicing
) -> NDArray[np.uint8]:
    """What is drawn wide together with a map: a volume also without it, the same slices above.

    Args:
        sample: A signal or a volume.
        values: As :func:`draw_over` takes them.
        scale: What the colours mean.
        alpha: How much of the colour the strongest value gets, 0 to 1.
        seen: What the network saw.
        slicing: Which slices of a volume.
    """
    if isinstance(sample, Volume):
        return draw_volume(sample, Shades(values, scale, alpha, seen), slicing, both=True)
    return draw_over(sample, values, scale, alpha=alpha, seen=seen)


def draw_alone(sample: Sample, values: NDArray[Any], scale: Scale, slicing: Slicing = THROUGH) -> NDArray[np.uint8]:
    """A map without what it is of, its places where they lie on it.

    Args:
        sample: A signal or a volume.
        values: As :func:`draw_over` takes them.
        scale: What the colours mean.
        slicing: Which slices of a volume.
    """
    if isinstance(sample, Signal):
        return draw_signal(sample, values, scale, alpha=1.0, lines=False)
    assert isinstance(sample, Volume)
    return draw_volume(sample, Shades(values, scale, alone=True), slicing)


def draw_in_place(
    sample: Sample, values: NDArray[Any], scale: Scale, colours: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """A map that is too fine for an overlay: in the place of the photograph that the network saw, faded around.

    Lines and slices are seen under any map, and stay.

    Args:
        sample: What the network was asked about.
        values: As :func:`draw_over` takes them.
        scale: What the colours mean.
        colours: ``(H, W, 3)``: what is drawn where there is a value, if it is not the scale's colours.
    """
    if is_wide(sample):
        return draw_over(sample, values, scale)
    around = draw_over(sample, values, scale, alpha=0.0)
    return np.where(np.isfinite(values)[..., None], colourise(values, scale) if colours is None else colours, around)


def name_place(sample: Sample, place: Sequence[int]) -> str:
    """Where a place lies, in words: in seconds or millimetres where they are known.

    Args:
        sample: A signal or a volume.
        place: Along each axis, the first axis first.
    """
    if isinstance(sample, Signal):
        return f"sample {place[0]}" if sample.rate is None else _spell_time(place[0] / sample.rate, sample.seconds or 0)
    assert isinstance(sample, Volume)
    if sample.rate is not None:
        lasting = sample.size[0] / sample.rate
        return f"{_spell_time(place[0] / sample.rate, lasting)}, pixel {place[2]}, {place[1]}"
    if sample.spacing is None:
        return f"voxel {', '.join(map(str, reversed(place)))}"
    world = world_place(sample, place)
    if world is not None:
        return f"{', '.join(_spell_side(at, *sides) for at, sides in zip(world, ('RL', 'AP', 'HF'), strict=True))} mm"
    lengths = [f"{at * each:.3g}" for at, each in zip(reversed(place), reversed(sample.spacing), strict=True)]
    return f"{', '.join(lengths)} mm from the first voxel"


def _spell_side(length: float, towards: str, away: str) -> str:
    """A length with the letter of its side, as in the views: no sign that a reader could take for the other side."""
    return f"{towards if length >= 0 else away} {abs(length):.3g}"


def _spell_time(seconds: float, whole: float) -> str:
    """A time in three digits of the whole, such as ``"1.32 s"``."""
    return f"{1000 * seconds:.4g} ms" if whole < 1 else f"{seconds:.2f} s"


def write_grids(path: Path, maps: Sequence[tuple[Sample, NDArray[np.float32]]], note: str) -> None:
    """Write maps of a volume as NIfTI on its own grid; several of the same one are the fourth axis.

    Args:
        path: Ends in ``.nii`` or ``.nii.gz``.
        maps: Each with what it is of.
        note: Kept as a comment.

    Raises:
        OutputError: It is no volume, or another one; or the file cannot be written.
        MissingExtraError: nibabel is not installed.
    """
    first = maps[0][0]
    for sample, _ in maps:
        if not isinstance(sample, Volume) or sample.is_clip:
            what = "clip" if isinstance(sample, Volume) else KINDS[len(sample.size)]
            raise OutputError(
                f"'{path.name}' is for maps of volumes, and '{sample.name}' is a {what}; write .npz for its values."
            )
        if sample.digest != first.digest:
            raise OutputError(f"'{path.name}' holds maps of one volume; there are several: name a folder.")
    assert isinstance(first, Volume)
    held = [values for _, values in maps]
    write_nifti(path, held[0] if len(held) == 1 else np.stack(held), first, note)


def write_moving(path: Path, sample: Sample, values: NDArray[np.float32], **how: Any) -> None:
    """Write a map as an animation through the slices of a volume, or frame by frame of a clip.

    Args:
        path: Ends in .gif, .webp or .mp4.
        sample: What it is of.
        values: As :func:`draw_over` takes them.
        **how: ``scale``, ``alpha``, ``seen``, ``slicing``, ``caption`` and ``note``.

    Raises:
        OutputError: It is a signal, or the file cannot be written.
    """
    if not isinstance(sample, Volume):
        ensure_writable(path, force=True)
        raise OutputError(f"'{path.name}' is an animation, and '{sample.name}' is a {KINDS[len(sample.size)]}.")
    shades = Shades(values, how["scale"], how["alpha"], how["seen"])
    about = {name: how[name] for name in ("scale", "caption", "note")}
    write_slices(path, sample, shades, how["slicing"], **about)
