"""The explorer's layers, units and jobs in a real browser, with an index and two networks."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import cnnviz
from tests.support.chromium import installed
from tests.support.explorer_page import DRAWN, MAP, OVERFLOWING, SHOWN, exploring

pytest.importorskip("starlette", reason="the explorer's optional libraries are not installed")
pytestmark = pytest.mark.skipif(installed() is None, reason="no Chromium is installed")

MINUS = "\N{MINUS SIGN}"
LAYER, UNIT = "layer2", 5
VIEWS = (
    "#/",
    "#/picture/arrow.png",
    f"#/layer/{LAYER}?picture=arrow.png",
    f"#/layer/{LAYER}/unit/{UNIT}?picture=arrow.png",
)
PLACE = "document.querySelector('.right .group:last-child .under').innerText"
TILES = "document.querySelectorAll('.tiles a').length"


@pytest.fixture(scope="module")
def model():
    return cnnviz.load_model("shapes-resnet")


@pytest.fixture(scope="module")
def pictures() -> list[cnnviz.Picture]:
    return [
        cnnviz.Picture(cnnviz.draw_scene(1, size=160, label="arrow").pixels, "arrow.png"),
        cnnviz.Picture(cnnviz.draw_scene(2, size=160, label="heart").pixels, "heart.png"),
    ]


@pytest.fixture(scope="module")
def index(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    cnnviz.patches(model, "shapes:24", layer=LAYER, index=str(folder), samples=1)
    return folder


@pytest.fixture(scope="module")
def page(model, pictures, index, tmp_path_factory):
    with exploring(tmp_path_factory.mktemp("profile"), model, pictures, index=index, data="shapes:24") as opened:
        yield opened
        assert opened.complaints() == []


@pytest.fixture(scope="module")
def responses(model, pictures) -> np.ndarray:
    """What the layer's units answer to the arrow, ``(units, rows, columns)``."""
    held = []
    handle = model.module.get_submodule(LAYER).register_forward_hook(lambda _, __, output: held.append(output))
    with torch.no_grad():
        model.module(model.preprocess(pictures[0])[0][None])
    handle.remove()
    return held[0][0].numpy()


def test_hovering_outlines_the_field_and_lists_the_units_of_the_place(page, model, responses):
    page.show(f"#/picture/arrow.png?target=arrow&layer={LAYER}")
    page.tab.until(MAP)
    field = model.layers[LAYER].field
    for across, down in ((0.52, 0.31), (0.03, 0.97)):
        row, column = find_place(field, across * 64, down * 64)
        page.tab.mouse("Moved", *page.tab.point(".frame", across, down))
        page.tab.until(f"{PLACE}.startsWith('Row {row}, column {column} ')")
        top, left, bottom, right = field.box(row, column, 64, 64)
        assert page.box(".outline") == pytest.approx([left / 64, top / 64, right / 64, bottom / 64], abs=0.006)
        here = responses[:, row, column]
        strongest = [f"Unit {unit}" for unit in np.argsort(-here, kind="stable")[:3]]
        assert page.texts(".units a")[:3] == strongest


def find_place(field, x: float, y: float) -> tuple[int, int]:
    """The row and column of the unit whose centre is nearest to a place of the input."""
    rows, columns = field.spans
    near = [
        int(np.argmin([abs(span.centre(unit) - (value - 0.5)) for unit in range(count)]))
        for span, count, value in zip((rows, columns), field.grid, (y, x), strict=True)
    ]
    return near[0], near[1]


def test_a_click_holds_the_place_and_leads_to_a_unit(page):
    page.show(f"#/picture/arrow.png?layer={LAYER}")
    page.tab.until(MAP)
    page.tab.click(".frame", 0.5, 0.5)
    page.tab.until("document.querySelectorAll('.units a').length > 0")
    held = page.texts(".units a")
    page.tab.mouse("Moved", *page.tab.point(".frame", 0.1, 0.9))
    page.tab.evaluate("new Promise(resolve => setTimeout(resolve, 200))")
    assert page.texts(".units a") == held
    assert page.tab.evaluate("document.querySelector('.outline').hidden") is False
    page.tab.click(".units a")
    page.tab.until("document.querySelector('h1')?.innerText.startsWith('Unit')")
    assert page.address.startswith(f"#/layer/{LAYER}/unit/{held[0].split()[1]}")
    assert "picture=arrow.png" in page.address


def test_a_layers_units_by_response(page, responses):
    page.show(VIEWS[2])
    page.tab.until(f"{TILES} > 0")
    peaks = responses.max(axis=(1, 2))
    order = [str(unit) for unit in np.argsort(-peaks, kind="stable")]
    shown = [text.split()[0] for text in page.texts(".tiles a")]
    assert shown == order[: len(shown)]
    assert len(shown) >= 12
    page.tab.evaluate("""(() => { const one = [...document.querySelectorAll('.toolbar select')][1];
        one.value = 'index'; one.dispatchEvent(new Event('change')); })()""")
    page.tab.until("document.querySelector('.tiles a').innerText.startsWith('0')")
    assert "sort=index" in page.address


def test_a_tile_is_the_units_map(page, responses):
    page.show(f"{VIEWS[2]}&sort=index")
    page.tab.until(f"{TILES} > 0")
    page.tab.evaluate("new Promise(resolve => setTimeout(resolve, 300))")
    rows, columns = responses.shape[1:]
    drawn = page.tab.evaluate(f"""(() => {{
        const canvas = document.querySelector('.sheet canvas'), pen = canvas.getContext('2d');
        const side = document.querySelector('.tiles a').getBoundingClientRect().width;
        const wide = Math.ceil(side), held = pen.getImageData(0, 0, wide, wide).data, found = [];
        for (let row = 0; row < {rows}; row++) for (let column = 0; column < {columns}; column++)
            found.push(held[4 * (Math.floor((row + 0.5) * side / {rows}) * wide
                + Math.floor((column + 0.5) * side / {columns}))]);
        return found;
    }})()""")
    own = responses[0].ravel()
    expected = 255 * (own - min(own.min(), 0)) / (own.max() - min(own.min(), 0))
    assert np.abs(np.array(drawn) - expected).max() <= 2


def search(page, text: str) -> None:
    page.tab.evaluate(f"""(() => {{ const one = document.querySelector('input[type=search]');
        one.value = '{text}'; one.dispatchEvent(new Event('input')); }})()""")


def test_units_are_searched_by_number(page):
    page.show(f"{VIEWS[2]}&sort=index")
    page.tab.until(f"{TILES} > 0")
    search(page, "3, 7-9")
    page.tab.until(f"{TILES} === 4")
    assert [text.split()[0] for text in page.texts(".tiles a")] == ["3", "7", "8", "9"]
    search(page, "nine")
    page.tab.until("!document.querySelector('#view p.missing').hidden")
    page.tab.until(f"{TILES} === 0")


def test_arrows_move_over_the_units_and_enter_opens_one(page):
    page.show(f"{VIEWS[2]}&sort=index")
    page.tab.until(f"{TILES} > 0")
    page.tab.evaluate("document.querySelector('.tiles a').focus()")
    for key in ("ArrowRight", "ArrowRight"):
        page.tab.press(key)
    page.tab.until("document.activeElement.innerText.startsWith('2')")
    page.tab.press("Enter")
    page.tab.until("document.querySelector('h1')?.innerText === 'Unit 2'")


def test_a_units_page_from_the_index(page, model, pictures, responses, index):
    page.show(VIEWS[3])
    page.tab.until("document.querySelectorAll('.patches li').length > 0")
    page.tab.until(DRAWN)
    found = (
        cnnviz.PatchIndex.read(index).patches(LAYER, units=[UNIT]) if hasattr(cnnviz.PatchIndex, "patches") else None
    )
    assert f"{responses[UNIT].max():.2f}" in page.text(".wide-part .under strong")
    values = [float(text) for text in page.texts(".patches li .quiet")]
    assert len(values) >= 5
    top = page.texts(".patches:first-of-type li .quiet")
    assert [float(text) for text in top] == sorted(map(float, top), reverse=True)
    assert page.tab.evaluate("document.querySelectorAll('.quantiles .columns span').length") > 3
    assert found is None or found


def test_the_number_under_the_pointer_on_a_units_map(page, responses):
    page.show(VIEWS[3])
    page.tab.until(DRAWN)
    page.tab.mouse("Moved", *page.tab.point(".unit-map", 0.5, 0.5))
    said = page.tab.until("/response (\\S+)/.exec(document.querySelector('.wide-part .readout').innerText)?.[1]")
    own = responses[UNIT]
    assert own.min() - 1e-2 <= float(said.replace(MINUS, "-")) <= own.max() + 1e-2


def test_switching_a_unit_off(page, model, pictures):
    page.show(VIEWS[3])
    page.tab.until("document.querySelectorAll('.slim-part .bars li').length > 0")
    inputs = model.preprocess(pictures[0])[0][None]
    module = model.module.get_submodule(LAYER)

    def silence(_, __, output):
        changed = output.clone()
        changed[:, UNIT] = 0
        return changed

    with torch.no_grad():
        handle = module.register_forward_hook(silence)
        expected = torch.softmax(model.module(inputs), 1)[0]
        handle.remove()
    shown = page.tab.evaluate("""[...document.querySelector('.slim-part .bars').querySelectorAll('li')].map(one =>
        [one.querySelector('.name').innerText, parseFloat(one.querySelector('.level').style.width) / 100])""")
    assert len(shown) >= 3
    for name, level in shown:
        assert level == pytest.approx(float(expected[model.labels.index(name)]), abs=1e-5)


def test_a_picture_is_made_and_cancelled(page):
    page.show(VIEWS[3])
    page.tab.evaluate("[...document.querySelectorAll('.making button')].at(-1).click()")
    page.tab.until("document.querySelector('.making progress')?.value > 1")
    page.tab.evaluate(
        "[...document.querySelectorAll('.making button')].find(one => one.innerText === 'Cancel').click()"
    )
    page.tab.until("document.querySelector('.making').innerText.includes('Cancelled')")
    assert page.tab.evaluate("document.querySelector('.frame-of-made').dataset.done") == "cancelled"
    page.go("#/picture/arrow.png")
    page.tab.until(MAP)


def test_every_view_by_its_address_in_another_tab(page):
    for view in VIEWS:
        page.show(view)
        assert page.text("h1") in ("shapes-resnet", "arrow.png", LAYER, f"Unit {UNIT}")
        assert page.tab.evaluate("document.querySelector('#view .missing:not([hidden])')") is None
        assert page.complaints() == []


@pytest.mark.parametrize(
    ("view", "words"),
    [("#/picture/none.png", "none.png"), ("#/layer/nowhere", "nowhere"), (f"#/layer/{LAYER}/unit/9999", "9999")],
)
def test_an_address_of_nothing_is_one_sentence(page, view, words):
    page.show(view)
    assert words in page.text("#view .missing")
    assert page.tab.evaluate("document.querySelector('#view a').hash") == "#/"


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
@pytest.mark.parametrize("view", VIEWS[2:])
def test_anyone_can_use_layers_and_units_on_a_phone_and_at_a_desk(page, view, width, dark):
    page.show(view, width=width, dark=dark)
    assert page.violations() == []
    assert page.tab.evaluate(OVERFLOWING) == 0


def test_a_session_is_opened_again(page, model, pictures, tmp_path):
    page.show("#/picture/heart.png?target=star")
    page.tab.until(MAP)
    saved = page.tab.evaluate(
        "fetch('api/session/file?view=' + encodeURIComponent(location.hash)).then(one => one.text())"
    )
    assert json.loads(saved)["view"] == "#/picture/heart.png?target=star"
    file = tmp_path / "session.json"
    file.write_text(saved, encoding="utf-8")
    page.show("#/")
    page.tab.ask("DOM.enable")
    root = page.tab.ask("DOM.getDocument")["root"]["nodeId"]
    node = page.tab.ask("DOM.querySelector", nodeId=root, selector=".session input")["nodeId"]
    page.tab.ask("DOM.setFileInputFiles", nodeId=node, files=[str(file)])
    page.tab.until("location.hash.startsWith('#/picture/')")
    page.tab.until(SHOWN)
    page.tab.until("document.querySelector('.target .name')?.innerText === 'star'")


def test_two_networks_are_linked(pictures, tmp_path):
    with exploring(tmp_path, ["shapes-resnet", "shapes-vgg"], pictures) as page:
        page.show("#/picture/arrow.png?target=arrow")
        page.tab.until(MAP)
        assert page.texts(".panel h2") == ["shapes-resnet", "shapes-vgg"]
        page.tab.click('.panel:last-child .bar[data-target="heart"]')
        page.tab.until("document.querySelectorAll('.target .bar[data-target=heart]').length === 2")
        page.tab.mouse("Moved", *page.tab.point(".frame", 0.4, 0.6))
        page.tab.until("[...document.querySelectorAll('.outline')].filter(one => !one.hidden).length === 2")
        page.tab.click("nav[aria-label=Networks] a:first-child")
        page.tab.until("document.querySelectorAll('.panel').length === 1")
        assert "network=0" in page.address
        page.show("#/picture/arrow.png", width=390)
        assert page.tab.evaluate(OVERFLOWING) == 0
        assert page.violations() == []
        assert page.complaints() == []
