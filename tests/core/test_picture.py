"""Pictures and their geometry."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from cnnviz import Geometry, Picture

PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def test_the_digest_is_of_shape_and_pixels_only():
    one = Picture(PIXELS, "a.png")
    assert one.digest == Picture(PIXELS.copy(), "b.jpg", notes=("frame 1",)).digest
    assert len(one.digest) == 64
    assert one.digest != Picture(PIXELS.reshape(3, 2, 3)).digest
    assert one.digest != Picture(PIXELS[::-1]).digest
    assert Picture(PIXELS[::-1]).digest == Picture(np.ascontiguousarray(PIXELS[::-1])).digest


def test_size_and_frozenness():
    one = Picture(PIXELS)
    assert one.size == (2, 3)
    assert one.name == "image"
    with pytest.raises(FrozenInstanceError):
        one.name = "other"


def test_an_array_of_it_is_the_callers_own():
    one = Picture(PIXELS.copy())
    made = np.array(one)
    made[:] = 0
    np.asarray(one)[:] = 0
    assert (one.pixels == PIXELS).all()
    assert np.asarray(one, dtype=float).dtype == float


def test_the_geometry_of_a_whole_picture():
    whole = Geometry.whole(20, 30)
    assert whole.scale == (1, 1)
    assert whole.box == (0, 0, 30, 20)


@pytest.mark.parametrize(
    ("original", "resized", "crop", "box"),
    [
        ((100, 200), (50, 100), (0, 25, 50, 50), (50, 0, 150, 100)),  # a centred square of the halved picture
        ((50, 100), (100, 200), (10, 60, 80, 80), (30, 5, 70, 45)),  # an enlarged one
        ((10, 20), (10, 20), (-5, 0, 20, 20), (0, -5, 20, 15)),  # padded above and below
        ((30, 10), (15, 20), (0, 0, 15, 20), (0, 0, 10, 30)),  # squashed
    ],
)
def test_the_box_on_the_picture(original, resized, crop, box):
    assert Geometry(original, resized, crop).box == pytest.approx(box)
