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

from cnnviz.core.dimensions import Size
from cnnviz.engine.arrangement import first_tensor, replaced_tensor
from cnnviz.engine.calls.descent import Descent
from cnnviz.engine.partial import Reached
from cnnviz.engine.undisturbed import hookable_parts
from cnnviz.engine.windows.route import Ints, Places, Route, Segment

__all__ = ["Regional", "extents", "Sections"]


@dataclass
class _RecordedForward:
    """Outputs of the calls of modules in one forward, copies of some, and which calls were running when each ended.

    Attributes:
        descent: Knows which outputs are made from the picture.
    """

    descent: Descent
    outputs: dict[str, Any] = field(default_factory=dict)
    maps: dict[str, Tensor] = field(default_factory=dict)
    callers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    running: list[str] = field(default_factory=list)
    made: set[str] = field(default_factory=set)

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
            self.made |= {name} if self.descent.made(output) else set()
            tensor = first_tensor(output)
            if kept and tensor is not None:
                self.maps[name] = tensor.clone()

        return left


class Sections:
    """A network, private to its owner, that runs from a bottleneck to another or to its end.

    A forward is recorded; a section then runs the network's own forward, in which all that was made from the
    picture before the first bottleneck answers from the recording (its values no longer matter, and the network may
    write into them: the bottleneck decides all that comes after) and the bottleneck gives the map that it is
    handed. At the second bottleneck it ends.

    Args:
        module: The network. Its parts' ``forward`` are replaced for good; outside sections they answer as before.
        select: From what it returns, and how many pictures that is of, to the logits.
        bottlenecks: Names of the bottlenecks; each is called once.
    """

    def __init__(self, module: nn.Module, select: Callable[[Any, int], Tensor], bottlenecks: Iterable[str]) -> None:
        self._module, self._select, self._bottlenecks = module, select, tuple(bottlenecks)
        self._start, self._stop = "", ""
        self._given: Tensor | None = None
        self._inputs: Tensor | None = None
        self._outputs: dict[str, Any] = {}
        self._maps: dict[str, Tensor] = {}
        self._answered: dict[str, frozenset[str]] = {}

    def record(self, inputs: Tensor) -> Tensor:
        """Logits ``(1, K)`` of inputs ``(1, C, H, W)``; sections are of these from now on."""
        given = inputs.clone()
        seen = _RecordedForward(Descent(given))
        with ExitStack() as hooks:
            for name, part in hookable_parts(self._module).items():
                if name:
                    hooks.callback(part.register_forward_pre_hook(seen.enter(name)).remove)
                    hooks.callback(part.register_forward_hook(seen.leave(name, kept=name in self._bottlenecks)).remove)
            with seen.descent:
                returned = self._module(given)
            logits = self._select(returned, 1)
        first = self._inputs is None
        self._inputs = inputs
        self._answered = {bottleneck: _calls_before(bottleneck, seen) for bottleneck in self._bottlenecks}
        asked = {*self._bottlenecks}.union(*self._answered.values())
        self._outputs, self._maps = {name: seen.outputs[name] for name in asked}, seen.maps
        for name in asked if first else ():
            part = self._module.get_submodule(name)
            part.__dict__["forward"] = self._answer_from_recording(name, part.forward)
        return logits

    def map(self, bottleneck: str) -> Tensor:
        """A bottleneck's recorded map ``(1, C, h, w)``; of the empty name, the inputs."""
        tensor = self._maps[bottleneck] if bottleneck else self._inputs
        assert tensor is not None
        return tensor

    def __call__(self, start: str, given: Tensor, stop: str = "") -> Tensor:
        """What a bottleneck's map ``(B, C, h, w)``, or a part of it, becomes at another one, or the logits at the end.

        Args:
            start: The bottleneck that gives the map; empty for the input.
            given: The map; may be written into.
            stop: The bottleneck where the section ends; empty for the network's end.
        """
        self._start, self._stop, self._given = start, stop, given
        try:
            return self._select(self._module(self._empty_inputs(given) if start else given), len(given))
        except Reached as reached:
            found: Tensor = reached.args[0]
            return found
        finally:
            self._start, self._stop, self._given = "", "", None

    def _empty_inputs(self, given: Tensor) -> Tensor:
        """Inputs whose values do not matter, for networks that read off them how many pictures there are."""
        whole = self.map("")
        return whole.new_empty((len(given), *whole.shape[1:]))

    def _answer_from_recording(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
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


def _calls_before(bottleneck: str, seen: _RecordedForward) -> frozenset[str]:
    """Calls that ended before a bottleneck and whose caller was still running then, of modules that are called once.

    What a call makes of other things than the picture may matter after the bottleneck, for each picture: it runs.
    """
    running = seen.callers[bottleneck]
    ended = list(seen.callers)
    before = ended[: ended.index(bottleneck)]
    depths = {name: seen.callers[name] for name in before if seen.calls[name] == 1 and name in seen.made}
    return frozenset(name for name, callers in depths.items() if callers == running[: len(callers)])


class Regional:
    """A private network that answers for one picture with a window changed.

    At a bottleneck all that the network knows of the picture is in one map, and away from the window the map is that of
    the unchanged picture. So from one to the next only the part of the map that sees the window is computed again, from
    a part of the map before it that is wide enough for every value to come out as on the whole map; the rest of the
    network, where the window is seen nearly everywhere, runs on the whole. Idea: Nakandala et al., Incremental and
    Approximate Inference for Faster Occlusion-based Deep CNN Explanations, SIGMOD 2019.

    Args:
        module: The network, in evaluation mode; its parts' ``forward`` are replaced for good.
        select: From what it returns, and how many pictures that is of, to the logits.
        route: From bottleneck to bottleneck, for the windows that will be asked for.
        memory_format: How its activations lie in memory.
    """

    def __init__(
        self,
        module: nn.Module,
        select: Callable[[Any, int], Tensor],
        route: Route,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self._route, self._memory_format = route, memory_format
        self._sections = Sections(module, select, {segment.stop.name for segment in route.segments})

    def see(self, image: Tensor) -> Tensor:
        """Logits ``(1, K)`` of the unchanged picture ``(1, C, H, W)``; the questions are about it from now on."""
        return self._sections.record(image)

    def __call__(self, changed: Tensor, *places: Ints) -> Tensor:
        """Logits ``(B, K)`` of pictures ``(B, C, H, W)`` that are the picture but for a window each.

        Args:
            changed: The pictures.
            *places: Which window along each axis, of those that the route was planned for, a number a picture.
        """
        parts: list[Tensor] = list(changed)
        whole = [(0,) * len(places)] * len(parts)
        corners = whole
        for segment in self._route.segments:
            parts = self._run_segment(segment, parts, corners, places)
            corners = segment.corners(lambda extent: extent.targets, places)
        last = self._route.segments[-1].stop
        size = tuple(grid.count for grid in last.grids)
        return self._sections(last.name, self._paste_parts(last.name, parts, corners, whole, size))

    def _run_segment(
        self,
        segment: Segment,
        parts: Sequence[Tensor],
        corners: Sequence[Size],
        places: Places,
    ) -> list[Tensor]:
        """The changed parts of the next bottleneck's map, from those of this one's."""
        starts = segment.corners(lambda extent: extent.starts, places)
        skipped = segment.corners(lambda extent: extent.skipped, places)
        length, handed = zip(*((extent.length, extent.handed) for extent in segment.extents), strict=True)
        given = self._paste_parts(segment.start.name, parts, corners, starts, length)
        made = self._sections(segment.start.name, given, segment.stop.name)
        return [one[:, *_slices(first, handed)] for one, first in zip(made, skipped, strict=True)]

    def _paste_parts(
        self,
        bottleneck: str,
        parts: Sequence[Tensor],
        corners: Sequence[Size],
        starts: Sequence[Size],
        size: Sequence[int],
    ) -> Tensor:
        """For each picture a window ``(B, C, *size)`` of a map, the changed part put in where it belongs."""
        whole = self._sections.map(bottleneck)
        views = [whole[:, :, *_slices(start, size)] for start in starts]
        pasted = torch.cat(views).contiguous(memory_format=self._memory_format)
        for copy, part, corner, start in zip(pasted, parts, corners, starts, strict=True):
            overlaps = list(map(_overlap_slices, corner, part.shape[1:], start, size))
            copy[:, *(to for to, _ in overlaps)] = part[:, *(of for _, of in overlaps)]
        return pasted


def _slices(first: Sequence[int], lengths: Sequence[int]) -> tuple[slice, ...]:
    """The part of a map that begins at a place and is so long along each axis."""
    return tuple(slice(start, start + length) for start, length in zip(first, lengths, strict=True))


def _overlap_slices(corner: int, length: int, start: int, size: int) -> tuple[slice, slice]:
    """Where a part that begins at a corner lies in a window that begins at a start: in the window, and in the part."""
    low, high = max(corner, start), min(corner + length, start + size)
    high = max(low, high)
    return slice(int(low - start), int(high - start)), slice(int(low - corner), int(high - corner))


def extents(profiles: Tensor) -> Ints:
    """First and one past the last pixel ``(R, 2)`` that each row of window profiles ``(R, H)`` changes."""
    changed = (profiles > 0).numpy()
    return np.stack([changed.argmax(axis=1), changed.shape[1] - changed[:, ::-1].argmax(axis=1)], axis=1)
