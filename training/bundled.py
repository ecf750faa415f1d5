"""Train a bundled network, or measure the weights it comes with.

    python training/bundled.py shapes-resnet --threads 2
    python training/bundled.py shapes-resnet --evaluate
    python training/bundled.py shapes-unet --threads 1 --checkpoint unet.pt

The pictures, signals and volumes are drawn, so there is nothing to download: training draws series ``--seed``, the
test set is 4000 (500 for the U-Net and the detector, 1000 for volumes) of a series no training may use. The same seed
and number of threads repeat a run, also one that was stopped and goes on from its checkpoint. The U-Net starts from
the weights of shapes-resnet, the detector from the U-Net's.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from torchvision.ops import generalized_box_iou_loss

from cnnviz.engine.detections import find_detections
from cnnviz.images.synthetic.digits import draw_digit
from cnnviz.images.synthetic.events import draw_signal
from cnnviz.images.synthetic.scenes import draw_scene
from cnnviz.images.synthetic.solids import draw_volume
from cnnviz.models.bundled import BUNDLED, build, weights_path
from cnnviz.models.bundled.networks import PlacesCNN, ShapesDetector, read_candidates

TEST_SEED: Final = 20_000
REPORT_EVERY: Final = 200
REACH: Final = 1.5
"""How many places a detector's place may be away from the middle of a box that it answers for, across and down."""


class Target(Protocol):
    """What has a class, or one for each of its pixels or voxels."""

    @property
    def target(self) -> int | NDArray[np.uint8]:
        """The class index, or those of the pixels ``(H, W)`` or voxels ``(D, H, W)``."""


@runtime_checkable
class Pixels(Target, Protocol):
    """A picture with its class."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """``(size, size, 3)`` or ``(size, size)``."""


class Values(Target, Protocol):
    """A signal or a volume with its class."""

    @property
    def values(self) -> NDArray[np.float32]:
        """``(C, T)`` or ``(C, D, H, W)``."""


class Drawer(Protocol):
    """Draws the picture, signal or volume of an index in a series."""

    def __call__(self, index: int, *, seed: int) -> Pixels | Values:
        """Draw it."""


@dataclass(frozen=True)
class Segmented:
    """A scene with the class of each pixel."""

    pixels: NDArray[np.uint8]
    target: NDArray[np.uint8]


def draw_segmented(index: int, *, seed: int, fewest: int = 2) -> Segmented:
    """Draw a scene of two shapes or three, in turn, or also of one; they have different classes, which tell boxes."""
    scene = draw_scene(index, seed=seed, shapes=fewest + index % (4 - fewest))
    return Segmented(scene.pixels, scene.class_map)


@dataclass(frozen=True)
class Placed:
    """A volume with the class of each voxel."""

    values: NDArray[np.float32]
    target: NDArray[np.uint8]


def draw_placed(index: int, *, seed: int) -> Placed:
    """Draw a volume; 0 where its solid is not, elsewhere 1 more than its class."""
    volume = draw_volume(index, seed=seed)
    return Placed(volume.values, volume.mask * np.uint8(volume.target + 1))


def answer_of(network: nn.Module, inputs: torch.Tensor) -> Any:
    """What a network says of inputs."""
    return network(inputs)


def evidence(network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """For each class and each place of the last map ``(N, K, ...)`` what the logit is the mean of over the places."""
    assert isinstance(network, PlacesCNN)
    maps = network.features(inputs)
    places = network.fc(maps.flatten(2).transpose(1, 2)).transpose(1, 2)
    return torch.as_tensor(places.unflatten(2, maps.shape[2:]))


def classify(answer: Any, wanted: torch.Tensor, background: float | None) -> tuple[torch.Tensor, float]:
    """Cross-entropy of logits of pictures or pixels, and the share of right answers."""
    weights = None if background is None else torch.tensor([background, *[1.0] * (answer.shape[1] - 1)])
    right = float((answer.argmax(1) == wanted).float().mean())
    return functional.cross_entropy(answer, wanted, weights), right


def classify_in_place(answer: Any, wanted: torch.Tensor, _background: float | None) -> tuple[torch.Tensor, float]:
    """The cross-entropy of logits, and of where the right class has its evidence; the share of right answers.

    The softmax of the right class's evidence over the places is to lie where the solid is: to the cross-entropy comes
    0.3 of the negative logarithm of its sum, each place weighted with the solid's share of it over the greatest share.
    """
    names, rows = class_of(wanted), torch.arange(len(wanted))
    logits = answer.flatten(2).mean(2)
    shares = functional.adaptive_avg_pool3d((wanted > 0)[:, None].float(), answer.shape[2:]).flatten(1)
    placed = (answer[rows, names].flatten(1).softmax(1) * shares).sum(1) / shares.amax(1)
    right = float((logits.argmax(1) == names).float().mean())
    return functional.cross_entropy(logits, names) - 0.3 * (placed + 1e-6).log().mean(), right


def class_of(class_maps: torch.Tensor) -> torch.Tensor:
    """The class of the one object in maps ``(N, ...)`` that are 1 more than its class where it is, elsewhere 0."""
    return class_maps.flatten(1).amax(1).long() - 1


def boxes_of(class_maps: torch.Tensor, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """From the classes of pixels ``(N, H, W)`` the box of each class ``(N, K, 4)`` and whether it is there."""
    masks = class_maps[:, None] == torch.arange(1, classes + 1)[:, None, None]
    edges = []
    for along in (masks.any(2).int(), masks.any(3).int()):
        edges += [along.argmax(-1), along.shape[-1] - along.flip(-1).argmax(-1)]
    return torch.stack([edges[0], edges[2], edges[1], edges[3]], -1).float(), masks.flatten(2).any(-1)


def detect(answer: Any, wanted: torch.Tensor, _background: float | None) -> tuple[torch.Tensor, float]:
    """The quality focal loss of a detector's logits and the loss of its boxes, and the share of places named right.

    A place answers for the box whose middle lies within ``REACH`` of it, the nearest of several. Its class's score is
    to be the overlap (IoU) of the box it draws with the right one, all other scores 0. The loss of its box is 1 less
    the generalised IoU.
    """
    logits, boxes = answer["logits"], answer["boxes"]
    known, there = boxes_of(wanted, logits.shape[2])
    side, stride = math.isqrt(logits.shape[1]), ShapesDetector.stride
    line = (torch.arange(side) + 0.5) * stride
    places = torch.stack([line.repeat(side), line.repeat_interleave(side)], -1)
    middles = (known[..., :2] + known[..., 2:]) / 2
    away = (places[:, None] - middles[:, None]).abs().amax(-1).masked_fill(~there[:, None], math.inf)
    nearest, names = away.min(2)
    rows, spots = (nearest < REACH * stride).nonzero(as_tuple=True)
    names = names[rows, spots]
    drawn, right = boxes[rows, spots], known[rows, names]
    scores = torch.zeros_like(logits)
    scores[rows, spots, names] = overlaps(drawn.detach(), right)
    focus = (logits.detach().sigmoid() - scores).square()
    named = functional.binary_cross_entropy_with_logits(logits, scores, focus, reduction="sum") / len(rows)
    placed = generalized_box_iou_loss(drawn, right, reduction="mean")
    return named + 2 * placed, float((logits[rows, spots].argmax(1) == names).float().mean())


def overlaps(some: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Intersection over union of boxes ``(M, 4)``, each with its partner."""
    sides = torch.minimum(some[:, 2:], others[:, 2:]) - torch.maximum(some[:, :2], others[:, :2])
    areas = [(each[:, 2:] - each[:, :2]).clamp_min(0).prod(1) for each in (some, others)]
    shared = sides.clamp_min(0).prod(1)
    return shared / (areas[0] + areas[1] - shared)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        draw: Draws its pictures.
        pictures: How many are drawn.
        epochs: How often each is seen.
        batch: Pictures a step.
        rate: The one-cycle schedule's highest learning rate.
        symmetric: Whether pictures are mirrored and turned by right angles, a batch at a time; of volumes the slices
            are, and their order is.
        start: The bundled network whose weights it starts from where names and shapes agree.
        background: The weight of class 0 in the loss, where the others have 1; None if all weigh the same.
        test: How many pictures the test set has.
        ask: What the loss needs to know of a network's answer to inputs.
        loss: From that, what is wanted and ``background``: the loss, and the share that is right.
    """

    draw: Drawer
    pictures: int
    epochs: int
    batch: int
    rate: float
    symmetric: bool
    start: str | None = None
    background: float | None = None
    test: int = 4_000
    ask: Callable[[nn.Module, torch.Tensor], Any] = answer_of
    loss: Callable[[Any, torch.Tensor, float | None], tuple[torch.Tensor, float]] = classify


RECIPES: Final = {
    "shapes-resnet": Recipe(draw_scene, pictures=30_000, epochs=5, batch=64, rate=6e-3, symmetric=True),
    "shapes-vgg": Recipe(draw_scene, pictures=30_000, epochs=10, batch=64, rate=2e-3, symmetric=True),
    "shapes-unet": Recipe(
        draw_segmented,
        pictures=18_000,
        epochs=6,
        batch=32,
        rate=4e-3,
        symmetric=True,
        start="shapes-resnet",
        background=0.5,
        test=500,
    ),
    "shapes-detector": Recipe(
        partial(draw_segmented, fewest=1),
        pictures=18_000,
        epochs=6,
        batch=32,
        rate=4e-3,
        symmetric=True,
        start="shapes-unet",
        test=500,
        loss=detect,
    ),
    "digits-lenet5": Recipe(draw_digit, pictures=40_000, epochs=6, batch=64, rate=4e-3, symmetric=False),
    "signals-cnn": Recipe(draw_signal, pictures=24_000, epochs=8, batch=64, rate=6e-3, symmetric=False),
    "volumes-cnn": Recipe(
        draw_placed,
        pictures=12_000,
        epochs=6,
        batch=64,
        rate=6e-3,
        symmetric=True,
        test=1_000,
        ask=evidence,
        loss=classify_in_place,
    ),
}


class Progress:
    """Prints the mean loss and the share of right answers every so many steps.

    Args:
        steps: How many steps there will be.
        done: How many there were before.
    """

    def __init__(self, steps: int, done: int = 0) -> None:
        self._steps, self._done = steps, done
        self._started = time.monotonic()
        self._losses: list[float] = []
        self._right: list[float] = []

    def add(self, loss: float, right: float) -> None:
        """Take note of one step: its loss, and the share of its answers that were right."""
        self._losses.append(loss)
        self._right.append(right)
        self._done += 1
        if self._done % REPORT_EVERY == 0:
            mean, share = (sum(values) / len(values) for values in (self._losses, self._right))
            seconds, work = time.monotonic() - self._started, time.process_time()
            print(
                f"{self._done}/{self._steps}  loss {mean:.3f}  right {share:.1%}  {seconds:.0f} s, {work:.0f} s of CPU",
                flush=True,
            )
            self._losses, self._right = [], []


def drawn_set(draw: Drawer, seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw number 0 to ``count - 1`` of a series.

    Returns:
        ``(count, C, ...)``: of pictures uint8, of signals and volumes float16; and their classes ``(count, ...)``.
    """
    inputs, targets = [], []
    for index in range(count):
        drawn = draw(index, seed=seed)
        inputs.append(planes_of(drawn))
        targets.append(np.asarray(drawn.target))
    return torch.from_numpy(np.stack(inputs)), torch.from_numpy(np.stack(targets))


def planes_of(drawn: Pixels | Values) -> NDArray[np.uint8] | NDArray[np.float16]:
    """A picture, signal or volume with its channels first."""
    if isinstance(drawn, Pixels):
        return np.moveaxis(np.atleast_3d(drawn.pixels), 2, 0)
    return drawn.values.astype(np.float16)


def layout(name: str) -> torch.memory_format:
    """The order in memory in which a network's convolutions are quickest."""
    orders = {2: torch.channels_last, 3: torch.channels_last_3d}
    return orders.get(len(BUNDLED[name].input_size), torch.contiguous_format)


def normalised(name: str, planes: torch.Tensor) -> torch.Tensor:
    """Turn pictures ``(N, C, H, W)`` uint8, or values of signals or volumes, into the network's input."""
    shape = -1, *(1 for _ in BUNDLED[name].input_size)
    mean, std = (torch.tensor(each).view(shape) for each in (BUNDLED[name].mean, BUNDLED[name].std))
    values = planes.float() if planes.is_floating_point() else planes.float() / 255
    return ((values - mean) / std).contiguous(memory_format=layout(name))


def initialise(network: nn.Module) -> None:
    """Give convolutions that feed a ReLU the gain they need, and LeNet's the one for tanh."""
    tanh = any(isinstance(module, nn.Tanh) for module in network.modules())
    for module in network.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            if tanh:
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if isinstance(network, ShapesDetector):  # begins with few scores above 0 and boxes of a fair size
        for last, bias in ((network.classifier, -4.0), (network.edges, 3.0)):
            assert last.bias is not None
            nn.init.normal_(last.weight, std=0.01)
            nn.init.constant_(last.bias, bias)


def start_from(network: nn.Module, name: str) -> None:
    """Take over a bundled network's weights where names and shapes agree."""
    own, known = network.state_dict(), load_file(weights_path(name))
    shared = {key: value for key, value in known.items() if key in own and own[key].shape == value.shape}
    network.load_state_dict(shared, strict=False)


def varied(
    pixels: torch.Tensor, targets: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """One of the square's eight symmetries, the same for the whole batch, and for the classes of pixels.

    Of volumes the slices are turned so, and in one of two cases their order too.
    """
    turns, mirrored = divmod(int(torch.randint(8, (), generator=generator)), 2)
    axes = range(-(pixels.dim() - 2), -2)
    reversed_axes = [axis for axis in axes if int(torch.randint(2, (), generator=generator))]

    def vary(planes: torch.Tensor) -> torch.Tensor:
        turned = planes.flip(reversed_axes).rot90(turns, (-2, -1))
        return turned.flip(-1) if mirrored else turned

    return vary(pixels), vary(targets) if targets.dim() > 1 else targets


@dataclass
class Run:
    """A training that can be stopped between two steps and go on.

    Attributes:
        network: What is trained, in training mode.
        optimiser: Its optimiser.
        schedule: That of the learning rate.
        generator: Where the order of the pictures and their symmetries come from.
        order: The pictures of this epoch that are still to come.
        done: Steps behind it.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    generator: torch.Generator
    order: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    done: int = 0

    def save(self, path: Path) -> None:
        """Write all that the next step depends on."""
        parts = {key: getattr(self, key).state_dict() for key in ("network", "optimiser", "schedule")}
        state = {**parts, "generator": self.generator.get_state(), "order": self.order, "done": self.done}
        unfinished = path.with_name(path.name + ".part")
        torch.save(state, unfinished)
        unfinished.replace(path)

    def restore(self, path: Path) -> None:
        """Go on where ``save`` was called."""
        state = torch.load(path, weights_only=True)
        for key in ("network", "optimiser", "schedule"):
            getattr(self, key).load_state_dict(state[key])
        self.generator.set_state(state["generator"])
        self.order, self.done = state["order"], state["done"]


def begin(name: str, seed: int, steps: int) -> Run:
    """Build a network and what trains it."""
    recipe = RECIPES[name]
    torch.manual_seed(seed)
    network = build(name).train().to(memory_format=layout(name))
    initialise(network)
    if recipe.start is not None:
        start_from(network, recipe.start)
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=steps, pct_start=0.2)
    return Run(network, optimiser, schedule, torch.Generator().manual_seed(seed))


def train(name: str, seed: int, checkpoint: Path | None = None) -> nn.Module:
    """Train a network from its start, or from a checkpoint that is there, and return it in eval mode."""
    recipe = RECIPES[name]
    epoch = recipe.pictures // recipe.batch
    steps = recipe.epochs * epoch
    run = begin(name, seed, steps)
    if checkpoint is not None and checkpoint.is_file():
        run.restore(checkpoint)
    pixels, targets = drawn_set(recipe.draw, seed, recipe.pictures)
    progress = Progress(steps, run.done)
    while run.done < steps:
        if run.done % epoch == 0:
            run.order = torch.randperm(recipe.pictures, generator=run.generator)
        chosen, run.order = run.order[: recipe.batch], run.order[recipe.batch :]
        batch, wanted = pixels[chosen], targets[chosen].long()
        if recipe.symmetric:
            batch, wanted = varied(batch, wanted, run.generator)
        loss, right = recipe.loss(recipe.ask(run.network, normalised(name, batch)), wanted, recipe.background)
        run.optimiser.zero_grad()
        torch.autograd.backward(loss)
        run.optimiser.step()
        run.schedule.step()
        run.done += 1
        progress.add(loss.item(), right)
        if checkpoint is not None and run.done % REPORT_EVERY == 0:
            run.save(checkpoint)
    return run.network.eval()


@torch.no_grad()
def mean_precision(name: str, network: nn.Module, least: float) -> float:
    """A detector's average precision on the fixed test set at a least overlap (IoU), the mean over the classes."""
    pixels, maps = drawn_set(RECIPES[name].draw, TEST_SEED, RECIPES[name].test)
    known, there = boxes_of(maps, len(BUNDLED[name].labels))
    found = find_detections(network(normalised(name, pixels)), read_candidates, len(pixels)) or []
    rows = torch.cat([torch.full_like(one.labels, row) for row, one in enumerate(found)])
    boxes, scores, classes = (torch.cat([getattr(one, key) for one in found]) for key in ("boxes", "scores", "labels"))
    fits = there[rows, classes] & (overlaps(boxes, known[rows, classes]) >= least)
    order = scores.argsort(descending=True, stable=True)
    precisions = []
    for index, count in enumerate(there.sum(0).tolist()):
        own = order[classes[order] == index]
        precisions.append(average_precision(fits[own].tolist(), rows[own].tolist(), count))
    return sum(precisions) / len(precisions)


def average_precision(fits: Sequence[bool], rows: Sequence[int], count: int) -> float:
    """The area under precision, made to fall only, by recall.

    Args:
        fits: Whether each detection of a class fits the one box that its picture has of it, the surest first.
        rows: The picture of each; a box that was found counts once.
        count: How many boxes of the class there are.
    """
    met = set[int]()
    hits = []
    for fit, row in zip(fits, rows, strict=True):
        hits.append(fit and row not in met)
        if fit:
            met.add(row)
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best[hits].sum() / count)


@torch.no_grad()
def answers(name: str, network: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """The classes that a network finds in the fixed test set, and the right ones."""
    recipe = RECIPES[name]
    pixels, targets = drawn_set(recipe.draw, TEST_SEED, recipe.test)
    found = torch.cat([network(normalised(name, part)).argmax(1) for part in torch.split(pixels, 250)])
    return found, targets if targets.dim() == found.dim() else class_of(targets)


def mean_iou(found: torch.Tensor, right: torch.Tensor, classes: int) -> float:
    """Intersection over union of all pictures' pixels, a class at a time, and the mean of that over the classes."""
    pairs = torch.bincount(right.flatten().long() * classes + found.flatten(), minlength=classes**2)
    table = pairs.view(classes, classes).double()
    both = table.diag()
    return float((both / (table.sum(0) + table.sum(1) - both)).mean())


def quality(name: str, network: nn.Module) -> str:
    """What the test set says of a network, in words."""
    if isinstance(network, ShapesDetector):
        half, strict = (mean_precision(name, network, least) for least in (0.5, 0.75))
        return f"mean average precision {half:.4f} at IoU .5, {strict:.4f} at .75, on {RECIPES[name].test} scenes"
    found, right = answers(name, network)
    if right.dim() > 1:
        return f"mean IoU {mean_iou(found, right, len(BUNDLED[name].labels)):.4f} on {len(right)} scenes"
    return f"test accuracy {float((found == right).float().mean()):.2%} of {len(right)}"


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
    parser.add_argument("--checkpoint", type=Path, help="written now and then; a run goes on from it if it is there")
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
        network = train(options.name, options.seed, options.checkpoint)
        state = {key: value.contiguous() for key, value in network.state_dict().items()}
        output = options.output or weights_path(options.name)
        save_file(state, output)
        output.chmod(0o644)  # safetensors writes for the owner alone, and a package must be readable by all
    minutes, work = (time.monotonic() - started) / 60, (time.process_time() - worked) / 60
    print(f"{quality(options.name, network)}; {minutes:.1f} min, {work:.1f} min of CPU time", flush=True)


if __name__ == "__main__":
    main()
