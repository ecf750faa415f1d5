"""The adapter to captum: its numbers, nothing left behind, and its failures as sentences."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
import torch
from captum import attr
from torch import nn
from torch.nn import functional

import cnnviz
from cnnviz.errors import ExplanationError, MissingExtraError, ParameterError
from tests.support.asking import state_of
from tests.support.networks import Small, Twice, model_of

ALGORITHMS = ("DeepLift", "GradientShap", "KernelShap", "Lime", "FeatureAblation")


class Plain(nn.Module):
    """Each module once, none in place: what DeepLift asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.fc = nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(self.relu(self.conv(x)).mean(dim=(2, 3)))


def cells(side: int, count: int) -> torch.Tensor:
    line = torch.arange(side) * count // side
    return (line[:, None] * count + line).expand(1, 3, side, side)


def test_deeplift_is_captums(inputs):
    module = Plain().eval()
    found = cnnviz.captum(model_of(module), inputs, [1, 2, 3], algorithm="DeepLift")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = attr.DeepLift(module).attribute(inputs, torch.zeros_like(inputs), target=[1, 2, 3])
    assert np.allclose(found.values, theirs.detach().numpy(), atol=1e-6)
    assert float(found.checks[0].split()[2]) < 1e-3


def test_feature_ablation_is_captums(inputs):
    module = Small().eval()
    found = cnnviz.captum(model_of(module), inputs, 1, algorithm="FeatureAblation", cells=4)
    theirs = attr.FeatureAblation(module).attribute(inputs, 0, target=1, feature_mask=cells(32, 4))
    assert np.allclose(found.values, theirs.detach().numpy(), atol=1e-6)


def test_kernel_shap_and_lime_are_captums_with_the_same_random_numbers(inputs):
    module, one = Small().eval(), inputs[:1]
    for name in ("KernelShap", "Lime"):
        found = cnnviz.captum(model_of(module), one, 1, algorithm=name, cells=3, samples=40, seed=7)
        torch.manual_seed(7)
        given = {"baselines": torch.zeros_like(one), "target": 1, "feature_mask": cells(32, 3), "n_samples": 40}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = getattr(attr, name)(module).attribute(one, **given, perturbations_per_eval=16)
        assert np.allclose(found.values, theirs.detach().numpy(), atol=1e-5)


def test_gradient_shap_of_a_linear_model_is_weight_times_input(inputs):
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 5))
    found = cnnviz.captum(model_of(module), inputs, 2, algorithm="GradientShap", samples=20)
    assert np.allclose(found.values, (module[1].weight[2].view(3, 32, 32) * inputs).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_network_and_random_numbers_come_back(algorithm, inputs):
    net = Plain().train()
    before, drawn = state_of(net), np.random.get_state()[1].tobytes()  # noqa: NPY002
    first = cnnviz.captum(model_of(net), inputs[:1], 1, algorithm=algorithm, cells=3, samples=12)
    again = cnnviz.captum(model_of(net), inputs[:1], 1, algorithm=algorithm, cells=3, samples=12)
    assert state_of(net) == before
    assert np.random.get_state()[1].tobytes() == drawn  # noqa: NPY002
    assert np.array_equal(first.values, again.values)


class Unrolled(nn.Module):
    """What ``Twice`` computes, with a ReLU for each of its two calls."""

    def __init__(self, twice: Twice) -> None:
        super().__init__()
        self.twice, self.one, self.two = twice, nn.ReLU(), nn.ReLU()

    def forward(self, x):
        x = functional.max_pool2d(self.twice.stem(x), 4)
        for relu in (self.one, self.two):
            x = relu(self.twice.shared(x))
        return self.twice.fc(x.mean(dim=(2, 3)))


@pytest.mark.parametrize("inplace", [False, True])
def test_deeplift_of_a_relu_that_runs_twice_is_that_of_two(inplace, inputs):
    net = Twice(inplace=inplace).eval()
    before = state_of(net)
    found = cnnviz.captum(model_of(net), inputs, [1, 2, 3], algorithm="DeepLift")
    assert state_of(net) == before
    assert np.array_equal(found.values, cnnviz.captum(model_of(net), inputs, [1, 2, 3], algorithm="DeepLift").values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = attr.DeepLift(Unrolled(net)).attribute(inputs, torch.zeros_like(inputs), target=[1, 2, 3])
    assert np.abs(found.values).max() > 1e-4
    assert np.allclose(found.values, theirs.detach().numpy(), atol=1e-6)


def test_deeplift_passes_over_activations_that_see_nothing_of_the_picture(inputs):
    class Tabled(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.small = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4))

        def forward(self, x):
            table = self.small(torch.ones(7, 2)).sum(dim=0)
            return self.fc((self.relu(self.conv(x)) + table[:, None, None]).mean(dim=(2, 3)))

    net = Tabled().eval()
    with_table = cnnviz.captum(model_of(net), inputs, 1, algorithm="DeepLift")
    without = Plain()
    without.load_state_dict({key: value for key, value in net.state_dict().items() if "small" not in key})
    plain = cnnviz.captum(model_of(without), inputs, 1, algorithm="DeepLift")
    assert np.allclose(with_table.values, plain.values, atol=1e-6)


def test_deeplift_that_fails_is_a_sentence_and_leaves_nothing_behind(inputs):
    class Mixing(Plain):
        def forward(self, x):
            return self.fc(self.relu(self.conv(x).mean(dim=0, keepdim=True)).mean(dim=(2, 3)).expand(len(x), -1))

    net = Mixing()
    before = state_of(net)
    with pytest.raises(ExplanationError, match="captum's DeepLift fails on this network"):
        cnnviz.captum(model_of(net), inputs[:1], 1, algorithm="DeepLift")
    assert state_of(net) == before


def test_attributions_that_do_not_add_up_are_told_of(inputs):
    class Products(Plain):
        def forward(self, x):
            h = self.conv(x)
            return self.fc((torch.sin(3 * h) * h).mean(dim=(2, 3)))

    found = cnnviz.captum(model_of(Products()), inputs, 1, algorithm="DeepLift")
    assert "interpret with care" in found.checks[0]


def test_what_cannot_be_asked_is_said(small, inputs, monkeypatch):
    with pytest.raises(ExplanationError, match="not units"):
        cnnviz.captum(small, inputs, "relu1:2")
    with pytest.raises(ParameterError, match="did you mean 'DeepLift'"):
        cnnviz.captum(small, inputs, algorithm="DeepLif")
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cnnviz\[captum\]'"):
        cnnviz.captum(small, inputs)
