"""The one converter at the edge: whatever a script or the command line names, as a list of inputs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeGuard

import numpy as np
from PIL import Image

from cnnviz.core.dimensions import KINDS, PICTURE, SIGNAL, VOLUME, count_places, is_one_input, spell_shape
from cnnviz.core.sample import Entrance, Sample
from cnnviz.drawing.notes import is_ours
from cnnviz.errors import PictureError, UsageError
from cnnviz.images.reading import SUFFIXES, ImagesLike, as_picture, is_folder, quoted

if TYPE_CHECKING:
    import torch

__all__ = [
    "PICTURES",
    "expand_paths",
    "gather",
    "holds_volume",
    "input_suffixes",
    "is_many",
    "list_files",
    "read_sample",
]

_ACCEPTED: Final = {
    SIGNAL: "a path, an array (C, T), a Signal, a float tensor (N, C, T), or a list of these",
    PICTURE: "a path, a PIL image, an array, a Picture, a float tensor (N, C, H, W), or a list of these",
    VOLUME: "a path, an array (C, D, H, W), a Volume, a float tensor (N, C, D, H, W), or a list of these",
}
PICTURES: Final = Entrance()
"""What a network takes of which nothing is known but that it takes pictures."""
_NAMES: Final = {SIGNAL: "signal", PICTURE: "image", VOLUME: "volume"}


def gather(images: ImagesLike, entrance: Entrance = PICTURES) -> list[Sample | torch.Tensor]:
    """Make a list of single inputs of whatever a method was given.

    Args:
        images: A path (of a folder: all that lies in it and its folders), a PIL image, an array ``(H, W, 3)`` or a
            batch of them ``(N, H, W, 3)``, a Picture, a float
            tensor, or a list, tuple or other iterable of these. A float tensor is network input, preprocessed already:
            ``(N, C, H, W)`` is N inputs and ``(C, H, W)`` is one, with any number of channels. For networks of signals
            arrays are ``(T,)``, ``(C, T)``, ``(T, C)`` or a batch ``(N, C, T)``, for those of volumes ``(D, H, W)``,
            ``(C, D, H, W)``, ``(D, H, W, C)`` or ``(N, C, D, H, W)``; tensors have as many axes of places.
        entrance: What the network takes.

    Returns:
        For each input its Picture, Signal or Volume, or its tensor ``(C, ...)`` as it was given: same type, device and
        graph. Those without a name are called ``"image 1"``, ``"image 2"`` and so on, or ``"image"`` where there is
        only one.

    Raises:
        PictureError: A file cannot be read, or an array has another shape, type or range.
        UsageError: There is nothing in it, or something that is none of these.
    """
    accepted, word = _ACCEPTED[entrance.places], _NAMES[entrance.places]
    if _is_single(images):
        inputs = list(_split_inputs(images, word, entrance))
    elif isinstance(images, Iterable) and not isinstance(images, (bytes, dict)):
        items = list(images)
        names = [word] if len(items) == 1 else [f"{word} {count}" for count in range(1, len(items) + 1)]
        inputs = [each for item, name in zip(items, names, strict=True) for each in _split_inputs(item, name, entrance)]
    else:
        raise UsageError(f"The {word}s are of type {type(images).__name__}; expected {accepted}.")
    if not inputs:
        raise UsageError(f"There are no {word}s: an empty {type(images).__name__} was given; expected {accepted}.")
    return inputs


def read_sample(path: str | os.PathLike[str], entrance: Entrance) -> Sample:
    """Read one file (or a folder of slices) as the network takes it.

    Raises:
        PictureError: It cannot be read, or is of another kind.
        MissingExtraError: It needs a library that is not installed.
    """
    return _READERS[entrance.places](os.fsdecode(path), "", entrance)


class Listing(NamedTuple):
    """Files that paths stand for.

    Attributes:
        files: In the order of the paths, those of a folder by name.
        notes: What was left out of folders.
    """

    files: list[Path]
    notes: tuple[str, ...] = ()


def expand_paths(paths: Iterable[str], places: int = PICTURE) -> list[Path]:
    """Replace each folder by the picture files in it and in its folders, sorted by name.

    Hidden files are left out, and figures that cnnviz itself wrote.

    Args:
        paths: Files and folders, as given on the command line.
        places: 2 for pictures; 1 for signals; 3 for volumes and clips, of which a folder of slices is a single one.

    Returns:
        Files, in the order given; one that does not exist stays in, for the reader to complain about.

    Raises:
        PictureError: A folder holds no such file, or may not be read.
    """
    return list_files(paths, places).files


def list_files(paths: Iterable[str | os.PathLike[str]], places: int = PICTURE) -> Listing:
    """What :func:`expand_paths` gives, and what it left out.

    Raises:
        PictureError: A folder holds no such file, or may not be read.
    """
    files: list[Path] = []
    notes: list[str] = []
    for path in map(Path, paths):
        if is_many(path, places):
            found = _list_folder(path, places)
            files += found.files
            notes += found.notes
        else:
            files.append(path)
    return Listing(files, tuple(notes))


def is_many(path: Path, places: int) -> bool:
    """Whether it is a folder of inputs, and not one volume in many files."""
    return is_folder(path) and not (places == VOLUME and holds_volume(path))


def holds_volume(folder: Path) -> bool:
    """Whether a folder is one volume: DICOM files or slices lie in it.

    Raises:
        PictureError: It may not be read.
    """
    from cnnviz.images.volumes import holds_slices

    return holds_slices(folder)


def input_suffixes(places: int) -> tuple[str, ...]:
    """File name endings of what a network takes in a folder."""
    if places == SIGNAL:
        from cnnviz.images.signals import SIGNAL_SUFFIXES

        return SIGNAL_SUFFIXES
    if places == VOLUME:
        from cnnviz.images.video import VIDEO_SUFFIXES
        from cnnviz.images.volumes import VOLUME_SUFFIXES

        return (*VOLUME_SUFFIXES, *VIDEO_SUFFIXES, ".gif")
    return SUFFIXES


def _list_folder(folder: Path, places: int) -> Listing:
    from cnnviz.images.datasets.folders import walk_files

    shown, kind, endings = quoted(str(folder)), KINDS[places], input_suffixes(places)
    named = walk_files(folder, endings, holds_volume if places == VOLUME else None)
    found = [path for path in (folder / each for each in named) if path.is_file() or path.is_dir()]
    files = [path for path in found if not is_ours(path)]
    own = len(found) - len(files)
    if not files:
        but = f" but {own} of cnnviz's own figures" if own else ""
        raise PictureError(f"The folder {shown} holds no {kind}{but}; expected files ending in {', '.join(endings)}.")
    name = quoted(folder.resolve().name or "/")
    are = "are cnnviz's own figures" if own > 1 else "is cnnviz's own figure"
    return Listing(files, (f"{own} of {len(found)} files in {name} {are}: left out",) if own else ())


def _is_single(images: Any) -> bool:
    return isinstance(images, (str, os.PathLike, Image.Image, np.ndarray, Sample)) or _is_tensor(images)


def _is_tensor(value: Any) -> TypeGuard[torch.Tensor]:
    """Whether it is a tensor, without importing torch: there is none before something else has imported it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _split_inputs(item: Any, name: str, entrance: Entrance) -> Iterator[Sample | torch.Tensor]:
    places = entrance.places
    if _is_tensor(item):
        yield from _split_tensors(item, name, places)
    elif isinstance(item, Sample):
        yield _check_kind(item, places)
    elif not _is_single(item):
        raise UsageError(f"{name} is of type {type(item).__name__}; expected {_ACCEPTED[places]}.")
    elif isinstance(item, np.ndarray) and count_places(item.shape) == places:
        yield from _split_arrays(item, name, entrance)
    elif isinstance(item, (str, os.PathLike)) and is_many(Path(item), places):
        yield from _read_folder(Path(item), entrance)
    else:
        yield _READERS[places](item, name, entrance)


def _read_folder(folder: Path, entrance: Entrance) -> Iterator[Sample]:
    files, notes = _list_folder(folder, entrance.places)
    for number, file in enumerate(files):
        sample = read_sample(file, entrance)
        yield sample if number else sample.changed(notes=(*sample.notes, *notes))


def _check_kind(sample: Sample, places: int) -> Sample:
    if len(sample.size) != places:
        kind, wanted = KINDS[len(sample.size)], KINDS[places]
        raise UsageError(
            f"{quoted(sample.name)} is a {kind}, and the network takes {wanted}s {spell_shape(places)}; expected "
            f"{_ACCEPTED[places]}."
        )
    return sample


def _as_picture(item: Any, name: str, entrance: Entrance) -> Sample:
    try:
        return as_picture(item, name, value_range=entrance.value_range)
    except PictureError as error:
        if isinstance(item, (str, os.PathLike)) and _holds_no_picture(Path(item)):
            since = "since the network takes pictures, and no signals or volumes"
            raise PictureError(f"{str(error).rstrip('.')}, {since}.") from error
        raise


def _holds_no_picture(path: Path) -> bool:
    """Whether it is a file of a signal or a volume, by its ending."""
    from cnnviz.images.signals import SIGNAL_SUFFIXES
    from cnnviz.images.volumes import VOLUME_SUFFIXES

    name = path.name.lower()
    return name.endswith((*SIGNAL_SUFFIXES, *VOLUME_SUFFIXES)) and not name.endswith(SUFFIXES) and path.is_file()


def _as_signal(item: Any, name: str, entrance: Entrance) -> Sample:
    from cnnviz.images.signals import as_signal, read_signal

    if isinstance(item, np.ndarray):
        return as_signal(item, name, entrance.channels)
    _refuse_image(item, name, SIGNAL)
    return read_signal(item, entrance.channels)


def _as_volume(item: Any, name: str, entrance: Entrance) -> Sample:
    from cnnviz.images.video import as_clip, is_clip, read_clip
    from cnnviz.images.volumes import as_volume, read_volume

    if isinstance(item, np.ndarray):
        return as_clip(item, name, entrance) if entrance.rate else as_volume(item, name, entrance.channels)
    _refuse_image(item, name, VOLUME)
    path = Path(item)
    if not is_folder(path) and is_clip(path):
        return read_clip(path, entrance)
    if entrance.rate is not None:  # a network of clips: slices are frames
        return as_clip(read_volume(path, None), name, entrance)
    return read_volume(path, entrance.channels)


_READERS: Final[dict[int, Callable[[Any, str, Entrance], Sample]]] = {
    SIGNAL: _as_signal,
    PICTURE: _as_picture,
    VOLUME: _as_volume,
}


def _refuse_image(item: Any, name: str, places: int) -> None:
    if isinstance(item, Image.Image):
        raise UsageError(
            f"{name} is a PIL image, and the network takes {KINDS[places]}s; expected {_ACCEPTED[places]}."
        )


def _split_arrays(batch: np.ndarray[Any, Any], name: str, entrance: Entrance) -> Iterator[Sample]:
    if entrance.places == PICTURE and batch.shape[-1] not in (1, 3, 4):
        raise PictureError(
            f"{name} is an array of shape {batch.shape}; expected pictures (N, H, W, 3), or network input as a float "
            "tensor, which torch.from_numpy(array) gives."
        )
    for count, one in enumerate(batch, 1):
        yield _READERS[entrance.places](one, f"{name} {count}" if len(batch) > 1 else name, entrance)


def _split_tensors(tensor: torch.Tensor, name: str, places: int) -> Iterator[torch.Tensor]:
    shape = tuple(tensor.shape)
    if not tensor.is_floating_point():
        advice = "for a picture (C, H, W) pass tensor.permute(1, 2, 0).numpy()"
        raise UsageError(
            f"{name} is a tensor of {tensor.dtype}, but a tensor is network input and expected to be float; "
            f"{advice if places == PICTURE else f'for values of a {KINDS[places]} pass tensor.numpy()'}."
        )
    one = is_one_input(shape, places)
    if not one and count_places(shape) != places:
        batch = spell_shape(places)
        raise UsageError(
            f"{name} is a tensor of shape {shape}; expected network input {batch} or ({batch.removeprefix('(N, ')}."
        )
    yield from [tensor] if one else tensor
