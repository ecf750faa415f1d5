"""The automatic layer of networks with dense answers, and of detectors: where most of what a target reads passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

from torch import Tensor
from torch.autograd.graph import Node, get_gradient_edge

from cnnviz.core.dimensions import Size, size_of
from cnnviz.core.layer import Arrangement, AutomaticLayer, Layer, Layers, split_call
from cnnviz.core.target import Target
from cnnviz.engine.arrangement import to_maps
from cnnviz.engine.capture import capture
from cnnviz.engine.layers import TOGETHER, rows_reached
from cnnviz.engine.scores.score import score, settle, watched_layers
from cnnviz.engine.undisturbed import hookable_parts
from cnnviz.models.model import Model

__all__ = ["find_bottleneck", "find_read", "gradients_at"]


def gradients_at(
    model: Model, inputs: Tensor, targets: Sequence[Target]
) -> Callable[[Sequence[str]], tuple[dict[str, Tensor], dict[str, Arrangement | None]]]:
    """Gradients of the targets at some layers, and how these lie, by one forward and backward."""

    def gradients(names: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Arrangement | None]]:
        with capture(model.module, names, watched_layers(targets)) as held:
            logits = model.answer(inputs, targets)[: len(targets)]
            scores = score(settle(targets, logits, model.labels, model.head), logits, held)
            return held.gradients(scores, unused=True), held.arrangements

    return gradients


def find_bottleneck(model: Model, inputs: Tensor, targets: Sequence[Target], *, classes: int) -> AutomaticLayer | None:
    """The last layer that the target reaches on the coarsest grid of a network with dense answers; or None.

    Layers with as many channels as there are classes come last, since they may be the answer itself. Grids that an
    adaptive pool makes are none of the network's own, nor are those on which no layer mixes places, as on a branch that
    pools. Of one grid's layers those are taken through which all passes that comes from the grid's main part: a gate
    hangs beside it.
    """
    layers = model.layers_on(size_of(inputs))
    placed = [layer for layer in layers.values() if layer.spatial and layer.arrangement and layer.field is not None]
    if not placed:
        return None
    grids = {layer.name: layer.arrangement.grid for layer in placed if layer.arrangement}
    pooled = {grids[layer.name] for layer in placed if layer.kind.startswith("Adaptive")}
    own = [layer for layer in placed if grids[layer.name] not in pooled] or placed
    mixing = {grids[layer.name] for layer in own if _mixes_places(model, layer)}
    own = [layer for layer in own if grids[layer.name] in mixing] or own
    answering = {layer.name for layer in own if layer.arrangement and layer.arrangement.channels == classes}
    gradients = gradients_at(model, inputs, targets)
    for grid in sorted({grids[layer.name] for layer in own}, key=prod):
        there = [layer for layer in own if grids[layer.name] == grid]
        names = [layer.name for layer in sorted(there, key=lambda each: (each.name in answering, -each.order))]
        found, arrangements = gradients(names)
        reached = [name for name in names if any(rows_reached(found.get(name), arrangements.get(name), len(targets)))]
        if reached:
            across = _choose_across(model, inputs, targets, reached, _split_grid(layers, grid, reached))
            return AutomaticLayer(across or reached[0], coarsest=grid)
    return None


def _mixes_places(model: Model, layer: Layer) -> bool:
    """Whether a layer's output has tokens, which attend to each other, or is that of a kernel of several places.

    One channel alone is a map of weights for others.
    """
    part = hookable_parts(model.module).get(split_call(layer.name)[0])
    kernel, weight = getattr(part, "kernel_size", 1), getattr(part, "weight", None)
    if layer.arrangement is None or layer.arrangement.channels == 1:
        return False
    return not layer.arrangement.channels_first or (weight is not None and kernel not in (1, (1,), (1, 1), (1, 1, 1)))


class _GridParts(NamedTuple):
    """The first layer of the longest run of layers on one grid, and all layers on coarser ones or without places."""

    first: str
    aside: list[str]


def _split_grid(layers: Layers, grid: Size, reached: Sequence[str]) -> _GridParts:
    run = sorted((layer for layer in layers.values() if layer.arrangement and layer.field), key=lambda each: each.order)
    runs: list[list[str]] = [[]]
    aside = []
    for layer in run:
        own = layer.arrangement.grid if layer.arrangement else grid
        if own == grid and layer.name in reached:
            runs[-1].append(layer.name)
        elif own != grid and runs[-1]:
            runs.append([])
        if prod(own) < prod(grid):
            aside.append(layer.name)
    return _GridParts(max(runs, key=len)[0], aside)


def _choose_across(
    model: Model, inputs: Tensor, targets: Sequence[Target], names: Sequence[str], parts: _GridParts
) -> str | None:
    """The first of some layers that lies on all ways from a grid's main part to the target, but for those aside."""
    some, asked = (inputs, targets) if model.fixed_batch else (inputs[:1], targets[:1])
    with capture(model.module, [*names, *parts.aside], watched_layers(asked)) as held:
        logits = model.answer(some, asked)[: len(asked)]
        scores = score(settle(asked, logits, model.labels, model.head), logits, held)
        nodes = {name: get_gradient_edge(each).node for name, each in held.activations.items() if each.requires_grad}
        aside = {nodes[name] for name in parts.aside if name in nodes}
        if scores.grad_fn is None or parts.first not in nodes:
            return None
        ways = (name for name in names if name in nodes)
        return next(
            (name for name in ways if not _leads_to(scores.grad_fn, nodes[parts.first], {nodes[name], *aside})), None
        )


def _leads_to(start: Node, end: Node, closed: set[Node]) -> bool:
    """Whether a graph of gradients leads from one node to another without the closed ones."""
    left, seen = [start], {start}
    while left:
        node = left.pop()
        if node in closed:
            continue
        if node == end:
            return True
        following = {each for each, _ in node.next_functions if each is not None} - seen
        seen |= following
        left.extend(following)
    return False


def find_read(model: Model, inputs: Tensor, targets: Sequence[Target]) -> AutomaticLayer | None:
    """The last layer of which several places reach the targets, of those that run once; None if there is none.

    A detector's head, which runs on maps of several sizes, or reads a box from a single place, is passed over.
    """
    layers = model.layers_on(size_of(inputs))
    placed = [layer for layer in layers.values() if layer.spatial and layer.calls == 1 and layer.kind != "Identity"]
    names = [layer.name for layer in sorted(placed, key=lambda each: -each.order)]
    gradients = gradients_at(model, inputs, targets)
    best: tuple[str | None, int] = None, 0
    for start in range(0, len(names), TOGETHER):
        group = names[start : start + TOGETHER]
        found, arrangements = gradients(group)
        for name in group:
            gradient, arrangement = found.get(name), arrangements.get(name)
            if gradient is None or arrangement is None:
                continue
            places = to_maps(gradient[: len(targets)], arrangement).ne(0).any(dim=1).flatten(1).sum(dim=1)
            reached = int((places > 1).sum())
            best = (name, reached) if reached > best[1] else best
        if best[1] == len(targets):
            break
    return None if best[0] is None else AutomaticLayer(best[0], read=True)
