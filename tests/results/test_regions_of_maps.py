"""Masks and boxes made from maps: thresholds, Otsu's among them, and the largest connected part."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import cnnviz
from cnnviz.core.picture import Geometry, Picture
from cnnviz.core.region import above, bounding_box, component_boxes, otsu
from cnnviz.core.sample import Signal
from cnnviz.core.target import ClassTarget
from cnnviz.errors import ParameterError
from cnnviz.results.heatmap import Heatmap


def heatmap_of(values, *, original=None, rectified=False, picture=None, **fields) -> Heatmap:
    values = np.asarray(values, np.float32)
    original = original or values.shape
    geometry = Geometry(original, original, (*(0 for _ in original), *original))
    picture = picture or Picture(np.zeros((*original, 3), np.uint8), "photo.jpg", geometry=geometry)
    return Heatmap(values, ClassTarget(0), 1.0, 0.5, picture, "layer", rectified, "network", **fields)


def test_a_share_of_the_maximum_and_negative_values_count_as_nothing():
    values = np.array([[-9.0, 0.0, 1.0], [1.99, 2.0, 10.0], [np.nan, 5.0, 3.0]])
    assert above(values, 0.2).astype(int).tolist() == [[0, 0, 0], [0, 1, 1], [0, 1, 1]]
    assert above(values, 1).astype(int).tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert not above(-np.abs(values), 0.2).any()
    assert above(np.full((2, 2), 7.0), 0.2).all()
    assert above(np.full((2, 2), 7.0), "otsu").all()


@pytest.mark.parametrize("threshold", [0, -0.1, 1.01, float("nan"), "mean"])
def test_other_thresholds_are_refused(threshold):
    with pytest.raises(ParameterError, match="threshold must be 'otsu', or a share of the map's maximum above 0"):
        above(np.ones((2, 2)), threshold)


def test_otsu_is_the_cut_with_the_largest_difference_between_the_groups():
    rng = np.random.default_rng(0)
    for values in (rng.random(50), rng.integers(0, 5, 60).astype(float), rng.normal(size=30) ** 3):
        best = {}
        for cut in np.unique(values)[:-1]:
            low, high = values[values <= cut], values[values > cut]
            best[cut] = len(low) * len(high) * (low.mean() - high.mean()) ** 2
        assert best[otsu(values)] == pytest.approx(max(best.values()), rel=1e-12)
    assert otsu(np.ones(5)) == -np.inf


def test_otsu_is_that_of_opencv_on_grey_levels():
    grey = np.clip(np.random.default_rng(1).normal([80] * 300 + [170] * 100, 20), 0, 255).astype(np.uint8)
    threshold, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    assert ((grey > otsu(grey)) == (grey > threshold)).all()


def test_parts_that_touch_at_a_corner_are_one_and_the_largest_comes_first():
    mask = np.array([[1, 0, 0, 0, 1], [0, 1, 0, 0, 1], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0]], bool)
    assert component_boxes(mask).tolist() == [[0, 0, 3, 3], [4, 0, 5, 2], [0, 4, 2, 5]]
    assert bounding_box(mask) == (0, 0, 3, 3)
    assert bounding_box(np.zeros((3, 3), bool)) is None


def test_a_heatmap_says_its_mask_and_its_box_on_the_original_picture():
    values = np.zeros((4, 4))
    values[1:3, 2] = 1
    values[0, 0] = 0.4
    small = heatmap_of(values, rectified=True)
    assert small.mask(0.5).sum() == 2
    assert small.bounding_box(0.5) == (2, 1, 3, 3)
    assert small.mask().sum() == 3
    assert small.bounding_box("otsu") == (2, 1, 3, 3)
    large = heatmap_of(values, original=(40, 60), rectified=True)
    assert large.mask(0.5).shape == (40, 60)
    left, top, right, bottom = large.bounding_box(0.5)
    assert (left, top, right, bottom) == (30, 10, 45, 30)
    assert large.mask(0.5)[top:bottom, left:right].any(axis=0).all()


def test_what_the_network_did_not_see_is_not_marked():
    picture = Picture(np.zeros((8, 12, 3), np.uint8), "photo.jpg", geometry=Geometry((8, 12), (8, 12), (0, 2, 8, 8)))
    found = heatmap_of(np.ones((8, 8)), picture=picture)
    assert found.mask().any(axis=0).tolist() == [False] * 2 + [True] * 8 + [False] * 2
    assert found.bounding_box() == (2, 0, 10, 8)


def test_a_blank_map_marks_nothing():
    for blank in (
        heatmap_of(np.zeros((3, 3))),
        heatmap_of(-np.ones((3, 3)), rectified=True),
        heatmap_of(np.full((3, 3), 1e-9), rounding=1e-6),
    ):
        assert not blank.mask().any()
        assert blank.bounding_box() is None


def test_a_signal_has_a_mask_but_no_box():
    signal = Signal(np.zeros((1, 6), np.float32), geometry=Geometry.whole(6))
    found = heatmap_of([0, 0, 1, 1, 0, 0], picture=signal)
    assert found.mask(0.5).tolist() == [False, False, True, True, False, False]
    with pytest.raises(ParameterError, match="this is one of a signal or a volume"):
        found.bounding_box()


def test_boxes_of_drawn_scenes_maps_lie_where_their_object_is():
    overlaps = []
    model = cnnviz.load_model("shapes-resnet")
    for number in range(6):
        scene = cnnviz.draw_scene(number)
        found = cnnviz.layercam(model, scene.pixels, target=scene.target)[0]
        marked, wanted = np.zeros((2, *scene.mask.shape), bool)
        for held, (left, top, right, bottom) in (
            (marked, found.bounding_box("otsu")),
            (wanted, bounding_box(scene.mask)),
        ):
            held[top:bottom, left:right] = True
        overlaps.append((marked & wanted).sum() / (marked | wanted).sum())
    assert np.mean(overlaps) > 0.5, overlaps
