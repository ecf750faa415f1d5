"""What the maps cannot say is said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from cnnviz import Model, cam, gradcam, gradcam_plusplus, hirescam, layercam, maximize, patches, reciprocam, xgradcam
from cnnviz.catalogue import CAMS, CATALOGUE
from cnnviz.errors import ExplanationError
from tests.support.asking import METHODS, ask, method_of
from tests.support.networks import ByHooks, Small, Twice, model_of
from tests.support.torchvision_nets import noise, torchvision_net

COINCIDE = "Grad-CAM, XGrad-CAM and HiResCAM are identical for this layer"
SAME = "are identical: this map is not class-discriminative"
LAYERED = [name for name in METHODS if CATALOGUE[name].family == CAMS and "layer" in method_of(name).parameters]
RECTIFIED = [name for name in LAYERED if {"relu", "target"} <= {*method_of(name).parameters, *method_of(name).needs}]

LOOKING = [name for name in METHODS if {"images", "data"} & set(method_of(name).needs)]


def said(found, words):
    return any(words in check for check in found.checks)


@pytest.mark.parametrize(("name", "factor"), [("resnet18", 4), ("densenet121", 4), ("squeezenet1_1", 9)])
def test_at_the_last_layer_of_a_gap_network_four_methods_are_one(name, factor):
    """DenseNet's last layer has a functional ReLU after it, whose output is taken; the layer's own maps differ."""
    net = torchvision_net(name, dtype=torch.float64)
    model, inputs = Model(net, input_size=64), noise(2, 64, torch.float64)
    plain, others = gradcam(model, inputs, 3), [method(model, inputs, 3) for method in (xgradcam, hirescam)]
    if name == "densenet121":
        before, there = (method(model, inputs, 3, layer="features") for method in (gradcam, hirescam))
        assert not said(before, COINCIDE)
        assert np.abs(before.values - there.values).max() > 1e-3 * np.abs(before.values).max()
    classes = cam(model, inputs, 3).values
    for each in (plain, *others):
        scaled = factor * each.values
        if name != "squeezenet1_1":
            assert np.abs(scaled - classes).max() <= 1e-5 * np.abs(classes).max()
        assert np.abs(each.values - plain.values).max() <= 1e-5 * np.abs(plain.values).max()
        assert said(each, COINCIDE)


def test_the_small_networks_cam_is_its_gradcam_times_the_places(small, inputs):
    classes = cam(small, inputs, 1).values
    for method in (gradcam, xgradcam, hirescam):
        found = method(small, inputs, 1)
        assert np.abs(64 * found.values - classes).max() <= 1e-5 * np.abs(classes).max()
        assert said(found, COINCIDE)
    elsewhere = gradcam(small, inputs, 1, layer="conv1")
    assert not said(elsewhere, COINCIDE)
    assert np.abs(elsewhere.values - hirescam(small, inputs, 1, layer="conv1").values).max() > 0


@pytest.mark.parametrize("name", RECTIFIED)
def test_a_blank_map_is_said_in_the_caption(name, inputs):
    net = Small().eval()
    with torch.no_grad():
        net.fc.weight.abs_().neg_()
        net.fc.bias[0] = -3
    settings = {"score": "logit"} if name in ("reciprocam", "shapleycam") else {}
    found = ask(name, model_of(net), inputs, "cat", **settings)
    blank = not bool((found.values > 0).any())
    assert blank or name in ("scorecam", "eigengradcam")
    for each in found:
        assert each.blank == blank
        assert ("no positive evidence for 'cat'" in each.caption()) == blank


def test_a_map_with_one_value_everywhere_is_said(inputs):
    """A class so sure that its probability is 1 wherever the layer responds."""
    net = Small().eval()
    with torch.no_grad():
        net.fc.bias[0] = 80
    found, other = (reciprocam(model_of(net), inputs, "cat", score=score) for score in ("probability", "logit"))
    assert np.ptp(found.values) == 0
    assert said(found, "is constant")
    assert np.ptp(other.values) > 0
    assert not said(other, "is constant")


class Alike(nn.Module):
    """Two of its classes differ in nothing but how much they like the same maps."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.fc = nn.Linear(6, 3)
        with torch.no_grad():
            self.fc.weight[0] = torch.rand(6)
            self.fc.weight[1] = 0.5 * self.fc.weight[0]
            self.fc.weight[2] = -torch.rand(6)
            self.fc.bias.zero_()

    def forward(self, x):
        return self.fc(self.body(x).mean(dim=(2, 3)))


@pytest.mark.parametrize("method", [gradcam, gradcam_plusplus, xgradcam, hirescam, layercam])
def test_a_map_that_does_not_tell_classes_apart_says_so(method, inputs):
    model = model_of(Alike(), labels=("cat", "lynx", "boat"))
    found = method(model, inputs)
    assert said(found, f"the maps of 'cat' and 'lynx' {SAME}")
    assert said(method(model, inputs, "lynx"), f"the maps of 'lynx' and 'cat' {SAME}")


def test_a_map_that_does_tell_them_apart_does_not(small, inputs):
    assert not said(gradcam(small, inputs), SAME)
    assert not said(gradcam(small, inputs, "cat - dog"), SAME)


@pytest.mark.parametrize("name", METHODS)
def test_only_an_answer_that_is_not_finite_is_said_to_be(name, small, inputs):
    assert not said(ask(name, small, inputs, 1), "not finite")


@pytest.mark.parametrize("name", LOOKING)
def test_an_answer_that_is_not_finite_is_said(name, small, inputs, tmp_path):
    inputs[1] = torch.nan
    try:
        found = ask(name, small, inputs, 1)
        found.save(tmp_path / "map.png")
        sentences = found.checks
    except ExplanationError as error:
        sentences = (str(error),)
    assert any("finite" in sentence for sentence in sentences)


def test_a_layer_that_only_a_hook_passes_on_is_found(inputs):
    assert gradcam(model_of(ByHooks()), inputs, 1).layer == "body.3"


@pytest.mark.parametrize("name", ["occlusion", "rise", "scorecam", "maximize"])
def test_a_network_that_its_own_hooks_feed_is_not_copied(name, inputs):
    net = ByHooks().eval()
    net(inputs[:1])
    assert np.ptp(np.asarray(ask(name, model_of(net), inputs[:1], 1))) > 0


def test_the_automatic_layer_and_repeated_layers_are_said(small, inputs):
    assert said(
        gradcam(small, inputs), "layer relu2, chosen automatically: the last spatial layer that the target depends on"
    )
    assert not said(gradcam(small, inputs, layer="relu2"), "chosen")
    assert said(gradcam(model_of(Twice()), inputs, 1, layer="relu"), "layer relu runs 2 times in a forward")
    assert not said(gradcam(model_of(Twice()), inputs, 1, layer="relu#2"), "runs 2 times")


class Restless(Twice):
    """Its dropout is always on."""

    def forward(self, x):
        return super().forward(functional.dropout(x))


def test_pictures_of_units_say_which_call_they_show_and_that_the_network_is_random():
    model = model_of(Restless())
    pictures = [np.random.default_rng(seed).integers(0, 255, (32, 32, 3), dtype=np.uint8) for seed in range(3)]
    for found in (maximize(model, "relu:1", steps=1), patches(model, pictures, layer="relu", k=2, show=2)):
        assert said(found, "layer relu runs 2 times in a forward; its last run is shown")
        assert said(found, "the network answers differently each time")
    first = patches(model_of(Twice()), pictures, layer="shared#1", k=2, show=2)
    assert not said(first, "runs 2 times")
    assert first.top.boxes[0, 0, 2] - first.top.boxes[0, 0, 0] == 14


class Aside(Small):
    """Computes something else last, with places, that the logits do not need."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = nn.Conv2d(3, 2, 3)

    def forward(self, x):
        return {"logits": super().forward(x), "mask": self.decoder(x)}


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", LAYERED)
def test_a_later_layer_that_the_target_does_not_need_is_not_chosen(name, frozen, inputs):
    net, plain = Aside(), Small()
    plain.load_state_dict({key: value for key, value in net.state_dict().items() if "decoder" not in key})
    net.requires_grad_(requires_grad=not frozen)
    found = ask(name, model_of(net), inputs, 1)
    assert found.provenance.layer == "relu2"
    expected = ask(name, model_of(plain), inputs, 1)
    assert np.allclose(np.asarray(found), np.asarray(expected), atol=1e-5)
