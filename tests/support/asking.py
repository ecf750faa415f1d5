"""Asking any method of the catalogue, and seeing what it left behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules import module as global_hooks

from cnnviz.catalogue import CATALOGUE, load
from cnnviz.method import Method
from cnnviz.methods.predict import predict

METHODS = tuple(CATALOGUE)
EVERYTHING = (*METHODS, "predict")
JOINT = ("dff",)
"""Methods whose definition looks at all images together."""

OF_PIXELS = ("patches",)
"""Methods whose answer as an array is pictures."""

WITHOUT_EFFECT = {"patches": {"index", "workers"}}
"""Settings that change nothing in an answer, and so are not in its record."""

FEWER = {"samples": 4, "masks": 40, "steps": 20, "most_steps": 40}
"""Settings that only say how much work is done; the contract needs little of it."""

HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks_with_kwargs",
)


def method_of(name: str) -> Method[Any, Any]:
    return predict if name == "predict" else load(name)


def needing(*needs: str) -> list[str]:
    """Names of the methods that have to be given all of these."""
    return [name for name in METHODS if set(needs) <= set(method_of(name).needs)]


def ask(name: str, model: Any, images: Any, target: Any = None, **settings: Any) -> Any:
    """Call a method with what it needs."""
    method = method_of(name)
    given = {"model": model, "images": images, "target": target, "start": None, "examples": None, "judge": None}
    given["data"] = images
    if "images" not in method.needs:  # there is no picture whose top class could be meant
        given["target"] = [each or 0 for each in target] if isinstance(target, list) else target or 0
    fewer = {setting: value for setting, value in FEWER.items() if setting in method.parameters}
    return method(*(given[need] for need in method.needs), **(fewer | settings))


def same(one: Any, other: Any, *, close: bool = False) -> bool:
    """Whether two results hold the same numbers, bit for bit or to six digits of the largest."""
    first, second = np.asarray(one), np.asarray(other)
    if not close:
        return first.shape == second.shape and first.tobytes() == second.tobytes()
    return first.shape == second.shape and bool(np.abs(first - second).max() <= 1e-5 * max(np.abs(first).max(), 1e-30))


def interrupt_steps(monkeypatch: Any, step: int = 2) -> None:
    """Whatever is made by gradient ascent is interrupted after so many steps."""
    from cnnviz.methods.ascent import optimise

    def report(progress: Any) -> None:
        if progress.step == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(optimise, "report_progress", report)


def _bytes(value: torch.Tensor) -> bytes:
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def state_of(net: nn.Module, contents: Callable[[torch.Tensor], Any] = _bytes) -> dict[str, Any]:
    """Everything about a network and about torch that a method could leave changed, as comparable values.

    Args:
        net: The network.
        contents: What is kept of the numbers in its weights, gradients and buffers.
    """
    found: dict[str, Any] = {
        "gradients on": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "random numbers": _bytes(torch.get_rng_state()),
        "default type": torch.get_default_dtype(),
        "global hooks": {name: len(held) for name, held in vars(global_hooks).items() if isinstance(held, dict)},
    }
    for name, part in net.named_modules():
        found[f"{name} training"] = part.training
        found[f"{name} hooks"] = {kind: list(getattr(part, kind).items()) for kind in HOOKS}
        found[f"{name} attributes"] = sorted(vars(part))
        found[f"{name} forward"] = part.__dict__.get("forward")
        held = {**part._parameters, **part._buffers}
        found |= {f"{name}.{key}": (id(value), _described(value, contents)) for key, value in held.items()}
    return found


def _described(value: torch.Tensor | None, contents: Callable[[torch.Tensor], Any]) -> Any:
    if value is None:
        return None
    gradient = None if value.grad is None else (id(value.grad), contents(value.grad))
    return value.dtype, value.device, tuple(value.shape), value.requires_grad, value.grad_fn, gradient, contents(value)
