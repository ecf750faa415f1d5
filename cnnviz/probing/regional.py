"""Answers for a picture with a window changed: only what the window reaches is computed again, and that exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cnnviz.probing.route import Ints, Leg, Route
from cnnviz.probing.sections import Sections

__all__ = ["Regional", "extents"]


class Regional:
    """A private network that answers for one picture with a window changed.

    At a gate all that the network knows of the picture is in one map, and away from the window the map is that of the
    unchanged picture. So from gate to gate only the part of the map that sees the window is computed again, from a
    part of the map before it that is wide enough for every value to come out as on the whole map; the rest of the
    network, where the window is seen nearly everywhere, runs on the whole. Idea: Nakandala et al., Incremental and
    Approximate Inference for Faster Occlusion-based Deep CNN Explanations, SIGMOD 2019.

    Args:
        module: The network, in evaluation mode; its parts' ``forward`` are replaced for good.
        select: From what it returns, and how many pictures that is of, to the logits.
        route: From gate to gate, for the windows that will be asked for.
    """

    def __init__(self, module: nn.Module, select: Callable[[Any, int], Tensor], route: Route) -> None:
        self._route = route
        self._sections = Sections(module, select, {leg.stop.name for leg in route.legs})

    def see(self, image: Tensor) -> Tensor:
        """Logits ``(1, K)`` of the unchanged picture ``(1, C, H, W)``; the questions are about it from now on."""
        return self._sections.record(image)

    def __call__(self, changed: Tensor, rows: Ints, columns: Ints) -> Tensor:
        """Logits ``(B, K)`` of pictures ``(B, C, H, W)`` that are the picture but for a window each.

        Args:
            changed: The pictures.
            rows: Which window down, of those that the route was planned for, a number a picture.
            columns: Which across.
        """
        parts: list[Tensor] = list(changed)
        corners = [(0, 0)] * len(parts)
        for leg in self._route.legs:
            parts = self._follow(leg, parts, corners, rows, columns)
            corners = list(zip(leg.rows.targets[rows], leg.columns.targets[columns], strict=True))
        last = self._route.legs[-1].stop
        whole = (last.rows.count, last.columns.count)
        return self._sections(last.name, self._pasted(last.name, parts, corners, [(0, 0)] * len(parts), whole))

    def _follow(
        self,
        leg: Leg,
        parts: Sequence[Tensor],
        corners: Sequence[tuple[int, int]],
        rows: Ints,
        columns: Ints,
    ) -> list[Tensor]:
        """The changed parts of the next gate's map, from those of this one's."""
        down, across = leg.rows, leg.columns
        starts = list(zip(down.starts[rows], across.starts[columns], strict=True))
        given = self._pasted(leg.start.name, parts, corners, starts, (down.length, across.length))
        made = self._sections(leg.start.name, given, leg.stop.name)
        return [
            one[:, top : top + down.handed, left : left + across.handed]
            for one, top, left in zip(made, down.skipped[rows], across.skipped[columns], strict=True)
        ]

    def _pasted(
        self,
        gate: str,
        parts: Sequence[Tensor],
        corners: Sequence[tuple[int, int]],
        starts: Sequence[tuple[int, int]],
        size: tuple[int, int],
    ) -> Tensor:
        """For each picture a window ``(B, C, *size)`` of a gate's map, the changed part put in where it belongs."""
        whole = self._sections.map(gate)
        views = [whole[:, :, top : top + size[0], left : left + size[1]] for top, left in starts]
        pasted = torch.cat(views).contiguous(memory_format=torch.channels_last)
        for copy, part, corner, start in zip(pasted, parts, corners, starts, strict=True):
            (to_top, of_top), (to_left, of_left) = map(_overlap, corner, part.shape[1:], start, size)
            copy[:, to_top, to_left] = part[:, of_top, of_left]
        return pasted


def _overlap(corner: int, length: int, start: int, size: int) -> tuple[slice, slice]:
    """Where a part that begins at a corner lies in a window that begins at a start: in the window, and in the part."""
    low, high = max(corner, start), min(corner + length, start + size)
    high = max(low, high)
    return slice(int(low - start), int(high - start)), slice(int(low - corner), int(high - corner))


def extents(profiles: Tensor) -> Ints:
    """First and one past the last pixel ``(R, 2)`` that each row of window profiles ``(R, H)`` changes."""
    changed = (profiles > 0).numpy()
    return np.stack([changed.argmax(axis=1), changed.shape[1] - changed[:, ::-1].argmax(axis=1)], axis=1)
