"""What a picture's quality record says, in two short lines that need no explanation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["NATURAL_SATURATION", "NATURAL_SLOPE", "quality_lines"]

NATURAL_SLOPE: Final = (-1.29, 0.22)
"""Slope of the amplitude spectrum of photographs, and its standard deviation, over eleven of ImageNet's."""

NATURAL_SATURATION: Final = 0.25
"""A share of saturated pixels that seven of eight photographs stay below."""

FAR: Final = 2.0


def quality_lines(quality: Mapping[str, Any], *, photographic: bool = True) -> tuple[str, ...]:
    """Whether the picture convinces other eyes, and whether it has the fineness of a photograph.

    Args:
        quality: A record of :func:`cnnviz.methods.quality.judge_images`, or nothing.
        photographic: Whether it makes sense to compare the picture with photographs.

    Returns:
        At most two lines.
    """
    said = [_judged(quality), "" if _judged(quality) and photographic else _held_out(quality)]
    return tuple(filter(None, [*said, _natural(quality) if photographic else ""]))


def _judged(quality: Mapping[str, Any]) -> str:
    if quality.get("judge_rank") is None:
        return ""
    if quality["judge_rank"] == 1:
        return f"{quality['judge']} agrees: {quality['judge_probability']:.0%}"
    return f"{quality['judge']}: {quality['judge_first']}, this {_ordinal(quality['judge_rank'])}"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _held_out(quality: Mapping[str, Any]) -> str:
    if quality.get("held_out_mean") is None:
        return ""
    mean, deviation = quality["held_out_mean"], quality["held_out_deviation"]
    return f"{mean:.3g} \N{PLUS-MINUS SIGN} {deviation:.2g} when moved or cropped"


def _natural(quality: Mapping[str, Any]) -> str:
    said = [_fineness(quality["slope"])] if quality.get("slope") is not None else []
    if quality.get("saturated_share", 0.0) > NATURAL_SATURATION:
        said.append(f"{quality['saturated_share']:.0%} saturated")
    return ", ".join(said)


def _fineness(slope: float) -> str:
    mean, deviation = NATURAL_SLOPE
    if slope > mean + FAR * deviation:
        return "noisier than photographs"
    return "smoother than photographs" if slope < mean - FAR * deviation else "as fine as photographs"
