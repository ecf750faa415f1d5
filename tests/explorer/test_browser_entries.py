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
CLASSES = (*(f"class {number}" for number in range(19)), *LABELS)
"""Labels that would do harm if they were read as anything but text; and all of a network that has some of them."""
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
def model() -> cnnviz.Model:
    return model_of(Slow(classes=len(CLASSES)), labels=CLASSES)


@pytest.fixture(scope="module")
def page(model, pixels, tmp_path_factory):
    pictures = [cnnviz.Picture(pixels, "first.png"), cnnviz.Picture(pixels, "<b onclick=alert(4)>.png")]
    profile = tmp_path_factory.mktemp("profile")
    with exploring(profile, model, pictures, data="shapes:12", flags=CAMERA) as opened:
        yield opened
        assert opened.complaints() == []


def test_labels_and_names_are_text_everywhere(page):
    page.show("#/")
    assert "<b onclick=alert(4)>.png" in page.texts(".card strong")
    key = page.tab.evaluate("[...document.querySelectorAll('.card')].at(1).hash")
    page.show(key)
    page.tab.until(MAP)
    for label in LABELS:
        search_class(page, label)
        page.tab.until(f"document.querySelector('.target .name')?.innerText === {json.dumps(label)}")
        page.tab.until(MAP)
        assert len(page.texts(".bars .name")) in (10, 11)
    for view in ("#/layer/conv2?sort=contribution", "#/layer/conv2/unit/1"):
        page.show(view)
        assert (
            page.tab.evaluate("document.querySelector('#view script, [onerror], [onclick], [href^=javascript]')")
            is None
        )
        assert page.tab.evaluate("document.querySelectorAll('#view img[src=x]').length") == 0
    assert page.complaints() == []


def search_class(page, label: str) -> None:
    page.tab.evaluate(f"""(() => {{ const one = document.querySelector('.right input[type=text]');
        one.value = {json.dumps(label)}; one.form.requestSubmit(); }})()""")


def test_two_classes_that_are_not_among_the_first_are_compared_and_hidden_from(page, model, pixels):
    page.show("#/picture/first.png")
    page.tab.until(MAP)
    last = cnnviz.predict(model, cnnviz.Picture(pixels, "first.png"), k=24)[0][-2:]
    page.go(
        f"#/picture/first.png?target={CLASSES.index(last[0].target.label)}&against={CLASSES.index(last[1].target.label)}"
    )
    page.tab.until("document.querySelectorAll('.bars li').length === 12")
    page.tab.until(MAP)
    for one in last:
        assert page.levels()[str(one.target)] == pytest.approx(one.probability, abs=1e-5)
    page.tab.click(".modes label:last-of-type span")
    page.tab.drag(".frame", [(0.4, 0.4), (0.6, 0.6)])
    page.tab.until("document.querySelectorAll('.bar .before').length === 12")


def test_a_class_that_is_none_is_one_sentence(page):
    page.show("#/picture/first.png")
    page.tab.until(MAP)
    search_class(page, "none such")
    assert "none such" in page.tab.until("document.querySelector('#status.error')?.innerText")
    page.show("#/picture/first.png?target=nothing")
    assert "nothing" in page.tab.until("document.querySelector('#status.error')?.innerText")


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
