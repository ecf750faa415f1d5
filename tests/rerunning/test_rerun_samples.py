"""Outputs of signals and volumes are made again from their records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnnviz

NETWORKS = """
import torch
from torch import nn

def signals():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv1d(2, 8, 5, 2, 2), nn.ReLU(), nn.Conv1d(8, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 3),
    )

def volumes():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv3d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv3d(8, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 3),
    )
"""
RNG = np.random.default_rng(0)


@pytest.fixture
def data(tmp_path):
    """A folder with a signal, a volume and a folder of slices; the networks' file in the current folder."""
    Path("samples.py").write_text(NETWORKS)
    made = tmp_path / "data"
    (made / "scan").mkdir(parents=True)
    rows = "\n".join(f"{row / 100},{RNG.normal()},{RNG.normal()}" for row in range(120))
    (made / "heart.csv").write_text(f"time,I,II\n{rows}\n")
    np.save(made / "head.npy", RNG.normal(size=(9, 10, 11)).astype(np.float32))
    for number in range(6):
        Image.fromarray(RNG.integers(0, 256, (10, 12), dtype=np.uint8)).save(made / "scan" / f"{number}.png")
    return made


CASES = {
    "heart.csv": ("signals", {"input_size": (80,), "rate": 80.0, "standardise": True}),
    "head.npy": ("volumes", {"input_size": (8, 8, 8), "value_range": (-3.0, 3.0)}),
    "scan": ("volumes", {"input_size": 8, "mean": (100.0,), "std": (50.0,)}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_map_of_a_sample_is_made_again_from_its_record(data, name):
    network, settings = CASES[name]
    model = cnnviz.load_model(f"samples.py:{network}", device="cpu", **settings)
    cnnviz.gradcam(model, str(data / name)).save("map.npz")
    record = cnnviz.read_note("map.npz")
    found = cnnviz.rerun("map.npz", "again.npz", images=data, trust=True)
    assert found.identical
    assert f'"name": "{name}"' in record
    assert Path("again.npz").read_bytes() == Path("map.npz").read_bytes()


def test_other_values_are_not_the_recorded_ones(data):
    network, settings = CASES["head.npy"]
    model = cnnviz.load_model(f"samples.py:{network}", device="cpu", **settings)
    cnnviz.gradcam(model, str(data / "head.npy")).save("map.npz")
    np.save(data / "head.npy", np.zeros((9, 10, 11), np.float32))
    with pytest.raises(cnnviz.CnnvizError, match=r"head\.npy"):
        cnnviz.rerun("map.npz", "again.npz", images=data, trust=True)


def test_a_clip_is_found_again(data):
    frames = RNG.integers(0, 256, (12, 16, 20), dtype=np.uint8)
    pages = [Image.fromarray(frame) for frame in frames]
    pages[0].save(data / "a.gif", save_all=True, append_images=pages[1:], duration=100)
    model = cnnviz.load_model("samples.py:volumes", input_size=(4, 16, 20), rate=10.0, device="cpu")
    cnnviz.gradcam(model, str(data / "a.gif")).save("map.npz")
    assert cnnviz.rerun("map.npz", "again.npz", images=data, trust=True).identical


@pytest.mark.parametrize("look", [{"slices": 5}, {"axis": "sagittal"}, {"axis": 1, "slices": 3}])
def test_slices_of_a_volume_are_drawn_again(look, tmp_path):
    sample = cnnviz.draw_volume(5).sample
    file = cnnviz.gradcam(cnnviz.load_model("volumes-cnn"), sample).save(tmp_path / "slices.png", **look)
    assert cnnviz.rerun(file, images=sample, out=tmp_path / "again.png").verdict.startswith("identical, byte for byte")
