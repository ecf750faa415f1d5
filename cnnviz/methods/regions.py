"""Scores of a picture with windows hidden, at the price of what each window reaches."""

from __future__ import annotations

import torch
from torch import Tensor

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

    def see(self, image: Tensor) -> None:
        """The picture ``(C, H, W)`` that the questions are about."""
        with self._scorer.asking():
            self._regional.see(self._scorer.quick.to_device(image[None]))

    def __call__(self, changed: Tensor, numbers: Tensor) -> Tensor:
        """Logits ``(b, K)`` of the picture with windows changed ``(b, C, H, W)``, by the windows' numbers."""
        found = numbers.clamp_min(0).cpu().numpy()
        return self._regional(changed, found // self._across, found % self._across)

    def exact(self, changed: Tensor, numbers: Tensor) -> bool:
        """Whether the whole copy gives the same logits of changed pictures."""
        with self._scorer.asking():
            changed = self._scorer.quick.to_device(changed)
            try:
                found = self(changed, numbers)
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AssertionError):
                return False
            whole = self._scorer.quick.forward(changed.to(memory_format=torch.channels_last))
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
