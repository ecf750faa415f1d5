"""Volumes as they are drawn: the right way round, in true proportion, through the place that they are about."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cnnviz.core.sample import Orientation, Volume
from cnnviz.drawing.colour import Scale, colourise, scale_of
from cnnviz.drawing.files import read_note
from cnnviz.drawing.samples import draw_over, name_place, pixels_of, write_grids
from cnnviz.drawing.volumes import (
    GAP,
    LETTERS,
    MARK,
    WIDTH,
    Shades,
    Slicing,
    View,
    draw_volume,
    views_of,
    window_of,
    world_place,
    write_slices,
)
from cnnviz.errors import OutputError, ParameterError

ORIENTED = np.diag([-1.0, -1.0, 1.0, 1.0])
"""An affine under which voxels (column, row, slice) are held as they are."""


def volume(values, *, oriented=False, **given):
    values = np.asarray(values, np.float32)
    values = values if values.ndim == 4 else values[None]
    given = {"affine": ORIENTED, **given} if oriented else given
    return Volume(values, "v.npy", **given)


def corner(size=(6, 8, 10), at=(0, 0, 0)):
    values = np.zeros(size, np.float32)
    values[at] = 1
    return values


def test_slices_stand_the_right_way_round():
    """The corner at the feet, front and right: bottom (feet), top (front) and left (right) of what shows them."""
    one = volume(corner(), oriented=True, window=(0, 1))
    axial, coronal, sagittal = (View(one, axis, 0).pixels()[..., 0] for axis in range(3))
    assert (axial.shape, coronal.shape, sagittal.shape) == ((8, 10), (6, 10), (6, 8))
    assert [int((each > 0).sum()) for each in (axial, coronal, sagittal)] == [1, 1, 1]
    assert (axial[0, 0], coronal[-1, 0], sagittal[-1, 0]) == (255, 255, 255)
    # top, bottom, left, right of each: the corner's own letters are F, A and R
    assert (LETTERS[0][0], LETTERS[0][2]) == ("A", "R")
    assert (LETTERS[1][1], LETTERS[1][2]) == ("F", "R")
    assert (LETTERS[2][1], LETTERS[2][2]) == ("F", "A")


def test_a_volume_that_says_nothing_of_the_body_is_drawn_as_it_is():
    one = volume(corner(), window=(0, 1))
    planes = [View(one, axis, 0).pixels()[..., 0] for axis in range(3)]
    assert [each[0, 0] for each in planes] == [255, 255, 255]
    assert [View(one, axis, 3).name for axis in range(3)] == ["slice 3", "row 3", "column 3"]
    assert [View(volume(corner(), oriented=True), axis, 3).name for axis in range(3)] == [
        "axial 3",
        "coronal 3",
        "sagittal 3",
    ]


def marked(pixels):
    """Where the pure colour of a frame or, with the volume black, of the cross-hair stands."""
    return np.abs(pixels.astype(int) - np.rint(0.75 * np.array(MARK))).max(axis=2) <= 1


@pytest.mark.parametrize("oriented", [False, True])
def test_the_cross_hair_is_at_the_peak(oriented):
    size, peak = (10, 12, 16), (7, 2, 11)
    one = volume(np.zeros(size), oriented=oriented, window=(0, 1))
    values = np.zeros(size)
    values[peak] = 1
    drawn = draw_volume(one, Shades(values, Scale(0, 1)))
    scale = (WIDTH - 2 * GAP) / (16 + 16 + 12)
    left = 0
    tall = round(12 * scale)
    for axis, (height, width) in enumerate(((12, 16), (10, 16), (10, 12))):
        wide, high = round(width * scale), round(height * scale)
        top = (tall - high) // 2
        view = marked(drawn)[top : top + high, left : left + wide]
        column, row = view[: high // 20].all(axis=0), view[:, : wide // 20].all(axis=1)
        places = [each for number, each in enumerate(peak) if number != axis]
        y, x = ((at + 0.5) / length for at, length in zip(places, (height, width), strict=True))
        y = 1 - y if oriented and axis else y
        assert abs(np.flatnonzero(column).mean() - x * wide) <= 1.5
        assert abs(np.flatnonzero(row).mean() - y * high) <= 1.5
        # the place itself is left free, and shows the map's colour
        centre = drawn[top + int(y * high), left + int(x * wide)]
        assert np.abs(centre - np.rint(0.7 * colourise(np.ones((1, 1)), Scale(0, 1))[0, 0])).max() < 45
        left += wide + GAP


def test_voxels_are_as_long_as_they_are():
    one = volume(np.ones((5, 20, 20)), spacing=(8.0, 2.0, 1.0), window=(0, 1))
    heights, widths = zip(*(View(one, axis, 0).extent for axis in range(3)), strict=True)
    assert heights == (40, 40, 40)
    assert widths == (20, 20, 40)
    drawn = pixels_of(one)
    white = (drawn == 255).all(axis=2)
    scale = (WIDTH - 2 * GAP) / 80
    assert white[: round(40 * scale)].all()
    assert drawn.shape[1] == WIDTH
    assert pixels_of(volume(np.ones((5, 20, 20)))).shape[0] < drawn.shape[0]


def test_slices_along_an_axis_go_through_the_peak_which_has_a_frame():
    size = (40, 10, 10)
    values = np.zeros(size)
    values[17, 4, 4] = 1
    one = volume(np.zeros(size), window=(0, 1))
    views = views_of(one, Slicing(slices=6), (17, 4, 4))
    assert [view.index for view in views] == [3, 10, 17, 23, 30, 36]
    drawn = draw_volume(one, Shades(values, Scale(0, 1)), Slicing(slices=6))
    tile = (WIDTH - 2 * GAP) // 3
    frames = [(drawn[60, (tile + GAP) * column + 3] == MARK).all() for column in range(3)]
    assert frames == [False, False, True]
    assert not (drawn[tile + GAP + 60] == MARK).all(axis=1).any()
    along = views_of(one, Slicing(slices=3, axis="sagittal"), (17, 4, 4))
    assert [(view.axis, view.index) for view in along] == [(2, 1), (2, 4), (2, 8)]
    assert [view.index for view in views_of(one, Slicing(axis=1, slices=99), (0, 0, 0))] == list(range(10))


@pytest.mark.parametrize("wrong", [{"axis": "frontal"}, {"axis": 3}, {"slices": 0}])
def test_slices_that_there_are_not_are_refused(wrong):
    with pytest.raises(ParameterError, match=r"axis is one of axial|slices is a number"):
        Slicing(**wrong)


def test_a_clip_is_drawn_as_frames_in_its_colours():
    values = np.zeros((3, 16, 6, 6))
    values[0] = 200
    clip = volume(values, rate=8.0)
    drawn = pixels_of(clip)
    assert drawn.shape[1] <= WIDTH
    assert (drawn == (200, 0, 0)).all(axis=2).mean() > 0.8
    names = [view.name for view in views_of(clip, Slicing(), (0, 0, 0))]
    assert len(names) == 8
    assert names[-1] == f"{14 / 8:.2f} s"
    assert name_place(clip, (12, 2, 4)) == "1.50 s, pixel 4, 2"


def test_brightness_is_the_window_or_the_middle_of_the_values():
    values = np.arange(1000.0).reshape(10, 10, 10)
    assert window_of(volume(values, window=(-100, 300))) == (-100, 300)
    low, high = window_of(volume(values))
    assert (round(low), round(high)) == (10, 989)
    sparse = corner((20, 20, 20))
    assert window_of(volume(sparse)) == (0, 1)
    flat = View(volume(np.full((3, 4, 5), 7.0)), 0, 1).pixels()
    assert flat.shape == (4, 5, 3)
    assert len(np.unique(flat)) == 1


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 9, 9), (9, 1, 1), (60, 2, 2)])
@pytest.mark.parametrize("rate", [None, 4.0])
def test_thin_volumes_and_empty_maps_are_drawn(size, rate):
    one = volume(np.zeros((3 if rate else 1, *size)), oriented=rate is None, rate=rate)
    for values in (np.zeros(size), np.full(size, np.nan), np.ones(size)):
        for slicing in (Slicing(), Slicing(slices=4), Slicing(axis=2)):
            drawn = draw_over(one, values, scale_of(values), slicing=slicing)
            assert drawn.dtype == np.uint8
            assert max(drawn.shape[:2]) >= 200
    with pytest.raises(ParameterError, match="but the volume is"):
        draw_over(one, np.zeros((7, 7, 7)), Scale(0, 1))


AFFINES = [
    ORIENTED,
    np.array([[0, -1.5, 0, 30], [0, 0, -1, 20], [2, 0, 0, -40], [0, 0, 0, 1.0]]),
    np.array([[2.0, 0.1, 0, -9], [-0.1, 0, 1.9, 3], [0, -3, 0.2, 8], [0, 0, 0, 1.0]]),
]


@pytest.mark.parametrize("affine", AFFINES, ids=["held", "turned", "oblique"])
def test_a_map_on_the_files_grid_is_the_same_map_in_the_same_place(affine, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    rng = np.random.default_rng(0)
    stored = rng.random((5, 6, 7)).astype(np.float32)
    orientation = Orientation.of(affine)
    held = orientation.from_file(stored)
    one = volume(held, affine=affine, spacing=orientation.spacing(affine))
    write_grids(tmp_path / "map.nii.gz", [(one, held)], '{"a": 1}')
    image = nibabel.load(tmp_path / "map.nii.gz")
    assert np.array_equal(image.get_fdata(dtype=np.float32), stored)
    assert np.allclose(image.affine, affine, atol=1e-6)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert read_note(tmp_path / "map.nii.gz") == '{"a": 1}'
    place = np.unravel_index(held.argmax(), held.shape)
    index = np.unravel_index(stored.argmax(), stored.shape)
    assert np.allclose(world_place(one, place), (affine @ [*index, 1])[:3])


def test_a_volume_from_elsewhere_is_written_so_that_it_comes_back_as_it_is(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    values = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32)
    one = volume(values, spacing=(3.0, 1.0, 2.0))
    write_grids(tmp_path / "map.nii", [(one, values), (one, -values)], "{}")
    image = nibabel.load(tmp_path / "map.nii")
    assert image.shape == (6, 5, 4, 2)
    orientation = Orientation.of(image.affine)
    assert orientation.spacing(image.affine) == (3.0, 1.0, 2.0)
    back = orientation.from_file(np.moveaxis(image.get_fdata(dtype=np.float32), -1, 0))
    assert np.array_equal(back, np.stack([values, -values]))
    assert world_place(one, (0, 0, 0)) is None
    first = (tmp_path / "map.nii").read_bytes()
    write_grids(tmp_path / "map.nii", [(one, values), (one, -values)], "{}")
    assert (tmp_path / "map.nii").read_bytes() == first


def test_metres_stay_metres(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    one = volume(np.zeros((2, 2, 2)), affine=np.diag([0.002, 0.002, 0.002, 1]), spacing=(2.0, 2.0, 2.0))
    write_grids(tmp_path / "map.nii", [(one, np.zeros((2, 2, 2)))], "{}")
    assert nibabel.load(tmp_path / "map.nii").header.get_xyzt_units()[0] == "meter"


def test_other_volumes_and_clips_are_no_nifti(tmp_path):
    one, other = volume(np.zeros((2, 2, 2))), volume(np.ones((2, 2, 2)))
    with pytest.raises(OutputError, match="maps of one volume"):
        write_grids(tmp_path / "a.nii", [(one, np.zeros((2, 2, 2))), (other, np.zeros((2, 2, 2)))], "{}")
    clip = volume(np.zeros((3, 2, 2, 2)), rate=2.0)
    with pytest.raises(OutputError, match="is a clip"):
        write_grids(tmp_path / "a.nii", [(clip, np.zeros((2, 2, 2)))], "{}")
    assert not list(tmp_path.iterdir())


def test_an_animation_goes_through_every_slice_and_a_clips_is_as_long_as_it(tmp_path):
    size = (5, 8, 8)
    values = np.zeros(size)
    values[3] = 1
    how = {"caption": "words", "scale": Scale(0, 1), "note": "{}"}
    one = volume(np.zeros(size), window=(0, 1))
    write_slices(tmp_path / "a.gif", one, Shades(values, Scale(0, 1)), Slicing(), **how)
    with Image.open(tmp_path / "a.gif") as found:
        frames = []
        for number in range(found.n_frames):
            found.seek(number)
            frames.append(np.asarray(found.convert("RGB")).astype(int))
    assert len(frames) == 5
    warm = [int((each[..., 0] > 150).sum() - (each.min(axis=2) > 150).sum()) for each in frames]
    assert np.argmax(warm) == 3
    assert warm[3] > 10 * max(warm[0], warm[1], 1)
    clip = volume(np.full((3, 8, 6, 6), 90), rate=4.0)
    write_slices(tmp_path / "c.gif", clip, Shades(np.ones((8, 6, 6)), Scale(0, 1)), Slicing(), **how)
    with Image.open(tmp_path / "c.gif") as found:
        assert found.n_frames == 8
        assert found.info["duration"] == 250
