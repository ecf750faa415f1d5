"""Histograms with fixed edges, and quantiles from them."""

from __future__ import annotations

import numpy as np
import pytest

from cnnviz.engine.tally.tally import BINS, _bin_edges, bins_of, quantiles

LEVELS = (0.0, 0.01, 0.25, 0.5, 0.9, 0.995, 1.0)


def histogram(values):
    return np.bincount(bins_of(values), minlength=BINS).astype(np.uint32)[None]


def test_every_value_lies_between_its_bins_edges():
    rng = np.random.default_rng(0)
    values = (rng.standard_normal(5000) * 10.0 ** rng.uniform(-6, 7, 5000)).astype(np.float32)
    values = np.concatenate([values, np.float32([0.0, -0.0, 2**-12, -(2**-12), 2**16, -(2**16), 1.0, -1.0])])
    found, edges = bins_of(values), _bin_edges()
    assert len(edges) == BINS + 1
    assert (np.diff(edges) > 0).all()
    assert ((values >= edges[found]) & (values <= edges[found + 1])).all()
    assert bins_of(np.float32([0.0, -0.0, 1e-5, -1e-5])).tolist() == [BINS // 2] * 4


def test_bins_are_a_sixteenth_of_an_octave():
    edges = _bin_edges()
    positive = edges[(edges > 0) & np.isfinite(edges)]
    assert ((positive[1:] - positive[:-1]) / positive[:-1]).max() == 1 / 16
    assert positive[0] == 2**-12
    assert positive[-1] == 2**16


@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0])
def test_quantiles_are_near_the_exact_ones(shift):
    values = (np.random.default_rng(1).standard_normal(4000) + shift).astype(np.float32)
    found = quantiles(histogram(values), values.min(keepdims=True), values.max(keepdims=True), LEVELS)[0]
    exact = np.quantile(values, LEVELS)
    assert (np.abs(found - exact) <= np.abs(exact) / 16 + 2**-11).all()
    assert (np.diff(found) >= 0).all()


def test_quantiles_of_values_evenly_spread_over_a_bin_are_those_values():
    values = (1 + (np.arange(16) + 0.5) / 256).astype(np.float32)
    found = quantiles(histogram(values), np.float32([1]), np.float32([2]), np.arange(16) / 15)
    assert np.allclose(found[0], values, rtol=1e-12)


def test_quantiles_of_zeros_one_value_and_none():
    zeros, ones = np.zeros(9, np.float32), np.full(9, 1.03, np.float32)
    counts = np.concatenate([histogram(zeros), histogram(ones), np.zeros((1, BINS), np.uint32)])
    low, high = np.float32([0, 1.03, np.inf]), np.float32([0, 1.03, -np.inf])
    found = quantiles(counts, low, high, LEVELS)
    assert (found[0] == 0).all()
    assert (found[1] == np.float32(1.03)).all()
    assert np.isnan(found[2]).all()


def test_values_beyond_the_edges_stay_within_what_there_was():
    values = np.float32([2**20, 2**21, -(2**20)])
    found = quantiles(histogram(values), values.min(keepdims=True), values.max(keepdims=True), (0.0, 1.0))[0]
    assert found[0] >= -(2**20)
    assert found[1] <= 2**21
