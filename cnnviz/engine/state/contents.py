"""What a network holds: attributes, hooks and buffers as they were, and the hash of its weights."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from cnnviz.core.change import Change

__all__ = ["Attributes", "Buffers", "Fingerprint", "Hooked", "hookable_parts"]

GLANCES = 16
"""Values of each tensor that are looked at to notice a change."""


def hookable_parts(module: nn.Module) -> dict[str, nn.Module]:
    """A network's modules by name, without those that TorchScript has compiled: what runs in them calls no hook."""
    return {name: part for name, part in module.named_modules() if not isinstance(part, torch.jit.ScriptModule)}


class Hooked(Change):
    """Inside, a function is a forward hook of a module.

    Args:
        part: The module.
        hook: The function.
    """

    def __init__(self, part: nn.Module, hook: Callable[..., Any]) -> None:
        self._part, self._hook = part, hook

    def begin(self) -> None:
        """Put the hook on."""
        self._part.register_forward_hook(self._hook)

    def undo(self) -> None:
        """Take it off, known by itself: an interrupt may strike before there is a handle."""
        for number, hook in list(self._part._forward_hooks.items()):
            if hook is self._hook:
                self._part._forward_hooks.pop(number, None)


_OWN = frozenset(vars(nn.Module()))
"""Attributes that every module has: its weights, buffers, parts, hooks and mode."""


class Attributes:
    """What a network's parts keep in attributes of their own, the tensors in lists and dicts among them, and hooks.

    A part that only counts (numbers that became other numbers) counts on. Hooks that the network puts on its own parts
    in its first forward go with the mark that says so, or the next forward would put them on twice or miss them.
    """

    def __init__(self, module: nn.Module) -> None:
        parts = [part for part in module.modules() if not isinstance(part, torch.jit.ScriptModule)]
        self._held = [(part, type(part), vars(part).copy()) for part in parts]
        self._hooks = [(hooks, set(hooks)) for part in parts for hooks in _hooks_of(part)]
        self._replaced: list[tuple[dict[str, Any], dict[str, Any]]] | None = None
        self._refilled: list[tuple[Any, Any]] | None = None
        own = [value for _, _, held in self._held for key, value in held.items() if key not in _OWN]
        self._loose = [value for value in own if isinstance(value, Tensor)]
        self._containers = [(value, value.copy()) for value in own if isinstance(value, (dict, list, set, deque))]

    def tensors(self) -> list[Tensor]:
        """The tensors that are attributes, or stand in a list or dict that is one."""
        return [*self._loose, *(tensor for _, before in self._containers for tensor in _tensors_in(before))]

    def restore(self) -> None:
        """Put back what was replaced and take away what was added; a part that became of another class stays so."""
        if self._replaced is None:  # decided once: half-way through, it would look otherwise
            every = [(vars(part), held) for part, kind, held in self._held if type(part) is kind]
            self._replaced = [pair for pair in every if not all(map(_only_counts, *_changes(*pair)))]
        if self._refilled is None:
            self._refilled = [
                (container, before)
                for container, before in self._containers
                if _tensors_in(container) or _tensors_in(before)
            ]
        for now, held in self._replaced:
            for key in now.keys() - held.keys():
                now.pop(key, None)
            now.update({key: value for key, value in held.items() if key not in _OWN})
        for hooks, known in self._hooks:
            for added in hooks.keys() - known:
                hooks.pop(added, None)
        for container, before in self._refilled:
            container.clear()
            (container.update if isinstance(container, (dict, set)) else container.extend)(before)


_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks_with_kwargs",
)


def _hooks_of(part: nn.Module) -> list[dict[int, Any]]:
    return [held for name in _HOOKS if (held := vars(part).get(name)) is not None]


def _changes(now: dict[str, Any], before: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Values that are others than before, and what they were; those of a module's own keeping aside."""
    keys = [key for key in {**before, **now} if now.get(key) is not before.get(key) and key not in _OWN]
    return [now.get(key) for key in keys], [before.get(key) for key in keys]


def _only_counts(now: Any, before: Any) -> bool:
    return type(now) is type(before) and isinstance(now, (int, float)) and not isinstance(now, bool)


def _tensors_in(held: Any) -> list[Tensor]:
    """The tensors in a container, and in dicts, lists and tuples inside it."""
    leaves = tree_leaves(list(held) if isinstance(held, (set, deque)) else held) if held else []
    return [each for each in leaves if isinstance(each, Tensor)]


class Buffers:
    """A network's buffers and their values; those of one type and device in one piece, so that a GPU waits once.

    Args:
        module: The network.
        others: Tensors whose values are kept too.
    """

    def __init__(self, module: nn.Module, others: Sequence[Tensor]) -> None:
        self._held = [(part, name, tensor) for part in module.modules() for name, tensor in part._buffers.items()]
        self._replaceable = {id(part) for part in hookable_parts(module).values()}
        groups: dict[tuple[torch.device, torch.dtype], dict[int, Tensor]] = {}
        plain = [tensor for tensor in others if tensor.layout is torch.strided and not tensor.is_inference()]
        for tensor in [*(each for _, _, each in self._held), *plain]:
            if tensor is not None and not tensor.is_meta:
                groups.setdefault((tensor.device, tensor.dtype), {})[id(tensor)] = tensor
        self._groups = [list(each.values()) for each in groups.values()]
        self._values = [_concatenate_flat(tensors) for tensors in self._groups]

    def restore(self) -> None:
        """Put the buffers back; values are compared, because a write through ``.data`` leaves no mark on a tensor."""
        for tensors, values in zip(self._groups, self._values, strict=True):
            if not torch.equal(_concatenate_flat(tensors), values):
                _copy_back(tensors, values)
        for part, name, tensor in self._held:
            if id(part) in self._replaceable and part._buffers.get(name) is not tensor:
                part._buffers[name] = tensor


@torch.no_grad()
def _concatenate_flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor if tensor.dim() == 1 else tensor.reshape(-1) for tensor in tensors])


def _copy_back(tensors: Sequence[Tensor], values: Tensor) -> None:
    """Write values into those tensors that differ from them; the others keep their version."""
    parts = torch.split(values, [tensor.numel() for tensor in tensors])
    with torch.no_grad():
        for tensor, part in zip(tensors, parts, strict=True):
            kept = part.view(tensor.shape)
            if not torch.equal(tensor, kept):
                tensor.copy_(kept)


class Fingerprint:
    """SHA-256 over names, shapes and bytes of a network's weights and buffers; made anew only when they changed."""

    def __init__(self) -> None:
        self._key: object = None
        self._digest = ""

    def of(self, module: nn.Module) -> str:
        """The network's hash, hexadecimal."""
        parts = list(module.modules())
        held = [each for part in parts for each in (*part._parameters.values(), *part._buffers.values())]
        tensors = [tensor for tensor in held if tensor is not None]
        key = [(id(tensor), tensor.data_ptr(), tensor._version) for tensor in tensors], _sample_values(tensors)
        if self._key != key:
            self._key, self._digest = key, _hash_weights(module)
        return self._digest


@torch.no_grad()
def _sample_values(tensors: Sequence[Tensor]) -> list[bytes]:
    """A few values of each tensor: notices weights that were written past their version counter, as through ``.data``.

    Those of one type and device are read in one piece, so that a GPU waits once.
    """
    groups: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for tensor in tensors:
        count, step = tensor.numel(), max(1, tensor.numel() // GLANCES)
        dense = tensor.is_contiguous()
        some = tensor.as_strided((-(-count // step),), (step,)) if dense else tensor.reshape(-1)[::step]
        groups.setdefault((tensor.device, tensor.dtype), []).append(some)
    return [torch.cat(some).cpu().view(torch.uint8).numpy().tobytes() for some in groups.values()]


def _hash_weights(module: nn.Module) -> str:
    digest = hashlib.sha256()
    named: list[tuple[str, Tensor]] = [*module.named_parameters(), *module.named_buffers()]
    for name, tensor in sorted(named, key=lambda pair: pair[0]):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name}{tuple(plain.shape)}{plain.dtype}".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data if plain.numel() else b"")
    return digest.hexdigest()
