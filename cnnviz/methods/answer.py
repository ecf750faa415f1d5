"""An answer: what a network said about some images, and the values that a method made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from cnnviz.core.field import Field
from cnnviz.core.head import Head
from cnnviz.core.target import ClassSum, ClassTarget, RegionTarget, Target
from cnnviz.engine.scores import class_probabilities, is_dense, mean_probability

__all__ = ["Answer"]


@dataclass(frozen=True)
class Answer:
    """What a network answered about some images, the first of a chunk.

    Attributes:
        layers: The layers that were looked at; none where it is the pixels.
        values: For each layer its maps, or the one of them all, raw and signed: ``(n, h, w)``; activations and pixels
            have channels, ``(n, C, h, w)``.
        logits: ``(n, K)``, or dense ``(n, K, h, w)``.
        scores: ``(n,)``.
        targets: The settled targets.
        checks: What the user should know.
        field: What the values' places see of the input; None where they are pixels, or nothing is known.
        spread: The standard deviation or error of the values, in their shape; None where there is none.
        error_bars: For each image the error bar of its estimated values; none where none is estimated.
        roundings: For each image up to which magnitude its values may be rounding; none where values are differences of
            nothing that was rounded.
        flat: What it means if an image's values are zero or rounding.
        shares: Each image's probability where it was read already; dense logits are kept of the first image only then.
    """

    layers: tuple[str, ...]
    values: tuple[Tensor, ...]
    logits: Tensor
    scores: Tensor
    targets: tuple[Target, ...]
    checks: tuple[str, ...] = ()
    field: Field | None = None
    spread: Tensor | None = None
    error_bars: tuple[float, ...] = ()
    roundings: tuple[float, ...] = ()
    flat: str = ""
    shares: tuple[float | None, ...] = ()

    @property
    def layer(self) -> str | None:
        """The layers in one text."""
        return ", ".join(self.layers) if self.layers else None

    def probabilities(self, head: Head) -> list[float | None]:
        """Each image's probability of its target's class, or of one of its classes; None where it has none.

        Args:
            head: What the logits mean.
        """
        if self.shares:
            return list(self.shares)
        shares = class_probabilities(self.logits.detach().double(), head)
        return [_read_share(shares[row], target, head) for row, target in enumerate(self.targets)]

    def condensed(self, head: Head) -> Answer:
        """The same, without the dense logits of all images but the first: they may be larger than all else."""
        if not is_dense(self.logits):
            return self
        return replace(self, shares=tuple(self.probabilities(head)), logits=self.logits[:1].detach().clone())

    def with_values(self, *values: Tensor, checks: Sequence[str] = ()) -> Answer:
        """The same answer with values made of it, and what more there is to know."""
        return replace(self, values=values, checks=(*self.checks, *checks))


def _read_share(shares: Tensor, target: Target, head: Head) -> float | None:
    if isinstance(target, ClassTarget) and head.probable:
        return float(shares[target.index])
    if isinstance(target, ClassSum) and head.exclusive:
        return float(shares[[each.index for each in target.classes]].sum())
    if isinstance(target, RegionTarget) and head.probable and target.rival is None:
        return float(mean_probability(target, shares[None])) if head.exclusive or len(target.classes) == 1 else None
    return None
