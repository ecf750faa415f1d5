"""Occlusion within a budget: what it asks, what it estimates, and an error bar that is true."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import cnnviz
from cnnviz.engine.windows import route
from cnnviz.engine.windows.window import Windows
from cnnviz.methods.occlusion import windows as scorer_regions
from cnnviz.methods.occlusion.budget import Plan
from cnnviz.methods.occlusion.estimate import PROBES, error_bar, sample, thin_plate
from tests.support.counting import flops


def bumps(side: int, seed: int) -> np.ndarray:
    """A surface of a few bumps with some roughness, flattened."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices((side, side)) / side
    surface = sum(
        height * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 0.02)
        for height, row, column in random.uniform(0, 1, (4, 3))
    )
    return (surface + random.normal(0, 0.02, (side, side))).ravel()


def test_a_spline_goes_through_its_values_and_keeps_planes():
    random = np.random.default_rng(0)
    places, at = random.random((20, 2)) * 10, random.random((50, 2)) * 10
    values = random.random((20, 2))
    assert np.allclose(thin_plate(places, values, places), values)
    plane = places @ np.array([[2.0], [-1.0]]) + 3
    assert np.allclose(thin_plate(places, plane, at), at @ np.array([[2.0], [-1.0]]) + 3)


@pytest.mark.parametrize("count", [39, 60, 150])
@pytest.mark.parametrize("shape", [(15, 15), (7, 40), (4, 60)])
def test_every_evaluation_is_counted_and_kept(shape, count):
    asked = []
    values = np.random.default_rng(0).random((2, shape[0] * shape[1]))

    def ask(numbers):
        asked.extend(numbers.tolist())
        return values[:, numbers]

    found = sample(ask, shape, count, seed=1)
    assert len(asked) == len(set(asked)) == count
    assert np.array_equal(found.values[:, asked], values[:, asked])
    assert found.unevaluated == shape[0] * shape[1] - count + PROBES
    assert found.misses.shape == (2, PROBES)


def test_the_rest_goes_to_where_the_estimate_changes():
    _, columns = np.indices((25, 25))
    step = np.tanh((columns - 16) / 2.0).ravel()[None]
    asked = []
    sample(lambda numbers: asked.extend(numbers.tolist()) or step[:, numbers], (25, 25), 150, seed=0)
    near = np.abs(np.array(asked[49:120]) % 25 - 16) <= 4
    assert near.mean() > 1.3 * 9 / 25


def test_a_smooth_surface_is_estimated_well():
    surface = bumps(25, 3)
    found = sample(lambda numbers: surface[None, numbers], (25, 25), 156, seed=0).values[0]
    assert np.corrcoef(found, surface)[0, 1] > 0.97


@pytest.mark.parametrize(("unevaluated", "place"), [(500, 30), (60, 30), (31, 28)])
def test_the_bar_is_an_order_statistic(unevaluated, place):
    misses = np.arange(1.0, 31) * np.where(np.arange(30) % 2, 1, -1)
    assert error_bar(misses, unevaluated) == place


def test_more_probes_than_needed_give_a_tighter_bar():
    assert error_bar(np.arange(1.0, 201), 10_000) == 188


def test_the_bars_statement_is_true_as_often_as_it_says():
    true = 0
    for draw in range(150):
        surface = bumps(15, draw % 10)
        found = sample(lambda numbers, surface=surface: surface[None, numbers], (15, 15), 70, seed=draw)
        bar = error_bar(found.misses[0], found.unevaluated)
        true += (np.abs(found.values[0] - surface) > bar).sum() <= 0.1 * found.unevaluated
    assert true >= 0.93 * 150


@pytest.mark.parametrize("regions", [True, False], ids=["window by window", "whole pictures"])
def test_no_more_work_than_the_budget(small, inputs, monkeypatch, regions):
    monkeypatch.setattr(route, "STOP", 0)
    if not regions:
        monkeypatch.setattr(scorer_regions, "plan_route", lambda *_: None)
    forward = flops(lambda: small.module(inputs[:1]))
    around = 5 if regions else 2  # folding, comparing, and for regions the picture and two windows on the copy
    sums = 0.1  # the map's own, made from the windows' values
    for budget, windows, said in ((45, 43, ("36 of 49 windows were estimated",)), (100, 49, ())):
        found = []
        work = flops(lambda budget=budget, found=found: found.append(explained(small, inputs, budget)))
        assert work <= (2 + windows + around + sums) * forward
        assert all(any(each in check for check in found[0].checks) for each in said)


def explained(model, inputs, budget):
    return cnnviz.occlusion(model, inputs[:1], 1, window=8, stride=4, budget=budget)


def test_a_budget_for_everything_is_exact(small, inputs):
    exact = cnnviz.occlusion(small, inputs, 1, window=8, stride=4)
    found = cnnviz.occlusion(small, inputs, 1, window=8, stride=4, budget=51)
    assert np.array_equal(found.values, exact.values)
    assert found[0].error_bar is None


def test_the_bar_is_said_and_saved(small, inputs, tmp_path):
    found = cnnviz.occlusion(small, inputs[:2], [1, 2], window=8, stride=2, budget=80, seed=4)
    merged, how = found.checks
    assert merged.startswith("121 of 169 windows were estimated, at least 90 % of them within ")
    assert merged.endswith("of the map's range, at 95 % confidence (2 maps)")
    assert how == "48 windows were evaluated; 30 of the others, drawn at random, judge it"
    for one in found:
        assert f"within {100 * one.error_bar / np.ptp(one.values):.1f}% of the map's range" in " ".join(one.checks)
    with np.load(found.save(tmp_path / "map.npz")) as saved:
        assert saved["error_bars"].shape == (2,)
    again = cnnviz.occlusion(small, inputs[:2], [1, 2], window=8, stride=2, budget=80, seed=4)
    assert np.array_equal(found.values, again.values)


def test_several_baselines_share_the_budget(small, inputs):
    found = cnnviz.occlusion(small, inputs[:1], 1, window=8, stride=2, budget=123, baseline="mean,black")
    assert found.checks[0].startswith("139 of 169 windows were estimated")
    assert found[0].spread is not None


def test_the_bar_is_of_the_baselines_mean():
    windows = Windows.over((32, 32), 8, 2)
    surface = bumps(13, 1)

    def drops(numbers):
        return np.stack([surface[numbers], 3 - surface[numbers]])[:, None]

    values = Plan(windows, 2, 123, None, 0).follow(SimpleNamespace(drops=drops))
    assert values.estimated == 139
    assert values.bars[0] < 1e-9  # what one estimate is too high by, the other is too low by
    assert np.abs(values.drops[0, 0] - surface).max() > 0.01


def test_seconds_bound_the_work(small, inputs, monkeypatch):
    now = iter([0.0, 1.6])
    monkeypatch.setattr("cnnviz.methods.occlusion.budget.time", SimpleNamespace(monotonic=lambda: next(now)))
    found = cnnviz.occlusion(small, inputs[:1], 1, window=8, stride=2, seconds=8.6)
    assert found.checks[0].startswith("129 of 169 windows were estimated")


def test_too_few_seconds_are_said(small, inputs):
    found = cnnviz.occlusion(small, inputs[:1], 1, window=8, stride=2, seconds=1e-6)
    assert any("1e-06 seconds are too few for an error bar" in check for check in found.checks)
    assert found[0].error_bar is not None


def test_the_spline_is_the_thin_plates():
    """Through 1 and -1 at opposite corners of a square no plane is left, only the four corners' ``r^2 log r``."""
    corners = np.array([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    values = np.array([[1.0], [1.0], [-1.0], [-1.0]])
    at = np.array([[0.3, 0.3], [0.2, -0.7], [1.5, 0.4], [0.6, 0.0]])
    distances = np.hypot(*(at[:, None] - corners).transpose(2, 0, 1))
    expected = (distances**2 * np.log(distances)) @ values / (4 * np.log(2))
    assert np.allclose(thin_plate(corners, values, at), expected)
    assert abs(expected[3, 0]) < 1e-12
