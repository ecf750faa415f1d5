"""Predictions: what a network answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.picture import Picture
from cnnviz.core.target import ClassTarget
from cnnviz.provenance import Provenance
from cnnviz.results.result import Parts, Result

__all__ = ["Prediction", "Predictions"]


@dataclass(frozen=True)
class Prediction:
    """One class that a network puts among its first.

    Attributes:
        target: The class, usable as a method's target.
        logit: Its logit.
        probability: Its probability, as the network's head gives it; None where the network gives values.
        unit: Of the value, which stands in the logit's place; None where the network gives classes.
    """

    target: ClassTarget
    logit: float
    probability: float | None
    unit: str | None = None

    @property
    def answer(self) -> str:
        """The probability or the value, in words."""
        if self.probability is not None:
            return f"{self.probability:.2%}"
        return f"{self.logit:.4g} {self.unit or ''}".rstrip()

    def describe(self) -> dict[str, Any]:
        """What there is to say, as plain values."""
        return {
            "index": self.target.index,
            "label": self.target.label,
            "logit": self.logit,
            "probability": self.probability,
            **({} if self.unit is None else {"unit": self.unit}),
        }


@dataclass(frozen=True, eq=False)
class Predictions(Parts[tuple[Prediction, ...]], Result):
    """The first classes of every picture, the most probable first.

    Attributes:
        best: For each picture its first classes.
        logits: ``(N, K)`` float32.
        pictures: The pictures.
        checks: What the user should know.
        provenance: How it was made.
    """

    _PARTS = "best"
    _ARRAY = "logits"

    best: tuple[tuple[Prediction, ...], ...]
    logits: NDArray[np.float32] = field(repr=False)
    pictures: tuple[Picture, ...] = field(repr=False)
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    def describe(self) -> dict[str, Any]:
        """What there is to say, as plain values."""
        best = [[one.describe() for one in first] for first in self]
        return {"predictions": best, "checks": list(self.checks)}

    def __str__(self) -> str:
        lines = []
        for picture, best in zip(self.pictures, self.best, strict=True):
            lines.append(picture.name)
            lines += [f"  {one.answer:>7}  {one.target.index:>5}  {one.target}" for one in best]
        return "\n".join(lines)
