"""The largest values of many units, whoever brought them together and in whatever order."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnviz.engine.tally.tally import LAST, TopK

UNITS, K = 3, 4
entries = st.lists(st.lists(st.integers(-2, 2), min_size=UNITS, max_size=UNITS), min_size=0, max_size=14)
cuts = st.lists(st.integers(0, 14), max_size=3)


def absorbed(values, images, k=K):
    top = TopK.empty(values.shape[1], k)
    places = (np.arange(values.size).reshape(values.shape) * 7 % 5).astype(np.int32)
    top.absorb(values, images, places)
    return top


def brute(values, images, k=K):
    """What Python's own sorting of tuples finds."""
    places = np.arange(values.size).reshape(values.shape) * 7 % 5
    found = []
    for unit in range(values.shape[1]):
        rows = zip(values[:, unit].tolist(), images.tolist(), places[:, unit].tolist(), strict=True)
        found.append(sorted(rows, key=lambda entry: (-entry[0], entry[1], entry[2]))[:k])
    return found


def told(top):
    rows = zip(top.values.tolist(), top.images.tolist(), top.places.tolist(), strict=True)
    return [[entry for entry in zip(*row, strict=True) if entry[1] != LAST] for row in rows]


def as_arrays(drawn):
    return np.array(drawn, np.float32).reshape(-1, UNITS), np.arange(len(drawn), dtype=np.int64)


def bytes_of(top):
    return b"".join(each.tobytes() for each in (top.values, top.images, top.places))


@given(entries)
def test_it_is_what_sorting_everything_finds(drawn):
    values, images = as_arrays(drawn)
    assert told(absorbed(values, images)) == brute(values, images)


@settings(deadline=None)
@given(entries, cuts, st.permutations(range(4)))
def test_parts_merge_in_any_order_and_grouping(drawn, where, order):
    values, images = as_arrays(drawn)
    places = (np.arange(values.size).reshape(values.shape) * 7 % 5).astype(np.int32)
    bounds = [0, *sorted(min(cut, len(images)) for cut in where), len(images)]
    parts = []
    for start, stop in pairwise(bounds):
        part = TopK.empty(UNITS, K)
        part.absorb(values[start:stop], images[start:stop], places[start:stop])
        parts.append(part)
    shuffled = [parts[number] for number in order if number < len(parts)]
    left = shuffled[0]
    for part in shuffled[1:]:
        left = left.merged(part)
    right = shuffled[-1]
    for part in reversed(shuffled[:-1]):
        right = part.merged(right)
    whole = TopK.empty(UNITS, K)
    whole.absorb(values, images, places)
    assert bytes_of(left) == bytes_of(right) == bytes_of(whole)


def test_blocks_absorbed_in_any_order_give_the_same():
    values = np.random.default_rng(0).integers(0, 5, (40, UNITS)).astype(np.float32)
    images = np.arange(40, dtype=np.int64)
    places = np.zeros(values.shape, np.int32)
    forwards, backwards = TopK.empty(UNITS, K), TopK.empty(UNITS, K)
    for start in range(0, 40, 8):
        some = slice(start, start + 8)
        forwards.absorb(values[some], images[some], places[some])
    for start in reversed(range(0, 40, 8)):
        some = slice(start, start + 8)
        backwards.absorb(values[some], images[some], places[some])
    assert bytes_of(forwards) == bytes_of(backwards)
    assert (forwards.images[:, 1:] != forwards.images[:, :-1]).all()


def test_fewer_images_than_places():
    top = absorbed(np.array([[2.0], [3.0]], np.float32), np.array([5, 9]), k=4)
    assert top.held.tolist() == [[True, True, False, False]]
    assert top.images[0, :2].tolist() == [9, 5]
    assert np.isneginf(top.values[0, 2:]).all()


@pytest.mark.parametrize("k", [1, 5])
def test_no_images_change_nothing(k):
    top = TopK.empty(2, k)
    top.absorb(np.zeros((0, 2), np.float32), np.zeros(0, np.int64), np.zeros((0, 2), np.int32))
    assert not top.held.any()
