"""Drawn scenes and digits: the same number, the same bytes; a mask that is the object; every class."""

import math
import subprocess
import sys

import cv2
import numpy as np
import pytest

from cnnviz.images.synthetic.background import CLUTTER_DISTANCE, OBJECT_DISTANCE, draw_palette
from cnnviz.images.synthetic.digits import DIGITS, draw_digit
from cnnviz.images.synthetic.scenes import MOST_HIDDEN, SHAPES, draw_scene

SERIES = range(150)


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(index, seed=7) for index in SERIES]


@pytest.fixture(scope="module")
def digits():
    return [draw_digit(index, seed=7) for index in SERIES]


def test_same_number_same_bytes(scenes):
    for index in (0, 17, 149):
        again = draw_scene(index, seed=7)
        assert again.pixels.tobytes() == scenes[index].pixels.tobytes()
        assert again.mask.tobytes() == scenes[index].mask.tobytes()
        assert again.label == scenes[index].label


def test_same_bytes_in_another_process(scenes):
    script = (
        "import sys; from cnnviz.images.synthetic.scenes import draw_scene; "
        "assert 'torch' not in sys.modules; sys.stdout.buffer.write(draw_scene(5, seed=7).pixels.tobytes())"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert answer.stdout == scenes[5].pixels.tobytes()


def test_every_number_has_its_own_scene(scenes, digits):
    for drawn in (scenes, digits):
        assert len({picture.pixels.tobytes() for picture in drawn}) == len(drawn)
    assert draw_scene(0, seed=8).pixels.tobytes() != scenes[0].pixels.tobytes()
    assert draw_digit(0, seed=8).pixels.tobytes() != digits[0].pixels.tobytes()


def test_same_digit_same_bytes(digits):
    assert draw_digit(31, seed=7).pixels.tobytes() == digits[31].pixels.tobytes()


@pytest.mark.parametrize(("draw", "labels"), [(draw_scene, SHAPES), (draw_digit, DIGITS)])
def test_every_class_is_drawn_about_as_often(draw, labels):
    targets = np.array([draw(index, seed=3).target for index in range(400)])
    counts = np.bincount(targets, minlength=len(labels))
    assert counts.min() >= 400 / len(labels) / 2
    assert counts.max() <= 400 / len(labels) * 2


def test_form_of_a_scene(scenes):
    for scene in scenes:
        assert scene.pixels.shape == (64, 64, 3)
        assert scene.pixels.dtype == np.uint8
        assert scene.mask.shape == scene.whole.shape == (64, 64)
        assert scene.mask.dtype == scene.whole.dtype == np.bool_
        assert SHAPES[scene.target] == scene.label


def test_form_of_a_digit(digits):
    for digit in digits:
        assert digit.pixels.shape == (32, 32)
        assert digit.pixels.dtype == np.uint8
        assert DIGITS[digit.target] == digit.label
        assert digit.pixels.max() > 100
        assert np.median(digit.pixels) < 40


def test_visible_pixels_are_most_of_the_object(scenes):
    hidden = []
    for scene in scenes:
        assert scene.mask.any()
        assert not (scene.mask & ~scene.whole).any()
        hidden.append(1 - scene.mask.sum() / scene.whole.sum())
    assert max(hidden) <= MOST_HIDDEN == 0.25
    assert 0.25 < np.mean(np.array(hidden) > 0.02) < 0.75


def test_mask_is_where_the_colour_is(scenes):
    distances = []
    for scene in scenes:
        pixels = scene.pixels / 255
        distances.append(np.linalg.norm(pixels[scene.mask].mean(axis=0) - pixels[~scene.whole].mean(axis=0)))
    assert min(distances) > 0.25
    assert np.mean(distances) > OBJECT_DISTANCE


def test_mask_is_what_was_painted():
    """Two labels of one index differ where one of the objects is, and nowhere else."""
    pairs = [(draw_scene(index, label="circle"), draw_scene(index, label="bolt")) for index in range(40)]
    plain = [(a, b) for a, b in pairs if (a.mask == a.whole).all() and (b.mask == b.whole).all()]
    assert len(plain) > 10
    inside, outside = [], []
    for circle, bolt in plain:
        differs = (np.abs(circle.pixels.astype(int) - bolt.pixels) > 60).any(axis=2)
        inside.append(differs[circle.whole & ~bolt.whole].mean())
        edge = cv2.dilate((circle.whole | bolt.whole).astype(np.uint8), np.ones((3, 3), np.uint8))
        outside.append(differs[edge == 0].mean())
    assert np.median(inside) > 0.9
    assert max(outside) == 0


@pytest.mark.parametrize("label", SHAPES)
def test_forced_label(label):
    free, forced = draw_scene(4), draw_scene(4, label=label)
    assert forced.label == label
    assert forced.target == SHAPES.index(label)
    assert (forced.pixels.tobytes() == free.pixels.tobytes()) == (label == free.label)


@pytest.mark.parametrize("label", DIGITS)
def test_forced_digit(label):
    digit = draw_digit(4, label=label)
    assert (digit.label, digit.target) == (label, int(label))


def test_a_ring_has_a_hole_and_a_circle_has_none():
    for label, filled in (("ring", False), ("circle", True)):
        whole = draw_scene(11, label=label).whole
        rows, columns = np.nonzero(whole)
        assert whole[round(rows.mean()), round(columns.mean())] == filled


@pytest.mark.parametrize("size", [32, 128, 200])
def test_composition_grows_with_the_size(size):
    small, large = draw_scene(2, label="heart"), draw_scene(2, size=size, label="heart")
    assert large.pixels.shape == (size, size, 3)
    assert large.whole.mean() == pytest.approx(small.whole.mean(), rel=0.05)
    centres = [np.argwhere(scene.whole).mean(axis=0) / len(scene.whole) for scene in (small, large)]
    assert centres[1] == pytest.approx(centres[0], abs=0.02)
    assert draw_digit(2, size=size).pixels.shape == (size, size)


def test_colours_stay_apart():
    rng = np.random.default_rng(0)
    for _ in range(300):
        palette = draw_palette(rng)
        assert math.dist(palette.ground, palette.object) >= OBJECT_DISTANCE
        assert math.dist(palette.clutter(rng, 0.5, 0.9), palette.object) >= CLUTTER_DISTANCE


@pytest.mark.parametrize("draw", [draw_scene, draw_digit])
@pytest.mark.parametrize("wrong", [{"label": "cat"}, {"size": 8}, {"seed": -1}])
def test_wrong_requests(draw, wrong):
    with pytest.raises(ValueError):  # noqa: PT011
        draw(0, **wrong)
