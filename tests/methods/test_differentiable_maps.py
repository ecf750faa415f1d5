"""Maps through which a loss reaches the parameters, against the method itself and finite differences."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import cnnviz
from cnnviz.core.target import Unit
from cnnviz.errors import ExplanationError, ParameterError, TargetError, UnknownNameError, UsageError
from cnnviz.methods.cams.differentiable import WEIGHED
from tests.support.asking import state_of
from tests.support.networks import Small, model_of


class Smooth(nn.Module):
    """Everything in it has derivatives of every order, so finite differences are exact to many digits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.soft = nn.Softplus()
        self.second = nn.Conv2d(3, 3, 2)
        self.fc = nn.Linear(3, 4)

    def forward(self, x):
        x = self.soft(self.conv(x))
        return self.fc(torch.tanh(self.second(x)).mean(dim=(2, 3)))


@pytest.mark.parametrize("method", WEIGHED)
@pytest.mark.parametrize("target", [None, "dog", 2, "dog - cat", [0, 1, 2]])
def test_the_maps_are_the_methods(small, inputs, method, target):
    small.module.eval()
    for layer in ("relu1", "norm1"):
        found = cnnviz.differentiable_maps(small, inputs, target, layer=layer, method=method)
        expected = getattr(cnnviz, method)(small, inputs, target, layer=layer)
        np.testing.assert_allclose(found.maps.detach().numpy(), expected.values, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(found.scores.detach().numpy(), expected.scores, rtol=1e-6)
        assert found.targets == expected.targets


@pytest.mark.parametrize("method", WEIGHED)
def test_their_gradients_are_finite_differences(method):
    torch.manual_seed(3)
    net = Smooth().double()
    inputs = torch.randn(2, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 4, 4, dtype=torch.float64)

    def loss(conv, second, fc, given):
        changed = {"conv.weight": conv, "second.weight": second, "fc.weight": fc}
        wrapped = copy.deepcopy(net)
        for name, value in changed.items():
            part, _, key = name.partition(".")
            module = getattr(wrapped, part)
            del module._parameters[key]
            setattr(module, key, value)
        found = cnnviz.differentiable_maps(wrapped, given, 1, layer="soft", method=method)
        return (found.maps * weight).sum() + found.logits.square().sum()

    start = [getattr(net, part).weight.detach().clone().requires_grad_() for part in ("conv", "second", "fc")]
    assert torch.autograd.gradcheck(loss, (*start, inputs), atol=1e-6)


def test_a_penalty_on_the_map_teaches_where_to_look():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net.append(nn.Linear(8, 2))
    images = torch.rand(16, 1, 8, 8)
    labels = torch.arange(16) % 2
    images[labels == 1, :, :, :4] += 1
    images[labels == 1, :, :, 6:] += 1  # what also tells the classes apart, but is not to be looked at
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)

    def outside() -> torch.Tensor:
        maps = cnnviz.differentiable_maps(net, images, labels, layer="0", method="hirescam").maps.abs()
        return maps[:, :, 6:].sum() / maps.sum()

    before = float(outside().detach())
    for _ in range(40):
        found = cnnviz.differentiable_maps(net, images, labels, layer="0", method="hirescam")
        shares = found.maps.abs()
        loss = nn.functional.cross_entropy(found.logits, labels) + 20 * shares[:, :, 6:].sum() / shares.sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(outside().detach()) < 0.9 * before
    assert float((net(images).argmax(1) == labels).float().mean()) == 1.0


def test_the_network_is_left_as_it_was_also_after_an_exception(inputs):
    net = Small()
    net.train()
    known = {key: value for key, value in state_of(net).items() if "norm" not in key and key != "random numbers"}
    for target in (1, lambda logits: logits[0]):
        try:
            cnnviz.differentiable_maps(net, inputs, target, layer="relu1")
        except TargetError:
            assert callable(target)
        left = state_of(net)
        assert {key: left[key] for key in known} == known
    assert net.norm1.num_batches_tracked == 2  # training mode is the caller's choice, and batch norm learns in it


def test_frozen_weights_below_the_layer(inputs):
    net = Small().eval()
    net.requires_grad_(requires_grad=False)
    frozen = cnnviz.differentiable_maps(net, inputs, 1, layer="relu1").maps
    np.testing.assert_allclose(
        frozen.detach(), cnnviz.gradcam(model_of(net), inputs, 1, layer="relu1").values, rtol=1e-5
    )


def test_what_it_refuses(small, inputs):
    ask = cnnviz.differentiable_maps
    with pytest.raises(UnknownNameError, match="Did you mean 'relu1'"):
        ask(small, inputs, layer="relu11")
    with pytest.raises(ParameterError, match="method is one of gradcam"):
        ask(small, inputs, layer="relu1", method="scorecam")
    with pytest.raises(UsageError, match=r"gives \(3, 5\)"):
        ask(small, inputs, layer="fc")
    with pytest.raises(TargetError, match="2 targets, 3 images"):
        ask(small, inputs, [1, 2], layer="relu1")
    with pytest.raises(TargetError, match="not units"):
        ask(small, inputs, Unit("relu1", 2), layer="relu2")
    with torch.no_grad(), pytest.raises(UsageError, match="Gradients are off"):
        ask(small, inputs, layer="relu1")
    beside = Small()
    beside.add_module("unused", nn.ReLU())
    with pytest.raises(ExplanationError, match="does not run"):
        ask(beside, inputs, layer="unused")


class Beside(nn.Module):
    """A layer that runs and reaches no logit."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.side = Small(), nn.Conv2d(3, 2, 1)

    def forward(self, x):
        self.side(x)
        return self.net(x)


def test_a_layer_that_reaches_no_answer(inputs):
    with pytest.raises(ExplanationError, match="does not depend on layer 'side'"):
        cnnviz.differentiable_maps(Beside(), inputs, layer="side")
