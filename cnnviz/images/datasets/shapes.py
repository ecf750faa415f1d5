"""The data set that needs no file: drawn scenes, which are a seed and a range."""

from __future__ import annotations

import re
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.picture import Picture
from cnnviz.core.untrusted import NUMBER
from cnnviz.errors import UsageError
from cnnviz.images.datasets.dataset import Dataset, Keys
from cnnviz.images.synthetic.scenes import SHAPES, draw_scene, scene_target
from cnnviz.method import MOST_SEED

__all__ = ["ShapesDataset", "open_shapes"]

MOST = 10**8
DIGITS = len(str(MOST - 1))
SCENES = re.compile(rf"({NUMBER})(?::({NUMBER})?)?")


class ShapesDataset(Dataset):
    """The first scenes of a seed; picture ``i`` is ``draw_scene(i, seed=seed)``.

    Args:
        count: How many.
        seed: Which series.
    """

    classes = SHAPES

    def __init__(self, count: int, seed: int) -> None:
        self.name = f"shapes:{count}" + (f":{seed}" if seed else "")
        self.keys = Keys(f"{index:0{DIGITS}}" for index in range(count))
        self._seed = seed

    @property
    def labels(self) -> NDArray[np.int32]:
        """The class of every scene's shape, ``(N,)``."""
        return self._labels

    @cached_property
    def _labels(self) -> NDArray[np.int32]:
        return np.array([scene_target(index, seed=self._seed) for index in range(len(self))], dtype=np.int32)

    def item(self, index: int) -> Picture:
        """A scene."""
        place = range(len(self))[index]
        return Picture(draw_scene(place, seed=self._seed).pixels, f"scene {place}")

    def mask(self, index: int) -> NDArray[np.bool_]:
        """The visible pixels of a scene's shape, exactly."""
        return draw_scene(range(len(self))[index], seed=self._seed).mask

    def mark(self, index: int) -> str:  # noqa: ARG002
        """The seed, which together with the key decides over every pixel."""
        return f"scene of seed {self._seed}"


def open_shapes(text: str) -> ShapesDataset:
    """``"5000"`` or, with a seed, ``"5000:7"``.

    Raises:
        UsageError: If it is neither.
    """
    named = SCENES.fullmatch(text)
    if named is None or not 0 < int(named[1]) < MOST or int(named[2] or 0) > MOST_SEED:
        raise UsageError(
            f"'shapes:{text}' is not a data set; expected shapes:COUNT or shapes:COUNT:SEED, as shapes:5000."
        )
    return ShapesDataset(int(named[1]), int(named[2] or 0))
