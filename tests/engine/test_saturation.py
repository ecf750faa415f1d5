"""Layers that end in a function with a ceiling are recorded before it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from cnnviz.engine.tally.recorder import PeakRecorder, observe_outputs
from cnnviz.engine.undisturbed import undisturbed


class Ending(nn.Module):
    """A convolution and a function after it, as one layer."""

    def __init__(self, function) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.function = function

    def forward(self, x):
        return self.function(20 * self.conv(x))


class Net(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.block = Ending(function)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(self.block(x).mean(dim=(2, 3)))


SATURATING = {
    "ReLU6": (nn.ReLU6(), "relu6"),
    "ReLU6 in place": (nn.ReLU6(inplace=True), "relu6"),
    "Hardtanh": (nn.Hardtanh(), "hardtanh"),
    "Tanh": (nn.Tanh(), "tanh"),
    "Sigmoid": (nn.Sigmoid(), "sigmoid"),
    "Hardsigmoid": (nn.Hardsigmoid(), "hardsigmoid"),
    "Softsign": (nn.Softsign(), "softsign"),
    "dropout after": (nn.Sequential(nn.Tanh(), nn.Dropout2d()), "tanh"),
    "tanh_": (torch.Tensor.tanh_, "tanh"),
    "clamp": (lambda x: x.clamp(0, 1), "clamp"),
    "clamp with a ceiling alone": (lambda x: torch.clamp(x, max=2.0), "clamp"),
    "relu6 of the functions": (functional.relu6, "relu6"),
}
PASSING = {
    "ReLU": nn.ReLU(),
    "Hardswish": nn.Hardswish(),
    "clamp from below": lambda x: x.clamp(min=0),
    "a gate": lambda x: x * torch.sigmoid(x),
    "overwritten": lambda x: torch.tanh(x).add_(x),
    "augmented": lambda x: torch.tanh(x).__iadd__(x),
    "pooled": lambda x: functional.max_pool2d(torch.tanh(x), 2),
}


def recorded(net, layers, inputs):
    with undisturbed(net):
        found = observe_outputs(net, inputs[:1], layers)
        with PeakRecorder(net, found) as recorder:
            return found, recorder(inputs.clone())


@pytest.mark.parametrize("case", SATURATING)
def test_the_value_before_is_recorded(case):
    function, name = SATURATING[case]
    net, inputs = Net(function).eval(), torch.randn(5, 3, 8, 8)
    (found,), (values, places) = recorded(net, ["block"], inputs)
    with torch.no_grad():
        before = (20 * net.block.conv(inputs)).flatten(2)
    assert found.ranked == f"the layer before its {name}"
    assert torch.equal(values, before.amax(dim=2))
    assert torch.equal(before.gather(2, places.long()[:, :, None])[:, :, 0], values)
    assert values.unique().numel() == values.numel()


@pytest.mark.parametrize("case", PASSING)
def test_other_endings_are_recorded_as_they_are(case):
    net, inputs = Net(PASSING[case]).eval(), torch.randn(5, 3, 8, 8)
    (found,), (values, _) = recorded(net, ["block"], inputs)
    with torch.no_grad():
        after = net.block(inputs).flatten(2)
    assert found.ranked == "the layer's output"
    assert torch.equal(values, after.amax(dim=2))


def test_layers_with_and_without_a_ceiling_in_one_forward():
    net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU6(inplace=True)), nn.Conv2d(4, 5, 3), nn.Tanh()).eval()
    inputs = torch.randn(2, 3, 9, 9)
    _, (values, _) = recorded(net, ["2", "0", "0.0", "0.1", "1"], inputs)
    with torch.no_grad():
        first = net[0][0](inputs)
        second = net[1](first.clamp(0, 6))
    expected = [each.flatten(2).amax(dim=2) for each in (second, first, first, first, second)]
    assert torch.equal(values, torch.cat(expected, dim=1))
