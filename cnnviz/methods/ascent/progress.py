"""Watching an ascent: the current score, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Moment", "Watcher", "tell", "watch"]


@dataclass(frozen=True)
class Moment:
    """Where an ascent is.

    Attributes:
        picture: Which picture, counted from 0.
        pictures: How many there are.
        target: What it is to show.
        step: Steps done.
        steps: Steps in all.
        score: The score of the last step, the mean over its crops.
    """

    picture: int
    pictures: int
    target: str
    step: int
    steps: int
    score: float


Watcher: TypeAlias = Callable[[Moment], None]

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watch(report: Watcher) -> Iterator[None]:
    """Inside, ``report(moment)`` is called after every step of every picture."""
    token = _watcher.set(report)
    try:
        yield
    finally:
        _watcher.reset(token)


def tell(moment: Moment) -> None:
    """Tell whoever watches."""
    report = _watcher.get()
    if report is not None:
        report(moment)
