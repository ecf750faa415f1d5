"""Relevance: maps of pictures for their true class, and what the network answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from cnnviz.auditing.shortcuts.common_content import PixelMoments
from cnnviz.auditing.shortcuts.effects import ask_probabilities
from cnnviz.core.target import ClassTarget
from cnnviz.engine.batching import in_slices
from cnnviz.errors import PictureError
from cnnviz.evaluation.explain import ask_maps
from cnnviz.images.datasets.dataset import Dataset, Keys
from cnnviz.methods.scan.loader import example_shape, load_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from cnnviz.core.sample import Sample
    from cnnviz.evaluation.metric import Explain
    from cnnviz.methods.scan.loader import Block
    from cnnviz.models.model import Model

__all__ = ["Relevance", "PartOfDataset", "Reader", "average_places", "choose_pictures", "gather_relevance"]

FINEST: Final = 32
"""Places across and down that maps are averaged to, at most."""


@dataclass(frozen=True, eq=False)
class Relevance:
    """What is known of some pictures, in the order of the data set.

    Attributes:
        images: ``(N,)``: their numbers in the data set.
        classes: ``(N,)``: their true classes.
        maps: ``(N, h, w)`` float32: maps for the true class on the network's input, large ones averaged.
        probabilities: ``(N,)``: of the true class.
        answers: ``(N,)``: the class answered.
        moments: Of all their inputs.
        failures: Number and sentence of pictures that could not be used.
    """

    images: NDArray[np.int64]
    classes: NDArray[np.int64]
    maps: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    answers: NDArray[np.int64]
    moments: PixelMoments
    failures: tuple[tuple[int, str], ...] = ()


class PartOfDataset(Dataset):
    """Some pictures of a data set, by their number among them.

    Args:
        data: The data set.
        images: ``(n,)``: the pictures' numbers in it, ascending.
    """

    def __init__(self, data: Dataset, images: NDArray[np.int64]) -> None:
        self._data, self._images = data, images
        self.name, self.classes = data.name, data.classes
        self.keys = Keys(data.keys[image] for image in images.tolist())

    def item(self, index: int) -> Sample | Tensor:
        """A picture or an input, as the data set has it."""
        return self._data.item(int(self._images[index]))

    def mark(self, index: int) -> str:
        """As the data set marks it."""
        return self._data.mark(int(self._images[index]))


def choose_pictures(classes: NDArray[np.int64], asked: Sequence[int], most: int) -> NDArray[np.int64]:
    """The pictures that are looked at: of every class at most so many, evenly spread over the data set.

    Args:
        classes: ``(N,)``: the true class of every picture.
        asked: The classes that are looked at.
        most: Pictures of a class.

    Returns:
        Their numbers, ascending.
    """
    chosen = []
    for index in asked:
        images = np.flatnonzero(classes == index)
        chosen.append(images[np.unique(np.linspace(0, len(images) - 1, min(most, len(images))).round().astype(int))])
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)


@dataclass(frozen=True)
class Reader:
    """Reads a data set's pictures as the network takes them.

    Attributes:
        model: The network.
        data: The data set.
        block: Pictures read and explained together.
        workers: Processes that read; None chooses.
    """

    model: Model
    data: Dataset
    block: int
    workers: int | None = None

    def blocks(self, images: NDArray[np.int64]) -> Iterator[Block]:
        """Blocks of these pictures, whose ``images`` are their places in what was asked for.

        Args:
            images: Their numbers in the data set, ascending.
        """
        part = PartOfDataset(self.data, images)
        numbers = range(self.count(images))
        yield from load_blocks(self.model, part, numbers, shape=self.shape, size=self.block, workers=self.workers)

    def count(self, images: NDArray[np.int64]) -> int:
        """How many blocks these pictures make."""
        return -(-len(images) // self.block)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width of the network's input."""
        return example_shape(self.model, self.data)

    def inputs(self, images: NDArray[np.int64]) -> Tensor:
        """Inputs ``(n, C, H, W)`` of pictures that could be read before.

        Raises:
            PictureError: If one cannot be read any more.
        """
        found = []
        for block in self.blocks(images):
            if block.failures:
                raise PictureError(block.failures[0][1])
            found.append(block.inputs[list(block.rows)])
        return torch.cat(found)


def gather_relevance(
    reader: Reader, explain: Explain, images: NDArray[np.int64], classes: NDArray[np.int64], *, seed: int = 0
) -> Relevance:
    """Maps and answers of pictures, block by block.

    Args:
        reader: Reads them.
        explain: The method.
        images: ``(n,)``: their numbers in the data set, ascending.
        classes: ``(n,)``: their true classes.
        seed: Of whatever the method draws at random.

    Raises:
        PictureError: If not one picture could be used.
    """
    moments = PixelMoments(reader.shape)
    failures: list[tuple[int, str]] = []
    rows: list[int] = []
    maps: list[NDArray[np.float32]] = []
    answers: list[NDArray[np.float64]] = []
    blocks = reader.blocks(images)

    def ask(_some: slice) -> None:
        block = next(blocks)
        failures.extend((int(images[at]), sentence) for at, sentence in block.failures)
        if block.rows:
            inputs = block.inputs[list(block.rows)]
            targets = [ClassTarget(int(classes[at])) for at in block.images]
            moments.add(inputs)
            maps.append(average_places(ask_maps(explain, reader.model, inputs, targets, seed)))
            answers.append(ask_probabilities(reader.model, inputs, batch_size=reader.block))
            rows.extend(block.images)

    in_slices(reader.count(images), ask, size=1)
    if not rows:
        first = f" The first: {failures[0][1]}" if failures else ""
        raise PictureError(f"No picture of '{reader.data.name}' could be used.{first}")
    found = np.concatenate(answers)
    own = classes[rows]
    return Relevance(
        images[rows],
        own,
        np.concatenate(maps),
        found[np.arange(len(found)), own],
        found.argmax(axis=1).astype(np.int64),
        moments,
        tuple(failures),
    )


def average_places(maps: NDArray[np.float32], most: int = FINEST) -> NDArray[np.float32]:
    """Maps ``(N, H, W)`` averaged to at most so many places across and down; what is no number counts as 0."""
    size = min(most, maps.shape[1]), min(most, maps.shape[2])
    values = torch.from_numpy(np.nan_to_num(maps, nan=0.0, posinf=0.0, neginf=0.0))
    return np.asarray(adaptive_avg_pool2d(values, size).numpy(), np.float32)
