"""The layers of a network, from one real forward."""

from __future__ import annotations

import copy
import inspect
from collections import Counter
from collections.abc import Callable, Collection, Iterator, MutableMapping, Sequence
from contextlib import ExitStack
from itertools import accumulate
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.weak import WeakTensorKeyDictionary

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.core.field import Field
from cnnviz.core.layer import Arrangement, Layer, Layers, split_call, split_function
from cnnviz.engine.arrangement import Arranger, first_tensor, said_grid, say_grid
from cnnviz.engine.fields.trace import FieldTrace
from cnnviz.engine.functions import FunctionLayer, follow_functions
from cnnviz.engine.undisturbed import hookable_parts, undisturbed
from cnnviz.errors import CnnvizError, ModelError

__all__ = [
    "TOGETHER",
    "blank_copy",
    "entrance",
    "last_reached",
    "observe_layers",
    "reaches_places",
    "rows_reached",
    "run",
    "touched",
]

TOGETHER = 16
"""Layers whose gradients are asked for by one forward and backward."""


def reaches_places(gradient: Tensor | None, arrangement: Arrangement | None) -> bool:
    """Whether there is a gradient and, in a token sequence, goes to its places, not only to the tokens before them."""
    if gradient is None:
        return False
    if arrangement is None or arrangement.prefix == 0:
        return True
    places, before = gradient[:, arrangement.prefix :], gradient[:, : arrangement.prefix]
    return bool(places.any()) or not bool(before.any())


def rows_reached(gradient: Tensor | None, arrangement: Arrangement | None, count: int) -> list[bool]:
    """For each of the first images, whether its target's gradient is not zero at every place."""
    if gradient is None:
        return [False] * count
    places = gradient[:count] if arrangement is None else gradient[:count, arrangement.prefix :]
    return [bool(one) for one in places.flatten(1).any(dim=1).tolist()]


def entrance(layers: Layers, name: str) -> str:
    """Where to stop looking for places that a unit's value is made from: its layer, or a part of it.

    A layer with nothing spatial before it (all convolutions in one, say) is entered: its part that finishes last is
    taken instead, and that one's, until there is something before it or it has no parts.

    Args:
        layers: The network's layers.
        name: The unit's layer.
    """
    found = split_call(name)[0]
    while True:
        inside = [layer for layer in layers.values() if layer.name.startswith(f"{found}.") and layer.order >= 0]
        begun = min((layer.order for layer in inside), default=layers[found].order)
        if not inside or any(layer.spatial and layer.order < begun for layer in layers.values()):
            return found
        found = max(inside, key=lambda layer: layer.order).name


def _is_projection(layers: Layers, layer: Layer) -> bool:
    """Whether it may be queries, keys or values: what an attention makes of tokens, and not the tokens.

    So may what is inside such a layer, as the low-rank path of an adapter.
    """
    parts = layer.name.split(".")
    around = [layers.get(".".join(parts[:end])) for end in range(1, len(parts))]
    return any(
        each.kind == "Linear" and each.arrangement is not None and each.arrangement.tokens
        for each in (layer, *around)
        if each is not None
    )


Gradients: TypeAlias = Callable[[Sequence[str]], tuple[dict[str, Tensor], dict[str, Arrangement | None]]]
"""From names of layers to the target's gradients there and the layers' arrangements, by one forward and backward."""


def last_reached(
    layers: Layers, gradients: Gradients, *, count: int = 1, before: str | None = None, last: Collection[str] = ()
) -> tuple[str | None, int]:
    """The last layer at whose places the gradient of every target is not zero; an attention's projections come last.

    Args:
        layers: The network's layers.
        gradients: Gradients and arrangements of some layers, by one forward and backward.
        count: How many targets there are.
        before: Only layers that end before this one.
        last: Other layers that are taken if there is nothing else.

    Returns:
        The layer, and how many targets it reaches: of those that reach the most the last. None if none does.
    """
    limit = layers[before].order if before is not None else max((each.order for each in layers.values()), default=0) + 1
    placed = [layer for layer in layers.values() if layer.spatial and layer.order < limit]
    earlier = [layer for layer in placed if layer.kind != "Identity"] or placed
    names = [
        layer.name
        for layer in sorted(earlier, key=lambda each: (each.name in last or _is_projection(layers, each), -each.order))
    ]
    best: tuple[str | None, int] = None, 0
    for start in range(0, len(names), TOGETHER):
        group = names[start : start + TOGETHER]
        found_gradients, arrangements = gradients(group)
        for name in group:
            reached = sum(rows_reached(found_gradients.get(name), arrangements.get(name), count))
            best = (name, reached) if reached > best[1] else best
        if best[1] == count:
            break
    return best


def observe_layers(module: nn.Module, example: Tensor) -> Layers:
    """List a network's layers with their kinds, output shapes, arrangements and receptive fields.

    A copy without weights is asked first, on tensors that have a shape and no values: nothing is computed. Where that
    cannot be (values decide what the network does, or it has somebody's hooks or forward) the network itself runs once.
    The copy gets a single example twice, if it takes that: what a layer makes once whatever the number of images (a
    table of positions, say) is then seen not to be of an image, and has no places.

    Args:
        module: The network; comes back as it was.
        example: One input ``(1, C, ...)`` on the network's device.

    Raises:
        ModelError: If the network fails on this input.
    """
    observer = _observe_blank_copy(module, example) or _observe_module(module, example)
    return Layers(observer.layers(module))


def _observe_blank_copy(module: nn.Module, example: Tensor) -> _Observer | None:
    if touched(module):
        return None
    empty = example.to("meta")
    for given in (empty.expand(2, *empty.shape[1:]), empty) if len(empty) == 1 else (empty,):
        try:
            with _disable_current_modes():
                return _observe_module(blank_copy(module), given)
        except Exception:  # noqa: BLE001 - a network may do anything with values; then it runs on some
            continue
    return None


def touched(module: nn.Module) -> bool:
    """Whether somebody's hooks, or a forward of their own, are on any part of a network."""
    return any(part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part) for part in module.modules())


def blank_copy(module: nn.Module) -> nn.Module:
    """The network with weights that have shapes and no values."""
    blank: dict[int, Any] = {}
    for weight in module.parameters():
        blank[id(weight)] = nn.Parameter(weight.detach().to("meta"), requires_grad=False)
    for buffer in module.buffers():
        blank[id(buffer)] = buffer.detach().to("meta")
    copied = copy.deepcopy(module, blank)
    say_grid(copied, said_grid(module))
    return copied


def _observe_module(module: nn.Module, example: Tensor) -> _Observer:
    observer = _Observer(module, example)
    with undisturbed(module), torch.no_grad(), ExitStack() as hooks:
        for name, part in hookable_parts(module).items():
            if name:
                handle = part.register_forward_hook(observer.hook(name))
                hooks.callback(handle.remove)
        observer.functions = hooks.enter_context(follow_functions(module, (), observer.hook_function))
        with observer.fields:
            run(module, example)
    return observer


def run(module: nn.Module, inputs: Tensor) -> Any:
    """The network's output, whatever it is; a failure inside it becomes one sentence.

    The network gets a copy of the inputs: one that normalises them in place leaves them as they were.

    Raises:
        ModelError: If the network fails on this input.
    """
    try:
        return module(inputs.clone())
    except CnnvizError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError, NotImplementedError) as error:
        if ran_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        if f'Module [{type(module).__name__}] is missing the required "forward"' in reason:
            inside = ", ".join(
                f".{name}" for name, part in module.named_children() if any(True for _ in part.parameters())
            )
            raise ModelError(
                f"{type(module).__name__} has no forward of its own; pass the network inside it"
                + (f" ({inside})." if inside else ".")
            ) from error
        if isinstance(error, TypeError) and (missing := _missing_arguments(module)):
            raise ModelError(
                f"The network's forward needs more than the picture: {', '.join(missing)}; expected "
                f'cnnviz.Model(net, inputs={{"{_picture_argument(module)}": ..., "{missing[0]}": tensor}}), in which '
                "`...` is the picture, or cnnviz.Model(net, forward=function) with function(network, images)."
            ) from error
        raise ModelError(f"The network fails on an input of shape {tuple(inputs.shape)}: {reason}") from error


def _parameters(module: nn.Module) -> list[inspect.Parameter]:
    """What a network's forward takes, as far as it says."""
    try:
        return list(inspect.signature(module.forward).parameters.values())
    except (TypeError, ValueError):
        return []


def _missing_arguments(module: nn.Module) -> list[str]:
    """Arguments that a network's forward needs besides the first."""
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in _parameters(module)[1:] if each.default is each.empty and each.kind not in several]


def _picture_argument(module: nn.Module) -> str:
    return _parameters(module)[0].name


class _Observer:
    def __init__(self, module: nn.Module, example: Tensor) -> None:
        self.batch = example.shape[0]
        self.fields = FieldTrace(example)
        self.arranger = Arranger(module, example.shape[2:])
        self.calls: Counter[str] = Counter()
        self.events: list[str] = []
        self.finished: dict[str, tuple[int, tuple[int, ...] | None, Arrangement | None]] = {}
        self.seen: dict[str, list[Field | None]] = {}
        self.functions: dict[str, FunctionLayer] = {}
        self.returned: Counter[str] = Counter()
        self._results: MutableMapping[Tensor, str] = WeakTensorKeyDictionary()

    def hook(self, name: str) -> Any:
        def observe(part: nn.Module, _inputs: Any, output: Any) -> None:
            tensor = first_tensor(output)
            shape = tuple(tensor.shape[1:]) if tensor is not None else None
            self.calls[name] += 1
            arrangement = self.arranger.observe(part, output, self.batch)
            self.events.append(name)
            fields = self.seen.setdefault(name, [])
            fields.append(self.fields.of(tensor, arrangement))
            if fields[-1] is not None or not any(fields):
                self.finished[name] = len(self.events), shape, arrangement
            if tensor is not None and tensor in self._results:
                self.returned[self._results.pop(tensor)] += 1

        return observe

    def hook_function(self, name: str, layer: FunctionLayer) -> None:
        """Observe a function that is called on a layer's output, and what becomes of its result."""

        def note(_part: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            self._results[inputs[0] if layer.inplace else output] = name

        layer.register_forward_hook(self.hook(name))
        layer.register_forward_hook(note)

    def layers(self, module: nn.Module) -> Iterator[Layer]:
        """The layers in the network's order, each followed by the functions on its output.

        A function whose result a module returns as its own is that module.
        """
        own = {name for name in self.functions if self.calls[name] > self.returned[name]}
        counted = [name in own or name not in self.functions for name in self.events]
        orders = [0, *accumulate(counted)]
        for name, part in module.named_modules():
            if name:
                yield self._layer(name, part, orders)
            for function in sorted(own):
                if split_function(function)[0] == name:
                    yield self._layer(function, self.functions[function], orders)

    def _layer(self, name: str, part: nn.Module, orders: Sequence[int]) -> Layer:
        event, shape, arrangement = self.finished.get(name, (None, None, None))
        order = -1 if event is None else orders[event]
        weights = sum(weight.numel() for weight in part.parameters() if not _is_uninitialised(weight))
        fields = tuple(self.seen.get(name, ()))
        kind = f"{split_function(name)[1]}()" if isinstance(part, FunctionLayer) else _kind_of(part)
        return Layer(name, kind, shape, self.calls[name], weights, arrangement, order, fields)


def _is_uninitialised(weight: Tensor) -> bool:
    return isinstance(weight, nn.parameter.UninitializedParameter)


def _kind_of(part: nn.Module) -> str:
    original = getattr(part, "type_name", None)
    named = original() if callable(original) else None
    return str(named).rpartition(".")[2] if named else type(part).__name__
