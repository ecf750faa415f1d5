"""Deletion, insertion, symmetric relevance gain and average drop: worked out by hand on linear networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from cnnviz.errors import ParameterError
from cnnviz.evaluation.faithfulness import (
    area,
    average_drop,
    average_gain,
    average_increase,
    average_scores,
    deletion,
    deletion_curve,
    insertion,
    insertion_curve,
    order_ranks,
    removal_curves,
    rise_blur,
    srg,
    srg_curve,
)
from cnnviz.evaluation.metric import RISE_2018, Case
from tests.support.judging import Asked, contributions, linear_case

EXACT = {"rtol": 0, "atol": 1e-12}
LINE = [0.08795815, 0.08889612, 0.0904742, 0.09219112, 0.09348939, 0.09398206]
"""Half of the marginal of scipy 1.17's ``gaussian_filter(impulse of 11 x 11, 5)``, RISE's ``gkern(11, 5)``."""
EVERY = (deletion, insertion, srg, average_drop, average_increase, average_gain)


@pytest.fixture
def four():
    """Pixels that add .4, .1, .3 and .2 to the probability, in the order of reading."""
    return linear_case([[[4.0, 0.5], [1.5, -2.0]]], [[[0.1, 0.2], [0.2, -0.1]]])


@pytest.fixture
def perfect(four):
    found = contributions(four)
    np.testing.assert_allclose(found, [[0.4, 0.1], [0.3, 0.2]], **EXACT)
    return found


def test_deletion_of_the_perfect_the_reversed_and_a_constant_map(four, perfect):
    maps = np.stack([perfect, 1 - perfect, np.ones((2, 2))])
    curves = deletion_curve(four, maps, steps=4)
    np.testing.assert_allclose(curves, [[1, 0.6, 0.3, 0.1, 0], [1, 0.9, 0.7, 0.4, 0], [1, 0.6, 0.5, 0.2, 0]], **EXACT)
    np.testing.assert_allclose(deletion(four, maps, steps=4), [0.375, 0.625, 0.45], **EXACT)
    np.testing.assert_allclose(deletion(four, maps, steps=2), [(0.5 + 0.3) / 2, (0.5 + 0.7) / 2, 0.5], **EXACT)


def test_srg_is_the_two_areas_difference_and_of_a_constant_map_exactly_nothing(four, perfect):
    maps = np.stack([perfect, 1 - perfect, np.full((2, 2), 3.0)])
    np.testing.assert_allclose(srg_curve(four, maps[:1], steps=4), [[0, 0.3, 0.4, 0.3, 0]], **EXACT)
    np.testing.assert_allclose(srg(four, maps, steps=4), [0.25, -0.25, 0], **EXACT)
    assert srg(four, maps, steps=4)[2] == 0


def test_insertion_begins_with_the_blurred_picture():
    rng = np.random.default_rng(0)
    weights, pixels = rng.normal(size=(2, 5, 6)), rng.random((2, 5, 6))
    case = linear_case(weights, pixels, bias=0.25)
    line = np.array(LINE + LINE[-2::-1])
    blurred = np.zeros_like(pixels)
    for row, column in np.ndindex(5, 6):
        for down, across in np.ndindex(11, 11):
            at = row + down - 5, column + across - 5
            if 0 <= at[0] < 5 and 0 <= at[1] < 6:
                blurred[:, row, column] += line[down] * line[across] * pixels[:, at[0], at[1]]
    gains = (weights * (pixels - blurred)).sum(0).ravel()
    chosen = rng.permutation(30).reshape(5, 6) + 1.0
    maps = np.stack([chosen, 31 - chosen, np.ones((5, 6))])
    expected = []
    for order in (np.argsort(-chosen.ravel()), np.argsort(chosen.ravel()), np.arange(30)):
        curve = 0.25 + (weights * blurred).sum() + np.concatenate([[0], np.cumsum(gains[order])])
        expected.append(curve[::5])
    np.testing.assert_allclose(insertion_curve(case, maps, steps=6), expected, rtol=0, atol=1e-6)
    areas = [(curve[0] / 2 + curve[1:-1].sum() + curve[-1] / 2) / 6 for curve in np.array(expected)]
    np.testing.assert_allclose(insertion(case, maps, steps=6), areas, rtol=0, atol=1e-6)


def test_the_blur_is_that_of_rise_and_exact():
    impulse = torch.zeros(1, 2, 11, 11, dtype=torch.float64)
    impulse[0, 0, 5, 5] = 1
    blurred = rise_blur(impulse)[0]
    line = np.array(LINE + LINE[-2::-1])
    np.testing.assert_allclose(blurred[0], np.outer(line, line), rtol=0, atol=1e-8)
    assert blurred[0].sum() == pytest.approx(1, abs=1e-12)
    assert not blurred[1].any()


def rise_by_hand(probability, inputs, explanation, step, substrate, *, insert):
    """RISE's causal metric as its paper says it, one picture after another."""
    total = explanation.size
    order = np.argsort(-explanation.ravel(), kind="stable")
    start, end = (substrate, inputs) if insert else (inputs, substrate)
    now, scores = start.clone().flatten(2), []
    for at in range(total // step + 1):
        scores.append(probability(now.view_as(inputs)).item())
        chosen = order[step * at : step * (at + 1)]
        now[:, :, chosen] = end.flatten(2)[:, :, chosen]
    return np.array(scores)


@pytest.mark.parametrize("kind", ["picture", "data set"])
def test_the_preset_is_rises_protocol_at_its_own_size(kind):
    steps = RISE_2018[kind]
    step = {"picture": 224, "data set": 224 * 8}[kind]
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(3, 1, 224, 224, generator=generator, dtype=torch.float64) / 400
    inputs = torch.randn(1, 3, 224, 224, generator=generator, dtype=torch.float64)

    def probability(pictures):
        logits = torch.stack([(pictures * weights[at]).sum((1, 2, 3)) for at in range(3)], dim=1)
        return functional.softmax(logits, dim=1)[:, 0]

    case = Case(inputs, probability, probability, torch.ones(3, 1, 1))
    explanation = torch.rand(224, 224, generator=generator, dtype=torch.float64).numpy()
    explanation[100:] = 0
    curves = removal_curves(case, explanation[None], ("deletion", "insertion"), steps=steps)
    for name, substrate in (("deletion", torch.zeros_like(inputs)), ("insertion", rise_blur(inputs))):
        expected = rise_by_hand(probability, inputs, explanation, step, substrate, insert=name == "insertion")
        assert curves[name].shape == (1, steps + 1)
        np.testing.assert_allclose(curves[name][0], expected, rtol=0, atol=1e-12)
        auc = (expected.sum() - expected[0] / 2 - expected[-1] / 2) / (len(expected) - 1)
        assert area(curves[name])[0] == pytest.approx(auc, abs=1e-12)


def test_equal_values_go_in_the_order_of_reading_and_pixels_without_a_value_last():
    one = np.array([[[0.5, np.nan, 0.5], [2.0, -1.0, 0.5]]])
    assert order_ranks(one).tolist() == [[[1, 5, 2], [0, 4, 3]]]
    assert order_ranks(one, least_first=True).tolist() == [[[2, 0, 3], [5, 1, 4]]]


def test_single_channels_can_be_deleted():
    case = linear_case([[[1.0, 2.0]], [[4.0, 8.0]]], np.ones((2, 1, 2)))
    maps = np.array([[[[1.0, 4.0]], [[2.0, 3.0]]]])
    np.testing.assert_allclose(deletion_curve(case, maps, steps=4), [[15, 13, 5, 1, 0]], **EXACT)


def test_average_drop_increase_and_gain_by_hand(four):
    maps = np.array([
        [[2.0, 1.0], [0.0, 0.0]],  # keeps .4 and half of .1
        [[3.0, 1.0], [2.0, -7.0]],  # what is negative counts as 0: 1, 1/3, 2/3, 0
        [[5.0, 5.0], [5.0, 5.0]],
        [[5.0, np.nan], [5.0, 5.0]],
    ])  # fmt: skip
    kept = np.array([0.45, 0.4 + 0.1 / 3 + 0.2, 1, 0.9])
    np.testing.assert_allclose(average_drop(four, maps), 1 - kept, **EXACT)
    assert average_increase(four, maps).tolist() == [0, 0, 0, 0]
    assert average_gain(four, maps).tolist() == [0, 0, 0, 0]


def test_average_gain_where_the_rest_speaks_against_the_target():
    case = linear_case([[[0.8, -0.3]]], [[[1.0, 1.0]]])
    maps = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    found = average_scores(case, maps)
    np.testing.assert_allclose(found["average-drop"], [0, 1.6], **EXACT)
    assert found["average-increase"].tolist() == [1, 0]
    np.testing.assert_allclose(found["average-gain"], [0.3 / 0.5, 0], **EXACT)


def test_average_scores_at_the_ends_of_the_range():
    certain = linear_case([[[1.0, 0.0]]], [[[1.0, 1.0]]])
    assert average_gain(certain, np.ones((1, 1, 2))).tolist() == [0]
    never = linear_case([[[0.0, 0.0]]], [[[1.0, 1.0]]])
    assert np.isnan(average_drop(never, np.ones((1, 1, 2)))).all()
    assert average_gain(never, np.ones((1, 1, 2))).tolist() == [0]


@pytest.mark.parametrize("metric", EVERY)
def test_a_map_without_positive_mass_is_undefined_and_costs_no_forward(four, metric):
    maps = np.stack([np.zeros((2, 2)), np.full((2, 2), np.nan), np.full((2, 2), -1.0)])
    assert np.isnan(metric(four, maps)).all()
    assert four.logit.pictures == 0
    mixed = metric(four, np.concatenate([maps, [[[1.0, 0.2], [0.1, 0.5]]]]))
    assert np.isnan(mixed).tolist() == [True, True, True, False]


def test_curves_share_their_ends_and_their_batches(four, perfect):
    removal_curves(four, perfect[None], ("deletion", "insertion"), steps=28)
    assert four.logit.pictures == 3 + 2 * 27
    assert four.logit.batches == [8] * 7 + [1]
    four.logit.pictures = 0
    removal_curves(four, np.stack([perfect, 1 - perfect]), ("deletion", "least-first", "insertion"), steps=10)
    assert four.logit.pictures == 3 + 2 * 3 * 9


def test_how_many_are_asked_about_at_once_changes_no_value():
    rng = np.random.default_rng(1)
    maps = rng.random((3, 6, 6))
    found = [
        srg(linear_case(np.ones((1, 6, 6)), np.arange(36.0).reshape(1, 6, 6), batch=batch), maps, steps=7)
        for batch in (None, 1, 5, 100)
    ]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], **EXACT)


def test_the_network_is_asked_about_pictures_that_it_may_not_change():
    def answer(pictures):
        pictures.mul_(0)
        return pictures.sum((1, 2, 3))

    inputs = torch.ones(1, 1, 3, 3)
    case = Case(inputs, Asked(answer), Asked(answer), torch.ones(1, 1, 1))
    deletion(case, np.ones((1, 3, 3)), steps=3)
    assert (inputs == 1).all()


def test_maps_of_another_size_and_no_steps_are_refused(four):
    with pytest.raises(ParameterError, match=r"expected \(maps, 2, 2\), got \(1, 3, 3\)"):
        deletion(four, np.ones((1, 3, 3)))
    with pytest.raises(ParameterError, match=r"expected \(maps, 2, 2\), got \(1, 3, 3\)"):
        average_drop(four, np.ones((1, 3, 3)))
    with pytest.raises(ParameterError, match="steps must be at least 1; got 0"):
        deletion(four, np.ones((1, 2, 2)), steps=0)
