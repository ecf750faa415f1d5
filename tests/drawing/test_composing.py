"""Grids of one's own, and looks that are refused when they are made."""

from __future__ import annotations

import numpy as np
import pytest

import cnnviz
from cnnviz.core.target import ClassTarget
from cnnviz.errors import ParameterError, UnknownNameError, UsageError

PIXELS = np.zeros((20, 30, 3), dtype=np.uint8)
PICTURE = cnnviz.Picture(PIXELS, "dark.png")


def heatmap(height: float) -> cnnviz.Heatmap:
    values = np.array([[0, 0], [0, height]], dtype=np.float32)
    made = cnnviz.Provenance(method="gradcam")
    target = ClassTarget(1, "cat")
    return cnnviz.Heatmap(values, target, 2.0, 0.75, PICTURE, "layer4", rectified=True, model="net", provenance=made)


def test_cells_of_every_kind():
    composed = cnnviz.grid(
        [[PICTURE, heatmap(1), (heatmap(2), "mine")], [PIXELS, None, (PIXELS, "dark")]],
        row_headings=["a", "b"],
        column_headings=["x", "y", "z"],
        title="all",
        notes=["small"],
    )
    (picture, map_, mine), (array, empty, captioned) = composed.sheet.rows
    assert (picture.caption, map_.caption, mine.caption) == ("dark.png", "cat, 75.0%", "mine")
    assert (array.caption, empty, captioned.caption) == ("", None, "dark")
    assert (map_.scale.high, picture.scale) == (1.0, None)
    assert composed.provenance.method == "grid"
    assert [part["method"] for part in composed.provenance.settings["parts"]] == ["gradcam"]
    assert composed.pixels().ndim == 3


def test_a_bare_grid_is_its_pictures_pixel_for_pixel():
    assert np.array_equal(cnnviz.grid([[PIXELS]]).pixels(), PIXELS)


def test_other_cells_are_refused():
    with pytest.raises(UsageError, match="not of type str"):
        cnnviz.grid([["photo.jpg"]])
    with pytest.raises(ParameterError, match="row headings"):
        cnnviz.grid([[PIXELS]], row_headings=["a", "b"])


def test_maps_in_separate_files_can_share_a_scale(tmp_path):
    maps = cnnviz.Heatmaps((heatmap(1), heatmap(2)))
    same = [tmp_path / "a.png", tmp_path / "b.png"]
    maps.save_each(same, style="map", shared=True)
    faint, strong = (cnnviz.read_picture(path).pixels for path in same)
    assert faint.max() < strong.max()
    own = maps.save_each([tmp_path / "c.png", tmp_path / "d.png"], style="map")
    assert np.array_equal(*(cnnviz.read_picture(path).pixels for path in own))


def test_a_look_is_checked_when_it_is_made():
    for wrong in ({"style": "pretty"}, {"normalise": "most"}, {"alpha": 1.5}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            cnnviz.Look(**wrong)
    with pytest.raises(UnknownNameError, match="'inferno'"):
        cnnviz.Look(cmap="infernno")
