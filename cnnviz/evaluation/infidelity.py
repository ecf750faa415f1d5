"""Infidelity: how well a map predicts what removing a square costs the target's logit."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from cnnviz.errors import ParameterError
from cnnviz.evaluation.faithfulness import ask
from cnnviz.evaluation.metric import Case, check_maps, has_evidence

__all__ = ["draw_squares", "infidelity"]

SAMPLES: Final = 100
PARTS, LARGEST = 28, 10


def infidelity(case: Case, maps: NDArray[np.floating[Any]], *, samples: int = SAMPLES) -> NDArray[np.float64]:
    """Mean squared difference between a map's sum over a square and what the logit loses when the square is removed.

    Yeh et al. 2019, square removal, and captum's ``infidelity(..., normalize=True)``. Lower is better; 0 and above, in
    squared units of the logit, so comparable only within a picture and a network. Each map is first scaled to fit best,
    so that neither its size nor its sign says anything. A random map has about the value of one that only knows the
    squares' areas, as has a constant map. There is no order, so nothing is said of ties; pixels without a value count
    as 0.

    Squares have sides of 1/28 to 10/28 of the shorter side of the picture and lie anywhere in it; a removed pixel is 0
    in all channels of the network's input. All maps of a picture are judged on the same squares.

    Args:
        case: The picture and its target; its seed is that of the squares.
        maps: ``(M, H, W)``.
        samples: How many squares.

    Returns:
        ``(M,)``; NaN for a map without a positive value.
    """
    check_maps(case, maps)
    defined = np.flatnonzero(has_evidence(maps))
    found = np.full(len(maps), np.nan)
    if not len(defined):
        return found
    squares = draw_squares(maps.shape[-2:], samples, case.seed)
    removed = torch.from_numpy(squares).to(case.inputs.device).unsqueeze(1)
    logits = ask(case, case.logit, samples, lambda rows: case.inputs.masked_fill(removed[rows], 0))
    whole = ask(case, case.logit, 1, lambda _: case.inputs.clone())
    lost = whole - logits
    values = np.nan_to_num(maps[defined].astype(np.float64), nan=0.0).reshape(len(defined), -1)
    sums = values @ squares.reshape(samples, -1).T.astype(np.float64)
    powers = (sums**2).mean(axis=1)
    scales = np.where(powers > 0, (sums * lost).mean(axis=1) / np.where(powers > 0, powers, 1), 1)
    found[defined] = ((scales[:, None] * sums - lost) ** 2).mean(axis=1)
    return found


def draw_squares(size: tuple[int, ...], samples: int, seed: int) -> NDArray[np.bool_]:
    """Squares at random, ``(samples, H, W)``: of which sides and where says :func:`infidelity`.

    Raises:
        ParameterError: If there are none.
    """
    if samples < 1:
        raise ParameterError(f"samples must be at least 1; got {samples}.")
    rng = np.random.default_rng(seed)
    height, width = size
    squares = np.zeros((samples, height, width), dtype=bool)
    for square in squares:
        side = max(round(min(size) * rng.integers(1, LARGEST + 1) / PARTS), 1)
        top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
        square[top : top + side, left : left + side] = True
    return squares
