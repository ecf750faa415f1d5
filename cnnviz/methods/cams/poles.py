"""Poles of formulas that divide: a channel that makes much of a map because its denominator is near zero."""

from __future__ import annotations

from torch import Tensor

from cnnviz.provenance import Caution

__all__ = ["note_poles"]

NOTABLE = 0.2
"""Share of a map's peak that is worth a word."""


def note_poles(maps: Tensor, activations: Tensor, weights: Tensor, bounds: Tensor) -> tuple[str, ...]:
    """A word about channels whose weight is larger than gradients can make it, and that show in a map.

    Args:
        maps: ``(n, h, w)``.
        activations: ``(n, C, h, w)``.
        weights: ``(n, C)``: with which the activations are added.
        bounds: ``(n, C)``: how large a weight can be where nothing cancels in its denominator.
    """
    flat = maps.flatten(1)
    peaks = flat.abs().argmax(dim=1, keepdim=True)
    there = activations.flatten(2).gather(2, peaks[:, None].expand(-1, activations.shape[1], 1))[:, :, 0]
    share = (weights * there).abs() / flat.gather(1, peaks).abs()
    beyond = (weights.abs() > bounds * (1 + 1e-4)) & (share >= NOTABLE)
    if not bool(beyond.any()):
        return ()
    row, channel = divmod(int((share * beyond).argmax()), share.shape[1])
    return (
        Caution(
            f"channel {channel} alone makes {float(share[row, channel]):.0%} of a map's peak because a denominator of "
            "the formula is near zero there: a numerical artefact; gradcam and hirescam have no denominator"
        ),
    )
