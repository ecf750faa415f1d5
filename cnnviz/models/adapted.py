"""Networks that take more than a picture, or take it in a way of their own, as networks that take pictures."""

from __future__ import annotations

import dis
import functools
import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import EllipsisType, FunctionType
from typing import Any, TypeAlias
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten_with_path, tree_leaves, tree_map, tree_map_with_path

from cnnviz.engine.state.modes import inference
from cnnviz.engine.undisturbed import share_lock
from cnnviz.errors import ModelError, ParameterError, UnknownNameError
from cnnviz.models.origin import plain_module

__all__ = ["Adapted", "Forward", "Inputs", "adapt", "network_in"]

Inputs: TypeAlias = "Mapping[str, Any] | Sequence[Any] | None"
Forward: TypeAlias = "Callable[..., Any] | None"

EXAMPLE = 'inputs={"image": ..., "age": tensor}'
SHOWN, LONGEST, VECTOR = 4, 200, 2
"""Numbers of a tensor that are said, characters of a text that are recorded, and dimensions of what has no places."""


@dataclass(frozen=True, eq=False)
class FixedInputs:
    """How a network is called: ``...`` stands for the pictures, all else is the same for each of them.

    Attributes:
        positional: What is given by position.
        named: What is given by name.
    """

    positional: tuple[Any, ...]
    named: Mapping[str, Any]

    def __call__(self, network: nn.Module, images: Tensor) -> Any:
        """What the network returns for images ``(N, C, H, W)``; it gets copies, which it may write into."""

        def fill(held: Any) -> Any:
            if held is ...:
                return images
            if not isinstance(held, Tensor):
                return held
            own = held.to(images.device, images.dtype if held.is_floating_point() else held.dtype)
            return own.expand(len(images), *own.shape[1:]).clone()

        positional, named = tree_map(fill, (self.positional, dict(self.named)))
        return network(*positional, **named)

    @property
    def placed(self) -> bool:
        """Whether something fixed may have places, as the picture has, so that no part of that stands alone."""
        return any(isinstance(held, Tensor) and held.dim() > VECTOR for _, held in self._others())

    def describe(self) -> dict[str, Any]:
        """What is fixed, as plain values for provenance: tensors by shape, type and hash."""
        return {"inputs": {name: _describe_input(held) for name, held in self._others()}}

    def say(self) -> tuple[str, ...]:
        """What is fixed, in a sentence; none where nothing is."""
        said = ", ".join(f"{name} {_say_input(held)}" for name, held in self._others())
        return (f"the network's other inputs are held fixed: {said}",) if said else ()

    def _others(self) -> Iterator[tuple[str, Any]]:
        for tree in (self.positional, dict(self.named)):
            for path, held in tree_flatten_with_path(tree)[0]:
                if held is not ...:
                    yield _spell_path(path), held


@dataclass(frozen=True, eq=False)
class OwnForward:
    """How a network is run: by a function of it and the pictures, or by one of its parts or their methods.

    Attributes:
        function: From the network, or that part of it, and images to what is returned.
        name: What to call it.
        part: The part's name; empty for the network.
        whole: Whether the function is the user's own, which may run another network by mistake.
    """

    function: Callable[[nn.Module, Tensor], Any]
    name: str
    part: str = ""
    whole: bool = True

    @property
    def placed(self) -> bool:
        """Whether something fixed may have places: nobody knows of a function's own, which are as a network's."""
        return False

    def __call__(self, network: nn.Module, images: Tensor) -> Any:
        """What the function returns."""
        return self.function(network.get_submodule(self.part), images)

    def describe(self) -> dict[str, Any]:
        """Its name, for provenance."""
        return {"forward": self.name}

    def say(self) -> tuple[str, ...]:
        """Nothing is held fixed, as far as anyone can know."""
        return ()


class Adapted(nn.Module):
    """A network that is called in another way, as one that takes pictures; its layers keep their names.

    It has no weights, buffers or layers of its own: those of the network count, which is among its modules without a
    name. Copies of it are of the network too, and run in the same way.

    Args:
        network: The network.
        call: From a network and pictures to what it returns.
    """

    def __init__(self, network: nn.Module, call: FixedInputs | OwnForward) -> None:
        super().__init__()
        self.network, self.call, self.training = network, call, False
        share_lock(self, network)

    def forward(self, images: Tensor) -> Any:
        """What the network returns for images ``(N, C, H, W)``.

        Raises:
            ModelError: If the user's function does not use the network that it is handed.
        """
        if not (isinstance(self.call, OwnForward) and self.call.whole) or self in _USED:
            return self.call(self.network, images)
        with _UseWatch(self.network) as watch:
            answer = self.call(self.network, images)
        if not watch.used:
            raise ModelError(ANOTHER.format(name=self.call.name))
        _USED.add(self)
        return answer

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """This module and the network's layers by their names in the network."""
        yield prefix, self
        inside = self.network.named_modules(memo, prefix, remove_duplicate)
        yield from (pair for pair in inside if pair[1] is not self.network)

    def modules(self, remove_duplicate: bool = True) -> Iterator[nn.Module]:
        """This module, the network and its layers."""
        yield self
        yield from (part for _, part in self.network.named_modules(remove_duplicate=remove_duplicate))

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """The network's."""
        return self.network.named_parameters(*args, **kwargs)

    def named_buffers(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, Tensor]]:
        """The network's."""
        return self.network.named_buffers(*args, **kwargs)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The network's."""
        return self.network.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The network's."""
        return self.network.load_state_dict(*args, **kwargs)

    def get_submodule(self, target: str) -> nn.Module:
        """The network's layer of that name; this module for the empty name."""
        return self.network.get_submodule(target) if target else self

    def __getattr__(self, name: str) -> Any:
        """The network's attribute, where it has no such itself; what begins with an underscore is everyone's own."""
        held = self.__dict__.get("_modules", {})
        if name in held or name.startswith("_") or "network" not in held:
            return super().__getattr__(name)
        return getattr(held["network"], name)


_USED: WeakSet[nn.Module] = WeakSet()
"""Adapted networks whose function has been seen to use the network that it is handed."""

ANOTHER = (
    "The function '{name}' that was given as forward does not use the network that it is handed; expected "
    "forward=function(network, images) that runs its first argument, which may be a copy."
)


class _UseWatch(TorchFunctionMode):
    """Inside, notices whether anything is computed with a network's weights or buffers; with none, that it is used."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._held = {id(tensor) for tensor in [*network.parameters(), *network.buffers()]}
        self.used = not self._held or any(isinstance(part, torch.jit.ScriptModule) for part in network.modules())

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        self.used = self.used or any(id(each) in self._held for each in tree_leaves((args, kwargs)))
        return func(*args, **(kwargs or {}))


def adapt(module: nn.Module, inputs: Inputs, forward: Forward) -> nn.Module:
    """A network as one that takes pictures: with its other inputs fixed, run by a function, or as it is.

    Args:
        module: The network.
        inputs: The arguments of its forward, by name or in order, of which ``...`` is the picture; or None.
        forward: A function of the network and images, or a method or part of the network; or None.

    Raises:
        ModelError: If the network cannot be hooked.
        ParameterError: If both are given, or either is none that it can be called with.
        UnknownNameError: If the network's forward has no argument of a name.
    """
    plain = plain_module(module)
    if inputs is not None and forward is not None:
        raise ParameterError(
            "inputs and forward were both given; inputs fixes the other arguments of the network's own forward, and "
            "forward is a function that runs the network: give one of them."
        )
    if inputs is not None:
        return Adapted(plain, _fix_inputs(plain, inputs))
    if forward is not None:
        return Adapted(plain, _take_forward(getattr(module, "_orig_mod", module), forward))
    return plain


def network_in(module: nn.Module) -> nn.Module:
    """The user's own network in one that was adapted; any other as it is."""
    return module.network if isinstance(module, Adapted) else module


def _fix_inputs(network: nn.Module, inputs: Any) -> FixedInputs:
    if isinstance(inputs, Mapping) and all(isinstance(name, str) for name in inputs):
        tree: tuple[tuple[Any, ...], dict[str, Any]] = (), dict(inputs)
    elif isinstance(inputs, (tuple, list)):
        tree = tuple(inputs), {}
    else:
        raise ParameterError(
            f"inputs is a {type(inputs).__name__}; expected the arguments of the network's forward by name, {EXAMPLE}, "
            "or in order, inputs=(..., tensor)."
        )
    pictures = sum(isinstance(each, EllipsisType) for each in tree_leaves(tree))
    if pictures != 1:
        raise ParameterError(
            f"inputs has {pictures or 'no'} places for the picture; expected one `...` among them, as in {EXAMPLE}."
        )
    _check_arguments(network, *tree)
    with inference(mode=False):
        positional, named = tree_map_with_path(_keep_input, tree)
    return FixedInputs(positional, named)


def _keep_input(path: Any, held: Any) -> Any:
    """A tensor of its own that all pictures can get; anything else as it is."""
    if not isinstance(held, Tensor):
        return held
    if held.dim() == 0 or len(held) != 1:
        raise ParameterError(
            f"inputs: {_spell_path(path[1:])} is a tensor of shape {tuple(held.shape)}; expected a first dimension of "
            "1, (1, ...), along which it is repeated for every picture; forward=function(network, images) runs the "
            "network in any other way."
        )
    return held.detach().clone()


def _check_arguments(network: nn.Module, positional: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Refuse what the network's forward does not take, and too little, as far as its signature says."""
    try:
        signature = inspect.signature(network.forward)
    except (TypeError, ValueError):
        return
    kind, known = type(network).__name__, signature.parameters
    anything = any(each.kind is each.VAR_KEYWORD for each in known.values())
    for name in named:
        if name not in known and not anything:
            takes = f"It takes {', '.join(known)}."
            raise UnknownNameError(f"argument of {kind}'s forward", name, known, takes)
    try:
        signature.bind(*positional, **named)
    except TypeError as error:
        raise ParameterError(
            f"inputs do not fit {kind}'s forward ({', '.join(known)}): {error}; expected all that it needs, as in "
            f"{EXAMPLE}."
        ) from None


def _take_forward(network: nn.Module, forward: Any) -> OwnForward:
    """A function as it is; a method of the network or of a part taken apart, so that it runs on any copy."""
    owner = forward if isinstance(forward, nn.Module) else getattr(forward, "__self__", None)
    names = {part: name for name, part in network.named_modules()}
    kind = type(network).__name__
    if isinstance(owner, nn.Module):
        if owner not in names:
            raise ParameterError(
                f"forward is of another network, a {type(owner).__name__}, which is no part of {kind}; expected a "
                "method of this one, or function(network, images)."
            )
        part = names[owner]
        if owner is forward:
            return OwnForward(lambda own, images: own(images), part or kind, part, whole=False)
        name = forward.__name__
        return OwnForward(forward.__func__, f"{part}.{name}" if part else name, part, whole=False)
    _check_function(forward)
    called = str(getattr(forward, "__name__", type(forward).__name__))
    if any(held in names for held in _modules_used(forward)):
        raise ParameterError(
            f"The function '{called}' that was given as forward refers to the network by a name of its own; expected "
            "forward=function(network, images) that runs its first argument, which may be a copy."
        )
    return OwnForward(forward, called)


def _check_function(forward: Any) -> None:
    fits = callable(forward)
    if fits:
        try:
            inspect.signature(forward).bind(None, None)
        except TypeError:
            fits = False
        except ValueError:  # it does not say what it takes
            pass
    if not fits:
        kind = "another function" if callable(forward) else f"a {type(forward).__name__}"
        raise ParameterError(
            f"forward is {kind}; expected a function of the network and a batch of pictures, "
            "forward=function(network, images), or a method of the network."
        )


def _modules_used(function: Any) -> list[nn.Module]:
    """The modules that a function written in Python refers to from outside itself."""
    while isinstance(function, functools.partial):
        function = function.func
    if not isinstance(function, FunctionType):
        return []
    names = {each.argval for each in dis.get_instructions(function.__code__) if each.opname == "LOAD_GLOBAL"}
    used = [function.__globals__.get(name) for name in names]
    for cell in function.__closure__ or ():
        try:
            used.append(cell.cell_contents)
        except ValueError:  # it is not filled yet
            continue
    return [held for held in used if isinstance(held, nn.Module)]


def _spell_path(path: Sequence[Any]) -> str:
    """Where something stands in nested inputs: ``"age"``, ``"1"``, ``"batch.age"``."""
    keys = (getattr(each, "key", getattr(each, "idx", getattr(each, "name", each))) for each in path)
    return ".".join(map(str, keys))


def _describe_input(held: Any) -> Any:
    if isinstance(held, Tensor):
        plain = held.cpu().contiguous().reshape(-1)
        content = plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""
        kind = str(held.dtype).removeprefix("torch.")
        return {"shape": list(held.shape), "dtype": kind, "sha256": hashlib.sha256(content).hexdigest()}
    if held is None or isinstance(held, (bool, int, float)):
        return held
    return held[:LONGEST] if isinstance(held, str) else type(held).__name__


def _say_input(held: Any) -> str:
    if isinstance(held, Tensor):
        if held.numel() > SHOWN:
            return f"({', '.join(map(str, held.shape))})"
        return ", ".join(
            f"{float(each):.4g}" if held.is_floating_point() else str(each) for each in held.reshape(-1).tolist()
        )
    return str(_describe_input(held))
