"""Small data sets and scans for the tests of patches."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cnnviz.core.picture import Picture
from cnnviz.errors import PictureError
from cnnviz.images.datasets.dataset import Dataset, Keys
from cnnviz.results.patch_index import INDEX_FILE
from tests.support.networks import model_of, settled_norm

SETTINGS = {"layer": "conv,norm,relu,last,last.1", "k": 5, "block": 4, "blocks_a_shard": 2, "samples": 1}
"""What most tests ask: 27 images are 7 blocks, the last of 3 images, in 4 shards, the last of one block."""

COUNT = 27
SHARDS = 4


class Tiny(nn.Module):
    """Two convolutions; the second ends in a ReLU6."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, stride=2)
        self.norm = settled_norm(5)
        self.relu = nn.ReLU(inplace=True)
        self.last = nn.Sequential(nn.Conv2d(5, 4, 3), nn.ReLU6(inplace=True))
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(self.last(self.relu(self.norm(self.conv(x)))).mean(dim=(2, 3)))


def tiny_model():
    """The same network each time, with 16 x 16 inputs."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return model_of(Tiny().eval(), input_size=16)


class Noise(Dataset):
    """Pictures of noise with three classes, some without; given numbers cannot be read.

    Args:
        count: How many.
        corrupt: Numbers of the damaged ones.
        slow: Seconds that one takes.
        twins: Whether every picture is there twice, side by side.
    """

    name = "noise"
    classes = ("a", "b", "c")

    def __init__(self, count=COUNT, *, corrupt=(), slow=0.0, twins=False) -> None:
        self.keys = Keys(f"{index:03}.png" for index in range(count))
        self.corrupt, self.slow, self.twins = frozenset(corrupt), slow, twins

    @property
    def labels(self):
        return np.array([-1 if index % 7 == 6 else index % 3 for index in range(len(self))], np.int32)

    def item(self, index):
        time.sleep(self.slow)
        if index in self.corrupt:
            raise PictureError(f"'{self.keys[index]}' is damaged.")
        number = index // 2 if self.twins else index
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        return Picture(pixels, self.keys[index])

    def mark(self, index):
        return "noise"


def digest(folder) -> str:
    """A hash of the index in a folder."""
    return hashlib.sha256((Path(folder) / INDEX_FILE).read_bytes()).hexdigest()


def forked(work) -> int:
    """A process of its own that does some work; its number."""
    number = os.fork()
    if number:
        return number
    try:
        work()
        os._exit(0)
    finally:
        os._exit(1)


def waited(number: int) -> int:
    """The exit status of a process, once it has ended."""
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
