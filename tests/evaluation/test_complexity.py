"""How sparse and how even maps are: closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from cnnviz.evaluation.complexity import entropy, gini
from cnnviz.evaluation.metric import METRICS
from tests.support.judging import given_case

CASE = given_case(np.ones((2, 2)))
EXACT = {"rtol": 0, "atol": 1e-12}


def test_ginis_and_entropies_by_hand():
    maps = np.array([
        [[1.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [5.0, 0.0]], [[1.0, -2.0], [3.0, -4.0]], [[np.nan, 0.0], [2.0, 2.0]],
    ])  # fmt: skip
    np.testing.assert_allclose(gini(CASE, maps), [0, 0.75, (-3 - 2 + 3 + 12) / 40, 0.5], **EXACT)
    shares = np.array([1, 2, 3, 4]) / 10
    expected = [np.log(4), 0, -(shares * np.log(shares)).sum(), np.log(2)]
    np.testing.assert_allclose(entropy(CASE, maps), expected, **EXACT)


@pytest.mark.parametrize("metric", [gini, entropy])
def test_a_map_without_positive_mass_is_undefined_and_size_does_not_matter(metric):
    maps = np.stack([np.zeros((2, 2)), np.full((2, 2), np.nan), -np.ones((2, 2)), np.array([[1.0, 2.0], [0.0, 4.0]])])
    found = metric(CASE, maps)
    assert np.isnan(found).tolist() == [True, True, True, False]
    np.testing.assert_allclose(metric(CASE, maps[3:] * 1e-6), found[3:], **EXACT)


def test_uniform_noise_has_what_the_list_says():
    noise = np.random.default_rng(0).random((1, 300, 300))
    assert METRICS["gini"].chance == "0.33 for uniform noise"
    assert gini(CASE, noise)[0] == pytest.approx(1 / 3, abs=0.005)
    assert METRICS["entropy"].chance == "0.19 below the logarithm of the number of pixels"
    assert np.log(90000) - entropy(CASE, noise)[0] == pytest.approx(np.log(2) - 0.5, abs=0.005)
