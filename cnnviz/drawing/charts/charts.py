"""Charts: means with their intervals, curves, and a matrix of correlations, as matplotlib figures for paper and screen.

Colours are those that people with any kind of sight tell apart (Okabe and Ito); nothing is said by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from cnnviz.drawing.text import current_style, families, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Curve",
    "Dot",
    "DotPanel",
    "blank_figure",
    "draw_curves",
    "draw_intervals",
    "draw_matrix",
    "few_ticks",
    "inches",
    "notes_height",
    "plain_axes",
    "write_around",
]

INK, FAINT, LINE = "#202020", "#707070", "#d8d8d8"
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
STYLES: Final = ("-", "--", "-.", ":")
PER_INCH: Final = 72
ROW: Final = 1.75
"""Height of a row, in ems of its text."""

GAP: Final = 2.2
"""Between two panels, in ems."""

MOST_ACROSS: Final = 4
NARROWEST: Final = 3.25
"""Inches of a matrix, where the figure may be wider."""

LEAST_WIDE: Final = 1.15
"""Inches of a panel, at least."""


@dataclass(frozen=True)
class Dot:
    """A mean with its interval.

    Attributes:
        name: What it is of.
        mean: NaN where there is none.
        low: The interval's lower end, or NaN.
        high: Its higher end, or NaN.
        control: Drawn in grey, below a line.
        hollow: Drawn as a ring.
    """

    name: str
    mean: float
    low: float
    high: float
    control: bool = False
    hollow: bool = False


@dataclass(frozen=True)
class DotPanel:
    """The dots of one quantity, the first at the top.

    Attributes:
        title: What it is.
        better: Which side is better, ``"higher"`` or ``"lower"``.
        dots: The same names in the same order as in every other panel.
    """

    title: str
    better: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True, eq=False)
class Curve:
    """A mean curve with its band.

    Attributes:
        name: What it is of.
        mean: ``(S,)``, from 0 to 1 along the axis.
        low: ``(S,)``: the band's lower end.
        high: ``(S,)``: its higher end.
        control: Drawn in grey.
    """

    name: str
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    control: bool = False


def draw_intervals(panels: Sequence[DotPanel], *, width: float, title: str = "", notes: Sequence[str] = ()) -> Figure:
    """Means with their intervals, a panel a quantity, side by side.

    Args:
        panels: What is drawn.
        width: Of the figure, in inches.
        title: Above all.
        notes: Below all.
    """
    em = current_style().size / PER_INCH
    names = max((inches(dot.name) for dot in panels[0].dots), default=0.0) + em
    across = max(1, min(len(panels), MOST_ACROSS, int((width - names) / LEAST_WIDE)))
    down = math.ceil(len(panels) / across)
    high = len(panels[0].dots) * ROW * em
    wide = (width - names - (across - 1) * GAP * em - em) / across
    titles = [_fold(panel.title, wide) for panel in panels]
    above = 1.3 * max(map(len, titles)) * em + 0.8 * em
    top, between, bottom = (2.0 * em if title else 0.3 * em), above + 3.0 * em, notes_height(notes, width, em)
    height = top + down * (high + between) + bottom
    drawn = blank_figure(width, height)
    for number, (panel, lines) in enumerate(zip(panels, titles, strict=True)):
        row, column = divmod(number, across)
        left = names + column * (wide + GAP * em)
        below = height - top - row * (high + between) - above - high
        axes = drawn.add_axes((left / width, below / height, wide / width, high / height))
        _fill_panel(axes, replace(panel, title="\n".join(lines)), named=column == 0)
    write_around(drawn, title, notes, em)
    return drawn


def _fill_panel(axes: Axes, panel: DotPanel, *, named: bool) -> None:
    size = current_style().size
    controls = sum(dot.control for dot in panel.dots)
    at = np.arange(len(panel.dots))[::-1]
    for place, dot in zip(at, panel.dots, strict=True):
        colour = FAINT if dot.control else COLOURS[0]
        if math.isfinite(dot.low):
            axes.plot([dot.low, dot.high], [place, place], color=colour, linewidth=1.2, solid_capstyle="butt")
        face = "white" if dot.hollow else colour
        axes.plot([dot.mean], [place], "o", markersize=4, markerfacecolor=face, markeredgecolor=colour, linewidth=0)
    if 0 < controls < len(at):
        axes.axhline(controls - 0.5, color=LINE, linewidth=0.8)
    axes.set_ylim(-0.6, len(at) - 0.4)
    axes.set_yticks(at if named else [], labels=[dot.name for dot in panel.dots] if named else [])
    arrow = "\N{RIGHTWARDS ARROW}" if panel.better == "higher" else "\N{LEFTWARDS ARROW}"
    words = f"{panel.better} is better {arrow}" if panel.better == "higher" else f"{arrow} {panel.better} is better"
    plain_axes(axes)
    axes.set_title(panel.title, fontsize=size, color=INK, fontfamily=families(panel.title), pad=3, parse_math=False)
    axes.set_xlabel(words, fontsize=size - 1, color=FAINT, fontfamily=current_style().font, labelpad=2)
    axes.xaxis.set_major_locator(few_ticks())
    axes.grid(visible=True, axis="x", color=LINE, linewidth=0.5)
    axes.set_axisbelow(True)


def draw_curves(
    panels: Sequence[tuple[str, Sequence[Curve]]],
    *,
    along: str,
    width: float,
    title: str = "",
    notes: Sequence[str] = (),
) -> Figure:
    """Mean curves with their bands, a panel a quantity.

    Args:
        panels: Title and curves of each.
        along: What the axis is of, from 0 to 100 %.
        width: Of the figure, in inches.
        title: Above all.
        notes: Below all.
    """
    em = current_style().size / PER_INCH
    across = max(1, min(len(panels), 3, int(width / 1.9)))
    down = math.ceil(len(panels) / across)
    left, right = 3.4 * em, 0.8 * em
    wide = (width - right - across * left) / across
    high = min(wide * 0.8, 2.4)
    names = [curve.name for curve in panels[0][1]]
    legend = _legend_rows(names, width, em)
    top, bottom = (2.0 * em if title else 0.3 * em), notes_height(notes, width, em)
    height = top + down * (high + 4.8 * em) + legend * 1.6 * em + bottom + 0.4 * em
    drawn = blank_figure(width, height)
    for number, (name, curves) in enumerate(panels):
        row, column = divmod(number, across)
        start = left + column * (wide + left)
        below = height - top - row * (high + 4.8 * em) - 1.8 * em - high
        axes = drawn.add_axes((start / width, below / height, wide / width, high / height))
        _fill_curves(axes, name, curves, along)
    _draw_legend(drawn, panels[0][1], (legend, bottom + 0.2 * em))
    write_around(drawn, title, notes, em)
    return drawn


def _fill_curves(axes: Axes, name: str, curves: Sequence[Curve], along: str) -> None:
    lettering = current_style()
    for number, curve in enumerate(curves):
        share = np.linspace(0, 100, len(curve.mean))
        look = _look_of(number, control=curve.control)
        axes.fill_between(share, curve.low, curve.high, color=look["color"], alpha=0.12, linewidth=0)
        axes.plot(share, curve.mean, **look)
    plain_axes(axes)
    axes.set_xlim(0, 100)
    axes.set_title(name, fontsize=lettering.size, color=INK, fontfamily=families(name), pad=3, parse_math=False)
    axes.set_xlabel(along, fontsize=lettering.size - 1, color=FAINT, fontfamily=lettering.font, labelpad=2)
    axes.grid(visible=True, color=LINE, linewidth=0.5)
    axes.yaxis.set_major_locator(few_ticks())


def _look_of(number: int, *, control: bool) -> dict[str, Any]:
    if control:
        return {"color": "#909090", "linestyle": STYLES[number % len(STYLES)], "linewidth": 1.0}
    style = STYLES[number // len(COLOURS) % len(STYLES)]
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": style, "linewidth": 1.5}


def _draw_legend(drawn: Figure, curves: Sequence[Curve], where: tuple[int, float]) -> None:
    from matplotlib.lines import Line2D

    rows, bottom = where
    handles = [
        Line2D([], [], label=curve.name, **_look_of(number, control=curve.control))
        for number, curve in enumerate(curves)
    ]
    drawn.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, bottom / drawn.get_figheight()),
        ncols=math.ceil(len(handles) / rows),
        frameon=False,
        prop={"family": families("".join(curve.name for curve in curves)), "size": current_style().size},
        handlelength=2.2,
        columnspacing=1.2,
        labelspacing=0.35,
        borderpad=0,
    )
    for text in drawn.legends[0].get_texts():
        text.set_parse_math(False)


def _legend_rows(names: Sequence[str], width: float, em: float) -> int:
    longest = max((inches(name) for name in names), default=1.0) + 5 * em
    return max(1, math.ceil(len(names) / max(1, int(width / longest))))


def draw_matrix(
    values: NDArray[np.float64], names: Sequence[str], *, width: float, title: str = "", notes: Sequence[str] = ()
) -> Figure:
    """A symmetric matrix of correlations, each written into its cell.

    Args:
        values: ``(K, K)`` in -1 to 1; NaN where there is none.
        names: Of rows and columns.
        width: Of the figure, in inches.
        title: Above all.
        notes: Below all.
    """
    lettering = current_style()
    em = lettering.size / PER_INCH
    left = max(map(inches, names)) + em
    side = max(0.9 * em, min((width - left - 0.4 * em) / len(names), 6 * em))
    width = min(width, max(left + side * len(names) + 0.4 * em, NARROWEST))
    top = (2.0 * em if title else 0.3 * em) + left
    bottom = notes_height(notes, width, em) + 0.4 * em
    square = side * len(names)
    height = top + square + bottom
    drawn = blank_figure(width, height)
    axes = drawn.add_axes((left / width, bottom / height, square / width, square / height))
    axes.imshow(np.nan_to_num(values), cmap="RdBu", vmin=-1, vmax=1)
    for row, column in np.ndindex(values.shape):
        value = values[row, column]
        words = f"{value:.2f}".replace("-", "\N{MINUS SIGN}") if math.isfinite(value) else "\N{EN DASH}"
        dark = math.isfinite(value) and abs(value) > 0.6
        axes.text(
            column, row, words, ha="center", va="center", color="white" if dark else INK,
            fontsize=min(lettering.size - 1, side * PER_INCH / 2.6), fontfamily=lettering.font,
        )  # fmt: skip
    ticks = range(len(names))
    axes.set_xticks(ticks, labels=list(names), rotation=90)
    axes.set_yticks(ticks, labels=list(names))
    axes.xaxis.tick_top()
    plain_axes(axes)
    write_around(drawn, title, notes, em)
    return drawn


def blank_figure(width: float, height: float) -> Figure:
    """A white figure of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor="white")


def plain_axes(axes: Axes) -> None:
    """Axes with a thin frame, no tick marks, and words in the fonts that have their characters."""
    lettering = current_style()
    axes.tick_params(length=0, labelsize=lettering.size - 1, labelcolor=INK, labelfontfamily=lettering.font, pad=3)
    axes.tick_params(axis="y", labelsize=lettering.size)
    axes.spines[:].set(linewidth=0.5, color=LINE)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        if label.get_text():
            label.set(parse_math=False, fontfamily=families(label.get_text()))


def few_ticks() -> Any:
    """Three numbers along an axis, or so."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=3, min_n_ticks=2)


def inches(words: str) -> float:
    """How wide words are in ordinary text."""
    size = current_style().size
    return float(text_width(words, 100)) / 100 * size / PER_INCH


def notes_height(notes: Sequence[str], width: float, em: float) -> float:
    """Inches that notes take below a figure of some width."""
    return sum(len(_fold(note, width)) for note in notes) * 1.3 * em + (0.6 * em if notes else 0.0)


def _fold(note: str, width: float) -> list[str]:
    """A note in lines that fit the width."""
    lines: list[str] = [""]
    for word in note.split():
        longer = f"{lines[-1]} {word}".strip()
        if inches(longer) * (1 - 1 / current_style().size) > width - 0.1 and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def write_around(drawn: Figure, title: str, notes: Sequence[str], em: float) -> None:
    """Write a title above a figure and notes below it."""
    lettering = current_style()
    width, height = drawn.get_size_inches()
    if title:
        drawn.text(
            0.05 / width, 1 - 0.4 * em / height, title, fontsize=lettering.size + 1, fontweight="bold", color=INK,
            va="top", fontfamily=families(title), parse_math=False,
        )  # fmt: skip
    lines = [line for note in notes for line in _fold(note, float(width))]
    for number, line in enumerate(reversed(lines)):
        drawn.text(
            0.05 / width, (0.3 + 1.3 * number) * em / height, line, fontsize=lettering.size - 1, color=FAINT,
            va="bottom", fontfamily=families(line), parse_math=False,
        )  # fmt: skip
