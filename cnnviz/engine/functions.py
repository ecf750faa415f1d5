"""Activation functions that a network calls between its modules, as layers of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from cnnviz.core.change import contextmanager
from cnnviz.core.layer import FUNCTION, split_call, split_function
from cnnviz.engine.activations import KEEPING, Activation, activation_of, plain_name, writes_in_place
from cnnviz.engine.undisturbed import hookable_parts

__all__ = ["FunctionLayer", "follow_functions", "follow_products", "is_linear"]

CARRYING = {"detach", "clone", "requires_grad", "contiguous", "to", "float", "type_as", "max_pool2d", "add", "iadd"}
CARRYING |= {"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout", "radd"}
"""Functions after which an activation function is still the first that a layer's output meets."""

SPLITTING = {"unbind", "chunk", "split", "tensor_split", "mul", "rmul", "div", "truediv", "T", "mT"} | KEEPING
ATTENDING = {"matmul", "bmm", "rmatmul", "baddbmm", "einsum", "scaled_dot_product_attention"}


class FunctionLayer(nn.Module):
    """The place of an activation function that is called on a module's output: hooks go here.

    Attributes:
        inplace: Whether the call overwrites what it is given, which is then what the network goes on with.
    """

    inplace = False

    def forward(self, subject: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """What the function makes of the tensor."""
        return function(subject)


Found = Callable[[str, FunctionLayer], None]


@contextmanager
def follow_functions(
    module: nn.Module, names: Iterable[str], hook: Callable[[str, FunctionLayer], None] | None = None
) -> Iterator[dict[str, FunctionLayer]]:
    """Within it, chosen calls of activation functions are calls of layers, which can be hooked or answered for.

    ``"conv2+relu"`` is the function ``relu`` on what the layer ``conv2`` returned: the first activation function that
    it meets, after dropout, a max pool or a sum if there is one between. A network without such a name runs as it is.

    Args:
        module: The network.
        names: Names of layers, with or without a function.
        hook: Follow every function; told of each layer when it is first called.

    Yields:
        The layers by name.
    """
    parts = _find_functions(module, names)
    if not parts and hook is None:
        yield parts
        return
    with ExitStack() as hooks:
        mode = _FunctionMode(parts, hook)
        owners = {split_function(name)[0] for name in parts}
        for name, part in hookable_parts(module).items():
            if name and (hook is not None or name in owners):
                hooks.callback(part.register_forward_hook(mode.note_output(name)).remove)
        hooks.enter_context(mode)
        yield parts


def is_linear(part: nn.Module | None) -> bool:
    """Whether it is a linear layer, or called one, as an adapter around one is."""
    return isinstance(part, nn.Linear) or type(part).__name__ == "Linear"


@contextmanager
def follow_products(module: nn.Module) -> Iterator[set[str]]:
    """Within it, the linear layers whose outputs meet another tensor in a matrix product: queries, keys and values."""
    mode = _ProductMode()
    with ExitStack() as hooks:
        for name, part in hookable_parts(module).items():
            if is_linear(part):
                hooks.callback(part.register_forward_hook(mode.note_output(name)).remove)
        hooks.enter_context(mode)
        yield mode.attended


def _find_functions(module: nn.Module, names: Iterable[str]) -> dict[str, FunctionLayer]:
    """A layer for each function among some names."""
    plain = dict.fromkeys(split_call(name)[0] for name in names)
    functions = [name for name in plain if split_function(name)[1]]
    known = dict(module.named_modules()) if functions else {}
    return {name: FunctionLayer() for name in functions if name not in known}


class _FunctionMode(TorchFunctionMode):
    def __init__(self, parts: dict[str, FunctionLayer], hook: Found | None) -> None:
        super().__init__()
        self._parts, self._hook = parts, hook
        self._owners: MutableMapping[Tensor, tuple[int, str]] = WeakTensorKeyDictionary()
        self._count = 0

    def note_output(self, name: str) -> Callable[..., None]:
        """A hook that remembers which layer returned a tensor."""

        def note(_part: nn.Module, _inputs: Any, output: Any) -> None:
            tensor = output[0] if isinstance(output, (tuple, list)) and output else output
            if isinstance(tensor, Tensor):
                self._count += 1
                self._owners[tensor] = self._count, name

        return note

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[Any], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        owner = self._owner_of(args, given) if self._owners else None
        if owner is None:
            return func(*args, **given)
        name = plain_name(func)
        if name in CARRYING:
            result = func(*args, **given)
            if isinstance(result, Tensor):
                self._owners[result] = owner
            return result
        activation = activation_of(name, func, args, given)
        layer = self._layer_of(f"{owner[1]}{FUNCTION}{activation.name}") if activation else None
        if activation is None or layer is None or activation.subject not in self._owners:
            return func(*args, **given)
        return self._call(layer, activation)

    def _owner_of(self, args: Sequence[Any], given: Mapping[str, Any]) -> tuple[int, str] | None:
        held = [each for each in (*args[:2], given.get("input")) if isinstance(each, Tensor)]
        return max((self._owners[each] for each in held if each in self._owners), default=None)

    def _layer_of(self, name: str) -> FunctionLayer | None:
        if name not in self._parts and self._hook is not None:
            self._parts[name] = FunctionLayer()
            self._hook(name, self._parts[name])
        return self._parts.get(name)

    def _call(self, layer: FunctionLayer, activation: Activation) -> Tensor:
        layer.inplace = activation.inplace
        result = layer(activation.subject, activation.function)
        assert isinstance(result, Tensor)
        if not activation.inplace:
            return result
        del self._owners[activation.subject]
        return activation.subject.copy_(result)


class _ProductMode(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.attended: set[str] = set()
        self._owners: MutableMapping[Tensor, str] = WeakTensorKeyDictionary()

    def note_output(self, name: str) -> Callable[..., None]:
        """A hook that remembers which layer returned a tensor."""

        def note(_part: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                self._owners[output] = name

        return note

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[Any], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        held = [each for each in (*args, *given.values()) if isinstance(each, Tensor) and each in self._owners]
        result = func(*args, **given)
        name = plain_name(func) if held else ""
        if name in ATTENDING:
            self.attended.update(self._owners[each] for each in held)
        elif name in SPLITTING and not writes_in_place(func, args, given):
            for each in result if isinstance(result, (tuple, list)) else (result,):
                if isinstance(each, Tensor):
                    self._owners[each] = self._owners[held[0]]
        return result
