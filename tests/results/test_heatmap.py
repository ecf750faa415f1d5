"""One map: its values, where they lie on the picture, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from cnnviz import Geometry, Heatmap, Look, Picture
from cnnviz.core.target import ClassTarget, Unit
from cnnviz.errors import ParameterError, UnknownNameError

VALUES = np.array([[-1.0, 0.0], [0.5, 2.0]], dtype=np.float32)


def heatmap(values=VALUES, *, rectified=True, original=(40, 60), geometry=None, **given):
    pixels = np.random.default_rng(0).integers(0, 256, (*original, 3), dtype=np.uint8)
    picture = Picture(pixels, "photo.png", geometry or Geometry(original, (20, 30), (2, 5, 16, 16)))
    fixed = {"target": ClassTarget(1, "dog"), "score": 3.25, "probability": 0.875, "layer": "conv", "model": "small"}
    return Heatmap(np.asarray(values, np.float32), picture=picture, rectified=rectified, **(fixed | given))


def test_the_rectifier_comes_before_the_upsampling():
    shown, signed = heatmap().upsampled(), heatmap(rectified=False).upsampled()
    assert shown.shape == signed.shape == (16, 16)
    assert shown[0, 0] == 0
    assert signed[0, 0] == -1
    assert shown[15, 15] == signed[15, 15] == 2
    # between -1 and 0.5 downwards: what was rectified first is positive earlier
    assert (shown[:, 0] >= signed[:, 0]).all()
    assert (shown[:, 0] > np.maximum(signed[:, 0], 0)).any()


def test_on_the_original_nothing_is_claimed_where_the_network_did_not_look():
    placed = heatmap().on_original()
    assert placed.shape == (40, 60)
    seen = ~np.isnan(placed)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (4, 36, 10, 42)
    assert seen[4:36, 10:42].all()


def test_the_peak_is_column_and_row_on_the_original():
    values = np.zeros((4, 4))
    values[0, 3] = 1  # above, on the right
    x, y = heatmap(values).peak()
    assert 34 <= x < 42
    assert 4 <= y < 12


def test_a_picture_without_geometry_is_the_input_itself():
    whole = replace(heatmap(), picture=Picture(np.zeros((8, 12, 3), np.uint8)))
    assert whole.upsampled().shape == whole.on_original().shape == (8, 12)
    assert not np.isnan(whole.on_original()).any()


@pytest.mark.parametrize(
    ("values", "rectified", "blank"),
    [
        ([[-1, -2]], True, True),
        ([[-1, -2]], False, False),
        ([[0, 0]], False, True),
        ([[3, 3]], True, False),
        ([[np.nan, 0]], True, True),
        ([[1e-30, 0]], True, False),
    ],
)
def test_blank_means_nothing_to_see(values, rectified, blank):
    one = heatmap(values, rectified=rectified)
    assert one.blank is blank
    assert ("no positive evidence for 'dog' at conv" in one.caption()) is (blank and rectified)
    assert one.overlay().shape == (40, 60, 3)
    assert one.describe()["blank"] is blank


def test_a_blank_maps_overlay_is_the_photograph():
    one = heatmap([[-1, -2]], geometry=Geometry.whole(40, 60))
    np.testing.assert_array_equal(one.overlay(), one.picture.pixels)


@pytest.mark.parametrize(
    ("given", "caption"),
    [
        ({}, "dog, 87.5%"),
        ({"probability": None}, "dog, score 3.25"),
        ({"target": Unit("conv", 3), "probability": None, "score": 1234567.0}, "conv:3, score 1.235e+06"),
    ],
)
def test_captions(given, caption):
    assert heatmap(**given).caption() == caption


def test_as_plain_values():
    said = heatmap().describe()
    assert (said["target"], said["index"], said["score"], said["layer"]) == ("dog", 1, 3.25, "conv")
    assert said["peak"] == list(heatmap().peak())
    assert heatmap(np.zeros((2, 2))).describe()["peak"] is None


def test_as_an_array():
    one = heatmap()
    assert np.asarray(one).dtype == np.float32
    assert np.asarray(one, dtype=np.float64).dtype == np.float64
    own = np.array(one)
    own[:] = 9
    assert (one.values == VALUES).all(), "a copy is a copy"


@pytest.mark.parametrize("style", ["panel", "overlay", "map"])
def test_styles(style):
    cells = heatmap().cells(Look(style=style))
    assert [cell.pixels.shape[:2] for cell in cells] == {
        "panel": [(40, 60), (40, 60)],
        "overlay": [(40, 60)],
        "map": [(16, 16)],
    }[style]
    assert (cells[-1].scale is not None) is (style == "panel")


@pytest.mark.parametrize(
    ("look", "error"),
    [
        ({"style": "poster"}, ParameterError),
        ({"normalise": "most"}, ParameterError),
        ({"alpha": 1.5}, ParameterError),
        ({"alpha": float("nan")}, ParameterError),
        ({"cmap": "vridis"}, UnknownNameError),
        ({"colour": "red"}, ParameterError),
    ],
)
def test_looks_that_there_are_not(look, error, tmp_path):
    with pytest.raises(error):
        heatmap().save(tmp_path / "map.png", **look)
    assert not list(tmp_path.iterdir())


def test_saved_bare_it_has_the_photographs_own_size(tmp_path):
    path = heatmap().save(tmp_path / "map.png", style="overlay")
    with Image.open(path) as image:
        assert image.size == (60, 40)
        np.testing.assert_array_equal(np.asarray(image), heatmap().overlay())


def test_plotted_and_in_a_notebook():
    figure = Figure()
    axes = figure.add_subplot()
    assert heatmap().plot(axes) is figure
    assert len(axes.images) == 1
    assert isinstance(heatmap().plot(), Figure)
    assert heatmap()._repr_png_().startswith(b"\x89PNG")
