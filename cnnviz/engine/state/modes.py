"""What a thread of torch is in, as it was: gradients, modes, autocast, random numbers, and hooks for all modules."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.nn.modules import module as global_hooks
from torch.utils import _python_dispatch

from cnnviz.core.change import Change, Locked, contextmanager, undoing

__all__ = ["RANDOM", "Modes", "inference", "seeded"]


class Modes:
    """What a thread of torch is in: gradients, modes, autocast, random numbers; and hooks for all modules."""

    def __init__(self) -> None:
        self._gradients = torch.is_grad_enabled()
        self._functions = _functions()
        self._dispatches = _dispatches()
        self._flags = {name: getattr(_python_dispatch, name) for name in _DISPATCH_FLAGS}
        self._nesting = 0
        try:
            self._nesting = torch.autocast_increment_nesting() - 1
        finally:
            torch.autocast_decrement_nesting()
        kinds = ("cpu", "cuda") if torch.cuda.is_initialized() else ("cpu",)  # type: ignore[no-untyped-call]
        self._autocast = [(kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in kinds]
        self._cache = torch.is_autocast_cache_enabled()
        self._random = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
        every = [held for name, held in vars(global_hooks).items() if name.startswith("_global_")]
        self._hooks = [(held, set(held)) for held in every if isinstance(held, dict)]

    def restore(self, *, torn: bool) -> None:
        """Set them as they were; may be interrupted, and called again.

        Args:
            torn: Whether random numbers are put back too: an interrupt leaves them anywhere.
        """
        now = _functions()
        kept = _count_common(now, self._functions)
        for _ in now[kept:]:
            torch._C._pop_torch_function_stack()
        for mode in self._functions[kept:]:
            torch._C._push_on_torch_function_stack(mode)
        now = _dispatches()
        kept = _count_common(now, self._dispatches)
        for mode in reversed(now[kept:]):
            _python_dispatch._pop_mode(getattr(mode, "_mode_key", None))
        for mode in self._dispatches[kept:]:
            _python_dispatch._push_mode(mode)
        torch._C._set_grad_enabled(self._gradients)
        if not torn:
            return
        for name, flag in self._flags.items():
            setattr(_python_dispatch, name, flag)
        if tell := getattr(_python_dispatch, "set_is_in_mode_without_ignore_compile_internals", None):
            tell(self._flags.get("_is_in_any_mode_without_ignore_compile_internals", False))
        self._restore_autocast()
        for held, known in self._hooks:
            for added in held.keys() - known:
                held.pop(added, None)
        torch.set_rng_state(self._random[0])
        np.random.set_state(self._random[1])  # noqa: NPY002

    def _restore_autocast(self) -> None:
        for kind, enabled, dtype in self._autocast:
            torch.set_autocast_enabled(kind, enabled)
            torch.set_autocast_dtype(kind, dtype)
        torch.set_autocast_cache_enabled(self._cache)
        torch.autocast_increment_nesting()
        while torch.autocast_decrement_nesting() > self._nesting:
            pass


class inference(Change):  # noqa: N801 - used as a function
    """``torch.inference_mode``, left also where an interrupt strikes in the leaving."""

    def __init__(self, *, mode: bool) -> None:
        self._guard: Any = torch._C._InferenceMode(mode)

    def begin(self) -> None:
        """Enter the mode."""
        self._guard.__enter__()

    def undo(self) -> None:
        """Leave it; a second time does nothing."""
        self._guard.__exit__(None, None, None)


RANDOM: Any = threading.RLock()
"""Whoever seeds random numbers that all threads share holds it."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=RANDOM._at_fork_reinit)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers of torch and NumPy begin at a seed inside, for one thread at a time, and go on as before after."""
    with Locked(RANDOM):
        devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
        before = torch.get_rng_state(), [torch.cuda.get_rng_state(each) for each in devices]
        numbers = np.random.get_state()  # noqa: NPY002

        def put_back() -> None:
            torch.set_rng_state(before[0])
            for device, state in zip(devices, before[1], strict=True):
                torch.cuda.set_rng_state(state, device)
            np.random.set_state(numbers)  # noqa: NPY002

        with undoing(put_back):
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            yield


_DISPATCH_FLAGS = [name for name in vars(_python_dispatch) if name.startswith("_is_in_")]


def _functions() -> list[Any]:
    return [torch._C._get_function_stack_at(at) for at in range(torch._C._len_torch_function_stack())]


def _dispatches() -> list[Any]:
    return [torch._C._get_dispatch_stack_at(at) for at in range(torch._C._len_torch_dispatch_stack())]


def _count_common(now: list[Any], before: list[Any]) -> int:
    """How many modes at the bottom of a stack are the same."""
    same = [one is other for one, other in zip(now, before, strict=False)]
    return same.index(False) if False in same else len(same)
