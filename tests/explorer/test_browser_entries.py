"""What comes into the explorer's page from outside, in a real browser: hostile words, a frame, a camera, long tasks."""

from __future__ import annotations

import json
import re
import time

import numpy as np
import pytest

import cnnviz
from tests.support.chromium import browsing, installed
from tests.support.explorer_page import DRAWN, MAP, SHOWN, exploring
from tests.support.networks import Small, model_of

pytest.importorskip("starlette", reason="the explorer's optional libraries are not installed")
pytestmark = pytest.mark.skipif(installed() is None, reason="no Chromium is installed")

LABELS = (
    "<img src=x onerror=alert(1)>",
    "<script>alert(2)</script>",
    "javascript:alert(3)",
    "a&b \"c\" 'd'",
    "%2F..#/?x=1",
)
"""Classes that would do harm if they were read as anything but text."""
CAMERA = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
PASTE = """(async () => {
    const answer = await fetch('api/pictures/first.png.png');
    const held = new DataTransfer();
    held.items.add(new File([await answer.blob()], 'pasted.png', {type: 'image/png'}));
    window.dispatchEvent(new ClipboardEvent('paste', {clipboardData: held}));
})()"""


class Slow(Small):
    """A network that takes its time."""

    def forward(self, x):
        time.sleep(0.01)
        return super().forward(x)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def page(pixels, tmp_path_factory):
    pictures = [cnnviz.Picture(pixels, "first.png"), cnnviz.Picture(pixels, "<b onclick=alert(4)>.png")]
    profile = tmp_path_factory.mktemp("profile")
    with exploring(profile, model_of(Slow(), labels=LABELS), pictures, data="shapes:12", flags=CAMERA) as opened:
        yield opened
        assert opened.tab.said() == []


def test_labels_and_names_are_text_everywhere(page):
    page.show("#/")
    assert "<b onclick=alert(4)>.png" in page.texts(".card strong")
    key = page.tab.evaluate("[...document.querySelectorAll('.card')].at(1).hash")
    page.show(key)
    page.tab.until(MAP)
    assert sorted(page.texts(".bars .name")) == sorted(LABELS)
    for label in LABELS:
        place = page.texts(".bars .name").index(label)
        page.tab.evaluate(f"document.querySelectorAll('.bar')[{place}].click()")
        page.tab.until(f"document.querySelector('.target .name')?.innerText === {json.dumps(label)}")
        page.tab.until(MAP)
        assert page.texts(".target .name") == [label]
    for view in ("#/layer/conv2?sort=contribution", "#/layer/conv2/unit/1"):
        page.show(view)
        assert (
            page.tab.evaluate("document.querySelector('#view script, [onerror], [onclick], [href^=javascript]')")
            is None
        )
        assert page.tab.evaluate("document.querySelectorAll('#view img[src=x]').length") == 0
    assert page.tab.said() == []


def test_a_bookmark_of_a_hostile_class_finds_it(page):
    label = LABELS[4]
    page.show("#/picture/first.png?target=%252F..%23%2F%3Fx%3D1")
    page.tab.until(MAP)
    assert page.texts(".target .name") == [label]


def test_a_picture_is_pasted(page):
    page.show("#/")
    page.tab.evaluate(PASTE)
    page.tab.until("location.hash.includes('pasted')")
    page.tab.until(SHOWN)
    page.tab.until(MAP)
    assert page.text("h1") == "pasted.png"


def test_a_picture_from_the_camera(page):
    page.show("#/")
    page.tab.evaluate(
        "[...document.querySelectorAll('button')].find(one => one.innerText === 'Use the webcam').click()"
    )
    page.tab.until("document.querySelector('dialog video')?.videoWidth > 0")
    page.tab.evaluate("[...document.querySelectorAll('dialog button')][0].click()")
    page.tab.until("location.hash.includes('webcam')")
    page.tab.until(MAP)
    page.tab.until(DRAWN)
    assert page.tab.evaluate("document.querySelector('dialog')") is None
    assert page.tab.evaluate("document.querySelector('.frame .base').naturalWidth") >= 640


def test_a_long_method_shows_how_far_it_is_and_gives_its_map(page):
    page.show("#/picture/first.png?method=rise")
    page.tab.until(MAP)
    assert page.text(".caption").startswith("RISE for ")
    assert page.tab.evaluate("document.querySelector('.over .progress').hidden") is True


def test_leaving_a_long_method_cancels_it(page):
    page.show("#/")
    page.go("#/picture/first.png?method=rise&target=%3Cscript%3Ealert(2)%3C%2Fscript%3E")
    page.tab.until("document.querySelector('.frame.busy') !== null")
    page.go("#/picture/first.png?method=gradcam")
    page.tab.until("document.querySelector('.caption')?.innerText.startsWith('Grad-CAM for ')")
    page.go("#/layer/conv2")
    page.tab.until("document.querySelectorAll('.tiles a').length === 6")


def test_patches_are_looked_for_in_the_data_set(page):
    page.show("#/layer/conv2/unit/1?picture=first.png")
    page.tab.evaluate("[...document.querySelectorAll('button')].find(one => one.innerText.startsWith('Scan')).click()")
    page.tab.until("document.querySelectorAll('.patches li').length > 0")
    page.tab.until(DRAWN)
    assert len(page.texts(".patches:first-of-type li")) >= 6


def test_the_data_sets_pictures_are_shown_and_opened(page):
    page.show("#/")
    page.tab.until("document.querySelectorAll('.cards.many li').length === 12")
    page.tab.evaluate("document.querySelectorAll('.cards.many a')[3].click()")
    page.tab.until("location.hash === '#/picture/data%3A3'")
    page.tab.until(MAP)
    assert "labelled" in page.text(".heading")


def test_a_notebooks_frame_works_without_a_cookie(page, tmp_path):
    address = re.search(r'src="([^"]+)"', page.explorer._repr_html_()).group(1)
    with browsing(installed() or "", tmp_path) as tab:
        tab.open(f"{address}#/picture/first.png", width=1000)
        tab.until(MAP)
        tab.until(DRAWN)
        assert tab.evaluate("document.cookie") == ""
        assert tab.evaluate("document.querySelector('.frame .map').src").startswith("blob:")
        assert tab.evaluate("fetch('api/session').then(answer => answer.status)") == 403
        assert all("403" in words for words in tab.said())
