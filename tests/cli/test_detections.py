"""Detectors on the command line: boxes, one of them explained, records, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import cnnviz as library

CODE = """
import torch
from torch import nn
import cnnviz

class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, 4, 1), nn.ReLU(), nn.Conv2d(6, 6, 3, 2, 1), nn.ReLU())
        self.head = nn.Conv2d(6, 2, 3, padding=1)

    def forward(self, x):
        maps = self.head(self.body(x)) * 8
        rows, columns = torch.meshgrid(torch.arange(maps.shape[2]), torch.arange(maps.shape[3]), indexing="ij")
        middle = torch.stack([columns, rows], dim=-1).reshape(-1, 2).to(x) * 8 + 4
        boxes = torch.cat([middle - 9, middle + 9], dim=1).expand(len(x), -1, -1)
        return boxes, maps.flatten(2).transpose(1, 2).sigmoid()

def read(output):
    return {"boxes": output[0], "scores": output[1]}

def make():
    settings = dict(mean=[0.5] * 3, std=[0.5] * 3, input_size=32, labels=("cat", "dog"))
    return cnnviz.Model(Detector(), detections=read, **settings)
"""
NET = ("--model", "det.py:make")


@pytest.fixture(autouse=True)
def files(folder):
    (folder / "det.py").write_text(CODE)
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((64, 48), Image.Resampling.BICUBIC).save(folder / f"photo{number}.png")


def test_predict_prints_draws_and_writes_boxes(cnnviz, folder):
    found = cnnviz("predict", *NET, "photo0.png", "photo1.png", "--threshold", "0.1", "-o", "boxes.json", "--json")
    assert found.exit_code == 0, found.output
    entries = json.loads(found.stdout)
    assert [entry["image"] for entry in entries] == ["photo0.png", "photo1.png"]
    first = entries[0]["detections"][0]
    assert first["target"] in ("cat #1", "dog #1")
    left, top, right, bottom = first["box"]
    assert 0 <= left < right <= 64
    assert 0 <= top < bottom <= 48
    coco = json.loads((folder / "boxes.json").read_text())
    assert [one["file_name"] for one in coco["images"]] == ["photo0.png", "photo1.png"]
    assert len(coco["annotations"]) == sum(len(entry["detections"]) for entry in entries)
    words = cnnviz("predict", *NET, "photo0.png", "--threshold", "0.1", "-o", "boxes.png").stdout
    assert f"{first['score']:.2%}" in words
    assert first["target"] in words
    assert library.rerun("boxes.png", "again.png", trust=True).identical
    fewer = cnnviz("predict", *NET, "photo0.png", "--threshold", "1")
    assert "nothing above the threshold" in fewer.stdout


@pytest.mark.parametrize("way", ["gradcam", "occlusion", "saliency"])
def test_a_box_is_explained_and_recorded(cnnviz, folder, way):
    found = cnnviz(way, *NET, "photo0.png", "--target", "#2", "-o", "map.png", "--json")
    assert found.exit_code == 0, found.output
    (entry,) = json.loads(found.stdout)
    boxes = json.loads(cnnviz("predict", *NET, "photo0.png", "--threshold", "0", "--json").stdout)[0]["detections"]
    assert entry["target"] == boxes[1]["target"]
    assert entry["box"] == pytest.approx(boxes[1]["box"])
    assert entry["probability"] == pytest.approx(boxes[1]["score"])
    assert json.loads(library.read_note("map.png"))["cnnviz"]["asked"]["target"] == "#2"
    assert library.rerun("map.png", "again.png", trust=True).identical
    assert (folder / "map.png").stat().st_size > 1000


def test_compare_and_report(cnnviz, folder):
    found = cnnviz("compare", *NET, "photo0.png", "--methods", "gradcam,saliency,occlusion", "-o", "side.png")
    assert found.exit_code == 0, found.output
    found = cnnviz("report", *NET, "photo0.png", "-o", "page.html", "--sections", "overview,predictions,maps")
    assert found.exit_code == 0, found.output
    assert "Detections" in (folder / "page.html").read_text()


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("cat #99", "There is no detection 'cat #99' on this picture; there are cat #1"),
        ("kat #1", "There is no label 'kat'"),
        ("cat - dog", "does not apply to detections"),
    ],
)
def test_refusals(cnnviz, target, said):
    found = cnnviz("gradcam", *NET, "photo0.png", "--target", target)
    assert found.exit_code == 2
    assert said in found.stderr
    assert found.stderr.count("\n") == 1


def test_the_wrong_ending(cnnviz):
    found = cnnviz("predict", *NET, "photo0.png", "-o", "boxes.txt")
    assert found.exit_code == 1
    assert ".json" in found.stderr
