"""What a command is given: the network, and pictures read one by one, going on after a bad one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cnnviz
from cnnviz.errors import PictureError

from .failing import say_error

__all__ = ["Given", "open_model"]

Batch = list[tuple[int, "cnnviz.Picture"]]
"""Pictures with their numbers among all that were given."""


def open_model(values: Mapping[str, Any]) -> cnnviz.Model:
    """The network that the shared options describe."""
    names = ("weights", "labels", "mean", "std", "input_size", "device", "seed")
    given = {name: values[name] for name in names}
    return cnnviz.load_model(values["model"], output=values["logits"], **given)


class Given:
    """The pictures given to a command; a folder stands for the pictures in it.

    Args:
        images: Files and folders.

    Attributes:
        files: All picture files, in order.
        failures: A sentence for everything that could not be used so far.
    """

    def __init__(self, images: Sequence[str]) -> None:
        self.files: list[Path] = []
        self.failures: list[str] = []
        for image in images:
            try:
                self.files += cnnviz.expand_paths([image])
            except PictureError as error:
                self.failures.append(str(error))

    def batches(self, size: int, model: Callable[[], cnnviz.Model]) -> Iterator[Batch]:
        """The pictures that can be read and fed to the network, so many at a time.

        Args:
            size: Most pictures at once.
            model: Opens the network; called only when there is a picture for it.
        """
        opened, batch = cache(model), Batch()
        for number, file in enumerate(self.files):
            try:
                picture = cnnviz.read_picture(file)
                opened().preprocess.geometry(picture)
            except PictureError as error:
                self.failures.append(str(error))
                continue
            batch.append((number, picture))
            if len(batch) == size:
                yield batch
                batch = Batch()
        if batch:
            yield batch

    def say_failures(self) -> bool:
        """Say on stderr what could not be used; whether there is anything."""
        for sentence in self.failures:
            say_error(sentence)
        return bool(self.failures)
