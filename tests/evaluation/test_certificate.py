"""A certificate: what can be told of one map of one photograph."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

import cnnviz
from cnnviz.errors import ParameterError, UnknownNameError, UsageError


@pytest.fixture(scope="module")
def model():
    return cnnviz.load_model("shapes-resnet")


@pytest.fixture(scope="module")
def certificate(model):
    return cnnviz.certify(model, cnnviz.draw_scene(3).pixels, budget=4, maps=9)


def test_its_numbers_are_those_of_the_table(model, certificate):
    table = cnnviz.evaluate(model, [cnnviz.draw_scene(3).pixels], "gradcam", "deletion,insertion", budget=4)
    for metric in ("deletion", "insertion"):
        assert certificate.areas[metric][0] == pytest.approx(table.of("gradcam", metric)[0], abs=1e-6)
        assert certificate.curves[metric].shape == (10, 5)
        own, *others = certificate.areas[metric]
        better = np.array(others) > own if metric == "deletion" else np.array(others) < own
        assert certificate.beaten(metric) == better.sum()
        assert certificate.p_value(metric) == pytest.approx((1 + 9 - better.sum()) / 10)
    assert certificate.probability == pytest.approx(table.probabilities[0], abs=1e-6)
    assert certificate.repeatability == pytest.approx(1, abs=1e-6)
    assert -1 <= certificate.randomisation < 0.9


def test_it_is_one_line_of_words(certificate):
    words = str(certificate)
    assert "\n" not in words
    assert words.startswith("image, ring, Grad-CAM: ")
    assert f"insertion {certificate.areas['insertion'][0]:.3f} beats {certificate.beaten('insertion')} of 9" in words
    assert words.endswith("alike with random weights; the same map each time.")


def test_the_same_call_gives_the_same_bytes(model, certificate, tmp_path):
    again = cnnviz.certify(model, cnnviz.draw_scene(3).pixels, budget=4, maps=9)
    for name in ("a.json", "a.png"):
        one, other = certificate.save(tmp_path / name), again.save(tmp_path / f"b{name}")
        assert one.read_bytes() == other.read_bytes()
    held = json.loads((tmp_path / "a.json").read_text())
    assert held["deletion"]["value"] == certificate.areas["deletion"][0]
    assert held["words"] == str(certificate)
    assert json.loads(cnnviz.read_note(tmp_path / "a.json"))["cnnviz"]["method"] == "certify"


def test_a_map_without_a_positive_value_says_so():
    torch.manual_seed(0)
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    module = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.ReLU(), *head)
    with torch.no_grad():
        head[2].weight.copy_(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))
    model = cnnviz.Model(module, input_size=12, mean=(0, 0, 0), std=(1, 1, 1))
    found = cnnviz.certify(model, torch.rand(1, 3, 12, 12), 0, budget=2, maps=3)
    assert not found.defined
    assert math.isnan(found.areas["deletion"][0])
    assert str(found).endswith("nothing can be told: the map has no positive value.")


def test_refusals(model):
    scenes = [cnnviz.draw_scene(index).pixels for index in range(2)]
    with pytest.raises(UsageError, match="A certificate is of one picture; got 2"):
        cnnviz.certify(model, scenes)
    with pytest.raises(UnknownNameError, match="There is no method 'gradcma'"):
        cnnviz.certify(model, scenes[0], method="gradcma")
    with pytest.raises(ParameterError, match="budget must be at least 2"):
        cnnviz.certify(model, scenes[0], budget=1)
    assert np.isfinite(cnnviz.certify(model, scenes[0], "star", method="saliency", budget=2, maps=2).values).all()
