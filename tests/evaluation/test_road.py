"""ROAD: its imputation against its equations solved directly, and its values on a linear network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from cnnviz.errors import ParameterError
from cnnviz.evaluation.faithfulness import order_ranks
from cnnviz.evaluation.metric import Case
from cnnviz.evaluation.road import FRACTIONS, impute, road, road_curve, road_curves
from tests.support.imputing import impute_densely
from tests.support.judging import Asked, contributions, linear_case

KERNEL = torch.tensor([[1.0, 2, 1], [2, 0, 2], [1, 2, 1]], dtype=torch.float64) / 12


def blob(height, width, share):
    """The pixels around a corner of the middle, as maps of coarse layers have them."""
    rows, columns = np.mgrid[:height, :width]
    away = np.hypot(rows - height * 0.4, columns - width * 0.6)
    return away < np.quantile(away, share)


def residual(inputs, found, missing):
    """``||b - Au|| / ||b||`` of one picture, in float64."""
    inputs, found, where = inputs.double(), found.double(), missing.double()
    kernel = KERNEL.expand(inputs.shape[1], 1, 3, 3)

    def neighbours(values):
        return conv2d(values, kernel[: values.shape[1]], padding=1, groups=values.shape[1])

    right = where * neighbours(inputs * (1 - where))
    degree = neighbours(torch.ones_like(where))
    left = where * (degree * found - neighbours(found * where))
    return ((right - left).norm() / right.norm()).item()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("size", [(12, 15), (5, 3), (17, 2)])
def test_it_solves_the_equations_of_the_paper(size, share):
    rng = np.random.default_rng(0)
    inputs = torch.from_numpy(rng.normal(size=(3, 2, *size)))
    missing = np.stack([blob(*size, share), rng.random(size) < share, ~blob(*size, 1 - share)])
    missing[:, 0, 0] = False
    found = impute(inputs, torch.from_numpy(missing)[:, None], tolerance=1e-12)
    for at in range(3):
        expected = impute_densely(inputs[at].numpy(), missing[at])
        np.testing.assert_allclose(found[at], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_residual_is_below_a_thousandth(share, dtype):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(3, 3, 97, 128, generator=generator, dtype=dtype).cumsum(2).cumsum(3) / 20 + 3
    scattered = torch.rand(97, 128, generator=generator).numpy() < share
    missing = torch.from_numpy(np.stack([blob(97, 128, share), ~blob(97, 128, 1 - share), scattered]))[:, None]
    found = impute(inputs, missing)
    assert (found == inputs)[~missing.expand_as(inputs)].all()
    for at in range(3):
        assert 0 < residual(inputs[at : at + 1], found[at : at + 1], missing[at : at + 1]) < 1e-3


def test_an_even_slope_is_continued_into_a_hole():
    rows, columns = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    inputs = (2 * rows - 0.5 * columns + 7).double()[None, None]
    missing = torch.zeros(1, 1, 20, 30, dtype=torch.bool)
    missing[..., 3:17, 5:28] = True
    torch.testing.assert_close(impute(inputs, missing, tolerance=1e-12), inputs, rtol=0, atol=1e-9)


def test_pictures_do_not_change_each_other_and_half_precision_stays():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, 3, 40, 40, generator=generator)
    missing = torch.from_numpy(np.stack([blob(40, 40, 0.9), blob(40, 40, 0.1)]))[:, None]
    together = impute(inputs, missing)
    for at in range(2):
        alone = impute(inputs[at : at + 1], missing[at : at + 1])
        torch.testing.assert_close(together[at : at + 1], alone, rtol=0, atol=1e-5)
    half = impute(inputs.half(), missing)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), together, rtol=0, atol=0.02)


def test_nothing_follows_from_nothing():
    inputs = torch.zeros(1, 1, 16, 16)
    inputs[..., 15] = 5
    missing = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    missing[..., 3:13, 3:14] = True
    assert not impute(inputs, missing)[missing].any()
    with pytest.raises(ParameterError, match="at least one pixel must be left"):
        impute(inputs, torch.ones(1, 1, 16, 16, dtype=torch.bool))


@pytest.fixture
def linear():
    rng = np.random.default_rng(1)
    case = linear_case(rng.normal(size=(2, 8, 10)), rng.normal(size=(2, 8, 10)), bias=0.5, seed=9)
    case.unit[1] = 4.0
    return case


def by_hand(case, map_, fraction, *, least_first):
    ranks = order_ranks(map_[None], least_first=least_first)[0]
    missing = ranks < round(80 * fraction)
    filled = impute_densely(case.inputs[0].numpy(), missing)
    noise = np.random.default_rng(9).normal(0, 0.01, (1, 2, 8, 10))[0] * [[[1.0]], [[4.0]]]
    return case.probability.answer(torch.from_numpy(filled + missing * noise)[None]).item()


def test_the_values_of_the_perfect_the_reversed_and_a_constant_map(linear, monkeypatch):
    monkeypatch.setattr(impute, "__kwdefaults__", {"tolerance": 1e-12})
    perfect = contributions(linear)
    maps = np.stack([perfect, perfect.max() - perfect, np.ones((8, 10))])
    expected = np.array([
        [[by_hand(linear, each, fraction, least_first=least) for fraction in FRACTIONS] for each in maps]
        for least in (False, True)
    ])  # fmt: skip
    np.testing.assert_allclose(road_curves(linear, maps), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(road_curve(linear, maps), expected[1] - expected[0], rtol=0, atol=1e-9)
    found = road(linear, maps)
    np.testing.assert_allclose(found, (expected[1] - expected[0]).mean(axis=1), rtol=0, atol=1e-9)
    assert found[0] > 1
    assert found[1] == pytest.approx(-found[0], abs=1e-9)
    assert found[2] == 0


def test_a_map_without_positive_mass_is_undefined_and_costs_nothing(linear):
    maps = np.stack([np.zeros((8, 10)), np.full((8, 10), np.nan), -np.ones((8, 10))])
    linear.probability.pictures = 0
    assert np.isnan(road(linear, maps)).all()
    assert linear.probability.pictures == 0
    assert np.isnan(road(linear, np.concatenate([maps, np.ones((1, 8, 10))]))).tolist() == [True] * 3 + [False]
    assert linear.probability.pictures == 18


def test_the_noise_is_the_same_for_all_maps_and_is_of_the_seed(linear):
    asked = Asked(lambda pictures: pictures.sum((1, 2, 3)))

    def curve(seed, map_):
        return road_curves(Case(linear.inputs, asked, asked, linear.unit, seed=seed), map_)

    maps = np.stack([contributions(linear), np.ones((8, 10))])
    together = curve(0, maps)
    np.testing.assert_allclose(curve(0, maps[1:])[:, 0], together[:, 1], rtol=0, atol=1e-12)
    assert (np.abs(curve(1, maps) - together) > 1e-6).all()


def test_fractions_that_leave_or_remove_nothing_are_refused(linear):
    for fractions in ((), (0.0,), (0.5, 1.0), (0.001,)):
        with pytest.raises(ParameterError, match="fractions must be above 0 and below 1"):
            road(linear, np.ones((1, 8, 10)), fractions=fractions)
