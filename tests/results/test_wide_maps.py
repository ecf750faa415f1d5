"""Maps of signals and volumes as results: what is drawn, said and written of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cnnviz import Heatmap, Look
from cnnviz.core.field import Field, Span
from cnnviz.core.picture import Picture
from cnnviz.core.sample import Geometry, Signal, Volume
from cnnviz.core.target import ClassTarget
from cnnviz.drawing.files import read_note
from cnnviz.errors import ExplanationError, OutputError, ParameterError, UsageError
from cnnviz.results.attribution import Attribution, Attributions
from cnnviz.results.comparison import Comparison, grid
from cnnviz.results.heatmap import Heatmaps

SIGNAL = Signal(np.sin(np.arange(200, dtype=np.float32) / 7)[None].repeat(2, 0), "s.npy", rate=100.0)
VOLUME = Volume(np.random.default_rng(0).random((1, 8, 12, 10)).astype(np.float32), "v.nii.gz", spacing=(3.0, 1.0, 2.0))
ABOUT = {"target": ClassTarget(1, "dog"), "score": 3.25, "probability": 0.875, "layer": "conv", "model": "small"}


def heatmap(values, picture, *, rectified=True, **given):
    return Heatmap(np.asarray(values, np.float32), picture=picture, rectified=rectified, **ABOUT, **given)


def bump(size, at):
    along = [np.exp(-((np.arange(length) - centre) ** 2) / 4) for length, centre in zip(size, at, strict=True)]
    whole = np.ones(())
    for each in along:
        whole = np.multiply.outer(whole, each)
    return whole


def attribution(values, picture, **given):
    return Attribution(np.asarray(values, np.float32), picture=picture, rectified=False, channels="signed", **ABOUT)


def test_a_peak_is_a_time_or_a_voxel_and_the_caption_says_where():
    one = heatmap(bump((200,), (132,)), SIGNAL)
    assert one.peak() == (132,)
    assert one.describe()["peak"] == [132]
    assert one.caption() == "dog, 87.5%\nstrongest at 1.32 s"
    one = heatmap(bump((8, 12, 10), (2, 9, 4)), VOLUME)
    assert one.peak() == (4, 9, 2)
    assert one.caption().endswith("strongest at 8, 9, 6 mm from the first voxel")
    affine = np.array([[-2.0, 0, 0, 20], [0, -1, 0, 5], [0, 0, 3, -4], [0, 0, 0, 1]])
    placed = heatmap(one.values, VOLUME.changed(affine=affine))
    assert placed.caption().endswith("strongest at R 12, P 4, H 2 mm")
    blank = heatmap(np.zeros((8, 12, 10)), VOLUME)
    assert "strongest" not in blank.caption()
    with pytest.raises(ExplanationError, match="holds no number"):
        heatmap(np.full(200, np.nan), SIGNAL).peak()


def test_all_that_there_is_of_a_signal_stands_one_below_the_other():
    maps = Heatmaps(tuple(heatmap(bump((200,), (at,)), SIGNAL) for at in (20, 150)))
    assert maps.grid().sheet.shape == (2, 1)
    spread = Heatmaps((heatmap(bump((200,), (20,)), SIGNAL, spread=np.ones(200, np.float32)),))
    assert [row[0].caption.split("\n")[0] for row in spread.grid().sheet.rows] == ["s.npy: dog, 87.5%", "spread"]
    shown = grid([[maps[0], SIGNAL, VOLUME]])
    assert [cell.paper for cell in shown.sheet.rows[0]] == [True, True, True]


def test_a_panel_of_a_volume_shows_the_same_slices_without_the_map():
    one = heatmap(bump((8, 12, 10), (2, 9, 4)), VOLUME)
    panel, alone = one.cells()[0].pixels, one.cells(Look(style="overlay"))[0].pixels
    assert panel.shape[1] == alone.shape[1]
    assert np.array_equal(panel[-len(alone) :], alone)
    above = panel[: len(panel) - len(alone)]
    grey = np.ptp(above.astype(int), axis=2) < 6
    assert grey.mean() > 0.95
    assert not np.array_equal(one.cells(Look(slices=4))[0].pixels, panel)


def test_a_look_of_pictures_says_nothing_of_slices():
    assert {"slices", "axis"}.isdisjoint(Look().describe())
    assert Look(slices=3, axis="coronal").describe()["axis"] == "coronal"
    one = heatmap(bump((8, 12, 10), (2, 9, 4)), VOLUME)
    assert one.grid(slices=3).provenance.look["slices"] == 3
    assert "slices" not in one.grid().provenance.look
    with pytest.raises(ParameterError, match="axis is one of axial"):
        one.grid(axis="frontal")


def test_positive_maps_of_signals_are_darker_where_they_are_stronger():
    one = heatmap(np.linspace(0, 1, 200), SIGNAL)
    assert one.scale().cmap.startswith("glow")
    assert one.scale(Look(cmap="viridis")).cmap == "viridis"
    assert heatmap(np.linspace(-1, 1, 200), SIGNAL, rectified=False).scale().cmap == "RdBu_r"
    top = one.overlay()[2].astype(int).sum(axis=1)
    assert top[300] > top[900] > top[1500]


def test_attributions_of_each_channel_lie_under_its_line():
    values = np.zeros((2, 200), np.float32)
    values[1, 50] = 1.0
    one = attribution(values, SIGNAL)
    drawn = one.cells()[0].pixels
    first, second = drawn[3], drawn[300]
    assert np.ptp(first[300:1500].astype(int), axis=1).max() < 10
    assert np.ptp(second[300:1500].astype(int), axis=1).max() > 60
    assert Attributions((one,)).grid().sheet.shape == (1, 1)
    volume = attribution(np.stack([bump((8, 12, 10), (2, 9, 4))] * 3), VOLUME)
    assert volume.cells()[0].paper
    assert volume.flat.peak() == (4, 9, 2)


def test_arrays_name_the_centres_along_each_axis(tmp_path):
    span = Span(3, 4.0, 1.5, tuple((4 * at, 4 * at + 3) for at in range(2)))
    for names, picture, grid_ in (
        (["samples"], SIGNAL.changed(geometry=Geometry.whole(200)), (2,)),
        (["slices", "rows", "columns"], VOLUME, (2, 2, 2)),
    ):
        field = Field("spatial", picture.size, "", (span,) * len(grid_))
        heatmap(np.ones(grid_), picture, field=field).save(tmp_path / "a.npz")
        with np.load(tmp_path / "a.npz") as held:
            assert [name for name in ("samples", "slices", "rows", "columns") if name in held] == names
            assert held[names[0]].tolist() == [1.5, 5.5]
            assert held["boxes"].shape == (1, 2 * len(grid_))


def test_maps_of_volumes_are_written_as_nifti_and_others_are_refused(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    one = heatmap(bump((8, 12, 10), (2, 9, 4)), VOLUME)
    one.save(tmp_path / "map.nii.gz")
    image = nibabel.load(tmp_path / "map.nii.gz")
    data = image.get_fdata()
    assert np.unravel_index(data.argmax(), data.shape) == (4, 9, 2)
    assert np.allclose(np.abs(np.diag(image.affine)), (2, 1, 3, 1))
    assert json.loads(read_note(tmp_path / "map.nii.gz"))["cnnviz"]["look"]["format"] == "nii"
    attribution(one.values[None], VOLUME).save(tmp_path / "a.nii")
    Heatmaps((one, one)).save(tmp_path / "two.nii.gz")
    assert nibabel.load(tmp_path / "two.nii.gz").shape == (10, 12, 8, 2)
    picture = Picture(np.zeros((4, 4, 3), np.uint8), "p.png")
    for wrong, kind in ((heatmap(np.ones(200), SIGNAL), "signal"), (heatmap(np.ones((4, 4)), picture), "picture")):
        with pytest.raises(OutputError, match=f"maps of volumes, and '.*' is a {kind}"):
            wrong.save(tmp_path / "b.nii.gz")
        with pytest.raises(OutputError, match=r"must end in \.png"):
            wrong.save(tmp_path / "b.gif")
    one.save(tmp_path / "c.gif", axis=1, slices=3)
    with pytest.raises(OutputError, match="one map at a time; there are 2"):
        Heatmaps((one, one)).save(tmp_path / "d.gif")


@pytest.mark.parametrize("picture", [SIGNAL, VOLUME], ids=["signal", "volume"])
def test_a_comparison_has_its_methods_one_below_the_other(picture):
    values = bump(picture.size, [length // 3 for length in picture.size])
    maps = {"gradcam": Heatmaps((heatmap(values, picture),)), "saliency": Heatmaps((heatmap(-values, picture),))}
    found = Comparison(maps, pixelwise=frozenset(["saliency"]))
    sheet = found.grid().sheet
    assert sheet.shape == (3, 1)
    assert sheet.row_headings == ("", "Grad-CAM", "Saliency")
    assert found.grid(down=True).sheet.shape == (1, 3)
    assert found.grid(shared=True).pixels().shape[2] == 3
    assert found._repr_png_().startswith(b"\x89PNG")


def test_slices_are_of_volumes_only_in_words():
    with pytest.raises(UsageError, match="slices is a number"):
        Look(slices=0)
