"""A data set whose pictures are known to show a class, as captions name it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.sample import Sample
from cnnviz.images.datasets.dataset import Dataset

if TYPE_CHECKING:
    import torch

__all__ = ["LabelledDataset"]


class LabelledDataset(Dataset):
    """The pictures of another data set, each with its true class.

    Args:
        data: The other.
        true: For each picture its class, as the network's captions name it; None where that is not known.
    """

    def __init__(self, data: Dataset, true: Sequence[str | None]) -> None:
        self._data, self._true = data, tuple(true)
        self.name, self.keys, self.classes, self.notes = data.name, data.keys, data.classes, data.notes

    @property
    def labels(self) -> NDArray[np.int32]:
        """The class of every picture in the other data set, ``(N,)``."""
        return self._data.labels

    def item(self, index: int) -> Sample | torch.Tensor:
        """What a network is given; of a picture with its true class.

        Raises:
            PictureError: If it is missing or damaged.
        """
        item = self._data.item(index)
        return item.changed(true_class=self._true[index]) if isinstance(item, Sample) else item

    def mask(self, index: int) -> NDArray[np.bool_] | None:
        """Where a picture's object is, of a data set that knows it."""
        return self._data.mask(index)

    def mark(self, index: int) -> str:
        """What tells whether a picture was exchanged, and its true class."""
        return f"{self._data.mark(index)}\t{self._true[index] or ''}"

    def files(self) -> Iterator[Path]:
        """The files that it is made of."""
        return self._data.files()
