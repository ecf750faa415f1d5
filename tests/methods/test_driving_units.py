"""The units that drive an answer: closed forms, and what really happens when they are taken away."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cnnviz import Model
from cnnviz.errors import ExplanationError, UnknownNameError
from cnnviz.methods.prepare import prepare
from cnnviz.reporting.driving_units import driving_units
from tests.support.networks import OneConvolution, Small, model_of


class ClassMaps(nn.Module):
    """Like SqueezeNet: the last maps are the classes' own, so that each adds to one logit only."""

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.drop = nn.Dropout(0.5)
        self.head = nn.Sequential(nn.Conv2d(6, 5, 1), nn.ReLU())

    def forward(self, x):
        return self.head(self.drop(self.early(x))).mean(dim=(2, 3))


def found_on(model, inputs, target=None, **settings):
    given = {"layer": None, "count": 4, "batch_size": 2} | settings
    return driving_units(model, prepare(model, inputs, target), **given)


def test_what_units_add_is_weight_times_mean_where_the_head_is_linear():
    net, inputs = OneConvolution(), torch.randn(2, 2, 9, 7, dtype=torch.float64)
    model = Model(net, mean=(0.0,), std=(1.0,), input_size=(9, 7), channels=2)
    found, _ = found_on(model, inputs, 1, layer="conv")
    with torch.no_grad():
        expected = net.fc.weight[1] * net.conv(inputs).mean(dim=(2, 3))
    for one, terms in zip(found, expected, strict=True):
        speaking = terms.clamp_min(0).sum()
        order = [int(unit) for unit in terms.argsort(descending=True) if terms[unit] > 0]
        assert [unit.unit.channel for unit in one] == order[:4]
        assert one.positive == len(order)
        for unit in one:
            term = float(terms[unit.unit.channel])
            assert unit.contribution == pytest.approx(term, rel=1e-9)
            assert unit.share == pytest.approx(term / float(speaking), rel=1e-9)
            assert unit.drop == pytest.approx(term, rel=1e-6)


def test_drops_are_what_removal_costs(inputs):
    net = Small()
    found, _ = found_on(model_of(net), inputs, layer="conv2")
    net.eval()
    for row, one in enumerate(found):
        for unit in one:

            def hook(_module, _given, output, channel=unit.unit.channel):
                output = output.clone()
                output[:, channel] = 0
                return output

            handle = net.conv2.register_forward_hook(hook)
            with torch.no_grad():
                without = float(net(inputs[row, None])[0, one.target.index])
            handle.remove()
            assert unit.drop == pytest.approx(one.score - without, abs=1e-5)


def test_units_that_are_the_classes_themselves_are_passed_over(inputs):
    model = model_of(ClassMaps())
    found, made = found_on(model, inputs)
    assert {one.layer for one in found} == {"early"} or {one.layer for one in found} == {"early.1"}
    assert made.layer == found[0].layer
    named, _ = found_on(model, inputs, layer="head")
    assert all(len(one) <= 1 for one in named)
    assert all(one[0].unit.channel == one.target.index for one in named if one.units)


def test_maps_are_the_units_activations(inputs):
    net = Small()
    found, _ = found_on(model_of(net), inputs, layer="conv2")
    net.eval()
    with torch.no_grad():
        maps = net.conv2(net.middle(net.down(net.relu1(net.norm1(net.conv1(inputs)))))).numpy()
    for row, one in enumerate(found):
        for unit in one:
            np.testing.assert_allclose(unit.heatmap.values, maps[row, unit.unit.channel], rtol=1e-4, atol=1e-5)


def test_the_batch_size_does_not_matter(inputs):
    model = model_of(Small())
    one, many = (found_on(model, inputs, batch_size=size)[0] for size in (1, 3))
    assert [[unit.unit for unit in each] for each in one] == [[unit.unit for unit in each] for each in many]


def test_what_cannot_be_asked_is_said(inputs):
    with pytest.raises(UnknownNameError, match="no layer 'conv3'"):
        found_on(model_of(Small()), inputs, layer="conv3")
    with pytest.raises(ExplanationError, match="does not depend"):
        found_on(model_of(Small()), inputs, "conv1:2", layer="conv2")
