"""Folding: the same answers with fewer layers, and nothing done to the network itself."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from cnnviz import Model
from cnnviz.engine.batch_norms import folded_copy, observe_pairs
from cnnviz.errors import ModelError
from cnnviz.models.inference_copy import inference_copy
from tests.support.asking import state_of
from tests.support.networks import Small, model_of, settled_norm
from tests.support.torchvision_nets import noise, torchvision_net


def norms(net: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in net.modules())


def folded_of(net: nn.Module, example: torch.Tensor) -> nn.Module:
    with observe_pairs(net) as pairs:
        net(example.clone())
    return folded_copy(net, pairs)


def error(net, folded, inputs) -> float:
    with torch.no_grad():
        return float((net(inputs) - folded(inputs)).abs().max() / net(inputs).abs().max())


@pytest.mark.parametrize(("name", "left"), [("resnet18", 0), ("mobilenet_v2", 0), ("densenet121", None)])
def test_torchvisions_networks_keep_their_answers(name, left):
    net = torchvision_net(name, dtype=torch.float64)
    before = state_of(net)
    inputs = noise(3, 64, torch.float64)
    folded = folded_of(net, inputs[:1])
    assert error(net, folded, inputs) < 1e-9
    assert norms(folded) == left if left is not None else 0 < norms(folded) < norms(net)
    assert state_of(net) == before
    assert not any(weight.requires_grad for weight in folded.parameters())


def test_the_copy_is_private():
    net = Small().eval()
    folded = folded_of(net, noise(1, 32))
    with torch.no_grad():
        for weight in folded.parameters():
            weight.zero_()
    assert all(bool(weight.any()) for weight in net.parameters())


def test_a_network_in_training_mode_is_folded_as_in_evaluation():
    net = Small().train()
    inputs = noise(2, 32)
    folded = folded_of(net, inputs[:1])
    assert net.training
    assert error(net.eval(), folded, inputs) < 1e-5
    assert isinstance(folded.norm1, nn.Identity)


class NormAndMore(nn.BatchNorm2d):
    """As some libraries do: a batch norm with its activation inside."""

    def forward(self, x):
        return torch.relu(super().forward(x))


class Standardised(nn.Conv2d):
    """A convolution that standardises its weights as it runs."""

    def forward(self, x):
        weight = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight, self.bias)


class One(nn.Module):
    """A convolution, a norm, and a choice of what happens between them."""

    def __init__(self, conv=None, norm=None, between=lambda conv, norm, x: norm(conv(x))) -> None:
        super().__init__()
        self.conv, self.norm = conv or nn.Conv2d(3, 4, 3), norm or settled_norm(4)
        self.between = between
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(torch.relu(self.between(self.conv, self.norm, x)).mean(dim=(2, 3)))


def fresh(kind):
    norm = kind(4)
    norm.load_state_dict(settled_norm(4).state_dict())
    return norm


KEPT = {
    "a norm that does more": One(norm=fresh(NormAndMore)),
    "a convolution that does more": One(conv=Standardised(3, 4, 3)),
    "statistics of the batch": One(norm=nn.BatchNorm2d(4, track_running_stats=False)),
    "something between": One(between=lambda conv, norm, x: norm(conv(x) * 2)),
    "a convolution that runs twice": One(between=lambda conv, norm, x: norm(conv(x)) + conv(x)),
    "a norm that runs twice": One(between=lambda conv, norm, x: norm(norm(conv(x)))),
}


@pytest.mark.parametrize("net", KEPT.values(), ids=KEPT)
def test_what_is_not_folded(net):
    inputs = noise(2, 16)
    folded = folded_of(net.eval(), inputs[:1])
    assert norms(folded) == 1
    assert error(net, folded, inputs) < 1e-6


def test_bias_free_affine_free_and_grouped_ones_are_folded():
    plain = nn.BatchNorm2d(4, affine=False)
    plain.running_mean.normal_()
    plain.running_var.uniform_(0.5, 2)
    net = One(conv=nn.Conv2d(4, 4, 3, groups=2, bias=False), norm=plain).eval()
    inputs = torch.randn(2, 4, 9, 9)
    folded = folded_of(net, inputs[:1])
    assert norms(folded) == 0
    assert error(net, folded, inputs) < 1e-5


def test_a_network_that_writes_into_its_input_leaves_the_example():
    net = One(between=lambda conv, norm, x: norm(conv(x.sub_(1)))).eval()
    example = noise(1, 16)
    kept = example.clone()
    found = inference_copy(model_of(net, input_size=16), example)
    assert found.checks == ()
    assert torch.equal(example, kept)


def test_a_weight_that_two_convolutions_share_is_folded_for_one():
    net = One(between=lambda conv, norm, x: norm(conv(x)) + net.other(x)).eval()
    net.other = nn.Conv2d(3, 4, 3)
    net.other.weight = net.conv.weight
    inputs = noise(2, 16)
    folded = folded_of(net, inputs[:1])
    assert norms(folded) == 0
    assert torch.equal(folded.other.weight, net.conv.weight)
    assert not torch.equal(folded.conv.weight, net.conv.weight)


def test_a_convolution_that_a_network_also_holds_outside_its_modules_is_folded_there_too():
    class Held(Small):
        def __init__(self) -> None:
            super().__init__()
            self.held = [self.conv1]

        def forward(self, x):
            x = self.down(self.relu1(self.norm1(self.held[0](x))))
            return self.fc(self.relu2(self.conv2(x)).mean(dim=(2, 3)))

    net = Held().eval()
    folded = folded_of(net, noise(1, 32))
    assert folded.held[0] is folded.conv1
    assert error(net, folded, noise(2, 32)) < 1e-5


def locked():
    net = One()
    net.lock = threading.Lock()
    return net


def weighted():
    return One(conv=parametrizations.weight_norm(nn.Conv2d(3, 4, 3)))


def read_past(conv, norm, x):
    x = conv(x)
    return norm(x) + x


def read_its_weight(conv, norm, x):
    return norm(conv(x)) * norm.weight.mean()


REFUSED = {
    "a norm's weight is read": (One(between=read_its_weight), "no faster copy of this network can be made"),
    "read past the norm": (
        One(between=read_past),
        "changes this network's",
    ),
    "cannot be copied": (locked(), "no faster copy of this network can be made"),
    "parametrised": (weighted(), None),
}


@pytest.mark.parametrize(("net", "said"), REFUSED.values(), ids=REFUSED)
def test_a_model_says_where_a_faster_copy_cannot_be_had(net, said):
    model = model_of(net, input_size=16)
    found = inference_copy(model, noise(1, 16))
    if said is not None:
        assert found.model is model
        assert said in found.checks[0]
    with torch.no_grad():
        net.eval()
        assert torch.equal(found.logits, net(noise(1, 16)))
        assert torch.allclose(found.model.forward(noise(2, 16)), net(noise(2, 16)), atol=1e-4)


def test_a_faster_model_is_another_one_with_the_same_answers():
    net = torchvision_net("resnet18")
    model = Model(net, input_size=64, name="resnet18")
    image = noise(1, 64)
    found = inference_copy(model, image)
    assert found.checks == ()
    assert found.model.module is not net
    assert (found.model.name, found.model.preprocess) == (model.name, model.preprocess)
    with torch.no_grad():
        half = inference_copy(model, image, halved=True)
        expected = net(image)
        lost = (half.model.forward(image.bfloat16()).float() - expected).abs().max() / expected.abs().max()
    assert torch.equal(found.logits, expected)
    assert (half.model.dtype, model.dtype) == (torch.bfloat16, torch.float32)
    assert half.checks == (f"bfloat16: logits differ by up to {float(lost):.1%} of the largest",)


def test_a_network_that_fails_on_the_example_says_so():
    with pytest.raises(ModelError, match="fails on an input of shape"):
        inference_copy(model_of(One(), channels=4), torch.zeros(1, 4, 16, 16))
