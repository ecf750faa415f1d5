"""Film: what is known of a clip whose frames have been explained, besides the file of their maps."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.target import ClassTarget, Target
from cnnviz.provenance import Provenance

__all__ = ["Film"]


@dataclass(frozen=True, eq=False)
class Film:
    """Maps of a clip's frames, written as an animation.

    Attributes:
        path: The file that was written.
        target: What is explained, the same on every frame.
        scores: ``(N,)`` float32: the target's score on every frame.
        probabilities: ``(N,)`` float32: its probability, NaN where the target is not one class.
        limits: The values of the colours' two ends, the same on every frame.
        fps: Frames a second.
        layer: The layer that was looked at, or None.
        checks: What the user should know.
        provenance: How it was made.
    """

    path: Path
    target: Target
    scores: NDArray[np.float32] = field(repr=False)
    probabilities: NDArray[np.float32] = field(repr=False)
    limits: tuple[float, float]
    fps: float
    layer: str | None = None
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    def __len__(self) -> int:
        return len(self.scores)

    def describe(self) -> dict[str, Any]:
        """What there is to say without pictures, as plain values."""
        return {
            "target": str(self.target),
            "index": self.target.index if isinstance(self.target, ClassTarget) else None,
            "frames": len(self),
            "fps": self.fps,
            "scores": [float(score) for score in self.scores],
            "probabilities": [None if np.isnan(each) else float(each) for each in self.probabilities],
            "limits": list(self.limits),
            "layer": self.layer,
            "checks": list(self.checks),
        }
