"""Biases and the score's gradient there, against the gradients of the weights themselves."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from cnnviz.engine.biases import full_gradients
from cnnviz.engine.undisturbed import undisturbed
from cnnviz.errors import ExplanationError
from tests.support.networks import Small, Twice, failing, vit
from tests.support.torchvision_nets import enlivened, noise, torchvision_net


def asked(net, inputs, c=1):
    with undisturbed(net):
        return full_gradients(net, net, inputs, lambda logits: logits[:, c])


def by_weights(net, inputs, c=1):
    """For each layer with a bias, in order: bias times the score's gradient with respect to that very bias."""
    net.eval()
    found = {}
    for name, part in net.named_modules():
        if isinstance(part, (nn.Conv2d, nn.Linear, nn.BatchNorm2d)) and part.bias is not None:
            (gradient,) = torch.autograd.grad(net(inputs)[:, c].sum(), part.bias)
            bias = part.bias
            if isinstance(part, nn.BatchNorm2d):
                bias = bias - part.running_mean * part.weight / (part.running_var + part.eps).sqrt()
            found[name] = (bias * gradient).sum().item()
    return found


@pytest.mark.parametrize("build", [Small, lambda: Twice(inplace=True), lambda: torchvision_net("resnet18")])
def test_every_bias_counts_what_its_own_gradient_says(build):
    net = build().double()
    inputs = noise(2, 32, torch.float64)
    found, expected = asked(net, inputs), by_weights(net, inputs)
    total = sum(float(bias.sum()) for bias, _ in found.biases)
    assert total == pytest.approx(sum(expected.values()), rel=1e-9)
    assert float(found.missing().abs().max()) < 1e-9 * float(found.scores.abs().max())
    if isinstance(net, Small):
        assert [float(bias.sum()) for bias, _ in found.biases] == pytest.approx(list(expected.values()), rel=1e-9)
        assert len(found.biases) == 4


def test_input_times_gradient(inputs):
    net = Small().double().eval()
    leaf = inputs.double().requires_grad_()
    (gradient,) = torch.autograd.grad(net(leaf)[:, 1].sum(), leaf)
    found = asked(net, inputs.double())
    assert torch.allclose(found.inputs, leaf.detach() * gradient)
    assert torch.allclose(found.scores, net(leaf)[:, 1].detach())
    assert not found.inputs.requires_grad


def test_a_network_with_other_terms_has_something_missing():
    found = asked(enlivened(vit().double(), 32), noise(2, 32, torch.float64))
    assert (found.missing().abs() > 1e-3 * found.scores.abs()).all()


def test_a_convolution_whose_weights_are_made_of_the_picture():
    """``b - W x``: twice in the slope, once in the value; a bias made of the picture is in both."""

    class Dynamic(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            weight, bias = self.conv.weight * x.mean(), self.conv.bias
            fixed, made = (functional.conv2d(x, weight, each).mean((2, 3)) for each in (bias, bias * x.amax()))
            return fixed + made

    net, one = Dynamic().double(), noise(1, 8, torch.float64)
    found = asked(net, one)
    with torch.no_grad():
        product = functional.conv2d(one, net.conv.weight * one.mean())[0, 1].mean()
    assert [float(bias.sum()) for bias, _ in found.biases[-2:]] == pytest.approx(
        [net.conv.bias[1].item() - product.item(), -product.item()]
    )
    assert float(found.missing().abs()) < 1e-9


def test_layers_without_a_bias_and_unused_layers_count_nothing(inputs):
    class Idle(Small):
        def __init__(self):
            super().__init__()
            self.aside = nn.Conv2d(3, 2, 3)

        def forward(self, x):
            self.aside(x)
            return super().forward(x)

    net = Idle()
    net.conv1.bias = None
    found = asked(net.double(), inputs.double())
    assert float(found.missing().abs().max()) < 1e-9
    assert len(found.biases) == 3


@pytest.mark.parametrize("frozen", [False, True])
def test_weights_keep_their_flags_and_get_no_gradient(frozen, inputs):
    net = Small().requires_grad_(requires_grad=not frozen)
    with torch.no_grad():
        asked(net, inputs)
    assert all(weight.requires_grad != frozen and weight.grad is None for weight in net.parameters())
    assert not any(part._forward_hooks for part in net.modules())


def test_a_backward_that_fails_leaves_no_hooks(inputs):
    net = failing("backward")
    with pytest.raises(ExplanationError, match="on the way back"):
        asked(net, inputs)
    assert not any(part._forward_hooks for part in net.modules())
