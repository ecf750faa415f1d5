"""The network is the user's: run it without leaving a trace."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    replaces are put back, and so are tensors that it keeps in plain attributes, alone or in lists and dicts.
    Inference mode is left (its tensors take no gradient) and attention's fused fast path, which skips the hooks of the
    layers inside it, is off. Threads that ask the same network wait for each other.
    """
    with _lock_of(module), _SLOW_PATH:
        yield from _restore_afterwards(module)


def _restore_afterwards(module: nn.Module) -> Iterator[None]:
    modes = [(part, part.training) for part in module.modules()]
    buffers, kept = _Buffers(module), _Kept(module)
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
            buffers.restore()
            kept.restore()


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


class _Kept:
    """What a network's parts keep in plain attributes: put back where tensors came, went or were written to.

    A forward in evaluation mode may fill caches that ``train`` would empty; what is no tensor and holds none is the
    network's own business.
    """

    def __init__(self, module: nn.Module) -> None:
        self._held = [(part, {name: part.__dict__[name] for name in _plain_names(part)}) for part in module.modules()]
        values = [value for _, held in self._held for value in held.values()]
        self._inside = [(value, _copy_shallow(value)) for value in values if isinstance(value, (dict, list))]
        tensors = {id(each): each for value in values for each in _tensors_in(value)}
        self._values = [
            (each, each._version, each.detach().clone())
            for each in tensors.values()
            if not each.is_meta and not each.is_inference()
        ]

    @torch.no_grad()
    def restore(self) -> None:
        """Put back what changed."""
        for part, before in self._held:
            for name in {*before, *_plain_names(part)}:
                now, then = part.__dict__.get(name), before.get(name)
                if now is not then and (_tensors_in(now) or _tensors_in(then)):
                    _put_back(part, name, before)
        for held, then in self._inside:
            if not _same_entries(held, then) and (_tensors_in(held) or _tensors_in(then)):
                held.clear()
                held.update(then) if isinstance(held, dict) else held.extend(then)
        for tensor, version, value in self._values:
            if tensor._version != version and not torch.equal(tensor, value):
                tensor.data.copy_(value)


_OF_TORCH = frozenset(nn.Module().__dict__)


def _plain_names(part: nn.Module) -> list[str]:
    """Attributes of a module that are neither torch's own nor numbers, words and modules."""
    return [
        name
        for name, value in part.__dict__.items()
        if name not in _OF_TORCH and not isinstance(value, (str, int, float, nn.Module))
    ]


def _put_back(part: nn.Module, name: str, before: Mapping[str, Any]) -> None:
    if name in before:
        part.__dict__[name] = before[name]
    else:
        del part.__dict__[name]


def _copy_shallow(held: Any) -> Any:
    return dict(held) if isinstance(held, dict) else list(held)


def _same_entries(held: Any, then: Any) -> bool:
    """Whether a dict or list holds the very objects that it did."""
    if len(held) != len(then):
        return False
    if isinstance(held, dict):
        return all(key in held and held[key] is value for key, value in then.items())
    return all(one is other for one, other in zip(held, then, strict=True))


def _tensors_in(held: Any) -> list[Tensor]:
    """The tensors that an attribute is, or holds in dicts, lists and tuples."""
    if isinstance(held, Tensor):
        return [held]
    if isinstance(held, (dict, list, tuple)) and held:
        return [each for each in tree_leaves(held) if isinstance(each, Tensor)]
    return []


class _Buffers:
    """A network's buffers and their values; those of one type and device in one piece, so that a GPU waits once."""

    def __init__(self, module: nn.Module) -> None:
        self._held = [(part, name, tensor) for part in module.modules() for name, tensor in part._buffers.items()]
        self._replaceable = {id(part) for part in hookable_parts(module).values()}
        groups: dict[tuple[torch.device, torch.dtype], dict[int, Tensor]] = {}
        for _, _, tensor in self._held:
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
