"""Volumes from arrays, stacks of slices and clips, and what a network takes deciding how inputs are read."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from cnnviz.core.picture import Picture
from cnnviz.core.sample import Entrance, Signal, Volume
from cnnviz.errors import PictureError, UsageError
from cnnviz.images.inputs import expand_paths, gather
from cnnviz.images.volumes import read_volume

RNG = np.random.default_rng(0)
BLOCK = RNG.normal(size=(3, 4, 5)).astype(np.float32)
GREYS = RNG.integers(0, 256, (11, 6, 7), dtype=np.uint8)
SIGNALS, VOLUMES = Entrance(1, 2), Entrance(3, 1)
CLIPS = Entrance(3, 3, rate=10.0, frames=4)


def saved(path, array):
    np.save(path, array)
    return path


@pytest.mark.parametrize(
    ("array", "channels", "expected"),
    [
        (BLOCK, 1, BLOCK[None]),
        (BLOCK[None], 1, BLOCK[None]),
        (np.stack([BLOCK, -BLOCK]), 2, np.stack([BLOCK, -BLOCK])),
        (np.stack([BLOCK, -BLOCK], axis=-1), 2, np.stack([BLOCK, -BLOCK])),
        ((BLOCK * 99).astype(np.int16), 1, (BLOCK * 99).astype(np.int16)[None]),
    ],
)
def test_arrays_are_slices_rows_and_columns(tmp_path, array, channels, expected):
    volume = read_volume(saved(tmp_path / "a.npy", array), channels)
    np.testing.assert_array_equal(volume.values, expected.astype(np.float32))
    assert (volume.name, volume.affine, volume.spacing, volume.rate) == ("a.npy", None, None, None)


def slices_in(folder, names, planes=GREYS):
    folder.mkdir(exist_ok=True)
    for name, plane in zip(names, planes, strict=False):
        Image.fromarray(plane).save(folder / name)
    return folder


def test_slices_in_a_folder_lie_in_the_order_of_their_numbers(tmp_path):
    folder = slices_in(tmp_path / "scan", [f"slice{number}.png" for number in range(1, 12)])  # slice10 after slice9
    (folder / ".hidden.png").write_bytes(b"x")
    (folder / "notes.txt").write_text("x")
    volume = read_volume(folder, 1)
    np.testing.assert_array_equal(volume.values[0], GREYS)
    assert volume.notes == ("11 slices from slice1.png to slice11.png",)
    assert volume.name == "scan"
    assert expand_paths([str(folder)], 3) == [folder]
    assert len(expand_paths([str(folder)])) == 11


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_the_pages_of_a_tiff_are_slices_as_they_are_stored(tmp_path, kind):
    planes = (GREYS.astype(np.float64) * (200 if kind == np.uint16 else 0.5 if kind == np.float32 else 1)).astype(kind)
    pages = [Image.fromarray(plane) for plane in planes]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif", 1).values[0], planes.astype(np.float32))


def test_colours_are_channels_or_their_luma(tmp_path):
    colours = RNG.integers(0, 256, (3, 6, 7, 3), dtype=np.uint8)
    folder = slices_in(tmp_path / "rgb", ["a.png", "b.png", "c.png"], colours)
    np.testing.assert_array_equal(read_volume(folder, 3).values, np.moveaxis(colours, -1, 0))
    grey = read_volume(folder, 1)
    np.testing.assert_allclose(grey.values[0], colours @ [0.299, 0.587, 0.114], rtol=1e-6)
    assert "colours read as grey (luma)" in grey.notes
    alike = slices_in(tmp_path / "grey", ["a.png", "b.png"], np.repeat(GREYS[..., None], 3, axis=-1))
    volume = read_volume(alike, 1)
    np.testing.assert_array_equal(volume.values[0], GREYS[:2])
    assert len(volume.notes) == 1


def refused(tmp_path):
    """What is no volume for a network of one channel, and words of the sentence."""
    Image.fromarray(GREYS[0]).save(tmp_path / "one.png")
    Image.fromarray(GREYS[0]).save(tmp_path / "one.tif")
    uneven = slices_in(tmp_path / "uneven", ["a.png", "b.png"])
    Image.fromarray(GREYS[0, :5]).save(uneven / "c.png")
    mixed = slices_in(tmp_path / "mixed", ["a.png"])
    Image.fromarray(np.repeat(GREYS[0, ..., None], 3, axis=-1)).save(mixed / "b.png")
    broken = slices_in(tmp_path / "broken", ["a.png", "b.png"])
    (broken / "b.png").write_bytes((broken / "b.png").read_bytes()[:60])
    pages = [Image.fromarray(plane) for plane in GREYS]
    pages[0].save(tmp_path / "cut.tif", save_all=True, append_images=pages[1:])
    (tmp_path / "cut.tif").write_bytes((tmp_path / "cut.tif").read_bytes()[:700])
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("hello")
    return {
        "one.png": "a single picture, and the network takes three dimensions",
        "one.tif": "a single slice",
        "uneven": r"c.png has the shape \(5, 7\), the first slice \(6, 7\)",
        "broken": "'b.png' is damaged",
        "cut.tif": "cut.tif",
        "empty": "holds no slices",
        "text.txt": "is no volume",
        "absent.nii": "There is no file",
        "absent": "There is no file",
    }


def test_other_files_are_refused_in_a_sentence(tmp_path):
    for name, words in refused(tmp_path).items():
        with pytest.raises(PictureError, match=words) as caught:
            read_volume(tmp_path / name, 1)
        assert "\n" not in str(caught.value)
    with pytest.raises(PictureError, match=r"expected .*DICOM"):
        read_volume(tmp_path / "empty", 1)
    single = slices_in(tmp_path / "single", ["a.png"])
    with pytest.raises(PictureError, match=r"a single slice, 'a\.png'"):
        read_volume(single, 1)


def test_arrays_and_tensors_go_by_the_dimensions_of_the_network():
    signal = RNG.normal(size=(2, 30)).astype(np.float32)
    for given, count, name in [(signal, 1, "signal"), ([signal.T], 1, "signal"), ([signal, signal], 2, "signal 1"),
                               (np.stack([signal, signal]), 2, "signal 1")]:  # fmt: skip
        found = gather(given, SIGNALS)
        assert [type(each) for each in found] == [Signal] * count
        np.testing.assert_array_equal(found[0].values, signal)
        assert found[0].name == name
    for given, count in [(BLOCK, 1), (BLOCK[None], 1), (np.stack([BLOCK[None]] * 3), 3)]:
        found = gather(given, VOLUMES)
        assert [type(each) for each in found] == [Volume] * count
        np.testing.assert_array_equal(found[0].values, BLOCK[None])
    for shape, entrance, count in [((4, 2, 30), SIGNALS, 4), ((2, 30), SIGNALS, 1), ((2, 1, 3, 4, 5), VOLUMES, 2),
                                   ((1, 3, 4, 5), VOLUMES, 1)]:  # fmt: skip
        tensor = torch.randn(shape)
        found = gather(tensor, entrance)
        assert len(found) == count
        assert torch.equal(torch.stack(found) if len(shape) > found[0].dim() else found[0], tensor)
    one = Volume(BLOCK[None], "mine")
    assert gather([one, one], VOLUMES)[1] is one


@pytest.mark.parametrize(
    ("given", "entrance", "words"),
    [
        (
            Picture(np.zeros((4, 4, 3), np.uint8), "a.png"),
            SIGNALS,
            r"'a.png' is a picture, and the network takes signals",
        ),
        (
            Signal(np.zeros((1, 9), np.float32), "a.wav"),
            Entrance(),
            r"'a.wav' is a signal, and .* pictures \(N, C, H, W\)",
        ),
        (Volume(BLOCK[None]), Entrance(), "is a volume, and the network takes pictures"),
        (Image.fromarray(GREYS[0]), VOLUMES, "a PIL image, and the network takes volumes"),
        (torch.zeros(3, 8, 8), SIGNALS, r"\(3, 8, 8\)|channels"),
        (torch.zeros(8), SIGNALS, r"shape \(8,\); expected network input \(N, C, T\) or \(C, T\)"),
        (torch.zeros(2, 3, 4), VOLUMES, r"expected network input \(N, C, D, H, W\) or \(C, D, H, W\)"),
        (torch.zeros(2, 9, dtype=torch.int32), SIGNALS, "expected to be float"),
        (3, VOLUMES, r"The volumes are of type int; expected .*\(N, C, D, H, W\)"),
        ([], SIGNALS, "There are no signals"),
        ([3], SIGNALS, "signal is of type int"),
    ],
)
def test_what_the_network_does_not_take_is_a_wrong_request(given, entrance, words):
    if isinstance(given, torch.Tensor) and tuple(given.shape) == (3, 8, 8):
        assert len(gather(given, entrance)) == 3  # three signals of eight channels: the channels are said later
        return
    with pytest.raises(UsageError, match=words) as caught:
        gather(given, entrance)
    assert "\n" not in str(caught.value)


def test_files_of_another_kind_are_told_what_is_expected(tmp_path):
    Image.fromarray(GREYS[0]).save(tmp_path / "a.png")
    saved(tmp_path / "a.npy", BLOCK)
    (tmp_path / "a.wav").write_bytes(b"RIFF" + bytes(60))
    for name, entrance, words in [
        ("a.png", SIGNALS, "is not a signal"), ("a.npy", SIGNALS, r"\(3, 4, 5\)"),
        ("a.wav", Entrance(), "expected a JPEG"), ("a.wav", VOLUMES, "is no volume"),
        ("a.png", VOLUMES, "single picture"), ("a.npy", Entrance(), "NumPy array"),
    ]:  # fmt: skip
        with pytest.raises(PictureError, match=words):
            gather(tmp_path / name, entrance)


def test_folders_of_signals_and_of_volumes_are_lists_of_files(tmp_path):
    for name in ("b.npy", "a.csv", "c.wav", "d.txt", "e.png"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in expand_paths([str(tmp_path)], 1)] == ["a.csv", "b.npy", "c.wav"]
    assert [path.name for path in expand_paths([str(tmp_path)], 3)] == ["b.npy"]
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "x.txt").write_bytes(b"x")
    with pytest.raises(PictureError, match=r"holds no signal; expected files ending in \.npy, \.csv"):
        expand_paths([str(tmp_path / "only")], 1)
    with pytest.raises(PictureError, match="holds no volume"):
        expand_paths([str(tmp_path / "only")], 3)


def film(path, count=30, fps=20.0):
    """A video whose frame n is of grey 8 n."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (48, 32))
    for number in range(count):
        writer.write(np.full((32, 48, 3), 8 * number, np.uint8))
    writer.release()
    return path


def test_the_frames_about_the_middle_of_a_video_at_the_rate_of_the_network(tmp_path):
    (clip,) = gather(film(tmp_path / "a.avi"), CLIPS)
    assert (clip.values.shape, clip.rate, clip.is_clip, clip.window) == ((3, 4, 32, 48), 10.0, True, (0, 255))
    # 4 frames at 10 of 20 a second span 8 of 30 frames: from 11 on, every second
    np.testing.assert_allclose(clip.values[:, :, 9, 9] / 8, [[11, 13, 15, 17]] * 3, atol=0.3)
    assert clip.notes == ("4 frames from 12 to 18 of 30, 10 a second of 20",)
    (whole,) = gather(tmp_path / "a.avi", CLIPS._replace(rate=20.0, frames=30))
    np.testing.assert_allclose(whole.values[0, :, 9, 9] / 8, np.arange(30), atol=0.3)


def test_a_short_video_is_spread_over_the_frames_and_told(tmp_path):
    (clip,) = gather(film(tmp_path / "a.avi", count=6), CLIPS)
    np.testing.assert_allclose(clip.values[0, :, 9, 9] / 8, [0, 1, 3, 4], atol=0.3)
    spread = "too short for 4 frames at 10 a second: spread over all of it"
    assert clip.notes == ("4 frames from 1 to 5 of 6, 13.3 a second of 20", spread)
    assert clip.rate == pytest.approx(4 / (6 / 20))  # times in figures are those of the clip, which lasts 0.3 s


def test_a_gif_and_grey_clips(tmp_path):
    pages = [Image.fromarray(np.full((32, 48), 8 * number, np.uint8)) for number in range(10)]
    pages[0].save(tmp_path / "a.gif", save_all=True, append_images=pages[1:], duration=100)
    (clip,) = gather(tmp_path / "a.gif", CLIPS)
    np.testing.assert_allclose(clip.values[1, :, 3, 3], [24, 32, 40, 48], atol=1)
    (grey,) = gather(tmp_path / "a.gif", CLIPS._replace(channels=1))
    assert grey.values.shape == (1, 4, 32, 48)


def test_arrays_and_slices_are_frames_for_a_network_of_clips(tmp_path):
    frames = RNG.integers(0, 256, (10, 8, 9, 3), dtype=np.uint8)
    for given in (frames, np.moveaxis(frames, -1, 0), frames / 255):
        (clip,) = gather(given, CLIPS)
        np.testing.assert_allclose(clip.values, np.moveaxis(frames[3:7], -1, 0), atol=1e-4)
        assert clip.rate == 10.0
    folder = slices_in(tmp_path / "frames", [f"{number}.png" for number in range(10)], frames)
    (clip,) = gather(folder, CLIPS)
    np.testing.assert_array_equal(clip.values, np.moveaxis(frames[3:7], -1, 0))
    with pytest.raises(PictureError, match="its values are none"):
        gather(frames * 2.0, CLIPS)
