"""A confusion matrix: which classes are taken for which, as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from cnnviz.drawing.charts.charts import blank_figure, inches, notes_height, plain_axes, write_around
from cnnviz.drawing.text import current_style, families

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_confusion"]

PER_INCH: Final = 72
MOST_NAMED: Final = 40
"""Classes whose names stand beside the matrix; of more only mistakes are drawn, as dots."""

LONGEST_NAME: Final = 1.6
"""Inches of a class's name beside the matrix; a longer one is cut."""

LARGEST_SIDE: Final = 5.6
"""Inches of a matrix with names beside it, at most."""

FILLED: Final = 0.95
"""Height of a name in a row, as a share of the row's."""

INK, FAINT, LINE, WRONG, RIGHT = "#202020", "#707070", "#d8d8d8", "#d55e00", "#0072b2"
TWO_DIGITS: Final = 2.4


def draw_confusion(
    matrix: NDArray[np.int64],
    names: Sequence[str],
    *,
    width: float,
    pairs: Sequence[tuple[str, str, int]] = (),
    title: str = "",
    notes: Sequence[str] = (),
) -> Figure:
    """A row a true class, a column an answered class, in the order that is given.

    A cell's darkness is its share of the row; right answers are blue, mistakes orange, and where there is room each
    cell has its number. Of more than 40 classes only mistakes are drawn, as dots whose area is their share of the row,
    and the most frequent pairs are listed below.

    Args:
        matrix: ``(K, K)``: numbers of pictures.
        names: Of the classes.
        width: Of the figure, in inches.
        pairs: Of many classes the most frequent mistakes, as true class, answered class and number.
        title: Above all.
        notes: Below all.
    """
    em = current_style().size / PER_INCH
    named = len(names) <= MOST_NAMED
    shown = [_cut(name) for name in names] if named else []
    margin = _name_margin(shown, width, em) if named else 2.2 * em
    listed = [] if named else [f"{true} \N{RIGHTWARDS ARROW} {answered}: {count}" for true, answered, count in pairs]
    columns = max(1, int(width / max(map(inches, listed), default=1.0))) if listed else 1
    columns = min(columns, 2)
    side = max(1.0, min(width - margin - 1.8 * em, LARGEST_SIDE if named else width))
    list_height = -(-len(listed) // columns) * 1.35 * em + (2.2 * em if listed else 0)
    top = (2.0 * em if title else 0.3 * em) + (margin if named else 1.6 * em) + 1.2 * em
    bottom = notes_height(notes, width, em) + 0.6 * em + list_height
    height = top + side + bottom
    drawn = blank_figure(width, height)
    left = margin + 1.4 * em
    axes = drawn.add_axes((left / width, bottom / height, side / width, side / height))
    if named:
        _fill_cells(axes, matrix, shown, side)
    else:
        _fill_dots(axes, matrix, side)
    size = current_style().size
    drawn.text(0.8 * em / width, (bottom + side / 2) / height, "true class", rotation=90, va="center", ha="center",
               fontsize=size, color=FAINT)  # fmt: skip
    above = bottom + side + (margin if named else 1.4 * em) + 0.3 * em
    drawn.text((left + side / 2) / width, above / height, "answered class", va="bottom", ha="center", fontsize=size,
               color=FAINT)  # fmt: skip
    _write_list(drawn, listed, columns, bottom - 0.8 * em, em)
    write_around(drawn, title, notes, em)
    return drawn


def _fill_cells(axes: Axes, matrix: NDArray[np.int64], names: Sequence[str], side: float) -> None:
    from matplotlib.colors import to_rgb

    count = len(names)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    colours = np.where(np.eye(count, dtype=bool)[..., None], to_rgb(RIGHT), to_rgb(WRONG))
    strength = np.sqrt(shares)[..., None]
    axes.imshow(1 - strength * (1 - colours), interpolation="nearest")
    cell = side / count * PER_INCH
    size = min(current_style().size - 0.5, cell / TWO_DIGITS)
    for row, column in np.argwhere(matrix > 0) if size >= 3 else ():
        dark = shares[row, column] > 0.45
        axes.text(column, row, str(matrix[row, column]), ha="center", va="center", fontsize=size,
                  color="white" if dark else INK, fontfamily=current_style().font)  # fmt: skip
    axes.set_xticks(range(count), labels=list(names), rotation=90)
    axes.set_yticks(range(count), labels=list(names))
    axes.xaxis.tick_top()
    plain_axes(axes)
    small = min(current_style().size, cell * FILLED)
    axes.tick_params(axis="both", labelsize=small)
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.grid(visible=True, which="minor", color="#ececec", linewidth=0.4)
    axes.tick_params(which="minor", length=0)


def _fill_dots(axes: Axes, matrix: NDArray[np.int64], side: float) -> None:
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    shares = wrong / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    rows, columns = np.nonzero(wrong)
    held = shares[rows, columns]
    largest = max(6.0, (side * PER_INCH / 45) ** 2)
    count = len(matrix)
    axes.plot([-0.5, count - 0.5], [-0.5, count - 0.5], color=LINE, linewidth=0.8)
    axes.scatter(columns, rows, s=0.6 + largest * held, color=WRONG, alpha=0.75, linewidths=0)
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    plain_axes(axes)


def _write_list(drawn: Figure, listed: Sequence[str], columns: int, top: float, em: float) -> None:
    width, height = drawn.get_size_inches()
    rows = -(-len(listed) // columns) if listed else 0
    size = current_style().size
    if listed:
        drawn.text(0.05 / width, top / height, "Most frequent mistakes", fontsize=size, fontweight="bold", color=INK,
                   va="top")  # fmt: skip
    for number, line in enumerate(listed):
        column, row = divmod(number, rows)
        drawn.text(
            (0.05 + column * float(width) / columns) / width, (top - (1.5 + 1.35 * row) * em) / height, line,
            fontsize=size - 0.5, color=INK, va="top", fontfamily=families(line), parse_math=False,
        )  # fmt: skip


def _name_margin(names: Sequence[str], width: float, em: float) -> float:
    """Inches that names beside the matrix take, which are set as small as its cells are."""
    longest, shrunk = max(map(inches, names), default=0.0), 1.0
    for _ in range(4):
        side = max(1.0, min(width - longest * shrunk - 2.8 * em, LARGEST_SIDE))
        shrunk = min(1.0, side / max(1, len(names)) * FILLED / em)
    return longest * shrunk + em


def _cut(name: str) -> str:
    """A name that is not longer than there is room for."""
    if inches(name) <= LONGEST_NAME:
        return name
    while name and inches(f"{name}...") > LONGEST_NAME:
        name = name[:-1]
    return f"{name.rstrip(' ,')}..."
