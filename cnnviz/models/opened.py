"""What a source of networks hands over, before it becomes a Model."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from torch import nn

from cnnviz.models.preprocess import Preprocess
from cnnviz.probing.outputs import OutputSelector

__all__ = ["RANDOM", "Opened", "one_line", "quiet"]

RANDOM: Final = "the weights are random"


@dataclass(frozen=True)
class Opened:
    """A network as its source opened it.

    Attributes:
        module: The network.
        name: What to call it.
        origin: Where it came from, for provenance; never a folder.
        preprocess: The preprocessing its source knows; None if it knows none.
        labels: Names of the classes, if the source knows them.
        classes: Number of classes, if the source knows it.
        notes: What the user should know about how it was opened.
        assumed: A note on preprocessing that was guessed; said unless mean and std are given.
        output: Which part of the network's output is the logits.
        fixed_batch: The only batch size it takes.
        fixed_size: The only input height and width it takes.
        input_size: Height and width of its input, where there is no preprocessing.
        channels: Its input channels, where they are known.
    """

    module: nn.Module
    name: str
    origin: Mapping[str, Any]
    preprocess: Preprocess | None = None
    labels: Sequence[str] | None = None
    classes: int | None = None
    notes: tuple[str, ...] = field(default=())
    assumed: str = ""
    output: OutputSelector = None
    fixed_batch: int | None = None
    fixed_size: tuple[int, int] | None = None
    input_size: tuple[int, int] | None = None
    channels: int | None = None


@contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Keep libraries' loggers from printing what an error message of ours says in one sentence."""
    known = [logging.getLogger(name) for name in loggers]
    levels = [logger.level for logger in known]
    for logger in known:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(known, levels, strict=True):
            logger.setLevel(level)


def one_line(error: BaseException, most: int = 200) -> str:
    """An exception's kind and message on one line, cut where it is long."""
    said = " ".join(str(error).split())
    kind = type(error).__name__
    text = f"{kind}: {said}" if said else kind
    return text if len(text) <= most else f"{text[: most - 3]}..."
