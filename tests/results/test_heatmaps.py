"""A batch of maps, and its files."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from PIL import Image

from cnnviz import Heatmap, Heatmaps, gradcam
from cnnviz.drawing.files import SUFFIXES, read_note
from cnnviz.errors import OutputError, ParameterError
from cnnviz.provenance import Provenance, cautions, remarks
from tests.support.networks import Small, model_of


@pytest.fixture
def maps(small, photo, photo_file):
    return gradcam(small, [photo, photo_file, photo[:, ::-1]], ["dog", "cat", "fish - frog"])


def test_a_sequence_of_maps(maps):
    assert len(maps) == 3
    assert all(isinstance(one, Heatmap) for one in maps)
    assert maps[-1] is maps.maps[2]
    assert maps.values.shape == (3, 8, 8)
    assert maps.scores.shape == (3,)
    assert [str(target) for target in maps.targets] == ["dog", "cat", "fish - frog"]
    assert maps.layer == "relu2"
    assert maps.upsampled().shape == (3, 32, 32)
    assert maps.on_original(1).shape == (40, 52)
    assert np.asarray(maps, dtype=np.float64).dtype == np.float64
    with pytest.raises(FrozenInstanceError):
        maps.maps = ()


def test_a_part_of_it_keeps_its_own_record(maps):
    part = maps[1:]
    assert isinstance(part, Heatmaps)
    assert (part.values == maps.values[1:]).all()
    assert part.provenance.targets == ("cat", "fish - frog")
    assert [image["name"] for image in part.provenance.images] == ["photo.png", "image 3"]
    assert part.provenance.method == "gradcam"


def test_every_map_carries_its_own_record(maps):
    for one, target in zip(maps, ("dog", "cat", "fish - frog"), strict=True):
        assert one.provenance.targets == (target,)
        assert len(one.provenance.images) == 1
        assert one.provenance.method == "gradcam"
        assert one.provenance.settings == maps.provenance.settings


def test_raw_values_in_a_file(maps, tmp_path):
    path = maps.save(tmp_path / "maps.npz")
    with np.load(path, allow_pickle=False) as held:
        assert held["values"].dtype == np.float32
        np.testing.assert_array_equal(held["values"], maps.values)
        np.testing.assert_array_equal(held["scores"], maps.scores)
        assert held["targets"].tolist() == ["dog", "cat", "fish - frog"]
        assert held["images"].tolist() == ["image 1", "photo.png", "image 3"]
        np.testing.assert_allclose(held["boxes"], [one.geometry.box for one in maps])
        expected = maps.provenance.drawn(format="npz")
        assert Provenance.from_json(str(held["provenance"])) == Provenance.from_json(expected.to_json())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_of_every_kind(suffix, small, photo, tmp_path):
    maps = gradcam(small, photo, "dog")
    path = maps.save(tmp_path / f"map{suffix.upper() if suffix == '.png' else suffix}")
    held = Provenance.from_json(read_note(path))
    assert replace(held, look={}) == Provenance.from_json(maps.provenance.to_json())
    assert held.look["format"] == suffix[1:]
    assert suffix == ".npz" or (held.look["style"], held.look["cmap"]) == ("panel", None)
    assert path.stat().st_size > 500


@pytest.mark.parametrize("name", ["map.bmp", "map", "missing/map.png"])
def test_files_that_cannot_be_written(name, maps, tmp_path):
    with pytest.raises(OutputError):
        maps.save(tmp_path / name)
    assert not list(tmp_path.glob("**/map*"))


def test_a_look_is_checked_for_raw_values_too(maps, tmp_path):
    with pytest.raises(ParameterError, match="colour"):
        maps.save(tmp_path / "map.npz", colour="red")


def test_each_in_a_file_of_its_own(maps, tmp_path):
    paths = maps.save_each([tmp_path / f"{count}.npz" for count in range(3)])
    for path, one in zip(paths, maps, strict=True):
        with np.load(path) as held:
            np.testing.assert_array_equal(held["values"], one.values[None])
        assert Provenance.from_json(read_note(path)).targets == one.provenance.targets
    with pytest.raises(ValueError, match="argument"):
        maps.save_each([tmp_path / "one.png"])


def test_one_scale_for_all_or_each_its_own(maps):
    own = maps.grid(style="overlay").pixels()
    shared = maps.grid(style="overlay", shared=True).pixels()
    assert own.shape == shared.shape
    assert (own != shared).any()
    highest = max(one.scale().high for one in maps)
    assert all(cell.scale.high == highest for (_, cell) in maps.grid(shared=True).sheet.rows)


def test_a_grid_has_a_row_a_picture_and_says_what_it_shows(maps):
    sheet = maps.grid().sheet
    assert sheet.shape == (3, 2)
    assert sheet.title == "Grad-CAM · small · relu2"
    assert (sheet.notes, sheet.details) == (cautions(maps.checks), remarks(maps.checks))
    assert len(sheet.notes) == 1
    assert maps.grid(style="map").sheet.bare


def test_names_that_are_no_text_and_names_in_any_language(small, photo, tmp_path):
    for name in ("caf\udce9.png", "写真.png", "$x_1$ <b>.png"):
        Image.fromarray(photo).save(tmp_path / "photo.png")
        odd = (tmp_path / "photo.png").rename(tmp_path / name)
        maps = gradcam(small, odd)
        for suffix in (".png", ".jpg", ".npz", ".svg"):
            path = maps.save(tmp_path / f"map{suffix}")
            assert Provenance.from_json(read_note(path)).images[0]["name"] == name


@pytest.mark.parametrize("relu", [True, False])
def test_signed_maps_are_drawn_symmetric(relu, small, photo):
    scale = gradcam(small, photo, 0, relu=relu)[0].scale()
    assert scale.signed is not relu
    assert scale.low == (0 if relu else -scale.high)


def test_the_score_is_the_networks_answer(photo):
    net = Small().double()
    maps = gradcam(model_of(net), photo, [2])
    inputs, _ = model_of(net).preprocess(maps[0].picture)
    logits = net.eval()(inputs[None].double()).detach()
    assert maps[0].score == pytest.approx(float(logits[0, 2]), rel=1e-12)
    assert maps[0].probability == pytest.approx(float(logits.softmax(1)[0, 2]), rel=1e-12)
