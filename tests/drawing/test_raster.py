import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnviz.drawing.colour import Scale, colour_bar, scale_of
from cnnviz.drawing.layout import Style
from cnnviz.drawing.paper import fit
from cnnviz.drawing.raster import montage
from cnnviz.drawing.sheet import Cell, Sheet, SheetBlock, lay_out, sheet_width
from cnnviz.drawing.text import text_width, wrap
from cnnviz.errors import ParameterError

RNG = np.random.default_rng(2)


def picture(height=40, width=60):
    return RNG.integers(0, 200, (height, width, 3), dtype=np.uint8)


def grid(rows, columns, **words):
    return Sheet(tuple(tuple(Cell(picture()) for _ in range(columns)) for _ in range(rows)), **words)


def full_sheet():
    scale = Scale(-0.0123, 0.0123, signed=True, cmap="RdBu_r")
    long = "a caption of several words that goes on and on and on, features.denseblock4.denselayer16.conv2 and on"
    rows = tuple(
        tuple(Cell(picture(90 + 30 * row, 60 + 40 * column), long, scale if column else None) for column in range(3))
        for row in range(2)
    )
    return Sheet(rows, ("one", "features.denseblock4.denselayer16"), ("A", long, "C"), "Title", ("a note", long))


def test_a_single_cell_is_its_own_pixels():
    pixels = picture()
    assert (montage(Sheet(((Cell(pixels),),))) == pixels).all()


@pytest.mark.parametrize(("rows", "columns", "gap"), [(1, 3, 8), (3, 4, 0), (2, 1, 5)])
def test_a_bare_grid_is_exact(rows, columns, gap):
    sheet = grid(rows, columns)
    drawn = montage(sheet, gap=gap)
    assert drawn.shape == (rows * 40 + (rows - 1) * gap, columns * 60 + (columns - 1) * gap, 3)
    for row, column in itertools.product(range(rows), range(columns)):
        top, left = row * (40 + gap), column * (60 + gap)
        assert (drawn[top : top + 40, left : left + 60] == sheet.rows[row][column].pixels).all()


def test_cells_are_scaled_to_their_longer_side():
    assert montage(Sheet(((Cell(picture(50, 100)),),)), cell=80).shape == (40, 80, 3)
    assert montage(Sheet(((Cell(picture(200, 100)),),)), cell=300).shape == (300, 150, 3)


def test_small_maps_keep_hard_pixels():
    small = picture(7, 7)
    assert (montage(Sheet(((Cell(small),),)), cell=70) == small.repeat(10, 0).repeat(10, 1)).all()


def test_words_leave_the_pictures_as_they_are():
    sheet = full_sheet()
    drawn = montage(sheet)
    for cell in itertools.chain.from_iterable(sheet.rows):
        windows = np.lib.stride_tricks.sliding_window_view(drawn[..., 0], cell.pixels.shape[:2])
        assert (windows[:, :, 0, 0] == cell.pixels[0, 0, 0]).any()
        starts = np.argwhere((windows[:, :, 0, :8] == cell.pixels[0, :8, 0]).all(-1))
        assert any((windows[top, left] == cell.pixels[..., 0]).all() for top, left in starts)


def test_a_bar_of_the_scale_is_drawn():
    scale = Scale(0, 0.83)
    drawn = montage(Sheet(((Cell(picture(80, 120), scale=scale),),)))
    assert (drawn == colour_bar(scale, 1, 120)[0, -1]).all(-1).any()


def test_a_blank_scale_has_words_and_no_bar():
    pixels = np.full((80, 160, 3), 255, dtype=np.uint8)
    drawn = montage(Sheet(((Cell(pixels, scale=scale_of(np.zeros((2, 2)))),),)))
    assert np.ptp(drawn.astype(int), axis=-1).max() == 0
    assert drawn.min() < 200


def test_dark_and_light_paper():
    sheet = grid(1, 2, title="Title")
    assert montage(sheet)[0, 0].min() == 255
    assert montage(sheet, dark=True)[0, 0].max() < 40
    assert montage(sheet).shape == montage(sheet, dark=True).shape


def test_the_same_sheet_gives_the_same_pixels():
    sheet = full_sheet()
    assert (montage(sheet, cell=120) == montage(sheet, cell=120)).all()


def test_pale_pictures_are_outlined_on_white_paper():
    pale = Sheet(((Cell(np.full((30, 60, 3), 250, dtype=np.uint8), "x"),),))
    dark = Sheet(((Cell(np.full((30, 60, 3), 10, dtype=np.uint8), "x"),),))
    assert lay_out(pale, [[(30, 60)]], Style(10, 8, 10)).outlined
    assert not lay_out(dark, [[(30, 60)]], Style(10, 8, 10)).outlined


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


@pytest.mark.parametrize("em", [9, 14, 33])
def test_nothing_overlaps_and_nothing_sticks_out(em):
    sheet = full_sheet()
    sizes = [[cell.size for cell in row] for row in sheet.rows]
    layout = lay_out(sheet, sizes, Style(em, gap=em // 2, margin=em))
    boxes = list(boxes_of(layout))
    assert layout.width == sheet_width((SheetBlock(sheet, sizes),), Style(em, gap=em // 2, margin=em))
    for name, left, top, right, bottom in boxes:
        assert left >= 0, name
        assert top >= 0, name
        assert right <= layout.width + 1, name
        assert bottom <= layout.height + 1, name
    for (name, left, top, right, bottom), (other, *box) in itertools.combinations(boxes, 2):
        apart = right <= box[0] + 1 or box[2] <= left + 1 or bottom <= box[1] + 1 or box[3] <= top + 1
        assert apart, f"{name} overlaps {other}"


@settings(max_examples=60, deadline=None)
@given(text=st.text("iW ./_-\n\t猫é", max_size=80), width=st.integers(30, 300), most=st.integers(1, 4))
def test_wrapped_lines_fit(text, width, most):
    lines = wrap(text, width, 12, most=most)
    assert len(lines) <= most
    assert all(text_width(line, 12) <= width for line in lines)


def test_wrapping_keeps_words_and_says_when_it_drops_some():
    assert wrap("one two\nthree", 500, 12) == ("one two", "three")
    assert " ".join(wrap("tabby, tabby cat", 60, 12)) == "tabby, tabby cat"
    assert wrap("layer4.downsample.1", 70, 12)[0] == "layer4."
    assert wrap("many words that never fit", 60, 12, most=1)[0].endswith("…")
    assert wrap("", 60, 12) == ()
    assert wrap("猫.jpg", 200, 12) == ("\N{REPLACEMENT CHARACTER}.jpg",)


def test_a_sheet_fills_up_ragged_rows():
    sheet = Sheet(((Cell(picture()),), (Cell(picture()), Cell(picture()))))
    assert sheet.shape == (2, 2)
    assert sheet.rows[0][1] is None
    assert montage(sheet, gap=0)[:40, 60:].min() == 255


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Sheet(()), "at least one picture"),
        (lambda: Sheet(((None,),)), "at least one picture"),
        (lambda: grid(2, 2, row_headings=("a",)), "2 rows.*1 row headings"),
        (lambda: grid(2, 2, column_headings=("a", "b", "c")), "2 columns.*3 column headings"),
        (lambda: Cell(np.zeros((4, 4), dtype=np.uint8)), r"\(4, 4\)"),
        (lambda: Cell(np.zeros((4, 4, 3))), "float64"),
        (lambda: Cell(np.zeros((0, 4, 3), dtype=np.uint8)), r"\(0, 4, 3\)"),
        (lambda: montage(grid(1, 1), cell=0), "cell"),
        (lambda: montage(grid(1, 1), gap=-1), "gap"),
    ],
)
def test_what_cannot_be_drawn_is_said(wrong, message):
    with pytest.raises(ParameterError, match=message):
        wrong()


def test_a_width_of_no_paper_is_refused():
    with pytest.raises(ParameterError, match="width is in inches, at most 100, not 1640"):
        fit(grid(1, 1), 1640)


def test_a_row_heading_of_five_lines_is_whole():
    said = "unit 0\ncircle 0.52\nactive in 91% of the images"
    sheet = Sheet(((Cell(np.zeros((90, 90, 3), np.uint8)),),), row_headings=(said,))
    (heading,) = lay_out(sheet, [[(90, 90)]], Style(10, 8, 10)).texts
    assert len(heading.lines) > 3
    assert " ".join(heading.lines) == " ".join(said.split())
