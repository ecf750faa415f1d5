"""Where layers keep their places, remembered from one forward to the next of the same size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from torch import nn

from cnnviz.core.layer import Arrangement
from cnnviz.probing.arrangement import Arranger, first_tensor

__all__ = ["Places"]

Shape: TypeAlias = tuple[int, ...]
Seen: TypeAlias = dict[tuple[str, int], tuple[Shape, Arrangement | None]]

MOST_KEPT = 8
_KEPT: WeakKeyDictionary[nn.Module, dict[object, Seen]] = WeakKeyDictionary()


class Places:
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
    """

    def __init__(self, module: nn.Module, parts: Mapping[str, nn.Module], shape: Shape, *, anew: bool = False) -> None:
        self._kept = _KEPT.setdefault(module, {})
        self._key = shape, tuple((name, type(part)) for name, part in parts.items())
        self._batch = shape[0]
        self._arranger = Arranger()
        self._seen: Seen = {} if anew else self._kept.get(self._key, {})
        self.learning, self.stale = not self._seen, False

    def of(self, name: str, call: int, part: nn.Module, output: Any) -> Arrangement | None:
        """The arrangement of a layer's output, or None if it has none."""
        tensor = first_tensor(output)
        shape = tuple(tensor.shape) if tensor is not None else ()
        if self.learning:
            self._seen[name, call] = shape, self._arranger.observe(part, output, self._batch)
        before, arrangement = self._seen.get((name, call), ((), None))
        self.stale |= before != shape
        return arrangement

    def keep(self) -> None:
        """Remember what a forward has shown of all layers."""
        if self._seen:
            self._kept.pop(self._key, None)
            self._kept[self._key] = self._seen
        while len(self._kept) > MOST_KEPT:
            del self._kept[next(iter(self._kept))]

    def forget(self) -> None:
        """Forget what earlier forwards on such inputs have shown."""
        self._kept.pop(self._key, None)
