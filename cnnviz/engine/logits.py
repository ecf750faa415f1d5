"""Finding the logits in whatever a network returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from cnnviz.errors import CnnvizError, ExplanationError, describe_failure

__all__ = ["OutputSelector", "select_logits"]

OutputSelector: TypeAlias = str | int | Callable[[Any], Tensor] | None

CLASSES_DIM, USUAL_NAMES = 2, ("logits", "out", "output", "outputs", "pred", "predictions")


def select_logits(output: Any, selector: OutputSelector = None, *, count: int | None = None) -> Tensor:
    """The logits ``(N, K)`` in a network's output.

    Args:
        output: A tensor, or a dict, tuple, list or object (such as a named tuple) that holds one.
        selector: A key, index, attribute name or callable; None takes a tensor as it is, the entry with a usual name
            (``logits``, ``out``, ...), or the only tensor there is.
        count: How many images the network was given; for a single one a squeezed ``(K,)`` is understood.

    Raises:
        ExplanationError: If there is no such entry, no single tensor to take, its shape is not ``(N, K)``, or it
            answers for another number of images.
    """
    found = _select_part(output, selector) if selector is not None else _find_usual_part(output)
    if not isinstance(found, Tensor):
        raise ExplanationError(f"The network's output, {_sketch_output(output)}, holds no tensor there; {ADVICE}")
    if found.dim() > CLASSES_DIM and all(side == 1 for side in found.shape[CLASSES_DIM:]):
        found = found.flatten(1)
    if found.dim() < CLASSES_DIM and (found.dim() == 1 or count == 1):
        found = found.reshape(1 if count == 1 else len(found), -1)
    if found.dim() != CLASSES_DIM:
        raise ExplanationError(
            f"The network returns a tensor of shape {tuple(found.shape)}, not logits (N, K); "
            "say how to read class scores from it with Model(..., output=function)."
        )
    if count is not None and len(found) != count:
        raise ExplanationError(
            f"The network returns answers for {len(found)} images, having been given {count}: its logits have shape "
            f"{tuple(found.shape)}; {ADVICE}"
        )
    return found


ADVICE = "say which part is the logits with Model(..., output=key) or --logits KEY."


def _select_part(output: Any, selector: str | int | Callable[[Any], Tensor]) -> Any:
    if callable(selector):
        try:
            return selector(output)
        except (CnnvizError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise ExplanationError(
                f"The function that reads the logits failed on {_sketch_output(output)}: {describe_failure(error)}."
            ) from error
    key: Any = int(selector) if isinstance(selector, str) and selector.isdigit() else selector
    try:
        if isinstance(key, str) and not isinstance(output, Mapping):
            return getattr(output, key)
        return output[key]
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ExplanationError(
            f"The network's output, {_sketch_output(output)}, has no part {selector!r}; {ADVICE}"
        ) from None


def _find_usual_part(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output
    for name in USUAL_NAMES:
        held = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(held, Tensor):
            return held
    values: Sequence[Any] = list(output.values()) if isinstance(output, Mapping) else _list_items(output)
    tensors = [value for value in values if isinstance(value, Tensor)]
    if len(tensors) == 1:
        return tensors[0]
    raise ExplanationError(f"The network returns {_sketch_output(output)}; {ADVICE}")


def _list_items(output: Any) -> list[Any]:
    return list(output) if isinstance(output, Sequence) else []


def _sketch_output(output: Any) -> str:
    if isinstance(output, Tensor):
        return f"a tensor {tuple(output.shape)}"
    if isinstance(output, Mapping):
        return f"a dict with the keys {', '.join(map(repr, output))}"
    if isinstance(output, Sequence):
        return f"a {type(output).__name__} of {len(output)}"
    return f"a {type(output).__name__}"
