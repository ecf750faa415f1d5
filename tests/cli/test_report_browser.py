"""A report in a real browser: nothing asked for, nothing missing, readable on a phone, at a desk and on paper."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pypdf import PdfReader

from tests.support.chromium import Tab, browsing, installed

pytestmark = pytest.mark.skipif(installed() is None, reason="no Chromium is installed")

SIZES = [(390, False), (390, True), (1280, False), (1280, True)]
MISSING = "[...document.images].filter(one => !one.complete || one.naturalWidth === 0).map(one => one.alt)"
OVERFLOWING = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
BESIDE = """[...document.querySelectorAll('p, h1, h2, h3, h4, img, figcaption, dd, summary, .track')]
    .filter(one => !one.closest('.skip, .wide, nav') && one.getBoundingClientRect().width > 0)
    .filter(one => one.getBoundingClientRect().right > innerWidth + 0.5 || one.getBoundingClientRect().left < -0.5)
    .map(one => one.outerHTML.slice(0, 80))"""
SMALLEST = """Math.min(...[...document.querySelectorAll('main *')]
    .filter(one => [...one.childNodes].some(each => each.nodeType === 3 && each.data.trim()))
    .map(one => parseFloat(getComputedStyle(one).fontSize)))"""
COLOURS = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
WIDTHS = "[...document.querySelectorAll('#maps .gallery img')].map(one => one.getBoundingClientRect().width)"
FIRST_MAP = "document.querySelectorAll('#maps img')[1].getBoundingClientRect().bottom + scrollY"
OPEN = "document.querySelectorAll('details').forEach(one => one.open = true)"


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browsing(installed() or "", tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def page(command, tmp_path_factory) -> Path:
    """A report of a bundled network on drawn scenes, with every chapter."""
    from click.testing import CliRunner

    import cnnviz

    folder = tmp_path_factory.mktemp("page")
    names = []
    for index, label in enumerate(("star", "heart")):
        names.append(str(folder / f"{label}.png"))
        Image.fromarray(cnnviz.draw_scene(index, size=160, label=label).pixels).save(names[-1])
    out = folder / "report.html"
    asked = ("--model", "shapes-resnet", "--methods", "gradcam,occlusion,smoothgrad,cam", "--budget", "700")
    done = CliRunner().invoke(command, ["report", *asked, "--data", "shapes:24", *names, "-o", str(out)])
    assert done.exit_code == 0, done.stderr
    return out


@pytest.mark.parametrize(("width", "dark"), SIZES)
def test_it_asks_for_nothing_and_misses_nothing(tab: Tab, page, width, dark):
    tab.open(page, width=width, dark=dark)
    assert tab.requested() == [page.resolve().as_uri()]
    assert tab.said() == []
    assert tab.evaluate("document.images.length") > 60
    assert tab.evaluate(MISSING) == []


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_it_is_readable_at_every_width(tab: Tab, page, width):
    tab.open(page, width=width)
    tab.evaluate(OPEN)
    assert tab.evaluate(OVERFLOWING) == 0
    assert tab.evaluate(BESIDE) == []
    assert tab.evaluate(SMALLEST) >= 11


def test_it_is_light_and_dark(tab: Tab, page):
    contrasts = []
    for dark in (False, True):
        tab.open(page, width=1280, dark=dark)
        paper, ink = (luminance(colour) for colour in tab.evaluate(COLOURS))
        assert (paper < ink) is dark
        contrasts.append((max(paper, ink) + 0.05) / (min(paper, ink) + 0.05))
    assert min(contrasts) > 7


def luminance(colour: str) -> float:
    """Relative luminance of ``rgb(r, g, b)``, as WCAG defines it."""
    levels = np.array([int(part) for part in colour.strip("rgb()").split(",")]) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def test_its_contents_lead_to_its_chapters(tab: Tab, page):
    tab.open(page, width=1280)
    broken = (
        "[...document.querySelectorAll('a')].filter(one => !document.querySelector(one.getAttribute('href'))).length"
    )
    assert tab.evaluate("[...document.querySelectorAll('nav a')].map(one => one.hash)")[:2] == ["#maps", "#predictions"]
    assert tab.evaluate(broken) == 0


def test_it_prints(tab: Tab, page):
    tab.open(page, width=1280)
    printed = base64.b64decode(tab.ask("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page/") + printed.count(b"/Type /Page ") >= 4
    tab.ask("Emulation.setEmulatedMedia", media="print")
    shown = "[...document.querySelectorAll('details')].filter(one => one.getBoundingClientRect().height > 0).length"
    assert tab.evaluate("document.querySelectorAll('details').length") > 3
    assert tab.evaluate(shown) == 0, "closed parts are not printed"
    tab.evaluate(OPEN)
    assert tab.evaluate(shown) == tab.evaluate("document.querySelectorAll('details').length")
    assert tab.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"


def test_maps_are_large_and_come_first(tab: Tab, page):
    tab.open(page, width=1280)
    assert min(tab.evaluate(WIDTHS)) >= 240
    tab.open(page, width=390)
    assert tab.evaluate(FIRST_MAP) < 900


def test_every_picture_is_there_once_with_words(tab: Tab, page):
    tab.open(page, width=1280)
    assert tab.evaluate("document.images.length - new Set([...document.images].map(one => one.src)).size") == 0
    assert tab.evaluate("[...document.images].filter(one => !one.alt.trim()).length") == 0


@pytest.mark.real
@pytest.mark.slow
def test_eight_photographs_with_default_settings(tab: Tab, command, real, tmp_path):
    from click.testing import CliRunner

    out, photos = tmp_path / "report.html", sorted(map(str, (real / "photos").glob("*.jpg")))
    assert len(photos) == 8
    done = CliRunner().invoke(command, ["report", "--model", "squeezenet1_0", *photos, "-o", str(out)])
    assert done.exit_code == 0, done.stderr
    assert out.stat().st_size <= 5_000_000
    tab.open(out, width=390)
    assert tab.evaluate(FIRST_MAP) < 900
    tab.open(out, width=1280)
    assert min(tab.evaluate(WIDTHS)) >= 240
    printed = base64.b64decode(tab.ask("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert len(PdfReader(io.BytesIO(printed)).pages) <= 12


@pytest.mark.real
@pytest.mark.slow
def test_a_real_network_on_real_photographs(tab: Tab, command, real, tmp_path):
    from click.testing import CliRunner

    out, photos = tmp_path / "report.html", [str(real / "photos" / f"{name}.jpg") for name in ("macaw", "cat", "pets")]
    asked = ("--model", "squeezenet1_0", "--methods", "gradcam,occlusion", "--budget", "800")
    done = CliRunner().invoke(command, ["report", *asked, *photos, "-o", str(out)])
    assert done.exit_code == 0, done.stderr
    for width in (390, 1280):
        tab.open(out, width=width)
        assert tab.requested() == [out.resolve().as_uri()]
        assert tab.said() == []
        assert tab.evaluate(MISSING) == []
        assert tab.evaluate(OVERFLOWING) == 0
        assert tab.evaluate(BESIDE) == []
