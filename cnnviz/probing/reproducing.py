"""The same kernels each time, in full float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["fixed_threads", "reproducible"]


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """On a GPU, deterministic convolutions that are not chosen by timing, and no TensorFloat-32; elsewhere nothing.

    Args:
        device: Where the network is.
    """
    switches = _switches() if device.type == "cuda" else []
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


def _switches() -> list[tuple[Any, str, Any]]:
    cudnn: Any = torch.backends.cudnn
    products: Any = torch.backends.cuda.matmul
    found: list[tuple[Any, str, Any]] = [(cudnn, "deterministic", True), (cudnn, "benchmark", False)]
    if hasattr(products, "fp32_precision"):  # where there are both, reading the older names can be an error
        return [*found, (products, "fp32_precision", "ieee"), (cudnn.conv, "fp32_precision", "ieee")]
    return [*found, (products, "allow_tf32", False), (cudnn, "allow_tf32", False)]
