"""Predictions: what a network answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.picture import Picture
from cnnviz.core.target import ClassTarget
from cnnviz.provenance import Provenance

__all__ = ["Prediction", "Predictions"]


@dataclass(frozen=True)
class Prediction:
    """One class that a network puts among its first.

    Attributes:
        target: The class, usable as a method's target.
        logit: Its logit.
        probability: Its softmax probability, or sigmoid where there is a single logit.
    """

    target: ClassTarget
    logit: float
    probability: float


@dataclass(frozen=True, eq=False)
class Predictions(Sequence[tuple[Prediction, ...]]):
    """The first classes of every picture, the most probable first.

    Attributes:
        best: For each picture its first classes.
        logits: ``(N, K)`` float32.
        pictures: The pictures.
        checks: What the user should know.
        provenance: How it was made.
    """

    best: tuple[tuple[Prediction, ...], ...]
    logits: NDArray[np.float32] = field(repr=False)
    pictures: tuple[Picture, ...] = field(repr=False)
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    @overload
    def __getitem__(self, index: int) -> tuple[Prediction, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[Prediction, ...]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self.best[index]

    def __len__(self) -> int:
        return len(self.best)

    def __iter__(self) -> Iterator[tuple[Prediction, ...]]:
        return iter(self.best)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.logits, dtype=dtype, copy=copy)

    def stamped(self, method: str, settings: Mapping[str, Any]) -> Self:
        """The same with method and settings in its provenance."""
        return replace(self, provenance=self.provenance.stamped(method, settings))

    def __str__(self) -> str:
        lines = []
        for picture, best in zip(self.pictures, self.best, strict=True):
            lines.append(picture.name)
            lines += [f"  {one.probability:7.2%}  {one.target.index:>5}  {one.target}" for one in best]
        return "\n".join(lines)
