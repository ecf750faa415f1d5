"""Maps of drawn signals and volumes lie where the event and the solid are, which is known of every sample and voxel."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import cnnviz

SEED = 20_001
DRAW = {"signals-cnn": cnnviz.draw_signal, "volumes-cnn": cnnviz.draw_volume}
COUNTS = {"signals-cnn": 200, "volumes-cnn": 100}
STRIDES = {"signals-cnn": 8, "volumes-cnn": 4}
LEAST_GAIN = {"signals-cnn": 3.3, "volumes-cnn": 4}
"""The least share of a map's positive mass inside the event over the event's share of the input, on average."""


@cache
def opened(name):
    return cnnviz.load_model(name, device="cpu")


@cache
def drawn(name):
    return [DRAW[name](index, seed=SEED) for index in range(COUNTS[name])]


@cache
def asked(name, method="gradcam"):
    """Maps of the class that is there."""
    model, some = opened(name), drawn(name)
    return getattr(cnnviz, method)(model, [one.sample for one in some], [one.label for one in some])


def distance(mask, place):
    """From a place on the input, its first sample's middle at 0, to the nearest sample of an event, along an axis."""
    return np.abs(np.argwhere(mask) - np.asarray(place)).max(axis=1).min()


def coarse_peak(one):
    """The middle of what the unit with the greatest value sees."""
    return one.field.centre(*np.unravel_index(int(one.values.argmax()), one.values.shape))


def fine_peak(one):
    placed = one.on_original()
    return np.unravel_index(int(np.nanargmax(placed)), placed.shape)


def hits(name, peak, away, method="gradcam"):
    """The share of maps whose peak lies so near the event."""
    return np.mean(
        [distance(one.mask, peak(found)) <= away for one, found in zip(drawn(name), asked(name, method), strict=True)]
    )


def gains(name, method="gradcam"):
    """The share of each map's positive mass that is inside the event, over the event's share of the input."""
    found = []
    for one, each in zip(drawn(name), asked(name, method), strict=True):
        mass = np.nan_to_num(each.on_original()).clip(0)
        found.append(mass[one.mask].sum() / mass.sum() / one.mask.mean() if mass.any() else 0)
    return np.array(found)


@pytest.mark.parametrize("name", DRAW)
def test_the_last_layer_has_a_place_for_every_part_of_the_input(name):
    field, stride = asked(name)[0].field, STRIDES[name]
    grid = asked(name)[0].values.shape
    assert grid == tuple(side // stride for side in drawn(name)[0].mask.shape)
    for span in field.spans:
        assert (span.stride, span.offset) == (stride, (stride - 1) / 2)


@pytest.mark.parametrize("name", DRAW)
@pytest.mark.parametrize("peak", [coarse_peak, fine_peak])
def test_peaks_lie_within_half_a_stride_of_the_event(name, peak):
    assert hits(name, peak, STRIDES[name] / 2) >= 0.9


@pytest.mark.parametrize("name", DRAW)
def test_peaks_lie_inside_the_event(name):
    assert hits(name, fine_peak, 0) >= 0.95


@pytest.mark.parametrize("name", DRAW)
def test_positive_mass_lies_inside_the_event(name):
    found = gains(name)
    assert found.mean() >= LEAST_GAIN[name]
    assert (found > 1).mean() >= 0.97


@pytest.mark.parametrize("name", DRAW)
def test_the_event_of_another_input_is_not_where_the_peak_is(name):
    """What the numbers above would be by chance: the peak of each map over the event of the next input."""
    some = drawn(name)
    chance = np.mean(
        [
            distance(one.mask, coarse_peak(found)) <= STRIDES[name] / 2
            for one, found in zip(some[1:] + some[:1], asked(name), strict=True)
        ]
    )
    assert chance < 0.4
