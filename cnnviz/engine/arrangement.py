"""Recognising where an activation keeps its channels and places, from the forward itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from cnnviz.core.layer import Arrangement, Layers
from cnnviz.engine.calls.cuts import Cuts
from cnnviz.engine.calls.descent import Descent
from cnnviz.errors import ParameterError, UsageError

__all__ = [
    "ArrangementMemory",
    "Arranger",
    "check_grid",
    "first_tensor",
    "from_maps",
    "replaced_tensor",
    "said_grid",
    "say_grid",
    "to_maps",
    "with_grid",
    "with_places",
]

MAPS, TOKENS, MOST_PREFIXES, SIDES = 4, 3, 8, 2
FEW_PREFIXES, LARGEST_PATCH = 2, 32
CHANNELS_FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.modules.pooling._MaxPoolNd)
TO_LAST: tuple[int, ...] = (0, 2, 3, 1)
TO_FIRST: tuple[int, ...] = (0, 3, 1, 2)


_SAID: WeakKeyDictionary[nn.Module, tuple[int, int]] = WeakKeyDictionary()


def said_grid(module: nn.Module) -> tuple[int, int] | None:
    """The grid that was said of a network."""
    return _SAID.get(module)


def say_grid(module: nn.Module, grid: tuple[int, int] | None) -> None:
    """Remember on what grid a network's tokens lie, or that it is to be recognised."""
    if grid is None:
        _SAID.pop(module, None)
    else:
        _SAID[module] = grid


def check_grid(grid: tuple[int, int] | None) -> tuple[int, int] | None:
    """A grid as it was given, with a ParameterError if it is none."""
    given: Any = grid
    sides: tuple[Any, ...] = tuple(given) if isinstance(given, (tuple, list)) else ()
    if grid is not None and (len(sides) != SIDES or not all(isinstance(side, int) and side > 0 for side in sides)):
        raise ParameterError(f"grid is {grid!r}; expected rows and columns of tokens, such as (7, 7).")
    return None if grid is None else (int(sides[0]), int(sides[1]))


def with_grid(layers: Layers, grid: tuple[int, int] | None) -> Layers:
    """The layers, if the grid that was given is that of one of them; otherwise a ParameterError."""
    there = {layer.arrangement.grid for layer in layers.values() if layer.arrangement is not None}
    if grid is None or grid in there:
        return layers
    shapes = [layer.shape for layer in layers.values() if layer.shape is not None and len(layer.shape) == SIDES]
    counts = ", ".join(map(str, sorted({shape[0] for shape in shapes}))) or "none"
    raise ParameterError(
        f"No layer's tokens lie on a grid of {grid[0]}x{grid[1]}; the numbers of tokens of its layers are: {counts}."
    )


class Arranger:
    """Recognises arrangements while a network runs; tell it of every layer's output, in order.

    A convolution's output is channels first; a linear layer's or a layer norm's over the last axis is channels last;
    torchvision's ``Permute`` says what it does; anything else is like the layer that last gave an output of the same
    shape. A token sequence ``(N, T, C)`` is the last grid of maps seen that fits, read row by row, after up to eight
    tokens that belong to no place; or such a grid halved, as where tokens are merged two by two; or, where no grid has
    been seen, the input cut into square patches. An attention's heads over such sequences, ``(N, heads, T, C)``,
    ``(N, heads, S, T)`` and ``(N, T, T, heads)``, and weights between as many tokens are no maps.

    Args:
        module: The network; the grid that was said of it comes before all others.
        size: Height and width of the input.
    """

    def __init__(self, module: nn.Module | None = None, size: Sequence[int] = ()) -> None:
        self._orders: dict[tuple[int, ...], Arrangement] = {}
        self._grids: dict[tuple[int, int], bool] = {}
        self._sequences: set[int] = set()
        self._lengths: set[int] = set()
        self._channels_first: set[tuple[int, ...]] = set()
        self._size = tuple(size)
        self._said = None if module is None else _SAID.get(module)

    def observe(self, module: nn.Module, output: Any, batch: int) -> Arrangement | None:
        """The arrangement of a layer's output, or None if it has none (a vector, no tensor, another batch size)."""
        tensor = first_tensor(output)
        if tensor is None or tensor.dim() not in (MAPS, TOKENS) or tensor.shape[0] != batch:
            return None
        shape = tuple(tensor.shape[1:])
        maps = tensor.dim() == MAPS
        found = self._maps_arrangement(module, shape) if maps else self._tokens_arrangement(module, shape)
        if found is not None and maps and found.spatial:
            self._grids.pop(found.grid, None)
            self._grids[found.grid] = False
        if found is not None:
            self._orders[shape] = found
        return found

    def _maps_arrangement(self, module: nn.Module, shape: tuple[int, ...]) -> Arrangement | None:
        first = Arrangement("NCHW", (shape[1], shape[2]), shape[0])
        last = Arrangement("NHWC", (shape[0], shape[1]), shape[2])
        if isinstance(module, CHANNELS_FIRST):
            return first
        if isinstance(module, nn.Linear):
            return None if {shape[0], shape[1]} <= self._sequences else last
        if isinstance(module, nn.LayerNorm) and not _norms_last_axis(module, shape):
            return first
        if isinstance(module, nn.LayerNorm):
            heads = shape[1] in self._sequences and (shape[0], shape[1]) not in self._grids
            return None if heads else last
        known = {TO_LAST: last, TO_FIRST: first}.get(_permute_order(module)) or self._orders.get(shape)
        between = {shape[1], shape[2]} & self._sequences or {shape[1], shape[2]} <= self._lengths
        return known or (None if between else first)

    def _tokens_arrangement(self, module: nn.Module, shape: tuple[int, ...]) -> Arrangement | None:
        count, channels = shape
        if isinstance(module, CHANNELS_FIRST):
            self._channels_first.add(shape)
        bare = not any(True for _ in module.parameters())
        single = channels == 1 and (count, channels) not in self._orders
        weights = single or (count == channels and count in self._lengths and bare and shape not in self._orders)
        found = None if weights or shape in self._channels_first else self._find_grid(count)
        self._lengths.add(count)
        if found is None:
            return None
        grid, inferred = found
        self._sequences.add(count)
        if inferred:
            self._grids[grid] = True
        return Arrangement("NTC", grid, channels, count - grid[0] * grid[1], inferred)

    def _find_grid(self, count: int) -> tuple[tuple[int, int], bool] | None:
        """The grid that so many tokens lie on, and whether the network has made no maps of it."""
        said = {} if self._said is None else {self._said: False}
        for grid, inferred in (*said.items(), *reversed(self._grids.items())):
            if 0 <= count - grid[0] * grid[1] <= MOST_PREFIXES:
                return grid, inferred
        merged = (each for grid in reversed(self._grids) for each in _halved(grid))
        patched = () if self._grids else _patch_grids(self._size)
        fitting = [grid for grid in (*merged, *patched) if 0 <= count - grid[0] * grid[1] <= FEW_PREFIXES]
        return (min(fitting, key=lambda grid: count - grid[0] * grid[1]), True) if fitting else None


def _halved(grid: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """A grid of which two by two places became one: once, with or without a place left over; again where it is even."""
    rows, columns = grid
    if min(rows, columns) > 2:
        yield (rows + 1) // 2, (columns + 1) // 2
        yield rows // 2, columns // 2
    while rows % 2 == 0 and columns % 2 == 0 and min(rows, columns) > 2:
        rows, columns = rows // 2, columns // 2
        yield rows, columns


def _patch_grids(size: Sequence[int]) -> Iterator[tuple[int, int]]:
    """An input cut into square patches."""
    if len(size) == 2:
        for side in range(2, LARGEST_PATCH + 1):
            if size[0] % side == 0 and size[1] % side == 0 and min(size) > side:
                yield size[0] // side, size[1] // side


def _norms_last_axis(norm: nn.LayerNorm, shape: tuple[int, ...]) -> bool:
    """Whether a layer norm is over channels in the last axis; a kind of its own may norm the first."""
    width = norm.normalized_shape[-1]
    if type(norm).forward is nn.LayerNorm.forward:
        return len(norm.normalized_shape) == 1
    return shape[-1] == width and shape[0] != width


def _permute_order(module: nn.Module) -> tuple[int, ...]:
    """The order that torchvision's ``Permute`` brings axes into; empty for any other module."""
    return tuple(getattr(module, "dims", ())) if type(module).__name__ == "Permute" else ()


def first_tensor(output: Any) -> Tensor | None:
    """A layer's output tensor: the output itself, or the first entry of a tuple or list (as attention returns)."""
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    return output if isinstance(output, Tensor) else None


def tensors_of(output: Any) -> list[Tensor]:
    """The floating tensors in whatever a network returns."""
    return [each for each in tree_leaves(output) if isinstance(each, Tensor) and each.is_floating_point()]


def replaced_tensor(output: Any, tensor: Tensor) -> Any:
    """The layer's output with its tensor replaced, in the container it came in."""
    if isinstance(output, Tensor):
        return tensor
    rest = (tensor, *output[1:])
    return type(output)(*rest) if hasattr(output, "_fields") else type(output)(rest)


def to_maps(activation: Tensor, arrangement: Arrangement) -> Tensor:
    """An activation as maps ``(N, C, h, w)``; tokens that belong to no place are left out."""
    if arrangement.order == "NHWC":
        return activation.permute(0, 3, 1, 2)
    if arrangement.order == "NTC":
        placed = activation[:, arrangement.prefix :].transpose(1, 2)
        return placed.reshape(*placed.shape[:2], *arrangement.grid)
    return activation


def from_maps(maps: Tensor, arrangement: Arrangement, recorded: Tensor) -> Tensor:
    """Maps ``(N, C, h, w)`` in an activation's own arrangement; tokens without a place are the recorded ones."""
    if arrangement.order == "NHWC":
        return maps.permute(0, 2, 3, 1)
    if arrangement.order == "NTC":
        before = recorded[:1, : arrangement.prefix].expand(len(maps), -1, -1)
        return torch.cat([before, maps.flatten(2).transpose(1, 2)], dim=1)
    return maps


def with_places(name: str, arrangement: Arrangement | None, activation: Tensor) -> Arrangement:
    """The arrangement of a layer that a map can be made of.

    Raises:
        UsageError: If the layer has no spatial extent: no maps, or a single place.
    """
    if arrangement is None or not arrangement.spatial:
        raise UsageError(
            f"Layer '{name}' has no spatial extent: its output is {tuple(activation.shape[1:])} for each image; "
            "choose one with maps, or leave the layer to be chosen."
        )
    return arrangement


Shape: TypeAlias = tuple[int, ...]

MOST_KEPT = 8
_KEPT: WeakKeyDictionary[nn.Module, dict[object, ForwardSeen]] = WeakKeyDictionary()


@dataclass
class ForwardSeen:
    """What a forward on inputs of one shape has shown.

    Attributes:
        outputs: By layer and call its output's shape, its arrangement and whether it is made from the input.
        cuts: By the names of captured layers, which of the network's cuts have to be passed over for their gradients.
        detached: Whether the network detached something that is made from the input.
        untraced: Whether nothing could be learned about what is made from the input.
    """

    outputs: dict[str, dict[int, tuple[Shape, Arrangement | None, bool]]] = field(default_factory=dict)
    cuts: dict[frozenset[str], Cuts] = field(default_factory=dict)
    detached: bool = False
    untraced: bool = False


class ArrangementMemory:
    """The arrangements of layers' outputs in a forward on inputs of one shape.

    They follow from the kinds and shapes of all layers, in order. The first forward is told of every layer; a later one
    of the same layers on inputs of that shape only of those that matter, as long as their outputs have the same shapes.

    Args:
        module: The network.
        parts: Its modules by name.
        shape: The inputs' ``(N, C, H, W)``.
        anew: Take nothing from earlier forwards.

    Attributes:
        learning: Whether this forward has to be told of every layer.
        stale: Whether a layer's output has another shape than it had, so that nothing that is remembered holds.
        seen: What the forward has shown.
        descent: Knows what is made from the input, while learning.
    """

    def __init__(self, module: nn.Module, parts: Mapping[str, nn.Module], shape: Shape, *, anew: bool = False) -> None:
        self._kept = _KEPT.setdefault(module, {})
        self._key = shape, _SAID.get(module), tuple((name, type(part)) for name, part in parts.items())
        self._batch = shape[0]
        self._arranger = Arranger(module, shape[2:])
        known = self._kept.get(self._key) or ForwardSeen()
        self.seen = ForwardSeen(cuts=known.cuts, untraced=known.untraced) if anew else known
        self.learning, self.stale = not self.seen.outputs, False
        self.descent: Descent | None = None

    def of(self, name: str, call: int, part: nn.Module, output: Any) -> Arrangement | None:
        """The arrangement of a layer's output, or None if it has none."""
        tensor = first_tensor(output)
        shape = tuple(tensor.shape) if tensor is not None else ()
        if self.learning:
            made = self.descent is None or self.seen.untraced or self.descent.made(tensor)
            found = self._arranger.observe(part, output, self._batch)
            self.seen.outputs.setdefault(name, {})[call] = shape, found, made
        before, arrangement, _ = self.seen.outputs.get(name, {}).get(call, ((), None, True))
        self.stale |= before != shape
        return arrangement

    def made(self, name: str, call: int) -> bool:
        """Whether a call's output is made from the input."""
        return self.seen.outputs.get(name, {}).get(call, ((), None, False))[2]

    def meant(self, name: str) -> int:
        """The call that a layer's name alone means, of those seen so far: the last made from the input, or the last."""
        calls = self.seen.outputs.get(name, {})
        return max([call for call, (_, _, made) in calls.items() if made] or calls, default=0)

    def keep(self) -> None:
        """Remember what a forward has shown of all layers."""
        if self.seen.outputs or self.seen.untraced:
            self._kept.pop(self._key, None)
            self._kept[self._key] = self.seen
        while len(self._kept) > MOST_KEPT:
            del self._kept[next(iter(self._kept))]

    def forget(self) -> None:
        """Forget what earlier forwards on such inputs have shown."""
        self._kept.pop(self._key, None)
