"""Boxes and their words, pixel by pixel."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cnnviz.drawing.boxes import OUTLINE, draw_box, draw_boxes, enlarge
from cnnviz.drawing.text import line_height

GREY, RED, BLUE = (90, 90, 90), (255, 0, 0), (0, 0, 255)


def plain(height, width):
    return np.full((height, width, 3), GREY, np.uint8)


def plate_of(pixels, colour):
    """Left, top, right and bottom of the ground of words: many rows of a colour, and not a box's line."""
    inked = (pixels == colour).all(axis=2)
    wide = np.flatnonzero(inked.sum(axis=1) > 8)
    blocks = np.split(wide, np.flatnonzero(np.diff(wide) > 1) + 1)
    rows = max(blocks, key=len)
    assert len(rows) > 6
    columns = np.flatnonzero(inked[rows[0]])
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


@pytest.mark.parametrize(("side", "width"), [(32, 1), (64, 1), (160, 1), (161, 2), (340, 2), (680, 4)])
def test_lines_are_as_wide_as_suits_the_picture(side, width):
    pixels = plain(side, side)
    drawn = draw_box(pixels, (8, 8, side - 8, side - 8), RED)
    row = drawn[side // 2]
    inked = np.flatnonzero((row == RED).all(axis=1))
    assert inked.tolist() == [*range(8, 8 + width), *range(side - 8 - width, side - 8)]
    assert (row[7] == OUTLINE).all()
    assert (row[side - 8] == OUTLINE).all()
    inner = (row[8 + width] == OUTLINE).all()
    assert inner == (side > 160)
    assert (pixels == GREY).all()


def test_most_of_a_small_box_stays_to_be_seen():
    drawn = draw_box(plain(64, 64), (20, 20, 36, 36))
    assert (drawn[21:35, 21:35] == GREY).all()


def test_a_small_picture_is_enlarged_until_words_are_legible():
    pixels = np.arange(64 * 48 * 3, dtype=np.uint32).reshape(64, 48, 3).astype(np.uint8)
    large, wide = enlarge(pixels)
    assert (wide, large.shape) == (5, (320, 240, 3))
    assert (large[2::5, 2::5] == pixels).all()
    assert (large == large[2::5, 2::5].repeat(5, axis=0).repeat(5, axis=1)).all()
    assert enlarge(plain(320, 20))[1] == 1
    assert enlarge(plain(200, 319))[1] == 2


@pytest.mark.parametrize(
    ("box", "edge", "at"),
    [((40, 60, 160, 120), "above", 60), ((40, 3, 160, 120), "below", 120), ((40, 3, 160, 318), "inside", 3)],
)
def test_words_stand_above_their_box_or_where_there_is_room(box, edge, at):
    drawn = draw_boxes(plain(320, 320), [box], [RED], ["a star"])
    left, top, right, bottom = plate_of(drawn, RED)
    assert left == 40
    assert right < 320
    letters = line_height(round(320 / 26))
    assert abs((bottom if edge == "above" else top) - at) <= 2
    assert abs(bottom - top - letters) <= 2


def test_words_do_not_cover_those_of_a_surer_box():
    boxes = [(40, 60, 160, 200), (60, 62, 180, 202), (44, 58, 164, 190)]
    colours = [RED, BLUE, (0, 255, 0)]
    drawn = draw_boxes(plain(320, 320), boxes, colours, ["the first", "the second", "the third"])
    plates = [plate_of(drawn, colour) for colour in colours]
    for one, other in itertools.combinations(plates, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, (one, other)


def test_words_stay_within_the_picture():
    drawn = draw_boxes(plain(320, 320), [(290, 100, 318, 140)], [RED], ["a long name"])
    left, _top, right, _bottom = plate_of(drawn, RED)
    assert right == 320
    assert left < 290
