"""Values without a picture: a plane as it was, a line over time, the slices of a volume."""

from __future__ import annotations

import numpy as np
import pytest

from cnnviz.drawing.colour import NO_VALUE, Scale, colourise, paint_alone, scale_of
from cnnviz.drawing.plots import AXIS, INK, SEAM, paste_window, plot, plot_alone, plot_window

SCALE = Scale(-2.0, 2.0, signed=True, cmap="RdBu_r")


def test_a_plane_is_drawn_as_ever():
    values = np.random.default_rng(0).normal(size=(5, 7))
    assert np.array_equal(plot(values, SCALE), colourise(values, SCALE))
    colours = np.random.default_rng(1).normal(size=(3, 5, 7)).astype(np.float32)
    assert np.array_equal(plot_alone(colours), paint_alone(colours))


def test_a_line_is_as_high_as_its_values_and_has_their_colours_below():
    drawn = plot(np.array([2.0, 0.0, -2.0, 1.0]), SCALE)
    height, width = drawn.shape[:2]
    middles = [round((at + 0.5) * width / 4) for at in range(4)]
    inked = [np.flatnonzero((drawn[:, at] == INK).all(axis=1)).mean() / height for at in middles]
    assert inked == pytest.approx([0.0, 0.5, 1.0, 0.25], abs=0.03)
    zero = height // 2
    red, blue = drawn[zero - 10, middles[0]].astype(int), drawn[zero + 10, middles[2]].astype(int)
    assert red[0] > red[2] + 50
    assert blue[2] > blue[0] + 50
    assert drawn[zero + 10, middles[0]].tolist() == [255, 255, 255]
    assert (drawn[zero - 2 : zero + 3, middles[3]] == AXIS).all(axis=1).any()


def test_a_long_line_keeps_its_single_peak():
    values = np.zeros(50_000)
    values[31_234] = 2.0
    drawn = plot(values, SCALE)
    tops = np.flatnonzero((drawn[:4] == INK).all(axis=2).any(axis=0))
    assert abs(tops.mean() / drawn.shape[1] - 31_234 / 50_000) < 0.005


def test_slices_stand_in_order_and_one_goes_through_the_largest_value():
    values = np.zeros((30, 24, 24))
    values[17, 3, 5] = 2.0
    drawn = plot(values, SCALE)
    assert drawn.shape == (3 * 24 + 2 * SEAM, 3 * 24 + 2 * SEAM, 3)
    strongest = colourise(np.full((1, 1), 2.0), SCALE)[0, 0]
    rows, columns = np.nonzero((drawn == strongest).all(axis=2))
    assert (rows.tolist(), columns.tolist()) == ([24 + SEAM + 3], [2 * (24 + SEAM) + 5])  # the sixth of nine
    few = plot(np.arange(3)[:, None, None] * np.ones((3, 24, 24)), SCALE)
    assert [few[0, at * (24 + SEAM)].tolist() for at in range(3)] == [
        colourise(np.full((1, 1), float(at)), SCALE)[0, 0].tolist() for at in range(3)
    ]


def test_a_part_that_reaches_beyond_has_nothing_there():
    values = np.arange(10, dtype=np.float32)[None]
    assert np.array_equal(paste_window(values, [-2], [5])[0], [np.nan, np.nan, 0, 1, 2], equal_nan=True)
    assert np.array_equal(paste_window(values, [8], [4])[0], [8, 9, np.nan, np.nan], equal_nan=True)
    assert np.isnan(paste_window(values, [12], [3])).all()
    cube = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    found = paste_window(cube, [1, -1, 0], [2, 2, 2])
    assert np.array_equal(found[0, 0], [[np.nan, np.nan], [4, 5]], equal_nan=True)
    assert np.isnan(found[0, 1]).all()
    drawn = plot_window(paste_window(values, [8], [4]), values)
    assert (drawn[:, -1] == NO_VALUE).all()
    assert not (drawn[:, 0] == NO_VALUE).all()


def test_what_is_not_marked_is_paler():
    values = np.random.default_rng(0).normal(size=(1, 40)).astype(np.float32)
    mark = np.arange(40) < 20
    plain, marked = plot_window(values, values), plot_window(values, values, mark)
    half = plain.shape[1] // 2
    assert np.array_equal(plain[:, :half], marked[:, :half])
    assert marked[:, half:].min() > 170 > plain[:, half:].min()
    assert np.array_equal(plot_window(values, values, np.zeros(40, bool)), plain)


def test_a_kernel_of_zeros_is_a_line_at_zero():
    drawn = plot(np.zeros(3), scale_of(np.zeros(3), signed=True))
    inked = np.flatnonzero((drawn == INK).all(axis=2).any(axis=1))
    assert abs(inked.mean() / drawn.shape[0] - 0.5) < 0.03
