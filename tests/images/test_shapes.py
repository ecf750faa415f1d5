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
        (shape,) = palette.objects
        assert math.dist(palette.ground, shape) >= OBJECT_DISTANCE
        assert math.dist(palette.clutter(rng, 0.5, 0.9), shape) >= CLUTTER_DISTANCE


def test_colours_of_several_objects_stay_apart():
    rng = np.random.default_rng(1)
    for _ in range(300):
        palette = draw_palette(rng, 3)
        assert len(palette.objects) == 3
        clutter = palette.clutter(rng, 0.25, 0.55)
        for place, shape in enumerate(palette.objects):
            assert math.dist(palette.ground, shape) >= OBJECT_DISTANCE
            for other in (clutter, *palette.objects[:place]):
                assert math.dist(other, shape) >= CLUTTER_DISTANCE


@pytest.mark.parametrize("draw", [draw_scene, draw_digit])
@pytest.mark.parametrize("wrong", [{"label": "cat"}, {"size": 8}, {"seed": -1}])
def test_wrong_requests(draw, wrong):
    with pytest.raises(ValueError):  # noqa: PT011
        draw(0, **wrong)


@pytest.fixture(scope="module")
def crowds():
    return [draw_scene(index, seed=7, shapes=2 + index % 2) for index in SERIES]


ONE_SHAPE = [
    ("bolt", 130, 179.34),
    ("arrow", 313, 63.17),
    ("square", 604, 150.22),
    ("crescent", 524, 162.16),
    ("ring", 766, 75.66),
    ("ring", 1026, 163.77),
]
"""Label, visible pixels and mean brightness of a seed's first scenes: figures and indexes of users rest on them."""


def test_one_shape_is_drawn_as_ever(scenes):
    for scene, (label, seen, brightness) in zip(scenes, ONE_SHAPE, strict=False):
        assert scene.label == label
        assert abs(int(scene.mask.sum()) - seen) <= 2
        assert scene.pixels.mean() == pytest.approx(brightness, abs=0.1)


def test_a_single_shape_is_listed_too(scenes):
    for scene in scenes:
        (shape,) = scene.shapes
        assert (shape.label, shape.target) == (scene.label, scene.target)
        assert shape.mask is scene.mask
        assert shape.whole is scene.whole


@pytest.mark.parametrize("shapes", [2, 3])
def test_form_of_a_scene_of_several_shapes(crowds, shapes):
    for scene in crowds[shapes - 2 :: 2]:
        assert scene.pixels.shape == (64, 64, 3)
        assert scene.pixels.dtype == np.uint8
        assert len({shape.label for shape in scene.shapes}) == len(scene.shapes) == shapes
        for shape in scene.shapes:
            assert shape.mask.shape == shape.whole.shape == (64, 64)
            assert shape.mask.dtype == shape.whole.dtype == np.bool_
            assert SHAPES[shape.target] == shape.label
        first = scene.shapes[0]
        assert (scene.label, scene.target) == (first.label, first.target)
        assert scene.mask is first.mask


def test_several_shapes_from_the_same_number_are_the_same(crowds):
    for index in (0, 17, 149):
        again = draw_scene(index, seed=7, shapes=2 + index % 2)
        assert again.pixels.tobytes() == crowds[index].pixels.tobytes()
        for one, other in zip(again.shapes, crowds[index].shapes, strict=True):
            assert one.label == other.label
            assert one.mask.tobytes() == other.mask.tobytes()
    assert draw_scene(0, seed=8, shapes=2).pixels.tobytes() != crowds[0].pixels.tobytes()
    assert len({scene.pixels.tobytes() for scene in crowds}) == len(crowds)


def test_a_later_shape_covers_an_earlier_one(crowds):
    """Each mask is the whole shape without what later ones cover; no pixel lies in two of them."""
    covered = []
    for scene in crowds:
        assert sum(shape.mask.astype(int) for shape in scene.shapes).max() == 1
        for place, shape in enumerate(scene.shapes):
            later = np.zeros((64, 64), bool)
            for other in scene.shapes[place + 1 :]:
                later |= other.whole
            assert np.array_equal(shape.mask, shape.whole & ~later)
            covered.append((shape.whole & later).sum() / shape.whole.sum())
    assert sum(share > 0.02 for share in covered) >= 10
    assert max(covered) < 0.5


def test_masks_of_several_shapes_are_where_their_colours_are(crowds):
    """Nearly every pixel of a mask is nearer to that shape's colour than to the other ones' or to the ground's."""
    for scene in crowds:
        masks = [shape.mask for shape in scene.shapes]
        masks.append(~np.any([shape.whole for shape in scene.shapes], axis=0))
        colours = np.array([np.median(scene.pixels[mask], axis=0) for mask in masks])
        away = np.linalg.norm(scene.pixels[:, :, None].astype(float) - colours, axis=3)
        own = [(away[mask].argmin(axis=1) == place).mean() for place, mask in enumerate(masks)]
        assert min(own[:-1]) > 0.5
        assert np.mean(own[:-1]) > 0.75


@pytest.mark.parametrize("shapes", [2, 3])
def test_a_mask_of_several_is_what_was_painted(shapes):
    """Two labels of the first shape differ where it is painted and seen, and nowhere else."""
    inside = []
    for index in range(30):
        circle, bolt = (draw_scene(index, shapes=shapes, label=label) for label in ("circle", "bolt"))
        if [shape.label for shape in circle.shapes[1:]] != [shape.label for shape in bolt.shapes[1:]]:
            continue
        differs = (np.abs(circle.pixels.astype(int) - bolt.pixels) > 60).any(axis=2)
        inside.append(differs[circle.mask & ~bolt.whole].mean())
        edge = cv2.dilate((circle.mask | bolt.mask).astype(np.uint8), np.ones((3, 3), np.uint8))
        assert not differs[edge == 0].any()
    assert len(inside) > 10
    assert np.median(inside) > 0.9


@pytest.mark.parametrize("label", SHAPES)
def test_forced_label_of_several(label):
    free, forced = draw_scene(4, shapes=3), draw_scene(4, shapes=3, label=label)
    assert forced.label == forced.shapes[0].label == label
    assert len({shape.label for shape in forced.shapes}) == 3
    assert (forced.pixels.tobytes() == free.pixels.tobytes()) == (label == free.label)


def test_class_map_is_the_masks(scenes, crowds):
    for scene in (*scenes[:20], *crowds[:40]):
        found = scene.class_map
        assert found.dtype == np.uint8
        assert set(np.unique(found)) == {0, *(shape.target + 1 for shape in scene.shapes)}
        for shape in scene.shapes:
            assert np.array_equal(found == shape.target + 1, shape.mask)


@pytest.mark.parametrize("size", [32, 128, 200])
def test_several_shapes_grow_with_the_size(size):
    small, large = draw_scene(2, shapes=3), draw_scene(2, shapes=3, size=size)
    for one, other in zip(small.shapes, large.shapes, strict=True):
        assert other.label == one.label
        assert other.whole.mean() == pytest.approx(one.whole.mean(), rel=0.1)


@pytest.mark.parametrize(
    "wrong", [{"shapes": 0}, {"shapes": 4}, {"shapes": 2.5}, {"shapes": 2, "size": 31}, {"shapes": 2, "label": "cat"}]
)
def test_wrong_numbers_of_shapes(wrong):
    with pytest.raises(ValueError, match=r"1 to 3 shapes|at least 32|no shape is called"):
        draw_scene(0, **wrong)
