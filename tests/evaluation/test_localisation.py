"""Maps against masks and boxes: perfect ones, constant ones, and small ones worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cnnviz.errors import ParameterError
from cnnviz.evaluation.localisation import (
    at_best_thresholds,
    iou,
    iou_otsu,
    mass,
    max_box_acc,
    max_box_acc_curve,
    object_boxes,
    object_mask,
    pointing,
    rank,
)
from tests.support.judging import given_case

EVERY = (pointing, mass, rank, iou, iou_otsu, max_box_acc)
EXACT = {"rtol": 0, "atol": 1e-12}


@pytest.fixture
def mask():
    """12 of 48 pixels."""
    held = np.zeros((6, 8), bool)
    held[1:5, 2:5] = True
    return held


@pytest.mark.parametrize("metric", EVERY)
def test_a_perfect_map_has_one(metric, mask):
    assert metric(given_case(mask), mask[None].astype(np.float32)).tolist() == [1]


@pytest.mark.parametrize("metric", [pointing, mass, rank, iou, iou_otsu])
def test_a_constant_map_has_the_share_of_the_mask(metric, mask):
    settings = {"tolerance": 0} if metric is pointing else {}
    for value in (1.0, 1e-30, 1e30):
        found = metric(given_case(mask), np.full((1, 6, 8), value), **settings)
        np.testing.assert_allclose(found, [0.25], **EXACT)


@pytest.mark.parametrize("metric", EVERY)
def test_a_map_without_positive_mass_is_undefined(metric, mask):
    maps = np.stack([np.zeros((6, 8)), np.full((6, 8), np.nan), -np.ones((6, 8)), mask.astype(float)])
    assert np.isnan(metric(given_case(mask), maps)).tolist() == [True, True, True, False]


@pytest.mark.parametrize("metric", EVERY)
def test_an_empty_mask_is_undefined_and_no_hit(metric, mask):
    assert np.isnan(metric(given_case(np.zeros((6, 8), bool)), mask[None].astype(float))).all()
    assert np.isnan(metric(given_case(mask, ignored=mask), np.ones((1, 6, 8)))).all()


@pytest.mark.parametrize("metric", EVERY)
def test_nobody_says_where_the_object_is(metric):
    with pytest.raises(ParameterError, match="Where the object of 'dog' is, nobody says: expected a mask or boxes"):
        metric(given_case(None, shape=(6, 8), name="dog"), np.ones((1, 6, 8)))


def test_pointing_with_the_tolerance_of_torchray():
    mask = np.zeros((64, 64), bool)
    mask[0, 0] = True
    maps = np.zeros((5, 64, 64))
    for at, place in enumerate([(0, 14), (0, 15), (9, 12), (10, 11), (11, 11)]):  # 14, 15, 15, 14.87, 15.56 px away
        maps[(at, *place)] = 1
    assert pointing(given_case(mask), maps).tolist() == [1, 0, 0, 1, 0]
    assert pointing(given_case(mask), maps, tolerance=0).tolist() == [0] * 5
    maps[:, 0, 0] = 1
    assert pointing(given_case(mask), maps, tolerance=0).tolist() == [0.5] * 5


def test_mass_and_rank_by_hand():
    mask = np.array([[True, True, True], [False, False, False]])
    one = np.array([[4.0, 1.0, -2.0], [3.0, 2.0, np.nan]])
    assert mass(given_case(mask), one[None]).tolist() == [0.5]
    assert rank(given_case(mask), one[None]).tolist() == [1 / 3]
    tied = np.array([[5.0, 1.0, 0.0], [1.0, 1.0, 1.0]])  # one sure, and two of four equal ones, of which one is inside
    np.testing.assert_allclose(rank(given_case(mask), tied[None]), [(1 + 2 / 4) / 3], **EXACT)


def test_overlaps_by_hand():
    mask = np.array([[True, True, False, False]])
    one = np.array([[9.0, 1.0, 8.0, 0.0]])  # marks 1, 2, 3, 4 pixels: 1/2, 1/3, 2/3, 2/4
    np.testing.assert_allclose(iou(given_case(mask), one[None]), [2 / 3], **EXACT)
    np.testing.assert_allclose(iou_otsu(given_case(mask), one[None]), [1 / 3], **EXACT)
    np.testing.assert_allclose(iou(given_case(mask), np.array([[[2.0, 1.0, 2.0, 1.0]]])), [0.5], **EXACT)


def test_what_is_ignored_is_neither_in_the_map_nor_in_the_mask():
    mask = np.array([[True, True, False, False, False]])
    ignored = np.array([[False, True, False, True, False]])
    case = given_case(mask, ignored=ignored)
    one = np.array([[[2.0, 7.0, 1.0, 9.0, 1.0]]])
    assert pointing(case, one, tolerance=0).tolist() == [1]
    assert mass(case, one).tolist() == [0.5]
    assert rank(case, one).tolist() == [1]
    assert iou(case, one).tolist() == [1]
    assert iou_otsu(case, one).tolist() == [1]
    only = np.array([[[0.0, 7.0, 0.0, 9.0, 0.0]]])
    assert np.isnan([metric(case, only)[0] for metric in (pointing, mass, rank, iou, iou_otsu)]).all()


def test_values_on_average_of_random_maps_are_the_share_of_the_mask(mask):
    maps = np.random.default_rng(0).random((4000, 6, 8))
    case = given_case(mask)
    for metric, expected in ((pointing, 0.25), (mass, 0.25), (rank, 0.25), (iou_otsu, None)):
        settings = {"tolerance": 0} if metric is pointing else {}
        found = metric(case, maps, **settings)
        if expected is None:
            assert found.mean() < 0.25
        else:
            assert abs(found.mean() - expected) < 4 * found.std() / np.sqrt(4000)


def test_boxes_stand_in_for_a_mask_and_a_mask_for_boxes(mask):
    boxed = given_case(None, shape=(6, 8), boxes=((2.0, 1.0, 5.0, 5.0),))
    np.testing.assert_array_equal(object_mask(boxed), mask)
    assert object_boxes(given_case(mask)).tolist() == [[2, 1, 5, 5]]
    assert object_boxes(boxed).tolist() == [[2, 1, 5, 5]]
    between = given_case(None, shape=(2, 3), boxes=((0.6, 0.0, 1.6, 0.6), (2.4, 1.0, 3.0, 2.0)))
    assert object_mask(between).tolist() == [[False, True, False], [False, False, True]]


def test_boxes_made_from_maps_against_three_overlaps():
    case = given_case(None, shape=(10, 10), boxes=((0.0, 0.0, 4.0, 5.0),))
    values = np.zeros((10, 10))
    values[0:4, 0:5] = 0.5  # above 0: 16 of 24 px, 2/3
    values[0:3, 0:3] = 1.0  # above 0.5: 9 of 20 px
    values[8:, 8:] = 0.75  # another part, far away
    curve = max_box_acc_curve(case, values[None], thresholds=4)
    assert curve.tolist() == [[[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]]
    np.testing.assert_allclose(max_box_acc(case, values[None], thresholds=4), [2 / 3], **EXACT)


def test_a_constant_map_marks_the_whole_picture_at_every_threshold():
    case = given_case(None, shape=(10, 10), boxes=((0.0, 0.0, 6.0, 10.0),))
    curve = max_box_acc_curve(case, np.full((1, 10, 10), 3.0), thresholds=5)
    assert curve.tolist() == [[[1] * 5, [1] * 5, [0] * 5]]


def test_a_value_that_is_missing_is_the_least():
    case = given_case(None, shape=(4, 4), boxes=((0.0, 0.0, 2.0, 4.0),))
    values = np.full((1, 4, 4), np.nan)
    values[0, :, :2] = 2.0
    values[0, 0, 0] = 1.0
    assert max_box_acc(case, values).tolist() == [1]


def test_the_thresholds_of_a_data_set_are_one_for_each_overlap():
    curves = np.array([
        [[1, 1, 0], [0, 1, 0], [0, 0, 1]],
        [[0, 1, 1], [1, 0, 0], [0, 0, 1]],
        [[0, 1, 0], [0, 1, 0], [0, 0, 0]],
        np.full((3, 3), np.nan),
    ])  # fmt: skip
    np.testing.assert_allclose(at_best_thresholds(curves), [1, 2 / 3, 2 / 3, np.nan], **EXACT)
    assert np.isnan(at_best_thresholds(curves[3:])).all()
