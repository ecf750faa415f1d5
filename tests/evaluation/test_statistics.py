"""Intervals, paired tests and ranks against values worked out by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cnnviz.evaluation.controls import CONTROLS, random_phases
from cnnviz.evaluation.statistics import (
    adjust_holm,
    bootstrap,
    paired_p_values,
    pictures_needed,
    rank_agreement,
    rank_rows,
)


def test_an_interval_of_normal_values_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(2.0, 3.0, 400)
    found = bootstrap(values)
    reach = 1.959964 * values.std(ddof=1) / np.sqrt(400)
    assert found.mean == pytest.approx(values.mean(), abs=1e-12)
    assert found.low == pytest.approx(values.mean() - reach, abs=0.1 * reach)
    assert found.high == pytest.approx(values.mean() + reach, abs=0.1 * reach)


def test_about_95_of_100_intervals_hold_the_truth():
    drawn = np.random.default_rng(1).exponential(1.0, (20, 200)) - 1
    found = bootstrap(drawn)
    held = ((found.low <= 0) & (found.high >= 0)).mean()
    assert 0.87 <= held <= 0.98


def test_what_is_undefined_is_left_out_and_counted():
    values = np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan], [5.0, 4.0]])
    found = bootstrap(values)
    assert found.mean.tolist() == [3.0, 4.0]
    assert found.count.tolist() == [3, 1]
    assert np.isnan([found.low[1], found.high[1]]).all()
    assert 1.0 <= found.low[0] + 1 <= found.high[0]
    assert np.isnan(bootstrap(np.full((3, 1), np.nan)).mean).all()


def test_the_same_seed_draws_the_same_and_another_does_not():
    values = np.random.default_rng(2).normal(size=(30, 2))
    assert np.array_equal(bootstrap(values, seed=1).low, bootstrap(values, seed=1).low)
    assert not np.array_equal(bootstrap(values, seed=1).low, bootstrap(values, seed=2).low)


def test_a_sign_flip_test_of_few_pictures_tries_all_signs():
    differences = np.array([0.5, 1.0, -0.2, 2.0, 0.1])
    values = np.stack([np.zeros(5), differences], axis=1)
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((1, -1), repeat=5)]
    expected = np.mean([each >= abs(differences.sum()) - 1e-9 for each in sums])
    found = paired_p_values(values, 0)
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(expected)


def test_a_sign_flip_test_of_many_pictures_finds_a_shift_and_nothing_in_noise():
    noise = np.random.default_rng(3).normal(size=(100, 3))
    noise[:, 2] += 1.0
    found = paired_p_values(noise, 0)
    assert found[1] > 0.05
    assert found[2] == pytest.approx(1 / 10000)


def test_holm_by_hand():
    found = adjust_holm(np.array([0.01, np.nan, 0.04, 0.03, 0.005]))
    assert found[[0, 2, 3, 4]].tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert np.isnan(found[1])


def test_pictures_needed_is_the_inverse_of_the_interval():
    values = np.array([0.0, 2.0] * 50)
    deviation = values.std(ddof=1)
    assert pictures_needed(values, 1.959964 * deviation / 10) in (100, 101)
    assert pictures_needed(values[:1], 0.1) is None
    assert pictures_needed(values, 0.0) is None


def test_ranks_share_ties_and_leave_out_what_is_undefined():
    values = np.array([[3.0, 1.0, 3.0, np.nan]])
    assert rank_rows(values, higher=True)[0, :3].tolist() == [1.5, 3.0, 1.5]
    assert rank_rows(values, higher=False)[0, :3].tolist() == [2.5, 1.0, 2.5]
    assert np.isnan(rank_rows(values, higher=True)[0, 3])


def test_metrics_that_order_alike_agree_and_opposite_ones_disagree():
    order = np.array([1.0, 2.0, 3.0, 4.0])
    ranks = np.stack([np.stack([order, order, order[::-1], np.full(4, 2.5)], axis=1)] * 3)
    found = rank_agreement(ranks)
    assert found[0, 1] == pytest.approx(1)
    assert found[0, 2] == pytest.approx(-1)
    assert np.isnan(found[0, 3])
    assert np.array_equal(found, found.T, equal_nan=True)


def test_controls_are_what_they_say():
    pixels = np.zeros((3, 12, 16), np.float32)
    pixels[:, :, 8:] = 1
    maps = {name: control(pixels, 0) for name, control in CONTROLS.items()}
    assert {each.shape for each in maps.values()} == {(12, 16)}
    assert {each.dtype for each in maps.values()} == {np.dtype(np.float32)}
    assert np.flatnonzero(maps["edges"].sum(axis=0)).tolist() == [7, 8]
    assert maps["edges"][5, 7] == pytest.approx(4 * np.sqrt(3))
    assert np.unravel_index(maps["centre"].argmax(), (12, 16)) in [(5, 7), (5, 8), (6, 7), (6, 8)]
    assert maps["centre"][0, 0] == pytest.approx(np.exp(-(((5.5 / 12) * 4) ** 2 + ((7.5 / 16) * 4) ** 2) / 2), rel=1e-5)
    assert np.ptp(maps["constant"]) == 0
    assert not np.array_equal(maps["random"], CONTROLS["random"](pixels, 1))
    assert maps["random"].mean() == pytest.approx(0.5, abs=0.1)


def test_random_phases_keep_the_amplitudes_and_the_mean():
    values = np.random.default_rng(4).random((15, 16)).astype(np.float32)
    values[2:6, 3:9] += 2
    found = random_phases(values, 3, 0)
    assert found.shape == (3, 15, 16)
    assert np.abs(np.fft.fft2(found)) == pytest.approx(
        np.broadcast_to(np.abs(np.fft.fft2(values)), (3, 15, 16)), abs=2e-3
    )
    assert found.mean(axis=(1, 2)) == pytest.approx(np.full(3, values.mean()), abs=1e-5)
    assert abs(np.corrcoef(found[0].ravel(), values.ravel())[0, 1]) < 0.5
    assert not np.array_equal(found[0], found[1])


def test_random_phases_of_nothing_are_nothing():
    assert np.array_equal(random_phases(np.full((4, 4), np.nan, np.float32), 2, 0), np.zeros((2, 4, 4)))
