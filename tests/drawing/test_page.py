"""A page: whole in itself, readable without a script, the same bytes each time, and safe with hostile names."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cnnviz.drawing.colour import scale_of
from cnnviz.drawing.files import read_note, write_page
from cnnviz.drawing.notes import embed_note, from_page
from cnnviz.drawing.pages.blocks import (
    Bar,
    Bars,
    Chapter,
    Facts,
    Fold,
    Gallery,
    Group,
    Page,
    Plate,
    Table,
    Words,
)
from cnnviz.drawing.pages.html import data_uri, render
from cnnviz.errors import OutputError, ParameterError
from tests.support.pages import Outline

PIXELS = np.random.default_rng(3).integers(0, 256, (30, 40, 3), dtype=np.uint8)
HOSTILE = "</script><script>alert(1)</script> <img src=http://example.org/a.png> & \"quoted\" 'name' <!-- \\u003c"
NOTE = json.dumps({"cnnviz": {"name": HOSTILE, "slash": "\\u003c and \\\\u003c <b>"}}, ensure_ascii=False)


def page_of(*blocks, **more) -> Page:
    chapters = (
        Chapter("first", "First", "What?", blocks, "Nothing is proved."),
        Chapter("second", "Second", "How?", ()),
    )
    return Page(**{"title": "a net", "kicker": "k", "lead": "l", "chapters": chapters, "note": NOTE, **more})


@pytest.fixture
def full() -> Page:
    """A page with every kind of block, and hostile words in all of them."""
    plate = Plate(PIXELS, HOSTILE, HOSTILE, HOSTILE, scale_of(np.linspace(0, 7, 9)))
    tile = Plate(PIXELS, "a tile", exact=True)
    blank = Plate(PIXELS, "blank", scale=scale_of(np.zeros(4)))
    inner = Group(HOSTILE, (Gallery((tile, blank), "tiny", HOSTILE, scale_of(np.arange(3.0), signed=True)),))
    blocks = (
        Words(HOSTILE),
        Words("left out", "missing"),
        Facts(((HOSTILE, HOSTILE),)),
        Table(HOSTILE, ("a", HOSTILE), (("x", "1"), (HOSTILE, "2")), (1,), (0,)),
        Bars(HOSTILE, (Bar(HOSTILE, 0.5, "50%", marked=True), Bar("b", 0.25, "25%")), plate),
        Bars("alone", (Bar("b", 1.0, "100%"),)),
        Gallery((plate, tile), "row"),
        Fold(HOSTILE, HOSTILE, (Words("inner"),)),
        Group("outer", (inner,)),
    )
    return page_of(*blocks, title=HOSTILE, notices=(HOSTILE,), closing=HOSTILE)


def test_it_is_whole_in_itself(full):
    outline = Outline.of(render(full))
    assert outline.problems() == []
    assert len(outline.images) == 5
    assert all(image["src"].startswith("data:image/") for image in outline.images)


def test_words_stay_words(full):
    text = render(full)
    assert text.count("<script") == 1
    assert "<img src=http" not in text
    assert Outline.of(text).headings == [(1, HOSTILE), (2, "First"), (3, "outer"), (4, HOSTILE), (2, "Second")]


def test_it_says_where_nothing_may_be_asked_for(full):
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in render(full)


def test_the_same_page_has_the_same_bytes(full):
    assert render(full) == render(full)


def test_its_note_comes_back(full, tmp_path):
    write_page(tmp_path / "page.html", render(full))
    assert read_note(tmp_path / "page.html") == NOTE


@pytest.mark.parametrize("note", [r"\\u003c", "<", r"a\\<\"", r"\u003d", "</script>"])
def test_any_json_text_comes_back(tmp_path, note):
    held = json.dumps(note, ensure_ascii=False)
    path = tmp_path / "a.html"
    path.write_text(f'<script type="application/json" id="cnnviz-provenance">{embed_note(held)}</script>')
    assert from_page(path) == held
    assert json.loads(embed_note(held)) == note


def test_a_page_of_others_has_no_note(tmp_path):
    (tmp_path / "other.html").write_text("<p>hello</p>")
    with pytest.raises(OutputError, match="was not written by cnnviz"):
        read_note(tmp_path / "other.html")


def test_pictures_are_as_large_as_they_are_shown():
    large = np.zeros((500, 2000, 3), dtype=np.uint8)
    assert opened(data_uri(large, longest=640)).size == (640, 160)
    assert opened(data_uri(PIXELS, longest=640)).size == (40, 30)


def test_exact_pictures_keep_every_pixel():
    find_note = opened(data_uri(PIXELS, longest=8, exact=True))
    assert np.array_equal(np.asarray(find_note), PIXELS)


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_the_lengths_of_bars_are_their_shares(full):
    assert re.findall(r'class="track"><span style="width:([\d.]+)%', render(full)) == ["50.0", "25.0", "100.0"]


def test_what_makes_no_page_is_refused():
    with pytest.raises(ParameterError, match="alternative text"):
        Plate(PIXELS, " ")
    with pytest.raises(ParameterError, match="uint8 of shape"):
        Plate(PIXELS.astype(float), "a")
    with pytest.raises(ParameterError, match="has not 2 places"):
        Table("t", ("a", "b"), (("x",),))


def test_a_page_needs_no_torch():
    code = "import sys, cnnviz.drawing.pages.html; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
