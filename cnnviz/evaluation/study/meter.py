"""The meter: how many forwards something takes, of whatever copy of a network, and how many seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch._subclasses import FakeTensor
from torch.nn.modules import module as hooks

from cnnviz.core.change import contextmanager, undoing

__all__ = ["Meter", "metered"]


@dataclass
class Meter:
    """What something took.

    Attributes:
        forwards: Inputs that went into a network, or into a copy of it; what goes through its end alone does not count.
        seconds: By the clock.
    """

    forwards: int = 0
    seconds: float = 0.0


@contextmanager
def metered(meter: Meter, shape: tuple[int, ...]) -> Iterator[None]:
    """Inside, forwards and seconds are added to a meter.

    Args:
        meter: Where they are added.
        shape: Of one input, ``(C, H, W)``; a module that is called first with such inputs is a network.
    """
    outermost: list[nn.Module] = []

    def enter(called: nn.Module, given: tuple[Any, ...]) -> None:
        if outermost and called is not outermost[0]:
            return
        outermost[:] = [called]
        first = next((each for each in given if isinstance(each, Tensor)), None)
        if first is not None and tuple(first.shape[1:]) == shape and not isinstance(first, FakeTensor):
            meter.forwards += len(first)

    def leave(called: nn.Module, _given: Any, _answer: Any) -> None:
        if outermost and called is outermost[0]:
            outermost.clear()

    handles = [
        hooks.register_module_forward_pre_hook(enter),
        hooks.register_module_forward_hook(leave, always_call=True),
    ]
    start = time.perf_counter()

    def stop() -> None:
        meter.seconds += time.perf_counter() - start
        for handle in handles:
            handle.remove()

    with undoing(stop):
        yield
