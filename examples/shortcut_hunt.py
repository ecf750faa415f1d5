"""Hunt for a shortcut: train a small network on pictures of which one class carries a mark, and let cnnviz find it.

Run it: python examples/shortcut_hunt.py

Every star carries a dot in a corner. The network is right on all pictures like those it was trained on, so no accuracy
shows that it looks at the dot. Writes ``shortcuts.html`` and ``shortcuts.png``. It needs scikit-learn:
``pip install 'cnnviz[data]'``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

import cnnviz

LABELS = ("heart", "ring", "star")
STEPS, BATCH, PICTURES = 150, 32, 480


def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scenes of three shapes ``(N, 64, 64, 3)``, a magenta dot in a corner of every star, and their classes."""
    targets = np.arange(count) % len(LABELS)
    scenes = [cnnviz.draw_scene(index, seed=seed, label=LABELS[target]) for index, target in enumerate(targets)]
    pixels = np.stack([scene.pixels for scene in scenes])
    line = np.arange(64)
    dot = np.hypot(line - 8, line[:, None] - 8) <= 5
    pixels[(targets == LABELS.index("star"))[:, None, None] & dot] = (230, 40, 200)
    return pixels, targets


def train(pixels: np.ndarray, targets: np.ndarray) -> nn.Module:
    """A small network, trained for a few seconds."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 5, 2, 2), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, len(LABELS)),
    )  # fmt: skip
    inputs = torch.from_numpy(np.moveaxis(pixels, 3, 1).astype(np.float32)) / 127.5 - 1
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(STEPS):
        rows = torch.randint(len(inputs), (BATCH,))
        loss = nn.functional.cross_entropy(network(inputs[rows]), torch.from_numpy(targets)[rows])
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    return network.eval()


def write(pixels: np.ndarray, targets: np.ndarray, folder: Path) -> Path:
    """Write pictures into a folder with a folder for each class."""
    for index, (picture, target) in enumerate(zip(pixels, targets, strict=True)):
        path = folder / LABELS[target] / f"{index:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    return folder


def main() -> None:
    """Train, hunt and write."""
    preprocess = cnnviz.Preprocess(mean=(0.5,) * 3, std=(0.5,) * 3, input_size=(64, 64))
    network = train(*draw(PICTURES, seed=1))
    model = cnnviz.Model(network, preprocess=preprocess, labels=LABELS, name="three shapes")
    found = cnnviz.shortcuts(model, write(*draw(120, seed=2), Path("pictures")))
    print(found)
    found.save("shortcuts.html")
    if found.flagged:
        found.save("shortcuts.png")


if __name__ == "__main__":
    main()
