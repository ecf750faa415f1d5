"""A small network in a file, pictures in a folder, and a current folder of its own."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import cnnviz

NETWORK = """
import torch
from torch import nn

def tiny():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )
"""
LABELS = "tabby\ntiger cat\ngoldfish\nbald eagle\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder, with the network's file, its labels and three pictures."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "work" / "nets.py").write_text(NETWORK)
    (tmp_path / "work" / "labels.txt").write_text(LABELS)
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (40 + number, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number}.png")
    return tmp_path / "work"


@pytest.fixture
def pictures(tmp_path):
    """The pictures' files."""
    return sorted((tmp_path / "pictures").iterdir())


@pytest.fixture
def tiny():
    """The network opened from its file."""
    return cnnviz.load_model("nets.py:tiny", labels="labels.txt", input_size=32, device="cpu")
