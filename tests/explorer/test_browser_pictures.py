"""The explorer's picture view in a real browser: what it shows equals what Python answers."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

import cnnviz
from tests.support.chromium import installed
from tests.support.explorer_page import DRAWN, MAP, OVERFLOWING, SHOWN, exploring

pytest.importorskip("starlette", reason="the explorer's optional libraries are not installed")
pytestmark = pytest.mark.skipif(installed() is None, reason="no Chromium is installed")

HOSTILE = "<script>alert(1)<script> & onerror=alert(2).png"
PICTURE = "#/picture/arrow.png"
MINUS = "\N{MINUS SIGN}"
HIDDEN = "document.querySelectorAll('.bar .before').length > 0"


@pytest.fixture(scope="module")
def model():
    return cnnviz.load_model("shapes-resnet")


@pytest.fixture(scope="module")
def pictures() -> list[cnnviz.Picture]:
    """An arrow, and a heart that is wider than high, so that the network sees its middle only."""
    wide = np.zeros((160, 240, 3), dtype=np.uint8)
    wide[:, 40:200] = cnnviz.draw_scene(2, size=160, label="heart").pixels
    arrow = cnnviz.draw_scene(1, size=160, label="arrow").pixels
    return [cnnviz.Picture(arrow, "arrow.png"), cnnviz.Picture(wide, "wide.png")]


@pytest.fixture(scope="module")
def page(model, pictures, tmp_path_factory):
    with exploring(tmp_path_factory.mktemp("profile"), model, pictures) as opened:
        yield opened
        assert opened.complaints() == []


def shown_map(page, number: int = 0) -> np.ndarray:
    """The pixels of the overlay that a frame shows, once it is there."""
    page.tab.until(MAP)
    page.tab.until(DRAWN)
    assert page.tab.evaluate(f"!document.querySelectorAll('.frame')[{number}].querySelector('.map').hidden")
    return page.pixels(".frame .map")


def test_the_predicted_class_is_explained_at_once(page, model, pictures):
    page.show(PICTURE)
    found = cnnviz.gradcam(model, pictures[0])[0]
    assert np.array_equal(shown_map(page), found.overlay())
    assert page.text(".target .name") == str(found.target)
    assert f"Grad-CAM for {found.target}" in page.text(".caption")


@pytest.mark.parametrize(("view", "number"), [(PICTURE, 0), ("#/picture/wide.png", 1)])
def test_a_click_on_a_class_shows_the_overlay_that_is_saved(page, model, pictures, view, number):
    page.show(view)
    shown_map(page)
    page.tab.click('.bar[data-target="ring"]')
    page.tab.until("document.querySelector('.caption').innerText.includes('Grad-CAM for ring')")
    assert np.array_equal(shown_map(page), cnnviz.gradcam(model, pictures[number], "ring")[0].overlay())
    assert page.address == f"{view}?target=ring"


def test_why_one_class_rather_than_another(page, model, pictures):
    page.show(f"{PICTURE}?target=arrow")
    shown_map(page)
    page.tab.click('li:has(.bar[data-target="star"]) .versus')
    page.tab.until("document.querySelectorAll('.against').length === 1")
    page.tab.until("document.querySelector('.caption').innerText.includes('star')")
    assert np.array_equal(shown_map(page), cnnviz.gradcam(model, pictures[0], "arrow - star")[0].overlay())
    assert page.address == f"{PICTURE}?target=arrow&against=star"


def test_another_method_and_layer_by_address(page, model, pictures):
    page.show(f"{PICTURE}?target=arrow&method=layercam&layer=layer2")
    shown = shown_map(page)
    assert np.array_equal(shown, cnnviz.layercam(model, pictures[0], "arrow", layer="layer2")[0].overlay())
    assert page.tab.evaluate("document.querySelector('.toolbar select').selectedOptions[0].text") == "LayerCAM"


def test_a_chosen_target_gives_way_to_the_bare_picture(page):
    page.show(f"{PICTURE}?target=arrow")
    shown_map(page)
    page.tab.click(".target .bar")
    page.tab.until("document.querySelector('.frame').dataset.map === ''")
    assert page.tab.evaluate("[...document.querySelectorAll('.frame img')].filter(one => !one.hidden).length") == 1


def test_back_and_forward(page):
    page.show(PICTURE)
    for name in ("ring", "star"):
        page.tab.click(f'.bar[data-target="{name}"]')
        page.tab.until(f"document.querySelector('.target .name')?.innerText === '{name}'")
    page.tab.evaluate("history.back()")
    page.tab.until("document.querySelector('.target .name').innerText === 'ring'")
    page.tab.evaluate("history.forward()")
    page.tab.until("document.querySelector('.target .name').innerText === 'star'")
    page.tab.evaluate("history.go(-2)")
    page.tab.until("document.querySelector('.target .name').innerText === 'arrow'")


def test_the_number_under_the_pointer_is_the_maps(page, model, pictures):
    page.show("#/picture/wide.png?target=heart")
    shown_map(page)
    values = cnnviz.gradcam(model, pictures[1], "heart")[0].upsampled()
    for x, y in ((100.4, 60.2), (130.7, 90.6)):
        row, column = int(y * 64 / 160), int((x - 40) * 64 / 160)
        page.tab.mouse("Moved", *page.tab.point(".frame", x / 240, y / 160))
        said = page.tab.until("/map (\\S+)/.exec(document.querySelector('.readout').innerText)?.[1]")
        assert page.text(".readout").startswith(f"x {int(x)}, y {int(y)}")
        assert float(said.replace(MINUS, "-")) == pytest.approx(float(values[row, column]), abs=1e-3, rel=1e-2)
    page.tab.mouse("Moved", *page.tab.point(".frame", 0.05, 0.5))
    page.tab.until("document.querySelector('.readout').innerText.includes('outside')")


def test_opacity_and_back_to_what_is_saved(page):
    page.show(f"{PICTURE}?target=arrow")
    shown_map(page)
    page.tab.evaluate("""(() => { const one = document.querySelector('.toolbar input[type=range]');
        one.value = 30; one.dispatchEvent(new Event('input')); })()""")
    page.tab.until("document.querySelector('.frame .map').hidden")
    assert page.tab.evaluate("getComputedStyle(document.querySelector('.frame .plain')).opacity") == "0.3"
    assert page.tab.evaluate("document.querySelector('.frame .plain').naturalWidth") == 160
    page.tab.evaluate("[...document.querySelectorAll('button')].find(one => one.innerText === 'As saved').click()")
    page.tab.until("!document.querySelector('.frame .map').hidden")


def choose_hiding(page, way: str = "mean") -> None:
    page.tab.click(".modes label:last-of-type span")
    page.tab.evaluate(f"""(() => {{ const one = [...document.querySelectorAll('.toolbar select')].at(-1);
        one.value = '{way}'; one.dispatchEvent(new Event('change')); }})()""")


def last_strokes(page) -> list[dict[str, float]]:
    """The discs that the page asked about last."""
    asked = [held["request"] for method, held in page.tab.events if method == "Network.requestWillBeSent"]
    strokes: list[dict[str, float]] = json.loads(
        next(each["postData"] for each in reversed(asked) if each["url"].endswith("/hide"))
    )["strokes"]
    return strokes


@pytest.mark.parametrize(("view", "number"), [(PICTURE, 0), ("#/picture/wide.png", 1)])
def test_the_brush_moves_the_bars_to_the_masked_pictures_probabilities(page, model, pictures, view, number):
    page.show(view)
    shown_map(page)
    choose_hiding(page)
    page.tab.drag(".frame", [(0.35, 0.4), (0.45, 0.5), (0.6, 0.55)])
    page.tab.until(HIDDEN)
    quiet(page)
    rows, columns = np.mgrid[0:64, 0:64] + 0.5
    mask = np.zeros((64, 64), dtype=bool)
    for each in last_strokes(page):
        mask |= (rows - each["y"]) ** 2 + (columns - each["x"]) ** 2 <= each["radius"] ** 2
    assert 0.05 < mask.mean() < 0.6
    inputs = model.preprocess(pictures[number])[0][None].clone()
    inputs[..., torch.from_numpy(mask)] = 0.0
    with torch.no_grad():
        expected = torch.softmax(model.module(inputs), 1)[0]
    for name, level in page.levels().items():
        assert level == pytest.approx(float(expected[model.labels.index(name)]), abs=1e-5)
    page.tab.until("!document.querySelector('.frame .seen').hidden")
    assert np.array_equal(page.pixels(".frame .seen"), model.preprocess.to_pixels(inputs)[0])
    left, top, right, bottom = model.preprocess.geometry(pictures[number]).box
    height, width = pictures[number].pixels.shape[:2]
    shares = [left / width, top / height, right / width, bottom / height]
    assert page.box(".frame .seen") == pytest.approx(shares, abs=1e-3)


def quiet(page) -> None:
    """Wait until every question about hidden places has been answered."""
    asked = "performance.getEntriesByType('resource').filter(one => one.name.endsWith('/hide')).length"
    before = -1
    while (now := page.tab.evaluate(asked)) != before:
        before = now
        page.tab.evaluate("new Promise(resolve => setTimeout(resolve, 250))")


def test_what_was_hidden_can_be_shown_again(page):
    page.show(PICTURE)
    shown_map(page)
    before = page.levels()
    choose_hiding(page, "black")
    page.tab.drag(".frame", [(0.5, 0.5), (0.6, 0.6)])
    page.tab.until(HIDDEN)
    quiet(page)
    once = page.levels()
    page.tab.drag(".frame", [(0.3, 0.3), (0.3, 0.5)])
    quiet(page)
    assert page.levels() != once != before
    page.tab.press("z", code=90, control=True)
    quiet(page)
    assert page.levels() == once
    page.tab.evaluate("[...document.querySelectorAll('button')].find(one => one.innerText === 'Show all').click()")
    page.tab.until(f"!({HIDDEN})")
    assert page.levels() == before


def test_a_dropped_picture_is_read_and_named_as_text(page, model, pictures, tmp_path):
    file = tmp_path / HOSTILE
    Image.fromarray(pictures[1].pixels).save(file)
    page.show("#/")
    page.drop(file)
    page.tab.until("location.hash.startsWith('#/picture/')")
    page.tab.until(SHOWN)
    shown_map(page)
    assert page.text("h1") == file.name
    assert page.tab.evaluate("document.querySelector('#view script, #view [href^=javascript]')") is None
    found = cnnviz.predict(model, pictures[1])[0][0]
    assert page.text(".bars .name") == found.target.label
    assert page.levels()[found.target.label] == pytest.approx(found.probability, abs=1e-5)
    page.go("#/")
    assert file.name in page.texts(".card strong")


def test_a_broken_picture_is_refused_in_one_sentence(page, tmp_path):
    file = tmp_path / "broken.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\nnothing of a picture")
    page.show("#/")
    page.drop(file)
    said = page.tab.until("document.querySelector('#status.error')?.innerText")
    assert "broken.png" in said
    assert page.address in ("#/", "")
    page.forgive("status of 4")


def test_keys_alone_choose_a_class_and_a_place(page):
    page.show(f"{PICTURE}?target=arrow")
    shown_map(page)
    page.tab.evaluate("document.querySelector('.bar[data-target=bolt]').focus()")
    page.tab.press("Enter")
    page.tab.until("document.querySelector('.target .name')?.innerText === 'bolt'")
    assert page.tab.evaluate("document.activeElement.dataset.target") == "bolt"
    page.tab.evaluate("document.querySelector('.frame').focus()")
    page.tab.press("ArrowRight")
    page.tab.press("ArrowDown")
    page.tab.until("document.querySelector('.readout').innerText.startsWith('x 84, y 84')")


def test_what_made_a_picture_stands_beside_it(page):
    page.show(f"{PICTURE}?target=arrow")
    shown_map(page)
    page.tab.click(".made summary")
    command, python = page.texts(".made pre")
    assert re.fullmatch(r"cnnviz gradcam --model shapes-resnet --target arrow \S*arrow.png", command)
    assert "cnnviz.gradcam(model, " in python
    assert page.texts(".files button") == ["PNG", "SVG", "PDF"]


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
@pytest.mark.parametrize("view", ["#/", f"{PICTURE}?target=arrow&against=star"])
def test_anyone_can_use_it_on_a_phone_and_at_a_desk(page, view, width, dark):
    page.show(view, width=width, dark=dark)
    if "picture" in view:
        shown_map(page)
    assert page.violations() == []
    assert page.tab.evaluate(OVERFLOWING) == 0
    assert page.complaints() == []
