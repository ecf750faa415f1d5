"""Data sets of what a script holds already: paths, arrays, PIL images, tensors."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnviz.core.dimensions import PICTURE
from cnnviz.core.picture import Picture
from cnnviz.core.sample import Entrance, Sample
from cnnviz.errors import PictureError, UsageError
from cnnviz.images.datasets.dataset import Dataset, Keys
from cnnviz.images.inputs import PICTURES, gather
from cnnviz.images.reading import as_picture, read_picture

if TYPE_CHECKING:
    import torch

__all__ = ["MemoryDataset", "open_memory"]


class MemoryDataset(Dataset):
    """Pictures and network inputs by their number in a sequence; files are read when they are asked for.

    Args:
        items: Paths, pictures and single inputs.
        entrance: What the network takes, and so files are read as.
    """

    name = "images"

    def __init__(self, items: Sequence[Path | Sample | torch.Tensor], entrance: Entrance = PICTURES) -> None:
        self._entrance = entrance
        width = len(str(len(items) - 1))
        self._items = tuple(items)
        self.keys = Keys(f"{index:0{width}} {_item_name(item)}".rstrip() for index, item in enumerate(items))

    def item(self, index: int) -> Sample | torch.Tensor:
        """What was given, as a picture or a float tensor ``(C, H, W)``.

        Raises:
            PictureError: If a file is missing or damaged.
        """
        item = self._items[index]
        if not isinstance(item, Path):
            return item
        try:
            if self._entrance.places != PICTURE:
                return gather(item, self._entrance)[0]
            return read_picture(item, value_range=self._entrance.value_range)
        except PictureError as error:
            raise PictureError(str(error).replace(str(item), item.name)) from error

    def files(self) -> Iterator[Path]:
        """The files among what was given."""
        return (item for item in self._items if isinstance(item, Path))

    def mark(self, index: int) -> str:
        """A file's size in bytes, a picture's hash or that of a tensor's type, shape and values."""
        item = self._items[index]
        if isinstance(item, Sample):
            return item.digest
        if isinstance(item, Path):
            try:
                return str(item.stat().st_size) if item.is_file() else "missing"
            except (OSError, ValueError):  # a name that the system refuses
                return "missing"
        values = item.detach().cpu().double().numpy()
        return hashlib.sha256(f"{item.dtype}{tuple(item.shape)}".encode() + values.tobytes()).hexdigest()


def open_memory(source: Any, entrance: Entrance = PICTURES) -> MemoryDataset:
    """A data set of what methods accept as images.

    Args:
        source: A path, an array, a picture, a tensor, or a sequence of these.
        entrance: What the network takes, and so arrays, tensors and files are read as.

    Raises:
        PictureError: If an array or PIL image is none that can be read.
        UsageError: If there is nothing in it, or something that is no image.
    """
    if not isinstance(source, Sequence):
        return MemoryDataset(gather(source, entrance), entrance)
    items: list[Path | Sample | torch.Tensor] = []
    for number, item in enumerate(source, 1):
        if isinstance(item, (str, os.PathLike)):
            items.append(Path(os.fsdecode(item)))
        else:
            found = gather(item, entrance)
            items += [as_picture(each, f"image {number}") if isinstance(each, Picture) else each for each in found]
    if not items:
        raise UsageError("There are no images: an empty sequence was given.")
    return MemoryDataset(items, entrance)


def _item_name(item: Path | Sample | torch.Tensor) -> str:
    if isinstance(item, Sample):
        return item.name if item.name != "image" else ""
    return item.name if isinstance(item, Path) else ""
