"""Answers for a picture with a window changed: only what the window reaches is computed again, and that exactly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cnnviz.engine.arrangement import first_tensor, replaced_tensor
from cnnviz.engine.partial import Reached
from cnnviz.engine.windows.route import Ints, Leg, Route

__all__ = ["Regional", "extents", "Sections"]


@dataclass
class _Recording:
    """Outputs of the calls of modules in one forward, copies of some, and which calls were running when each ended."""

    outputs: dict[str, Any] = field(default_factory=dict)
    maps: dict[str, Tensor] = field(default_factory=dict)
    callers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    running: list[str] = field(default_factory=list)

    def enter(self, name: str) -> Callable[..., None]:
        def entered(*_: Any) -> None:
            self.calls[name] += 1
            self.running.append(name)

        return entered

    def leave(self, name: str, *, kept: bool) -> Callable[..., None]:
        def left(_part: nn.Module, _inputs: Any, output: Any) -> None:
            self.running.pop()
            self.callers[name] = tuple(self.running)
            self.outputs[name] = output
            tensor = first_tensor(output)
            if kept and tensor is not None:
                self.maps[name] = tensor.clone()

        return left


class Sections:
    """A network, private to its owner, that runs from a gate to another or to its end.

    A forward is recorded; a section then runs the network's own forward, in which all that ended before the first gate
    answers from the recording (its values no longer matter, and the network may write into them: the gate decides all
    that comes after) and the gate gives the map that it is handed. At the second gate it ends.

    Args:
        module: The network. Its parts' ``forward`` are replaced for good; outside sections they answer as before.
        select: From what it returns, and how many pictures that is of, to the logits.
        gates: Names of the gates; each is called once.
    """

    def __init__(self, module: nn.Module, select: Callable[[Any, int], Tensor], gates: Iterable[str]) -> None:
        self._module, self._select, self._gates = module, select, tuple(gates)
        self._start, self._stop = "", ""
        self._given: Tensor | None = None
        self._inputs: Tensor | None = None
        self._outputs: dict[str, Any] = {}
        self._maps: dict[str, Tensor] = {}
        self._answered: dict[str, frozenset[str]] = {}

    def record(self, inputs: Tensor) -> Tensor:
        """Logits ``(1, K)`` of inputs ``(1, C, H, W)``; sections are of these from now on."""
        seen = _Recording()
        with ExitStack() as hooks:
            for name, part in self._module.named_modules():
                if name:
                    hooks.callback(part.register_forward_pre_hook(seen.enter(name)).remove)
                    hooks.callback(part.register_forward_hook(seen.leave(name, kept=name in self._gates)).remove)
            logits = self._select(self._module(inputs.clone()), 1)
        first = self._inputs is None
        self._inputs = inputs
        self._answered = {gate: _before(gate, seen) for gate in self._gates}
        asked = {*self._gates}.union(*self._answered.values())
        self._outputs, self._maps = {name: seen.outputs[name] for name in asked}, seen.maps
        for name in asked if first else ():
            part = self._module.get_submodule(name)
            part.__dict__["forward"] = self._answering(name, part.forward)
        return logits

    def map(self, gate: str) -> Tensor:
        """A gate's recorded map ``(1, C, h, w)``; of the empty name, the inputs."""
        tensor = self._maps[gate] if gate else self._inputs
        assert tensor is not None
        return tensor

    def __call__(self, start: str, given: Tensor, stop: str = "") -> Tensor:
        """What a gate's map ``(B, C, h, w)``, or a part of it, becomes at another gate, or in the end the logits.

        Args:
            start: The gate that gives the map; empty for the input.
            given: The map; may be written into.
            stop: The gate where the section ends; empty for the network's end.
        """
        self._start, self._stop, self._given = start, stop, given
        try:
            return self._select(self._module(self._as_many(given) if start else given), len(given))
        except Reached as reached:
            found: Tensor = reached.args[0]
            return found
        finally:
            self._start, self._stop, self._given = "", "", None

    def _as_many(self, given: Tensor) -> Tensor:
        """Inputs whose values do not matter, for networks that read off them how many pictures there are."""
        whole = self.map("")
        return whole.new_empty((len(given), *whole.shape[1:]))

    def _answering(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def answer(*args: Any, **kwargs: Any) -> Any:
            if name == self._start and self._given is not None:
                return replaced_tensor(self._outputs[name], self._given)
            if self._start and name in self._answered[self._start]:
                return self._outputs[name]
            output = original(*args, **kwargs)
            if name == self._stop:
                raise Reached(first_tensor(output))
            return output

        return answer


def _before(gate: str, seen: _Recording) -> frozenset[str]:
    """Calls that ended before a gate and whose caller was still running then, of modules that are called once."""
    running = seen.callers[gate]
    ended = list(seen.callers)
    before = ended[: ended.index(gate)]
    depths = {name: seen.callers[name] for name in before if seen.calls[name] == 1}
    return frozenset(name for name, callers in depths.items() if callers == running[: len(callers)])


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
