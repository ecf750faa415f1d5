"""Infidelity: nothing for what a linear network's pixels add, and captum's value for anything else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.metrics import infidelity as captum_infidelity
from torch import nn

from cnnviz.errors import ParameterError
from cnnviz.evaluation.infidelity import draw_squares, infidelity
from cnnviz.evaluation.metric import Case
from tests.support.judging import Asked, contributions, linear_case


@pytest.fixture
def linear():
    rng = np.random.default_rng(0)
    return linear_case(rng.normal(size=(3, 28, 28)), rng.normal(size=(3, 28, 28)), bias=2.0, seed=5)


def by_hand(map_, lost, squares):
    sums = np.array([map_[square].sum() for square in squares])
    scale = (sums * lost).sum() / (sums**2).sum()
    return ((scale * sums - lost) ** 2).mean()


def test_the_perfect_map_of_a_linear_network_has_none_whatever_its_scale_and_sign(linear):
    perfect = contributions(linear)
    np.testing.assert_allclose(infidelity(linear, np.stack([perfect, 1e4 * perfect, -perfect])), 0, rtol=0, atol=1e-9)


def test_a_constant_and_a_reversed_map_by_hand(linear):
    perfect = contributions(linear)
    squares = draw_squares((28, 28), 40, 5)
    lost = np.array([perfect[square].sum() for square in squares])
    maps = np.stack([np.full((28, 28), 0.3), perfect.max() - perfect])
    expected = [by_hand(each, lost, squares) for each in maps]
    np.testing.assert_allclose(infidelity(linear, maps, samples=40), expected, rtol=0, atol=1e-9)
    areas = squares.sum((1, 2))
    constant = (lost**2).mean() - (areas * lost).mean() ** 2 / (areas**2).mean()
    assert infidelity(linear, maps[:1], samples=40)[0] == pytest.approx(constant, abs=1e-9)


def test_it_is_that_of_captum():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5))
    network = network.double().eval()
    inputs = torch.randn(1, 3, 32, 40, dtype=torch.float64)

    def logit(pictures):
        with torch.no_grad():
            return network(pictures)[:, 2]

    case = Case(inputs, logit, logit, torch.ones(3, 1, 1), seed=3)
    maps = torch.randn(4, 32, 40, dtype=torch.float64).numpy()
    squares = torch.from_numpy(draw_squares((32, 40), 60, 3))[:, None].expand(-1, 3, -1, -1)

    def remove(pictures):
        return squares.double(), pictures.masked_fill(squares, 0)

    expected = [
        captum_infidelity(
            logit, remove, inputs, torch.from_numpy(each).expand(1, 3, -1, -1) / 3, n_perturb_samples=60, normalize=True
        ).item()
        for each in maps
    ]
    np.testing.assert_allclose(infidelity(case, maps, samples=60), expected, rtol=1e-10, atol=0)


def test_squares_are_as_large_as_the_paper_has_them_and_lie_anywhere():
    squares = draw_squares((56, 84), 4000, 0)
    areas = squares.sum((1, 2))
    assert sorted(set(areas)) == [(2 * part) ** 2 for part in range(1, 11)]
    cover = squares[areas == 16].mean(axis=0)
    assert cover[0].any()
    assert cover[-1].any()
    assert cover[:, 0].any()
    assert cover[:, -1].any()
    assert (draw_squares((56, 84), 10, 1) != squares[:10]).any()
    assert draw_squares((3, 5), 50, 0).sum((1, 2)).tolist() == [1] * 50


def test_all_maps_share_the_forwards(linear):
    maps = np.stack([np.zeros((28, 28)), np.ones((28, 28)), contributions(linear)])
    linear.logit.pictures = 0
    found = infidelity(linear, maps, samples=30)
    assert linear.logit.pictures == 31
    assert np.isnan(found).tolist() == [True, False, False]
    assert found[1] > 1


def test_undefined_costs_nothing_and_no_squares_are_refused(linear):
    asked = Asked(lambda pictures: pictures.sum((1, 2, 3)))
    case = Case(linear.inputs, asked, asked, linear.unit)
    assert np.isnan(infidelity(case, np.full((2, 28, 28), np.nan))).all()
    assert asked.pictures == 0
    with pytest.raises(ParameterError, match="samples must be at least 1; got 0"):
        infidelity(case, np.ones((1, 28, 28)), samples=0)
