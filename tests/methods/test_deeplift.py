"""DeepLIFT: contributions that add up, equal captum's where that is right, on networks that captum fails on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

import cnnviz
from cnnviz.errors import ExplanationError
from cnnviz.methods.prepare import prepare
from cnnviz.provenance import Caution
from tests.support.networks import Small, model_of


class Reused(nn.Module):
    """One ReLU three times, in place, around a shortcut, a gate and max pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.relu, self.pool, self.fc = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2), nn.Linear(6, 4)

    def forward(self, x):
        x = self.relu(self.one(x))
        x = self.pool(self.relu(self.two(x) + x))
        x = x * torch.sigmoid(x.mean((2, 3), keepdim=True))
        return self.fc(self.relu(x - 0.1).amax((2, 3)))


def chain(*middle: nn.Module) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=True), *middle, nn.Flatten(), nn.LazyLinear(3)).eval()


def double(module: nn.Module, side: int = 12) -> tuple[cnnviz.Model, torch.Tensor]:
    module = module.double().eval()
    inputs = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        module(inputs)
    return cnnviz.Model(module, mean=(0, 0, 0), std=(1, 1, 1), input_size=side), inputs


def missing(model: cnnviz.Model, inputs: torch.Tensor, target, baseline: torch.Tensor, found) -> np.ndarray:
    """How far contributions are from the change of the score, as a share of it."""
    with torch.no_grad():
        change = (model.module(inputs)[:, target] - model.module(baseline)[:, target]).double().numpy()
    return np.abs(found.values.astype(np.float64).sum(axis=(1, 2, 3)) - change) / np.abs(change)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Sigmoid, nn.Tanh])
def test_equal_to_captums_where_that_is_right(activation):
    captum = pytest.importorskip("captum.attr")
    net = chain(activation(), nn.Conv2d(4, 5, 3), activation())
    model, inputs = double(net)
    found = cnnviz.deeplift(model, inputs, 1).values
    baseline = torch.zeros_like(inputs)
    with pytest.warns(UserWarning, match="Setting forward, backward hooks"):
        right = captum.DeepLift(net).attribute(inputs.requires_grad_(), baseline, target=1).detach().numpy()
    assert np.abs(found - right).max() <= 1e-5 * np.abs(right).max()


@pytest.mark.parametrize("baseline", ["mean", "black", "blur", "noise", "white"])
def test_they_add_up_where_modules_are_reused_and_in_place(baseline):
    torch.manual_seed(0)
    model, inputs = double(Reused())
    found = cnnviz.deeplift(model, inputs, 1, baseline=baseline)
    assert not any(isinstance(each, Caution) for each in found.checks)
    said = next(each for each in found.checks if "add up" in each)
    assert float(said.split("within ")[1].split()[0]) < 1e-9
    if baseline == "mean":
        assert missing(model, inputs, 1, torch.zeros_like(inputs), found).max() < 1e-6  # values are kept as float32


def test_of_several_baselines_the_mean(small, inputs):
    one, other = (cnnviz.deeplift(small, inputs, 1, baseline=name).values for name in ("black", "blur"))
    assert np.allclose(cnnviz.deeplift(small, inputs, 1, baseline="black,blur").values, (one + other) / 2, atol=1e-7)


def test_a_picture_as_baseline(small, photo, tmp_path):
    other = tmp_path / "grey.png"
    from PIL import Image

    Image.new("RGB", (40, 40), (90, 90, 90)).save(other)
    found = cnnviz.deeplift(small, photo, 1, baseline=str(other))
    small.module.eval()
    x, b = (prepare(small, each, None).inputs for each in (photo, other))
    with torch.no_grad():
        change = float((small.module(x) - small.module(b))[0, 1])
    assert float(found.values.sum()) == pytest.approx(change, rel=1e-3)


def test_a_linear_networks_are_weights_times_differences():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 3))
    model, inputs = double(net)
    found = cnnviz.deeplift(model, inputs, 2).values
    weights = net[1].weight.detach()[2].reshape(3, 12, 12).numpy()
    assert np.allclose(found, weights * inputs.numpy(), rtol=1e-6)


def test_by_hand_on_one_rectifier_and_a_maximum():
    """relu(2 x - 1) of one pixel, and the larger of two."""

    class Hand(nn.Module):
        def forward(self, x):
            low = F.relu(2 * x[:, 0] - 1).flatten(1)
            return torch.stack([low.amax(1), low.sum(1)], 1)

    model = cnnviz.Model(Hand(), mean=(0,) * 3, std=(1,) * 3, input_size=(1, 2), labels=["most", "all"])
    x = torch.zeros(1, 3, 1, 2)
    x[0, 0, 0] = torch.tensor([2.0, 0.75])
    found = cnnviz.deeplift(model, x, "all").values[0, 0, 0]
    assert found.tolist() == pytest.approx([3.0, 0.5])
    most = cnnviz.deeplift(model, x, "most").values[0, 0, 0]
    assert most.tolist() == pytest.approx([3.0, 0.0])  # the first won; both are 0 in the baseline


def test_a_difference_of_classes_and_mixed_targets_add_up(small, inputs):
    found = cnnviz.deeplift(small, inputs, "0 - 2")
    single = [cnnviz.deeplift(small, inputs, target).values for target in (0, 2)]
    assert np.allclose(found.values, single[0] - single[1], atol=1e-6)
    mixed = cnnviz.deeplift(small, inputs, [0, 2, 1])
    assert np.allclose(mixed.values[1], single[1][1], atol=1e-7)


def test_a_layers_units_contribute_as_much(inputs):
    model = model_of(Small())
    pixels = cnnviz.deeplift(model, inputs, 1)
    for layer in ("conv1", "relu1", "relu2"):
        maps = cnnviz.deeplift(model, inputs, 1, layer=layer)
        assert maps.upsampled().shape == (len(inputs), *inputs.shape[2:])
        sums = [float(each.values.sum()) for each in maps]
        assert sums == pytest.approx(pixels.values.sum(axis=(1, 2, 3)).tolist(), rel=1e-4)


def test_a_baseline_that_is_the_picture_gives_nothing_and_says_so(small):
    found = cnnviz.deeplift(small, torch.zeros(1, 3, 32, 32), 1)
    assert not found.values.any()
    assert found.checks


def test_a_residue_is_said_in_the_figure(small, inputs):
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), torch.jit.trace(nn.Hardswish(), torch.rand(1, 4, 30, 30)), nn.Flatten(), nn.Linear(3600, 5)
    )
    with pytest.raises(ExplanationError, match="cannot follow, in scripted parts"):
        cnnviz.deeplift(model_of(net), inputs, 1)
    norm = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(3600, 5))
    held = cnnviz.deeplift(model_of(norm), inputs, 1, norms="fixed", baseline="noise")
    exact = cnnviz.deeplift(model_of(norm), inputs, 1, baseline="noise")
    assert any(isinstance(each, Caution) and "do not add up" in each for each in held.checks)
    assert not any("do not add up" in each for each in exact.checks)


def test_what_has_no_rule_is_named(inputs):
    class Odd(Small):
        def forward(self, x):
            return super().forward(x).cumprod(1)

    found = cnnviz.deeplift(model_of(Odd()), inputs, 2)
    assert "without a rule, so integrated by 16 points: cumprod" in found.checks


def test_what_it_costs():
    torch.manual_seed(0)
    net = models.resnet18(weights=None).eval()
    model = cnnviz.Model(net)
    inputs = torch.randn(1, 3, 96, 96)
    cnnviz.deeplift(model, inputs, 1)
    with FlopCounterMode(display=False) as plain, torch.no_grad():
        net(inputs)
    with FlopCounterMode(display=False) as ours:
        cnnviz.deeplift(model, inputs, 1)
    assert ours.get_total_flops() <= 3.2 * plain.get_total_flops()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_adds_up_roughly(dtype, inputs):
    try:
        model = model_of(Small().to(dtype))
        found = cnnviz.deeplift(model, inputs, 1)
    except cnnviz.CnnvizError as error:
        pytest.skip(str(error))
    exact = cnnviz.deeplift(model_of(Small()), inputs, 1)
    assert np.isfinite(found.values).all()
    assert found.values.shape == exact.values.shape


def test_the_network_is_left_as_it_was(inputs):
    net = Reused().train()
    before = {name: each.clone() for name, each in net.state_dict().items()}
    model = cnnviz.Model(net, input_size=32)
    cnnviz.deeplift(model, inputs, 1)
    with pytest.raises(cnnviz.CnnvizError):
        cnnviz.deeplift(model, inputs, 99)
    assert net.training
    assert all(torch.equal(each, before[name]) for name, each in net.state_dict().items())
    assert all(each.requires_grad and each.grad is None for each in net.parameters())
    leaf = inputs.clone().requires_grad_()
    net.eval()(leaf)[0, 1].backward()
    assert leaf.grad.any()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"baseline": "blac"}, "black"),
        ({"layer": "relu3"}, "relu2"),
        ({"norms": "no"}, "exact"),
        ({"baseline": ""}, "baseline"),
    ],
)
def test_what_it_refuses(small, inputs, asked, words):
    with pytest.raises(cnnviz.CnnvizError, match=words):
        cnnviz.deeplift(small, inputs, 1, **asked)
