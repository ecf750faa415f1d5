"""Layers by name, and the automatic one."""

from __future__ import annotations

import pytest

from cnnviz.core.layer import Arrangement, Layer, Layers, split_call
from cnnviz.errors import UnknownNameError, UsageError

MAPS = Arrangement("NCHW", (4, 4), 8)
POINT = Arrangement("NCHW", (1, 1), 8)


def layer(name, order, arrangement=MAPS, calls=1):
    return Layer(name, "Conv2d", (8, 4, 4), calls, 10, arrangement, order)


@pytest.fixture
def layers():
    return Layers(
        [layer("features", 5), layer("features.0", 1), layer("relu", 4, calls=3), layer("pool", 6, POINT)]
        + [layer("head", -1, None, calls=0)]
    )


def test_a_mapping_in_the_networks_order(layers):
    assert list(layers) == ["features", "features.0", "relu", "pool", "head"]
    assert len(layers) == 5
    assert layers["relu"].calls == 3
    assert "5 layers" in repr(layers)


def test_the_automatic_layer_finished_last_among_those_with_places(layers):
    assert layers.resolve("last-spatial").name == "features"
    assert layers.last_spatial().spatial


def test_without_any_places():
    with pytest.raises(UsageError, match="No layer"):
        Layers([layer("pool", 1, POINT), layer("fc", 2, None)]).resolve("last-spatial")


def test_names_and_calls(layers):
    assert layers.resolve("features.0").order == 1
    assert layers.resolve("relu#3").name == "relu"
    for call in (0, 4):
        with pytest.raises(UsageError, match=rf"called 3 times .* no call {call}"):
            layers.resolve(f"relu#{call}")


def test_an_unknown_name_offers_the_nearest(layers):
    with pytest.raises(UnknownNameError, match=r"'feature\.0'.*'features\.0'.*cnnviz layers"):
        layers.resolve("feature.0")


@pytest.mark.parametrize(
    ("name", "parts"),
    [("relu", ("relu", None)), ("relu#2", ("relu", 2)), ("a#b#12", ("a#b", 12))]
    + [(odd, (odd, None)) for odd in ("relu#", "relu#x", "relu#²", "#", "")],
)
def test_splitting_a_call_off(name, parts):
    assert split_call(name) == parts


@pytest.mark.parametrize(("grid", "spatial"), [((1, 1), False), ((1, 2), True), ((7, 7), True)])
def test_spatial_means_more_than_one_place(grid, spatial):
    assert Arrangement("NCHW", grid, 3).spatial is spatial
