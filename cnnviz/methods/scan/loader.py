"""Blocks of images, read in other processes while the network computes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data._utils import signal_handling

from cnnviz.core.change import contextmanager, undoing
from cnnviz.core.sample import Sample
from cnnviz.errors import CnnvizError, PassingPictureError, PictureError, UsageError
from cnnviz.images.datasets.dataset import Dataset
from cnnviz.models.model import Model
from cnnviz.models.preprocess import Preprocess

__all__ = ["Block", "example_shape", "load_blocks"]

MOST_WORKERS = 4
FEW_BLOCKS = 4
DIES: signal.Signals | None = getattr(signal, "SIGCHLD", None)
"""What a process is told of a child's end by, where there is such a signal."""


@dataclass(frozen=True)
class Block:
    """Network inputs that are computed together.

    Attributes:
        number: Which block of the data set it is.
        inputs: ``(B, C, H, W)``; the last block's are filled up by repeating; an image that cannot be read is zeros.
        images: Numbers of the images that could be read, ascending.
        rows: Their rows.
        failures: Number and sentence of those that could not.
        passing: Numbers of those among them that perhaps can be another time.
        fatal: Why the scan cannot go on; empty if it can.
    """

    number: int
    inputs: Tensor
    images: tuple[int, ...]
    rows: tuple[int, ...]
    failures: tuple[tuple[int, str], ...]
    fatal: str = ""
    passing: tuple[int, ...] = ()

    def pin_memory(self) -> Block:
        """The same with its inputs where the GPU fetches them quickly."""
        return replace(self, inputs=self.inputs.pin_memory())


class _BlockReader(TorchDataset[Block]):
    """The blocks of a data set by number; small, so that it is quickly sent to workers."""

    def __init__(self, data: Dataset, preprocess: Preprocess, shape: Sequence[int], block: int) -> None:
        self._data, self._preprocess, self._shape, self._block = data, preprocess, tuple(shape), block

    def __getitem__(self, number: int) -> Block:
        first = number * self._block
        inputs = torch.zeros(self._block, *self._shape)
        images, failures, passing = [], [], []
        for image in range(first, min(first + self._block, len(self._data))):
            try:
                inputs[image - first] = _make_input(self._data, self._preprocess, image, self._shape)
                images.append(image)
            except PictureError as error:
                failures.append((image, str(error)))
                passing += [image] if isinstance(error, PassingPictureError) else []
            except CnnvizError as error:
                return Block(number, inputs, (), (), (), fatal=str(error))
        last = len(images) + len(failures)
        inputs[last:] = inputs[last - 1]
        rows = tuple(image - first for image in images)
        return Block(number, inputs, tuple(images), rows, tuple(failures), passing=tuple(passing))


def load_blocks(
    model: Model, data: Dataset, numbers: Sequence[int], *, shape: Sequence[int], size: int, workers: int | None
) -> Iterator[Block]:
    """Blocks in the order asked for.

    Args:
        model: The network.
        data: The images.
        numbers: Which blocks.
        shape: Channels, height and width of the network's input.
        size: Images in a block.
        workers: Processes that read; 0 reads in this one, None chooses.

    Raises:
        UsageError: If inputs do not fit together.
        PictureError: If a reading process stopped.
    """
    workers = _choose_workers(len(numbers)) if workers is None else min(workers, len(numbers))
    loader = DataLoader(
        _BlockReader(data, model.preprocess, shape, size),
        batch_size=None,
        sampler=list(numbers),
        num_workers=workers,
        pin_memory=model.device.type == "cuda",
        generator=torch.Generator(),  # the user's random numbers stay where they are
    )
    with _reading_blocks(loader) as blocks:
        while True:
            try:
                block = next(blocks)
            except StopIteration:
                return
            except (RuntimeError, ConnectionError, EOFError) as error:
                if not _is_death(error):
                    raise
                raise PictureError(
                    "A process that reads pictures was stopped, perhaps for want of memory; "
                    "with workers=0 they are read in the main process."
                ) from error
            if block.fatal:
                raise UsageError(block.fatal)
            yield block


@contextmanager
def _reading_blocks(loader: DataLoader[Any]) -> Iterator[Iterator[Block]]:
    """A loader's blocks; a reading process that dies is noticed when its block is asked for, seconds later.

    torch itself raises from a signal's handler, wherever this process then is: in a forward of the network, or while
    the network is put back as it was.
    """
    message = DIES if loader.num_workers and threading.current_thread() is threading.main_thread() else None
    before = message and signal.getsignal(message)
    blocks: Any = iter(loader)
    raising = message and signal.getsignal(message)

    def put_back() -> None:
        if loader.num_workers:
            blocks._shutdown_workers()
        if message and raising is not None:
            signal.signal(message, raising)

    with undoing(put_back):
        if message and before is not None:
            torchs = getattr(before, "__module__", None) == signal_handling.__name__
            signal.signal(message, signal.SIG_DFL if torchs else before)
        yield blocks


def _is_death(error: Exception) -> bool:
    """Whether a reading process has died, rather than said what was wrong."""
    message = str(error)
    cut_off = isinstance(error, (ConnectionError, EOFError)) and not message.startswith("Caught ")
    return cut_off or message.startswith("DataLoader worker (pid")


def example_shape(model: Model, data: Dataset) -> tuple[int, ...]:
    """Channels and lengths, of pictures height and width, of the inputs that a data set makes.

    Raises:
        PictureError: If the network takes no pictures.
        UsageError: If a tensor has another number of channels than the network takes.
    """
    preprocess = model.preprocess
    try:
        first = data.item(0)
    except PictureError:
        first = None
    if isinstance(first, Tensor):
        channels, *size = (int(side) for side in first.shape)
        if channels != preprocess.channels:
            raise UsageError(f"'{model.name}' takes {preprocess.channels} channels; the input has {channels}.")
        return channels, *size
    if first is not None:
        values, _ = preprocess(first)
        return tuple(map(int, values.shape))
    return preprocess.channels, *preprocess.input_size


def _make_input(data: Dataset, preprocess: Preprocess, image: int, shape: tuple[int, ...]) -> Tensor:
    item = data.item(image)
    values = preprocess(item)[0] if isinstance(item, Sample) else item.detach()
    if tuple(values.shape) != shape:
        spoken = ", ".join(map(str, sorted([shape, tuple(values.shape)])))
        raise UsageError(f"All inputs of one call must have one size; got {spoken}.")
    return values


def _choose_workers(blocks: int) -> int:
    if blocks < FEW_BLOCKS:
        return 0
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(MOST_WORKERS, max(1, processors // max(beside, 1) - 1))
