"""Keypoints: networks that give a heat map for each of several points."""

from __future__ import annotations

import json
from importlib.metadata import entry_points

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

import cnnviz
from cnnviz.core.parse_target import parse_target
from cnnviz.core.target import ClassTarget, RegionTarget
from cnnviz.errors import ExplanationError, TargetError, UnknownNameError
from tests.support.networks import model_of

POINTS = ("nose", "left eye", "right eye", "point 1")


class HeatMaps(nn.Module):
    """In float64: a heat map of 16 x 16 for each of four points."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(6, 4, 3, padding=1)
        self.double()

    def forward(self, x):
        return self.conv2(self.conv1(x).relu())


@pytest.fixture
def net() -> HeatMaps:
    torch.manual_seed(5)
    return HeatMaps().eval()


@pytest.fixture
def model(net):
    return model_of(net, labels=POINTS, head="value")


@pytest.fixture
def images(inputs):
    return inputs.double()


def test_it_is_the_value_at_its_own_peak(net, model, images):
    leaf = images.clone().requires_grad_()
    peaks = net(leaf)[:, 2].flatten(1).max(dim=1)
    (wanted,) = torch.autograd.grad(peaks.values.sum(), leaf)
    found = cnnviz.saliency(model, images, "point 2")
    assert [one.score for one in found] == pytest.approx(peaks.values.tolist())
    np.testing.assert_allclose(np.asarray(found), wanted.numpy(), rtol=1e-5)
    assert [one.probability for one in found] == [None] * 3
    assert found.targets[0].mask.array().flatten().argmax() == int(peaks.indices[0])


def test_the_place_is_held_fixed_when_parts_are_hidden(net, model, images):
    found = cnnviz.occlusion(model, images[:1], "point 0", window=8, stride=8, baseline="black")[0]
    net.requires_grad_(requires_grad=False)
    heat = net(images[:1])[0, 0]
    row, column = divmod(int(heat.argmax()), heat.shape[1])
    black, moved = (0 - 0.5) / 0.25, 0
    for top in range(0, 32, 8):
        for left in range(0, 32, 8):
            hidden = images[:1].clone()
            hidden[..., top : top + 8, left : left + 8] = black
            again = net(hidden)[0, 0]
            moved += int(again.argmax()) != int(heat.argmax())
            drop = float(heat[row, column] - again[row, column])
            assert found.values[top + 4, left + 4] == pytest.approx(drop, abs=1e-6)
    assert moved, "no window moves the peak, so nothing shows that the place is held"


@pytest.mark.parametrize("name", ["gradcam", "ablationcam", "scorecam", "rise", "fullgrad", "shapleycam", "reciprocam"])
def test_maps_of_all_kinds_say_what_they_explain(name, model, images):
    found = getattr(cnnviz, name)(model, images[:1], "point 2", **({"masks": 40} if name == "rise" else {}))
    assert np.isfinite(np.asarray(found)).all()
    assert np.asarray(found).any()
    peak = int(found.targets[0].mask.array().argmax())
    at = f"column {peak % 16}, row {peak // 16} of its 16x16 heat map"
    said = f"point right eye: the value at its own peak on the unchanged picture, {at}, which is held fixed"
    assert said in found.checks
    assert f"point right eye {found[0].score:.4g}" in found[0].caption()


def test_names_and_numbers():
    assert parse_target("point 2", POINTS) == RegionTarget(ClassTarget(2, "right eye"), peak=True)
    assert parse_target("point left eye", POINTS) == RegionTarget(ClassTarget(1, "left eye"), peak=True)
    assert parse_target("point 2") == RegionTarget(ClassTarget(2), peak=True)
    assert str(parse_target("point 2")) == "point 2"
    assert parse_target("point 1", POINTS) == ClassTarget(3, "point 1"), "a label of that very name comes first"


def test_what_is_refused(net, model, images):
    with pytest.raises(
        TargetError, match=r"'point 2' is the peak of a heat map, but .* say what they are with head='v"
    ):
        cnnviz.saliency(model_of(net, labels=None), images, "point 2")
    with pytest.raises(TargetError, match="There is no class 9; this network's classes are 0 to 3"):
        cnnviz.saliency(model, images, "point 9")
    with pytest.raises(TargetError, match="There is no class 9; this network's classes are 0 to 3"):
        cnnviz.saliency(model_of(net, labels=None, head="value"), images, "point 9")
    with pytest.raises(UnknownNameError, match="There is no label 'point mouth'"):
        cnnviz.saliency(model, images, "point mouth")
    pooled = nn.Sequential(net, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(
        TargetError, match=r"'point 2' is the peak of a heat map \(N, points, h, w\); this network gives 4"
    ):
        cnnviz.saliency(model_of(pooled, labels=None, head="value"), images, "point 2")


def test_coordinates_are_told_how_to_be_explained(net, images):
    class Coordinates(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x).mean(dim=3)[:, :, :2]

    with pytest.raises(
        ExplanationError, match=r"shape \(1, 4, 2\), as coordinates of 4 points have it; .* found\[:, 3"
    ):
        cnnviz.saliency(model_of(Coordinates(), labels=None), images[:1], 0)
    taken = model_of(Coordinates(), labels=None, logits=lambda found: found[:, 3, :1], head="value")
    found = cnnviz.saliency(taken, images[:1], 0)[0]
    assert found.score == pytest.approx(float(net(images[:1])[0, 3, 0].detach().mean()))


def test_predict_tells_each_points_place_on_the_picture(net, model):
    pixels = np.random.default_rng(0).integers(0, 256, (96, 64, 3), dtype=np.uint8)
    found = cnnviz.predict(model, pixels)
    values, _ = model.preprocess(cnnviz.Picture(pixels))
    heat = net(values[None].double())[0].detach()
    for index, point in enumerate(found[0]):
        row, column = divmod(int(heat[index].argmax()), 16)
        assert point.target == ClassTarget(index, POINTS[index])
        assert (point.logit, point.probability) == (pytest.approx(float(heat[index].max())), None)
        assert point.place == (column * 4 + 2, 16 + row * 4 + 2)  # 2 pixels to one, 16 rows cut off above
    assert str(found).splitlines()[1].endswith(f"nose at {found[0][0].place[0]},{found[0][0].place[1]}")
    assert found.describe()["predictions"][0][0]["place"] == list(found[0][0].place)


def test_the_command_line_and_the_record(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (entry,) = entry_points(group="console_scripts", name="cnnviz")
    command = entry.load()
    Image.fromarray(cnnviz.draw_scene(0, size=64).pixels).save("photo.png")
    (tmp_path / "nets.py").write_text(
        "import torch, cnnviz\nfrom tests.methods.test_points import HeatMaps\n"
        "def make():\n    torch.manual_seed(5)\n"
        "    return cnnviz.Model(HeatMaps(), input_size=32, mean=(0.5,), std=(0.25,))\n"
    )
    network = ["--model", "nets.py:make", "--head", "value"]
    told = CliRunner().invoke(command, ["predict", *network, "--json", "photo.png"])
    assert told.exit_code == 0, told.stderr
    (place,) = {tuple(json.loads(told.stdout)[0]["predictions"][2]["place"])}
    assert f"at {place[0]},{place[1]}" in CliRunner().invoke(command, ["predict", *network, "photo.png"]).stdout
    drawn = CliRunner().invoke(command, ["gradcam", *network, "--target", "point 3", "-o", "map.png", "photo.png"])
    assert drawn.exit_code == 0, drawn.stderr
    assert cnnviz.Provenance.from_json(cnnviz.read_note("map.png")).targets == ("point 3",)
    assert cnnviz.rerun("map.png", model="nets.py:make").identical


class Borders(nn.Module):
    """Two heat maps whose largest values lie in what was put around a picture: where it is black."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1, bias=False)

    def forward(self, x):
        return -self.conv(x).abs()


def test_no_peak_lies_in_what_was_put_around_a_picture():
    torch.manual_seed(0)
    how = {"mean": [0.0] * 3, "std": [1.0] * 3, "input_size": 64, "resize": "whole"}
    model = cnnviz.Model(Borders(), head="value", labels=["nose", "tail"], **how)
    tall = np.random.default_rng(0).integers(40, 255, (96, 40, 3), dtype=np.uint8)
    for one in cnnviz.predict(model, tall)[0]:
        x, y = one.place
        assert 0 <= x < 40
        assert 0 <= y < 96
        assert one.logit == pytest.approx(cnnviz.saliency(model, tall, f"point {one.target}")[0].score)
