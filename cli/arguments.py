"""What a command is given: the network, and pictures read one by one, going on after a bad one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import cnnviz
from cnnviz.errors import PictureError

from .errors import say_error
from .output import Report

__all__ = ["AT_ONCE", "Given", "open_model"]

Batch = list[tuple[int, "cnnviz.Picture"]]
"""Pictures with their numbers among all that were given."""


class Checked(Protocol):
    """A result that says what the user should know about it."""

    @property
    def checks(self) -> tuple[str, ...]:
        """One sentence each."""
        ...


AT_ONCE = 32
"""Pictures held in memory, where nothing says how many."""

Result = TypeVar("Result", bound=Checked)


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

    def ask(
        self,
        question: Callable[[cnnviz.Model, list[cnnviz.Picture]], Result],
        values: Mapping[str, Any],
        report: Report,
        *,
        at_once: int = AT_ONCE,
    ) -> Iterator[tuple[list[int], Result]]:
        """Ask the network about the pictures, some at a time; it is opened once there is a picture for it.

        Args:
            question: Called with the network and pictures.
            values: What the command line gave, for the network.
            report: Told how far it is.
            at_once: Most pictures at a time.

        Yields:
            Numbers of pictures in ``files``, and the answer about them.
        """
        model = cache(partial(open_model, values))
        for batch in self._batches(at_once, model):
            numbers, pictures = zip(*batch, strict=True)
            with report.over(len(batch)):
                answer = question(model(), list(pictures))
            report.note(answer.checks)
            yield list(numbers), answer

    def say_failures(self) -> bool:
        """Say on stderr what could not be used; whether there is anything."""
        for sentence in self.failures:
            say_error(sentence)
        return bool(self.failures)

    def _batches(self, size: int, model: Callable[[], cnnviz.Model]) -> Iterator[Batch]:
        """The pictures that can be read and fed to the network, so many at a time."""
        batch = Batch()
        for number, file in enumerate(self.files):
            try:
                picture = cnnviz.read_picture(file)
                model().preprocess.geometry(picture)
            except PictureError as error:
                self.failures.append(str(error))
                continue
            batch.append((number, picture))
            if len(batch) == size:
                yield batch
                batch = Batch()
        if batch:
            yield batch
