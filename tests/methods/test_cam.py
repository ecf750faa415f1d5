"""CAM: the classifier's own weights on what it averages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from cnnviz import Model, cam
from cnnviz.errors import ExplanationError, TargetError
from tests.support.networks import OneConvolution, Small, model_of


def test_the_papers_formula():
    net = OneConvolution()
    inputs = torch.randn(2, 2, 5, 7, dtype=torch.float64)
    found = cam(Model(net, channels=2, input_size=8), inputs, [2, 0])
    for row, index in enumerate([2, 0]):
        expected = np.einsum("c,chw->hw", net.fc.weight[index].detach().numpy(), net.conv(inputs)[row].detach().numpy())
        np.testing.assert_allclose(found[row].values, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("build", [Small, lambda: resnet18(num_classes=5)])
def test_the_maps_mean_and_the_bias_are_the_logit(build):
    net, inputs = build().eval(), torch.randn(2, 3, 64, 64)
    found = cam(model_of(net), inputs, "fish")
    np.testing.assert_allclose(
        found.values.mean(axis=(1, 2)) + net.fc.bias[3].item(), found.scores, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(found.scores, net(inputs)[:, 3].detach(), rtol=1e-5)


def test_a_head_of_the_classes_own_maps(inputs):
    net = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = cam(model_of(net), inputs, 4)
    np.testing.assert_array_equal(found.values, net[:2](inputs)[:, 4].detach())


def test_a_difference_of_classes_and_each_images_own(small, inputs):
    one, other = (cam(small, inputs, target).values for target in ("cat", "frog"))
    np.testing.assert_allclose(cam(small, inputs, "cat - frog").values, one - other, rtol=1e-4, atol=1e-6)
    mixed = cam(small, inputs, ["cat", "frog", None])
    assert (mixed.values[0] == one[0]).all()
    assert (mixed.values[1] == other[1]).all()


def test_a_single_logit(inputs):
    net = Small(classes=1)
    found = cam(model_of(net, labels=None, head="sigmoid"), inputs)
    np.testing.assert_allclose(found.values.mean(axis=(1, 2)) + net.fc.bias.item(), found.scores, rtol=1e-4, atol=1e-6)
    assert found[0].probability == pytest.approx(float(torch.tensor(found[0].score).sigmoid()), rel=1e-5)


def test_it_is_signed(small, inputs):
    found = cam(small, inputs, 0)
    assert not found[0].rectified
    assert found.upsampled().min() < 0


@pytest.mark.parametrize("target", ["conv2:1", lambda logits: logits[:, 0], "dog vs similar"])
def test_other_targets_are_grad_cams(target, small, inputs):
    with pytest.raises(ExplanationError, match="Grad-CAM"):
        cam(small, inputs, target)


def test_other_heads_are_explained(inputs):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 900, 5))
    with pytest.raises(ExplanationError, match="spatial mean"):
        cam(model_of(net), inputs)
    with pytest.raises(TargetError, match="no class 5"):
        cam(model_of(Small(), labels=None), inputs, 5)
