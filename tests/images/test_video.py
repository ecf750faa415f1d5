"""Reading clips frame by frame."""

from __future__ import annotations

import struct
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from cnnviz.errors import PictureError
from cnnviz.images.video import is_clip, open_clip


def colours(count=4, size=(24, 32)):
    """Frames of one colour each, the top left corner white."""
    frames = []
    for number in range(count):
        frame = np.full((*size, 3), (200 - 40 * number, 20 + 40 * number, 60), dtype=np.uint8)
        frame[:8, :8] = 255
        frames.append(frame)
    return frames


def video(path, frames, fps=8.0, kind="mp4v"):
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*kind), fps, (width, height))
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


def animated(path, frames, milliseconds):
    first, *rest = map(Image.fromarray, frames)
    lossless = {"lossless": True} if path.suffix == ".webp" else {}
    first.save(path, save_all=True, append_images=rest, duration=milliseconds, **lossless)
    return path


@pytest.mark.parametrize(("name", "kind"), [("clip.mp4", "mp4v"), ("clip.avi", "MJPG")])
def test_a_videos_frames_are_red_green_and_blue(name, kind, tmp_path):
    clip = open_clip(video(tmp_path / name, colours(), kind=kind))
    assert (clip.fps, clip.size, clip.count, clip.name) == (8, (24, 32), 4, name)
    for _ in range(2):
        found = list(clip)
        assert len(found) == 4
        assert [frame.seconds for frame in found] == [0.125] * 4
        for number, frame in enumerate(found):
            assert frame.picture.name == f"{name}, frame {number + 1}"
            apart = frame.picture.pixels[12:, 12:].astype(int) - colours()[number][12:, 12:]
            assert np.abs(apart).max() < 12


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_animated_pictures_keep_their_times(suffix, tmp_path):
    clip = open_clip(animated(tmp_path / f"clip{suffix}", colours(3), [100, 300, 200]))
    assert (clip.size, clip.count) == ((24, 32), 3)
    assert clip.fps == pytest.approx(5)
    found = list(clip)
    assert [frame.seconds for frame in found] == [0.1, 0.3, 0.2]
    for frame, given in zip(found, colours(3), strict=True):
        assert np.abs(frame.picture.pixels.astype(int) - given).max() < 6


def turned(path):
    """The same file, saying that it is to be shown turned by a quarter."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") - 4 + 48
    content[start : start + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(content))
    return path


def test_a_video_that_was_held_upright_is_upright(tmp_path):
    clip = open_clip(turned(video(tmp_path / "clip.mp4", colours())))
    pixels = next(iter(clip)).picture.pixels
    assert clip.size == pixels.shape[:2] == (32, 24)
    assert pixels[:6, -6:].min() > 220, "the white corner is at the top right now"
    assert pixels[:6, :6, 2].max() < 100


def test_what_is_a_clip(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "still.gif")
    animated(tmp_path / "clip.gif", colours(2), 100)
    (tmp_path / "text.gif").write_text("no picture")
    names = {"still.gif": False, "clip.gif": True, "text.gif": False, "nothing.webp": False, "nothing.mp4": True}
    assert {name: is_clip(tmp_path / name) for name in names} == names


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("clip.mp4", b"no video at all", r"'clip\.mp4' cannot be read as a video"),
        ("clip.gif", b"no picture", r"'clip\.gif' is text"),
        ("clip.mp4", None, r"There is no file 'clip\.mp4'"),
        ("clip.mp4", b"", "cannot be read as a video"),
    ],
)
def test_what_cannot_be_read_is_said(name, content, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(PictureError, match=words):
        open_clip(name)


def test_opencv_says_nothing_itself_and_no_torch_is_loaded(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"no video at all")
    code = (
        "import sys; from cnnviz.errors import PictureError; from cnnviz.images.video import open_clip\n"
        "try: open_clip('clip.mp4')\nexcept PictureError: print('refused', 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("refused False", "")


def test_a_single_picture_is_no_clip(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "cat.jpg")
    with pytest.raises(PictureError, match=r"'cat\.jpg' is a single picture; expected a video"):
        open_clip(tmp_path / "cat.jpg")


def test_a_damaged_animation_is_said(tmp_path):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (40, 40, 3), dtype=np.uint8) for _ in range(3)]
    path = animated(tmp_path / "clip.webp", noise, 100)
    clip = open_clip(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(PictureError, match=r"clip\.webp"):
        list(clip)


def test_a_video_whose_frames_are_lost_is_said(tmp_path):
    path = video(tmp_path / "clip.mp4", colours())
    content = path.read_bytes()
    start, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    path.write_bytes(content[:start] + bytes(end - start) + content[end:])
    with pytest.raises(
        PictureError, match=r"'clip\.mp4' holds no frame that can be read; expected a video that is whole"
    ):
        open_clip(path)


def test_only_the_frame_at_hand_is_read(tmp_path):
    frames = iter(open_clip(video(tmp_path / "clip.mp4", colours(40))))
    assert next(frames).picture.name == "clip.mp4, frame 1"
    frames.close()
