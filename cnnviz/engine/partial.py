"""Running a network only as far as a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from torch import Tensor, nn

from cnnviz.core.change import contextmanager
from cnnviz.core.layer import split_call
from cnnviz.engine.activations import BeforeSaturation, FindSaturation
from cnnviz.engine.arrangement import first_tensor
from cnnviz.engine.functions import follow_functions
from cnnviz.engine.state.contents import Hooked
from cnnviz.errors import ExplanationError

__all__ = ["Reached", "run_before_ceiling", "run_to"]


class Reached(BaseException):
    """A forward has come as far as it should; not an Exception, so that no network catches it."""


def run_to(module: nn.Module, forward: Callable[[Tensor], Any], inputs: Tensor, layer: str, call: int) -> Tensor:
    """A layer's output, with nothing run after it; connected to the inputs where gradients are on.

    Args:
        module: The network, within ``undisturbed``.
        forward: From inputs to logits, running the module.
        inputs: ``(N, C, H, W)``.
        layer: The layer's name, or the k-th call of it, ``"name#k"``.
        call: Which call the name alone means.

    Raises:
        ExplanationError: If the layer is not run, or gives no tensor.
    """
    plain, number = split_call(layer)
    with follow_functions(module, [layer]) as functions:
        part = functions[plain] if plain in functions else module.get_submodule(plain)
        with _stop_at_call(part, number or call) as reached:
            forward(inputs)
    tensor = first_tensor(reached[0]) if reached else None
    if tensor is None:
        raise ExplanationError(f"Layer '{layer}' gave no tensor in this forward; 'cnnviz layers' shows which do.")
    return tensor


def run_before_ceiling(
    module: nn.Module, forward: Callable[[Tensor], Any], inputs: Tensor, layer: str, call: int
) -> tuple[Tensor, Tensor | None]:
    """A layer's output, and what it was before a function with a ceiling (ReLU6, sigmoid, ...) if it ends in one.

    Args:
        module: The network, within ``undisturbed``.
        forward: From inputs to logits, running the module.
        inputs: ``(N, C, H, W)``.
        layer: As for :func:`run_to`.
        call: As for :func:`run_to`.
    """
    with FindSaturation() as finding:
        output = run_to(module, forward, inputs, layer, call)
    saturation = finding.of(output)
    if saturation is None:
        return output, None
    before: list[Tensor] = []

    def keep(number: int, subject: Tensor) -> None:
        if number == saturation.number:
            before.append(subject.detach().clone())

    with BeforeSaturation(keep):
        output = run_to(module, forward, inputs, layer, call)
    return output, before[0] if before and before[0].shape == output.shape else None


@contextmanager
def _stop_at_call(part: nn.Module, number: int) -> Iterator[list[Any]]:
    """Within it, the forward ends at a module's k-th call; what that returned is in the list."""
    reached: list[Any] = []
    seen = 0

    def stop(_part: nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            reached.append(output)
            raise Reached

    with Hooked(part, stop), suppress(Reached):
        yield reached
