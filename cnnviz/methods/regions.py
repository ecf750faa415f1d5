"""Scores of a picture with windows hidden, at the price of what each window reaches."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from cnnviz.errors import CnnvizError
from cnnviz.methods.scorer import Scorer
from cnnviz.models.model import Model
from cnnviz.probing.regional import Regional, extents
from cnnviz.probing.replay import close
from cnnviz.probing.route import Route, plan_route
from cnnviz.probing.windows import Windows

__all__ = ["Regions"]

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
            self._regional = Regional(quick.module, quick.logits, self._route)
        try:
            logits = self._regional.see(image)
        except torch.OutOfMemoryError:
            raise
        except FAILURES:
            return quick.forward(image)
        self._seen = image
        return logits

    def __call__(self, changed: Tensor, numbers: Tensor) -> Tensor:
        """Logits ``(b, K)`` of the picture with windows changed ``(b, C, H, W)``, by the windows' numbers."""
        assert self._regional is not None
        found, across = numbers.clamp_min(0).cpu().numpy(), self._windows.shape[1]
        return self._regional(changed, found // across, found % across)

    def exact(self, scorer: Scorer, image: Tensor, changed: Tensor, numbers: Tensor) -> bool:
        """Whether the whole copy gives the same logits of changed pictures; the questions are about the picture now.

        Args:
            scorer: Whose copy it is.
            image: The unchanged picture ``(C, H, W)``.
            changed: Some with a window changed, ``(b, C, H, W)``.
            numbers: Their windows' numbers.
        """
        quick = scorer.quick
        with scorer.asking():
            image, changed = quick.to_device(image[None]), quick.to_device(changed)
            if self._seen is None or not torch.equal(self._seen, image):
                self.see(quick, image)
            if self._seen is None:
                return False
            try:
                found = self(changed, numbers)
            except torch.OutOfMemoryError:
                raise
            except FAILURES:
                return False
            whole = quick.forward(changed.to(memory_format=torch.channels_last))
        return found.shape == whole.shape and close(found, whole)

    @cached_property
    def _route(self) -> Route | None:
        """From gate to gate; None where that is no cheaper."""
        windows = self._windows
        if len(windows) < FEWEST:
            return None
        gates = self._model.gates_on((windows.rows.shape[1], windows.columns.shape[1]))
        route = gates and plan_route(gates, extents(windows.rows), extents(windows.columns))
        if not route or route.share > WORTH:
            return None
        return route
