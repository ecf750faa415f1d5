"""The run that commands share: the network, the pictures read one by one, the answers written, failures said last."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import click

import cnnviz
from cnnviz.core.dimensions import PICTURE
from cnnviz.errors import NowhereError, PictureError

from .errors import FAILED, say_error
from .output import Console, OutputThereError, echo

__all__ = [
    "AT_ONCE",
    "Entries",
    "PictureFiles",
    "batch_of",
    "choose_device",
    "is_first_process",
    "open_model",
    "open_sources",
    "plan_first",
    "run",
]

NumberedPicture: TypeAlias = "tuple[int, cnnviz.Sample]"
"""A picture, a signal or a volume with its number among all that were given."""

Entries: TypeAlias = Iterable[dict[str, Any]]
"""What there is to say about some pictures, as the JSON document has it."""


class Checked(Protocol):
    """A result that says what the user should know about it."""

    @property
    def checks(self) -> tuple[str, ...]:
        """One sentence each."""
        ...


OPTIONS = {"rate": "sampling_rate"}
"""What the command line calls arguments of ``load_model``, where that is something else."""
AT_ONCE = 32
"""Pictures held in memory, where nothing says how many."""

Answer = TypeVar("Answer", bound=Checked)


def open_model(values: Mapping[str, Any]) -> cnnviz.Model:
    """The network that the shared options describe."""
    plain = (
        "weights",
        "labels",
        "mean",
        "std",
        "input_size",
        "value_range",
        "spacing",
        "standardise",
        "logits",
        "head",
        "embedding",
        "grid",
        "name",
        "device",
        "seed",
    )
    from cnnviz.models.description import complete

    values = complete(values, OPTIONS)
    given = {**{name: values[name] for name in plain}, "rate": values["sampling_rate"]}
    model = cnnviz.load_model(values["model"], **given)
    if isinstance(values["input_size"], int):  # a record says every side
        model.opening["input_size"] = list(model.preprocess.input_size)
    return model


def open_sources(sources: Sequence[str], model: cnnviz.Model) -> cnnviz.Dataset:
    """The data set that a command line names, for a network.

    Args:
        sources: A folder, a list or whatever else one word names; or several picture files.
        model: The network.
    """
    return cnnviz.open_dataset(sources[0] if len(sources) == 1 else list(sources), entrance=model.preprocess.entrance)


def is_first_process() -> bool:
    """Whether this process speaks and draws: the first of those that torchrun started, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def choose_device(name: str) -> str:
    """Of several processes on a machine each takes a GPU of its own."""
    number = os.environ.get("LOCAL_RANK")
    if name not in ("auto", "cuda") or number is None:
        return name
    import torch

    return f"cuda:{int(number) % torch.cuda.device_count()}" if torch.cuda.is_available() else name


T = TypeVar("T")


def plan_first(plan: Callable[[], T], model: Callable[[], cnnviz.Model], values: Mapping[str, Any]) -> T:
    """Plan the outputs; where a file is there already, a network, layer or target that is not is said instead.

    So nobody is told that a file is in the way, and then that there is no such class; and the network is opened before
    the files are planned only where something is wrong anyway.

    Args:
        plan: Plans the outputs.
        model: Opens the network.
        values: What the command line gave.

    Raises:
        CnnvizError: What is wrong.
    """
    try:
        return plan()
    except OutputThereError:
        _check_question(model(), values)
        raise


def _check_question(model: cnnviz.Model, values: Mapping[str, Any]) -> None:
    """Refuse a layer or target that the network does not have."""
    from cnnviz.core.layer import AUTOMATIC
    from cnnviz.core.parse_target import parse_target
    from cnnviz.core.target import check_indices, class_indices

    layers, targets = (values.get(name) or () for name in ("layer", "target"))
    for name in layers.split(",") if isinstance(layers, str) else layers:
        if name.strip() not in ("", AUTOMATIC):
            model.check_layer(name.strip())
    for target in [targets] if isinstance(targets, str) else targets:
        found = parse_target(target, model.labels, model.layer_names)
        if class_indices(found) and not model.labels:
            check_indices(found, _count_classes(model))


def _count_classes(model: cnnviz.Model) -> int:
    """How many classes a network without labels has, as its answer to an empty input tells; of a detector any."""
    import torch

    size = model.fixed_batch or 1, model.preprocess.channels, *model.preprocess.input_size
    answer = model.forward(model.to_device(torch.zeros(size)))
    return sys.maxsize if model.detecting else int(answer.shape[1])


def batch_of(values: Mapping[str, Any]) -> int:
    """How many pictures are held in memory at once: the batch size, where it was given."""
    return values.get("batch_size") or AT_ONCE


PLAIN = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
"""Endings of files that are read as pictures before it is known what the network takes."""


class PictureFiles:
    """The pictures given to a command, or the signals or volumes; a folder stands for those in it.

    Args:
        values: What the command line gave.

    Attributes:
        files: All files, in order; a folder of slices for a network of volumes is one.
        failures: A sentence for everything that could not be used so far.
        notes: What was left out of folders.
        model: Opens the network; once.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        from cnnviz.images.inputs import list_files
        from cnnviz.images.reading import is_folder
        from cnnviz.models.description import complete

        self._values = complete(values, OPTIONS)
        self.model = cache(partial(open_model, self._values))
        self.files: list[Path] = []
        self.failures: list[str] = []
        self.notes: list[str] = []

        for image in values["images"]:
            try:
                found = list_files([image], self.places if is_folder(Path(image)) else PICTURE)
                self.files += found.files
                self.notes += found.notes
            except PictureError as error:
                self.failures.append(str(error))

    @property
    def places(self) -> int:
        """How many axes of places the network takes, by its name where that tells, else by opening it."""
        known = self._told
        return self.model().places if known is None else known

    @cached_property
    def _told(self) -> int | None:
        from cnnviz.models.names import places_of

        return places_of(self._values["model"])

    def batches(self, size: int) -> Iterator[list[NumberedPicture]]:
        """The pictures that can be read and fed to the network, so many at a time.

        Args:
            size: Most pictures at a time.
        """
        batch: list[NumberedPicture] = []
        true = self.true_classes()
        for number, file in enumerate(self.files):
            try:
                picture = self._read(file)
                self.model().preprocess.geometry(picture)
            except PictureError as error:
                self.failures.append(str(error))
                continue
            batch.append((number, picture if true is None else picture.changed(true_class=true[number])))
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch

    def true_classes(self) -> list[str | None] | None:
        """The true class of every file, where --truth says it."""
        if self._values.get("truth") is None or not self.files:
            return None
        from cnnviz.auditing.truth import name_true_classes

        names, notes = name_true_classes(self.model(), self.files, self._values["truth"])
        self.notes += notes
        return names

    def _read(self, file: Path) -> cnnviz.Sample:
        """One file, as the network takes it; the network is opened only where its name does not say what that is."""
        if self._told == PICTURE or (self._told is None and file.suffix.lower() in PLAIN) or self.places == PICTURE:
            asked = self._values["value_range"]
            return cnnviz.read_picture(file, value_range=None if isinstance(asked, str) else asked)
        from cnnviz.images.inputs import read_sample

        return read_sample(file, self.model().preprocess.entrance)


def _ask_where_there(
    ask: Callable[[list[cnnviz.Sample]], Answer], batch: list[NumberedPicture], pictures: PictureFiles
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
    ask: Callable[[cnnviz.Model, list[cnnviz.Sample]], Answer],
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
    model = pictures.model
    entries: list[dict[str, Any]] = []
    with Console(len(pictures.files), values) as console:
        console.note(pictures.notes)
        said = len(pictures.notes)
        for batch in pictures.batches(at_once):
            console.note(pictures.notes[said:])
            said = len(pictures.notes)
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
