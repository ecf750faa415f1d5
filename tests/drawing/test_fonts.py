"""Characters that the chosen font lacks: drawn in another font as wide as they are measured, or said to be missing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings

import matplotlib
import numpy as np
import pypdf
import pytest
from click.testing import CliRunner
from cnnviz.cli.app import main as command
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.t2CharStringPen import T2CharStringPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.text import Text
from PIL import Image, ImageDraw, features

import cnnviz
from cnnviz.drawing.boxes import draw_boxes
from cnnviz.drawing.colour import Scale
from cnnviz.drawing.figure import Grid, figure
from cnnviz.drawing.fonts import families, lines, pdf
from cnnviz.drawing.fonts.families import FontWarning
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.drawing.text import draw_text, text_width, widest_piece, wrap

EM, WIDE = 40, 1000
HAN = "猫犬金毛寻回狗一二三、。\uff08\uff09"
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 200, (40, 60, 3), dtype=np.uint8)
SCALE = Scale(-2.0, 2.0, signed=True, cmap="RdBu_r")
RAQM = pytest.mark.skipif(not features.check("raqm"), reason="this Pillow was built without Raqm")
CACHES = (
    families.characters_of,
    families._first_with,
    families._substitutes,
    lines._load,
    lines._measure,
    lines._measure_shaped,
    pdf._has_postscript_outlines,
)


def forget():
    for each in CACHES:
        each.cache_clear()
    families._SAID.clear()
    lines._SAID.clear()
    fontManager._findfont_cached.cache_clear()


@pytest.fixture
def bare(monkeypatch):
    """Nothing is installed but the fonts that come with matplotlib, and nothing was said."""
    own = [each for each in fontManager.ttflist if each.fname.startswith(matplotlib.get_data_path())]
    monkeypatch.setattr(fontManager, "ttflist", own)
    forget()
    yield
    forget()


@pytest.fixture
def install(bare, tmp_path):
    """Install a font with some letters, each a black square as wide and high as an em."""

    def add(name, letters, *, postscript=False):
        names = [".notdef", *(f"u{ord(each):x}" for each in letters)]
        built = FontBuilder(WIDE, isTTF=not postscript)
        built.setupGlyphOrder(names)
        built.setupCharacterMap({ord(each): f"u{ord(each):x}" for each in letters})
        shapes = {each: square(postscript, empty=each == ".notdef") for each in names}
        if postscript:
            built.setupCFF(name.replace(" ", ""), {}, shapes, {})
        else:
            built.setupGlyf(shapes)
        built.setupHorizontalMetrics(dict.fromkeys(names, (WIDE, 0)))
        built.setupHorizontalHeader(ascent=900, descent=-200)
        built.setupNameTable({"familyName": name, "styleName": "Regular", "psName": name.replace(" ", "")})
        built.setupOS2(sTypoAscender=900, sTypoDescender=-200, usWinAscent=900, usWinDescent=200)
        built.setupPost()
        file = tmp_path / f"{name}{'.otf' if postscript else '.ttf'}"
        built.save(file)
        fontManager.addfont(file)
        return name

    return add


def square(postscript, *, empty):
    pen = T2CharStringPen(WIDE, None) if postscript else TTGlyphPen(None)
    if not empty:
        pen.moveTo((0, 0))
        for corner in ((0, 800), (WIDE, 800), (WIDE, 0)):
            pen.lineTo(corner)
        pen.closePath()
    return pen.getCharString() if postscript else pen.glyph()


def drawn(words, *, anchor="ls", left=50, **how):
    """Where there is ink, ``(H, W)``."""
    image = Image.new("L", (900, 100), 255)
    draw_text(ImageDraw.Draw(image), (left, 70), words, EM, fill=0, anchor=anchor, **how)
    return np.asarray(image) < 128


def squares(ink):
    """First and last column of each run of columns that are inked as high as a square is."""
    full = np.flatnonzero(ink.sum(0) >= 0.8 * EM - 1)
    return [
        (int(each[0]), int(each[-1])) for each in np.split(full, np.flatnonzero(np.diff(full) > 1) + 1) if each.size
    ]


def page_of(file):
    return pypdf.PdfReader(file).pages[0]


def fonts_of(file):
    """Of each font in a PDF the name, and what holds its outlines."""
    found = {}
    for each in page_of(file)["/Resources"]["/Font"].values():
        font = each.get_object()
        assert font["/Subtype"] == "/Type0"
        below = font["/DescendantFonts"][0].get_object()
        held = below["/FontDescriptor"].get_object()
        found[str(font["/BaseFont"]).partition("+")[2]] = (
            below["/Subtype"],
            {each for each in held if "FontFile" in each},
        )
    return found


def sheet(caption, **more):
    return Sheet(((Cell(PIXELS, caption, SCALE),),), **more)


def test_another_font_draws_what_the_chosen_one_lacks_where_it_was_measured(install):
    install("Han Test", HAN)
    before, wide = text_width("cat ", EM), text_width("cat 猫犬 x", EM)
    assert wide == before + 2 * EM + text_width(" x", EM)
    assert squares(drawn("cat 猫犬 x")) == [(50 + round(before), 50 + round(before) + 2 * EM - 1)]
    assert np.array_equal(drawn("cat 猫犬 x")[:, : 50 + int(before)], drawn("cat ")[:, : 50 + int(before)])
    for anchor, share in (("ms", 0.5), ("rs", 1.0)):
        moved = squares(drawn("cat 猫犬 x", anchor=anchor, left=500))
        assert moved[0][0] == pytest.approx(500 - share * wide + before, abs=1)
    assert wrap("cat 猫", 900, EM) == ("cat 猫",)


def test_middle_of_the_height_is_where_it_is_without_another_font(install):
    install("Han Test", HAN)
    alone, beside = drawn("cat", anchor="lm"), drawn("cat猫", anchor="lm")
    across = 50 + int(text_width("cat", EM))
    assert np.array_equal(alone[:, :across], beside[:, :across])


def test_what_the_chosen_font_has_is_drawn_as_if_no_other_were_there(install):
    before = drawn("naïve \u03b1 → 0.5")
    install("Another", "naïve \u03b1→0.5猫")
    assert np.array_equal(drawn("naïve \u03b1 → 0.5"), before)
    assert families.families_for("DejaVu Sans", "naïve \u03b1 → 0.5") == ("DejaVu Sans",)


@pytest.mark.parametrize("order", [("Zebra", "Antelope"), ("Antelope", "Zebra")])
def test_the_order_of_fonts_is_that_of_their_names_and_plain_ones_come_first(order, install):
    install("Aardvark Mono", "猫")
    for name in order:
        install(name, "猫犬" if name == "Zebra" else "猫")
    assert families.families_for("DejaVu Sans", "cat 猫") == ("DejaVu Sans", "Antelope")
    assert families.families_for("DejaVu Sans", "犬 猫") == ("DejaVu Sans", "Antelope", "Zebra")
    assert families.families_for("Zebra", "a猫") == ("Zebra", "DejaVu Sans")


def test_matplotlib_draws_in_the_same_fonts_as_wide_as_it_was_measured(install):
    install("Han Test", HAN)
    made = figure(sheet("cat 猫犬"), width=4)
    (words,) = [each for each in made.texts if "猫" in each.get_text()]
    assert words.get_fontfamily() == ["DejaVu Sans", "Han Test"]
    FigureCanvasAgg(made).draw()
    size = round(words.get_fontsize() * 300 / 72)
    wide = words.get_window_extent().width * 300 / made.dpi
    assert wide == pytest.approx(text_width("cat 猫犬", size), rel=0.03)


def test_a_pdf_holds_truetype_letters_as_type_42_and_as_text(install, tmp_path):
    install("Han Test", HAN)
    file = Grid(sheet("cat 猫犬", title="猫")).save(tmp_path / "a.pdf")
    found = fonts_of(file)
    assert {"HanTest", "DejaVuSans"} <= found.keys()
    assert set(map(str, found.values())) == {str(("/CIDFontType2", {"/FontFile2"}))}
    assert "猫犬" in page_of(file).extract_text()
    svg = Grid(sheet("cat 猫犬")).save(tmp_path / "a.svg").read_text()
    assert re.search(r"font-family: 'DejaVu Sans', 'Han Test'[^>]*>cat 猫犬<", svg)


def test_a_pdf_holds_postscript_letters_as_shapes(install, tmp_path):
    """Matplotlib would embed them as if they were TrueType, and viewers show nothing."""
    install("Han Test", HAN, postscript=True)
    file = Grid(sheet("cat 猫犬")).save(tmp_path / "a.pdf")
    assert "HanTest" not in fonts_of(file)
    without = Grid(sheet("cat")).save(tmp_path / "b.pdf")
    shapes = [len(re.findall(rb"\sf\n", page_of(each).get_contents().get_data())) for each in (file, without)]
    assert shapes[0] > shapes[1]
    made = figure(sheet("cat 猫犬"))
    with pdf.shown_in_pdf(made):
        assert [each.get_text() for each in made.findobj(Text) if each.get_path_effects()] == ["cat 猫犬"]
    assert not [each for each in made.findobj(Text) if each.get_path_effects()]


def test_an_installed_chinese_font_is_embedded_as_type_42(tmp_path):
    found = families.families_for("DejaVu Sans", "金毛")[1:]
    if not found:
        pytest.skip("no installed font has Chinese characters")
    file = Grid(sheet("金毛")).save(tmp_path / "a.pdf")
    assert {kind for kind, _ in fonts_of(file).values()} == {"/CIDFontType2"}
    shaped = any(pdf._has_postscript_outlines(each, bold=False) for each in found)
    assert shaped != ("金毛" in page_of(file).extract_text())


def test_what_no_font_has_is_said_once_for_each_script(bare):
    with pytest.warns(
        FontWarning, match="no installed font has Chinese characters such as 猫, so .* Noto Sans CJK"
    ) as said:
        assert wrap("cat 猫", 900, EM) == ("cat \N{REPLACEMENT CHARACTER}",)
    assert [each.filename for each in said] == [__file__]
    with warnings.catch_warnings(action="error"):
        assert text_width("犬", EM) == text_width("\N{REPLACEMENT CHARACTER}", EM)
        assert np.array_equal(drawn("犬猫"), drawn("\N{REPLACEMENT CHARACTER}" * 2))
        assert wrap("a\x00\u202e\ue000b", 900, EM) == (f"a{3 * chr(0xFFFD)}b",)
    with pytest.warns(FontWarning, match="Devanagari characters such as ह"):
        wrap("हिन्दी", 900, EM)


def test_a_font_that_is_installed_later_is_used(install):
    with pytest.warns(FontWarning, match="Chinese"):
        assert wrap("猫", 900, EM) == ("\N{REPLACEMENT CHARACTER}",)
    install("Han Test", HAN)
    assert wrap("猫", 900, EM) == ("猫",)
    assert text_width("猫", EM) == EM


def test_chinese_wraps_between_characters_but_not_before_a_stop_nor_inside_a_bracket(install):
    install("Han Test", HAN)
    assert wrap("金毛寻回犬", 2 * EM, EM, most=4) == ("金毛", "寻回", "犬")
    assert wrap("金毛。寻回", 2 * EM, EM, most=4) == ("金", "毛。", "寻回")
    assert wrap("金\uff08毛\uff09寻", 3 * EM, EM, most=4) == ("金", "\uff08毛\uff09", "寻")
    assert wrap("一ResNet二", int(text_width("ResNet", EM)) + 1, EM, most=4) == ("一", "ResNet", "二")
    assert widest_piece("金毛寻回犬", EM) == EM
    assert widest_piece("金毛。", EM) == 2 * EM


@RAQM
@pytest.mark.parametrize("font", ["DejaVu Sans", "DejaVu Serif"])
def test_arabic_is_joined_and_runs_from_right_to_left(font, bare):
    """DejaVu Serif has no Arabic letters, so DejaVu Sans stands in."""
    word = "قطة"
    with cnnviz.style(font=font):
        wide, apart = text_width(word, EM), sum(text_width(each, EM) for each in word)
        ink = np.flatnonzero(drawn(word).any(0))
        tall = np.flatnonzero(drawn("اببب")[:50].any(0))
        right = 50 + text_width("اببب", EM)
    assert wide < apart - 5
    assert 0 <= ink[0] - 50 <= 6
    assert 0 <= 50 + wide - ink[-1] <= 6
    assert tall.size
    assert tall.min() > right - EM / 2
    own = lines._load("DejaVu Sans", EM, lines.ImageFont.Layout.RAQM, bold=False)
    image = Image.new("L", (900, 100), 255)
    ImageDraw.Draw(image).text((50, 70), word, fill=0, font=own, anchor="ls", direction="rtl")
    assert np.array_equal(drawn(word), np.asarray(image) < 128)


@RAQM
def test_hebrew_runs_from_right_to_left(bare):
    """The first letter of these is the only one that rises above the others."""
    tall = np.flatnonzero(drawn("לההה")[: 70 - round(0.62 * EM)].any(0))
    assert tall.min() > 50 + text_width("ההה", EM) - 3


@RAQM
def test_words_of_several_fonts_stand_in_the_order_of_the_line(install):
    install("Han Test", HAN)
    arabic = text_width("قطة", EM)
    assert squares(drawn("قطة猫"))[0][0] == 50
    assert squares(drawn("猫قطة"))[0][0] == 50
    assert squares(drawn("猫 قطة x"))[0] == (50, 50 + EM - 1)
    after = squares(drawn("cat قطة 猫"))[-1][0]
    assert after == pytest.approx(50 + text_width("cat ", EM) + arabic + text_width(" ", EM), abs=2)


def test_without_raqm_arabic_is_drawn_letter_by_letter_and_this_is_said_once(bare, monkeypatch):
    monkeypatch.setattr(lines.features, "check", lambda _: False)
    with pytest.warns(FontWarning, match="this Pillow has no Raqm.*not joined"):
        wide = text_width("قطة", EM)
    with warnings.catch_warnings(action="error"):
        ink = np.flatnonzero(drawn("قطة").any(0))
        assert wide == sum(text_width(each, EM) for each in "قطة")
    assert ink[-1] - 50 == pytest.approx(wide, abs=4)


def test_a_matplotlib_that_joins_no_letters_is_said_where_it_draws(bare, monkeypatch):
    from matplotlib import ft2font

    monkeypatch.delattr(ft2font, "__libraqm_version__", raising=False)
    with pytest.warns(FontWarning, match="this matplotlib has no Raqm"):
        figure(sheet("قطة"))
    with warnings.catch_warnings(action="error"):
        figure(sheet("cat"))


def test_boxes_and_their_words_are_as_wide_as_measured(install):
    install("Han Test", HAN)
    ground = np.full((300, 300, 3), 255, np.uint8)
    boxed = draw_boxes(ground, [(50, 100, 250, 250)], [(255, 255, 0)], ["猫犬"])
    plate, letters = (boxed == (255, 255, 0)).all(-1)[:99], (boxed < 60).all(-1)[:99]
    wide = np.flatnonzero(plate.any(0)).size
    high = np.flatnonzero(letters.any(0)).size / 2
    assert high > 8
    assert wide == pytest.approx(2.5 * high, abs=2)


def test_given_axes_follow_rcparams_and_named_options(install):
    install("Han Test", HAN)
    settings = {
        "font.family": "serif", "axes.titlesize": 17, "axes.titlecolor": "red", "xtick.labelsize": 5,
        "xtick.color": "blue", "image.interpolation": "bilinear", "text.color": "green",
    }  # fmt: skip
    with matplotlib.rc_context(settings), cnnviz.style(font="DejaVu Sans Mono", size=30):
        usual, named, blank = Figure().subplots(1, 3)
        Grid(sheet("a 猫")).plot(usual)
        Grid(sheet("a 猫")).plot(named, font="DejaVu Sans Mono", font_size=6)
        Grid(Sheet(((Cell(PIXELS, "a", Scale(0, 1, blank=True)),),))).plot(blank)
    assert usual.title.get_fontfamily() == ["serif", "Han Test"]
    assert (usual.title.get_fontsize(), usual.title.get_color()) == (17, "red")
    assert usual.images[0].get_interpolation() == "bilinear"
    number = usual.child_axes[0].get_xticklabels()[0]
    assert (number.get_fontfamily(), number.get_fontsize(), number.get_color()) == (["serif"], 5, "blue")
    assert named.title.get_fontfamily() == ["DejaVu Sans Mono", "Han Test"]
    number = named.child_axes[0].get_xticklabels()[0]
    assert (number.get_fontfamily(), number.get_fontsize()) == (["DejaVu Sans Mono"], 6)
    assert named.title.get_fontsize() == 6
    (nothing,) = blank.texts
    assert (nothing.get_fontsize(), nothing.get_color(), nothing.get_fontfamily()) == (5, "green", ["serif"])


def test_words_in_given_axes_that_no_font_has_are_said(bare):
    axes = Figure().subplots()
    with pytest.warns(FontWarning, match="Chinese characters such as 猫"):
        Grid(sheet("a 猫 $x$\nb")).plot(axes)
    assert axes.get_title() == "a \N{REPLACEMENT CHARACTER} $x$\nb"
    FigureCanvasAgg(axes.figure).draw()


def test_the_command_line_says_it_as_a_note(bare, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.json").write_text(json.dumps([f"猫 {number}" for number in range(10)]))
    Image.fromarray(cnnviz.draw_scene(0, size=64).pixels).save("a.png")
    given = ["gradcam", "--model", "shapes-resnet", "--labels", "labels.json", "--device", "cpu", "a.png", "--force"]
    for more, times in ((("-o", "b.png"), 1), (("-o", "c.pdf", "--quiet"), 0)):
        families._SAID.clear()
        found = CliRunner().invoke(command, [*given, *more], prog_name="cnnviz")
        assert found.exit_code == 0, found.stderr
        assert found.stderr.count("note: no installed font has Chinese characters such as 猫") == times
    assert found.stderr == ""


def test_latin_words_load_no_list_of_fonts():
    code = (
        "import sys; from cnnviz.drawing.text import text_width, wrap;"
        "wrap('naïve Grad-CAM', 200, 20), text_width('0.5', 20);"
        "print('matplotlib.font_manager' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
