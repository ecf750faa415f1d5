"""No map is drawn that is all zero, or rounding, without a sentence that says why."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import cnnviz
from cnnviz.errors import CnnvizError
from cnnviz.results.attribution import Attributions
from cnnviz.results.heatmap import Heatmaps
from tests.support.asking import METHODS, ask
from tests.support.networks import Small, model_of

ZERO, FLAT, EVEN, ALIKE = "zero everywhere", "is flat", "is constant", "all channels have equal weights"
LOGIT = "try score='logit'"


def without_weights():
    net = Small()
    for weight in net.parameters():
        weight.data.zero_()
    return net


def saturated(bias=90.0):
    """The second class has probability 1, to the last digit."""
    net = Small()
    net.fc.weight.data.mul_(1e-6)
    net.fc.bias.data[1] = bias
    return net


def dead():
    """A layer whose ReLU never opens."""
    net = Small()
    net.conv2.bias.data.fill_(-100)
    return net


NETWORKS = {"no weights": without_weights, "saturated": saturated, "a dead layer": dead}


def says_why(found):
    """Whether a result that has nothing to show says so, in what it lists or in the picture."""
    if isinstance(found, cnnviz.Patches):
        return any(check.startswith("the units shown are dead") for check in found.checks)
    if isinstance(found, cnnviz.Filters):
        return any(check.startswith("dead (norm") for check in found.checks)
    return any(word in check for check in found.checks for word in (ZERO, FLAT, EVEN, ALIKE))


def says_nothing(found):
    """Whether a result has nothing to show: zeros, one value everywhere, rounding, or a picture that never moved."""
    if isinstance(found, cnnviz.Images):
        return all(np.ptp(one.history) == 0 for one in found)
    if isinstance(found, cnnviz.Patches):
        return not np.nan_to_num(found.top.values).any()
    values = np.asarray(found)
    blank = isinstance(found, (Heatmaps, Attributions)) and all(one.blank for one in found)
    return blank or not values.any() or (isinstance(found, Heatmaps) and np.ptp(values) == 0)


@pytest.mark.parametrize("state", NETWORKS)
@pytest.mark.parametrize("name", METHODS)
def test_a_map_that_says_nothing_says_so(name, state, inputs):
    try:
        found = ask(name, model_of(NETWORKS[state]()), inputs[:2], 1)
    except CnnvizError:
        return
    silent = says_nothing(found)
    assert silent or state != "no weights"
    assert says_why(found) == (silent or (name == "scorecam" and state == "saturated"))


def nearly_saturated(dtype, scale):
    """Its logit of 14 changes by a few times the scale, its probability by four millionths of that."""
    net = Small()
    net.fc.weight.data.mul_(scale)
    net.fc.bias.data[1] = 14.0
    return model_of(net.to(dtype))


@pytest.mark.parametrize("name", ["occlusion", "rise"])
def test_rounding_is_drawn_as_zero_and_the_logit_advised(name, inputs):
    found = ask(name, nearly_saturated(torch.float32, 3e-4), inputs[:1], 1)
    assert 0 < np.abs(found.values).max() <= found[0].rounding < 1e-10
    assert found[0].blank
    assert found[0].scale().blank
    assert any(FLAT in check and LOGIT in check for check in found.checks)
    alone, shared = found[0].cells(cnnviz.Look(style="map")), found.grid(style="map", shared=True).sheet.rows[0]
    for (cell,) in (alone, shared):
        assert len(np.unique(cell.pixels.reshape(-1, 3), axis=0)) == 1


@pytest.mark.parametrize("name", ["occlusion", "rise", "feature_occlusion"])
@pytest.mark.parametrize(
    ("dtype", "scale", "settings"), [(torch.float64, 3e-4, {}), (torch.float32, 1e-2, {"score": "logit"})]
)
def test_what_is_more_than_rounding_is_drawn(name, dtype, scale, settings, inputs):
    found = ask(name, nearly_saturated(dtype, scale), inputs[:1].to(dtype), 1, **settings)
    assert 0 < found[0].rounding < np.abs(found.values).max()
    assert not found[0].blank
    assert not any(FLAT in check or ZERO in check for check in found.checks)


class Squashed(nn.Module):
    """What comes after the layer is a tanh that is full: removing a channel changes the score by rounding alone."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.fc = nn.Linear(6, 5)
        self.fc.bias.data.fill_(8)

    def forward(self, x):
        return self.fc(self.body(x).mean((2, 3))).tanh() * 50


def test_ablated_channels_that_change_rounding_alone(inputs):
    single, double = (
        cnnviz.ablationcam(model_of(Squashed().to(dtype)), inputs[:1].to(dtype), 1)
        for dtype in (torch.float32, torch.float64)
    )
    assert single[0].blank
    assert any(FLAT in check or ZERO in check for check in single.checks)
    assert not double[0].blank
    assert np.abs(double.values).max() < single[0].rounding


def test_nothing_positive_is_said(inputs):
    net = Small()
    net.fc.weight.data.abs_().neg_()
    found = cnnviz.gradcam(model_of(net), inputs, 1)
    assert found.values.any()
    assert any("no positive values, so nothing is drawn" in check for check in found.checks)


def test_fullgrad_does_not_stretch_rounding():
    """Every term of this network is the same everywhere, but for the last digit."""
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 5))
    last = torch.finfo(torch.float32).eps * torch.randint(2, (1, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    model = model_of(net, mean=(0.0,), std=(1.0,), channels=1, input_size=8)
    assert not cnnviz.fullgrad(model, 1 + last, 1).values.any()
