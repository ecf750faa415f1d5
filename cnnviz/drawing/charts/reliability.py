"""A reliability diagram: confidence beside accuracy, bin by bin, as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from cnnviz.drawing.charts.charts import blank_figure, notes_height, plain_axes, write_around
from cnnviz.drawing.text import current_style, families

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ReliabilityPanel", "draw_reliability"]

PER_INCH: Final = 72
FEW: Final = 10
"""Answers in a bin below which its bar is pale."""

INK, FAINT, LINE, BAR, GAP = "#202020", "#707070", "#d8d8d8", "#0072b2", "#d55e00"


@dataclass(frozen=True, eq=False)
class ReliabilityPanel:
    """One diagram.

    Attributes:
        title: Above it.
        counts: ``(B,)``: answers in each bin.
        confidence: ``(B,)``: their mean probability.
        accuracy: ``(B,)``: the share that is right.
    """

    title: str
    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]


def draw_reliability(
    panels: Sequence[ReliabilityPanel], *, width: float, title: str = "", notes: Sequence[str] = ()
) -> Figure:
    """Diagrams side by side: bars of accuracy, the line on which confidence is right, below how many answers there are.

    A hatched piece is what lies between accuracy and confidence: above the bar where the network is too sure.
    The bar of fewer than ten answers is pale.

    Args:
        panels: The diagrams.
        width: Of the figure, in inches.
        title: Above all.
        notes: Below all.
    """
    em = current_style().size / PER_INCH
    left, right = 4.2 * em, 1.8 * em
    wide = min((width - right - len(panels) * left) / len(panels), 2.9)
    high, below = wide, 0.28 * wide
    top, bottom = (2.2 * em if title else 0.4 * em) + 1.8 * em, notes_height(notes, width, em) + 3.6 * em
    height = top + high + 0.5 * em + below + bottom
    drawn = blank_figure(width, height)
    for number, panel in enumerate(panels):
        start = left + number * (wide + left)
        axes = drawn.add_axes((start / width, (bottom + below + 0.5 * em) / height, wide / width, high / height))
        _fill_bars(axes, panel)
        axes = drawn.add_axes((start / width, bottom / height, wide / width, below / height))
        _fill_counts(axes, panel)
        if number:
            continue
        drawn.text(0.8 * em / width, (bottom + below + high / 2) / height, "share of right answers", rotation=90,
                   ha="center", va="center", fontsize=current_style().size, color=FAINT)  # fmt: skip
        drawn.text(0.8 * em / width, (bottom + below / 2) / height, "answers", rotation=90, ha="center", va="center",
                   fontsize=current_style().size, color=FAINT)  # fmt: skip
    write_around(drawn, title, notes, em)
    return drawn


def _fill_bars(axes: Axes, panel: ReliabilityPanel) -> None:
    count = len(panel.counts)
    held = np.flatnonzero(panel.counts)
    centres = (held + 0.5) / count
    accuracy, confidence = panel.accuracy[held], panel.confidence[held]
    strength = np.where(panel.counts[held] < FEW, 0.35, 1.0)
    for centre, high, alpha in zip(centres, accuracy, strength, strict=True):
        axes.bar([centre], [high], width=0.92 / count, color=BAR, linewidth=0, alpha=float(alpha))
    axes.bar(
        centres, np.abs(confidence - accuracy), bottom=np.minimum(confidence, accuracy), width=0.92 / count,
        facecolor="none", edgecolor=GAP, hatch="//////", linewidth=0.7,
    )  # fmt: skip
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle="--")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xticks([])
    axes.set_yticks([0, 0.5, 1], labels=["0", "50%", "100%"])
    plain_axes(axes)
    axes.set_title(panel.title, fontsize=current_style().size, color=INK, fontfamily=families(panel.title), pad=4,
                   parse_math=False)  # fmt: skip


def _fill_counts(axes: Axes, panel: ReliabilityPanel) -> None:
    count = len(panel.counts)
    axes.bar((np.arange(count) + 0.5) / count, panel.counts, width=0.92 / count, color="#909090", linewidth=0)
    most = int(panel.counts.max())
    axes.set_xlim(0, 1)
    axes.set_ylim(0, most * 1.15 or 1)
    axes.set_xticks([0, 0.5, 1], labels=["0", "50%", "100%"])
    axes.set_yticks([most], labels=[f"{most:,}"])
    plain_axes(axes)
    axes.tick_params(axis="y", labelsize=current_style().size - 1)
    axes.set_xlabel("confidence (probability of the answer)", fontsize=current_style().size - 1, color=FAINT,
                    fontfamily=current_style().font, labelpad=2)  # fmt: skip
