"""A class that some of many pictures do not have, and the areas as masks, on the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

CODE = """
import torch
from torch import nn

class Itself(nn.Module):
    def __init__(self):
        super().__init__()
        self.keep = nn.Conv2d(3, 3, 1, bias=False)
        self.keep.weight.data = torch.eye(3).reshape(3, 3, 1, 1)

    def forward(self, x):
        return self.keep(x)

def make():
    return Itself()
"""
NET = ("--model", "itself.py:make", "--input-size", "16", "--mean", "0.5", "--std", "0.5", "--labels", "three.txt")


def coloured(*places):
    """Stripes of colours from left to right: red, green and blue are 0, 1 and 2."""
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    for number, place in enumerate(places):
        pixels[:, 16 * number // len(places) : 16 * (number + 1) // len(places), place] = 200
    return pixels


THREE = [coloured(0, 1), coloured(0, 2), coloured(2)]


@pytest.fixture
def files(folder):
    (folder / "itself.py").write_text(CODE)
    (folder / "three.txt").write_text("red\ngreen\nblue\n")
    for name, pixels in zip("abc", THREE, strict=True):
        Image.fromarray(pixels).save(folder / f"{name}.png")


def test_the_command_goes_on_and_ends_with_what_was_left_out(cnnviz, folder, files):
    found = cnnviz("saliency", *NET, "a.png", "b.png", "c.png", "--target", "green", "-o", "out/", "--json")
    assert found.exit_code == 1
    assert [one["image"] for one in json.loads(found.stdout)] == ["a.png"]
    assert "Error: 'green' wins no pixel of 'b.png' and 'c.png'" in found.stderr
    assert [file.name for file in (folder / "out").iterdir()] == ["a.saliency.green.png"]
    both = cnnviz("saliency", *NET, "a.png", "b.png", "--target", "red", "--target", "green", "-o", "both.png")
    assert both.exit_code == 1
    assert "wins no pixel of 'b.png'" in both.stderr
    assert (folder / "both.png").is_file()
    alone = cnnviz("saliency", *NET, "c.png", "--target", "green")
    assert alone.exit_code == 2
    assert "wins no pixel of this picture" in alone.stderr


def test_the_report_s_command_says_it_on_the_page(cnnviz, folder, files):
    found = cnnviz("report", *NET, "a.png", "c.png", "--target", "green", "--sections", "maps", "--methods", "saliency")
    assert found.exit_code == 1
    assert "'green' wins no pixel of 'c.png'" in found.stderr
    assert "wins no pixel of" in (folder / "report.html").read_text()


def test_areas_are_saved_as_masks(cnnviz, folder, files):
    found = cnnviz("predict", *NET, "a.png", "b.png", "--masks", "masks", "--json")
    assert found.exit_code == 0, found.output
    assert [one["mask"] for one in json.loads(found.stdout)] == ["masks/a.mask.png", "masks/b.mask.png"]
    assert np.unique(np.asarray(Image.open(folder / "masks/b.mask.png"))).tolist() == [0, 2]
    again = cnnviz("predict", *NET, "a.png", "--masks", "masks")
    assert again.exit_code == 1
    assert "exists already" in again.stderr
    whole = cnnviz("predict", "--model", "shapes-resnet", "a.png", "--masks", "others")
    assert whole.exit_code != 0
    assert "leave out --masks" in whole.stderr
    assert not (folder / "others").exists()
