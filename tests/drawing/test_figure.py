import itertools
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cnnviz.drawing.colour import Scale
from cnnviz.drawing.figure import figure
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.errors import ParameterError

RNG = np.random.default_rng(3)
SCALE = Scale(-0.000217, 0.000217, signed=True, cmap="RdBu_r")


def picture(height=40, width=60):
    return RNG.integers(0, 200, (height, width, 3), dtype=np.uint8)


def sheet(columns=3, scale=SCALE):
    caption = "tabby, tabby cat $0.91_2$ on features.denseblock4.denselayer16"
    rows = tuple(tuple(Cell(picture(50 + 20 * row, 60), caption, scale) for _ in range(columns)) for row in range(2))
    return Sheet(rows, ("first row", "second"), tuple("ABCDEFGHIJKLMNOP"[:columns]), "A title", ("A note.",))


def words(drawn):
    texts = [*drawn.texts, *(label for axes in drawn.axes for label in axes.get_xticklabels())]
    return [text for text in texts if text.get_text()]


def extents(drawn):
    canvas = FigureCanvasAgg(drawn)
    canvas.draw()
    return [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in words(drawn)]


@pytest.mark.parametrize("columns", [1, 3, 12])
def test_words_neither_overlap_nor_leave_the_figure(columns):
    drawn = figure(sheet(columns))
    boxes = extents(drawn)
    assert len(boxes) > 4 * columns
    for name, box in boxes:
        assert drawn.bbox.padded(1).contains(box.x0, box.y0), name
        assert drawn.bbox.padded(1).contains(box.x1, box.y1), name
    for (name, box), (other, another) in itertools.combinations(boxes, 2):
        assert not box.padded(-1.5).overlaps(another.padded(-1.5)), f"{name} overlaps {other}"


def test_pictures_keep_their_shape():
    drawn = figure(sheet())
    pictures = [axes for axes in drawn.axes if not axes.get_xticklabels()]
    inches = drawn.get_size_inches()
    assert len(pictures) == 6
    for index, axes in enumerate(pictures):
        box = axes.get_position()
        aspect = box.height * inches[1] / (box.width * inches[0])
        assert aspect == pytest.approx((50 + 20 * (index // 3)) / 60, rel=0.02)


def test_width_in_inches():
    for width in (3.3, 7.0):
        assert figure(sheet(columns=2), width=width).get_size_inches()[0] == pytest.approx(width, abs=0.5 / 72)
    assert figure(sheet(columns=12), width=3.3).get_size_inches()[0] == pytest.approx(3.3, abs=0.5 / 72)
    tall = figure(Sheet(((Cell(picture(200, 100)),),)), width=4.0)
    assert tall.get_size_inches()[0] == pytest.approx(4.0, abs=0.5 / 72)
    (axes,) = tall.axes
    box = axes.get_position()
    assert (box.x0 + box.x1) / 2 == pytest.approx(0.5, abs=0.01)


def test_bars_have_numbers():
    labels = [label.get_text() for label in words(figure(sheet()))]
    assert labels.count("\N{MINUS SIGN}2.2e\N{MINUS SIGN}4") == labels.count("2.2e\N{MINUS SIGN}4") == 6


def test_dollars_in_a_caption_are_dollars():
    drawn = figure(Sheet(((Cell(picture(), "$x$"),),)))
    assert [(text.get_text(), text.get_parse_math()) for text in words(drawn)] == [("$x$", False)]


def test_a_blank_scale_says_so():
    labels = [label.get_text() for label in words(figure(sheet(scale=Scale(0, 1, blank=True))))]
    assert labels.count("nothing to show") == 6


def test_one_cell_in_someone_elses_axes():
    own = Figure()
    first, second = own.subplots(1, 2)
    one = Sheet(((Cell(picture(), "caption", SCALE),),))
    assert figure(one, ax=second) is own
    assert second.get_title() == "caption"
    assert not first.images
    inset = own.subfigures(1, 2)[0].subplots()
    assert figure(one, ax=inset) is own
    with pytest.raises(ParameterError, match="2 x 3"):
        figure(sheet(), ax=first)


def test_a_figure_needs_room():
    with pytest.raises(ParameterError, match="above 0"):
        figure(sheet(), width=0)


def test_someone_elses_style_changes_nothing():
    one = Sheet(((Cell(picture(), "caption", SCALE),),))
    with matplotlib.rc_context({"image.origin": "lower", "axes.grid": True, "figure.facecolor": "red"}):
        styled = figure(one, width=2)
    pixels = []
    for drawn in (styled, figure(one, width=2)):
        canvas = FigureCanvasAgg(drawn)
        canvas.draw()
        pixels.append(np.asarray(canvas.buffer_rgba()))
    assert (pixels[0] == pixels[1]).all()


def test_drawing_needs_neither_torch_nor_pyplot():
    code = (
        "import pkgutil, importlib, sys, cnnviz.drawing as room;"
        "[importlib.import_module(f'cnnviz.drawing.{found.name}') for found in pkgutil.iter_modules(room.__path__)];"
        "print({'torch', 'matplotlib.pyplot'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")
