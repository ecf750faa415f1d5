"""How long windows are: settings in places, millimetres or seconds as places of a sample's input."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cnnviz.core.dimensions import KINDS, PICTURE, SIGNAL, VOLUME, Size, spell_size
from cnnviz.core.sample import Sample, Signal, Volume
from cnnviz.errors import ParameterError
from cnnviz.lengths import split_lengths

__all__ = ["distances_of", "is_measured", "sides_of", "spell_sides", "usual_stride", "usual_window"]

SHARE = 7
"""Windows are a seventh of the input's shorter side, of volumes of each side, ..."""

STEPS = {SIGNAL: 4, PICTURE: 4, VOLUME: 2}
"""... and so many steps apart: of volumes twice as many would be eight times the work."""

PLACES = {SIGNAL: "samples", PICTURE: "pixels", VOLUME: "voxels"}
NAMED = {"mm": "millimetres", "s": "seconds"}


def usual_window(size: Size) -> int | Size:
    """The window of an input where none is asked for."""
    if len(size) == VOLUME:
        return tuple(max(1, round(length / SHARE)) for length in size)
    return max(1, round(min(size) / SHARE))


def usual_stride(window: int | Size, size: Size) -> int | Size:
    """The stride of a window where none is asked for.

    Args:
        window: Its length along each axis, or along all.
        size: The input's.
    """
    steps = STEPS[len(size)]
    return tuple(math.ceil(side / steps) for side in window) if isinstance(window, tuple) else math.ceil(window / steps)


def is_measured(setting: int | str | tuple[int, ...] | None) -> bool:
    """Whether a setting is told in millimetres or seconds, so that its places differ from sample to sample."""
    return isinstance(setting, str) and any(unit for _, unit in split_lengths(setting))


def sides_of(name: str, setting: int | str | tuple[int, ...], size: Size, sample: Sample | None = None) -> int | Size:
    """A setting as places along each axis of an input, or along all.

    Args:
        name: Which setting it is.
        setting: As ``cnnviz.lengths`` holds it.
        size: The input's length along each axis.
        sample: What the input was made of; its spacing, rate and geometry tell how far apart places are.

    Raises:
        ParameterError: If it is one for another number of axes, or its unit means nothing on the sample.
    """
    if not isinstance(setting, str):
        return setting
    lengths = split_lengths(setting)
    if len(lengths) not in (1, len(size)):
        raise ParameterError(
            f"{name} must be one number, or one for each axis of a {KINDS[len(size)]} of {spell_size(size)}; "
            f"got {setting}."
        )
    if len(lengths) == 1:
        lengths *= len(size)
    known = distances_of(sample) if sample else [None] * len(size)
    return tuple(_count(name, setting, one, distance, sample) for one, distance in zip(lengths, known, strict=True))


def spell_sides(side: int | Size, size: Size) -> str:
    """Places along each axis in words, such as ``"8 x 16 x 16 voxels"``."""
    lengths = side if isinstance(side, tuple) else (side,) * len(size)
    return f"{spell_size(lengths)} {PLACES[len(size)]}"


def _count(
    name: str, setting: str, length: tuple[float, str], known: tuple[float, str] | None, sample: Sample | None
) -> int:
    """How many places a length is, at least one."""
    much, unit = length
    if not unit:
        return round(much)
    distance, told = known or (0.0, "")
    if told != unit:
        raise ParameterError(f"{name} is {setting}, but {_told(unit, told, sample)}")
    return max(1, round(much / distance))


def _told(unit: str, told: str, sample: Sample | None) -> str:
    """What is not known, and what can be given instead."""
    places = PLACES[len(sample.size)] if sample is not None else "places"
    of = "" if sample is None else f" of '{sample.name}'"
    if told:
        return f"the {places}{of} lie {NAMED[told]} apart; expected a length in {told}, or {places} such as 8."
    told_by = {
        (Volume, "mm"): ", or a volume with its spacing, as NIfTI and DICOM files tell it",
        (Signal, "s"): ", or a signal with its rate",
    }.get((type(sample), unit), "")
    return f"how many {NAMED[unit]} the {places}{of} lie apart is not known; expected {places} such as 8{told_by}."


def distances_of(sample: Sample) -> Sequence[tuple[float, str] | None]:
    """From one place of the input to the next along each axis, with its unit; None where it is not known."""
    found: list[tuple[float, str] | None] = [None for _ in sample.size]
    if isinstance(sample, Volume) and sample.spacing is not None:
        found = [(each, "mm") for each in sample.spacing]
    if isinstance(sample, (Signal, Volume)) and sample.rate is not None:
        found[0] = 1 / sample.rate, "s"
    return [one and (one[0] * scale, one[1]) for one, scale in zip(found, sample.cut.scale, strict=True)]
