"""The areas of classes, as `predict` tells and draws them: of the picture alone, in one colour a class, as masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import cnnviz
from cnnviz.errors import ExplanationError, OutputError

COLOURS = ("red", "green", "blue")


class Itself(nn.Module):
    """Answers at every pixel with its own colour."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.keep = nn.Conv2d(3, classes, 1, bias=False)
        self.keep.weight.data = torch.eye(classes, 3).reshape(classes, 3, 1, 1)

    def forward(self, x):
        return self.keep(x)


def model_of(size=16, labels=COLOURS, **settings):
    return cnnviz.Model(Itself(len(labels)).eval(), mean=[0.5], std=[0.5], input_size=size, labels=labels, **settings)


def halves(left, right, height=16, width=32):
    """A picture of two colours, named by the place of their 200."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[:, : width // 2, left], pixels[:, width // 2 :, right] = 200, 200
    return pixels


def test_what_is_put_around_a_picture_counts_for_no_class():
    found = cnnviz.predict(model_of(32, resize="whole"), halves(1, 2))  # 32x16 in the middle of 32x32: black around
    assert {str(one.target): (one.share, one.pixels) for one in found[0]} == {"green": (0.5, 256), "blue": (0.5, 256)}
    assert found.won[0].any(axis=0).sum() == 512
    assert not found.won[0, :, :8].any()
    plain = cnnviz.predict(model_of(16, resize=16), halves(1, 2))
    assert [one.share for one in plain[0]] == [0.5, 0.5]


def test_a_class_is_explained_where_it_wins_of_the_picture_alone():
    model = model_of(32, resize="whole")
    pixels = halves(0, 2)
    red = cnnviz.saliency(model, pixels, "red")[0]  # black is red's too, since all are equal there
    assert red.target.mask.array().sum() == 16 * 16
    lit = np.abs(red.values).sum(axis=0) > 0
    assert not lit[:8].any()
    assert not lit[24:].any()
    assert lit[8:24, :16].all()
    assert str(cnnviz.saliency(model, halves(2, 2))[0].target) == "blue"


def test_a_class_has_one_colour_on_all_pictures_and_the_background_is_grey():
    model = model_of(16, labels=("background", "green", "blue"), resize="whole")
    found = cnnviz.predict(model, [halves(1, 2, width=16), halves(2, 2, width=16)])
    alone = cnnviz.predict(model, halves(2, 2, width=16))
    np.testing.assert_array_equal(found.colours(), alone.colours())
    assert found.colours()[0].tolist() == [128] * 3
    assert len(np.unique(found.colours(), axis=0)) == 3
    one, other = (found.grid().sheet.rows[row][1].pixels for row in range(2))
    np.testing.assert_array_equal(one[:, 12], other[:, 12])
    many = cnnviz.predict(model_of(16, labels=tuple(map(str, range(300)))), halves(0, 0)).colours()
    assert len(np.unique(np.rint(many), axis=0)) > 250
    assert len(np.unique(np.rint(many[:22]), axis=0)) == 22


def test_what_the_network_did_not_see_is_faded_as_on_maps():
    model, pixels = model_of(16), halves(1, 2)
    areas = cnnviz.predict(model, pixels).grid().sheet.rows[0]
    drawn = cnnviz.saliency(model, pixels, "green").grid(style="overlay").sheet.rows[0][0]
    for cell in areas[1:]:
        np.testing.assert_array_equal(cell.pixels[:, :8], drawn.pixels[:, :8])
        np.testing.assert_array_equal(cell.pixels[:, 24:], drawn.pixels[:, 24:])
    assert (areas[2].pixels[:, 8:16] != drawn.pixels[:, 8:16]).any()


def test_masks_hold_the_indices_on_the_pictures_own_pixels(tmp_path):
    pictures = [halves(1, 2), halves(2, 0, 32, 32)]
    found = cnnviz.predict(model_of(16), pictures)
    paths = found.save_masks(tmp_path / "masks")
    assert [path.name for path in paths] == ["image 1.mask.png", "image 2.mask.png"]
    first, second = (Image.open(path) for path in paths)
    assert (first.mode, first.size, second.size) == ("P", (32, 16), (32, 32))
    expected = np.full((16, 32), 255)
    expected[:, 8:16], expected[:, 16:24] = 1, 2
    np.testing.assert_array_equal(np.asarray(first), expected)
    np.testing.assert_array_equal(np.asarray(second)[:, [0, 31]], np.tile([2, 0], (32, 1)))
    palette = np.array(first.getpalette()).reshape(-1, 3)
    np.testing.assert_array_equal(palette[:3], np.rint(found.colours()))


def test_masks_that_cannot_be_are_refused_in_a_sentence(tmp_path):
    many = cnnviz.predict(model_of(16, labels=tuple(map(str, range(256)))), halves(0, 0))
    with pytest.raises(ExplanationError, match="hold at most 255 classes; there are 256"):
        many.save_masks(tmp_path)
    several = cnnviz.predict(model_of(16, head="sigmoid"), np.full((16, 16, 3), 200, dtype=np.uint8))
    with pytest.raises(ExplanationError, match="Several classes are likelier than not at one pixel"):
        several.save_masks(tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(OutputError):
        cnnviz.predict(model_of(16), halves(0, 0)).save_masks([tmp_path / "no.jpg"])


def test_a_target_of_another_picture_is_settled_anew():
    model = model_of(16)
    first, other = halves(1, 2, width=16), halves(2, 1, width=16)
    green = cnnviz.saliency(model, first, "green")[0]
    again, anew = cnnviz.saliency(model, first, green.target)[0], cnnviz.saliency(model, other, green.target)[0]
    np.testing.assert_array_equal(again.values, green.values)
    np.testing.assert_array_equal(anew.values, cnnviz.saliency(model, other, "green")[0].values)
    assert anew.target.mask.array()[:, 8:].all()
    boxed = cnnviz.saliency(model_of(8), halves(1, 2, width=16), "green in 0,0,8,8")[0]
    moved = cnnviz.saliency(model_of(8), halves(1, 2, 32, 32), boxed.target)[0]
    assert moved.target.mask.array().sum() == 4


def test_whether_a_network_answers_for_pixels_is_asked_once():
    net = nn.Conv2d(3, 2, 1)
    model = cnnviz.Model(net, mean=[0.0] * 3, std=[1.0] * 3, input_size=16, resize="whole")
    tall = np.full((30, 10, 3), 90, np.uint8)
    cnnviz.predict(model, tall)
    calls = []
    with net.register_forward_hook(lambda *_: calls.append(1)):
        cnnviz.predict(model, tall)
    assert len(calls) == 1
