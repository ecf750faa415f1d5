"""FullGrad: the terms add up to the score where they should, and where they do not this is said."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from cnnviz import Model, fullgrad
from cnnviz.engine.biases import full_gradients
from cnnviz.engine.undisturbed import undisturbed
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
    assert "the rest is" not in " ".join(found.checks)


class Mirrored(Small):
    """Asks itself about every image and its mirror image, as one batch."""

    def forward(self, x):
        return super().forward(torch.cat([x, x.flip(3)])).reshape(2, len(x), -1).mean(dim=0)


def test_layers_that_run_on_more_than_the_images_are_refused():
    with pytest.raises(ExplanationError, match="runs layers on 6 images or windows where 3 were given"):
        fullgrad(model_of(Mirrored()), noise(3, 32))


class Summed(Small):
    """Adds a constant to a number that all pictures share, as detectors do to the largest coordinate of their boxes."""

    def forward(self, x):
        found = super().forward(x)
        return found + 0 * (found.max() + torch.tensor(1.0))


def test_a_number_that_all_pictures_share_belongs_to_none():
    net, plain = Summed(), Small()
    plain.load_state_dict(net.state_dict())
    found, right = (fullgrad(model_of(each), noise(2, 32), 1).values for each in (net, plain))
    np.testing.assert_array_equal(found, right)


def test_what_is_made_once_for_all_images_is_left_out():
    assert np.asarray(fullgrad(model_of(Tabled()), noise(3, 32))).shape == (3, 32, 32)


@pytest.mark.parametrize(
    "name", ["resnet18", "squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "regnet_y_400mf"]
)
def test_torchvisions_networks_add_up(name):
    """ReLU6, Hardswish, SiLU and the gates of squeeze-and-excitation included."""
    net = torchvision_net(name, dtype=torch.float64)
    assert error_of(fullgrad(Model(net, input_size=64), noise(2, 64, torch.float64), 3)) < 1e-9


CURVED = {
    "ReLU6": nn.ReLU6(),
    "ReLU6 in place": nn.ReLU6(inplace=True),
    "Hardswish": nn.Hardswish(),
    "SiLU in place": nn.SiLU(inplace=True),
    "GELU": nn.GELU(),
    "Mish": nn.Mish(),
    "ELU": nn.ELU(),
    "Softplus": nn.Softplus(),
    "sigmoid": nn.Sigmoid(),
    "tanh": torch.Tensor.tanh_,
    "clamp": lambda x: x.clamp(-0.1, 0.2),
    "clamp by name": lambda x: torch.clamp(input=x, max=0.1),
    "a square": lambda x: x**2,
    "a gate of its own": lambda x: x * torch.sigmoid(x),
    "a gate in place": lambda x: (x * 1).mul_(x.sigmoid()),
    "a gate of all places": lambda x: x * x.mean(dim=-1, keepdim=True),
    "a quotient": lambda x: x / x.exp().mean(dim=1, keepdim=True),
    "an inverse": lambda x: 1 / (2 + x.tanh()),
    "another inverse": lambda x: (2 - x.tanh()).reciprocal(),
    "a norm of groups": lambda x: functional.group_norm(x, 2),
    "a norm of channels": lambda x: functional.layer_norm(x, x.shape[1:]),
    "a softmax": lambda x: x.softmax(dim=1),
    "a constant": lambda x: 3 - (x + 2),
    "places with places": lambda x: x @ x.mT if x.dim() == 4 else x,
    "a product with a weight": lambda x: x * nn.Parameter(torch.tensor(2.0)),
    "overwritten": lambda x: functional.silu(x).add_(x).mul_(2),
}  # fmt: skip


@pytest.mark.parametrize("name", CURVED)
def test_what_is_not_linear_has_a_bias_of_its_own(name):
    model = model_of(Piecewise(CURVED[name]).double(), labels=None)
    model.module.conv1.weight.data.mul_(20)
    found = fullgrad(model, noise(2, 32, torch.float64), 1)
    assert error_of(found) < 1e-9
    assert "the rest is" not in " ".join(found.checks)


def test_a_saturated_unit_adds_six():
    """One pixel of 8, three of 1: of the sum of 9 the first gives 6 as a bias, the others 3 as input times gradient."""
    net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    net[0].weight.data.fill_(1)
    picture = torch.tensor([[[[8.0, 1.0], [1.0, 1.0]]]]).double()
    model = model_of(net, mean=(0.0,), std=(1.0,), input_size=2, channels=1, labels=None)
    with undisturbed(net):
        found = full_gradients(net, net, picture, lambda logits: logits[:, 0])
    ((term, arrangement),) = found.biases
    assert torch.equal(4 * term, torch.tensor([[[[6.0, 0.0], [0.0, 0.0]]]]).double())
    assert torch.equal(4 * found.inputs, torch.tensor([[[[0.0, 1.0], [1.0, 1.0]]]]).double())
    assert arrangement.grid == (2, 2)
    assert fullgrad(model, picture).values.tolist() == [[[1.0, 1.0], [1.0, 1.0]]]


class Attending(Small):
    """Between two layers every place asks all others, in one function."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        x = self.down(self.relu1(self.norm1(self.conv1(x))))
        tokens = x.flatten(2).transpose(1, 2)
        x = x + self.attention(tokens, tokens, tokens)[0].transpose(1, 2).view_as(x)
        return self.fc(self.relu2(self.conv2(x)).mean(dim=(2, 3)))


def test_terms_of_other_kinds_are_missed_and_this_is_said():
    net = Attending().double()
    net.attention.in_proj_bias.data.normal_()
    found = fullgrad(model_of(net), noise(2, 32, torch.float64), 1)
    assert error_of(found) > 0.05
    assert any("attention in one function" in check for check in found.checks)


def test_a_layers_values_lie_in_the_middle_of_their_share_of_the_input():
    """Where its units look, as VGG's do; corner to corner it would be at (5, 10)."""
    net = nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    found = fullgrad(model_of(net, input_size=16), torch.zeros(1, 3, 16, 16), "0:2@1,2").values[0]
    assert model_of(net, input_size=16).layers["0"].field.centre(1, 2) == (5.5, 9.5)
    for axis, centre in ((1, 5.5), (0, 9.5)):
        line = found.sum(axis=axis)
        assert line @ np.arange(16) / line.sum() == pytest.approx(centre, abs=1e-5)


def test_a_bias_that_no_layer_holds_counts_too():
    class Shifted(Small):
        def forward(self, x):
            return super().forward(x) + 3

    assert error_of(fullgrad(model_of(Shifted().double()), noise(2, 32, torch.float64), 1)) < 1e-9


class Activated(nn.BatchNorm2d):
    """A batch norm whose module ends in an activation, as those of timm do: its bias is added before that."""

    def forward(self, x):
        return functional.silu(super().forward(x))


def test_a_bias_counts_where_it_is_added_whatever_its_module_does_next():
    net = Small()
    net.norm1 = Activated(8)
    net.norm1.load_state_dict(settled_norm(8).state_dict())
    assert error_of(fullgrad(model_of(net.double()), noise(2, 32, torch.float64), 1)) < 1e-9


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
