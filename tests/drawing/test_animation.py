"""Animations: every frame as it was, for as long as it was asked, with a note; and the same bytes again."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tracemalloc

import av
import cv2
import numpy as np
import pytest
from PIL import Image, ImageSequence

from cnnviz.drawing.animation import ANIMATION_SUFFIXES, FrameWriter
from cnnviz.drawing.files import read_note
from cnnviz.errors import MissingExtraError, OutputError, ParameterError
from cnnviz.provenance import Provenance
from tests.support.chromium import browsing, installed

NOTE = Provenance(method="gradcam", targets=("Löwe",)).to_json()


def frames(count=5, size=(30, 45)):
    """Smooth colours that move: lossy formats keep them nearly as they are."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    return [
        np.stack([rows * 4 + 10 * number, columns * 3, rows + columns + 20 * number], axis=2)
        .clip(0, 255)
        .astype(np.uint8)
        for number in range(count)
    ]


def interrupted(count):
    yield from frames(count)
    raise KeyboardInterrupt


def write(path, shown, fps=10.0, note=NOTE):
    with FrameWriter(path, fps, note) as writer:
        for frame in shown:
            writer.add(frame)
    return path


def read(path):
    if path.suffix != ".mp4":
        with Image.open(path) as image:
            return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]
    clip, found = cv2.VideoCapture(str(path)), []
    while (read := clip.read())[0]:
        found.append(read[1][..., ::-1])
    return found


@pytest.mark.parametrize("suffix", ANIMATION_SUFFIXES)
def test_every_frame_comes_back_in_its_colours(suffix, tmp_path):
    given = frames()
    found = read(write(tmp_path / f"clip{suffix}", given))
    assert len(found) == len(given)
    for one, other in zip(found, given, strict=True):
        apart = np.abs(one[:30, :45].astype(int) - other)
        assert apart.mean() < 6
        assert np.abs(apart.mean(axis=(0, 1))).max() < 8, "red, green and blue each"


@pytest.mark.parametrize("suffix", ANIMATION_SUFFIXES)
def test_the_same_bytes_and_the_note(suffix, tmp_path):
    first, second = (write(tmp_path / f"{name}{suffix}", frames()) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert read_note(first) == NOTE
    assert Provenance.from_json(read_note(second)).targets == ("Löwe",)


def test_a_frames_time_in_hundredths_adds_up(tmp_path):
    path = write(tmp_path / "clip.gif", frames(31), fps=30)
    with Image.open(path) as image:
        times = [frame.info["duration"] for frame in ImageSequence.Iterator(image)]
        assert image.info["loop"] == 0
    assert set(times) == {30, 40}
    assert abs(sum(times) - 31 * 1000 / 30) <= 10


def test_a_webps_times_are_milliseconds(tmp_path):
    path = tmp_path / "clip.webp"
    with FrameWriter(path, 8, NOTE) as writer:
        for frame in frames(2):
            writer.add(frame)
        writer.add(frames()[0], seconds=2)
    with Image.open(path) as image:
        times = []
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            times.append(image.info["duration"])
    assert times == [125, 125, 2000]


def test_a_frame_that_stays_is_repeated_in_a_video(tmp_path):
    path = tmp_path / "clip.mp4"
    with FrameWriter(path, 10, NOTE) as writer:
        writer.add(frames()[0])
        writer.add(frames()[1], seconds=0.5)
    assert len(read(path)) == 6
    clip = cv2.VideoCapture(str(path))
    assert clip.get(cv2.CAP_PROP_FPS) == 10
    assert (clip.get(cv2.CAP_PROP_FRAME_HEIGHT), clip.get(cv2.CAP_PROP_FRAME_WIDTH)) == (30, 46)


def write_as_before(path):
    """A video as earlier versions wrote one: MPEG-4 by OpenCV, and its record in a file beside it."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 10, (46, 30))
    for frame in frames(size=(30, 46)):
        writer.write(frame[..., ::-1])
    writer.release()
    beside = {**json.loads(NOTE), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    path.with_name(f"{path.name}.json").write_text(json.dumps(beside), "utf-8")
    return path


def test_a_video_of_an_earlier_version_has_its_note_beside_it(tmp_path):
    path = write_as_before(tmp_path / "clip.mp4")
    assert json.loads(read_note(path)) == json.loads(NOTE)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(OutputError, match="not written by cnnviz"):
        read_note(path)
    (tmp_path / "clip.mp4.json").unlink()
    with pytest.raises(OutputError, match="not written by cnnviz"):
        read_note(path)


def test_a_video_has_nothing_beside_it_and_a_file_there_does_not_matter(tmp_path):
    path = write(tmp_path / "clip.mp4", frames())
    assert [each.name for each in tmp_path.iterdir()] == ["clip.mp4"]
    (tmp_path / "clip.mp4.json").write_text("my own words")
    assert read_note(path) == NOTE


def test_a_long_note_in_a_video(tmp_path):
    note = json.dumps({"words": "Löwe " * 100_000}, ensure_ascii=False)
    assert read_note(write(tmp_path / "clip.mp4", frames(1), note=note)) == note


def test_a_video_is_what_browsers_play(tmp_path):
    path = write(tmp_path / "clip.mp4", frames())
    with av.open(str(path)) as video:
        stream = video.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt, stream.frames) == ("h264", "yuv420p", 5)
    content = path.read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat"), "a browser can start before it has all of it"
    assert b"threads=1 " in content, "the bytes would not repeat with several"


PLAYED = """new Promise((done, failed) => {
    const video = document.querySelector("video");
    video.onerror = () => failed(new Error(video.error.message));
    video.onended = () => done([video.videoWidth, video.videoHeight, video.duration]);
    video.play().catch(failed);
})"""


@pytest.mark.skipif(installed() is None, reason="no Chromium is installed")
def test_chromium_plays_a_video_to_its_end(tmp_path):
    write(tmp_path / "clip.mp4", frames())
    (tmp_path / "page.html").write_text('<!DOCTYPE html><title>x</title><video muted src="clip.mp4"></video>')
    with browsing(installed() or "", tmp_path / "profile") as tab:
        tab.open(tmp_path / "page.html", width=400)
        assert tab.evaluate(PLAYED) == [46, 30, 0.5]


def test_other_processes_write_the_same_video(tmp_path):
    code = (
        "import sys; from pathlib import Path; from tests.drawing.test_animation import frames, write;"
        "write(Path(sys.argv[1]), frames())"
    )
    for name in "ab":
        subprocess.run([sys.executable, "-c", code, str(tmp_path / f"{name}.mp4")], check=True)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("cut", [0, 5, 40, 500, -200])
def test_a_video_that_was_cut_is_a_sentence_or_keeps_its_note(cut, tmp_path):
    whole = write(tmp_path / "clip.mp4", frames()).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[:cut])
    if cut < 0:
        assert read_note(tmp_path / "cut.mp4") == NOTE, "what was cut off are pictures"
        return
    with pytest.raises(OutputError, match=r"'.*cut\.mp4' cannot be read as \.mp4|not written by cnnviz") as caught:
        read_note(tmp_path / "cut.mp4")
    assert "\n" not in str(caught.value)


def test_without_the_library_it_is_a_sentence(tmp_path, monkeypatch):
    path = write(tmp_path / "clip.mp4", frames())
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"\.gif and \.webp need nothing more.*cnnviz\[video\]"):
        FrameWriter(tmp_path / "other.mp4", 10, NOTE)
    with pytest.raises(MissingExtraError, match=r"record in 'clip\.mp4' needs .*cnnviz\[video\]"):
        read_note(path)
    assert json.loads(read_note(write_as_before(tmp_path / "old.mp4"))) == json.loads(NOTE)


@pytest.mark.parametrize("suffix", ANIMATION_SUFFIXES)
@pytest.mark.parametrize("before", [0, 2])
def test_what_fails_leaves_nothing_and_replaces_nothing(suffix, before, tmp_path):
    path = tmp_path / f"clip{suffix}"
    path.write_text("as it was")
    with pytest.raises(KeyboardInterrupt):
        write(path, interrupted(before))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "as it was"


@pytest.mark.parametrize("suffix", ANIMATION_SUFFIXES)
def test_no_frame_is_no_file(suffix, tmp_path):
    with pytest.raises(OutputError, match="no frame to write into 'clip"):
        write(tmp_path / f"clip{suffix}", [])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (np.zeros((4, 4), np.uint8), r"uint8 of shape \(h, w, 3\)"),
        (np.zeros((4, 4, 3), np.float32), "not float32"),
        (np.zeros((0, 4, 3), np.uint8), "of shape"),
    ],
)
def test_what_is_no_frame_is_refused(frame, words, tmp_path):
    with pytest.raises(ParameterError, match=words):
        write(tmp_path / "clip.gif", [frame])
    assert not list(tmp_path.iterdir())


def test_frames_of_several_sizes_are_refused(tmp_path):
    with pytest.raises(ParameterError, match="like the first"):
        write(tmp_path / "clip.mp4", [*frames(1), *frames(1, (32, 45))])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fps", [0, -1, 241, float("nan"), float("inf")])
def test_a_pace_that_cannot_be(fps, tmp_path):
    with pytest.raises(ParameterError, match="above 0 and up to 240"):
        FrameWriter(tmp_path / "clip.gif", fps, NOTE)


def test_other_endings_places_and_sizes(tmp_path):
    with pytest.raises(OutputError, match=r"must end in \.gif, \.webp or \.mp4"):
        FrameWriter(tmp_path / "clip.avi", 10, NOTE)
    with pytest.raises(OutputError, match="no folder"):
        FrameWriter(tmp_path / "nowhere" / "clip.gif", 10, NOTE)
    with pytest.raises(OutputError, match="at most 8192 pixels"):
        write(tmp_path / "clip.mp4", [np.zeros((2, 9000, 3), np.uint8)])
    with pytest.raises(OutputError, match=r"too long for \.webp"):
        FrameWriter(tmp_path / "clip.webp", 10, "x" * 70_000)


def test_an_alien_gif_has_no_note(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "alien.gif", comment=b"cnnvizard {}")
    with pytest.raises(OutputError, match="not written by cnnviz"):
        read_note(tmp_path / "alien.gif")


@pytest.mark.parametrize("suffix", ANIMATION_SUFFIXES)
def test_memory_does_not_grow_with_the_length(suffix, tmp_path):
    """Twenty frames of 0.36 MB: holding them would take 7 MB."""
    still = frames(1, (300, 400))[0]
    tracemalloc.start()
    with FrameWriter(tmp_path / f"clip{suffix}", 10, NOTE) as writer:
        for _ in range(20):
            writer.add(still)
    assert tracemalloc.get_traced_memory()[1] < 4e6
    tracemalloc.stop()
