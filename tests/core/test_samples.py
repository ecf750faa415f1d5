"""Signals and volumes, which are samples as pictures are."""

from __future__ import annotations

import hashlib
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from cnnviz import Geometry, Picture, Sample, Signal, Volume

VALUES = np.arange(2 * 6, dtype=np.float32).reshape(2, 6)
BLOCK = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)


def test_a_signal_says_its_size_and_how_long_it_lasts():
    one = Signal(VALUES, rate=3.0)
    assert (one.size, one.channels, one.seconds, one.name) == ((6,), 2, 2.0, "signal")
    assert Signal(VALUES).seconds is None


def test_a_volume_says_its_size_and_whether_it_is_a_clip():
    one = Volume(BLOCK)
    assert (one.size, one.channels, one.is_clip, one.name) == ((3, 4, 5), 2, False, "volume")
    assert Volume(BLOCK, rate=25.0).is_clip


@pytest.mark.parametrize("sample", [Signal(VALUES), Volume(BLOCK), Picture(np.zeros((2, 3, 3), np.uint8))], ids=type)
def test_all_kinds_are_frozen_samples_that_can_be_changed_into_others(sample):
    assert isinstance(sample, Sample)
    with pytest.raises(FrozenInstanceError):
        sample.name = "other"
    other = sample.changed(name="other", notes=("noted",))
    assert (type(other), other.name, other.notes) == (type(sample), "other", ("noted",))
    assert other.held is sample.held


@pytest.mark.parametrize(("kind", "values"), [(Signal, VALUES), (Volume, BLOCK)])
def test_the_digest_is_of_shape_type_and_values_only(kind, values):
    said = hashlib.sha256(f"{values.shape}float32".encode() + values.tobytes()).hexdigest()
    assert kind(values).digest == said
    assert kind(values.copy(), "b", notes=("x",), geometry=Geometry.whole(1, 2), rate=9.0).digest == said
    assert kind(values[:, ::-1]).digest == kind(np.ascontiguousarray(values[:, ::-1])).digest != said
    assert kind(values.reshape(1, -1, *values.shape[2:])).digest != said
    changed = values.copy()
    changed[-1, -1] += 1
    assert kind(changed).digest != said


def test_an_array_of_a_signal_is_the_callers_own():
    one = Signal(VALUES.copy())
    np.asarray(one)[:] = 0
    assert (one.values == VALUES).all()
