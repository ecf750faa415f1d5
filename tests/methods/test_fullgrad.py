"""FullGrad: the terms add up to the score where they should, and where they do not this is said."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from cnnviz import Model, fullgrad
from cnnviz.errors import ExplanationError
from tests.support.networks import Small, Tabled, Twice, model_of, settled_norm
from tests.support.torchvision_nets import noise, torchvision_net


def error_of(found) -> float:
    (said,) = (check for check in found.checks if check.startswith("completeness"))
    return float(re.search(r"but for ([\d.e+-]+) of it", said)[1])


class Piecewise(nn.Module):
    """Everything that is piecewise linear: strides, groups, batch norm with and without weights, pooling, ReLU6."""

    def __init__(self, activation=None) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 8, 3, stride=2, bias=False), settled_norm(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, groups=8, padding=1), nn.BatchNorm2d(8, affine=False)
        self.norm2.running_mean.normal_(0, 0.3)
        self.norm2.running_var.uniform_(0.5, 2)
        self.activation = activation or nn.LeakyReLU(0.1, inplace=True)
        self.fc1, self.fc2 = nn.Linear(32, 12), nn.Linear(12, 5)

    def forward(self, x):
        x = self.activation(self.norm1(self.conv1(x)))
        x = x + self.activation(self.norm2(self.conv2(x)))
        x = functional.avg_pool2d(functional.max_pool2d(x, 3), 2)
        return self.fc2(self.activation(self.fc1(x.flatten(1))))


@pytest.mark.parametrize("build", [Small, Piecewise, Twice, lambda: Twice(inplace=True)])
def test_a_piecewise_linear_network_adds_up(build):
    found = fullgrad(model_of(build().double(), labels=None), noise(3, 32, torch.float64))
    assert error_of(found) < 1e-6
    assert "not piecewise linear" not in " ".join(found.checks)


class Mirrored(Small):
    """Asks itself about every image and its mirror image, as one batch."""

    def forward(self, x):
        return super().forward(torch.cat([x, x.flip(3)])).reshape(2, len(x), -1).mean(dim=0)


def test_layers_that_run_on_more_than_the_images_are_refused():
    with pytest.raises(ExplanationError, match="runs layers on 6 images or windows where 3 were given"):
        fullgrad(model_of(Mirrored()), noise(3, 32))


def test_what_is_made_once_for_all_images_is_left_out():
    assert np.asarray(fullgrad(model_of(Tabled()), noise(3, 32))).shape == (3, 32, 32)


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "mobilenet_v2"])
def test_torchvisions_piecewise_linear_networks_add_up(name):
    """ReLU6 is constant above 6, where it adds what no bias accounts for; below it is a ReLU."""
    net = torchvision_net(name, dtype=torch.float64)
    relu6 = {part: part.max_val for part in net.modules() if isinstance(part, nn.ReLU6)}
    for part in relu6:
        part.max_val = 1e9
    assert error_of(fullgrad(Model(net, input_size=64), noise(2, 64, torch.float64), 3)) < 1e-6


@pytest.mark.parametrize("activation", [nn.GELU(), nn.SiLU(), nn.Sigmoid()])
def test_a_network_that_is_not_piecewise_linear_does_not_and_this_is_said(activation):
    found = fullgrad(model_of(Piecewise(activation).double(), labels=None), noise(2, 32, torch.float64), 1)
    assert error_of(found) > 0.05
    assert any(
        "the network is not piecewise linear, or has biases that are not seen" in check for check in found.checks
    )


def test_a_bias_that_no_layer_holds_is_missed_and_this_is_said():
    class Shifted(Small):
        def forward(self, x):
            return super().forward(x) + 3

    found = fullgrad(model_of(Shifted().double()), noise(2, 32, torch.float64), 1)
    assert error_of(found) > 0.05
    assert any("biases that are not seen" in check for check in found.checks)


def stretched(values):
    size = values.abs()
    low, high = size.amin(dim=(1, 2, 3), keepdim=True), size.amax(dim=(1, 2, 3), keepdim=True)
    return (size - low) / (high - low)


def test_the_map_is_what_the_paper_adds_up(inputs):
    """An explicit recomputation: every bias a tensor of its own in a forward that is written out."""
    net = Small().double().eval()
    inputs = inputs.double().requires_grad_()
    found = fullgrad(model_of(net), inputs.detach(), 2).values
    scale = net.norm1.weight / (net.norm1.running_var + net.norm1.eps).sqrt()
    shift = net.norm1.bias - net.norm1.running_mean * scale
    terms = [torch.zeros(3, 8, 32, 32), torch.zeros(3, 8, 32, 32), torch.zeros(3, 6, 8, 8)]
    terms = [
        (each.double() + bias.detach()[:, None, None]).requires_grad_()
        for each, bias in zip(terms, (net.conv1.bias, shift, net.conv2.bias), strict=True)
    ]
    x = functional.conv2d(inputs, net.conv1.weight, padding=1) + terms[0]
    x = functional.max_pool2d(functional.relu(x * scale[:, None, None] + terms[1]), 4)
    x = functional.relu(functional.conv2d(x, net.conv2.weight, padding=1) + terms[2])
    score = net.fc(x.mean(dim=(2, 3)))[:, 2].sum()
    gradients = torch.autograd.grad(score, [inputs, *terms])
    expected = 0
    for value, gradient in zip([inputs, *terms], gradients, strict=True):
        wide = functional.interpolate(stretched(value * gradient), size=(32, 32), mode="bilinear", align_corners=False)
        expected = expected + wide.sum(dim=1)
    assert np.abs(found - expected.detach().numpy()).max() <= 1e-6 * float(expected.detach().max())


def test_a_unit_is_a_score_like_any_other():
    net = Small().double()
    found = fullgrad(model_of(net), noise(2, 32, torch.float64), ["conv2:3", "relu2:1"])
    assert error_of(found) < 1e-6
    assert [str(target) for target in found.targets] == ["conv2:3", "relu2:1"]
