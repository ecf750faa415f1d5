"""A picture of ratios: how many times as long as cnnviz each peer takes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

from matplotlib.figure import Figure

__all__ = ["Ratio", "draw"]

FASTER, SLOWER = "#2b6f77", "#b5562f"
INCHES_A_BAR, LONGEST = 0.26, 72
PIXELS = re.compile(r", \d+ px$")


@dataclass(frozen=True)
class Ratio:
    """What was measured, the peer, and its time over ours."""

    what: str
    who: str
    value: float


def draw(ratios: Sequence[Ratio], path: Path) -> None:
    """Bars on a logarithmic scale; 1 is as fast as cnnviz, and what is left of it is faster."""
    figure = Figure(figsize=(11, 0.8 + INCHES_A_BAR * max(len(ratios), 1)), layout="constrained")
    axes = figure.add_subplot()
    names = [shorten(f"{PIXELS.sub('', one.what)}: {one.who}", LONGEST, placeholder=" ...") for one in ratios]
    places = range(len(ratios))
    colours = [FASTER if one.value >= 1 else SLOWER for one in ratios]
    axes.barh(places, [one.value - 1 for one in ratios], left=1, color=colours, height=0.7)
    for place, one in zip(places, ratios, strict=True):
        axes.annotate(
            f"{one.value:.3g}", (one.value, place), xytext=(4 if one.value >= 1 else -4, 0),
            textcoords="offset points", va="center", ha="left" if one.value >= 1 else "right", fontsize=8,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.margins(x=0.15, y=0.01)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(places, names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("time over cnnviz's; right of 1 cnnviz is faster")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.savefig(path, dpi=120, metadata={"Software": None})
