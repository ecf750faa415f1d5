"""Hiding windows of one picture, and how much lower that makes the targets' scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.core.target import Target
from cnnviz.methods.baselines import Fill
from cnnviz.methods.regions import Regions
from cnnviz.methods.scorer import Scorer
from cnnviz.probing.chunks import in_slices, part_of_progress
from cnnviz.probing.windows import Windows

__all__ = ["Hiding"]

UNCHANGED = -1
INEXACT = "what a window changes could not be computed alone: the whole network ran for each"


class Hiding:
    """Windows of one picture, ready to be hidden.

    Args:
        scorer: Asks for scores.
        image: ``(C, H, W)`` on the network's device.
        targets: Settled targets.
        windows: The windows.
        fills: What hides them; each window is hidden once with each.
        regions: Answers window by window, where that is cheaper; checked, and left alone if it is not exact.

    Attributes:
        planned: How many windows will be asked for in all, for the progress that is reported.
    """

    def __init__(
        self,
        scorer: Scorer,
        image: Tensor,
        targets: Sequence[Target],
        windows: Windows,
        fills: Sequence[Fill],
        *,
        regions: Regions | None = None,
    ) -> None:
        self.planned, self._done = len(windows), 0
        self._scorer, self._image, self._targets, self._windows, self._fills = scorer, image, targets, windows, fills
        self._clean: Tensor | None = None
        self._sharp = windows.sharp
        self._regions = regions if regions and regions.worth(scorer) and self._exact(regions) else None

    def drops(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """How much lower the scores are with each window hidden, ``(B, T, n)`` for B fills and T targets.

        The unchanged picture is asked together with the first windows, so that equal answers differ by nothing.
        """
        chosen = torch.from_numpy(numbers)
        if self._clean is None:
            chosen = torch.cat([torch.tensor([UNCHANGED]), chosen])
        part = slice(self._done, self._done + len(numbers))
        with part_of_progress(part, max(self.planned, part.stop)):
            found = in_slices(len(self._fills), lambda some: self._scores(chosen, self._fills[some.start]), size=1)
        self._done = part.stop
        scores = torch.stack(found.results)
        if self._clean is None:
            self._clean, scores = scores[:, 0], scores[:, 1:]
        drops: NDArray[np.float64] = (self._clean[:, None] - scores).movedim(1, 2).numpy()
        return drops

    def _scores(self, numbers: Tensor, fill: Fill) -> Tensor:
        regions = self._regions

        def hidden(some: slice) -> Tensor:
            return self._hidden(numbers[some], fill)

        def answer(changed: Tensor, some: slice) -> Tensor:
            assert regions is not None
            return regions(changed, numbers[some])

        return self._scorer.scores(len(numbers), hidden, self._targets, answer if regions else None)

    def _hidden(self, numbers: Tensor, fill: Fill) -> Tensor:
        """The picture with each window hidden, ``(n, C, H, W)``."""
        masks = self._windows.masks(numbers.to(self._image.device))
        seen = fill(masks)
        if self._sharp:
            return torch.where(masks > 0, seen, self._image)
        return self._image + masks.to(self._image.dtype) * (seen - self._image)

    def _exact(self, regions: Regions) -> bool:
        """Whether windows asked about alone, one amid the picture and one in its corner, give the copy's answers."""
        rows, columns = self._windows.shape
        some = torch.tensor([rows // 2 * columns + columns // 2, len(self._windows) - 1])
        exact = regions.exact(self._scorer, self._image, self._hidden(some, self._fills[0]), some)
        if not exact:
            self._scorer.checks += (INEXACT,)
        return exact
