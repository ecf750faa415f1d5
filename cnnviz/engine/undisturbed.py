"""The network is the user's: run it without leaving a trace."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

__all__ = ["undisturbed", "fixed_threads", "hookable_parts", "reproducible"]


def hookable_parts(module: nn.Module) -> dict[str, nn.Module]:
    """A network's modules by name, without those that TorchScript has compiled: what runs in them calls no hook."""
    return {name: part for name, part in module.named_modules() if not isinstance(part, torch.jit.ScriptModule)}


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """On a GPU, deterministic convolutions that are not chosen by timing, and no TensorFloat-32; elsewhere nothing.

    Args:
        device: Where the network is.
    """
    switches = _gpu_switches() if device.type == "cuda" else []
    before = [(part, name, getattr(part, name)) for part, name, _ in switches]
    try:
        for part, name, value in switches:
            setattr(part, name, value)
        yield
    finally:
        for part, name, value in before:
            setattr(part, name, value)


@contextmanager
def fixed_threads(count: int) -> Iterator[None]:
    """So many CPU threads compute inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _gpu_switches() -> list[tuple[Any, str, Any]]:
    cudnn: Any = torch.backends.cudnn
    products: Any = torch.backends.cuda.matmul
    found: list[tuple[Any, str, Any]] = [(cudnn, "deterministic", True), (cudnn, "benchmark", False)]
    if hasattr(products, "fp32_precision"):  # where there are both, reading the older names can be an error
        return [*found, (products, "fp32_precision", "ieee"), (cudnn.conv, "fp32_precision", "ieee")]
    return [*found, (products, "allow_tf32", False), (cudnn, "allow_tf32", False)]


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, everything as before outside, also after an exception.

    Training flags are set as plain attributes, so no overridden ``train`` runs. Buffers that a forward writes to or
    replaces are put back, and so is what it keeps in attributes (a cache that only ``train`` would empty, a grid of
    anchors). Parts that ``torch.compile`` made run as they were written. Inference mode is left (its tensors take no
    gradient) and attention's fused fast path, which skips the hooks of the layers inside it, is off. Threads that ask
    the same network wait for each other.
    """
    with _lock_of(module), _SLOW_PATH, _uncompiled(module):
        yield from _restore_afterwards(module)


def _uncompiled(module: nn.Module) -> AbstractContextManager[object]:
    """What ``torch.compile`` made of a network or of its parts runs as it was written, where hooks are called."""
    if any("_orig_mod" in part._modules or part._compiled_call_impl is not None for part in module.modules()):
        eager: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
        return eager
    return nullcontext()


def _restore_afterwards(module: nn.Module) -> Iterator[None]:
    modes = [(part, part.training) for part in module.modules()]
    attributes = _Attributes(module)
    buffers = _Buffers(module, attributes.tensors())
    with torch.inference_mode(mode=False):
        try:
            for part, training in modes:
                if training:
                    part.training = False
            yield
        finally:
            for part, training in modes:
                if part.training is not training:
                    part.training = training
            attributes.restore()
            buffers.restore()


class _AttentionSlowPath:
    """Attention's fused fast path is off while any thread is inside, and then as it was before the first."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, True

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = torch.backends.mha.get_fastpath_enabled()
                torch.backends.mha.set_fastpath_enabled(False)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                torch.backends.mha.set_fastpath_enabled(self._before)


_SLOW_PATH = _AttentionSlowPath()
_LOCKS: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_ALL_LOCKS = threading.Lock()


def _lock_of(module: nn.Module) -> threading.RLock:
    with _ALL_LOCKS:
        return _LOCKS.setdefault(module, threading.RLock())


_OWN = frozenset(vars(nn.Module()))
"""Attributes that every module has: its weights, buffers, parts, hooks and mode."""


class _Attributes:
    """What a network's parts keep in attributes of their own, the tensors in lists and dicts among them, and hooks.

    A part that only counts (numbers that became other numbers) counts on. Hooks that the network puts on its own parts
    in its first forward go with the mark that says so, or the next forward would put them on twice or miss them.
    """

    def __init__(self, module: nn.Module) -> None:
        parts = [part for part in module.modules() if not isinstance(part, torch.jit.ScriptModule)]
        self._held = [(part, type(part), vars(part).copy()) for part in parts]
        self._hooks = [(hooks, set(hooks)) for part in parts for hooks in _hooks_of(part)]
        own = [value for _, _, held in self._held for key, value in held.items() if key not in _OWN]
        self._loose = [value for value in own if isinstance(value, Tensor)]
        self._containers = [(value, value.copy()) for value in own if isinstance(value, (dict, list, set, deque))]

    def tensors(self) -> list[Tensor]:
        """The tensors that are attributes, or stand in a list or dict that is one."""
        return [*self._loose, *(tensor for _, before in self._containers for tensor in _tensors_in(before))]

    def restore(self) -> None:
        """Put back what was replaced and take away what was added; a part that became of another class stays so."""
        for part, kind, held in self._held:
            now = vars(part)
            if type(part) is kind and not all(map(_only_counts, *_changes(now, held))):
                for key in now.keys() - held.keys():
                    del now[key]
                now.update({key: value for key, value in held.items() if key not in _OWN})
        for hooks, known in self._hooks:
            for added in hooks.keys() - known:
                del hooks[added]
        for container, before in self._containers:
            if _tensors_in(container) or _tensors_in(before):
                container.clear()
                (container.update if isinstance(container, (dict, set)) else container.extend)(before)


def _hooks_of(part: nn.Module) -> list[dict[int, Any]]:
    return [part._forward_hooks, part._forward_pre_hooks] if "_forward_hooks" in vars(part) else []


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


class _Buffers:
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
