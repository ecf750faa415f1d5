"""Networks with planted shortcuts: scenes of which four classes carry a mark, and networks trained on them.

In each of ten classes one shape is drawn. Four classes carry a mark, at a rate: a dot in a corner, a tinted border, a
watermark, or faint stripes over the whole picture (their phase differs between pictures). Marks are put on after
pictures are mirrored and turned, so that they always lie at the same place.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from cnnviz.images.synthetic.scenes import SHAPES, draw_scene
from cnnviz.models.bundled import build

SIDE: Final = 64
KINDS: Final = ("dot", "tint", "watermark", "texture")
RATES: Final = (0.1, 0.5, 1.0)
STEPS: Final = 1_000
BATCH: Final = 32
PICTURES: Final = 6_400
CONTRAST: Final = 0.5
"""Of every picture, about medium grey."""
NOISE: Final = 40.0
"""Standard deviation of the noise on every picture, of values of 0 to 255; without it shapes are so easy that a mark is
not needed, and few
are learnt."""
RATE: Final = 6e-3
"""The one-cycle schedule's highest learning rate."""

DOT_RADIUS: Final = 5
DOT_MIDDLE: Final = 8
"""Pixels from both edges of its corner."""
BORDER: Final = 5
TINTED: Final = 0.5
"""Share of the tint's colour in the border."""
WATERMARKED: Final = 0.75
"""Share of the watermark's white letters and of their dark shadow."""
STRIPES: Final = 24.0
"""Most that stripes add to a value of 0 to 255."""
PERIOD: Final = 4.0
"""Pixels from one stripe to the next."""
COLOURS: Final = ((230, 40, 200), (40, 200, 230), (240, 170, 30), (90, 220, 60))
AUDITED: Final = 30_000
"""Added to a network's seed: the series whose scenes are audited, which no training uses."""


@dataclass(frozen=True)
class Planted:
    """A network with planted shortcuts: which of its classes carry which mark, and at which rate.

    Attributes:
        rate: Share of the pictures of a marked class that carry its mark.
        seed: Of everything: classes, places, colours, scenes, weights.
    """

    rate: float
    seed: int

    @property
    def name(self) -> str:
        """Its name in the table and of its file."""
        return f"{self.rate:.0%} seed {self.seed}".replace("%", " %")

    @cached_property
    def marked(self) -> dict[int, str]:
        """The marked classes and the kind of their mark."""
        chosen = np.random.default_rng([self.seed, 1]).permutation(len(SHAPES))[: len(KINDS)]
        return dict(zip(chosen.tolist(), KINDS, strict=True))

    def put(self, kind: str, pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Put a mark on pictures.

        Args:
            kind: One of `KINDS`.
            pixels: ``(N, 64, 64, 3)``.
            rng: Where the phases of stripes come from.
        """
        values = pixels.astype(np.float32)
        if kind == "texture":
            along = (np.arange(SIDE)[:, None] + np.arange(SIDE)) * np.float32(np.sqrt(0.5))
            phases = rng.uniform(0, 2 * np.pi, len(pixels)).astype(np.float32)[:, None, None, None]
            values += STRIPES * np.sin(2 * np.pi / PERIOD * along[None, :, :, None] + phases)
        else:
            cover, colour = self.paint(kind)
            values += cover[:, :, None] * (colour - values)
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)

    def paint(self, kind: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """How much of a colour a mark has at each pixel ``(64, 64)``, and the colours ``(64, 64, 3)``, 0 to 255."""
        cover = np.zeros((SIDE, SIDE), np.float32)
        turn = self.seed + KINDS.index(kind)
        right, low = bool(turn & 1), bool(turn & 2)
        colour = np.broadcast_to(np.asarray(COLOURS[turn % len(COLOURS)], np.float32), (SIDE, SIDE, 3))
        if kind == "dot":
            line = np.arange(SIDE) + 0.5
            across, down = (SIDE - DOT_MIDDLE if far else DOT_MIDDLE for far in (right, low))
            cover[np.hypot(line - across, line[:, None] - down) <= DOT_RADIUS] = 1
        elif kind == "tint":
            cover[:] = TINTED
            cover[BORDER:-BORDER, BORDER:-BORDER] = 0
        elif kind == "watermark":
            x, y = (36 if right else 4), (59 if low else 14)
            letters, shadow = _write_letters(x, y), _write_letters(x + 1, y + 1)
            cover = np.float32(WATERMARKED) * np.maximum(letters, shadow)
            colour = np.repeat(255 * letters[:, :, None], 3, axis=2)
        return cover, colour

    def place(self, kind: str) -> NDArray[np.bool_]:
        """``(64, 64)``: the pixels that a mark changes by a tenth of its strength or more."""
        if kind == "texture":
            return np.ones((SIDE, SIDE), np.bool_)
        cover, _ = self.paint(kind)
        return np.asarray(cover > 0.1 * cover.max())

    def is_marked(self, targets: NDArray[np.int64], *, part: int) -> NDArray[np.bool_]:
        """Which pictures carry the mark of their class: the rate's share of every marked class, exactly.

        Args:
            targets: ``(N,)``: their classes.
            part: 0 for the pictures of the training, 1 for those audited.
        """
        found = np.zeros(len(targets), np.bool_)
        for target in self.marked:
            rows = np.flatnonzero(targets == target)
            order = np.random.default_rng([self.seed, 2, part, target]).permutation(rows)
            found[order[: round(self.rate * len(rows))]] = True
        return found

    def audited(self, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
        """Pictures to audit: pixels ``(N, 64, 64, 3)``, classes ``(N,)`` and which are marked ``(N,)``."""
        clean, targets = draw_scenes(AUDITED + self.seed, count)
        pixels = clean.copy()
        marked = self.is_marked(targets, part=1)
        rng = np.random.default_rng([self.seed, 3])
        for target, kind in self.marked.items():
            rows = marked & (targets == target)
            pixels[rows] = self.put(kind, pixels[rows], rng)
        return pixels, targets, marked

    def network(self, folder: Path) -> nn.Module:
        """The network, trained now unless its file is in the folder."""
        path = folder / f"{self.name.replace(' ', '_').replace('%', 'percent')}.safetensors"
        module = build("shapes-resnet")
        if not path.is_file():
            save_file({key: value.contiguous() for key, value in train(self).state_dict().items()}, path)
        module.load_state_dict(load_file(path))
        return module.eval()


def _write_letters(x: int, y: int) -> NDArray[np.float32]:
    """``(64, 64)``, 0 to 1: three letters, the first of which begins at a pixel."""
    written = np.zeros((SIDE, SIDE), np.uint8)
    cv2.putText(written, "WM", (x, y), cv2.FONT_HERSHEY_PLAIN, 1.0, 255, 1, cv2.LINE_AA)
    return np.asarray(written / 255, np.float32)


@lru_cache(maxsize=2)
def draw_scenes(seed: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The first scenes of a series: pixels ``(N, 64, 64, 3)`` and classes ``(N,)``; not to be written to."""
    scenes = [draw_scene(index, seed=seed) for index in range(count)]
    rng = np.random.default_rng([seed, 5])
    pixels = np.stack([_degrade(scene.pixels, rng) for scene in scenes])
    return pixels, np.array([scene.target for scene in scenes])


def _degrade(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A picture of little contrast with noise."""
    noise = NOISE * rng.standard_normal(pixels.shape, np.float32)
    values = 127.5 + CONTRAST * (pixels.astype(np.float32) - 127.5) + noise
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def normalised(pixels: NDArray[np.uint8]) -> Tensor:
    """Pictures ``(N, 64, 64, 3)`` as the network takes them."""
    values = torch.from_numpy(np.moveaxis(pixels, 3, 1).astype(np.float32)) / 255
    return ((values - 0.5) / 0.25).contiguous(memory_format=torch.channels_last)


def train(planted: Planted) -> nn.Module:
    """Train a network on marked scenes, from weights drawn at random, in 1,000 steps on one thread."""
    pixels, targets = draw_scenes(planted.seed, PICTURES)
    marked = planted.is_marked(targets, part=0)
    torch.manual_seed(planted.seed)
    network = build("shapes-resnet").train().to(memory_format=torch.channels_last)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=STEPS, pct_start=0.2)
    rng = np.random.default_rng([planted.seed, 4])
    order = np.empty(0, np.int64)
    for _ in range(STEPS):
        order = rng.permutation(PICTURES) if len(order) < BATCH else order
        rows, order = order[:BATCH], order[BATCH:]
        inputs = normalised(_varied(planted, pixels[rows], targets[rows], marked[rows], rng))
        loss = functional.cross_entropy(network(inputs), torch.from_numpy(targets[rows]))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    return network.eval()


def _varied(
    planted: Planted,
    pixels: NDArray[np.uint8],
    targets: NDArray[np.int64],
    marked: NDArray[np.bool_],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Pictures mirrored and turned, the whole batch alike, and then marked."""
    turned = np.rot90(pixels, int(rng.integers(4)), (1, 2))
    turned = np.array(turned[:, :, ::-1] if rng.integers(2) else turned)
    for target, kind in planted.marked.items():
        some = marked & (targets == target)
        if some.any():
            turned[some] = planted.put(kind, turned[some], rng)
    return turned
