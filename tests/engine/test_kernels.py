"""Kernels as the forward uses them, whatever computes them and whatever comes after."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import fusion, parametrize
from torch.nn.utils.parametrizations import weight_norm

from cnnviz import load_model
from cnnviz.engine.kernels import observe_kernels
from cnnviz.errors import ModelError
from tests.support.asking import state_of
from tests.support.networks import Small, Twice, failing, settled_norm


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


class Standardised(nn.Conv2d):
    """A convolution with weights that its forward computes."""

    def forward(self, x):
        spread, mean = torch.std_mean(self.weight, dim=(1, 2, 3), keepdim=True)
        return functional.conv2d(x, (self.weight - mean) / spread)


class Functional(nn.Module):
    """A layer that convolves with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.taps = nn.Parameter(noise(4, 3, 3, 3))

    def forward(self, x):
        return functional.conv2d(x, self.taps)


def test_every_convolution_in_the_order_of_the_forward():
    net = Small()
    found = observe_kernels(net, noise(1, 3, 32, 32))
    assert list(found) == ["conv1", "conv2"]
    assert torch.equal(found["conv1"].values, net.conv1.weight)
    assert [found[name].on_picture for name in found] == [True, False]
    assert found["conv1"].drawable


def test_weights_computed_in_the_forward():
    net = nn.Sequential(Standardised(3, 4, 3), nn.ReLU(), weight_norm(nn.Conv2d(4, 2, 3)))
    with torch.no_grad():
        net[2].parametrizations.weight.original0.mul_(3)
    found = observe_kernels(net, noise(1, 3, 9, 9))
    assert found["0"].values.mean(dim=(1, 2, 3)).abs().max() < 1e-6
    assert torch.allclose(found["0"].values.std(dim=(1, 2, 3)), torch.ones(4))
    assert parametrize.is_parametrized(net[2])
    assert torch.equal(found["2"].values, net[2].weight)


def test_a_function_counts_as_its_layers():
    found = observe_kernels(nn.Sequential(Functional(), nn.ReLU()), noise(1, 3, 9, 9))
    assert torch.equal(found["0"].values, noise(4, 3, 3, 3))


def test_groups_and_transposed_convolutions_against_an_impulse():
    net = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.ConvTranspose2d(6, 4, 3, groups=2, bias=False))
    found = observe_kernels(net, noise(1, 4, 8, 8))
    assert torch.equal(found["0"].values, net[0].weight)
    assert (found["0"].groups, found["0"].transposed) == (2, False)
    assert found["1"].transposed
    for channel in range(6):
        impulse = torch.zeros(1, 6, 1, 1)
        impulse[0, channel] = 1
        written = net[1](impulse)[0]
        group, own = divmod(channel, 3)
        expected = torch.zeros(4, 3, 3)
        expected[group * 2 : group * 2 + 2] = found["1"].values[group * 2 : group * 2 + 2, own]
        assert torch.equal(written, expected)


def test_the_gains_are_those_of_the_folded_network():
    net = Small().eval()
    found = observe_kernels(net, noise(1, 3, 32, 32))["conv1"]
    assert found.gains is not None
    folded = fusion.fuse_conv_bn_eval(net.conv1, net.norm1).weight
    assert torch.allclose(found.values * found.gains.float()[:, None, None, None], folded, rtol=1e-5, atol=1e-7)


class Between(nn.Module):
    """A convolution, something, and a batch norm."""

    def __init__(self, between: nn.Module) -> None:
        super().__init__()
        self.conv, self.between, self.norm = nn.Conv2d(3, 4, 3), between, settled_norm(4)

    def forward(self, x):
        return self.norm(self.between(self.conv(x)))


@pytest.mark.parametrize("between", [nn.ReLU(), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(4, 4, 1)])
def test_a_batch_norm_that_does_not_take_the_very_output_is_not_the_layers(between):
    found = observe_kernels(Between(between), noise(1, 3, 9, 9))
    assert found["conv"].gains is None
    assert observe_kernels(Between(nn.Identity()), noise(1, 3, 9, 9))["conv"].gains is not None


def test_batch_norm_without_weights_and_as_a_function():
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return functional.batch_norm(self.conv(x), torch.zeros(4), torch.full((4,), 4.0), eps=12.0)

    gains = observe_kernels(Plain(), noise(1, 3, 9, 9))["conv"].gains
    assert torch.equal(gains, torch.full((4,), 0.25, dtype=torch.float64))


def test_two_stems_read_the_picture_and_what_follows_does_not():
    class Stems(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other, self.after = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)

        def forward(self, x):
            x = (x - 0.5) / 0.2
            return self.after(self.one(x) + self.other(x))

    found = observe_kernels(Stems(), noise(1, 3, 9, 9))
    assert [kernels.on_picture for kernels in found.values()] == [True, True, False]


class ChannelsLast(nn.Module):
    """A linear layer on pixels whose channels come last."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3 * 4 * 5, 6)

    def forward(self, x):
        return self.first((2 * x - 1).permute(0, 2, 3, 1).flatten(1))


def test_a_linear_layer_on_the_picture_has_kernels_as_large_as_the_picture():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 5, 6), nn.ReLU(), nn.Linear(6, 2))
    found = observe_kernels(net, noise(1, 3, 4, 5))
    assert list(found) == ["1"]
    assert torch.equal(found["1"].values, net[1].weight.view(6, 3, 4, 5))
    assert found["1"].linear


def test_a_linear_layer_on_channels_last_gives_the_networks_answer_as_a_product():
    net, picture = ChannelsLast(), noise(1, 3, 4, 5)
    kernels = observe_kernels(net, picture)["first"].values
    answer = torch.einsum("uchw,chw->u", kernels, 2 * picture[0] - 1) + net.first.bias
    assert torch.allclose(answer, net(picture)[0], atol=1e-6)


def test_a_linear_layer_on_something_else_has_none():
    mixed = nn.Sequential(nn.PixelShuffle(2), nn.Flatten(), nn.Linear(48, 3))
    assert observe_kernels(mixed, noise(1, 12, 2, 2)) == {}


def test_a_layer_that_runs_twice_is_counted():
    found = observe_kernels(Twice(), noise(1, 3, 32, 32))
    assert (found["stem"].calls, found["shared"].calls, found["shared"].alone) == (1, 2, True)


def test_other_dimensions_and_single_places_are_not_drawable():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(2), nn.Conv1d(4, 2, 3))
    found = observe_kernels(net, noise(1, 3, 4, 4))
    assert [kernels.drawable for kernels in found.values()] == [False, False]


def test_exported_networks_keep_their_layers_names(tmp_path):
    net = Between(nn.Identity()).eval()
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(net, (noise(1, 3, 9, 9),)), path)
    found = observe_kernels(load_model(str(path)).module, noise(1, 3, 9, 9))
    assert torch.equal(found["conv"].values, net.conv.weight)
    assert found["conv"].gains is not None


def test_the_network_comes_back_as_it_was():
    net = Small().train()
    before = state_of(net)
    observe_kernels(net, noise(1, 3, 32, 32))
    assert state_of(net) == before
    net = failing("forward")
    before = state_of(net)
    with pytest.raises(ModelError, match="broke on the way"):
        observe_kernels(net, noise(1, 3, 32, 32))
    assert state_of(net) == before
