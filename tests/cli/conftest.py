"""The command as it is installed, a tiny network in a file, and pictures; every test runs in a folder of its own."""

from __future__ import annotations

from importlib.metadata import entry_points

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

NETWORKS = """
import torch
from torch import nn

def tiny():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )

class Wrapped(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.net, self.wrap = tiny(), wrap

    def forward(self, x):
        return self.wrap(self.net(x))

def usual_dict():
    return Wrapped(lambda logits: {"logits": logits, "aux": logits})

def strange_dict():
    return Wrapped(lambda logits: {"first": logits, "second": -logits})

def pair():
    return Wrapped(lambda logits: (logits, -logits))

def broken():
    raise RuntimeError("no such thing")

class Interrupted(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = tiny()

    def forward(self, x):
        raise KeyboardInterrupt

"""


@pytest.fixture(scope="session")
def command() -> click.Group:
    """The installed command, found as the console script is."""
    (entry,) = entry_points(group="console_scripts", name="cnnviz")
    loaded = entry.load()
    assert isinstance(loaded, click.Group)
    return loaded


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder with the networks' file and a file of labels."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETWORKS)
    (tmp_path / "labels.txt").write_text("tabby\ntiger cat\ngoldfish\nbald eagle\n")
    return tmp_path


@pytest.fixture
def cnnviz(command):
    """Run the command in this process."""

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(command, [str(argument) for argument in arguments], prog_name="cnnviz")

    return run


@pytest.fixture
def gradcam(cnnviz):
    """Run ``cnnviz gradcam`` with the tiny network."""

    def run(*arguments: object, model: str = "tiny") -> Result:
        network = ("--model", f"nets.py:{model}", "--labels", "labels.txt", "--input-size", 32)
        return cnnviz("gradcam", *network, *arguments)

    return run


@pytest.fixture
def photo(folder):
    """Write a picture of noise and return its name."""

    def write(name: str = "cat.jpg") -> str:
        (folder / name).parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(len(name)).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
        return name

    return write
