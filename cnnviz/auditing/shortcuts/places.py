"""Places: where a cluster's maps look, and the part of it whose content its pictures have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch.nn.functional import avg_pool2d, interpolate

from cnnviz.auditing.shortcuts.clusters import shrink

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from cnnviz.auditing.shortcuts.common_content import Content

__all__ = ["bounding_box", "common_place", "looked_at", "mean_map"]

LOOKED_AT: Final = 0.5
"""Share of the mean map's maximum from which on a place is looked at."""

DISTINCT: Final = 0.25
"""Share of the greatest distinctness from which on content belongs to the place."""

BY_CHANCE: Final = 3.0
"""Least distinctness times the number of pictures; the mean of pictures that have nothing in common has about 1."""

SMOOTHED: Final = 16
"""Distinctness is averaged over this part of the input's height and width."""


def mean_map(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of positive evidence, every map with the same weight.

    Args:
        maps: ``(N, h, w)``; the squares of each map's positive values are made to sum up to 1.

    Returns:
        ``(h, w)``; zeros where there is no positive evidence.
    """
    rows = shrink(maps, side=max(maps.shape[1:]))
    return np.asarray(rows.mean(axis=0).reshape(maps.shape[1:]), np.float32)


def looked_at(mean: NDArray[np.float32], size: tuple[int, int]) -> Tensor:
    """Where a mean map is at least half its maximum, on the network's input.

    Args:
        mean: ``(h, w)``, not negative.
        size: Height and width of the input.

    Returns:
        ``(H, W)``, True where; nowhere, if the map is zero.
    """
    wide = interpolate(torch.from_numpy(mean)[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    return (wide >= LOOKED_AT * wide.max()) & (wide > 0)


def common_place(looked: Tensor, content: Content, count: int) -> Tensor:
    """The part of a place whose content is most alike in some pictures and unlike others'.

    Distinctness is averaged over a sixteenth of the height and width; what has at least a quarter of the place's
    greatest belongs to it, if it is at least three times what the mean of so many pictures has by chance. Whether it
    means anything, the effects tell.

    Args:
        looked: ``(H, W)``: where the maps look.
        content: What the pictures have in common there.
        count: How many pictures that is.

    Returns:
        ``(H, W)``, True where; nowhere, if nothing is alike.
    """
    height, width = (2 * (side // (2 * SMOOTHED)) + 1 for side in looked.shape)
    smooth = avg_pool2d(
        content.distinctness[None, None], (height, width), 1, (height // 2, width // 2), count_include_pad=False
    )[0, 0]
    within = torch.where(looked, smooth, torch.zeros(()))
    return looked & (within >= max(DISTINCT * float(within.max()), BY_CHANCE / max(count, 1)))


def bounding_box(place: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of a place in pixels of the input, the ends outside it; None if it is nowhere."""
    rows, columns = np.flatnonzero(place.any(axis=1)), np.flatnonzero(place.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
