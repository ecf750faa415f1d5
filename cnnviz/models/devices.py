"""Devices by name."""

from __future__ import annotations

import warnings

import torch

from cnnviz.errors import UsageError

__all__ = ["resolve_device"]


def resolve_device(device: str | torch.device) -> torch.device:
    """The device of that name; ``"auto"`` is CUDA where there is one, and the CPU elsewhere.

    Args:
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or a torch device.

    Raises:
        UsageError: If this machine has no such device; the message lists those it has.
    """
    there = _available()
    name = str(device).lower()
    if name == "auto":
        return torch.device("cuda" if "cuda:0" in there else "cpu")
    if {"cuda": "cuda:0", "cpu:0": "cpu", "mps:0": "mps"}.get(name, name) not in there:
        raise UsageError(f"There is no device '{device}' here; there is {' and '.join(there)}.")
    return torch.device(name)


def _available() -> list[str]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="CUDA initialization", category=UserWarning)
        cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *(f"cuda:{index}" for index in range(cuda)), *mps]
