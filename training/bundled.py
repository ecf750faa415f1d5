"""Train a bundled network, or measure the weights it comes with.

    python training/bundled.py shapes-resnet --threads 2
    python training/bundled.py shapes-resnet --evaluate

The pictures are drawn, so there is nothing to download: training draws series ``--seed``, the test set is 4000 pictures
of a series no training may use. The same seed and number of threads repeat a run.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F  # noqa: N812

from cnnviz.images.synthetic.digits import draw_digit
from cnnviz.images.synthetic.scenes import draw_scene
from cnnviz.models.bundled import BUNDLED, build, weights_path

TEST_SEED: Final = 20_000
TEST_COUNT: Final = 4_000
REPORT_EVERY: Final = 200


class Drawn(Protocol):
    """A picture with its class."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """``(size, size, 3)`` or ``(size, size)``."""

    @property
    def target(self) -> int:
        """The class index."""


class Drawer(Protocol):
    """Draws the picture of an index in a series."""

    def __call__(self, index: int, *, seed: int) -> Drawn:
        """Draw it."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        draw: Draws its pictures.
        pictures: How many are drawn.
        epochs: How often each is seen.
        batch: Pictures a step.
        rate: The one-cycle schedule's highest learning rate.
        symmetric: Whether pictures are mirrored and turned by right angles, a batch at a time.
    """

    draw: Drawer
    pictures: int
    epochs: int
    batch: int
    rate: float
    symmetric: bool


RECIPES: Final = {
    "shapes-resnet": Recipe(draw_scene, pictures=30_000, epochs=5, batch=64, rate=6e-3, symmetric=True),
    "shapes-vgg": Recipe(draw_scene, pictures=30_000, epochs=10, batch=64, rate=2e-3, symmetric=True),
    "digits-lenet5": Recipe(draw_digit, pictures=40_000, epochs=6, batch=64, rate=4e-3, symmetric=False),
}


class Progress:
    """Prints the mean loss and the share of right answers every so many steps.

    Args:
        steps: How many steps there will be.
        batch: Pictures a step.
    """

    def __init__(self, steps: int, batch: int) -> None:
        self._steps, self._batch = steps, batch
        self._started = time.monotonic()
        self._losses: list[float] = []
        self._right = 0

    def add(self, loss: float, right: int) -> None:
        """Take note of one step."""
        self._losses.append(loss)
        self._right += right
        done = len(self._losses)
        if done % REPORT_EVERY == 0:
            mean, share = sum(self._losses[-REPORT_EVERY:]) / REPORT_EVERY, self._right / REPORT_EVERY / self._batch
            seconds = time.monotonic() - self._started
            print(f"{done}/{self._steps}  loss {mean:.3f}  right {share:.1%}  {seconds:.0f} s", flush=True)
            self._right = 0


def drawn_set(draw: Drawer, seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw pictures 0 to ``count - 1`` of a series: ``(count, C, H, W)`` uint8 and their classes ``(count,)``."""
    pictures = [draw(index, seed=seed) for index in range(count)]
    pixels = np.stack([np.atleast_3d(picture.pixels) for picture in pictures])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.tensor([picture.target for picture in pictures])


def normalised(name: str, pixels: torch.Tensor) -> torch.Tensor:
    """Turn uint8 pictures ``(N, C, H, W)`` into the network's input."""
    mean = torch.tensor(BUNDLED[name].mean).view(-1, 1, 1)
    std = torch.tensor(BUNDLED[name].std).view(-1, 1, 1)
    return ((pixels.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def initialise(network: nn.Module) -> None:
    """Give convolutions that feed a ReLU the gain they need, and LeNet's the one for tanh."""
    tanh = any(isinstance(module, nn.Tanh) for module in network.modules())
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            if tanh:
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def varied(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One of the square's eight symmetries, the same for the whole batch."""
    turns, mirrored = divmod(int(torch.randint(8, (), generator=generator)), 2)
    turned = pixels.rot90(turns, (2, 3))
    return turned.flip(3) if mirrored else turned


def train(name: str, seed: int) -> nn.Module:
    """Train a network from nothing and return it in eval mode."""
    recipe = RECIPES[name]
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    pixels, targets = drawn_set(recipe.draw, seed, recipe.pictures)
    network = build(name).train().to(memory_format=torch.channels_last)
    initialise(network)
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    steps = recipe.epochs * (recipe.pictures // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=steps, pct_start=0.2)
    progress = Progress(steps, recipe.batch)
    for step in range(steps):
        if step % (steps // recipe.epochs) == 0:
            order = torch.randperm(recipe.pictures, generator=generator)
        chosen = order[: recipe.batch]
        order = order[recipe.batch :]
        batch = varied(pixels[chosen], generator) if recipe.symmetric else pixels[chosen]
        logits = network(normalised(name, batch))
        loss = F.cross_entropy(logits, targets[chosen])
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        progress.add(loss.item(), int((logits.argmax(1) == targets[chosen]).sum()))
    return network.eval()


@torch.no_grad()
def accuracy(name: str, network: nn.Module, count: int = TEST_COUNT) -> float:
    """The share of the fixed test set's first ``count`` pictures that a network names right."""
    pixels, targets = drawn_set(RECIPES[name].draw, TEST_SEED, count)
    answers = torch.cat([network(normalised(name, part)).argmax(1) for part in torch.split(pixels, 250)])
    return float((answers == targets).float().mean())


def stored(name: str) -> nn.Module:
    """The network with the weights it comes with."""
    network = build(name)
    network.load_state_dict(load_file(weights_path(name)))
    return network


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--seed", type=int, default=0, help=f"the series trained on; not {TEST_SEED}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--evaluate", action="store_true", help="measure the stored weights instead of training")
    parser.add_argument("--output", type=Path, help="where the weights go; by default into the package")
    options = parser.parse_args()
    if options.seed == TEST_SEED:
        parser.error(f"seed {TEST_SEED} draws the test set")
    return options


def main() -> None:
    """Train or evaluate as the command line asks."""
    options = arguments()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    started, worked = time.monotonic(), time.process_time()
    if options.evaluate:
        network = stored(options.name)
    else:
        network = train(options.name, options.seed)
        state = {key: value.contiguous() for key, value in network.state_dict().items()}
        output = options.output or weights_path(options.name)
        save_file(state, output)
        output.chmod(0o644)  # safetensors writes for the owner alone, and a package must be readable by all
    minutes, work = (time.monotonic() - started) / 60, (time.process_time() - worked) / 60
    share = accuracy(options.name, network)
    print(f"test accuracy {share:.2%} of {TEST_COUNT}; {minutes:.1f} min, {work:.1f} min of CPU time", flush=True)


if __name__ == "__main__":
    main()
