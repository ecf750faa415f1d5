"""Progress of an ascent: the current score, step by step, for whoever watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from cnnviz.core.change import contextmanager

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["AscentProgress", "ProgressWatcher", "report_progress", "watch_progress"]


@dataclass(frozen=True)
class AscentProgress:
    """How far an ascent is.

    Attributes:
        picture: Which picture, counted from 0.
        pictures: How many there are.
        target: What it is to show.
        step: Steps done.
        steps: Steps in all.
        score: The score of the last step, the mean over its crops.
        draw: Gives the picture as it is now, ``(C, H, W)`` in [0, 1]; to be called while the step is reported.
    """

    picture: int
    pictures: int
    target: str
    step: int
    steps: int
    score: float
    draw: Callable[[], NDArray[np.float32]] | None = field(default=None, compare=False, repr=False)


ProgressWatcher: TypeAlias = Callable[[AscentProgress], None]

_watcher: ContextVar[ProgressWatcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watch_progress(report: ProgressWatcher) -> Iterator[None]:
    """Inside, ``report(progress)`` is called after every step of every picture."""
    token = _watcher.set(report)
    try:
        yield
    finally:
        _watcher.reset(token)


def report_progress(progress: AscentProgress) -> None:
    """Report a step to whoever watches."""
    report = _watcher.get()
    if report is not None:
        report(progress)
