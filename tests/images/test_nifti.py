"""NIfTI files: read the way up that all volumes lie, and maps written back onto them."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from cnnviz.core.sample import Orientation, Volume
from cnnviz.drawing.files import encode_nifti
from cnnviz.errors import ParameterError, PassingPictureError, PictureError
from cnnviz.images.nifti import letters_of, read_nifti

nibabel = pytest.importorskip("nibabel", reason="needs nibabel")

SHAPE = (5, 6, 7)
"""Of the file: along i, j and k."""


def turn(x, y, z):
    """A rotation by three angles in degrees."""
    found = np.eye(3)
    for axis, angle in enumerate(np.deg2rad([x, y, z])):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        one = np.eye(3)
        one[first, first] = one[second, second] = np.cos(angle)
        one[first, second], one[second, first] = -np.sin(angle), np.sin(angle)
        found = one @ found
    return found


def affine_of(linear, origin=(-10.0, 20.0, 30.0)):
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = linear, origin
    return made


RAS = affine_of(np.diag([2.0, 3.0, 4.0]))
AFFINES = {
    "RAS": RAS,
    "LAS": affine_of(np.diag([-2.0, 3.0, 4.0])),
    "LPS": affine_of(np.diag([-2.0, -3.0, 4.0])),
    "PSR": affine_of(
        np.array([[0, 0, 4.0], [-2.0, 0, 0], [0, 3.0, 0]])
    ),  # i to the back, j to the head, k to the right
    "SLA": affine_of(np.array([[0, -3.0, 0], [0, 0, 4.0], [2.0, 0, 0]])),
    "oblique": affine_of(turn(20, -15, 25) @ np.diag([2.0, 3.0, 4.0])),
    "oblique, flipped": affine_of(turn(-25, 10, 15) @ np.diag([-2.0, 3.0, -4.0])),
}


def write(path, data, affine, **header):
    image = nibabel.Nifti1Image(data, affine)
    for key, value in header.items():
        image.header[key] = value
    nibabel.save(image, path)
    return path


def rising():
    return np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_slices_go_to_the_head_rows_to_the_back_and_columns_to_the_left(affine, tmp_path):
    """Every voxel's place in the body, from the file's own affine, grows along the axes as the convention says."""
    i, j, k = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    place = np.einsum("wx,xijk->wijk", affine, np.stack([i, j, k, np.ones_like(i)]).astype(float))
    for world, axis, way in [(2, 0, 1), (1, 1, -1), (0, 2, -1)]:  # head, back, left
        held = read_nifti(write(tmp_path / "a.nii.gz", place[world].astype(np.float32), affine)).values[0]
        steps = np.diff(held, axis=axis) * way
        assert (steps > 0).all()
        other = max(float(np.abs(np.diff(held, axis=each)).max()) for each in range(3) if each != axis)
        assert steps.min() > other * 0.5  # the axis nearest to it


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_a_map_written_on_the_volume_and_read_back_is_at_the_same_voxels(affine, tmp_path):
    volume = read_nifti(write(tmp_path / "a.nii.gz", rising(), affine))
    assert (volume.values[0] == volume.orientation.from_file(rising())).all()
    drawn = np.zeros(volume.size, np.float32)
    drawn[0, 0, 0], drawn[-1, 2, 1] = 5.0, 7.0  # right front foot, and one within
    (tmp_path / "map.nii.gz").write_bytes(encode_nifti(drawn, volume))
    image = nibabel.load(tmp_path / "map.nii.gz")
    np.testing.assert_array_equal(image.affine, nibabel.load(tmp_path / "a.nii.gz").affine)
    assert image.shape == SHAPE
    written = np.asarray(image.dataobj)
    assert np.count_nonzero(written) == 2
    # the marked voxels of the map are those that hold the volume's values there
    assert rising()[written == 5.0] == volume.values[0, 0, 0, 0]
    assert rising()[written == 7.0] == volume.values[0, -1, 2, 1]
    again = read_nifti(tmp_path / "map.nii.gz")
    np.testing.assert_array_equal(again.values[0], drawn)
    np.testing.assert_array_equal(again.affine, volume.affine)


def test_the_marked_corner_of_a_las_file_is_the_patients_right_front_foot(tmp_path):
    data = np.zeros(SHAPE, np.int16)
    data[-1, -1, 0] = 100  # i runs to the left: the last is the leftmost; j to the front; k to the head
    volume = read_nifti(write(tmp_path / "a.nii.gz", data, AFFINES["LAS"]))
    assert np.argwhere(volume.values[0]).tolist() == [[0, 0, 4]]  # lowest slice, front row, leftmost column
    data[:] = 0
    data[-1, -1, 0] = 100
    volume = read_nifti(write(tmp_path / "b.nii.gz", data, RAS))
    assert np.argwhere(volume.values[0]).tolist() == [[0, 0, 0]]  # i runs to the right


@pytest.mark.parametrize(("letters", "affine"), [(key, each) for key, each in AFFINES.items() if len(key) == 3])
def test_the_letters_and_the_axes_are_nibabels(letters, affine):
    assert letters_of(affine) == letters == "".join(nibabel.aff2axcodes(affine))


def test_of_many_affines_the_axes_are_nibabels():
    rng = np.random.default_rng(0)
    for _ in range(200):
        affine = affine_of(
            turn(*rng.uniform(-30, 30, 3)) @ np.eye(3)[rng.permutation(3)] @ np.diag(rng.choice([-2, 3], 3))
        )
        assert letters_of(affine) == "".join(nibabel.aff2axcodes(affine))
        orientation = Orientation.of(affine)
        values = rng.normal(size=(2, *SHAPE))
        np.testing.assert_array_equal(orientation.to_file(orientation.from_file(values)), values)


def test_spacing_follows_its_axes_and_is_told(tmp_path):
    volume = read_nifti(write(tmp_path / "a.nii", rising(), AFFINES["PSR"]))
    assert volume.spacing == pytest.approx((3.0, 2.0, 4.0))
    assert volume.size == (6, 5, 7)
    assert "voxels of 3 x 2 x 4 mm; stored as PSR, given as slices from feet to head, (z, y, x)" in volume.notes
    assert volume.name == "a.nii"


def test_scale_and_whole_numbers_are_values(tmp_path):
    image = nibabel.Nifti1Image(np.arange(8, dtype=np.int16).reshape(2, 2, 2), RAS)
    image.header.set_slope_inter(0.5, -3)
    nibabel.save(image, tmp_path / "a.nii.gz")
    stored = np.asarray(nibabel.load(tmp_path / "a.nii.gz").dataobj)
    found = read_nifti(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found.values[0], found.orientation.from_file(stored.astype(np.float32)))
    assert found.values.min() == -3.0


def test_a_fourth_axis_is_channels(tmp_path):
    data = np.stack([rising(), rising() * 2], axis=-1)
    path = write(tmp_path / "a.nii.gz", data, RAS)
    volume = read_nifti(path, channels=2)
    assert volume.values.shape == (2, 7, 6, 5)
    np.testing.assert_array_equal(volume.values[1], volume.values[0] * 2)
    with pytest.raises(PictureError, match=r"\(5, 6, 7, 2\), so 2 channels; the network takes 1"):
        read_nifti(path, channels=1)


def test_the_same_map_has_the_same_bytes_and_a_plain_volume_the_way_up_of_its_drawing(tmp_path):
    volume = Volume(rising()[None], spacing=(4.0, 3.0, 2.0))
    first = encode_nifti(rising(), volume, note="Grad-CAM")
    assert first == encode_nifti(rising(), volume, note="Grad-CAM")
    assert first[4:8] == b"\0\0\0\0"  # gzip's time
    (tmp_path / "a.nii").write_bytes(encode_nifti(rising(), volume, packed=False, note="Grad-CAM"))
    assert gzip.decompress(first) == (tmp_path / "a.nii").read_bytes()
    image = nibabel.load(tmp_path / "a.nii")
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
    assert image.header.get_zooms() == (2.0, 3.0, 4.0)
    assert image.header.extensions[0].get_content() == b"cnnviz Grad-CAM"
    assert image.header["cal_max"] == rising().max()
    np.testing.assert_array_equal(read_nifti(tmp_path / "a.nii").values[0], rising())


def test_a_map_of_another_size_and_a_clip_are_refused():
    with pytest.raises(ParameterError, match=r"\(2, 2, 2\).*\(5, 6, 7\)"):
        encode_nifti(np.zeros((2, 2, 2)), Volume(rising()[None]))
    with pytest.raises(ParameterError, match="clip"):
        encode_nifti(rising(), Volume(rising()[None], rate=25.0))


def damaged(tmp_path):
    """Files that are none, and words of the sentence that says so."""
    good = write(tmp_path / "good.nii", rising(), RAS).read_bytes()
    packed = gzip.compress(good)
    nan = rising()
    nan[1, 2, 3] = np.nan
    far = bytearray(good)
    far[108:112] = struct.pack("<f", 3e9)
    huge = bytearray(good)
    huge[40:56] = struct.pack("<8h", 3, 32767, 32767, 32767, 1, 1, 1, 1)
    singular = bytearray(good)
    singular[280:328] = struct.pack("<12f", *[0.0] * 12)
    negative = bytearray(good)
    negative[40:56] = struct.pack("<8h", 3, -5, 6, 7, 1, 1, 1, 1)
    kind = bytearray(good)
    kind[70:72] = struct.pack("<h", 9999)
    return {
        "empty.nii": (b"", "is empty"),
        "text.nii": (b"hello" * 200, "not a NIfTI"),
        "cut.nii": (good[:600], "truncated or damaged"),
        "short.nii": (good[:100], "not a NIfTI file, or is truncated"),
        "cut.nii.gz": (packed[: len(packed) // 2], "truncated or damaged"),
        "broken.nii.gz": (packed[:40] + bytes(20) + packed[60:], "truncated or damaged"),
        "far.nii": (bytes(far), r"begin at byte 3e\+09"),
        "huge.nii": (bytes(huge), "are free"),
        "singular.nii": (bytes(singular), "singular"),
        "negative.nii": (bytes(negative), "expected"),
        "kind.nii": (bytes(kind), "truncated or damaged"),
        "nan.nii": (nibabel.Nifti1Image(nan, RAS).to_bytes(), "1 value that is not finite"),
        "slice.nii": (nibabel.Nifti1Image(rising()[:, :, :1], RAS).to_bytes(), "single slice"),
        "complex.nii": (nibabel.Nifti1Image(rising().astype(np.complex64), RAS).to_bytes(), "real numbers"),
        "flat.nii": (nibabel.Nifti1Image(rising()[0], RAS).to_bytes(), r"\(6, 7\)"),
    }


def test_damaged_files_are_refused_in_a_sentence(tmp_path):
    for name, (content, words) in damaged(tmp_path).items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PictureError, match=words) as caught:
            read_nifti(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)
    with pytest.raises(PassingPictureError, match="There is no file"):
        read_nifti(tmp_path / "absent.nii.gz")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    head = bytearray(nibabel.Nifti1Image(rising(), RAS).to_bytes()[:352])
    head[40:56] = struct.pack("<8h", 3, 30000, 30000, 300, 1, 1, 1, 1)
    (tmp_path / "bomb.nii.gz").write_bytes(gzip.compress(bytes(head)) + gzip.compress(bytes(1 << 22)))
    with pytest.raises(PictureError, match="of memory to read"):
        read_nifti(tmp_path / "bomb.nii.gz")


def test_units_of_metres_are_told(tmp_path):
    path = write(tmp_path / "a.nii", rising(), affine_of(np.diag([0.002, 0.003, 0.004])), xyzt_units=1)
    volume = read_nifti(path)
    assert volume.spacing == pytest.approx((4.0, 3.0, 2.0))
    assert any("metres" in note for note in volume.notes)


def test_a_file_that_does_not_say_how_the_body_lies_is_told(tmp_path):
    path = write(tmp_path / "a.nii", rising(), None)
    assert any("does not say how the body lies" in note for note in read_nifti(path).notes)
