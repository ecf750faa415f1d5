"""Accuracy: shares with intervals, confusion and its order, two networks, against closed forms and other libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnviz.auditing.accuracy import (
    Share,
    confusion_matrix,
    group_shares,
    mcnemar,
    order_classes,
    per_class,
    worst_pairs,
)

RNG = np.random.default_rng(0)
TRUTH = RNG.integers(0, 7, 500)
ANSWER = np.where(RNG.random(500) < 0.6, TRUTH, RNG.integers(0, 7, 500))


def test_wilsons_interval_has_the_values_of_its_paper():
    """Wilson's interval of 81 of 263 is .2553 to .3662 (Newcombe 1998, table I, method 3); 0 of 20 goes up to .1611."""
    share = Share.of(81, 263)
    assert (round(share.low, 4), round(share.high, 4)) == (0.2553, 0.3662)
    none = Share.of(0, 20)
    assert (none.low, round(none.high, 4)) == (0.0, 0.1611)
    assert (round(Share.of(20, 20).low, 4), Share.of(20, 20).high) == (0.8389, 1.0)
    assert math.isnan(Share.of(0, 0).value)
    assert math.isnan(Share.of(0, 0).low)


def test_accuracy_and_confusion_are_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    matrix = confusion_matrix(TRUTH, ANSWER, 7)
    assert np.array_equal(matrix, metrics.confusion_matrix(TRUTH, ANSWER, labels=range(7)))
    assert Share.of(int(np.trace(matrix)), 500).value == metrics.accuracy_score(TRUTH, ANSWER)
    shares = per_class(TRUTH, TRUTH == ANSWER, 7)
    assert [each.value for each in shares] == metrics.recall_score(TRUTH, ANSWER, average=None).tolist()


def test_a_class_without_pictures_has_no_share():
    shares = per_class(np.array([0, 0, 2]), np.array([True, False, True]), 4)
    assert [(each.count, each.total) for each in shares] == [(1, 2), (0, 0), (1, 1), (0, 0)]


def test_groups_are_counted_by_their_names_and_empty_ones_left_out():
    found = group_shares(["b", "a", "", "b"], np.array([True, False, True, False]))
    assert {name: (each.count, each.total) for name, each in found.items()} == {"a": (0, 1), "b": (1, 2)}
    assert list(found) == ["a", "b"]


def test_confused_classes_stand_together_and_empty_ones_last():
    matrix = np.diag([10, 10, 10, 10, 0, 10])
    matrix[0, 3] = matrix[3, 0] = 5
    matrix[1, 5] = 4
    order = order_classes(matrix).tolist()
    assert sorted(order) == [0, 1, 2, 3, 4, 5]
    assert abs(order.index(0) - order.index(3)) == 1
    assert abs(order.index(1) - order.index(5)) == 1
    assert order[-1] == 4


def test_blocks_of_classes_show_in_the_order():
    classes = np.array([0, 1, 0, 2, 1, 2, 0, 1, 2])
    matrix = np.where(classes[:, None] == classes[None], 3, 0) + 20 * np.eye(9, dtype=int)
    ordered = classes[order_classes(matrix)]
    assert (np.diff(ordered) != 0).sum() == 2


def test_the_most_frequent_mistakes_come_first_and_right_answers_never():
    matrix = np.array([[9, 2, 0], [5, 9, 0], [0, 1, 9]])
    assert worst_pairs(matrix) == [(1, 0, 5), (0, 1, 2), (2, 1, 1)]
    assert worst_pairs(matrix, 1) == [(1, 0, 5)]
    assert worst_pairs(np.diag([3, 3])) == []


def test_mcnemars_test_is_the_exact_binomial():
    first = np.array([True] * 9 + [False] * 2 + [True] * 20 + [False] * 4)
    second = np.array([False] * 9 + [True] * 2 + [True] * 20 + [False] * 4)
    found = mcnemar(first, second)
    assert (found.both, found.first, found.second, found.neither) == (20, 9, 2, 4)
    assert found.p_value == pytest.approx(2 * (1 + 11 + 55) / 2**11, abs=1e-15)
    assert found.difference == pytest.approx(7 / 35)
    assert found.low < found.difference < found.high
    scipy = pytest.importorskip("scipy.stats")
    assert found.p_value == pytest.approx(scipy.binomtest(2, 11).pvalue, abs=1e-12)


def test_the_paired_interval_has_the_values_of_its_paper():
    """36, 12, 2, 0 of 50: .2 with .0569 to .3404 (Newcombe 1998, part III, method 10)."""
    first = np.array([True] * 48 + [False] * 2)
    second = np.array([True] * 36 + [False] * 12 + [True] * 2)
    found = mcnemar(first, second)
    assert (found.both, found.first, found.second, found.neither) == (36, 12, 2, 0)
    assert (round(found.difference, 4), round(found.low, 4), round(found.high, 4)) == (0.2, 0.0569, 0.3404)


def test_equal_networks_are_not_told_apart():
    right = np.array([True, False, True])
    found = mcnemar(right, right)
    assert (found.p_value, found.difference) == (1.0, 0.0)
    many = mcnemar(np.arange(30_000) % 2 == 0, np.arange(30_000) % 2 == 1)
    assert many.p_value == 1.0
