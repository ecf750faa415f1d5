"""Layers: what a network is made of, as one forward of it showed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Final, Literal, TypeAlias

from cnnviz.core.dimensions import Size, spell_size
from cnnviz.core.field import Field, spell_field
from cnnviz.core.notebook import html_table, repr_line
from cnnviz.core.untrusted import NUMBER
from cnnviz.errors import UnknownNameError, UsageError

__all__ = [
    "AUTOMATIC",
    "FUNCTION",
    "Arrangement",
    "AutomaticLayer",
    "Layer",
    "Layers",
    "Order",
    "is_layer_name",
    "split_call",
    "split_function",
]

AUTOMATIC = "last-spatial"
HEADINGS: Final = ("layer", "kind", "output", "weights", "receptive field", "calls")
FUNCTION = "+"

NAMED: Final = 3
"""Layers that are named in a line."""

Order: TypeAlias = Literal["NCT", "NCHW", "NCDHW", "NHWC", "NDHWC", "NTC"]
CHANNELS_FIRST: Final[tuple[Order, ...]] = ("NCT", "NCHW", "NCDHW")
CHANNELS_LAST: Final[tuple[Order, ...]] = ("NTC", "NHWC", "NDHWC")


@dataclass(frozen=True)
class Arrangement:
    """Where an activation keeps its channels and its places.

    Attributes:
        order: ``"NCT"``, ``"NCHW"``, ``"NCDHW"``; ``"NHWC"``, ``"NDHWC"`` (channels last) or ``"NTC"`` (tokens, and
            signals with channels last).
        grid: How many places there are along each axis: of a picture rows and columns.
        channels: Number of channels.
        prefix: Tokens before the grid that belong to no place, such as a class token.
        inferred: Whether the grid is not one of maps that the network made, but follows from the number of tokens.
    """

    order: Order
    grid: Size
    channels: int
    prefix: int = 0
    inferred: bool = field(default=False, compare=False)

    @classmethod
    def of_maps(cls, shape: Size, *, last: bool = False) -> Arrangement:
        """Maps of one image.

        Args:
            shape: ``(C, ...)``, or ``(..., C)`` with channels last.
            last: Whether channels are last.
        """
        grid, channels = (shape[:-1], shape[-1]) if last else (shape[1:], shape[0])
        return cls((CHANNELS_LAST if last else CHANNELS_FIRST)[len(grid) - 1], grid, channels)

    @property
    def spatial(self) -> bool:
        """Whether there is more than one place."""
        return prod(self.grid) > 1

    @property
    def channels_first(self) -> bool:
        """Whether it is maps with their channels before their places."""
        return self.order.startswith("NC")

    @property
    def tokens(self) -> bool:
        """Whether it is a sequence of tokens."""
        return self.order == "NTC"


@dataclass(frozen=True)
class Layer:
    """One layer of a network.

    Attributes:
        name: Its path in the network, such as ``"layer4.2.conv1"``; ``"conv2+relu"`` is the function ``relu`` that is
            called on the output of ``conv2``.
        kind: The class of the module, such as ``"Conv2d"``, or the function, such as ``"relu()"``.
        shape: Output shape without the batch; None if it was not run or returned no single tensor.
        calls: How often one forward calls it.
        parameters: Number of weights in it, with all that it contains.
        arrangement: Where the output keeps channels and places; None if it has none.
        order: When it finished (the call that its name means), counted through the forward; -1 if it was not run.
        fields: What its units see of the input, at every call; None where its output is not made from it.
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None
    calls: int
    parameters: int
    arrangement: Arrangement | None
    order: int
    fields: tuple[Field | None, ...] = ()

    def __repr__(self) -> str:
        return repr_line("Layer", self.name, self.kind, self._spell_shape())

    def _repr_html_(self) -> str:
        facts = zip(HEADINGS, self._row(), strict=True)
        return html_table(f"Layer {self.name}", (), [(name, said) for name, said in facts if said])

    def _row(self) -> tuple[str, ...]:
        """What a table says of it, under ``HEADINGS``."""
        times = f"{self.calls}" if self.calls != 1 else ""
        return self.name, self.kind, self._spell_shape(), f"{self.parameters:,}", spell_field(self.field), times

    def _spell_shape(self) -> str:
        return "no output" if self.shape is None else spell_size(self.shape)

    @property
    def function(self) -> bool:
        """Whether it is an activation function that is called on a module's output, and no module."""
        return self.kind.endswith("()")

    @property
    def spatial(self) -> bool:
        """Whether its output has more than one place."""
        return self.arrangement is not None and self.arrangement.spatial

    @property
    def call(self) -> int:
        """The call that its name alone means: the last whose output is made from the input, or else the last."""
        return max((call for call, field in enumerate(self.fields, 1) if field is not None), default=self.calls)

    @property
    def field(self) -> Field | None:
        """What its units see of the input, at the call that its name means; None if that is not made from it."""
        return self.fields[self.call - 1] if self.fields else None

    def field_of(self, name: str) -> Field | None:
        """What its units see at the call that was asked for, ``"relu#2"``, or that the name alone means."""
        call = split_call(name)[1]
        return self.field if call is None or not self.fields else self.fields[call - 1]

    def describe_call(self, name: str) -> tuple[str, ...]:
        """A sentence on which call is shown of a layer that runs several times, by the name that was asked for."""
        if self.calls < 2 or split_call(name)[1] is not None:
            return ()
        if self.call == self.calls:
            shown = f"its last run is shown, ask for {name}#1 for another"
        else:
            shown = f"its last run from the picture, {name}#{self.call}, is shown"
        return (f"layer {name} runs {self.calls} times in a forward; {shown}",)


@dataclass(frozen=True)
class AutomaticLayer:
    """The layer that is taken if none is named.

    Attributes:
        name: Its name.
        beside: Earlier layers that reach the target past it, the last first.
        reached: Whether a gradient reaches it.
        coarsest: Its grid, where it was chosen as the last on the coarsest grid of a network with dense answers.
        read: Whether it was chosen as the last that a detector reads several places of for the targets.
        detected: Whether there is a detection that it could be chosen for.
    """

    name: str
    beside: tuple[str, ...] = ()
    reached: bool = True
    coarsest: Size | None = None
    read: bool = False
    detected: bool = True

    def describe(self, target: str = "the target") -> tuple[str, ...]:
        """What to say of it.

        Args:
            target: What its places reach, in words.
        """
        owner, function = split_function(self.name)
        spoken = f"{owner} after its {function} ('{self.name}')" if function else self.name
        if self.coarsest is not None:
            grid = "x".join(map(str, self.coarsest))
            return (f"layer {spoken}, chosen automatically: the last at the lowest resolution, {grid}",)
        if self.read:
            return (f"layer {spoken}, chosen automatically: the last with several positions that the detection reads",)
        if not self.detected:
            return (f"layer {spoken}, chosen automatically: the last spatial layer, as nothing was detected",)
        if not self.reached:
            return (
                f"layer {spoken}, chosen automatically: the last spatial layer, as no gradient of {target} reaches any",
            )
        chosen = f"layer {spoken}, chosen automatically: the last spatial layer that {target} depends on"
        if not self.beside:
            return (chosen,)
        others = f"{self.beside[0]} and {len(self.beside) - 1} more" if self.beside[1:] else self.beside[0]
        return chosen, f"{target} also depends on {others}, which bypasses layer {self.name} and is not in this map"


class Layers(Mapping[str, Layer]):
    """The layers of a network by name, in the order the network lists them."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        self._layers = {layer.name: layer for layer in layers}

    def __getitem__(self, name: str) -> Layer:
        return self._layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __repr__(self) -> str:
        first = ", ".join([*self][:NAMED])
        return repr_line("Layers", "", f"{len(self)} layers: {first}{', ...' if len(self) > NAMED else ''}")

    def _repr_html_(self) -> str:
        return html_table(f"{len(self)} layers", HEADINGS, [layer._row() for layer in self.values()])

    def resolve(self, name: str) -> Layer:
        """The layer of that name; ``"last-spatial"`` is the last one whose output has more than one place.

        Raises:
            UnknownNameError: If there is none; the message offers the nearest names.
            UsageError: If a call such as ``"relu#3"`` is asked of a layer that is called less often, or no layer of
                the network has a spatial output.
        """
        if name == AUTOMATIC:
            return self.last_spatial()
        plain, call = split_call(name)
        if plain not in self._layers:
            raise UnknownNameError("layer", plain, self._layers, "'cnnviz layers' lists them all.")
        layer = self._layers[plain]
        if call is not None and not 1 <= call <= layer.calls:
            raise UsageError(f"Layer '{plain}' is called {layer.calls} times in a forward; there is no call {call}.")
        return layer

    def last_run_once(self) -> Layer:
        """The last layer with places of those that run once, if there are any: a detector's head may run often."""
        once = [layer for layer in self.values() if layer.spatial and layer.calls == 1]
        return max(once, key=lambda layer: layer.order) if once else self.last_spatial()

    def last_spatial(self) -> Layer:
        """The layer that finished last among those whose output has more than one place."""
        spatial = [layer for layer in self._layers.values() if layer.spatial]
        spatial = [layer for layer in spatial if layer.field is not None] or spatial
        if not spatial:
            raise UsageError("No layer of this network has a spatial output.")
        return max(spatial, key=lambda layer: layer.order)


def split_call(name: str) -> tuple[str, int | None]:
    """``"relu#2"`` as layer name and call, counted from 1; the call is None where none is named."""
    plain, mark, call = name.rpartition("#")
    return (plain, int(call)) if mark and re.fullmatch(NUMBER, call) else (name, None)


def split_function(name: str) -> tuple[str, str]:
    """``"conv2+relu"`` as the layer and the function that is called on its output; empty where none is named."""
    owner, mark, function = split_call(name)[0].rpartition(FUNCTION)
    return (owner, function) if mark and owner and function.isidentifier() else (split_call(name)[0], "")


def is_layer_name(name: str, known: Iterable[str]) -> bool:
    """Whether a name is that of a layer, of one call of it or of a function on its output.

    Args:
        name: Such as ``"conv2"``, ``"conv2#1"`` or ``"conv2+relu"``.
        known: The names of the network's modules.
    """
    held = set(known)
    return split_call(name)[0] in held or split_function(name)[0] in held
