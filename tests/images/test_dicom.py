"""Series of DICOM files: slices by their place, with the header's scale, turned as all volumes are."""

from __future__ import annotations

import numpy as np
import pytest

from cnnviz.errors import PictureError
from cnnviz.images.inputs import expand_paths
from cnnviz.images.volumes import holds_slices, read_volume

pydicom = pytest.importorskip("pydicom", reason="needs pydicom")
from pydicom.dataset import FileDataset, FileMetaDataset  # noqa: E402
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid  # noqa: E402

ROWS, COLUMNS, SLICES = 5, 6, 4
AXIAL = (1, 0, 0, 0, 1, 0)
CORONAL = (1, 0, 0, 0, 0, -1)
SERIES = generate_uid(entropy_srcs=["one"])


def stored(number):
    """Stored values of a slice: whole numbers from 1000 times the slice on."""
    return (np.arange(ROWS * COLUMNS, dtype=np.uint16) + 1000 * number).reshape(ROWS, COLUMNS)


def write(path, number=0, *, position=None, turn=AXIAL, **more):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    one.SeriesInstanceUID, one.SeriesDescription, one.SeriesNumber = SERIES, "thorax", 3
    one.Rows, one.Columns, one.SamplesPerPixel, one.PhotometricInterpretation = ROWS, COLUMNS, 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 0
    one.PixelSpacing = [0.7, 0.8]  # rows apart, columns apart
    one.ImageOrientationPatient = list(turn)
    one.ImagePositionPatient = list((-10.0, -20.0, 5.0 + 2.5 * number) if position is None else position)
    one.RescaleSlope, one.RescaleIntercept = 2, -1024
    one.WindowCenter, one.WindowWidth = [40, 80], [400, 100]
    one.InstanceNumber = number
    one.PixelData = stored(number).tobytes()
    for key, value in more.items():
        if value is None:
            delattr(one, key)
        else:
            setattr(one, key, value)
    one.save_as(path, enforce_file_format=True)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "scan"
    made.mkdir()
    for number, name in zip((2, 0, 3, 1), "abcd", strict=True):  # the names say nothing of the order
        write(made / f"{name}.dcm", number)
    return made


def test_slices_lie_by_their_place_with_the_scale_of_the_header(folder):
    volume = read_volume(folder)
    assert volume.values.shape == (1, SLICES, ROWS, COLUMNS)
    for number in range(SLICES):  # an axial series lies as all volumes do
        np.testing.assert_array_equal(volume.values[0, number], stored(number) * 2.0 - 1024)
    assert volume.spacing == pytest.approx((2.5, 0.7, 0.8))
    assert volume.name == "scan"
    assert "4 slices of the series 'thorax' number 3" in volume.notes
    # (column, row, slice) 0 lies at LPS (-10, -20, 5), and steps along left, back and head
    expected = [[-0.8, 0, 0, 10], [0, -0.7, 0, 20], [0, 0, 2.5, 5], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.affine, expected, atol=1e-6)


def test_the_window_is_that_of_the_header(folder):
    assert read_volume(folder).window == (-160.0, 239.0)  # 40 - 0.5 -+ 399 / 2, as the standard has it
    write(folder / "a.dcm", 2, WindowCenter=None, WindowWidth=None)
    assert read_volume(folder).window is None


def test_a_coronal_series_is_turned_to_slices_from_feet_to_head(tmp_path):
    for number in range(SLICES):  # from the back to the front, as its normal runs
        write(tmp_path / f"{number}.dcm", number, turn=CORONAL, position=(0.0, 2.5 * number, 0.0))
    volume = read_volume(tmp_path)
    assert volume.values.shape == (1, ROWS, SLICES, COLUMNS)
    assert volume.spacing == pytest.approx((0.7, 2.5, 0.8))
    head_first = np.stack(
        [stored(number) for number in range(SLICES)]
    )  # slice (by y, towards the back), row (down), column
    np.testing.assert_array_equal(volume.values[0], head_first.transpose(1, 0, 2)[::-1] * 2.0 - 1024)


def test_files_without_an_ending_and_others_beside_them(folder):
    for path in list(folder.iterdir()):
        path.rename(folder / path.stem)
    (folder / "README").write_text("no scan")
    assert holds_slices(folder)
    assert read_volume(folder).size == (SLICES, ROWS, COLUMNS)
    assert expand_paths([str(folder)], 3) == [folder]


def test_of_several_series_one_is_named_by_a_file_of_it(folder):
    other = generate_uid(entropy_srcs=["two"])
    for number in range(3):
        more = {"SeriesInstanceUID": other, "SeriesDescription": "scout", "SeriesNumber": 9}
        write(folder / f"scout{number}.dcm", number, **more)
    with pytest.raises(PictureError, match="2 series") as caught:
        read_volume(folder)
    for words in ("'thorax' number 3 (4 files, such as a.dcm)", "'scout' number 9 (3 files, such as scout0.dcm)"):
        assert words in str(caught.value)
    assert read_volume(folder / "scout1.dcm").size == (3, ROWS, COLUMNS)
    assert read_volume(folder / "b.dcm").size == (SLICES, ROWS, COLUMNS)


def test_files_that_say_no_place_are_sorted_by_their_numbers(tmp_path):
    for number, name in zip((2, 0, 1), "abc", strict=True):
        write(tmp_path / f"{name}.dcm", number, ImagePositionPatient=None)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.values[0, :, 0, 0], [-1024, 976, 2976])
    assert (volume.affine, volume.spacing) == (None, None)
    assert any("sorted by their numbers" in note for note in volume.notes)


def cases(folder):
    """What is done to a sound series, and words of the sentence that refuses it."""
    yield "gap", (folder / "d.dcm").unlink, r"not equally far.*5 mm between 'b.dcm' and 'a.dcm', 2.5 mm"
    yield "twice", lambda: write(folder / "e.dcm", 1), "lie at one place"
    yield "single", lambda: [(folder / f"{name}.dcm").unlink() for name in "abc"], "single slice"
    yield "spacing", lambda: write(folder / "a.dcm", 2, PixelSpacing=[1, 1]), "other pixel spacing.*0.7 0.8 and 1 1"
    yield "turn", lambda: write(folder / "b.dcm", 0, turn=CORONAL), "other orientation"
    yield "frames", lambda: write(folder / "a.dcm", 2, NumberOfFrames=2), "several frames"
    yield "cut", lambda: (folder / "a.dcm").write_bytes((folder / "a.dcm").read_bytes()[:-20]), "'a.dcm' is damaged"
    yield "head", lambda: (folder / "a.dcm").write_bytes((folder / "a.dcm").read_bytes()[:200]), "'a.dcm'|slices"
    yield "none", lambda: (folder / "a.dcm").write_bytes(b"hello"), "not a DICOM file"
    yield "empty", lambda: (folder / "a.dcm").write_bytes(b""), "not a DICOM file"
    yield (
        "colours",
        lambda: [write(folder / f"{name}.dcm", row, SamplesPerPixel=3) for row, name in enumerate("abcd")],
        ("colours"),
    )
    yield "drift", lambda: write(folder / "a.dcm", 2, position=(30.0, -20.0, 10.0)), "not equally far|lie"


@pytest.mark.parametrize("number", range(12))
def test_other_series_are_refused_in_a_sentence(folder, number):
    name, change, words = list(cases(folder))[number]
    change()
    with pytest.raises(PictureError, match=words) as caught:
        read_volume(folder)
    assert "\n" not in str(caught.value), name


def test_a_network_of_several_channels_does_not_take_it(folder):
    with pytest.raises(PictureError, match="has 1 channel; the network takes 2"):
        read_volume(folder, channels=2)


def test_inverted_values_are_told(folder):
    for number, name in zip((2, 0, 3, 1), "abcd", strict=True):
        write(folder / f"{name}.dcm", number, PhotometricInterpretation="MONOCHROME1")
    assert any("MONOCHROME1" in note for note in read_volume(folder).notes)
