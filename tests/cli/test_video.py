"""A method's command on a clip."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image

NETWORK = ("--model", "nets.py:tiny", "--labels", "labels.txt", "--input-size", 32)


@pytest.fixture
def clip(folder):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (40, 48, 3), dtype=np.uint8) for _ in range(4)]
    writer = cv2.VideoWriter(str(folder / "clip.mp4"), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 10, (48, 40))
    for frame in frames:
        writer.write(frame)
    writer.release()
    first, *rest = map(Image.fromarray, frames)
    first.save(folder / "clip.gif", save_all=True, append_images=rest, duration=100)
    return folder


def test_a_clip_in_a_clip_out(clip, gradcam, cnnviz):
    done = gradcam("clip.mp4", "--target", "goldfish", "-o", "out.mp4")
    assert (done.exit_code, done.stdout) == (0, "out.mp4\n")
    assert cv2.VideoCapture("out.mp4").get(cv2.CAP_PROP_FRAME_COUNT) == 4
    assert "method: gradcam" in cnnviz("info", "out.mp4").stdout


def test_without_a_place_it_is_beside_the_current_folder(clip, gradcam):
    assert gradcam("clip.mp4").stdout == "clip.gradcam.mp4\n"
    assert gradcam("clip.mp4", "-o", "films/").stdout.strip().endswith("clip.gradcam.mp4")
    assert (clip / "films" / "clip.gradcam.mp4").is_file()
    again = gradcam("clip.mp4")
    assert again.exit_code == 1
    assert "'clip.gradcam.mp4' exists already; add --force" in again.stderr
    assert gradcam("clip.mp4", "--force").exit_code == 0


@pytest.mark.parametrize("out", ["out.gif", "out.webp"])
def test_an_animated_gif_is_a_clip_where_one_is_asked_for(out, clip, gradcam):
    done = gradcam("clip.gif", "-o", out, "--json", "--style", "panel", "--cmap", "viridis")
    said = json.loads(done.stdout)
    assert (said["clip"], said["output"], said["frames"], len(said["scores"])) == ("clip.gif", out, 4, 4)
    with Image.open(out) as image:
        assert image.n_frames == 4


def test_an_animated_gif_is_a_picture_otherwise(clip, gradcam):
    assert gradcam("clip.gif", "-o", "out.png").exit_code == 0
    with Image.open("out.png") as image:
        assert getattr(image, "n_frames", 1) == 1


def test_a_still_webp_of_a_picture_is_still_a_picture(clip, gradcam, photo):
    assert gradcam(photo(), "-o", "out.webp").exit_code == 0
    with Image.open("out.webp") as image:
        assert getattr(image, "n_frames", 1) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("clip.mp4", "clip.mp4", "-o", "out.mp4"), 2, "one clip at a time; got 2"),
        (("clip.mp4", "-o", "out.png"), 1, "must end in .gif, .webp or .mp4"),
        (("nothing.mp4", "-o", "out.mp4"), 1, "no file 'nothing.mp4'"),
        (("labels.txt", "-o", "out.mp4"), 1, "is text"),
        (("clip.mp4", "-o", "clip.mp4", "--force"), 1, "is what this command was given, and would be replaced"),
        (("clip.mp4", "--target", "unicorn", "-o", "out.mp4"), 2, "no label 'unicorn'"),
    ],
)
def test_what_cannot_be_is_one_sentence(arguments, code, words, clip, gradcam):
    done = gradcam(*arguments)
    assert done.exit_code == code
    assert words in done.stderr
    assert done.stderr.count("Error:") == 1
    assert not (clip / "out.mp4").exists()


def test_a_clip_is_explained_for_one_target(cnnviz, folder):
    (folder / "clip.mp4").write_bytes(b"")
    two = ("--target", 0, "--target", 1)
    refused = cnnviz("gradcam", "--model", "nets.py:tiny", "--input-size", 32, "clip.mp4", *two)
    assert refused.exit_code == 2
    assert "one target at a time; got 2" in refused.stderr
