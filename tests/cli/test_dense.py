"""Networks with an answer for every pixel on the command line: areas, regions, records, refusals."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from PIL import Image

import cnnviz as library
from cnnviz.drawing.files import write_pixels
from cnnviz.errors import ModelError, OutputError

CODE = """
import torch
from torch import nn

class Segmenter(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.out = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 3, 1)
        self.out.weight.data *= 9

    def forward(self, x):
        found = self.out(self.conv(x).relu())
        return {"out": nn.functional.interpolate(found, size=x.shape[-2:], mode="bilinear"), "aux": x}

def make():
    return Segmenter()
"""
NET = ("--model", "seg.py:make", "--input-size", "32", "--mean", "0.5", "--std", "0.5", "--labels", "three.txt")


@pytest.fixture(autouse=True)
def files(folder):
    (folder / "seg.py").write_text(CODE)
    (folder / "three.txt").write_text("background\ncat\ndog\n")
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((64, 48), Image.Resampling.BICUBIC).save(folder / "photo.png")
    mask = np.zeros((48, 64), dtype=np.uint8)
    mask[10:30, 20:40] = 255
    Image.fromarray(mask).save(folder / "mask.png")


def test_predict_prints_areas_and_draws_them(cnnviz, folder):
    found = cnnviz("predict", *NET, "photo.png", "-o", "areas.png", "--json")
    assert found.exit_code == 0, found.output
    (entry,) = json.loads(found.stdout)
    assert sum(area["share"] for area in entry["areas"]) == pytest.approx(1)
    assert entry["output"] == "areas.png"
    assert (folder / "areas.png").stat().st_size > 1000
    words = cnnviz("predict", *NET, "photo.png").stdout
    assert f"{entry['areas'][0]['share']:.2%}" in words
    assert "mean probability" in words
    assert library.rerun("areas.png", "again.png", trust=True).identical


@pytest.mark.parametrize("target", ["dog@20,20", "dog in 20,10,40,30", "dog in mask.png"])
def test_a_region_is_explained_and_recorded(cnnviz, folder, target):
    found = cnnviz("gradcam", *NET, "photo.png", "--target", target, "-o", "map.png", "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)[0]["target"] == target
    assert (folder / "map.png").stat().st_size > 1000
    assert json.loads(library.read_note("map.png"))["cnnviz"]["asked"]["target"] == target
    assert library.rerun("map.png", "again.png", trust=True).identical


def test_a_mask_is_found_by_its_content_wherever_it_is_called_now(cnnviz, folder):
    cnnviz("gradcam", *NET, "photo.png", "--target", "dog in mask.png", "-o", "map.png")
    (named,) = json.loads(library.read_note("map.png"))["cnnviz"]["asked"]["files"]
    assert named == {"file": "mask.png", "sha256": hashlib.sha256((folder / "mask.png").read_bytes()).hexdigest()}
    (folder / "away").mkdir()
    (folder / "mask.png").rename(folder / "away" / "other.png")
    Image.new("L", (64, 48), 255).save(folder / "mask.png")
    with pytest.raises(ModelError, match=r"The mask 'mask\.png' .* name it with --images"):
        library.rerun("map.png", "again.png", trust=True)
    assert library.rerun("map.png", "again.png", images=["away"], trust=True).identical
    with pytest.raises(OutputError, match=r"other\.png' is what it is made of"):
        library.rerun("map.png", "away/other.png", images=["away"], trust=True)


def test_a_record_without_the_mask_s_hash_is_refused(cnnviz, folder):
    cnnviz("gradcam", *NET, "photo.png", "--target", "dog in mask.png", "-o", "map.png")
    note = json.loads(library.read_note("map.png"))
    for files in (None, [], [{"file": "../mask.png", "sha256": "0" * 64}], [{"file": "no.png", "sha256": "0" * 64}]):
        note["cnnviz"]["asked"] = {"target": "dog in mask.png", **({} if files is None else {"files": files})}
        write_pixels(folder / "old.png", np.zeros((4, 4, 3), dtype=np.uint8), json.dumps(note))
        with pytest.raises(OutputError, match="a region of a mask which its record does not hold"):
            library.rerun("old.png", "again.png", trust=True)
    note["cnnviz"]["asked"] = {"target": "dog", "files": [{"file": "mask.png", "sha256": "0" * 64}]}
    write_pixels(folder / "old.png", np.zeros((4, 4, 3), dtype=np.uint8), json.dumps(note))
    with pytest.raises(OutputError, match="files are none that its target names"):
        library.rerun("old.png", "again.png", trust=True)


def test_a_record_names_no_folder_of_a_mask(cnnviz, folder):
    found = cnnviz("gradcam", *NET, "photo.png", "--target", f"dog in {folder / 'mask.png'}", "-o", "map.png")
    assert found.exit_code == 0, found.output
    assert json.loads(library.read_note("map.png"))["cnnviz"]["asked"]["target"] == "dog in mask.png"
    assert str(folder) not in str(library.read_note("map.png"))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("wolf@20,20", "There is no label 'wolf'"),
        ("dog@99,20", "the picture is 64x48 pixels"),
        ("dog in nothing.png", "nothing.png"),
        ("dog in seg.py", "seg.py"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(cnnviz, target, words):
    found = cnnviz("saliency", *NET, "photo.png", "--target", target)
    assert found.exit_code != 0
    assert words in found.stderr
    assert "internal error" not in found.stderr


def test_a_whole_answer_has_nothing_to_draw(cnnviz):
    found = cnnviz("predict", "--model", "shapes-resnet", "photo.png", "-o", "no.png")
    assert found.exit_code != 0
    assert "no class for every pixel" in found.stderr
