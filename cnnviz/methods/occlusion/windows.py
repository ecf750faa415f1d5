"""Windows of one picture hidden, and how much lower that makes the targets' scores."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.core.target import Target
from cnnviz.engine.batching import in_slices, part_of_progress
from cnnviz.engine.replay import is_close
from cnnviz.engine.windows.regional import Regional, extents
from cnnviz.engine.windows.route import Route, plan_route
from cnnviz.engine.windows.window import Windows
from cnnviz.errors import CnnvizError
from cnnviz.methods.occlusion.baselines import Fill
from cnnviz.methods.occlusion.scorer import Scorer
from cnnviz.models.model import Model

__all__ = ["HiddenWindows", "Regions"]

FEWEST, WORTH = 12, 0.9
"""Fewest windows for which a route is looked for; largest share of a forward's work for which it is taken."""
FAILURES = (CnnvizError, RuntimeError, ValueError, TypeError, IndexError, KeyError, AssertionError)


class Regions:
    """A private copy of a network, answering for one picture with a window changed.

    Args:
        model: The network.
        windows: The windows.
    """

    def __init__(self, model: Model, windows: Windows) -> None:
        self._model, self._windows = model, windows
        self._regional: Regional | None = None
        self._seen: Tensor | None = None

    def worth(self, scorer: Scorer) -> bool:
        """Whether there is a copy, and asking it window by window is cheaper."""
        return scorer.private and self._route is not None

    def see(self, quick: Model, image: Tensor) -> Tensor:
        """Logits ``(1, K)`` of the unchanged picture ``(1, C, H, W)``; the questions are about it from now on.

        Args:
            quick: The copy, always the same.
            image: The picture, on its device and in its type.
        """
        self._seen = None
        if self._route is None:
            return quick.forward(image)
        if self._regional is None:
            self._regional = Regional(quick.module, quick.logits, self._route, quick.memory_format)
        try:
            logits = self._regional.see(image)
        except FAILURES as error:
            if ran_out_of_memory(error):
                raise
            return quick.forward(image)
        self._seen = image
        return logits

    def __call__(self, changed: Tensor, numbers: Tensor) -> Tensor:
        """Logits ``(b, K)`` of the picture with windows changed ``(b, C, H, W)``, by the windows' numbers."""
        assert self._regional is not None
        return self._regional(changed, *self._windows.places(numbers))

    def exact(self, scorer: Scorer, image: Tensor, changed: Tensor, numbers: Tensor) -> bool:
        """Whether the whole copy gives the same logits of changed pictures; the questions are about the picture now.

        Args:
            scorer: Whose copy it is.
            image: The unchanged picture ``(C, H, W)``.
            changed: Some with a window changed, ``(b, C, H, W)``.
            numbers: Their windows' numbers.
        """
        quick = scorer.quick
        with scorer.forward_modes():
            image, changed = quick.to_device(image[None]), quick.to_device(changed)
            if self._seen is None or not torch.equal(self._seen, image):
                self.see(quick, image)
            if self._seen is None:
                return False
            try:
                found = self(changed, numbers)
            except FAILURES as error:
                if ran_out_of_memory(error):
                    raise
                return False
            whole = quick.forward(changed.to(memory_format=quick.memory_format))
        return found.shape == whole.shape and is_close(found, whole)

    @cached_property
    def _route(self) -> Route | None:
        """From bottleneck to bottleneck; None where that is no cheaper."""
        windows = self._windows
        if len(windows) < FEWEST:
            return None
        bottlenecks = self._model.gates_on(windows.size)
        route = bottlenecks and plan_route(bottlenecks, *map(extents, windows.profiles))
        if not route or route.share > WORTH:
            return None
        return route


UNCHANGED = -1
INEXACT = "partial recomputation was not possible: the whole network ran for each window"


class HiddenWindows:
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
        self._regions = regions if regions and regions.worth(scorer) and self._check_exact(regions) else None

    def drops(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """How much lower the scores are with each window hidden, ``(B, T, n)`` for B fills and T targets.

        The unchanged picture is asked together with the first windows, so that equal answers differ by nothing.
        """
        chosen = torch.from_numpy(numbers)
        if self._clean is None:
            chosen = torch.cat([torch.tensor([UNCHANGED]), chosen])
        part = slice(self._done, self._done + len(numbers))
        with part_of_progress(part, max(self.planned, part.stop)):
            fills = self._fills
            found = in_slices(len(fills), lambda some: self._score_windows(chosen, fills[some.start]), size=1)
        self._done = part.stop
        scores = torch.stack(found.results)
        if self._clean is None:
            self._clean, scores = scores[:, 0], scores[:, 1:]
        drops: NDArray[np.float64] = (self._clean[:, None] - scores).movedim(1, 2).numpy()
        return drops

    def _score_windows(self, numbers: Tensor, fill: Fill) -> Tensor:
        regions = self._regions

        def hidden(some: slice) -> Tensor:
            return self._hide(numbers[some], fill)

        def answer(changed: Tensor, some: slice) -> Tensor:
            assert regions is not None
            return regions(changed, numbers[some])

        return self._scorer.scores(len(numbers), hidden, self._targets, answer if regions else None)

    def _hide(self, numbers: Tensor, fill: Fill) -> Tensor:
        """The picture with each window hidden, ``(n, C, H, W)``."""
        masks = self._windows.masks(numbers.to(self._image.device))
        seen = fill(masks)
        if self._sharp:
            return torch.where(masks > 0, seen, self._image)
        return self._image + masks.to(self._image.dtype) * (seen - self._image)

    def _check_exact(self, regions: Regions) -> bool:
        """Whether windows asked about alone, one amid the picture and one in its corner, give the copy's answers."""
        shape = self._windows.shape
        middle = int(np.ravel_multi_index([count // 2 for count in shape], shape))
        some = torch.tensor([middle, len(self._windows) - 1])
        exact = regions.exact(self._scorer, self._image, self._hide(some, self._fills[0]), some)
        if not exact:
            self._scorer.checks += (INEXACT,)
        return exact
