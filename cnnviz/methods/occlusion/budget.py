"""Which windows are evaluated: all of them, or as many as a number of forwards or a time allows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.dimensions import Size
from cnnviz.engine.windows.window import Windows
from cnnviz.errors import ParameterError
from cnnviz.methods.occlusion.estimate import LINES, error_bar, fewest, sample
from cnnviz.methods.occlusion.windows import HiddenWindows

__all__ = ["Plan", "Values"]

Floats: TypeAlias = NDArray[np.float64]

SMALL = 16


@dataclass(frozen=True)
class Values:
    """A value at every window, for B baselines and T targets.

    Attributes:
        drops: ``(B, T, K)``.
        estimated: How many windows were estimated when the probe was drawn; 0 where all were evaluated.
        bars: For each target the bound that at least 90 % of those are within, at 95 % confidence.
        checks: What the user should know.
    """

    drops: Floats
    estimated: int = 0
    bars: tuple[float, ...] = ()
    checks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """How much may be asked.

    Attributes:
        windows: The windows.
        baselines: How many baselines hide each.
        budget: Most forwards a picture, or None.
        seconds: About so long a picture, or None.
        seed: Of the probe.

    Raises:
        ParameterError: If both budget and seconds are given, or they cannot give an estimate with an error bar.
    """

    windows: Windows
    baselines: int
    budget: int | None
    seconds: float | None
    seed: int

    def __post_init__(self) -> None:
        if self.budget is None and self.seconds is None:
            return
        if self.budget is not None and self.seconds is not None:
            raise ParameterError("budget and seconds exclude each other; give one.")
        if self.budget is not None and self._count_affordable(self.budget) < self._fewest:
            least = 1 + self.baselines * (1 + self._fewest)
            raise ParameterError(f"budget must be at least {least} forwards here, for an error bar; got {self.budget}.")
        if min(self._grid) < LINES and self._count_affordable(self.budget or 0) < len(self.windows):
            fewest_along, given = ("x".join(map(str, each)) for each in ([LINES for _ in self._grid], self._grid))
            raise ParameterError(f"stride must give at least {fewest_along} windows for an estimate; it gives {given}.")

    def follow(self, hidden: HiddenWindows) -> Values:
        """Evaluate the windows of one picture that the plan allows, and estimate the others."""
        total = len(self.windows)
        count, checks = total, tuple[str, ...]()
        if self.budget is not None:
            count = min(self._count_affordable(self.budget), total)
        elif self.seconds is not None:
            count, checks = self._count_in_time(hidden, self.seconds)
        hidden.planned = count
        if count == total:
            return Values(hidden.drops(np.arange(total)), checks=checks)
        return self._estimate(hidden, count, checks)

    def _estimate(self, hidden: HiddenWindows, count: int, checks: tuple[str, ...]) -> Values:
        shape: tuple[int, ...] = ()

        def evaluate(numbers: NDArray[np.int64]) -> Floats:
            nonlocal shape
            drops = hidden.drops(numbers)
            shape = drops.shape[:2]
            return drops.reshape(-1, len(numbers))

        found = sample(evaluate, self._grid, count, self.seed)
        misses = found.misses.reshape(*shape, -1).mean(axis=0)
        bars = tuple(error_bar(each, found.unevaluated) for each in misses)
        return Values(found.values.reshape(*shape, -1), found.unevaluated, bars, checks)

    def _count_affordable(self, forwards: int) -> int:
        return (forwards - 1 - self.baselines) // self.baselines

    def _count_in_time(self, hidden: HiddenWindows, seconds: float) -> tuple[int, tuple[str, ...]]:
        """How many windows fit into the time, by how long some of them take."""
        start, some = time.monotonic(), min(SMALL, len(self.windows))
        hidden.drops(np.arange(some))
        taken = time.monotonic() - start
        count = int((seconds - taken) / (taken / some))
        least = self._fewest
        checks = (f"{seconds:g} seconds are too few for an error bar: {least} windows were evaluated",)
        return min(max(count, least), len(self.windows)), checks if count < least else ()

    @property
    def _grid(self) -> Size:
        """How many windows there are along each axis that has several."""
        return tuple(count for count in self.windows.shape if count > 1) or (1,)

    @property
    def _fewest(self) -> int:
        """Windows that an estimate with an error bar takes, or all of them."""
        return min(fewest(len(self._grid)), len(self.windows))
