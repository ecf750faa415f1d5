"""load_model: a network by its name, from a file or from code."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.core.change import Locked, contextmanager, undoing
from cnnviz.core.dimensions import VOLUME, Size, spell_size
from cnnviz.core.head import HeadLike, parse_head
from cnnviz.engine.logits import OutputSelector
from cnnviz.engine.state.modes import RANDOM, inference
from cnnviz.engine.undisturbed import intact
from cnnviz.errors import ModelError, ParameterError, UnknownNameError, UsageError
from cnnviz.method import MOST_SEED
from cnnviz.models.assumptions import spread_size
from cnnviz.models.description import complete, is_description
from cnnviz.models.formats import SWOLLEN_ADVICE, TORCHSCRIPT_ADVICE, existing_file, file_kind, looks_like_file
from cnnviz.models.labels import check_name, read_labels
from cnnviz.models.model import Model
from cnnviz.models.names import model_names
from cnnviz.models.origin import OpenedNetwork, describe_opening, names_code, one_line
from cnnviz.models.preprocess import Preprocess
from cnnviz.models.weights import read_checkpoint

__all__ = ["load_model", "model_names", "resolve_device"]


def resolve_device(device: str | torch.device) -> torch.device:
    """The device of that name; ``"auto"`` is CUDA where there is one, and the CPU elsewhere.

    Args:
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or a torch device.

    Raises:
        UsageError: If this machine has no such device; the message lists those it has.
    """
    there = _available_devices()
    name = str(device).lower()
    if name == "auto":
        return torch.device("cuda" if "cuda:0" in there else "cpu")
    if {"cuda": "cuda:0", "cpu:0": "cpu", "mps:0": "mps"}.get(name, name) not in there:
        raise UsageError(f"There is no device '{device}' here; there is {' and '.join(there)}.")
    return torch.device(name)


def _available_devices() -> list[str]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="CUDA initialization", category=UserWarning)
        cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *(f"cuda:{index}" for index in range(cuda)), *mps]


def load_model(
    model: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    labels: Sequence[str] | str | os.PathLike[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    input_size: int | Size | None = None,
    value_range: tuple[float, float] | str | None = None,
    rate: float | None = None,
    spacing: float | Sequence[float] | None = None,
    standardise: bool | None = None,
    logits: OutputSelector = None,
    head: HeadLike = None,
    embedding: str | None = None,
    grid: Size | None = None,
    name: str | None = None,
    device: str | torch.device = "auto",
    seed: int = 0,
) -> Model:
    """Open a network and make it ready to be asked.

    Args:
        model: A bundled or torchvision name, ``timm:NAME``, ``package.module:factory``, ``path/to/file.py:factory``,
            a ``.pt2`` file of ``torch.export``, or a ``.toml`` file that says this and any of what follows, but for
            device and seed; what is given here counts instead. Files that it names are relative to its folder.
        weights: None for the source's own trained weights, one of its names for them, a file (safetensors, state
            dict or training checkpoint), or ``"none"`` for random ones.
        labels: Names of the classes, or a file of them (one a line, or JSON).
        mean: Mean that training subtracted, per channel, on pixels in [0, 1], instead of what the source knows.
        std: Standard deviation it divided by, likewise.
        input_size: Side, or height and width, of the input in pixels, likewise; one length of a signal, three of a
            volume.
        value_range: The values of pictures that stand for 0 and 1, such as ``(0, 4095)``; default: those of their type,
            or of the bits that 16-bit values use. Signals and volumes are then given as they are; of these also
            ``"window"``, that of a DICOM file, or ``"percentiles"``.
        rate: Samples a second of signals, or frames a second of clips, that it was trained with; others are resampled.
        spacing: Millimetres between the slices, rows and columns of volumes that it was trained with, likewise.
        standardise: Whether each channel of a signal or volume gets mean 0 and deviation 1.
        logits: Which part of the network's output is the logits: a key, an index, an attribute, a callable, or
            ``"FILE.py:FUNCTION"``.
        head: What those numbers mean: ``"softmax"``, ``"sigmoid"``, ``"binary"``, ``"probabilities"``, ``"value"`` or
            ``"value:UNIT"``, as :class:`cnnviz.Model` explains; default: it is recognised.
        embedding: The layer whose output ``"similar:FILE"`` compares, likewise; default: the network's output.
        grid: Rows and columns on which the network's tokens lie, where that cannot be recognised.
        name: What to call the network in captions and files; default: the source's own name for it.
        device: ``"auto"`` (CUDA where there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
        seed: Seeds random weights; the caller's random numbers are not disturbed.

    Raises:
        UnknownNameError: If there is no such network, factory or weights name; the message offers the nearest.
        ModelError: If the network cannot be opened.
        WeightsError: If its weights are missing, refused or do not fit.
        MissingExtraError: If a timm network is asked for and timm is not installed.
        UsageError: If there is no such device, the labels are not as many as the classes, or an option does not fit.
    """
    if is_description(model):
        return load_model(**complete(locals()))
    asked = _AskedPreprocess(
        _parse_statistics("mean", mean),
        _parse_statistics("std", std),
        None if input_size is None else _parse_size(input_size),
        value_range,
        rate,
        None if spacing is None else _parse_spacing(spacing),
        standardise,
    )
    head, name = parse_head(head), check_name(name)
    try:
        source = os.fspath(model)
    except TypeError:
        kind = type(model).__name__
        raise UsageError(f"load_model takes a name or a file, not {kind}; expected cnnviz.Model(module).") from None
    from cnnviz.models.sources.factory import load_function

    place = resolve_device(device)
    given = None if labels is None else read_labels(labels)

    def open_network() -> tuple[OpenedNetwork, OutputSelector]:
        with inference(mode=False), torch.enable_grad(), _seed_randomness(seed):
            opened = _open_whole(source, weights, place)
            _check_options(opened, given, asked.input_size)
            _move_to(opened, place)
            return opened, load_function(logits) if isinstance(logits, str) and names_code(logits) else logits

    opened, chosen = intact(open_network)
    ready = _make_model(opened, given, asked, logits=chosen, head=head, embedding=embedding, grid=grid, name=name)
    ready.opening = describe_opening(
        source,
        weights=weights,
        labels=labels,
        mean=mean,
        std=std,
        input_size=input_size,
        logits=logits,
        head=head,
        embedding=embedding,
        value_range=value_range,
        rate=rate,
        spacing=asked.spacing,
        standardise=standardise,
        grid=grid,
        name=name,
        seed=seed,
    )
    return ready


NO_ROOM = "There is not enough memory to open '{name}'{where}."


def _open_whole(name: str, weights: str | os.PathLike[str] | None, place: torch.device) -> OpenedNetwork:
    """The network with its weights.

    Raises:
        ModelError: If there is not enough memory for it, besides what opening it raises.
    """
    try:
        return _open_source(name, weights, place)
    except (RuntimeError, MemoryError, OSError, ImportError) as error:
        if not ran_out_of_memory(error):
            raise
        raise ModelError(NO_ROOM.format(name=name, where="")) from error


def _move_to(opened: OpenedNetwork, place: torch.device) -> None:
    try:
        opened.module.eval().to(place)
    except (RuntimeError, TypeError) as error:
        if ran_out_of_memory(error):
            raise ModelError(NO_ROOM.format(name=opened.name, where=f" on {place}")) from None
        raise ModelError(f"{opened.name} cannot be moved to {place} ({one_line(error)}).") from None


class _AskedPreprocess(NamedTuple):
    """The preprocessing that was asked for, where it is not the source's."""

    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    input_size: int | Size | None
    value_range: tuple[float, float] | str | None
    rate: float | None
    spacing: tuple[float, ...] | None
    standardise: bool | None

    def over(self, known: Preprocess) -> Preprocess:
        """The source's preprocessing with this instead; a new size keeps the share that the crop takes."""
        known = replace(known, mean=self.mean or known.mean, std=self.std or known.std)
        if self.input_size is None:
            return known
        new, old, resize = spread_size(self.input_size, known.places), known.input_size, known.resize
        if len(new) != len(old):
            raise ParameterError(f"input_size is {spell_size(new)}; expected as many lengths as in {spell_size(old)}.")
        if isinstance(resize, int):
            frames = known.rate is not None and known.places == VOLUME
            resize = round(resize * min(new[frames:]) / min(old[frames:]))
        elif isinstance(resize, tuple):
            sides = zip(resize, new[-len(resize) :], old[-len(resize) :], strict=True)  # of frames the last two
            resize = tuple(round(side * own / was) for side, own, was in sides)
        return replace(known, input_size=new, resize=resize, keeps_size=False)


@contextmanager
def _seed_randomness(seed: int) -> Iterator[None]:
    if not -MOST_SEED <= seed <= MOST_SEED:
        raise ParameterError(f"seed must be a whole number from 0 to {MOST_SEED}.")
    with Locked(RANDOM):
        before = torch.get_rng_state()
        with undoing(lambda: torch.set_rng_state(before)):
            torch.default_generator.manual_seed(seed)
            yield


def _open_source(model: str, weights: str | os.PathLike[str] | None, device: torch.device) -> OpenedNetwork:
    """Ask the source that the name belongs to; each is imported only when it is needed."""
    if model.startswith("timm:"):
        from cnnviz.models.sources.timm import open_timm

        return open_timm(model, weights)
    if ":" in model[2:] and not Path(model).is_file():
        from cnnviz.models.sources.factory import open_factory

        return open_factory(model, weights)
    from cnnviz.models.sources.bundled import bundled_names, open_bundled

    if model in bundled_names():
        return open_bundled(model, weights)
    from cnnviz.models.sources.registries import torchvision_registry

    names = torchvision_registry()
    if model in names:
        from cnnviz.models.sources.torchvision import open_torchvision

        return open_torchvision(model, weights)
    if looks_like_file(model):
        return _open_file(model, weights, device)
    raise UnknownNameError(
        "network", model, [*bundled_names(), *names],
        "'cnnviz models' lists them; others open as timm:NAME, PACKAGE.MODULE:FUNCTION, FILE.py:FUNCTION or FILE.pt2.",
    )  # fmt: skip


def _open_file(model: str, weights: str | os.PathLike[str] | None, device: torch.device) -> OpenedNetwork:
    file = existing_file(model, "network file", ModelError)
    if file.suffix.lower() == ".py":
        from cnnviz.models.sources.factory import refuse_bare_file

        raise refuse_bare_file(file)
    kind = file_kind(file)
    if kind == "exported":
        if weights is not None:
            raise UsageError(f"'{file.name}' holds its own weights; leave out the weights '{weights}'.")
        from cnnviz.models.sources.exported import open_exported

        return open_exported(file, device)
    if kind == "torchscript":
        raise ModelError(f"'{file.name}' {TORCHSCRIPT_ADVICE}")
    if kind == "swollen":
        raise ModelError(f"'{file.name}' {SWOLLEN_ADVICE}")
    if kind == "unknown":
        raise ModelError(f"'{file.name}' is not a network that cnnviz knows, or it is damaged; expected a .pt2 file.")
    read_checkpoint(file)
    raise UsageError(f"'{file.name}' holds weights only; name their network as the model and give it as the weights.")


def _check_options(opened: OpenedNetwork, labels: tuple[str, ...] | None, input_size: int | Size | None) -> None:
    if labels is not None and opened.classes is not None and len(labels) != opened.classes:
        raise UsageError(f"{opened.name} has {opened.classes} classes, but the labels given are {len(labels)}.")
    only = opened.fixed_size
    if input_size is not None and only is not None and spread_size(input_size, len(only)) != only:
        size = "x".join(map(str, only))
        raise UsageError(f"{opened.name} was exported for inputs of {size} only; leave out the input size.")


def _make_model(
    opened: OpenedNetwork,
    labels: tuple[str, ...] | None,
    asked: _AskedPreprocess,
    *,
    logits: OutputSelector,
    head: HeadLike,
    embedding: str | None,
    grid: Size | None,
    name: str | None,
) -> Model:
    ready = Model(
        opened.module,
        mean=asked.mean,
        std=asked.std,
        input_size=asked.input_size or opened.input_size,
        channels=opened.channels,
        preprocess=None if opened.preprocess is None else asked.over(opened.preprocess),
        labels=labels if labels is not None else opened.labels,
        value_range=asked.value_range,
        rate=asked.rate,
        spacing=asked.spacing,
        standardise=asked.standardise,
        logits=logits if logits is not None else opened.logits,
        head=head if head is not None else opened.head,
        embedding=embedding if embedding is not None else opened.embedding,
        grid=grid if grid is not None else opened.grid,
        detections=opened.detections if logits is None else None,
        name=name or opened.name,
        fixed_batch=opened.fixed_batch,
        origin=opened.origin,
    )
    assumed = (opened.assumed,) if opened.assumed and (asked.mean is None or asked.std is None) else ()
    ready.notes = (*ready.notes, *assumed, *opened.notes)
    return ready


def _parse_statistics(name: str, values: Sequence[float] | None) -> tuple[float, ...] | None:
    if values is None:
        return None
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        numbers = ()
    if not numbers:
        raise ParameterError(f"{name} is {values!r}; expected a number for each channel.")
    return numbers


def _parse_size(size: int | Size) -> int | Size:
    sides = (size,) if isinstance(size, int) else tuple(size)
    if not 1 <= len(sides) <= VOLUME or min(sides) < 1:
        raise ParameterError(f"input_size is {size}; expected a side, or height and width, of at least 1 pixel.")
    return size if isinstance(size, int) else sides


def _parse_spacing(spacing: float | Sequence[float]) -> tuple[float, ...]:
    """Millimetres along slices, rows and columns; one number stands for all."""
    lengths = _parse_statistics("spacing", spacing if isinstance(spacing, Sequence) else (spacing,)) or ()
    return lengths * VOLUME if len(lengths) == 1 else lengths
