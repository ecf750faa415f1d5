"""The one converter at the edge: whatever a script or the command line names, as a list of inputs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from PIL import Image

from cnnviz.core.dimensions import PICTURE, batch_of, has_places, spell_shape
from cnnviz.core.picture import Picture, ValueRange
from cnnviz.core.sample import Sample
from cnnviz.errors import PictureError, UsageError
from cnnviz.images.reading import SUFFIXES, ImagesLike, as_picture, quoted

if TYPE_CHECKING:
    import torch

__all__ = ["expand_paths", "gather"]

_ACCEPTED = "a path, a PIL image, an array, a Picture, a float tensor (N, C, H, W), or a list of these"
_BATCH_DIMS = 4


def gather(
    images: ImagesLike, value_range: ValueRange | None = None, *, places: int = PICTURE
) -> list[Sample | torch.Tensor]:
    """Make a list of single inputs of whatever a method was given.

    Args:
        images: A path, a PIL image, an array ``(H, W, 3)`` or a batch of them ``(N, H, W, 3)``, a Picture, a float
            tensor, or a list, tuple or other iterable of these. A float tensor is network input, preprocessed already:
            ``(N, C, H, W)`` is N inputs and ``(C, H, W)`` is one, with any number of channels.
        value_range: The values of pictures that stand for 0 and 1; None for those of their kinds.
        places: How many axes of places a tensor's inputs have: 2 of pictures.

    Returns:
        For each input its Picture, or its tensor ``(C, H, W)`` as it was given: same type, device and graph. Pictures
        without a name are called ``"image 1"``, ``"image 2"`` and so on, or ``"image"`` where there is only one.

    Raises:
        PictureError: A picture cannot be read, or an array has another shape, type or range.
        UsageError: There is nothing in it, or something that is none of these.
    """
    if _is_single(images):
        inputs = list(_split_inputs(images, "image", value_range, places))
    elif isinstance(images, Iterable) and not isinstance(images, (bytes, dict)):
        items = list(images)
        names = ["image"] if len(items) == 1 else [f"image {count}" for count in range(1, len(items) + 1)]
        inputs = [
            each
            for item, name in zip(items, names, strict=True)
            for each in _split_inputs(item, name, value_range, places)
        ]
    else:
        raise UsageError(f"The images are of type {type(images).__name__}; expected {_ACCEPTED}.")
    if not inputs:
        raise UsageError(f"There are no images: an empty {type(images).__name__} was given; expected {_ACCEPTED}.")
    return inputs


def expand_paths(paths: Iterable[str]) -> list[Path]:
    """Replace each folder by the picture files in it, sorted by name; hidden files and deeper folders are left out.

    Args:
        paths: Files and folders, as given on the command line.

    Returns:
        Files, in the order given; one that does not exist stays in, for the reader to complain about.

    Raises:
        PictureError: A folder holds no picture file, or may not be read.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        files.extend(_list_pictures(path) if _is_folder(path) else [path])
    return files


def _is_folder(path: Path) -> bool:
    """Whether it is a folder; a name that the system refuses is none, and left for the reader to complain about."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _list_pictures(folder: Path) -> list[Path]:
    shown = quoted(str(folder))
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise PictureError(f"The folder {shown} cannot be read; expected one with picture files.") from error
    visible = (entry for entry in entries if not entry.name.startswith("."))
    files = [entry for entry in visible if entry.suffix.lower() in SUFFIXES and entry.is_file()]
    if not files:
        raise PictureError(f"The folder {shown} holds no picture; expected files ending in {', '.join(SUFFIXES)}.")
    return files


def _is_single(images: Any) -> bool:
    return isinstance(images, (str, os.PathLike, Image.Image, np.ndarray, Sample)) or _is_tensor(images)


def _is_tensor(value: Any) -> TypeGuard[torch.Tensor]:
    """Whether it is a tensor, without importing torch: there is none before something else has imported it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _split_inputs(item: Any, name: str, value_range: ValueRange | None, places: int) -> Iterator[Sample | torch.Tensor]:
    if _is_tensor(item):
        yield from _split_tensors(item, name, places)
    elif isinstance(item, Sample):
        yield item
    elif isinstance(item, np.ndarray) and item.ndim == _BATCH_DIMS:
        yield from _split_pictures(item, name, value_range)
    elif _is_single(item):
        yield as_picture(item, name, value_range=value_range)
    else:
        raise UsageError(f"{name} is of type {type(item).__name__}; expected {_ACCEPTED}.")


def _split_pictures(batch: np.ndarray[Any, Any], name: str, value_range: ValueRange | None) -> Iterator[Picture]:
    if batch.shape[-1] not in (1, 3, 4):
        raise PictureError(
            f"{name} is an array of shape {batch.shape}; expected pictures (N, H, W, 3), or network input as a float "
            "tensor, which torch.from_numpy(array) gives."
        )
    for count, picture in enumerate(batch, 1):
        yield as_picture(picture, f"{name} {count}" if len(batch) > 1 else name, value_range=value_range)


def _split_tensors(tensor: torch.Tensor, name: str, places: int) -> Iterator[torch.Tensor]:
    shape = tuple(tensor.shape)
    if not tensor.is_floating_point():
        raise UsageError(
            f"{name} is a tensor of {tensor.dtype}, but a tensor is network input and expected to be float; for a "
            "picture (C, H, W) pass tensor.permute(1, 2, 0).numpy()."
        )
    batch = batch_of(tensor, places)
    if not has_places(batch, places):
        axes = spell_shape(places), spell_shape(places, images=None)
        raise UsageError(f"{name} is a tensor of shape {shape}; expected network input {' or '.join(axes)}.")
    yield from batch
