"""Channels: how much each channel of a layer adds to a class's score on pictures, and which tell a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from cnnviz.engine.batching import in_chunks, usual_size
from cnnviz.methods.cams.probe import probe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from cnnviz.core.target import Target
    from cnnviz.models.model import Model

__all__ = ["ChannelShare", "channel_contributions", "telling_channels"]

TELLING: Final = 3
"""Channels named of each cluster."""


@dataclass(frozen=True)
class ChannelShare:
    """A channel that adds more on the pictures of a cluster than on others.

    Attributes:
        channel: Its number in the layer.
        inside: What it adds to the class's score on the cluster's pictures, in the mean.
        outside: On the others.
        excited_by: Keys of the pictures that excite it most, where an index of patches is given.
    """

    channel: int
    inside: float
    outside: float
    excited_by: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """All of it as plain values."""
        exciting = {"excited_by": list(self.excited_by)} if self.excited_by else {}
        return {"channel": self.channel, "inside": self.inside, "outside": self.outside, **exciting}


def channel_contributions(
    model: Model, layer: str, inputs: Tensor, targets: Sequence[Target], *, batch_size: int | None = None
) -> tuple[str, NDArray[np.float64]]:
    """What each channel of a layer adds to the score: its mean gradient times its summed activation.

    Args:
        model: The network, undisturbed.
        layer: The layer, or ``"last-spatial"``.
        inputs: ``(N, C, H, W)``.
        targets: One a picture.
        batch_size: Most pictures at once.

    Returns:
        The layer's name, and ``(N, channels)``.

    Raises:
        ExplanationError: If a target does not depend on the layer.
    """
    names = set[str]()

    def ask(some: Tensor, rows: slice) -> Tensor:
        found = probe(model, [layer], some, targets[rows])
        names.add(found.answer.layers[0])
        gradients, maps = found.gradients[0].double(), found.activations[0].double()
        return (gradients.flatten(2).mean(2) * maps.flatten(2).sum(2)).detach().cpu()[: rows.stop - rows.start]

    size = batch_size or usual_size(model.device)
    chunks = in_chunks(inputs, ask, size=size, device=model.device, dtype=model.dtype, fixed=model.fixed_batch)
    return min(names), np.asarray(torch.cat(chunks.results).numpy(), np.float64)


def telling_channels(
    contributions: NDArray[np.float64], inside: NDArray[np.bool_], count: int = TELLING
) -> tuple[ChannelShare, ...]:
    """The channels that add more on some pictures than on the others, by the difference in standard errors.

    Args:
        contributions: ``(N, channels)``.
        inside: ``(N,)``: the pictures of the cluster.
        count: Most channels.

    Returns:
        The most telling first, of those that add anything to the score; none where all or no pictures are inside.
    """
    some, others = contributions[inside], contributions[~inside]
    if len(some) < 2 or len(others) < 2:
        return ()
    more = some.mean(axis=0) - others.mean(axis=0)
    error = np.sqrt(some.var(axis=0, ddof=1) / len(some) + others.var(axis=0, ddof=1) / len(others))
    telling = np.where(some.mean(axis=0) > 0, np.divide(more, error, out=np.zeros_like(more), where=error > 0), 0.0)
    order = np.argsort(-telling, kind="stable")[:count]
    return tuple(
        ChannelShare(int(at), float(some[:, at].mean()), float(others[:, at].mean())) for at in order if telling[at] > 0
    )
