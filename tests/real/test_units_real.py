"""Filters, feature maps and units as targets on real networks and photographs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cnnviz

pytestmark = [pytest.mark.real, pytest.mark.slow]

UNITS = {"squeezenet1_0": "features.7:54", "mobilenet_v2": "features.14:3"}
METHODS = {
    "saliency": {},
    "guided_backprop": {},
    "deconvnet": {},
    "occlusion": {"window": 56, "stride": 42},
    "gradcam": {},
}


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("method", METHODS)
def test_what_a_unit_looks_at(real, name, method):
    model = cnnviz.load_model(name)
    found = getattr(cnnviz, method)(model, real / "photos" / "macaw.jpg", UNITS[name], **METHODS[method])
    assert np.isfinite(np.asarray(found)).all()
    assert np.asarray(found).any()
    layer, _, channel = UNITS[name].rpartition(":")
    maps = cnnviz.features(model, real / "photos" / "macaw.jpg", layer=layer, units=channel)
    said, expected = UNITS[name], maps.values.mean()
    if method == "deconvnet":
        row, column = np.unravel_index(maps.values[0, 0].argmax(), maps.values.shape[-2:])
        said, expected = f"{said}@{row},{column}", maps.values.max()
    assert str(found[0].target) == said
    assert found[0].score == pytest.approx(float(expected), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("place", [(3, 4), (20, 11)])
def test_a_units_place_is_explained_inside_its_receptive_field(real, place):
    model = cnnviz.load_model("squeezenet1_0")
    picture = real / "photos" / "macaw.jpg"
    found = cnnviz.saliency(model, picture, f"features.3:17@{place[0]},{place[1]}")
    rows, columns = np.nonzero(np.abs(found.values[0]).max(axis=0))
    assert rows.max() - rows.min() < 30
    assert columns.max() - columns.min() < 30
    assert abs(rows.mean() - 4 * place[0]) < 15
    assert abs(columns.mean() - 4 * place[1]) < 15


@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        ("squeezenet1_0", "features.0", (96, 3, 7, 7)),
        ("mobilenet_v2", "features.0.0", (32, 3, 3, 3)),
        ("mobilenet_v2", "features.5.conv.1.0", (192, 1, 3, 3)),
        ("squeezenet1_0", "features.7.expand3x3", (128, 32, 3, 3)),
    ],
)
def test_filters_are_the_networks_weights(real, name, layer, shape):
    model = cnnviz.load_model(name)
    found = cnnviz.filters(model, layer=layer)
    assert found.values.shape == shape
    assert np.array_equal(found, model.module.get_submodule(layer).weight.detach())
    assert found.coloured == (shape[1] == 3)


def test_mobilenets_first_layer_has_filters_that_are_zero(real):
    model = cnnviz.load_model("mobilenet_v2")
    found = cnnviz.filters(model)
    weights = model.module.features[0][0].weight.detach().flatten(1)
    zero = torch.nonzero((weights == 0).all(dim=1)).flatten().tolist()
    assert set(zero) <= set(found.dead)
    assert len(zero) >= 5
