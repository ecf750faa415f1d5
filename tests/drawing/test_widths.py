"""Sheets on paper: the width is what was asked for, and nothing on it is lost, too small or over something else."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from cnnviz.drawing.colour import Scale
from cnnviz.drawing.figure import figure
from cnnviz.drawing.paper import PER_INCH, SMALLEST_PICTURE, fit, fold
from cnnviz.drawing.raster import paint_layout
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.drawing.text import text_width
from cnnviz.errors import ParameterError

METHODS = (
    "Grad-CAM", "SmoothGrad", "Smooth Grad-CAM++", "Occlusion", "Integrated Gradients", "RISE", "Ablation-CAM", "ours",
)  # fmt: skip
PIXELS = np.random.default_rng(4).integers(0, 200, (8, 56, 56, 3), dtype=np.uint8)
HALF_A_POINT = 0.5 / 72


def compared(methods, pictures, *, down=False, signed=False):
    """A sheet as a comparison has it: photographs, then maps with a bar each."""
    rows = []
    for row in range(pictures):
        cells = [Cell(PIXELS[row], f"n0212304{row}_cat.jpg\nEgyptian cat, 91.2%")]
        for column in range(methods):
            ends = 0.0123 * (column + 1 + row)
            both = signed and column % 2
            scale = Scale(-ends, ends, signed=True, cmap="RdBu_r") if both else Scale(0, ends, blank=column == 4)
            cells.append(Cell(PIXELS[row], "no positive evidence" if column == 4 else "", scale))
        rows.append(tuple(cells))
    headings = ("", *METHODS[:methods])
    if down:
        return Sheet(tuple(zip(*rows, strict=True)), headings, (), "network", ("a note",))
    return Sheet(tuple(rows), (), headings, "network · layer", ("a note",), lead=1)


def boxes_of(layout):
    """Everything on a sheet as (name, left, top, right, bottom)."""
    for _, box in layout.pictures:
        yield "picture", box.left, box.top, box.left + box.width, box.top + box.height
    for bar in layout.bars:
        box = bar.box
        yield "bar", box.left, box.top, box.left + box.width, box.top + box.height + 1.2 * bar.size
        widths = [text_width(text, bar.size) for _, text in bar.numbers]
        spans = [(share * (box.width - width), width) for (share, _), width in zip(bar.numbers, widths, strict=True)]
        assert all(left + width < after for (left, width), (after, _) in itertools.pairwise(spans))
    for text in layout.texts:
        for index, line in enumerate(text.lines):
            width = text_width(line, text.size, bold=text.bold)
            left = text.x - {"left": 0, "centre": 0.5, "right": 1}[text.align] * width
            top = text.top + index * 1.25 * text.size
            yield line, left, top, left + width, top + 1.2 * text.size


def check(layout, width, dpi=PER_INCH):
    assert abs(layout.width / dpi - width) <= HALF_A_POINT
    assert min(max(box.width, box.height) for _, box in layout.pictures) >= SMALLEST_PICTURE * dpi
    assert len({len(bar.numbers) for bar in layout.bars}) <= 1
    boxes = list(boxes_of(layout))
    for name, left, top, right, bottom in boxes:
        assert (left >= -1, top >= 0) == (True, True), name
        assert (right <= layout.width + 1, bottom <= layout.height + 1) == (True, True), name
    for (name, left, top, right, bottom), (other, *box) in itertools.combinations(boxes, 2):
        apart = right <= box[0] + 1 or box[2] <= left + 1 or bottom <= box[1] + 1 or box[3] <= top + 1
        assert apart, f"{name} overlaps {other}"


@pytest.mark.parametrize("width", [3.25, 6.75])
@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("methods", range(1, 9))
@pytest.mark.parametrize("pictures", [1, 3, 8])
def test_a_comparison_is_as_wide_as_asked(width, down, signed, methods, pictures):
    sheet = compared(methods, pictures, down=down, signed=signed)
    layout = fit(sheet, width)
    check(layout, width)
    drawn = {id(cell) for cell, _ in layout.pictures}
    assert drawn == {id(cell) for row in sheet.rows for cell in row if cell}
    lines = " ".join(" ".join(text.lines) for text in layout.texts)
    for name in METHODS[:methods]:
        assert set(re.findall(r"[\w+]+", name)) <= set(re.findall(r"[\w+]+", lines)), name


@pytest.mark.parametrize("methods", [3, 6])
def test_words_of_a_figure_are_where_the_layout_has_them(methods):
    drawn = figure(compared(methods, 2, signed=True), width=3.25)
    canvas = FigureCanvasAgg(drawn)
    canvas.draw()
    texts = [*drawn.texts, *(label for axes in drawn.axes for label in axes.get_xticklabels())]
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in texts if text.get_text()]
    assert drawn.get_size_inches()[0] == pytest.approx(3.25, abs=HALF_A_POINT)
    for name, box in boxes:
        assert drawn.bbox.padded(1).contains(box.x0, box.y0), name
        assert drawn.bbox.padded(1).contains(box.x1, box.y1), name
    for (name, box), (other, another) in itertools.combinations(boxes, 2):
        assert not box.padded(-1.5).overlaps(another.padded(-1.5)), f"{name} overlaps {other}"


@pytest.mark.parametrize("dpi", [72, 150, 300, 600])
def test_pixels_are_width_times_dpi(dpi):
    layout = fit(compared(6, 1), 3.25, dpi=dpi)
    check(layout, 3.25, dpi)
    assert paint_layout(layout).shape[1] == round(3.25 * dpi)


@pytest.mark.parametrize(
    "sheet", [compared(6, 2, signed=True), compared(3, 4, down=True), Sheet(((Cell(PIXELS[0]),),))]
)
def test_the_limit_that_is_named_holds(sheet):
    with pytest.raises(ParameterError, match=r"0\.2 inches are too narrow") as refused:
        fit(sheet, 0.2)
    least = float(re.search(r"be is ([\d.]+) inches", str(refused.value))[1])
    check(fit(sheet, least), least)
    with pytest.raises(ParameterError, match="too narrow"):
        fit(sheet, least - 0.051)


def test_columns_go_on_below_with_the_photographs_again():
    blocks = fold(compared(6, 2), 2)
    assert [block.column_headings for block in blocks] == [("", *METHODS[:3]), ("", *METHODS[3:6])]
    assert all(block.rows[1][0].pixels is blocks[0].rows[1][0].pixels for block in blocks)
    alone = fold(compared(6, 1), 2)
    assert [block.column_headings for block in alone] == [("", *METHODS[:3]), (*METHODS[3:6], "")]


def test_one_bar_for_all_says_no_number_that_is_not_true_of_all():
    sheet = compared(5, 1, signed=True)
    layout = fit(sheet, 3.25)
    assert len(layout.bars) == 2
    assert {text for bar in layout.bars for _, text in bar.numbers} == {"0", "\N{MINUS SIGN}max", "max of each map"}
    same = Sheet(
        tuple(tuple(Cell(PIXELS[0], scale=Scale(0, 0.83)) for _ in range(7)) for _ in range(2)), (), METHODS[:7]
    )
    for bar in fit(same, 3.25).bars:
        assert [text for _, text in bar.numbers][:: len(bar.numbers) - 1] == ["0", "0.83"]


def test_a_page_is_not_higher_than_two_sheets_where_smaller_pictures_help():
    layout = fit(compared(8, 1, down=True), 6.75)
    assert layout.height <= 22 * PER_INCH
    assert min(box.width for _, box in layout.pictures) >= PER_INCH
