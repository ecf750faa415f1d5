"""Attributions: what they hold, how they are drawn and written."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

import cnnviz
from cnnviz.core.picture import Geometry, Picture
from cnnviz.core.target import ClassTarget
from cnnviz.drawing.colour import NO_VALUE
from cnnviz.errors import ParameterError
from cnnviz.results.attribution import Attribution, Attributions, flattened


def picture(name: str = "cat.png") -> Picture:
    """12 x 20 pixels, of which the network saw the middle 8 x 8 as they are."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    return Picture(pixels, name, Geometry((12, 20), (12, 20), (2, 6, 8, 8)))


def of(values, channels="absolute", name="cat.png") -> Attribution:
    values = np.asarray(values, dtype=np.float32)
    about = (ClassTarget(1, "cat"), 2.0, 0.5, picture(name), None, channels != "signed", "net")
    return Attribution(values, *about, channels=channels)


def noise(seed: int = 0, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(channels, 8, 8)).astype(np.float32)


def test_channels_become_one_map():
    values = noise()
    assert np.array_equal(flattened(values, "absolute"), np.abs(values).max(axis=0))
    assert np.array_equal(flattened(values, "colour"), np.abs(values).max(axis=0))
    assert np.allclose(flattened(values, "signed"), values.sum(axis=0))


def test_scales_are_symmetric_where_there_is_a_sign():
    assert of(noise(), "absolute").scale().cmap == "inferno"
    assert of(noise(), "absolute").scale().low == 0
    for channels in ("signed", "colour"):
        scale = of(noise(), channels).scale()
        assert scale.signed
        assert scale.low == -scale.high
    assert of(noise(), "signed").scale().cmap == "RdBu_r"


def test_outliers_are_clipped_and_that_is_said():
    values = noise()
    values[0, 0, 0] = 1e6
    for channels in ("absolute", "signed", "colour"):
        one = of(values, channels)
        assert one.scale().high < 1e6
        assert "% clipped" in one.cells()[1].caption
    assert of(values).scale(cnnviz.Look(normalise="max")).high == 1e6


@pytest.mark.parametrize("channels", ["absolute", "signed", "colour"])
def test_the_panel_shows_what_the_network_saw_with_its_faded_surroundings(channels):
    one = of(noise(), channels)
    shown, drawn = one.cells()
    assert np.array_equal(shown.pixels, picture().pixels)
    assert drawn.size == shown.size == (12, 20)
    inside = one.cells(cnnviz.Look(style="map"))[0].pixels
    assert np.array_equal(drawn.pixels[2:10, 6:14], inside)
    assert np.array_equal(drawn.pixels[:, :5], one.flat.overlay()[:, :5])
    assert (drawn.pixels[:, :5] != picture().pixels[:, :5]).any()
    assert (drawn.scale is None) is (channels == "colour")


def test_colours_are_around_grey():
    values = np.zeros((3, 8, 8), dtype=np.float32)
    values[0, 2, 3], values[1, 4, 5] = 1, -1
    drawn = of(values, "colour").cells(cnnviz.Look(style="map", normalise="max"))[0].pixels
    assert tuple(drawn[2, 3]) == (255, 128, 128)
    assert tuple(drawn[4, 5]) == (128, 0, 128)
    assert tuple(drawn[0, 0]) == NO_VALUE


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_other_numbers_of_channels(channels):
    one = of(noise(channels=channels), "colour")
    assert one.coloured is (channels == 1)
    assert one.cells()[1].size == (12, 20)


def test_shared_scales(tmp_path):
    both = Attributions((of(noise(0)), of(10 * noise(1), name="dog.png")))
    alone = both.save_each([tmp_path / "a.png", tmp_path / "b.png"])
    together = both.save_each([tmp_path / "c.png", tmp_path / "d.png"], shared=True)
    assert alone[0].read_bytes() != together[0].read_bytes()
    cells = [row[1] for row in both.grid(shared=True).sheet.rows]
    assert cells[0].scale == cells[1].scale


def test_nothing_to_see_is_said():
    one = of(np.zeros((3, 8, 8)), "colour")
    assert one.caption() == "cat, 50.0%\nzero gradient at the pixels"
    assert one.cells()[1].pixels[2:10, 6:14].std() == 0
    assert one.describe()["blank"] is True


@pytest.mark.parametrize("style", ["panel", "overlay", "map"])
@pytest.mark.parametrize("channels", ["absolute", "signed", "colour"])
def test_every_style_is_drawn(tmp_path, style, channels):
    one = of(noise(), channels)
    path = one.save(tmp_path / "a.png", style=style)
    assert path.is_file()
    size = {"panel": (12, 20), "overlay": (12, 20), "map": (8, 8)}[style]
    assert one.cells(cnnviz.Look(style=style))[-1].size == size


def test_files_hold_the_raw_values(tmp_path):
    held = Attributions((of(noise(0)), of(noise(1))))
    with np.load(held.save(tmp_path / "a.npz")) as read:
        assert np.array_equal(read["values"], held.values)
        assert read["boxes"].tolist() == [[6, 2, 14, 10]] * 2
        assert list(read["targets"]) == ["cat", "cat"]


def test_it_is_a_sequence_that_converts_and_plots():
    held = Attributions((of(noise(0)), of(noise(1))))
    assert np.asarray(held).shape == (2, 3, 8, 8)
    assert held[1:].values.shape == (1, 3, 8, 8)
    assert np.asarray(held[0]).shape == (3, 8, 8)
    assert [one.target for one in held] == list(held.targets)
    assert held.scores.tolist() == [2, 2]
    assert held[0].on_original().shape == (3, 12, 20)
    assert isinstance(held.plot(), Figure)
    assert isinstance(held[0].plot(Figure().add_subplot()), Figure)
    assert held._repr_png_()[:4] == held[0]._repr_png_()[:4] == b"\x89PNG"
    assert held.heatmaps().values.shape == (2, 8, 8)


def test_a_wrong_look_is_refused():
    with pytest.raises(ParameterError, match="has the fields"):
        of(noise()).save("a.png", colour="red")


def test_it_is_a_cell_of_a_grid_of_ones_own():
    drawn = cnnviz.grid([[picture(), of(noise()), (of(noise(), "colour"), "mine")]])
    assert drawn.sheet.rows[0][2].caption == "mine"
