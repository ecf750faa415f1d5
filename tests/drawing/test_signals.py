"""Signals as they are drawn: each line and colour where it belongs, at any length and number of channels."""

from __future__ import annotations

import numpy as np
import pytest

from cnnviz.core.sample import Signal
from cnnviz.drawing.colour import Scale, colourise, scale_of
from cnnviz.drawing.samples import draw_in_place, draw_over, name_place, pixels_of, usual_cmap
from cnnviz.drawing.signals import WIDTH, draw_signal, panel_of, time_ticks
from cnnviz.errors import ParameterError

DARK = 90
"""A pixel below it belongs to a line."""


def signal(values, **given):
    return Signal(np.atleast_2d(np.asarray(values, np.float32)), "s.npy", **given)


def spike(length, at, channels=1, channel=0):
    values = np.zeros((channels, length), np.float32)
    values[channel, at] = 1
    return values


def rows_of_line(pixels, panel, channel):
    """Of each column of pixels of a channel's row the highest dark one, from the row's top; its height where none."""
    top = channel * panel.row
    row = pixels[top : top + panel.row - 3, panel.left : panel.left + panel.width].min(axis=2) < DARK
    return np.where(row.any(axis=0), row.argmax(axis=0), panel.row)


@pytest.mark.parametrize(
    ("length", "at"), [(50, 31), (1000, 250), (1500, 3), (200_000, 123_456), (3_000_017, 2_999_990)]
)
def test_a_spike_is_drawn_where_it_is_however_long_the_signal(length, at):
    one = signal(spike(length, at))
    panel = panel_of(one)
    line = rows_of_line(pixels_of(one), panel, 0)
    highest = np.flatnonzero(line == line.min())
    expected = (at + 0.5) * panel.width / length
    assert abs(highest.mean() - expected) <= 1.5
    assert line.min() < 0.15 * panel.row
    assert np.median(line) > 0.85 * panel.row


def test_each_channel_has_a_row_of_its_own():
    one = signal(spike(400, 100, channels=3, channel=1))
    panel, pixels = panel_of(one), pixels_of(one)
    assert rows_of_line(pixels, panel, 1).min() < 0.15 * panel.row
    assert abs(rows_of_line(pixels, panel, 1).argmin() - 100.5 * panel.width / 400) < 5
    for flat in (0, 2):
        line = rows_of_line(pixels, panel, flat)
        assert np.ptp(line[5:-5]) <= 1
        assert abs(line[50] - panel.row / 2) < 8


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("length", [64, 2000])
def test_the_colour_under_the_line_is_the_scales(length, signed):
    values = np.linspace(-1 if signed else 0, 1, length)
    scale = scale_of(values, signed=signed, cmap=usual_cmap(signal(values), signed=signed))
    one = signal(np.zeros(length))
    panel = panel_of(one)
    drawn = draw_signal(one, values, scale, alpha=1.0)
    for at in (length // 10, length // 2, 9 * length // 10):
        x = int(panel.column(at, length))
        expected = colourise(values[[at]][None], scale)[0, 0].astype(int)
        assert np.abs(drawn[2, x].astype(int) - expected).max() <= 4
    half = draw_signal(one, values, scale, alpha=0.5)
    x = int(panel.column(9 * length // 10, length))
    assert np.abs(half[2, x].astype(int) - (drawn[2, x] / 2 + 127.5)).max() <= 1


def test_the_colour_of_one_sample_among_a_million_is_seen():
    values = np.zeros(1_000_000)
    values[700_000] = -2.0
    scale = Scale(-2, 2, signed=True, cmap="RdBu_r")
    one = signal(np.zeros(1_000_000))
    panel = panel_of(one)
    drawn = draw_signal(one, values, scale, alpha=1.0)
    expected = colourise(np.array([[-2.0]]), scale)[0, 0]
    x = int(panel.column(700_000, 1_000_000))
    assert (drawn[2, x - 1 : x + 2] == expected).all()
    assert (drawn[2, x + 10] == colourise(np.array([[0.0]]), scale)[0, 0]).all()


def test_attributions_lie_under_their_own_channels():
    values = np.zeros((2, 100))
    values[1, 40] = 1
    one = signal(np.zeros((2, 100)))
    panel, scale = panel_of(one), Scale(0, 1, cmap="autumn_r")
    drawn = draw_over(one, values, scale, alpha=1.0)
    x = int(panel.column(40, 100))
    assert (drawn[3, x] == colourise(np.zeros((1, 1)), scale)[0, 0]).all()
    assert (drawn[panel.row + 3, x] == colourise(np.ones((1, 1)), scale)[0, 0]).all()


def test_what_the_network_did_not_see_is_faded():
    values = np.where(np.arange(100) < 50, np.nan, 1.0)
    one = signal(np.sin(np.arange(100.0)))
    panel = panel_of(one)
    drawn = draw_over(one, values, Scale(0, 1, cmap="autumn_r"), alpha=1.0)
    left, right = (drawn[: panel.row - 3, int(panel.column(at, 100))] for at in (25, 75))
    assert (left[2] == 232).all()
    assert left.min() > DARK
    assert (right[2] == (255, 0, 0)).all()
    assert right.min(axis=1).min() < DARK
    whole = draw_over(one, values, Scale(0, 1, cmap="autumn_r"), seen=np.ones(100, bool))
    assert (whole[2, int(panel.column(25, 100))] == 255).all()


@pytest.mark.parametrize(
    ("length", "rate", "unit", "words"),
    [
        (2500, 250.0, "seconds", ("0", "2", "4", "6", "8")),
        (2500, None, "samples", ("0", "500", "1000", "1500", "2000")),
        (800, 16_000.0, "ms", ("0", "10", "20", "30", "40")),
        (3, None, "samples", ("0", "1", "2")),
        (1, None, "samples", ("0",)),
        (36_000, 10.0, "seconds", ("0", "500", "1000", "1500", "2000", "2500", "3000", "3500")),
    ],
)
def test_ticks_are_round_and_stand_where_they_say(length, rate, unit, words):
    found = time_ticks(signal(np.zeros(length), rate=rate))
    assert (found.unit, found.words) == (unit, words)
    each = {"seconds": rate, "ms": (rate or 0) / 1000, "samples": 1}[unit]
    assert np.allclose(found.places, [float(word) * each for word in words])
    assert max(found.places) <= length - 1 + 1e-6


@pytest.mark.parametrize("channels", [1, 2, 12, 64, 200])
def test_any_number_of_channels_has_room_and_names(channels):
    names = tuple(f"a channel with a long name {number}" for number in range(channels))
    one = signal(np.random.default_rng(0).standard_normal((channels, 300)), channel_names=names)
    pixels, panel = pixels_of(one), panel_of(one)
    assert pixels.shape == (panel.height, WIDTH, 3)
    assert panel.height < 3000
    assert panel.width > 0.7 * WIDTH
    words = pixels[: channels * panel.row, : panel.left].min(axis=(1, 2)) < 128
    assert words.sum() > 0.2 * min(channels, 12) * 15


@pytest.mark.parametrize("length", [1, 2, 5])
@pytest.mark.parametrize("values", [np.nan, 0.0, 3.0])
def test_short_flat_and_empty_maps_are_drawn(length, values):
    one, shown = signal(np.full(length, 5.0)), np.full(length, values)
    drawn = draw_over(one, shown, scale_of(shown), seen=np.ones(length, bool))
    assert drawn.shape == pixels_of(one).shape
    line = rows_of_line(drawn, panel_of(one), 0)
    assert abs(line[len(line) // 2] - panel_of(one).row / 2) < 8


def test_maps_of_another_length_are_refused():
    one = signal(np.zeros((2, 10)))
    for wrong in ((9,), (3, 10), (2, 2, 10)):
        with pytest.raises(ParameterError, match=r"but the signal is \(2, 10\)"):
            draw_over(one, np.zeros(wrong), Scale(0, 1))
    with pytest.raises(ParameterError, match="alpha"):
        draw_over(one, np.zeros(10), Scale(0, 1), alpha=2)


def test_a_map_too_fine_for_an_overlay_keeps_its_lines():
    one = signal(np.sin(np.arange(200.0) / 9))
    values = np.ones(200)
    drawn = draw_in_place(one, values, Scale(0, 1, cmap="autumn_r"))
    assert (drawn[: panel_of(one).row] < DARK).all(axis=2).sum() > 1000


@pytest.mark.parametrize(("rate", "words"), [(None, "sample 330"), (250.0, "1.32 s"), (1000.0, "330 ms")])
def test_a_place_is_named_in_seconds_where_they_are_known(rate, words):
    assert name_place(signal(np.zeros(500), rate=rate), (330,)) == words
