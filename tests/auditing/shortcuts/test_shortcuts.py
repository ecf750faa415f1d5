"""Shortcuts found on networks whose answer is known by hand, on honest ones, and on one that was trained on marks."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import cnnviz
from cnnviz.auditing.shortcuts import clusters
from cnnviz.core.picture import Picture
from cnnviz.errors import CnnvizError, MissingExtraError, ParameterError, UnknownNameError, UsageError
from cnnviz.images.datasets.dataset import Dataset, Keys

SIDE, MARK, BLUE, RED = 16, 4, 6.0, 24.0


class Colours(nn.Module):
    """Logits of two classes: the mean blue and red of the picture, and the mean green."""

    def __init__(self, red: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv.weight.data[:] = torch.tensor([[red, 0, BLUE], [0, BLUE, 0]])[:, :, None, None]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(self.conv(x)).flatten(1)


class Held(Dataset):
    """Pictures in memory with classes."""

    name = "held"

    def __init__(self, pixels: np.ndarray, labels: list[int], classes: tuple[str, ...]) -> None:
        self._pixels, self._labels, self.classes = pixels, labels, classes
        self.keys = Keys(f"{index:04}" for index in range(len(pixels)))

    @property
    def labels(self):
        return np.array(self._labels, np.int32)

    def item(self, index: int) -> Picture:
        return Picture(self._pixels[index], f"picture {index}")

    def mark(self, index: int) -> str:
        return self.item(index).digest


def _squares(marked: bool, count: int = 20) -> Held:
    """Squares of 4 x 4 pixels anywhere on black but in the corner, blue or green; blue ones perhaps with a red mark."""
    rng = np.random.default_rng(0)
    pixels = np.zeros((2 * count, SIDE, SIDE, 3), np.uint8)
    labels = [index % 2 for index in range(2 * count)]
    for index, label in enumerate(labels):
        y, x = rng.integers(5, 13, 2)
        pixels[index, y : y + 4, x : x + 4, 1 if label else 2] = 255
        if marked and not label:
            pixels[index, :MARK, :MARK, 0] = 255
    return Held(pixels, labels, ("blue", "green"))


def _model(red: float) -> cnnviz.Model:
    how = cnnviz.Preprocess(mean=(0,) * 3, std=(1,) * 3, input_size=(SIDE, SIDE))
    return cnnviz.Model(Colours(red).eval(), preprocess=how, labels=("blue", "green"), name="colours")


@pytest.fixture(scope="module")
def found():
    return cnnviz.shortcuts(_model(RED), _squares(marked=True), workers=0)


def test_a_mark_that_the_network_adds_up_is_flagged_with_the_effects_computed_by_hand(found):
    area = MARK * MARK / SIDE**2
    mark, square = RED * area, BLUE * area
    flag = found.of("blue").flags[0]
    assert [each.label for each in found.flagged] == ["blue"]
    assert flag.box == (0, 0, MARK, MARK)
    assert flag.place.sum() == MARK * MARK
    assert flag.hidden.before == pytest.approx(1 / (1 + math.exp(-mark - square)), abs=1e-5)
    assert flag.hidden.after == pytest.approx(1 / (1 + math.exp(-square)), abs=1e-5)
    assert flag.given.before == pytest.approx(1 / (1 + math.exp(square)), abs=1e-5)
    assert flag.given.after == pytest.approx(1 / (1 + math.exp(square - mark)), abs=1e-5)
    assert (flag.given.answered_before, flag.given.answered_after) == (0, 1)
    assert flag.example.answered_after == "blue"
    assert flag.example.after[0, 0].tolist() == [255, 0, 0]


def test_the_same_marks_are_no_shortcut_of_a_network_that_does_not_look_at_them():
    found = cnnviz.shortcuts(_model(0.0), _squares(marked=True), workers=0)
    assert found.flagged == ()
    assert "0 of 2 classes" in str(found)


def test_the_classes_clusters_cover_it_and_are_told_with_their_pictures(found):
    one = found.of(1)
    assert one.label == "green"
    assert one.count == 20
    assert one.clusters[0].share == 1
    assert sorted(each for cluster in one.clusters[1:] for each in cluster.images) == list(range(1, 40, 2))
    assert all(set(each.typical) <= set(each.images) for each in one.clusters)


def test_the_network_comes_back_bit_for_bit():
    model = _model(RED)
    model.module.train()
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    cnnviz.shortcuts(model, _squares(marked=True), workers=0)
    assert all(torch.equal(before[name], value) for name, value in model.module.state_dict().items())
    assert model.module.training


def test_it_saves_a_table_json_a_page_and_a_figure_the_same_each_time(found, tmp_path):
    again = cnnviz.shortcuts(_model(RED), _squares(marked=True), workers=0)
    for ending in ("csv", "json", "html", "png"):
        paths = [each.save(tmp_path / f"{number}.{ending}") for number, each in enumerate((found, again))]
        assert paths[0].read_bytes() == paths[1].read_bytes()
    rows = list(csv.DictReader((tmp_path / "0.csv").read_text().splitlines()))
    assert len(rows) == sum(len(each.clusters) for each in found.classes)
    assert {row["label"] for row in rows if row["flagged"] == "True"} == {"blue"}
    assert json.loads((tmp_path / "0.json").read_text())["flagged"] == ["blue"]
    page = (tmp_path / "0.html").read_text()
    assert "1 of 2 classes with a shortcut" in page
    with Image.open(tmp_path / "0.png") as drawn:
        assert drawn.width > drawn.height


def test_the_figure_has_a_row_a_flagged_cluster_and_of_all_where_asked(found):
    assert len(found.grid().sheet.rows) == 1
    every = found.grid(every=True, most=50).sheet.rows
    assert len(every) == sum(max(1, len(each.clusters) - 1) for each in found.classes)
    with pytest.raises(UsageError, match="every=True"):
        cnnviz.shortcuts(_model(0.0), _squares(marked=True), workers=0).grid()


def test_by_channels_the_mark_is_found_too():
    found = cnnviz.shortcuts(_model(RED), _squares(marked=True), by="channels", workers=0)
    assert [each.label for each in found.flagged] == ["blue"]


def test_an_honest_object_always_in_the_centre_is_not_flagged_though_hiding_it_lowers_its_class():
    pixels, labels = [], []
    for index in range(70):
        scene = cnnviz.draw_scene(index, seed=3, label=("star", "heart", "ring")[index % 3])
        rows, columns = np.nonzero(scene.mask)
        shift = 32 - round(rows.mean()), 32 - round(columns.mean())
        pixels.append(np.roll(scene.pixels, shift, (0, 1)))
        labels.append(index % 3)
    model = cnnviz.load_model("shapes-resnet")
    found = cnnviz.shortcuts(model, Held(np.stack(pixels), labels, ("star", "heart", "ring")), workers=0)
    whole = [each.clusters[0] for each in found.classes]
    assert all(each.hidden.high < 0 for each in whole)
    assert found.flagged == ()


def test_pictures_that_cannot_be_read_are_counted_and_named(tmp_path):
    held = _squares(marked=True)
    for index in range(40):
        path = tmp_path / held.classes[index % 2] / f"{index:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(held.item(index).pixels).save(path)
    (tmp_path / "green" / "broken.png").write_bytes(b"no picture")
    found = cnnviz.shortcuts(_model(RED), tmp_path, workers=0)
    assert [key for key, _ in found.failures] == ["green/broken.png"]
    assert found.pictures == 40
    assert any(each.startswith("1 picture could not be used") and "broken.png" in each for each in found.checks)
    assert [each.label for each in found.flagged] == ["blue"]


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"by": "pixels"}, ParameterError, "maps.*channels"),
        ({"most": 3}, ParameterError, "at least 10"),
        ({"classes": "red"}, UnknownNameError, "red"),
        ({"method": "gradcam,cam"}, UsageError, "one method"),
        ({"method": "predict"}, CnnvizError, "predict"),
        ({"layer": "nowhere"}, UnknownNameError, "nowhere"),
    ],
)
def test_a_wrong_request_is_refused_in_a_sentence(asked, error, words):
    with pytest.raises(error, match=words):
        cnnviz.shortcuts(_model(RED), _squares(marked=True, count=10), workers=0, **asked)


def test_one_class_alone_or_few_pictures_are_refused():
    held = _squares(marked=True)
    alone = Held(held._pixels[::2], [0] * 20, ("blue",))
    with pytest.raises(UsageError, match="at least two"):
        cnnviz.shortcuts(_model(RED), alone, workers=0)
    with pytest.raises(UsageError, match="10 pictures"):
        cnnviz.shortcuts(_model(RED), _squares(marked=True, count=4), workers=0)
    with pytest.raises(UsageError, match="pictures"):
        cnnviz.shortcuts(cnnviz.load_model("signals-cnn"), held, workers=0)


def test_one_class_asked_for_is_tried_on_the_others():
    found = cnnviz.shortcuts(_model(RED), _squares(marked=True), "blue", workers=0)
    assert [each.label for each in found.classes] == ["blue"]
    assert found.flagged
    with pytest.raises(UnknownNameError, match="green"):
        found.of("green")
    with pytest.raises(UnknownNameError, match="columms"):
        found.save("shortcuts.png", columms=2)


def test_without_scikit_learn_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(clusters, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match="cnnviz"):
        cnnviz.shortcuts(_model(RED), _squares(marked=True))


@pytest.mark.slow
def test_marks_that_a_network_was_trained_on_are_found(tmp_path: Path):
    from benchmarks.marks import Planted
    from benchmarks.shortcuts import audit

    cases = {each.mark or each.label: each for each in audit(Planted(1.0, 3), tmp_path)}
    for mark in ("dot", "tint", "watermark"):
        assert cases[mark].planted
        assert cases[mark].found
    assert sum(each.flagged for each in cases.values() if not each.mark) <= 1
