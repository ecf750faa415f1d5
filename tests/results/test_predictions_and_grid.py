"""Predictions as a sequence, and grids of one's own."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import cnnviz
from cnnviz import predict
from cnnviz.drawing.files import read_note
from cnnviz.errors import OutputError, ParameterError, UsageError
from cnnviz.provenance import Provenance
from cnnviz.results.result import Grid


def test_predictions_are_a_sequence(small, inputs):
    found = predict(small, inputs, k=2)
    assert len(found) == 3
    assert found[0] == next(iter(found))
    assert found[1:] == (found[1], found[2])
    assert np.asarray(found).shape == (3, 5)
    own = np.array(found)
    own[:] = 0
    assert found.logits.any()
    assert [picture.name for picture in found.pictures] == ["input 1", "input 2", "input 3"]


@pytest.fixture
def grid(small, photo):
    one = cnnviz.gradcam(small, photo, "dog")[0]
    return cnnviz.grid([[one.picture, one, (photo, "mine")], [None, (one, "dog!")]], row_headings=("a", "b"), title="t")


def test_a_grid_of_ones_own(grid):
    assert isinstance(grid, Grid)
    assert grid.sheet.shape == (2, 3)
    captions = [cell.caption if cell else None for row in grid.sheet.rows for cell in row]
    assert captions[0] == "image"
    assert captions[1].startswith("dog, ")
    assert captions[2:] == ["mine", None, "dog!", None]
    assert grid.provenance.method == "grid"
    assert [part["method"] for part in grid.provenance.settings["parts"]] == ["gradcam"]
    assert grid.pixels().ndim == 3
    assert grid._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".svg", ".pdf"])
def test_saved(suffix, grid, tmp_path):
    path = grid.save(tmp_path / f"grid{suffix}", cell=100)
    assert Provenance.from_json(read_note(path)).method == "grid"
    if suffix == ".png":
        with Image.open(path) as image:
            np.testing.assert_array_equal(np.asarray(image), grid.pixels(100))


def test_a_grid_is_no_array_file(grid, tmp_path):
    with pytest.raises(OutputError, match=r"\.npz"):
        grid.save(tmp_path / "grid.npz")


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([["text"]], UsageError),
        ([], ParameterError),
        ([[None]], ParameterError),
        ([[np.zeros((4, 4))]], ParameterError),
    ],
)
def test_what_is_no_grid(rows, error):
    with pytest.raises(error):
        cnnviz.grid(rows)


def test_bare_pictures_keep_their_pixels(photo):
    bare = cnnviz.grid([[photo]])
    np.testing.assert_array_equal(bare.pixels(), photo)
