"""The network is the user's: run it without leaving a trace."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from contextvars import copy_context
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn

from cnnviz.core.change import Change, Locked, contextmanager, noted, undo_since, undoing
from cnnviz.engine.state.contents import Attributes, Buffers, hookable_parts
from cnnviz.engine.state.modes import Modes, inference

__all__ = ["undisturbed", "fixed_threads", "hookable_parts", "inference", "intact", "reproducible", "share_lock"]

Result = TypeVar("Result")


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """On a GPU, deterministic convolutions that are not chosen by timing, and no TensorFloat-32; elsewhere nothing.

    Args:
        device: Where the network is.
    """
    switches = _gpu_switches() if device.type == "cuda" else []
    before = [(part, name, getattr(part, name)) for part, name, _ in switches]

    def put_back() -> None:
        for part, name, value in before:
            setattr(part, name, value)

    with undoing(put_back):
        for part, name, value in switches:
            setattr(part, name, value)
        yield


@contextmanager
def fixed_threads(count: int) -> Iterator[None]:
    """So many CPU threads compute inside."""
    before = torch.get_num_threads()
    with undoing(lambda: torch.set_num_threads(before)):
        torch.set_num_threads(count)
        yield


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
    with Locked(_lock_of(module)), _Inside(_SLOW_PATH), _uncompiled(module):
        before = _NetworkState(module)
        with inference(mode=False), before:
            yield


def intact(ask: Callable[[], Result], *modules: nn.Module) -> Result:
    """Ask a question, after which the thread and the networks are as before, wherever an interrupt strikes in it.

    What is left undone, by the interrupt of what would have undone it, is undone, and begun anew where that is
    interrupted too. Modes are the thread's again.

    Args:
        ask: The question.
        *modules: The networks that no other thread asks meanwhile; a copy that is made of one inside is whole.
    """
    turns = [Locked(_lock_of(module)) for module in sorted(modules, key=id)]
    if turns and all(turn.ours for turn in turns):
        return ask()
    return copy_context().run(_ask_intact, ask, turns)


def _ask_intact(ask: Callable[[], Result], turns: Sequence[Locked]) -> Result:
    before, count, handled = Modes(), noted(), sys.exception()
    try:
        with ExitStack() as waiting:
            for turn in turns:
                waiting.enter_context(turn)
            result = ask()
        undo_since(count)
        before.restore(torn=False)
    except BaseException as error:
        first = _find_interrupt(error, handled)
        again = _restore_all(before, count, torn=bool(first) or not isinstance(error, Exception))
        if (interrupt := first or again) and interrupt is not error:
            raise interrupt from None
        raise
    return result


def _find_interrupt(error: BaseException, handled: BaseException | None) -> KeyboardInterrupt | None:
    """The interrupt that led to an error, if one did: what it leaves half done can fail in ways of its own.

    Args:
        error: The error.
        handled: What was being handled before the question was asked, and has nothing to do with it.
    """
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current is not handled and all(current is not each for each in seen):
        if isinstance(current, KeyboardInterrupt):
            return current
        seen.append(current)
        current = current.__context__
    return None


def _restore_all(before: Modes, count: int, *, torn: bool) -> KeyboardInterrupt | None:
    """Undo all changes but the first so many, and set modes as they were; the interrupt, if one came meanwhile."""
    interrupt = None
    while True:
        try:
            undo_since(count)
            before.restore(torn=torn)
        except KeyboardInterrupt as again:
            interrupt = again
        else:
            return interrupt


class _Shared:
    """A setting of all threads that is another while any of them is inside, and then as it was before the first.

    Args:
        read: Reads it.
        write: Sets it.
        value: What it is inside.
    """

    def __init__(self, read: Callable[[], Any], write: Callable[[Any], object], value: Callable[[], Any]) -> None:
        self._read, self._write, self._value = read, write, value
        self._held: dict[object, int] = {}
        self._lock, self._before = threading.Lock(), None

    def enter(self, one: object) -> None:
        """Note one that is inside."""
        with self._lock:
            if not self._held:
                self._before = self._read()
            self._held[one] = threading.get_ident()
            self._write(self._value())

    def leave(self, one: object) -> None:
        """Note that one has left; may be called again."""
        with self._lock:
            if list(self._held) == [one]:
                self._write(self._before)
            self._held.pop(one, None)

    def forget_others(self) -> None:
        """Let those out that are of other threads, in a process that has none of them."""
        self._lock = threading.Lock()
        for one in [one for one, thread in self._held.items() if thread != threading.get_ident()]:
            self.leave(one)


class _Inside(Change):
    def __init__(self, shared: _Shared) -> None:
        self._shared = shared

    def begin(self) -> None:
        self._shared.enter(self)

    def undo(self) -> None:
        self._shared.leave(self)


def _stances() -> Any:
    from torch._dynamo import eval_frame

    return eval_frame


_SLOW_PATH = _Shared(torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled, lambda: False)
"""Attention's fused fast path is off."""

_AS_WRITTEN = _Shared(
    lambda: _stances()._stance,
    lambda stance: _stances()._set_stance(stance),
    lambda: _stances().DynamoStance("force_eager"),
)
"""What ``torch.compile`` made runs as it was written, where hooks are called."""


def _uncompiled(module: nn.Module) -> AbstractContextManager[object]:
    """What ``torch.compile`` made of a network or of its parts runs as it was written."""
    if any("_orig_mod" in part._modules or part._compiled_call_impl is not None for part in module.modules()):
        return _Inside(_AS_WRITTEN)
    return nullcontext()


_LOCKS: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
_ALL_LOCKS = threading.Lock()


def _lock_of(module: nn.Module) -> Any:
    with _ALL_LOCKS:
        return _LOCKS.setdefault(module, threading.RLock())


def share_lock(module: nn.Module, other: nn.Module) -> None:
    """Let threads that ask a module wait for those that ask another one: a network inside it, say."""
    lock = _lock_of(other)
    with _ALL_LOCKS:
        _LOCKS[module] = lock


class _NetworkState(Change):
    """Evaluation mode inside; outside the modes, buffers, attributes and hooks that a network had.

    Args:
        module: The network.
    """

    def __init__(self, module: nn.Module) -> None:
        self._modes = [(part, part.training) for part in module.modules()]
        self._attributes = Attributes(module)
        self._buffers = Buffers(module, self._attributes.tensors())

    def begin(self) -> None:
        """Switch to evaluation mode."""
        _STATES[self] = threading.get_ident()
        for part, training in self._modes:
            if training:
                part.training = False

    def undo(self) -> None:
        """Put the network back."""
        for part, training in self._modes:
            if part.training is not training:
                part.training = training
        self._attributes.restore()
        self._buffers.restore()
        _STATES.pop(self, None)


_STATES: dict[_NetworkState, int] = {}
"""What networks that are being asked were like, and the threads that ask them."""


def _forget_other_threads() -> None:
    """In a process that was made by forking: the locks are free, and networks as before the others asked them."""
    global _ALL_LOCKS  # noqa: PLW0603 - another thread may have held it, and is not there
    _ALL_LOCKS = threading.Lock()
    fresh: dict[int, Any] = {}
    for module, lock in list(_LOCKS.items()):
        if not lock._is_owned():
            _LOCKS[module] = fresh.setdefault(id(lock), threading.RLock())
    for shared in (_SLOW_PATH, _AS_WRITTEN):
        shared.forget_others()
    for state in [state for state, thread in _STATES.items() if thread != threading.get_ident()]:
        with suppress(Exception), fixed_threads(1):  # others would wait for threads that are not there
            state.undo()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)
