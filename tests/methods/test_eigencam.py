"""Eigen-CAM and EigenGrad-CAM: the first principal component by the small Gram matrix, its sign fixed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cnnviz import eigencam, eigengradcam
from cnnviz.core.target import NoTarget
from cnnviz.methods.cams.principal import principal_map
from tests.support.networks import Small, model_of


def by_svd(maps):
    """``M v`` by the whole decomposition, one sample after another."""
    found = []
    for each in maps.double().numpy():
        left, values, _ = np.linalg.svd(each.reshape(len(each), -1).T, full_matrices=False)
        found.append((left[:, 0] * values[0]).reshape(each.shape[1:]))
    return np.stack(found)


@pytest.mark.parametrize("shape", [(3, 4, 6, 5), (3, 40, 4, 3), (2, 9, 3, 3), (1, 1, 4, 4), (2, 5, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_gram_matrix_gives_the_whole_decompositions_component(shape, dtype):
    maps = torch.randn(shape, dtype=dtype)
    found = principal_map(maps, like=maps.abs().sum(dim=1)).double().numpy()
    for one, expected in zip(found, by_svd(maps), strict=True):
        error = min(np.abs(one - expected).max(), np.abs(one + expected).max())
        assert error <= (1e-10 if dtype == torch.float64 else 1e-5) * np.abs(expected).max()


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6, 1e30])
def test_the_activations_scale_does_not_matter(scale):
    maps = torch.randn(2, 8, 5, 5)
    found = principal_map(maps * scale, like=(maps * scale).abs().sum(dim=1))
    assert torch.allclose(found / scale, principal_map(maps, like=maps.abs().sum(dim=1)), rtol=1e-4, atol=1e-5)


def test_nothing_gives_nothing():
    assert not principal_map(torch.zeros(2, 8, 5, 5), like=torch.zeros(2, 5, 5)).any()


def test_rectified_activations_need_no_decomposition(monkeypatch):
    def refused(matrix):
        raise AssertionError(matrix.shape)

    maps = torch.randn(2, 64, 7, 7).relu()
    expected = by_svd(maps)
    monkeypatch.setattr(torch.linalg, "eigh", refused)
    found = principal_map(maps, like=maps.sum(dim=1)).numpy()
    assert np.abs(found - expected * np.sign((found * expected).sum(axis=(1, 2), keepdims=True))).max() < 1e-5


def test_where_the_iteration_starts_does_not_matter():
    strong, weak = torch.tensor([3.0, -3.0, 0.0]), torch.tensor([1.0, 1.0, 1.0])
    channels = torch.eye(4)
    maps = (channels[0, :, None] * (strong[None]) - channels[1, :, None] * strong + channels[2, :, None] * weak)[
        None, :, None, :
    ]
    found = principal_map(maps, like=maps.abs().sum(dim=1))
    assert torch.allclose(found.abs().flatten(), (18.0**0.5) * torch.tensor([1.0, 1.0, 0.0]), atol=1e-5)


def blob(height, width):
    """A bump in the upper left corner."""
    rows, columns = np.mgrid[:height, :width]
    return np.exp(-((rows - 2.0) ** 2 + (columns - 1.0) ** 2) / 4)


@pytest.mark.parametrize("channels", [4, 200])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_map_is_positive_where_activations_are_strong(channels, sign):
    strengths = np.random.default_rng(0).uniform(0.5, 1.5, channels)
    noisy = np.random.default_rng(1).normal(0, 0.02, (channels, 9, 9))
    maps = torch.from_numpy(sign * strengths[:, None, None] * blob(9, 9) + noisy)[None]
    (found,) = principal_map(maps, like=maps.abs().sum(dim=1)).numpy()
    assert np.unravel_index(found.argmax(), found.shape) == (2, 1)
    assert found.max() > 10 * abs(min(found.min(), 0))


def test_no_class_is_involved(small, inputs):
    found = eigencam(small, inputs)
    assert found.targets == (NoTarget(),) * 3
    assert all(one.probability is None for one in found)
    assert "independent of the class" in found[0].caption()
    net = Small()
    net.load_state_dict(small.module.state_dict())
    with torch.no_grad():
        net.fc.weight.neg_()
    assert np.array_equal(eigencam(model_of(net), inputs).values, found.values)


def test_eigengradcam_turns_with_the_target(small, inputs):
    found = eigengradcam(small, inputs, 1, layer="conv1")
    against = eigengradcam(small, inputs, 1, layer="conv1", counterfactual=True)
    assert np.allclose(found.values, -against.values, atol=1e-6 * np.abs(found.values).max())
    net = small.module.eval()
    activation = net.conv1(inputs).detach().requires_grad_()
    rest = net.down(torch.relu(net.norm1(activation)))
    logits = net.fc(net.relu2(net.conv2(rest)).mean(dim=(2, 3)))
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), activation)
    product = (activation * gradient).detach()
    for one, expected, total in zip(found.values, by_svd(product), product.sum(dim=1).numpy(), strict=True):
        signed = expected * np.sign((expected * total).sum())
        assert np.abs(one - signed).max() <= 1e-4 * np.abs(signed).max()
