"""kernels: the weights a forward really convolves with, whatever module or function does it."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import TensorWeakRef

from cnnviz.core.dimensions import PICTURE, count_places, has_places, reorder_places
from cnnviz.engine.layers import run
from cnnviz.engine.undisturbed import hookable_parts, undisturbed

__all__ = ["Kernels", "observe_kernels"]

ALIKE = 0.999

Kind: TypeAlias = Literal["plain", "transposed", "linear"]


@dataclass(frozen=True, eq=False)
class Kernels:
    """The kernels of one layer.

    Attributes:
        name: The layer's name.
        values: ``(U, C, kh, kw)``, of signals ``(U, C, k)``, of volumes ``(U, C, kd, kh, kw)``: for each unit its
            kernels on the ``C`` input channels that it reads; of a transposed convolution, what one input place writes
            around itself into the unit.
        groups: In how many groups the units read the input channels: those of the first group the first ``C``.
        transposed: Whether it is a transposed convolution.
        linear: Whether it is a linear layer on the flattened picture; its kernels are as large as the picture.
        on_picture: Whether it reads the picture itself: nothing with weights runs before it.
        gains: ``(U,)``: what the batch norm that takes its output multiplies each unit with; None if none does.
        calls: How often one forward convolves with it.
        alone: Whether the layer convolves with these weights only.
        places: How many axes of places the network's input has: 2 of pictures.
    """

    name: str
    values: Tensor
    groups: int = 1
    transposed: bool = False
    linear: bool = False
    on_picture: bool = False
    gains: Tensor | None = None
    calls: int = 1
    alone: bool = True
    places: int = PICTURE

    @property
    def drawable(self) -> bool:
        """Whether there is something to see: kernels over the input's axes of places, larger than one place."""
        return has_places(self.values, self.places) and math.prod(self.values.shape[2:]) > 1


def observe_kernels(module: nn.Module, example: Tensor) -> dict[str, Kernels]:
    """Run the network once and collect every layer's kernels, in the order in which they are first used.

    The weights are caught where the convolution is computed: standardised, normalised or otherwise computed ones
    are what the network convolves with, and functions count as their layer's. A batch norm is taken as a layer's when
    it is handed the very tensor that the convolution returned, not changed in place since.

    Args:
        module: The network; comes back as it was.
        example: One input ``(1, C, ...)`` on the network's device, no two values the same.

    Raises:
        ModelError: If the network fails on this input.
    """
    with undisturbed(module), torch.no_grad(), ExitStack() as hooks:
        watch = _KernelMode(example)
        for name, part in hookable_parts(module).items():
            hooks.callback(part.register_forward_pre_hook(watch.entering(name)).remove)
            hooks.callback(part.register_forward_hook(watch.leave, prepend=True).remove)
        with watch:
            run(module, example)
    places = count_places(example.shape)
    return {name: _layer_kernels(name, uses, places) for name, uses in watch.uses.items() if name}


@dataclass(eq=False)
class _Convolution:
    """One convolution of the forward."""

    weight: Tensor
    output: TensorWeakRef
    kind: Kind
    groups: int
    on_picture: bool
    gains: Tensor | None = None


class _KernelMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation, and in which layer it runs."""

    def __init__(self, picture: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.picture = picture
        self.uses: dict[str, list[_Convolution]] = {}
        self._inside: list[str] = []
        self._first: Tensor | None = None

    def entering(self, name: str) -> Any:
        """A hook for a layer's start."""

        def enter(_part: nn.Module, _inputs: Any) -> None:
            self._inside.append(name)

        return enter

    def leave(self, _part: nn.Module, _inputs: Any, _output: Any) -> None:
        """The hook for any layer's end."""
        self._inside.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        operation = func._schema.name.partition("::")[2]
        if operation == "convolution":
            self._add_convolution(_named_arguments(func, args, kwargs), output)
        elif operation in ("addmm", "mm", "linear"):
            self._add_product(operation, args, output)
        elif "batch_norm" in operation:
            self._add_gains(_named_arguments(func, args, kwargs))
        return output

    def _add_convolution(self, given: dict[str, Any], output: Tensor) -> None:
        first = self._is_first(given["input"])
        kind: Kind = "transposed" if given["transposed"] else "plain"
        self._add_use(_Convolution(given["weight"], TensorWeakRef(output), kind, given["groups"], first))

    def _add_product(self, operation: str, args: Any, output: Tensor) -> None:
        flat, weight = args[1:3] if operation == "addmm" else args[:2]
        weight = weight if operation == "linear" else weight.t()
        if self._is_first(flat) and (shaped := _pixel_kernels(flat, weight, self.picture)) is not None:
            self._add_use(_Convolution(shaped, TensorWeakRef(output), "linear", 1, self._is_first(flat)))

    def _add_gains(self, given: dict[str, Any]) -> None:
        variance = given.get("running_var")
        if variance is None:
            return
        for use in (use for uses in self.uses.values() for use in uses):
            output = use.output()
            if output is not None and output is given["input"] and output._version == 0:
                gains = (variance.double() + given.get("eps", given.get("epsilon"))).rsqrt()
                use.gains = gains if given.get("weight") is None else gains * given["weight"].double()

    def _add_use(self, use: _Convolution) -> None:
        self.uses.setdefault(self._inside[-1], []).append(use)

    def _is_first(self, inputs: Tensor) -> bool:
        """Whether nothing with weights came before, or this reads what the first thing with weights read."""
        if self._first is None:
            self._first = inputs
        return inputs.data_ptr() == self._first.data_ptr() and inputs.numel() == self._first.numel()


def _named_arguments(func: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    names = [argument.name for argument in func._schema.arguments]
    return dict(zip(names, args, strict=False)) | (kwargs or {})


def _pixel_kernels(flat: Tensor, weight: Tensor, picture: Tensor) -> Tensor | None:
    """A linear layer's weights as kernels ``(U, C, ...)``, if what it reads is the picture, channel by channel.

    Each channel may have been shifted and scaled on the way; it may come first or last.
    """
    count, channels, *size = picture.shape
    if flat.shape != (count, channels * math.prod(size)):
        return None
    order = reorder_places(len(size), last=False)
    first = flat.view(count, channels, *size)
    last = flat.view(count, *size, channels).permute(order)
    if _is_picture(first, picture):
        return weight.reshape(-1, channels, *size)
    if _is_picture(last, picture):
        return weight.reshape(-1, *size, channels).permute(order)
    return None


def _is_picture(one: Tensor, other: Tensor) -> bool:
    first, second = (each.double().transpose(0, 1).flatten(1) for each in (one, other))
    first, second = (each - each.mean(dim=1, keepdim=True) for each in (first, second))
    alike = nn.functional.cosine_similarity(first, second, dim=1)
    return bool((alike > ALIKE).all())


def _layer_kernels(name: str, uses: list[_Convolution], places: int) -> Kernels:
    use = uses[0]
    values = use.weight.detach()
    if use.kind == "transposed":
        inputs, units = values.shape[:2]
        grouped = values.reshape(use.groups, inputs // use.groups, units, *values.shape[2:])
        values = grouped.transpose(1, 2).reshape(use.groups * units, inputs // use.groups, *values.shape[2:])
    return Kernels(
        name,
        values.cpu(),
        use.groups,
        use.kind == "transposed",
        use.kind == "linear",
        use.on_picture,
        None if use.gains is None else use.gains.cpu(),
        len(uses),
        all(each.weight is use.weight for each in uses),
        places,
    )
