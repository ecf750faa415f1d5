"""Maxima of many layers, reduced while the network runs and not beyond the last of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cnnviz.engine.tally.recorder import PeakRecorder, observe_outputs
from cnnviz.engine.undisturbed import undisturbed
from cnnviz.errors import ExplanationError
from tests.support.asking import state_of
from tests.support.networks import Small, Twice, swin, vit


def recorded(net, layers, inputs):
    with undisturbed(net):
        found = observe_outputs(net, inputs[:1], layers)
        with PeakRecorder(net, found) as recorder:
            return found, recorder(inputs)


def test_values_are_those_before_anything_overwrites_them(inputs):
    net = Small().eval()
    _, (values, _) = recorded(net, ["norm1", "relu1", "conv1", "fc"], inputs)
    with torch.no_grad():
        conv = net.conv1(inputs)
        norm = net.norm1(conv)
        expected = [each.flatten(2).amax(dim=2) for each in (norm, norm.relu(), conv)]
    assert torch.equal(values, torch.cat([*expected, net(inputs).detach()], dim=1))


def test_the_first_of_equal_places_counts():
    net = nn.Sequential(nn.Identity(), nn.Conv2d(1, 1, 1))
    maps = torch.zeros(3, 1, 4, 5)
    maps[1, 0, 2, 3] = maps[1, 0, 1, 4] = maps[1, 0, 3, 0] = 1
    maps[2] = -1
    _, (values, places) = recorded(net, ["0"], maps)
    assert values[:, 0].tolist() == [0, 1, -1]
    assert places[:, 0].tolist() == [0, 1 * 5 + 4, 0]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_places_in_any_memory_layout(layout, inputs):
    net = Small().eval().to(memory_format=layout)
    _, (values, places) = recorded(net, ["conv2"], inputs.to(memory_format=layout))
    with torch.no_grad():
        maps = net.conv2(net.down(net.relu1(net.norm1(net.conv1(inputs.to(memory_format=layout))))))
    flat = maps.flatten(2)
    assert torch.equal(values, flat.amax(dim=2))
    assert torch.equal(flat.gather(2, places.long()[:, :, None])[:, :, 0], values)


def test_nothing_runs_after_the_last_layer(inputs):
    net = Small().eval()
    ran = []
    net.relu2.register_forward_hook(lambda *_: ran.append(1))
    with undisturbed(net):
        found = observe_outputs(net, inputs[:1], ["conv1", "conv2"])
        ran.clear()
        with PeakRecorder(net, found) as recorder:
            recorder(inputs)
            recorder(inputs)
    assert not ran


def test_calls_of_one_layer(inputs):
    net = Twice().eval()
    found, (values, _) = recorded(net, ["shared", "shared#1", "shared#2"], inputs)
    assert [each.call for each in found] == [2, 1, 2]
    assert torch.equal(values[:, :4], values[:, 8:])
    assert not torch.equal(values[:, :4], values[:, 4:8])


@pytest.mark.parametrize(
    ("build", "layer", "grid"), [(vit, "encoder.layers.encoder_layer_1", (4, 4)), (swin, "features.3", (8, 8))]
)
def test_tokens_and_channels_last(build, layer, grid, inputs):
    net = build().eval()
    held = []
    net.get_submodule(layer).register_forward_hook(lambda part, given, output: held.append(output.detach()))
    (found,), (values, places) = recorded(net, [layer], inputs)
    output = held[-1]
    maps = output[:, 1:] if output.dim() == 3 else output.flatten(1, 2)
    assert found.grid == grid
    assert torch.equal(values, maps.amax(dim=1))
    assert torch.equal(maps.gather(1, places.long()[:, None])[:, 0], values)


def test_the_network_comes_back_as_it_was(inputs):
    net = Small()
    before = state_of(net)
    recorded(net, ["relu1", "conv2"], inputs)
    assert state_of(net) == before


@pytest.mark.parametrize(("net", "layer"), [(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(1, 2)), "1")])
def test_layers_without_units_are_refused(net, layer, inputs):
    with pytest.raises(ExplanationError, match="no units"):
        recorded(net, [layer], inputs)


def test_a_layer_that_is_not_run(inputs):
    net = Small().eval()
    net.spare = nn.Conv2d(3, 3, 1)
    with pytest.raises(ExplanationError, match="not run"):
        recorded(net, ["spare"], inputs)
