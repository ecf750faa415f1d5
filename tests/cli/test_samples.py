"""Signals and volumes on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NETWORKS = """
from torch import nn
import torch

def signals():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv1d(2, 8, 5, 2, 2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 3))

def volumes():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv3d(1, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 3))
"""
SIGNALS, VOLUMES = ("--model", "samples.py:signals"), ("--model", "samples.py:volumes")
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def samples(folder):
    """The networks' file, signals, volumes and slices in the current folder."""
    Path("samples.py").write_text(NETWORKS)
    Path("hearts").mkdir()
    for number in range(2):
        np.save(f"hearts/{number}.npy", RNG.normal(size=(2, 100)).astype(np.float32))
    Path("heart.csv").write_text("time,I,II\n" + "\n".join(f"{row / 100},{row % 7},{row % 5}" for row in range(100)))
    np.save("head.npy", RNG.normal(size=(9, 10, 11)).astype(np.float32))
    Path("scan").mkdir()
    for number in range(6):
        Image.fromarray(RNG.integers(0, 256, (10, 12), dtype=np.uint8)).save(f"scan/{number}.png")


def names(result):
    return [entry["image"] for entry in json.loads(result.stdout)]


def test_signals_are_read_one_by_one_and_a_folder_is_those_in_it(cnnviz):
    result = cnnviz("predict", *SIGNALS, "heart.csv", "hearts", "--sampling-rate", 50, "--input-size", 40, "--json")
    assert result.exit_code == 0
    assert names(result) == ["heart.csv", "hearts/0.npy", "hearts/1.npy"]
    for note in (
        "heart.csv: resampled from 100 to 50 Hz",
        "0.npy: the signal does not say its rate",
        "mean 0 and std 1",
    ):
        assert note in result.stderr


def test_a_folder_of_slices_is_one_volume(cnnviz):
    result = cnnviz("predict", *VOLUMES, "scan", "head.npy", "--input-size", "8x8x8", "--standardise", "--json")
    assert result.exit_code == 0
    assert names(result) == ["scan", "head.npy"]
    assert "scan: 6 slices from 0.png to 5.png" in result.stderr
    assert "scan: resized from 6 x 10 x 12 to 8 x 8 x 8 (trilinear)" in result.stderr


def test_what_cannot_be_read_does_not_stop_the_others(cnnviz, photo):
    photo("photo.png")
    bad = ("photo.png", "heart.csv", "absent.nii", "scan/0.png")
    result = cnnviz("predict", *VOLUMES, *bad, "head.npy", "--json")
    assert result.exit_code == 1
    assert names(result) == ["head.npy"]
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == len(bad)
    assert "'photo.png' is a picture, and the network takes volumes." in errors[0]
    assert "'heart.csv' is no volume" in errors[1]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("--input-size", "1x2x3x4"), "is not a size such as 224, 240x320 (height x width) or 64x128x128"),
        (("--input-size", "0x2x3"), "is not a size"),
        (("--spacing", "1x2"), "is not a spacing such as 1.5 or 5x0.7x0.7"),
        (("--spacing", "0"), "is not a spacing"),
        (("--sampling-rate", "0"), "sampling-rate"),
        (("--sampling-rate", "x"), "sampling-rate"),
    ],
)
def test_sizes_and_rates_that_are_none(cnnviz, asked, words):
    result = cnnviz("predict", *VOLUMES, "head.npy", *asked)
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.parametrize(
    ("asked", "words", "code"),
    [
        ((*VOLUMES, "head.npy", "--input-size", "8x8"), "", None),
        ((*VOLUMES, "head.npy", "--spacing", "2"), "does not say how far its voxels lie apart", 0),
        ((*SIGNALS, "heart.csv", "--spacing", "2"), "of a volume", 2),
        (("--model", "nets.py:tiny", "scan", "--sampling-rate", "5"), "rate applies to signals and volumes", 2),
        (("--model", "nets.py:tiny", "scan", "--standardise"), "standardise applies to signals and volumes", 2),
        ((*SIGNALS, "hearts/0.npy", "--mean", "1,2,3"), "mean is", 2),
    ],
)
def test_what_does_not_fit_the_network_is_said_in_a_sentence(cnnviz, asked, words, code):
    result = cnnviz("predict", *asked)
    assert result.exit_code in ((1, 2) if code is None else (code,))
    assert words in result.stderr
    assert "internal error" not in result.stderr
    assert "Traceback" not in result.stderr


def test_a_map_is_saved_and_the_record_says_every_side(cnnviz):
    result = cnnviz("gradcam", *VOLUMES, "head.npy", "--input-size", 8, "-o", "map.npz")
    assert result.exit_code == 0
    with np.load("map.npz") as held:
        note = "".join(str(held[name]) for name in held.files if held[name].dtype.kind in "US")
    assert '"input_size": [8, 8, 8]' in note
