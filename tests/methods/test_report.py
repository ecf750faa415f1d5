"""A report of one network and a few pictures."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from torch import nn

import cnnviz
from cnnviz.errors import ModelError, UnknownNameError, UsageError
from cnnviz.reporting import chapters as sections
from cnnviz.reporting.chapter import ForwardBudget, Section
from cnnviz.reporting.chapters import SECTIONS
from tests.support.asking import state_of
from tests.support.networks import Small, model_of
from tests.support.pages import Outline

QUICK = "overview,predictions,maps,units,features,filters,layers"


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    made = [rng.integers(0, 256, (40, side, 3), dtype=np.uint8) for side in (52, 40)]
    return [cnnviz.Picture(pixels, f"{name}.png") for name, pixels in zip(("wide", "square"), made, strict=True)]


def report_of(model, pictures, target=None, **settings):
    given = {"methods": "gradcam,smoothgrad", "sections": QUICK, "units": 2, "classes": 3} | settings
    return cnnviz.report(model, pictures, target, given.pop("examples", None), **given)


def words_of(report) -> str:
    return report.html().replace("&#39;", "'")


def test_every_chapter_is_told(small, pictures):
    found = report_of(small, pictures, sections=None, examples="shapes:20", methods="gradcam,occlusion", budget=900)
    assert [chapter.key for chapter in found.chapters] == [key for key in SECTIONS if key != "audit"], (
        "the data set has none of the network's classes"
    )
    outline = Outline.of(found.html())
    assert outline.problems() == []
    assert [words for level, words in outline.headings if level == 2] == [
        one.title for key, one in SECTIONS.items() if key != "audit"
    ]
    assert set(found.figures) >= {"maps", "units", "patches", "pictures", "filters"}
    assert json.dumps(found.describe(), default=str)


def test_it_leaves_the_network_as_it_was(pictures):
    net = Small().train()
    before = state_of(net)
    report_of(model_of(net), pictures)
    assert state_of(net) == before


def test_the_same_question_gives_the_same_bytes(pictures):
    net = Small()
    first, second = (report_of(model_of(net), pictures, seed=3).html() for _ in range(2))
    assert first == second


def test_its_record_says_how_it_was_made(small, pictures, tmp_path):
    found = report_of(small, pictures, "dog")
    record = cnnviz.Provenance.from_json(cnnviz.read_note(found.save(tmp_path / "a.html")))
    assert record.method == "report"
    assert record.settings["methods"] == "gradcam,smoothgrad"
    assert record.targets == ("dog", "dog")
    assert [image["name"] for image in record.images] == ["wide.png", "square.png"]
    assert record.model["weights_sha256"] == small.fingerprint()


def test_the_explained_class_is_set_off(small, pictures):
    text = report_of(small, pictures, 2, sections="predictions", classes=5).html()
    marked = [line for line in text.splitlines() if '<tr class="marked"' in line]
    assert len(marked) == 2
    assert all('<th scope="row">bird</th>' in line for line in marked)


def test_chapters_come_in_the_order_asked_for(small, pictures):
    found = report_of(small, pictures, sections=" layers, overview,layers")
    assert [chapter.key for chapter in found.chapters] == ["layers", "overview"]


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"sections": "overview,map"}, UnknownNameError, "Did you mean 'maps'"),
        ({"sections": " , "}, UsageError, "names at least one of maps"),
        ({"methods": "gradcamm"}, UnknownNameError, "Did you mean 'gradcam'"),
        ({"layer": "conv9"}, UnknownNameError, "no layer 'conv9'"),
    ],
)
def test_what_is_wrong_is_said_before_the_work(pictures, settings, error, words):
    class Never(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            raise AssertionError("it was run")

    with pytest.raises(error, match=words):
        report_of(model_of(Never()), pictures, **settings)


def test_what_a_network_cannot_be_asked_becomes_a_sentence(pictures):
    flat = model_of(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 5)))
    found = report_of(flat, pictures)
    text = words_of(found)
    assert "No layer of this network has a spatial output" in text
    assert "so there are no maps to show" in text
    assert Outline.of(found.html()).problems() == []
    assert any(check.startswith("units: ") for check in found.checks)
    assert "smoothgrad" in found.numbers["maps"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ModelError("It is broken."), "It is broken."),
        (torch.OutOfMemoryError("CUDA"), "There is not enough memory for it."),
        (RuntimeError("sizes\n do not match"), "could not be asked: RuntimeError: sizes do not match."),
    ],
)
def test_a_chapter_that_fails_becomes_a_sentence(small, pictures, monkeypatch, error, words):
    def fail(_asked):
        raise error

    monkeypatch.setattr(sections, "SECTIONS", {**SECTIONS, "maps": Section("Maps", "Where?", "", fail)})
    found = report_of(small, pictures, sections="maps,layers")
    assert words in words_of(found)
    assert [chapter.key for chapter in found.chapters] == ["layers"]
    facts = found.chapters[-1].blocks[-1].blocks[0]
    assert [name for name, _ in facts.rows] == ["Maps"]
    alone = report_of(small, pictures, sections="maps")
    assert words in words_of(alone)
    assert [chapter.key for chapter in alone.chapters] == ["empty"]
    assert any(words in check for check in found.checks)


def test_a_method_that_gives_no_maps_becomes_a_sentence(small, pictures):
    text = words_of(report_of(small, pictures, methods="dff,gradcam", sections="maps"))
    assert "dff: it gives no map of each picture" in text
    assert "Grad-CAM of wide.png" in text


class Counting:
    """Counts inputs of the first convolution: forwards of the whole network."""

    def __init__(self, monkeypatch) -> None:
        self.count = 0
        convolve = nn.functional.conv2d

        def counted(given, weight, *rest, **more):
            self.count += len(given) if weight.shape[:2] == (8, 3) else 0
            return convolve(given, weight, *rest, **more)

        monkeypatch.setattr(nn.functional, "conv2d", counted)


def forwards(monkeypatch, pictures, **settings) -> tuple[int, cnnviz.Report]:
    with monkeypatch.context() as patch:
        counting = Counting(patch)
        torch.manual_seed(0)
        found = report_of(model_of(Small()), pictures, **settings)
    return counting.count, found


@pytest.mark.parametrize("budget", [0, 130, 500, 900])
def test_a_budget_is_kept(monkeypatch, pictures, budget):
    asked = {"methods": "occlusion,smoothgrad,rise,integrated_gradients", "sections": "maps,pictures,patches"}
    nothing, bare = forwards(monkeypatch, pictures, **asked, budget=0, examples="shapes:40")
    spent, found = forwards(monkeypatch, pictures, **asked, budget=budget, examples="shapes:40")
    assert spent - nothing <= budget
    assert "maps" not in bare.figures
    if budget == 900:
        assert spent - nothing > 300
        assert "maps" in found.figures


def test_what_a_budget_leaves_out_is_said(small, pictures):
    asked = {"methods": "occlusion,smoothgrad,scorecam", "sections": "maps,pictures,patches", "examples": "shapes:40"}
    text = words_of(report_of(small, pictures, **asked, budget=60))
    assert "occlusion was left out: it takes" in text
    assert "Left out because of --budget: each takes" in text
    assert "Left out because of --budget: patches take 90 forwards" in text
    assert "of the 51 it would have taken" in text


def test_a_purse_is_shared_out_evenly():
    budget = ForwardBudget(100, 4)
    assert [budget.grant(10), budget.grant(1000), budget.grant(20), budget.grant(1000)] == [10, 30, 20, 40]
    assert budget.left == 0
    free = ForwardBudget(None, 1)
    assert free.grant(10**9) == 10**9


def test_figures_stand_beside_it(small, pictures, tmp_path):
    found = report_of(small, pictures, sections="maps,units,filters")
    files = found.save_figures(tmp_path)
    assert [file.name for file in files] == ["maps.png", "units.png", "filters.png"]
    assert [cnnviz.Provenance.from_json(cnnviz.read_note(file)).model["name"] for file in files] == ["small"] * 3
    assert cnnviz.Provenance.from_json(cnnviz.read_note(files[0])).method == "compare"


def test_a_notebook_shows_it_in_a_frame(small, pictures):
    frame = report_of(small, pictures, sections="overview")._repr_html_()
    outer = Outline.of(frame)
    assert outer.crossed == []
    assert frame.startswith("<iframe srcdoc=")


def test_no_folder_and_no_clock_in_it(small, pictures, tmp_path):
    text = report_of(small, pictures, examples=str(folder_of(tmp_path, pictures)), sections="patches,units").html()
    assert str(tmp_path) not in text
    assert "seconds" not in text


def folder_of(tmp_path, pictures):
    (tmp_path / "shown").mkdir()
    for number, picture in enumerate(pictures * 3):
        cnnviz.grid([[picture]], title="").save(tmp_path / "shown" / f"{number}.png")
    return tmp_path / "shown"


def test_a_chapter_without_data_is_left_out_and_the_last_names_the_option(small, pictures):
    found = report_of(small, pictures, sections="patches,layers,overview")
    assert [chapter.key for chapter in found.chapters] == ["layers", "overview"]
    (row,) = found.chapters[-1].blocks[-1].blocks[0].rows
    assert row == (SECTIONS["patches"].title, row[1])
    assert "--data" in row[1]


def test_answers_come_first_and_hashes_last():
    assert list(SECTIONS)[:2] == ["maps", "predictions"]
    assert list(SECTIONS)[-2:] == ["layers", "overview"]


def test_every_picture_is_stored_once_and_described(small, pictures):
    text = report_of(small, pictures, sections="maps,predictions,units").html()
    images = re.findall(r'<img src="([^"]+)" alt="([^"]*)"', text)
    assert len({source for source, _ in images}) == len(images) > 6
    assert all(alt.strip() for _, alt in images)
    assert sum("input" in line for line in re.findall(r"<strong>([^<]+)</strong>", text)) == len(pictures)


def test_predictions_alone_show_the_pictures(small, pictures):
    assert report_of(small, pictures, sections="predictions").html().count("<img ") == len(pictures)


def test_a_data_set_with_classes_is_audited_shortly():
    model = cnnviz.load_model("shapes-resnet")
    scene = cnnviz.draw_scene(0, size=64).pixels
    found = report_of(model, [scene], sections="audit,overview", examples="shapes:12")
    assert [chapter.key for chapter in found.chapters] == ["audit", "overview"]
    alone = cnnviz.audit(model, "shapes:12", maps=0, cases=4)
    assert found.numbers["audit"]["accuracy"] == alone.describe()["accuracy"]
    assert set(found.figures) == {"audit"}


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({}, "Not asked for: --data (in Python examples) names a data set with true classes"),
        ({"examples": [np.zeros((40, 40, 3), np.uint8)]}, "The pictures of 'images' have no true classes"),
        ({"examples": "shapes:12"}, "No picture of 'shapes:12' has a class that the network has"),
        ({"examples": "shapes:12", "budget": 10}, "Left out because of --budget: it takes 28 forwards"),
    ],
)
def test_why_no_data_set_was_audited_is_said(small, pictures, asked, reason):
    found = report_of(small, pictures, sections="audit,overview", **asked)
    assert [chapter.key for chapter in found.chapters] == ["overview"]
    assert reason in words_of(found)
