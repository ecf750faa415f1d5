"""A clip's maps: one target and one scale for all frames, whatever is held in memory at a time."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

import cnnviz
from cnnviz.core.target import ClassTarget
from cnnviz.drawing.colour import colourise, scale_of
from cnnviz.drawing.files import read_note
from cnnviz.errors import OutputError, PictureError, UsageError
from cnnviz.images.video import open_clip
from cnnviz.results.film import FilmRoll
from cnnviz.results.heatmap import Heatmaps, Look
from tests.support.asking import state_of
from tests.support.networks import Small, model_of

COUNT = 7


@pytest.fixture
def model():
    torch.manual_seed(3)
    return model_of(Small())


@pytest.fixture
def clip(tmp_path, monkeypatch):
    """A lossless clip in the current folder, the frames ever brighter."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (COUNT, 40, 48, 3))
    frames = [Image.fromarray((noise[n] * (n + 1) / COUNT).astype(np.uint8)) for n in range(COUNT)]
    frames[0].save(tmp_path / "clip.webp", save_all=True, append_images=frames[1:], duration=50, lossless=True)
    return tmp_path / "clip.webp"


def pictures(clip):
    return [frame.picture for frame in open_clip(clip)]


def frames_of(path):
    with Image.open(path) as image:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]


def test_every_frame_is_the_pictures_own_map_on_one_scale(model, clip, tmp_path):
    film = cnnviz.video(model, clip, "gradcam", "dog", tmp_path / "out.webp", look=Look(style="map"), at_once=3)
    apart = [cnnviz.gradcam(model, picture, "dog")[0] for picture in pictures(clip)]
    scale = scale_of(np.stack([one.upsampled() for one in apart]))
    assert film.limits == pytest.approx((scale.low, scale.high))
    assert len(film) == COUNT
    np.testing.assert_allclose(film.scores, [one.score for one in apart], rtol=1e-5)
    np.testing.assert_allclose(film.probabilities, [one.probability for one in apart], rtol=1e-4)
    for frame, one in zip(frames_of(film.path), apart, strict=True):
        assert np.abs(frame.astype(int) - colourise(one.upsampled(), scale)).mean() < 6, "but for WebP's loss"


@pytest.mark.parametrize("method", ["gradcam", "saliency", "guided_backprop", "eigencam"])
def test_how_many_are_held_at_a_time_does_not_matter(method, model, clip, tmp_path):
    first, second = (cnnviz.video(model, clip, method, None, tmp_path / f"{size}.gif", at_once=size) for size in (1, 4))
    np.testing.assert_allclose(first.scores, second.scores, rtol=1e-4, atol=1e-5)
    assert first.target == second.target
    assert len(frames_of(first.path)) == COUNT
    again = cnnviz.video(model, clip, method, None, tmp_path / "again.gif", at_once=4)
    assert again.path.read_bytes() == second.path.read_bytes()


def test_the_target_is_the_class_of_the_highest_mean_probability(model, clip, tmp_path):
    film = cnnviz.video(model, clip, "gradcam", None, tmp_path / "out.gif", at_once=2)
    logits = torch.from_numpy(cnnviz.predict(model, pictures(clip)).logits)
    best = int(logits.softmax(dim=1).mean(dim=0).argmax())
    assert film.target == ClassTarget(best, model.labels[best])
    finer = cnnviz.video(model, clip, "gradcam", "top vs similar", tmp_path / "finer.gif")
    assert str(finer.target) == f"{model.labels[best]} vs similar"


@pytest.mark.parametrize(("style", "size"), [("overlay", (48, 40)), ("map", (32, 32))])
def test_frames_at_their_own_size(style, size, model, clip, tmp_path):
    film = cnnviz.video(model, clip, "gradcam", "dog", tmp_path / "out.gif", look=Look(style=style))
    with Image.open(film.path) as image:
        assert image.size == size


def test_a_panel_names_the_frame_and_never_changes_its_size(model, clip, tmp_path):
    film = cnnviz.video(model, clip, "saliency", "dog", tmp_path / "out.webp", look=Look(style="panel"))
    assert len({frame.shape for frame in frames_of(film.path)}) == 1
    assert frames_of(film.path)[0].shape[1] > 400


def test_a_video_with_its_record_beside_it(model, clip, tmp_path):
    film = cnnviz.video(model, clip, cnnviz.layercam, "dog", tmp_path / "out.mp4", layer="relu1")
    held = json.loads(read_note(film.path))["cnnviz"]
    assert (held["method"], held["layer"], held["settings"]["layer"]) == ("layercam", "relu1", "relu1")
    assert [image["name"] for image in held["images"]] == ["clip.webp"]
    assert held["targets"] == ["dog"]
    assert held["look"]["style"] == "overlay"
    assert str(tmp_path) not in cnnviz.read_note(film.path)
    assert cv2.VideoCapture(str(film.path)).get(cv2.CAP_PROP_FPS) == pytest.approx(20)
    said = json.loads(json.dumps(film.describe()))
    assert (said["frames"], said["target"], said["index"]) == (COUNT, "dog", 1)
    assert len(said["scores"]) == len(said["probabilities"]) == COUNT


def test_where_it_goes_when_nothing_is_said(model, clip):
    assert str(cnnviz.video(model, clip, "gradcam", "dog").path) == "clip.gradcam.mp4"


def test_the_network_is_as_it_was(clip, tmp_path):
    net = Small().train()
    before = state_of(net)
    cnnviz.video(model_of(net), clip, "gradcam", None, tmp_path / "out.gif")
    assert state_of(net) == before


def test_progress_reaches_its_end(model, clip, tmp_path):
    seen = []
    with cnnviz.progress_to(lambda done, total: seen.append(done / total)):
        cnnviz.video(model, clip, "gradcam", None, tmp_path / "out.gif", at_once=3)
    assert seen == sorted(seen)
    assert 0 < seen[0] < 0.5
    assert seen[-1] == 1


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"method": "dff"}, UsageError, "dff draws no map of every frame"),
        ({"out": "out.png"}, OutputError, "must end in"),
        ({"out": "clip.webp"}, OutputError, "is the clip itself"),
        ({"clip": "nothing.mp4"}, PictureError, "no file"),
        ({"target": "unicorn"}, UsageError, "no label 'unicorn'"),
    ],
)
def test_what_cannot_be(given, error, words, model, clip):
    asked = {"clip": "clip.webp", "method": "gradcam", "target": "dog", "out": "out.gif"} | given
    before = clip.read_bytes()
    with pytest.raises(error, match=words):
        cnnviz.video(model, asked["clip"], asked["method"], asked["target"], asked["out"])
    assert [path.name for path in clip.parent.iterdir()] == ["clip.webp"]
    assert clip.read_bytes() == before


def peak_of(model, path, count):
    still = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 10, (120, 90))
    for _ in range(count):
        writer.write(still)
    writer.release()
    tracemalloc.start()
    film = cnnviz.video(model, path, "gradcam", "dog", path.with_suffix(".gif"), at_once=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(film) == count
    return peak


def test_memory_does_not_grow_with_the_length(model, tmp_path):
    peak_of(model, tmp_path / "warm.mp4", 2)
    assert peak_of(model, tmp_path / "long.mp4", 40) < 1.3 * peak_of(model, tmp_path / "short.mp4", 4)


def test_a_frame_without_evidence_does_not_narrow_the_scale(model, photo):
    dark = cnnviz.gradcam(model, photo, "dog")
    with FilmRoll(Look()) as roll:
        roll.gather(Heatmaps(tuple(_scaled(one, 0) for one in dark)))
        assert roll.scale.blank
        roll.gather(Heatmaps(tuple(_scaled(one, 1) for one in dark)))
        roll.gather(Heatmaps(tuple(_scaled(one, 0) for one in dark)))
        assert not roll.scale.blank
        most = roll.scale.high
        roll.gather(Heatmaps(tuple(_scaled(one, 3) for one in dark)))
        assert roll.scale.high == pytest.approx(3 * most)


def _scaled(one, factor):
    return replace(one, values=np.abs(one.values) * np.float32(factor) + np.float32(0), rectified=True)
