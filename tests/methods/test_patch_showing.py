"""Patches are cut where they are, verified by running again, and told apart by class."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from cnnviz import Model, Picture, read_note
from cnnviz.core.field import Field, Span
from cnnviz.core.picture import Geometry
from cnnviz.drawing.colour import Scale
from cnnviz.drawing.plots import plot_table
from cnnviz.errors import ParameterError, UnknownNameError, UsageError
from cnnviz.images.crop import GREY, cut_out
from cnnviz.images.datasets.open import open_dataset
from cnnviz.methods.patches.cut import PatchGeometry
from cnnviz.methods.patches.show import show_patches
from cnnviz.results.patch_index import Failure
from cnnviz.results.patches import ClassMatrix
from tests.support.patch_cases import FIELD, SIDE, box_filter, brute_index, labelled, squares

PLACES = [(0, 0), (3, 11), (19, 19), (10, 5), (7, 7)]


@pytest.fixture(scope="module")
def shown():
    model, data = box_filter(), open_dataset(squares(PLACES))
    return show_patches(model, data, brute_index(model, data, "0"), layer="0", units="0-1")


def test_the_crop_is_exactly_what_the_unit_sees(shown):
    assert shown.view == "field"
    assert np.asarray(shown).shape == (2, 5, FIELD, FIELD, 3)
    for rank, (y, x) in enumerate(PLACES):
        assert shown.top.images[0, rank] == rank
        assert shown.top.boxes[0, rank].tolist() == [y, x, y + FIELD, x + FIELD]
        assert (shown.top.pixels[0, rank] == 255 - 10 * rank).all()
    assert np.allclose(shown.top.values[1], 2 * shown.top.values[0])


def test_every_value_is_verified_and_said(shown):
    assert "verified: the 5 pictures shown were run again and gave the index's values" in shown.checks[0]


def test_a_value_that_the_network_does_not_give_is_said():
    model, data = box_filter(), open_dataset(squares(PLACES))
    index = brute_index(model, data, "0")
    index.layers["0"].values[1, 2] += 0.1
    checks = show_patches(model, data, index, layer="0", units="0").checks
    assert checks[0].startswith("verified")
    checks = show_patches(model, data, index, layer="0", units="0-1").checks
    assert checks[0].startswith("the values shown are not what the network gives now")
    assert "differ by up to 0.05 of a unit's largest value" in checks[0]  # 0.1 of the 2 that unit 1 gives a square


def test_grey_where_the_field_leaves_the_picture():
    model = box_filter(padding=2)
    data = open_dataset(squares([(0, 0)]))
    index = brute_index(model, data, "0")
    index.layers["0"].positions[0, 0] = 0, 0
    shown = show_patches(model, data, index, layer="0", units="0")
    assert shown.top.boxes[0, 0].tolist() == [-2, -2, 3, 3]
    patch = shown.top.pixels[0, 0]
    assert (patch[:2] == GREY).all()
    assert (patch[:, :2] == GREY).all()
    assert (patch[2:, 2:] == 255).all()


def test_patches_come_from_the_photograph_and_not_from_what_the_network_was_given():
    small = squares([(6, 14)])[0]
    photo = small.repeat(4, axis=0).repeat(4, axis=1)
    checks = np.indices(photo.shape[:2]).sum(0) % 2 == 0
    photo[24:44, 56:76][checks[24:44, 56:76]] = 225
    photo = np.pad(photo, ((0, 0), (48, 48), (0, 0)))  # the centre crop takes it off again
    model, data = box_filter(), open_dataset([photo])
    shown = show_patches(model, data, brute_index(model, data, "0"), layer="0", units="0")
    assert shown.top.boxes[0, 0].tolist() == [6, 14, 11, 19]
    assert np.array_equal(shown.top.pixels[0, 0], photo[24:44, 104:124])


def test_cutting_out_of_a_padded_picture():
    pixels = np.full((4, 6, 3), 200, np.uint8)
    picture = Picture(pixels, "p", Geometry((4, 6), (4, 6), (-2, -1, 8, 8)))
    found = cut_out(picture, (0, 0, 8, 8), 1)
    assert (found[2:6, 1:7] == 200).all()
    found[2:6, 1:7] = GREY
    assert (found == GREY).all()
    assert (cut_out(picture, (20, 20, 22, 22), 3) == GREY).all()


@pytest.fixture
def wide():
    """A network whose second layer sees most of a 24 x 24 image: three 7 x 7 convolutions with stride 2 before it."""
    torch.manual_seed(3)
    layers = [nn.Conv2d(3, 4, 7, 2, 3), nn.ReLU(), nn.Conv2d(4, 4, 7, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    module = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, 2))
    return Model(module, mean=(0, 0, 0), std=(1, 1, 1), input_size=SIDE)


def test_a_field_as_large_as_the_image_shows_the_image_and_where_the_unit_responds(wide):
    data = open_dataset(squares([(2, 2), (15, 15), (2, 15)]))
    index = brute_index(wide, data, "2")
    shown = show_patches(wide, data, index, layer="2", units="0-3")
    assert shown.view == "image"
    assert shown.top.pixels.shape[2:] == (SIDE, SIDE, 3)
    assert np.array_equal(shown.top.pixels[0, 0], data.picture(int(shown.top.images[0, 0])).pixels)
    for row in range(4):
        if shown.top.values[row, 0] > 0:
            y, x = shown.top.positions[row, 0]
            assert shown.top.marks[row, 0, 4 * y, 4 * x]
    assert "faded" in shown.grid().sheet.notes[0]
    whole = show_patches(wide, data, brute_index(wide, data, "4"), layer="4", units="0-3")
    assert whole.view == "image"


def test_a_mark_is_where_the_response_is_at_least_half_its_peak():
    response = np.zeros((3, 3), np.float32)
    response[1, 2] = 2
    frame = PatchGeometry(None, (12, 12))
    mark = frame.mark(response)
    assert mark.shape == (12, 12)
    assert set(np.flatnonzero(mark.any(1))) == set(range(4, 8))
    assert set(np.flatnonzero(mark.any(0))) == set(range(8, 12))
    assert not frame.mark(-response).any()
    assert frame.mark(np.ones((1, 1), np.float32)).all()
    assert PatchGeometry(None, (12, 12), scale=2.4).mark(response).shape == (24, 24)


def test_a_mark_ends_half_a_stride_beyond_the_outer_units():
    units = Span(size=3, stride=2.0, offset=4.0, seen=((3, 6), (5, 8), (7, 10)))
    mark = PatchGeometry(Field("spatial", (12, 12), "", (units, units)), (12, 12)).mark(np.ones((3, 3), np.float32))
    rows = columns = np.arange(12)
    assert np.array_equal(mark, (abs(rows - 6) <= 3)[:, None] & (abs(columns - 6) <= 3))


def test_what_a_patch_does_not_tell_is_said():
    span = Span(5, 1.0, 2.0, tuple((unit, unit + 5) for unit in range(20)))
    gated = Field("gated", (24, 24), "sigmoid", (span, span))
    assert PatchGeometry(gated, (24, 24)).view == "field"
    assert "only through sigmoid" in PatchGeometry(gated, (24, 24)).caveat[0]
    assert PatchGeometry(replace(gated, kind="spatial"), (24, 24)).caveat == ()
    assert "unknown (fft)" in PatchGeometry(Field("unknown", (24, 24), "fft"), (24, 24)).caveat[0]
    assert "whole images are shown" in PatchGeometry(None, (24, 24)).caveat[0]
    assert PatchGeometry(Field("whole", (24, 24), "mean"), (24, 24)).caveat == ()


def test_samples_stand_below_the_strongest():
    model, data = box_filter(), open_dataset(squares(PLACES))
    index = brute_index(model, data, "0", samples=True)
    shown = show_patches(model, data, index, layer="0", units="1", show=2, samples=True)
    assert shown.samples.images.tolist() == [[0, 1, 2, 3, 4, -1, -1, -1, -1, -1]]
    assert np.isnan(shown.samples.values[0, 5:]).all()
    rows = shown.grid().sheet.rows
    assert [sum(cell is not None for cell in row) for row in rows] == [2, 5]
    assert len(shown.describe()["units"][0]["samples"]) == 5
    with pytest.raises(UsageError, match="no random samples"):
        show_patches(model, data, brute_index(model, data, "0"), layer="0", samples=True)


def test_projections_are_the_kernel_at_its_place():
    model, data = box_filter(padding=2), open_dataset(squares([(0, 0), (9, 3)]))
    index = brute_index(model, data, "0")
    shown = show_patches(model, data, index, layer="0", units="0-1", deconvnet=True)
    found = shown.top.projections
    assert found.shape == (2, 2, 3, FIELD, FIELD)
    for row in range(2):
        for rank in range(2):
            expected = float(shown.top.values[row, rank]) * (row + 1) / 75
            assert np.allclose(found[row, rank], expected, rtol=1e-5)
    index.layers["0"].positions[:] = 0
    corner = show_patches(model, data, index, layer="0", units="0", deconvnet=True).top.projections[0, 0]
    assert np.isnan(corner[:, :2]).all()
    assert np.isfinite(corner[:, 2:, 2:]).all()
    assert shown.grid().sheet.rows[0][0].pixels.shape[1] > 2 * FIELD


@contextmanager
def drawn_table(monkeypatch):
    """What tables are drawn of within it."""
    told = []
    with monkeypatch.context() as patched:
        patched.setattr("cnnviz.results.patches.plot_table", lambda *given: told.append(given) or plot_table(*given))
        yield told


def test_the_table_is_tight_and_frames_the_largest_of_each_row():
    scale = Scale(0.0, 1.0, cmap="Blues")
    drawn = plot_table(np.array([[0.0, 1.0], [1.0, 0.5]]), scale, [["0", "7"], ["3", "1"]], (["a", "bb"], ["x", "y"]))
    frame = (drawn == (240, 130, 0)).all(axis=2)
    height, width = 40, np.flatnonzero(frame.any(axis=0)).max() + 1 - np.flatnonzero(frame.any(axis=0)).min()
    assert drawn.shape[0] - np.flatnonzero(frame.any(axis=1)).min() == 2 * height
    assert frame[-2 * height : -height, -width // 2 :].any()
    assert not frame[-2 * height + 3 : -height - 3, : -width // 2].any()
    assert frame[-height:, : -width // 2].any()
    assert not frame[3 - height :, 3 - width // 2 :].any()


def test_long_names_of_columns_stand_upright_and_within_the_picture():
    names = [f"a class with quite a long name {number}" for number in range(20)]
    drawn = plot_table(np.ones((1, 20)), Scale(0.0, 1.0), [["0.123"] * 20], (["unit 1"], names))
    assert drawn.shape[1] < 20 * 100 + 200
    assert (drawn[:, 0] == 255).all()
    assert drawn[0].min() > 200 or drawn.shape[0] > 300


def test_the_class_matrix_in_closed_form(monkeypatch):
    means = np.array([[4.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [-1.0, -3.0, -2.0]])
    matrix = ClassMatrix(means, ("a", "b", "c"), np.array([2, 1, 1]))
    expected = [[3 / 5, -1.5 / 3.5, -1.5 / 3.5], [0, 0, 0], [-1.5 / 3.5, 0, 1.5 / 4.5]]
    assert np.allclose(matrix.selectivity()[:3], expected)
    assert np.isclose(matrix.selectivity()[3, 0], 1.5 / 3.5)
    assert [matrix.most_selective(index, 2) for index in range(3)] == [[0, 3], [], [2]]
    with drawn_table(monkeypatch) as told:
        sheet = matrix.sheet(most=1)
        matrix.sheet([2, 3])
    (shares, _, words, names), (_, _, _, own) = told
    assert names == (["unit 0: a (0.60)", "unit 2: c (0.33)"], ("a", "b", "c"))
    assert own[0] == ["unit 2, highest: c", "unit 3"]
    assert words == [["4", "1", "1"], ["1", "2", "3"]]
    assert np.allclose(shares, [[1, 0.25, 0.25], [1 / 3, 2 / 3, 1]])
    assert sheet.shape == (1, 1)
    assert (sheet.only.scale.low, sheet.only.scale.high) == (0, 1)
    unseen = ClassMatrix(np.array([[1.0, np.nan]]), ("a", "b"), np.array([1, 0]))
    with drawn_table(monkeypatch) as told:
        unseen.sheet([0])
    assert told[0][3][1] == ("a",)
    assert unseen.most_selective(1, 3) == []
    with pytest.raises(ParameterError, match="No unit"):
        ClassMatrix(np.zeros((2, 2)), ("a", "b"), np.array([1, 1])).sheet()


def test_of_many_classes_those_with_the_most_selective_units(monkeypatch):
    means = np.full((30, 30), 1.0)
    means[np.arange(30), np.arange(30)] = np.arange(30) + 1.0
    with drawn_table(monkeypatch) as told:
        sheet = ClassMatrix(means, tuple(f"c{n:02}" for n in range(30)), np.ones(30, int)).sheet(most=1)
    assert told[0][3][1] == tuple(f"c{n:02}" for n in range(10, 30))
    assert "20 of 30 classes" in sheet.notes[-1]


def colour_units() -> Model:
    """Unit 0 sees red, unit 1 green, unit 2 blue."""
    convolution = nn.Conv2d(3, 3, 1, bias=False)
    with torch.no_grad():
        convolution.weight.copy_(torch.eye(3)[:, :, None, None])
    module = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Model(module, mean=(0, 0, 0), std=(1, 1, 1), input_size=8)


def test_the_most_selective_unit_of_each_class(tmp_path, monkeypatch):
    names = ["red", "green", "blue"]
    pictures = [np.full((8, 8, 3), 10, np.uint8) for _ in range(6)]
    for number, pixels in enumerate(pictures):
        pixels[2, 3, number % 3] = 200
    data = labelled(tmp_path, pictures, [names[number % 3] for number in range(6)])
    model = colour_units()
    shown = show_patches(model, data, brute_index(model, data, "0"), layer="0", units="selective", show=2)
    assert shown.units == (2, 1, 0)
    assert all(key.startswith("blue/") for key in shown.top.keys[0])
    assert [one["units"][0]["unit"] for one in shown.describe()["classes"]] == [2, 1, 0]
    assert shown.grid().sheet.row_headings[0] == "unit 2\nblue 0.90\n2 images tie for first"
    with drawn_table(monkeypatch) as told:
        shown.classes()
        shown.classes("units", most=1)
    assert told[0][3][0][0] == "unit 2: blue (0.90)"
    assert told[1][3][0] == ["unit 2, highest: blue", "unit 1, highest: green", "unit 0, highest: red"]
    assert any("used as classes" in check for check in shown.checks)
    plain = show_patches(model, open_dataset(pictures), brute_index(model, open_dataset(pictures), "0"), layer="0")
    with pytest.raises(UsageError, match="no classes"):
        plain.classes()


def test_what_is_refused():
    model, data = box_filter(), open_dataset(squares(PLACES))
    index = brute_index(model, data, "0")
    for call, kind, words in [
        ({"layer": "1"}, UnknownNameError, "There is no layer '1'"),
        ({"layer": "0", "units": "2"}, ParameterError, "no unit 2"),
        ({"layer": "0", "units": "selective"}, UsageError, "has no classes"),
    ]:
        with pytest.raises(kind, match=words):
            show_patches(model, data, index, **call)
    with pytest.raises(UsageError, match=r"has changed since the index was made \(5 pictures then, 4 now\)"):
        show_patches(model, open_dataset(squares(PLACES[:4])), index, layer="0")
    with pytest.raises(UsageError, match="with other weights or preprocessing"):
        show_patches(box_filter(units=3), data, index, layer="0")


def test_a_picture_that_cannot_be_read_any_more_is_left_out_and_said(tmp_path):
    data = labelled(tmp_path, squares(PLACES), ["a", "a", "b", "b", "b"])
    model = box_filter()
    index = brute_index(model, data, "0")
    bad = tmp_path / "set" / data.keys[int(index.layers["0"].images[0, 0])]
    bad.write_bytes(b"x" * bad.stat().st_size)
    index = replace(index, failures=(Failure("z.png", "'z.png' is empty."),))
    shown = show_patches(model, data, index, layer="0", units="0")
    assert shown.top.images[0, 0] == -1
    assert shown.grid().sheet.rows[0][0] is None
    assert any("no longer readable" in check for check in shown.checks)
    assert "pictures that could not be read: 1 of 6" in " ".join(shown.checks)
    assert len(shown.describe()["units"][0]["patches"]) == 4


def test_dead_units_ties_and_tensors_as_data():
    module = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        module[0].weight.zero_()
        module[0].bias.copy_(torch.tensor([-1.0, 1.0]))
    model = Model(module, mean=(0, 0, 0), std=(1, 1, 1), input_size=6)
    data = open_dataset(torch.rand(3, 3, 6, 6))
    shown = show_patches(model, data, brute_index(model, data, "1"), layer="1", units="0-1")
    assert shown.dead.tolist() == [True, False]
    headings = shown.grid().sheet.row_headings
    assert "dead" in headings[0]
    assert "3 images tie for first" in headings[1]
    usual = show_patches(model, data, brute_index(model, data, "1"), layer="1")
    assert usual.units == (1,)


def test_saved_and_read_back(shown, tmp_path):
    stamped = shown.stamped("patches", {"k": 9})
    for name in ("p.png", "p.svg", "p.npz", "p.jpg"):
        stamped.save(tmp_path / name)
        assert '"method": "patches"' in read_note(tmp_path / name)
    held = np.load(tmp_path / "p.npz")
    assert np.array_equal(held["pixels"], shown.top.pixels)
    assert held["keys"].tolist() == shown.top.keys.tolist()
    assert held["units"].tolist() == [0, 1]
    first = (tmp_path / "p.png").read_bytes()
    stamped.save(tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes() == first
    assert shown._repr_png_().startswith(b"\x89PNG")
    assert len(shown) == 2
    shown.plot()


def test_the_network_comes_back_as_it_was(wide):
    wide.module.train()
    before = {name: tensor.clone() for name, tensor in wide.module.state_dict().items()}
    data = open_dataset(squares(PLACES[:3]))
    show_patches(wide, data, brute_index(wide, data, "2"), layer="2", deconvnet=True)
    assert wide.module.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in wide.module.state_dict().items())
    assert not any(part._forward_hooks for part in wide.module.modules())
    assert all(weight.grad is None and weight.requires_grad for weight in wide.module.parameters())
