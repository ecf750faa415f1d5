"""Pictures that were made, and their files."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image as Pillow

from cnnviz import Image, Images
from cnnviz.core.target import ClassTarget, Unit
from cnnviz.drawing.files import SUFFIXES, read_note
from cnnviz.errors import OutputError
from cnnviz.provenance import Provenance
from cnnviz.results.images import as_pixels

QUALITY = {"slope": -1.3, "held_out_mean": 4.25, "held_out_deviation": 0.5, "saturated_share": 0.01}


def made(number: int = 0, channels: int = 3, **more) -> Image:
    values = np.random.default_rng(number).random((channels, 24, 20), dtype=np.float32)
    target = ClassTarget(number, f"class {number}") if number else Unit("layer4", 17)
    steps = tuple((step, as_pixels(values * step / 4)) for step in (0, 2, 4))
    given = {"history": np.array([1, 2, 3, 4], np.float32), "snapshots": steps, "quality": QUALITY} | more
    return Image(values, target, 4.5 + number, "small", provenance=Provenance(targets=(str(target),)), **given)


@pytest.fixture
def images():
    parts = (made(0), made(1, history=np.array([1, 2], np.float32)), made(2))
    record = Provenance(targets=tuple(str(one.target) for one in parts))
    return Images(parts, ("said",), record).stamped("maximize", {"steps": 4})


def test_a_sequence_of_pictures(images):
    assert len(images) == 3
    assert images[-1] is images.parts[2]
    assert images.pixels.shape == (3, 3, 24, 20)
    assert images.pixels.dtype == np.asarray(images).dtype == np.float32
    assert images.scores.tolist() == [4.5, 5.5, 6.5]
    assert [str(target) for target in images.targets] == ["layer4:17", "class 1", "class 2"]
    assert [len(each) for each in images.history] == [4, 2, 4]
    assert images.quality == (QUALITY,) * 3
    assert images.model == "small"
    with pytest.raises(FrozenInstanceError):
        images.parts = ()


def test_a_part_of_it_keeps_its_own_record(images):
    assert images[1:].provenance.targets == ("class 1", "class 2")
    assert images[1:].provenance.method == images[2].provenance.method == "maximize"
    assert images[2].provenance.targets == ("class 2",)


def test_values_become_colours_as_they_are():
    levels = np.arange(12, dtype=np.float32).reshape(3, 2, 2) * 20
    assert (as_pixels(levels / 255) == levels.transpose(1, 2, 0)).all()
    assert as_pixels(np.array([[[-1.0]], [[0.5]], [[2.0]]])).tolist() == [[[0, 128, 255]]]
    grey = as_pixels(np.full((1, 2, 3), 0.2))
    assert grey.shape == (2, 3, 3)
    assert (grey == 51).all()
    assert (as_pixels(np.stack([np.full((2, 2), share) for share in (0.1, 0.2, 0.3, 0.7)])) == 83).all()


def test_channels_that_are_no_colours_are_said_to_be_averaged():
    assert "mean of 7 channels" in made(1, channels=7).caption()
    assert "mean" not in made(1, channels=1).caption()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_file_says_how_and_how_good(images, suffix, tmp_path):
    path = images.save(tmp_path / f"made{suffix}")
    held = Provenance.from_json(read_note(path))
    assert (held.method, held.settings, held.targets) == ("maximize", {"steps": 4}, images.provenance.targets)
    assert held.quality == (QUALITY,) * 3
    assert path.read_bytes() == images.save(tmp_path / f"again{suffix}").read_bytes()


def test_raw_values_in_a_file(images, tmp_path):
    with np.load(images.save(tmp_path / "made.npz"), allow_pickle=False) as held:
        assert (held["pixels"] == images.pixels).all()
        assert (held["scores"] == images.scores).all()
        assert held["targets"].tolist() == ["layer4:17", "class 1", "class 2"]
        assert held["history"][1, :2].tolist() == [1, 2]
        assert np.isnan(held["history"][1, 2:]).all()
        assert [json.loads(each) for each in held["quality"]] == [QUALITY] * 3


def test_a_file_each(images, tmp_path):
    paths = images.save_each(tmp_path / f"{number}.png" for number in range(3))
    records = [Provenance.from_json(read_note(path)) for path in paths]
    assert [record.targets for record in records] == [("layer4:17",), ("class 1",), ("class 2",)]
    assert [record.quality for record in records] == [(QUALITY,)] * 3
    with pytest.raises(ValueError, match="shorter"):
        images.save_each([tmp_path / "one.png"])


def test_the_picture_is_in_the_montage_under_its_words(images, tmp_path):
    large = Image(np.zeros((3, 400, 400), np.float32), ClassTarget(0, "dog"), 2.0, "small")
    drawn = np.asarray(Pillow.open(large.save(tmp_path / "large.png")))
    assert (drawn == 0).all(axis=2).sum() >= 400 * 400
    sheet = images.grid().sheet
    assert [cell.caption for row in sheet.rows for cell in row if cell][1] == "class 1, score 5.5"
    assert sheet.rows[0][0].note.splitlines() == ["4.25 ± 0.5 when moved or cropped", "as fine as photographs"]
    assert sheet.details == ("said",)


def test_a_picture_without_a_record_has_no_lines_under_it(tmp_path):
    alone = made(1, quality={})
    assert alone.cell().note == ""
    assert Provenance.from_json(read_note(alone.save(tmp_path / "made.png"))).quality == ()


def test_plain_values(images):
    said = json.loads(json.dumps(images.describe()))
    assert said["checks"] == ["said"]
    assert said["images"][1]["target"] == "class 1"
    assert said["images"][1]["index"] == 1
    assert said["images"][0]["index"] is None
    assert said["images"][1]["quality"] == QUALITY
    assert said["images"][1]["steps"] == 2


def test_figures_and_notebooks(images):
    assert isinstance(images.plot(), Figure)
    axes = Figure().subplots()
    assert images[0].plot(axes) is axes.figure
    assert images._repr_png_()[:4] == images[0]._repr_png_()[:4] == b"\x89PNG"


def test_an_unknown_suffix_is_refused(images, tmp_path):
    with pytest.raises(OutputError, match="must end in"):
        images.save(tmp_path / "made.bmp")


def test_frames_show_the_step_they_are_of(images):
    captions = [images[0].frame(step).caption for step in (0, 1, 2, 3, 9)]
    assert captions == ["layer4:17\nstep 0", "layer4:17\nstep 0"] + ["layer4:17\nstep 2, score 2"] * 2 + [
        "layer4:17\nstep 4, score 4"
    ]


def frames_of(path) -> int:
    with Pillow.open(path) as drawn:
        return getattr(drawn, "n_frames", 1)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".mp4"])
def test_an_animation_of_how_they_came_about(images, suffix, tmp_path):
    path = images.save(tmp_path / f"made{suffix}", animate=True, fps=4)
    held = Provenance.from_json(read_note(path))
    assert (held.method, held.quality) == ("maximize", (QUALITY,) * 3)
    assert path.read_bytes() == images.save(tmp_path / f"again{suffix}", animate=True, fps=4).read_bytes()
    if suffix != ".mp4":
        with Pillow.open(path) as drawn:
            assert drawn.n_frames == 3
            drawn.seek(2)
            drawn.load()
            assert drawn.info["duration"] == 2000


def test_what_is_animated_when_nothing_is_said(images, tmp_path):
    assert frames_of(images.save(tmp_path / "made.gif")) == 3
    assert frames_of(images.save(tmp_path / "made.webp")) == 1
    assert images.save(tmp_path / "made.mp4").is_file()
    assert frames_of(images[0].save(tmp_path / "one.gif")) == 3
    with pytest.raises(OutputError, match=r"must end in \.gif, \.webp or \.mp4"):
        images.save(tmp_path / "made.png", animate=True)


def test_pictures_without_snapshots_are_not_animated(tmp_path):
    with pytest.raises(OutputError, match="without snapshots"):
        made(1, snapshots=()).save(tmp_path / "made.gif")
    assert not list(tmp_path.iterdir())
