"""Scores of a picture with windows hidden, at the price of what each window reaches."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnviz.errors import CnnvizError
from cnnviz.methods.scorer import Scorer
from cnnviz.probing.regional import Regional, extents
from cnnviz.probing.replay import close
from cnnviz.probing.route import plan_route
from cnnviz.probing.windows import Windows

__all__ = ["Regions", "regions_of"]

FEWEST, WORTH = 12, 0.9
"""Fewest windows for which a route is looked for; largest share of a forward's work for which it is taken."""


class Regions:
    """A scorer's private copy, answering for one picture with a window changed."""

    def __init__(self, scorer: Scorer, regional: Regional, windows: Windows) -> None:
        self._scorer, self._regional, self._across = scorer, regional, windows.shape[1]

    def __call__(self, changed: Tensor, numbers: Tensor) -> Tensor:
        """Logits ``(b, K)`` of the picture with windows changed ``(b, C, H, W)``, by the windows' numbers."""
        found = numbers.clamp_min(0).cpu().numpy()
        return self._regional(changed, found // self._across, found % self._across)

    def exact(self, image: Tensor, changed: Tensor, numbers: Tensor) -> bool:
        """Whether the whole copy gives the same logits of changed pictures; the questions are about the picture now.

        Args:
            image: The unchanged picture ``(C, H, W)``.
            changed: Some with a window changed, ``(b, C, H, W)``.
            numbers: Their windows' numbers.
        """
        quick = self._scorer.quick
        with self._scorer.asking():
            changed = quick.to_device(changed)
            try:
                self._regional.see(quick.to_device(image[None]))
                found = self(changed, numbers)
            except torch.OutOfMemoryError:
                raise
            except (CnnvizError, RuntimeError, ValueError, TypeError, IndexError, KeyError, AssertionError):
                return False
            whole = quick.forward(changed.to(memory_format=torch.channels_last))
        return found.shape == whole.shape and close(found, whole)


def regions_of(scorer: Scorer, windows: Windows) -> Regions | None:
    """The copy as it answers window by window; None where that is no cheaper, or there is no copy."""
    if not scorer.private or len(windows) < FEWEST:
        return None
    gates = scorer.model.gates_on((windows.rows.shape[1], windows.columns.shape[1]))
    route = gates and plan_route(gates, extents(windows.rows), extents(windows.columns))
    if not route or route.share > WORTH:
        return None
    return Regions(scorer, Regional(scorer.quick.module, scorer.quick.logits, route), windows)
