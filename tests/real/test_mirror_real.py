"""The mirror test: a mirrored photograph's map, mirrored back, lies where the photograph's map lies."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np
import pytest
import torch

import cnnviz

pytestmark = pytest.mark.real
PHOTOS = 8
LAYERS = {"mobilenet_v2": "features.18", "squeezenet1_0": "features.12"}


class Disagreement(NamedTuple):
    """Mean over crops of how far the two maps' centres of mass are apart, in pixels, and its standard error.

    Crops of one photograph show the same object, so the error is that of the photographs' means: there are as many
    independent values as photographs.
    """

    mean: float
    error: float


def crops(real, count):
    """Square crops of the photographs, of random sizes at random places."""
    random = np.random.default_rng(0)
    photos = [cnnviz.read_picture(path).pixels for path in sorted((real / "photos").glob("*.jpg"))]
    assert len(photos) == PHOTOS
    for number in range(count):
        pixels = photos[number % len(photos)]
        side = int(random.uniform(0.55, 1.0) * min(pixels.shape[:2]))
        top, left = (random.integers(0, length - side + 1) for length in pixels.shape[:2])
        yield pixels[top : top + side, left : left + side]


def disagreements(real, name, count):
    """By convention: the field's arithmetic, and units spread evenly over the input."""
    model = cnnviz.load_model(name, device="cpu")
    inputs = torch.stack([model.preprocess(cnnviz.Picture(crop))[0] for crop in crops(real, count)])
    found = cnnviz.gradcam(model, inputs, layer=LAYERS[name], batch_size=16)
    other = cnnviz.gradcam(model, inputs.flip(-1), list(found.targets), layer=LAYERS[name], batch_size=16)
    maps = [np.maximum(each.values, 0) for each in (found, other)]
    kept = (maps[0].max(axis=(1, 2)) > 0) & (maps[1].max(axis=(1, 2)) > 0)
    assert kept.mean() > 0.9
    width, units = inputs.shape[-1], np.arange(maps[0].shape[-1])
    field = found[0].field
    assert field is not None
    places = {"field": field.stride[1] * units + field.offset[1], "pixel": (units + 0.5) * width / len(units) - 0.5}
    result = {}
    for convention, centres in places.items():
        one, two = ((each[kept] * centres).sum(axis=(1, 2)) / each[kept].sum(axis=(1, 2)) for each in maps)
        apart, photo = one - (width - 1 - two), np.flatnonzero(kept) % PHOTOS
        means = np.array([apart[photo == each].mean() for each in range(PHOTOS)])
        result[convention] = Disagreement(float(apart.mean()), float(means.std(ddof=1)) / sqrt(PHOTOS))
    return result


@pytest.mark.parametrize("count", [40, pytest.param(240, marks=pytest.mark.slow)])
def test_in_mobilenet_the_evenly_spread_map_is_half_a_stride_off(real, count):
    found = disagreements(real, "mobilenet_v2", count)
    assert abs(found["pixel"].mean) > 25
    assert abs(found["field"].mean) < 5
    assert abs(found["field"].mean) < 3 * found["field"].error


@pytest.mark.parametrize("count", [40, pytest.param(240, marks=pytest.mark.slow)])
def test_in_squeezenet_trained_kernels_lean_a_little(real, count):
    found = disagreements(real, "squeezenet1_0", count)
    assert abs(found["field"].mean) < 5
    assert abs(found["pixel"].mean) < 5
