"""Recognising where an activation keeps its channels and places, from the forward itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from cnnviz.core.dimensions import PICTURE, SIGNAL, Size, reorder_places
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
    "layers_with_grid",
    "replaced_tensor",
    "said_grid",
    "say_grid",
    "to_maps",
    "with_places",
]

SEQUENCE, MOST_PREFIXES = 2, 8
FEW_PREFIXES, LARGEST_PATCH = 2, 32
CHANNELS_FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.modules.pooling._MaxPoolNd)
BATCH_FIRST = (nn.RNNBase, nn.MultiheadAttention)


_SAID: WeakKeyDictionary[nn.Module, Size] = WeakKeyDictionary()


def said_grid(module: nn.Module) -> Size | None:
    """The grid that was said of a network."""
    return _SAID.get(module)


def say_grid(module: nn.Module, grid: Size | None) -> None:
    """Remember on what grid a network's tokens lie, or that it is to be recognised."""
    if grid is None:
        _SAID.pop(module, None)
    else:
        _SAID[module] = grid


def check_grid(grid: Sequence[int] | None, places: int = PICTURE) -> Size | None:
    """Rows and columns of tokens, as given.

    Raises:
        ParameterError: If they are none.
    """
    given: Any = grid
    sides: tuple[Any, ...] = tuple(given) if isinstance(given, (tuple, list)) else ()
    if grid is not None and (len(sides) != places or not all(isinstance(side, int) and side > 0 for side in sides)):
        expected = "rows and columns" if places == PICTURE else f"{places} numbers"
        raise ParameterError(f"grid is {grid!r}; expected {expected} of tokens, such as {(7,) * places}.")
    return None if grid is None else tuple(int(side) for side in sides)


def layers_with_grid(layers: Layers, grid: Size | None) -> Layers:
    """The layers, if the grid that was given is that of one of them."""
    there = {layer.arrangement.grid for layer in layers.values() if layer.arrangement is not None}
    if grid is None or grid in there:
        return layers
    shapes = [layer.shape for layer in layers.values() if layer.shape is not None and len(layer.shape) == SEQUENCE]
    counts = ", ".join(map(str, sorted({shape[0] for shape in shapes}))) or "none"
    asked = "x".join(map(str, grid))
    raise ParameterError(
        f"No layer's tokens lie on a grid of {asked}; the numbers of tokens of its layers are: {counts}."
    )


class Arranger:
    """Recognises arrangements while a network runs; tell it of every layer's output, in order.

    A convolution's output is channels first; a linear layer's or a layer norm's over the last axis is channels last;
    torchvision's ``Permute`` says what it does; anything else is like the layer that last gave an output of the same
    shape. A token sequence ``(N, T, C)`` is the last grid of maps seen that fits, read row by row, after up to eight
    tokens that belong to no place; or such a grid halved, as where tokens are merged two by two; or, where no grid has
    been seen, the input cut into square patches. An attention's heads over such sequences, ``(N, heads, T, C)``,
    ``(N, heads, S, T)`` and ``(N, T, T, heads)``, and weights between as many tokens are no maps.

    Maps have as many axes of places as the input. Of a network of signals ``(N, C, T)`` a sequence of tokens is maps
    with channels last.

    Args:
        module: The network; the grid that was said of it comes before all others.
        size: Lengths of the input: of a picture height and width.
    """

    def __init__(self, module: nn.Module | None = None, size: Sequence[int] = ()) -> None:
        self._orders: dict[tuple[int, ...], Arrangement] = {}
        self._grids: dict[Size, bool] = {}
        self._sequences: set[int] = set()
        self._lengths: set[int] = set()
        self._channels_first: set[tuple[int, ...]] = set()
        self._size = tuple(size)
        self._places = len(self._size) or PICTURE
        self._said = None if module is None else _SAID.get(module)

    def observe(self, module: nn.Module, output: Any, batch: int) -> Arrangement | None:
        """The arrangement of a layer's output, or None if it has none (a vector, no tensor, another batch size)."""
        tensor = first_tensor(output)
        if tensor is None or not tensor.dim() or tensor.shape[0] != batch:
            return None
        shape = tuple(tensor.shape[1:])
        maps = len(shape) == self._places + 1
        if not maps and len(shape) != SEQUENCE:
            return None
        found = self._maps_arrangement(module, shape) if maps else self._tokens_arrangement(module, shape)
        if found is not None and maps and found.spatial:
            self._grids.pop(found.grid, None)
            self._grids[found.grid] = False
        if found is not None:
            self._orders[shape] = found
        return found

    def _maps_arrangement(self, module: nn.Module, shape: tuple[int, ...]) -> Arrangement | None:
        first, last = Arrangement.of_maps(shape), Arrangement.of_maps(shape, last=True)
        if self._places == SIGNAL:
            return self._signal_arrangement(module, first, self._with_prefix(last))
        if isinstance(module, CHANNELS_FIRST):
            return first
        if isinstance(module, nn.Linear):
            return None if {*shape[:-1]} <= self._sequences else last
        if isinstance(module, nn.LayerNorm) and not _norms_last_axis(module, shape):
            return first
        if isinstance(module, nn.LayerNorm):
            heads = shape[1] in self._sequences and shape[:-1] not in self._grids
            return None if heads else last
        orders = {reorder_places(self._places, last=True): last, reorder_places(self._places, last=False): first}
        known = orders.get(_permute_order(module)) or self._orders.get(shape)
        between = {*shape[1:]} & self._sequences or {*shape[1:]} <= self._lengths
        return known or (None if between else first)

    def _signal_arrangement(self, module: nn.Module, first: Arrangement, last: Arrangement) -> Arrangement | None:
        """Of the two that a signal's ``(C, T)`` or ``(T, C)`` can be."""
        if isinstance(module, CHANNELS_FIRST):
            return first
        batch_first = isinstance(module, BATCH_FIRST) and module.batch_first
        sequence = isinstance(module, (nn.Linear, nn.TransformerEncoderLayer)) or batch_first
        shape = first.channels, *first.grid
        if sequence or (isinstance(module, nn.LayerNorm) and _norms_last_axis(module, shape)):
            self._lengths.add(shape[0])
            return last
        weights = shape[0] == shape[1] and shape[0] in self._lengths  # an attention's, between as many tokens
        return self._orders.get(shape) or (None if weights else first)

    def _with_prefix(self, last: Arrangement) -> Arrangement:
        """A signal's tokens, after those that belong to no place, if so many places are known."""
        (count,) = last.grid
        lengths = [grid[0] for grid in reversed(self._grids)]
        if self._said is not None:
            lengths.insert(0, self._said[0])
        fitting = [length for length in lengths if 0 <= count - length <= FEW_PREFIXES and length > 1]
        length = count if count in fitting else next(iter(fitting), count)
        return Arrangement(last.order, (length,), last.channels, count - length)

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
        return Arrangement("NTC", grid, channels, count - prod(grid), inferred)

    def _find_grid(self, count: int) -> tuple[Size, bool] | None:
        """The grid that so many tokens lie on, and whether the network has made no maps of it."""
        said = {} if self._said is None else {self._said: False}
        for grid, inferred in (*said.items(), *reversed(self._grids.items())):
            if 0 <= count - prod(grid) <= MOST_PREFIXES:
                return grid, inferred
        merged = (each for grid in reversed(self._grids) for each in _halved(grid))
        patched = () if self._grids else _patch_grids(self._size)
        fitting = [grid for grid in (*merged, *patched) if 0 <= count - prod(grid) <= FEW_PREFIXES]
        return (min(fitting, key=lambda grid: count - prod(grid)), True) if fitting else None


def _halved(grid: Size) -> Iterator[Size]:
    """A grid of which two by two places became one: once, with or without a place left over; again where it is even.

    Of a volume's or a clip's the first axis stays as it is.
    """
    *before, rows, columns = grid
    if min(rows, columns) > 2:
        yield *before, (rows + 1) // 2, (columns + 1) // 2
        yield *before, rows // 2, columns // 2
    while rows % 2 == 0 and columns % 2 == 0 and min(rows, columns) > 2:
        rows, columns = rows // 2, columns // 2
        yield *before, rows, columns


def _patch_grids(size: Sequence[int]) -> Iterator[Size]:
    """An input cut into square patches, or cubes."""
    if len(size) > 1:
        for side in range(2, LARGEST_PATCH + 1):
            if all(length % side == 0 for length in size) and min(size) > side:
                yield tuple(length // side for length in size)


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
    """An activation as maps ``(N, C, h, w)``, or of a signal or volume; tokens that belong to no place are left out."""
    if arrangement.tokens:
        placed = activation[:, arrangement.prefix :].transpose(1, 2)
        return placed.reshape(*placed.shape[:2], *arrangement.grid)
    if not arrangement.channels_first:
        return activation.permute(reorder_places(len(arrangement.grid), last=False))
    return activation


def from_maps(maps: Tensor, arrangement: Arrangement, recorded: Tensor) -> Tensor:
    """Maps ``(N, C, h, w)`` in an activation's own arrangement; tokens without a place are the recorded ones."""
    if arrangement.tokens:
        before = recorded[:1, : arrangement.prefix].expand(len(maps), -1, -1)
        return torch.cat([before, maps.flatten(2).transpose(1, 2)], dim=1)
    if not arrangement.channels_first:
        return maps.permute(reorder_places(len(arrangement.grid), last=True))
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
