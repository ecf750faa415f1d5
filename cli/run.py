"""The run that commands share: the network, the pictures read one by one, the answers written, failures said last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import click

import cnnviz
from cnnviz.errors import NowhereError, PictureError

from .errors import FAILED, say_error
from .output import Console, echo

__all__ = ["Entries", "PictureFiles", "batch_of", "open_model", "run"]

NumberedPicture: TypeAlias = "tuple[int, cnnviz.Picture]"
"""A picture with its number among all that were given."""

Entries: TypeAlias = Iterable[dict[str, Any]]
"""What there is to say about some pictures, as the JSON document has it."""


class Checked(Protocol):
    """A result that says what the user should know about it."""

    @property
    def checks(self) -> tuple[str, ...]:
        """One sentence each."""
        ...


AT_ONCE = 32
"""Pictures held in memory, where nothing says how many."""

Answer = TypeVar("Answer", bound=Checked)


def open_model(values: Mapping[str, Any]) -> cnnviz.Model:
    """The network that the shared options describe."""
    names = ("weights", "labels", "mean", "std", "input_size", "value_range", "head", "grid", "device", "seed")
    given = {name: values[name] for name in names}
    return cnnviz.load_model(values["model"], output=values["logits"], **given)


def batch_of(values: Mapping[str, Any]) -> int:
    """How many pictures are held in memory at once: the batch size, where it was given."""
    return values.get("batch_size") or AT_ONCE


class PictureFiles:
    """The pictures given to a command; a folder stands for the pictures in it.

    Args:
        images: Files and folders.
        value_range: The values of pictures that stand for 0 and 1, where that was given.

    Attributes:
        files: All picture files, in order.
        failures: A sentence for everything that could not be used so far.
    """

    def __init__(self, images: Sequence[str], value_range: tuple[float, float] | None = None) -> None:
        self._value_range = value_range
        self.files: list[Path] = []
        self.failures: list[str] = []
        for image in images:
            try:
                self.files += cnnviz.expand_paths([image])
            except PictureError as error:
                self.failures.append(str(error))

    def batches(self, size: int, model: Callable[[], cnnviz.Model]) -> Iterator[list[NumberedPicture]]:
        """The pictures that can be read and fed to the network, so many at a time.

        Args:
            size: Most pictures at a time.
            model: Opens the network; called once there is a picture for it.
        """
        batch: list[NumberedPicture] = []
        for number, file in enumerate(self.files):
            try:
                picture = cnnviz.read_picture(file, value_range=self._value_range)
                model().preprocess.geometry(picture)
            except PictureError as error:
                self.failures.append(str(error))
                continue
            batch.append((number, picture))
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch


def _ask_where_there(
    ask: Callable[[list[cnnviz.Picture]], Answer], batch: list[NumberedPicture], pictures: PictureFiles
) -> tuple[list[NumberedPicture], Answer | None]:
    """The answer about the pictures that have the class that is asked about; the others are among the failures.

    Raises:
        NowhereError: If there is only one picture.
    """
    while batch:
        try:
            return batch, ask([picture for _, picture in batch])
        except NowhereError as error:
            if len(pictures.files) == 1:
                raise
            pictures.failures.append(str(error))
            lost = {row * len(batch) // error.count for row in error.rows}
            batch = [each for row, each in enumerate(batch) if row not in lost]
    return batch, None


def run(
    pictures: PictureFiles,
    values: Mapping[str, Any],
    ask: Callable[[cnnviz.Model, list[cnnviz.Picture]], Answer],
    write: Callable[[Console, list[int], Answer], Entries],
    *,
    at_once: int,
    document: Callable[[list[dict[str, Any]]], Any] = list,
    text: Callable[[list[dict[str, Any]]], str] | None = None,
) -> None:
    """Ask the network about all pictures, write each answer, and end with exit code 1 if any picture failed.

    Args:
        pictures: The pictures.
        values: What the command line gave.
        ask: Called with the network and pictures.
        write: Called with the pictures' numbers and the answer about them: writes and names files, gives the entries.
        at_once: Most pictures at a time.
        document: Makes the JSON document of all entries.
        text: Makes what is printed where no JSON is asked for; left out, nothing is but the files' names.
    """
    model = cache(partial(open_model, values))
    entries: list[dict[str, Any]] = []
    with Console(len(pictures.files), values) as console:
        for batch in pictures.batches(at_once, model):
            with console.progress(len(batch)):
                answered, answer = _ask_where_there(partial(ask, model()), batch, pictures)
            if answer is None:
                continue
            console.note(answer.checks)
            entries += write(console, [number for number, _ in answered], answer)
        console.document = document(entries)
    if text and not values["as_json"]:
        echo(text(entries))
    for sentence in pictures.failures:
        say_error(sentence)
    if pictures.failures:
        click.get_current_context().exit(FAILED)
