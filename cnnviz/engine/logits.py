"""The logits in whatever a network returns, and the function at its end that they went through."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.core.dimensions import is_dense
from cnnviz.core.head import End, Head
from cnnviz.core.untrusted import NUMBER
from cnnviz.engine.activations import plain_name
from cnnviz.errors import CnnvizError, ExplanationError, describe_failure

__all__ = [
    "TWO",
    "COARSE_ROUNDING",
    "apply_function",
    "EndWatch",
    "OutputSelector",
    "flatten_answer",
    "recognise_head",
    "select_logits",
    "sketch_output",
    "sum_to_one",
    "two_sided",
]

OutputSelector: TypeAlias = str | int | Callable[[Any], Tensor] | None

ENDS: dict[str, End] = {"softmax": "softmax", "sigmoid": "sigmoid", "expit": "sigmoid", "special_expit": "sigmoid"}
ROUNDING, COARSE_ROUNDING = 1e-4, 1e-2
"""How far the sum of probabilities may be from 1, in float32 and wider, and in half precision."""
COORDINATES = (2, 3)
"""How many numbers a place has, with or without what it is worth."""
CLASSES_DIM, POINTS_DIM, USUAL_NAMES = 2, 3, ("logits", "out", "output", "outputs", "pred", "predictions")


def select_logits(output: Any, selector: OutputSelector = None, *, count: int | None = None) -> Tensor:
    """The logits ``(N, K)`` in a network's output, or dense ones ``(N, K, h, w)``, a class's for every pixel.

    Args:
        output: A tensor, or a dict, tuple, list or object (such as a named tuple) that holds one.
        selector: A key, index, attribute name, path of these (``"heads.age.0"``) or callable; None takes a tensor as it
            is, the entry with a usual name
            (``logits``, ``out``, ...), or the only tensor there is.
        count: How many images the network was given; for a single one a squeezed ``(K,)`` is understood.

    Raises:
        ExplanationError: If there is no such entry, no single tensor to take, its shape is neither, or it
            answers for another number of images.
    """
    found = _select_part(output, selector) if selector is not None else _find_usual_part(output)
    if not isinstance(found, Tensor):
        raise ExplanationError(f"The network's output, {sketch_output(output)}, holds no tensor there; {ADVICE}")
    if not found.is_floating_point():
        kind = str(found.dtype).removeprefix("torch.")
        raise ExplanationError(f"The network's numbers are of type {kind}, and logits are floating-point; {ADVICE}")
    if found.dim() > CLASSES_DIM and all(side == 1 for side in found.shape[CLASSES_DIM:]):
        found = found.flatten(1)
    if found.dim() < CLASSES_DIM and (found.dim() == 1 or count == 1):
        found = found.reshape(1 if count == 1 else len(found), -1)
    if found.dim() == POINTS_DIM and found.shape[2] in COORDINATES:
        raise ExplanationError(
            f"The network returns a tensor of shape {tuple(found.shape)}, as coordinates of {found.shape[1]} points "
            "have it; explain one of them as a value, with Model(..., logits=lambda found: found[:, 3, :1], "
            "head='value') or --logits FILE.py:FUNCTION --head value."
        )
    if found.dim() != CLASSES_DIM and not is_dense(found):
        raise ExplanationError(
            f"The network returns a tensor of shape {tuple(found.shape)}, not logits (N, K) or (N, K, h, w); "
            "say how to read class scores from it with Model(..., logits=function) or --logits FILE.py:FUNCTION."
        )
    if count is not None and len(found) != count:
        raise ExplanationError(
            f"The network returns answers for {len(found)} images, having been given {count}: its logits have shape "
            f"{tuple(found.shape)}; {ADVICE}"
        )
    return found


class EndWatch(TorchFunctionMode):
    """Inside, remembers the last softmax and the last sigmoid: what they were given are the logits before the end."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[End, tuple[Tensor, Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        end = ENDS.get(plain_name(func))
        given = args[0] if args else (kwargs or {}).get("input")
        if end and isinstance(output, Tensor) and isinstance(given, Tensor) and output is not given:
            self._last[end] = given, output
        return output

    def before(self, found: Tensor) -> tuple[Tensor, End]:
        """What was given to the function whose result, in whatever shape, this is; itself where there is none."""
        for end, (given, output) in self._last.items():
            same = output.data_ptr() == found.data_ptr() and output.numel() == found.numel()
            if found is output or (same and output.is_contiguous() and found.is_contiguous()):
                return given.reshape(found.shape), end
        return found, ""


def recognise_head(given: Head | None, end: End, logits: Tensor, labels: Sequence[str] | None) -> Head:
    """What the numbers of an output mean: as the user says, or recognised by the network's end, its size and values.

    Args:
        given: What the user says, or None.
        end: The function at the network's end, or ``""``.
        logits: ``(N, K)``, before that function.
        labels: Names of the classes, or None.
    """
    one, named = logits.shape[1] == 1, len(labels or ())
    if given is not None and given.kind != "probabilities":
        taken = end if given.kind == end or (given.kind == "binary" and end == "sigmoid") else ""
        return Head(given.kind, given.unit, taken, _note_end(taken))
    if end:
        kind = "binary" if one and named == TWO else end
        return Head(kind, "", end, _note_end(end))
    if given is not None:
        _check_shares(logits.detach())
        return Head("probabilities", notes=(UNDIFFERENTIATED,))
    if one:
        return _read_one_output(labels if named == TWO else None)
    adding_up = f"the network's numbers add up to 1: {UNDIFFERENTIATED}"
    return Head("probabilities", notes=(adding_up,)) if _add_up(logits) else Head(assumed=(EXCLUSIVE,))


def _check_shares(shares: Tensor) -> None:
    low, high = float(shares.min()), float(shares.max())
    if low < -COARSE_ROUNDING or high > 1 + COARSE_ROUNDING:
        raise ExplanationError(
            f"Probabilities lie in [0, 1]; this network's numbers reach from {low:.3g} to {high:.3g}: leave out "
            "head='probabilities' (--head), or name another."
        )


def _read_one_output(labels: Sequence[str] | None) -> Head:
    if labels is None:
        return Head("value", notes=(ONE_VALUE,))
    return Head("binary", notes=(f"one output and two labels: read as the logit of '{labels[1]}'",))


TWO = 2
ONE_VALUE = "one output, read as a value; --head binary (two labels) or sigmoid (one) if it is a class's logit"
EXCLUSIVE = "read as logits of classes that exclude each other (softmax); --head sigmoid for independent labels"
UNDIFFERENTIATED = (
    "read as probabilities and explained directly; saturated ones hardly change: give the network without its last "
    "softmax or sigmoid to explain logits"
)


def _note_end(end: End) -> tuple[str, ...]:
    return (f"the network ends in a {end}: the logits before it are explained",) if end else ()


def sum_to_one(shares: Tensor, rounding: float) -> bool:
    """Whether the shares ``(N, K, ...)`` of all classes are 1 in sum, of each image and pixel."""
    return bool(((shares.double().sum(dim=1) - 1).abs() <= rounding).all())


def _add_up(logits: Tensor) -> bool:
    """Whether they are probabilities by the look of them: none negative, and of each image 1 in sum."""
    values = logits.detach()
    coarse = values.dtype in (torch.float16, torch.bfloat16)
    return bool((values >= 0).all()) and sum_to_one(values, COARSE_ROUNDING if coarse else ROUNDING)


def two_sided(logits: Tensor, whole: int = 0) -> Tensor:
    """The numbers ``(N, 2)`` of both classes from the one ``(N, 1)`` of the second.

    Args:
        logits: Of the second class.
        whole: What the two add up to: 0 for logits, 1 for probabilities.

    Raises:
        ExplanationError: If there is more than one.
    """
    if logits.shape[1] != 1:
        raise ExplanationError(f"A binary head is one logit for two classes; this network gives {logits.shape[1]}.")
    return torch.cat([whole - logits, logits], dim=1)


def flatten_answer(output: Any, count: int) -> Tensor:
    """All numbers ``(count, M)`` in a network's output, whatever it is; zeros where none belong to single images.

    Args:
        output: What the network returned: tensors with an entry for each image, or a list of an answer for each.
        count: How many images it was given.
    """
    parts = [each.reshape(count, -1) for each in _float_tensors(output) if each.dim() and len(each) == count]
    if not parts and isinstance(output, Sequence) and len(output) == count:
        answers = [
            torch.cat([torch.zeros(1), *(each.detach().cpu().flatten() for each in _float_tensors(one))])
            for one in output
        ]
        parts = [torch.nn.utils.rnn.pad_sequence(answers, batch_first=True)]
    found = torch.cat(parts, dim=1) if parts else torch.zeros(count, 0)
    return found if found.numel() else torch.zeros(count, 1)


def _float_tensors(output: Any) -> list[Tensor]:
    return [each for each in tree_leaves(output) if isinstance(each, Tensor) and each.is_floating_point()]


def apply_function(function: Callable[[Any], Any], given: Any, say: Callable[[str], CnnvizError]) -> Any:
    """What a function of the user's makes of something.

    Args:
        function: The function.
        given: What it is given.
        say: Makes the error that is raised of the failure in words.

    Raises:
        CnnvizError: If it fails, but for want of memory.
    """
    try:
        return function(given)
    except CnnvizError:
        raise
    except Exception as error:
        if ran_out_of_memory(error):
            raise
        raise say(describe_failure(error)) from error


ADVICE = "say which part is the logits with Model(..., logits=key) or --logits KEY."


def _select_part(output: Any, selector: str | int | Callable[[Any], Tensor]) -> Any:
    if callable(selector):
        what = "The function that reads the logits failed on"
        return apply_function(
            selector, output, lambda failure: ExplanationError(f"{what} {sketch_output(output)}: {failure}.")
        )
    path = [selector]
    if isinstance(selector, str) and "." in selector and not _has_part(output, selector):
        path = list(selector.split("."))
    found = output
    for key in path:
        if not _has_part(found, key):
            within = "" if len(path) == 1 else f" ({key!r} in {sketch_output(found)})"
            raise ExplanationError(
                f"The network's output, {sketch_output(output)}, has no part {selector!r}{within}; {ADVICE}"
            )
        found = _part_of(found, key)
    return found


def _has_part(output: Any, key: str | int) -> bool:
    try:
        _part_of(output, key)
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError, RuntimeError):
        return False
    return True


def _part_of(output: Any, name: str | int) -> Any:
    key: Any = int(name) if isinstance(name, str) and re.fullmatch(NUMBER, name) else name
    if isinstance(key, str) and not isinstance(output, Mapping):
        return getattr(output, key)
    return output[key]


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
    raise ExplanationError(f"The network returns {sketch_output(output)}; {ADVICE}")


def _list_items(output: Any) -> list[Any]:
    return list(output) if isinstance(output, Sequence) else []


def sketch_output(output: Any) -> str:
    """What an output is, with the shapes of the tensors in it."""
    if isinstance(output, Tensor):
        return f"a tensor {tuple(output.shape)}"
    if isinstance(output, Mapping):
        return f"a dict with {_sketch_parts({repr(key): value for key, value in output.items()})}"
    if isinstance(output, Sequence) and not isinstance(output, str):
        return f"a {type(output).__name__} of {len(output)} ({_sketch_parts(dict(enumerate(output)))})"
    return f"a {type(output).__name__}"


MOST_PARTS = 8


def _sketch_parts(parts: Mapping[Any, Any]) -> str:
    said = [f"{key}: {_sketch_part(part)}" for key, part in list(parts.items())[:MOST_PARTS]]
    return ", ".join([*said, "..."] if len(parts) > MOST_PARTS else said)


def _sketch_part(part: Any) -> str:
    if isinstance(part, Tensor):
        return str(tuple(part.shape))
    if isinstance(part, (Mapping, list, tuple)):
        return f"{type(part).__name__} of {len(part)}"
    return type(part).__name__
