"""What objects show at a prompt, in one short line, and in a notebook, as HTML without scripts."""

from __future__ import annotations

import base64
import inspect
import io
import pydoc
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from torch import nn

import cnnviz
from cnnviz.catalogue import CATALOGUE, load
from cnnviz.core.notebook import HtmlBar, html_table, repr_line

WICKED = "<script>alert('x')</script>\x1b[31m & \"more\""
LONGEST = 100


class Page(HTMLParser):
    """Tags that stand open, names of all tags, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: dict[str, str] = {}
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name: value or "" for name, value in attrs}
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def tiny(labels=("a", "b", "c", WICKED), **more):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))
    return cnnviz.Model(net, input_size=32, mean=(0,) * 3, std=(1,) * 3, labels=labels, **more)


def everything(name="net"):
    model = tiny(name=name)
    picture = cnnviz.Picture(np.zeros((500, 700, 3), np.uint8), name)
    layers = model.layers
    return (
        model,
        layers,
        layers["0"],
        layers["0"].field,
        layers["3"].field,
        cnnviz.predict(model, [picture, picture]),
        picture,
        cnnviz.Signal(np.zeros((2, 500), np.float32), name, rate=250.0),
        cnnviz.Volume(np.zeros((1, 8, 9, 10), np.float32), name, spacing=(1.0, 2.0, 3.0)),
        cnnviz.Volume(np.zeros((3, 8, 9, 10), np.float32), name, rate=25.0),
    )


def test_each_is_one_line_that_says_the_sizes():
    assert [repr(each) for each in everything()[:5]] == [
        "Model('net', 4 classes, 32 x 32, cpu)",
        "Layers(5 layers: 0, 1, 2, ...)",
        "Layer('0', Conv2d, 4 x 30 x 30)",
        "Field(spatial, 3 x 3, stride 1, input 32 x 32)",
        "Field(whole, global pooling, input 32 x 32)",
    ]
    assert [repr(each) for each in everything()[6:]] == [
        "Picture('net', 500 x 700)",
        "Signal('net', 2 channels, 500 samples, 250 Hz)",
        "Volume('net', 8 x 9 x 10, 1 x 2 x 3 mm)",
        "Volume('net', 8 frames of 9 x 10, 25 a second)",
    ]
    assert repr(tiny(labels=None, name="net")) == "Model('net', no labels, 32 x 32, cpu)"


def test_predictions_say_how_many_and_the_first():
    model = tiny()
    found = cnnviz.predict(model, np.zeros((40, 40, 3), np.uint8))
    best = found[0][0]
    assert repr(found) == f"Predictions(1 picture, first {best.answer} {cnnviz.errors.visible(best.named)})"


@pytest.mark.parametrize("name", ["net", "n" * 3000, WICKED, "two\nlines", ""])
def test_a_line_is_short_and_one_whatever_the_name(name):
    for each in everything(name):
        assert len(repr(each)) <= LONGEST
        assert "\n" not in repr(each)
        assert "\x1b" not in repr(each)


def test_a_line_that_is_too_long_is_cut_at_the_name_first():
    assert repr_line("Layer", "n" * 200, "Conv2d", "4 x 4").endswith("...', Conv2d, 4 x 4)")
    assert len(repr_line("Layer", "n" * 200, "Conv2d", "4 x 4")) == LONGEST
    assert repr_line("Layer", "n", "k" * 200).endswith("...)")


@pytest.mark.parametrize("name", ["net", WICKED])
def test_html_is_whole_escaped_and_without_scripts(name):
    for each in everything(name):
        page = Page(each._repr_html_())
        assert page.open == []
        assert page.tags <= {
            "div", "b", "table", "thead", "tbody", "tr", "th", "td", "span", "figure", "figcaption", "img",
        }  # fmt: skip
        assert not [one for one in page.attributes if one not in {"style", "src", "alt"}]
        assert "\x1b" not in each._repr_html_()


def test_html_has_no_colour_but_grey_so_that_it_reads_on_any_ground():
    for each in everything():
        written = re.sub(r"base64,[^']*", "", each._repr_html_())
        assert set(re.findall(r"#[0-9a-fA-F]{3,8}\b", written)) <= {"#888", "#8886"}
        assert not re.search(r"(?<![-\w])color:(?!inherit)", written)


def test_a_picture_is_shown_small_with_its_name_and_size():
    page = Page(everything()[6]._repr_html_())
    kind, held = page.attributes["src"].split(",")
    assert kind == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(held))).size == (400, 286)
    assert page.attributes["alt"] == "net"
    assert page.text == "net 500 x 700"


def test_a_volume_shows_its_middle_slice():
    values = np.zeros((1, 5, 6, 7), np.float32)
    values[0, 2, 3, 4] = 9
    page = Page(cnnviz.Volume(values, "ct")._repr_html_())
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(page.attributes["src"].split(",")[1]))))
    assert shown.shape == (6 * 18, 7 * 18, 3)
    assert shown[9::18, 9::18][3, 4].tolist() == [255] * 3
    assert shown.sum() == 3 * 255 * 18**2


def test_predictions_are_a_table_with_a_bar_as_long_as_the_probability():
    model = tiny()
    found = cnnviz.predict(model, np.zeros((40, 40, 3), np.uint8), k=4)
    text = found._repr_html_()
    widths = [float(each) for each in re.findall(r"width:([\d.]+)%", text)]
    assert widths == pytest.approx([100 * one.probability for one in found[0]], abs=0.06)
    assert "alert(" in Page(text).text


def test_a_long_table_says_what_it_leaves_out():
    page = Page(html_table("many", ("one", "two"), [(number, HtmlBar(0.5)) for number in range(500)]))
    assert page.text.endswith("and 100 more")
    assert "50.00%" in page.text


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_help_shows_the_signature_with_its_defaults(name):
    method = load(name)
    function = method.__wrapped__
    signature = inspect.signature(method)
    assert signature == inspect.signature(function)
    plain = {one.name: one.default for one in signature.parameters.values() if one.kind is one.KEYWORD_ONLY}
    assert plain == function.__kwdefaults__
    assert not [one for one in signature.parameters.values() if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    first = pydoc.plain(pydoc.render_doc(method)).splitlines()[2]
    assert first == f"{name}{signature}"
