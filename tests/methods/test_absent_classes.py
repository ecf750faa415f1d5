"""A class that wins no pixel of some of several pictures: they are named, and the others are explained all the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import cnnviz as library
from cnnviz.errors import NowhereError, TargetError

COLOURS = ("red", "green", "blue")


def coloured(*colours):
    """Stripes of colours from left to right."""
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    for number, colour in enumerate(colours):
        start, stop = (16 * each // len(colours) for each in (number, number + 1))
        pixels[:, start:stop, COLOURS.index(colour)] = 200
    return pixels


@pytest.fixture
def model():
    net = nn.Conv2d(3, 3, 1, bias=False)
    net.weight.data = torch.eye(3).reshape(3, 3, 1, 1)
    return library.Model(nn.Sequential(net).eval(), mean=[0.5], std=[0.5], input_size=16, labels=COLOURS)


THREE = [coloured("red", "green"), coloured("red", "blue"), coloured("blue")]


@pytest.mark.parametrize("method", ["saliency", "occlusion", "gradcam", "smoothgrad"])
def test_the_pictures_are_named_whatever_the_chunks(model, method):
    with pytest.raises(NowhereError) as caught:
        getattr(library, method)(model, THREE, "green", batch_size=1)
    said = str(caught.value)
    assert said.startswith("'green' wins no pixel of 'image 2' and 'image 3'; of 'image 2' these do: red (50.0%), blue")
    assert (caught.value.rows, caught.value.count) == ((1, 2), 3)
    with pytest.raises(NowhereError, match="'green' wins no pixel of this picture; these do: blue"):
        getattr(library, method)(model, THREE[2], "green")


def test_several_targets_and_many_pictures_are_told_in_one_sentence(model):
    with pytest.raises(NowhereError, match="'blue' wins no pixel of 'image 1'; 'green' wins no pixel of 'image 3'"):
        library.saliency(model, THREE, ["blue", "blue", "green"])
    with pytest.raises(NowhereError, match="'image 6' and 3 more; of 'image 1'"):
        library.saliency(model, [THREE[2]] * 9 + THREE[:1], "red")


def test_a_report_leaves_them_out_and_says_so(model, tmp_path):
    found = library.report(model, THREE, ["red", "green", "blue"], sections="predictions,maps", methods="saliency")
    assert [str(one.target) for one in found.figures["maps"].maps["saliency"]] == ["red", "blue"]
    assert [said.partition(";")[0] for said in found.failures] == ["'green' wins no pixel of 'image 2'"]
    page = found.save(tmp_path / "page.html").read_text()
    assert "Left out: " in page
    with pytest.raises(NowhereError):
        library.report(model, THREE[1:], "green", sections="maps", methods="saliency")


def clip_of(path, *frames):
    first, *others = (Image.fromarray(each) for each in frames)
    first.save(path, save_all=True, append_images=others, duration=100, loop=0, lossless=True)
    return path


@pytest.mark.parametrize("at_once", [1, 2, 8])
def test_frames_without_the_class_are_blank(model, tmp_path, at_once):
    frames = [THREE[1], THREE[0], THREE[2], coloured("green", "red")]
    clip = clip_of(tmp_path / "clip.webp", *frames)
    film = library.video(model, clip, "saliency", "green", tmp_path / "out.gif", at_once=at_once)
    assert len(film) == 4
    assert film.scores[[0, 2]].tolist() == [0, 0]
    assert (film.scores[[1, 3]] > 0).all()
    assert "'green' wins no pixel of frames 1, 3: their maps are blank" in film.checks
    with Image.open(film.path) as written:
        assert written.n_frames == 4
    with pytest.raises(TargetError, match=r"'blue' wins no pixel of any frame of 'one\.webp'"):
        library.video(model, clip_of(tmp_path / "one.webp", THREE[0], THREE[0][:, ::-1]), "saliency", "blue",
                      tmp_path / "no.gif")  # fmt: skip
