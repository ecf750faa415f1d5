"""Bottlenecks: the places in a network that all it knows of the picture passes through, and where their units look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.flop_counter import FlopCounterMode

from cnnviz.core.dimensions import size_of
from cnnviz.core.field import Field, Span
from cnnviz.core.layer import Layer
from cnnviz.engine.arrangement import first_tensor
from cnnviz.engine.layers import blank_copy, touched
from cnnviz.engine.state.modes import inference

__all__ = ["Bottleneck", "Bottlenecks", "UnitGrid", "find_bottlenecks"]


@dataclass(frozen=True)
class UnitGrid:
    """Where the units of a bottleneck look along one axis of the input; unit ``u`` sees ``size`` pixels.

    Attributes:
        first: First pixel that unit 0 sees, as if the input had no end.
        stride: Pixels from one unit to the next.
        size: Pixels that a unit sees.
        count: How many units there are.
    """

    first: int
    stride: int
    size: int
    count: int


@dataclass(frozen=True)
class Bottleneck:
    """A layer, called once, whose map decides all that comes after it.

    Attributes:
        name: The layer; empty for the input itself.
        channels: Of its map.
        grids: Where its units look along each axis of the input.
        work: FLOPs of one picture's forward up to here.
    """

    name: str
    channels: int
    grids: tuple[UnitGrid, ...]
    work: int

    @property
    def places(self) -> int:
        """How many units its map has in each channel."""
        return prod(grid.count for grid in self.grids)


@dataclass(frozen=True)
class Bottlenecks:
    """The bottlenecks in the order in which a forward passes them, the input first.

    Attributes:
        layers: The bottlenecks.
        work: FLOPs of one picture's whole forward.
    """

    layers: tuple[Bottleneck, ...]
    work: int


def find_bottlenecks(
    module: nn.Module, forward: Callable[[nn.Module, Tensor], Tensor], layers: Mapping[str, Layer], example: Tensor
) -> Bottlenecks | None:
    """The bottlenecks of a network, from one forward of a copy without values.

    Args:
        module: The network; left alone.
        forward: From a network and its inputs to logits.
        layers: Its layers on inputs of the example's size.
        example: One input ``(1, C, H, W)``, or a signal's or a volume's.

    Returns:
        The bottlenecks; None where they cannot be found: the network needs values to run, or has somebody's hooks.
    """
    if touched(module):
        return None
    likely = {name: grids for name, layer in layers.items() if (grids := _unit_grids(layer))}
    try:
        with _disable_current_modes(), inference(mode=False), torch.enable_grad():
            seen, logits, work = _trace_graph(blank_copy(module), forward, example, likely)
    except Exception:  # noqa: BLE001 - a network may do anything with values; then it has no bottlenecks
        return None
    last = {node: Bottleneck(name, layers[name].shape[0], likely[name], done) for name, node, done in seen}  # type: ignore[index]
    unavoidable = _cut_nodes(logits.grad_fn)
    passed = [last[node] for node in unavoidable if node in last]
    grids = tuple(UnitGrid(0, 1, 1, length) for length in size_of(example))
    return Bottlenecks((Bottleneck("", int(example.shape[1]), grids, 0), *_without_redundant(passed)), work)


def _without_redundant(passed: list[Bottleneck]) -> list[Bottleneck]:
    """Without those that the next one is as good as: a norm or an activation may follow without any work."""
    needless = {one.name for one, after in pairwise(passed) if replace(one, name=after.name) == after}
    return [one for one in passed if one.name not in needless]


def _trace_graph(
    blank: nn.Module, forward: Callable[[nn.Module, Tensor], Tensor], example: Tensor, likely: Mapping[str, object]
) -> tuple[list[tuple[str, Any, int]], Tensor, int]:
    """Likely layers with the autograd graph's node of their output and the FLOPs so far; the logits; all FLOPs."""
    seen: list[tuple[str, Any, int]] = []
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _Whole()  # type: ignore[assignment]

    def hook(name: str) -> Callable[..., None]:
        def note(_part: nn.Module, _inputs: Any, output: Any) -> None:
            tensor = first_tensor(output)
            if tensor is not None and tensor.grad_fn is not None:
                seen.append((name, tensor.grad_fn, int(counter.get_total_flops())))

        return note

    with ExitStack() as hooks, counter:
        for name in likely:
            hooks.callback(blank.get_submodule(name).register_forward_hook(hook(name)).remove)
        inputs = example.to("meta").requires_grad_().clone()  # the network may write into it
        logits = forward(blank.eval(), inputs)
    return seen, logits, int(counter.get_total_flops())


class _Whole:
    """All modules together: a tracker of each would put hooks on those of other threads too."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_raised: object) -> None:
        pass


def _cut_nodes(end: Any) -> list[Any]:
    """The nodes of an autograd graph that every way to its end leads through, in order."""
    order = _sort_nodes(end)
    place = {node: at for at, node in enumerate(order)}
    spanned = [0] * (len(order) + 1)
    for node, at in place.items():
        starts = [place[before] for before, _ in node.next_functions if before is not None]
        if starts:
            spanned[min(starts) + 1] += 1
            spanned[at] -= 1
    found, open_edges = [], 0
    for node, at in place.items():
        open_edges += spanned[at]
        if not open_edges:
            found.append(node)
    return found


def _sort_nodes(end: Any) -> list[Any]:
    """All nodes of a graph, each after those that it is made from."""
    order, known, waiting = [], set(), [(end, False)]
    while waiting:
        node, ready = waiting.pop()
        if ready:
            order.append(node)
        elif node is not None and node not in known:
            known.add(node)
            waiting.append((node, True))
            waiting.extend((before, False) for before, _ in node.next_functions)
    return order


def _unit_grids(layer: Layer) -> tuple[UnitGrid, ...] | None:
    """Where a layer's units look, if its map can be computed in parts: a map of channels, by a local rule."""
    field = layer.field
    arrangement = layer.arrangement
    if layer.calls != 1 or arrangement is None or layer.function or not arrangement.channels_first:
        return None
    if layer.shape != (arrangement.channels, *arrangement.grid) or field is None or not _is_local(field):
        return None
    grids = [grid for span in field.spans if (grid := _unit_grid(span))]
    return tuple(grids) if len(grids) == len(arrangement.grid) else None


def _is_local(field: Field) -> bool:
    return field.kind == "spatial" and field.regular


def _unit_grid(span: Span) -> UnitGrid | None:
    first = span.offset - (span.size - 1) / 2
    if not (float(first).is_integer() and float(span.stride).is_integer() and span.stride >= 1):
        return None
    return UnitGrid(int(first), int(span.stride), span.size, len(span))
