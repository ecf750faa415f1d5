"""Data sets of the library ``datasets`` (Hugging Face)."""

from __future__ import annotations

import hashlib
import io
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.core.picture import Picture
from cnnviz.errors import MissingExtraError, PassingPictureError, PictureError, UsageError
from cnnviz.images.datasets.dataset import NO_CLASS, Dataset, Keys
from cnnviz.images.datasets.folders import classes_of
from cnnviz.images.reading import as_picture, decode_picture, quoted

__all__ = ["HuggingFaceDataset", "is_hugging_face", "open_hugging_face"]

PICTURE_COLUMNS = ("image", "img", "picture", "jpg", "png")
LABEL_COLUMNS = ("label", "labels", "cls", "class", "fine_label")
PROBES = 16


def is_hugging_face(source: Any) -> bool:
    """Whether it is a table of the library, which need not be imported to tell."""
    return all(hasattr(source, name) for name in ("features", "column_names", "__getitem__", "__len__"))


class HuggingFaceDataset(Dataset):
    """The rows of a ``datasets.Dataset``; the pictures are decoded here, like all others.

    Args:
        table: The rows.
        name: What to call it.

    Raises:
        UsageError: If no column holds pictures.
    """

    def __init__(self, table: Any, name: str = "dataset") -> None:
        self.name = name
        self._column = _find_picture_column(table)
        self._table = _keep_encoded(table, self._column)
        width = len(str(max(len(table) - 1, 0)))
        self.keys = Keys(f"{row:0{width}}" for row in range(len(table)))
        self.classes, self._labels = _read_classes(table)

    @property
    def labels(self) -> NDArray[np.int32]:
        """The class of every row, ``(N,)``; -1 for one without."""
        return self._labels

    def item(self, index: int) -> Picture:
        """A row's picture.

        Raises:
            PictureError: If it is missing or damaged; the message names the row.
        """
        name, held = f"row {range(len(self))[index]}", self._read_cell(index)
        if isinstance(held, bytes):
            return decode_picture(io.BufferedReader(io.BytesIO(held)), name)
        return as_picture(held, name)

    def mark(self, index: int) -> str:  # noqa: ARG002
        """A hash of the number of rows and of the pictures of 16 rows spread over them; to look at all takes long."""
        return self._mark

    def _read_cell(self, index: int) -> Any:
        """A row's picture as the library has it: its bytes, its path, or decoded."""
        row = f"row {range(len(self))[index]}"
        try:
            held = self._table[index][self._column]
        except Exception as error:  # the library decodes here, and a decoder can raise anything
            passing = ran_out_of_memory(error) or (isinstance(error, OSError) and error.errno is not None)
            kind = PassingPictureError if passing else PictureError
            raise kind(f"{row} cannot be read ({' '.join(str(error).split()).rstrip('.')}).") from error
        if isinstance(held, dict):
            held = held["path"] if held.get("bytes") is None else held["bytes"]
        if held is None:
            raise PictureError(f"{row} holds no picture.")
        return held

    @cached_property
    def _mark(self) -> str:
        digest = hashlib.sha256(str(len(self)).encode())
        for row in np.unique(np.linspace(0, len(self) - 1, PROBES).astype(int)):
            try:
                held = self._read_cell(int(row))
                digest.update(held if isinstance(held, bytes) else self.item(int(row)).digest.encode())
            except PictureError as error:
                digest.update(str(error).encode())
        return digest.hexdigest()


def open_hugging_face(text: str) -> HuggingFaceDataset:
    """``"NAME"`` or ``"NAME:SPLIT"``, as ``datasets.load_dataset`` finds it; without a split it is ``train``.

    Raises:
        MissingExtraError: If the library ``datasets`` is not installed.
        UsageError: If it cannot be loaded, or no column holds pictures.
    """
    try:
        import datasets
    except ImportError:
        raise MissingExtraError(f"'hf:{text}'", "datasets") from None
    name, _, split = text.partition(":")
    try:
        table = datasets.load_dataset(name, split=split or "train")
    except Exception as error:  # noqa: BLE001 - whatever the hub, the network and the builder raise
        reason = " ".join(str(error).split()).rstrip(".")
        raise UsageError(
            f"The data set {quoted(name)}, split '{split or 'train'}', does not load ({reason})."
        ) from None
    return HuggingFaceDataset(table, f"hf:{name}:{split or 'train'}")


def _find_picture_column(table: Any) -> str:
    columns = dict(table.features or {})
    typed = [name for name, kind in columns.items() if type(kind).__name__ == "Image"]
    named = [name for name in PICTURE_COLUMNS if name in table.column_names]
    if not typed and not named:
        raise UsageError(f"No column of the data set holds pictures; it has {', '.join(table.column_names)}.")
    return str((typed or named)[0])


def _keep_encoded(table: Any, column: str) -> Any:
    """The same rows, their pictures as bytes where the library can give them so."""
    kind: Any = dict(table.features or {}).get(column)
    if type(kind).__name__ != "Image" or not hasattr(table, "cast_column"):
        return table
    return table.cast_column(column, type(kind)(decode=False))


def _read_classes(table: Any) -> tuple[tuple[str, ...] | None, NDArray[np.int32]]:
    columns = dict(table.features or {})
    typed = [name for name, kind in columns.items() if type(kind).__name__ == "ClassLabel"]
    named = [name for name in LABEL_COLUMNS if name in table.column_names]
    if not typed and not named:
        return None, np.full(len(table), NO_CLASS, dtype=np.int32)
    column = (typed or named)[0]
    values = list(table[column])
    if typed:
        labels = [NO_CLASS if value is None else int(value) for value in values]
        return tuple(columns[column].names), np.array(labels, dtype=np.int32)
    return classes_of([None if value is None else str(value) for value in values], integers=True)
