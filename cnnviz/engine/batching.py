"""chunks: the one place for batching, out-of-memory back-off, device moves and progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.core.change import contextmanager
from cnnviz.engine.state.modes import inference

__all__ = ["Chunks", "in_chunks", "in_slices", "part_of_progress", "progress_to", "usual_size"]

ON_CPU, ON_GPU = 8, 128

Result = TypeVar("Result")
Progress = Callable[[int, int], None]

_progress: ContextVar[Progress | None] = ContextVar("progress", default=None)


@contextmanager
def progress_to(report: Progress) -> Iterator[None]:
    """Inside, ``report(done, total)`` is called whenever a method has finished some more of its work.

    It is called while the network is asked: it must not wait for another thread that asks the same network.
    """
    token = _progress.set(report)
    try:
        yield
    finally:
        _progress.reset(token)


@contextmanager
def part_of_progress(some: slice, total: int) -> Iterator[None]:
    """Inside, whatever reports its progress is that part of a work of ``total`` steps."""
    report = _progress.get() or _ignore_progress
    with progress_to(_nest_progress(report, some, total)):
        yield
    report(some.stop, total)


def usual_size(device: torch.device) -> int:
    """How many pictures at once use a device well; where that is too many, running out of memory halves it."""
    return ON_CPU if device.type == "cpu" else ON_GPU


def _nest_progress(report: Progress, some: slice, total: int) -> Progress:
    """Progress of a part of the work as progress of the whole."""

    def inner(done: int, of: int) -> None:
        if done < of:
            report(some.start * of + (some.stop - some.start) * done, total * of)

    return inner


def _ignore_progress(_done: int, _total: int) -> None:
    pass


@dataclass(frozen=True)
class Chunks(Generic[Result]):
    """The results of all chunks, the chunk size that was used, and what had to be decided on the way."""

    results: list[Result]
    size: int
    checks: tuple[str, ...]


def in_slices(total: int, ask: Callable[[slice], Result], *, size: int) -> Chunks[Result]:
    """Ask about ``total`` things, some at a time; out of memory halves how many, and the work goes on.

    Args:
        total: How many there are.
        ask: Called with the slice of them.
        size: Most at once.

    Raises:
        Exception: What says that memory ran out (see :func:`cnnviz.core.capacity.ran_out_of_memory`), if even one is
            too much.
    """
    results, checks, start, size = [], [], 0, max(1, min(size, total))
    report = _progress.get() or _ignore_progress
    while start < total:
        some = slice(start, min(start + size, total))
        try:
            with progress_to(_nest_progress(report, some, total)):
                results.append(ask(some))
        except Exception as error:
            if size == 1 or not ran_out_of_memory(error):
                raise
        else:
            start = some.stop
            report(start, total)
            continue
        size = size // 2  # here the error, and with it all that the failed question held, is gone
        checks.append(f"out of memory: continued with a batch size of {size}")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return Chunks(results, size, tuple(checks))


def in_chunks(
    inputs: Tensor,
    ask: Callable[[Tensor, slice], Result],
    *,
    size: int,
    device: torch.device,
    dtype: torch.dtype,
    fixed: int | None = None,
) -> Chunks[Result]:
    """Ask a question of all inputs, some at a time.

    Args:
        inputs: ``(N, C, H, W)``, anywhere.
        ask: Called with inputs on the device and the rows they are; it must use only the first
            ``rows.stop - rows.start`` of them, the rest is padding.
        size: Most inputs at once. Out of memory halves it and goes on.
        device: Where the network is.
        dtype: What it computes in.
        fixed: The only batch size the network takes; every chunk is padded to it by repeating its last input.

    Raises:
        Exception: What says that memory ran out, if even one input does not fit.
    """

    def ask_rows(rows: slice) -> Result:
        return ask(_move_inputs(inputs[rows], device, dtype, fixed), rows)

    chunks = in_slices(len(inputs), ask_rows, size=fixed or size)
    return replace(chunks, size=fixed) if fixed else chunks


def _move_inputs(inputs: Tensor, device: torch.device, dtype: torch.dtype, fixed: int | None) -> Tensor:
    with inference(mode=False):
        if inputs.is_inference():
            inputs = inputs.clone()
        if fixed and len(inputs) < fixed:
            inputs = torch.cat([inputs, inputs[-1:].expand(fixed - len(inputs), *inputs.shape[1:])])
        if device.type == "cuda" and inputs.device.type == "cpu":
            inputs = inputs.pin_memory()
        return inputs.to(device, dtype, non_blocking=True)
