"""Recognising activation functions, gates and products in the calls that a forward makes, however they are spelled.

A function has one plain name in all its spellings: ``torch.nn.functional.relu``, ``Tensor.relu_`` and
``torch.ops.aten.relu_.default`` are all ``relu``, so that a new spelling needs no new line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch._ops import OpOverload, OpOverloadPacket
from torch.overrides import TorchFunctionMode

__all__ = [
    "GATES",
    "KEEPING",
    "PRODUCTS",
    "UNRULED",
    "Activation",
    "activation_of",
    "plain_name",
    "writes_in_place",
    "BeforeSaturation",
    "FindSaturation",
    "Saturation",
]

RECTIFIERS = {"relu", "relu6"}
SLOPED = {"leaky_relu", "elu", "celu", "selu", "rrelu", "silu", "gelu", "hardswish", "mish", "softplus", "prelu"}
SLOPED |= {"prelu_kernel", "threshold"}
CLAMPS = {"clamp": ("min", "max"), "clip": ("min", "max"), "clamp_min": ("min", ""), "hardtanh": ("min_val", "max_val")}
LARGER = {"maximum", "max"}
NO_LOW_END = {"hardtanh": -1.0}

GATES = {"sigmoid", "hardsigmoid", "softmax", "expit"}
"""Functions whose outputs say how much of something else passes."""

PRODUCTS = {"mul", "multiply", "matmul", "bmm", "rmul", "rmatmul"}
"""Functions in which a gate meets what it gates."""

KEEPING = {"view", "view_as", "reshape", "expand", "expand_as", "broadcast_to", "unsqueeze", "squeeze", "flatten"}
KEEPING |= {"unflatten", "permute", "transpose", "getitem", "select", "slice", "contiguous", "clone", "to", "type_as"}
KEEPING |= {"float", "dropout", "repeat", "alias", "to_copy"}
"""Functions of a gate whose output is a gate still."""

UNRULED = {"tanh", "hardtanh", "softsign", "logsigmoid", "glu", "multi_head_attention_forward"}
UNRULED |= {"scaled_dot_product_attention"}
"""Functions that keep their own derivative under every rule, and are worth a word."""


@dataclass(frozen=True)
class Activation:
    """A call of an activation function.

    Attributes:
        name: Its plain name.
        subject: What it is applied to.
        function: The very same call on another tensor; leaves that as it is.
        rectifier: Whether it passes what is above zero and nothing else (up to a ceiling, if it has one).
        inplace: Whether the call overwrites its subject.
    """

    name: str
    subject: Tensor
    function: Callable[[Tensor], Tensor]
    rectifier: bool
    inplace: bool


def plain_name(func: Any) -> str:
    """A function's name in all its spellings; empty for functions that are not torch's."""
    if isinstance(func, (OpOverload, OpOverloadPacket)) and "aten" not in str(func).split("."):
        return ""
    return str(getattr(func, "__name__", "")).partition(".")[0].strip("_")


def writes_in_place(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call overwrites its first argument."""
    name = str(getattr(func, "__name__", "")).partition(".")[0]
    marked = name.endswith("_") and not name.endswith("__")
    return marked or kwargs.get("inplace") is True or (len(args) > 1 and args[-1] is True)


def activation_of(name: str, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Activation | None:
    """The activation function that a call is, or None.

    ``clamp`` and its kin count where they cut off at zero, ``maximum`` where the other side is zero.

    Args:
        name: The function's plain name.
        func: The function.
        args: Its arguments.
        kwargs: Its arguments by name.
    """
    if "out" in kwargs:
        return None
    place: int | str = 0 if args else "input"
    rectifier = name in RECTIFIERS
    if name in LARGER:
        place, rectifier = _place_beside_zero(args), True
        if place < 0:
            return None
    elif name in CLAMPS:
        rectifier = _cuts_at_zero(name, args, kwargs)
        if not rectifier:
            return None
        name = "relu6" if name == "hardtanh" else name
    elif name not in SLOPED and not rectifier:
        return None
    subject = kwargs.get(place) if isinstance(place, str) else args[place]
    if not isinstance(subject, Tensor):
        return None
    inplace = writes_in_place(func, args, kwargs)
    return Activation(name, subject, _call_on(func, args, kwargs, place, inplace=inplace), rectifier, inplace)


def _call_on(
    func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], place: int | str, *, inplace: bool
) -> Callable[[Tensor], Tensor]:
    def again(subject: Tensor) -> Tensor:
        held = subject.clone() if inplace else subject
        if isinstance(place, str):
            found = func(*args, **{**kwargs, place: held})
        else:
            found = func(*args[:place], held, *args[place + 1 :], **kwargs)
        assert isinstance(found, Tensor)
        return found

    return again


def _place_beside_zero(args: tuple[Any, ...]) -> int:
    """Where the argument stands whose other one is zero, or -1."""
    if len(args) != 2 or not all(isinstance(each, Tensor) for each in args):
        return -1
    zero = [not each.requires_grad and not each.any() for each in args]
    return zero.index(False) if zero.count(True) == 1 else -1


def _cuts_at_zero(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    low_name, high_name = CLAMPS[name]
    low = args[1] if len(args) > 1 else kwargs.get(low_name, NO_LOW_END.get(name))
    high = args[2] if len(args) > 2 else kwargs.get(high_name)
    if isinstance(low, Tensor) and low.numel() == 1:
        low = low.item()
    return isinstance(low, (int, float)) and low == 0 and (not isinstance(high, (int, float)) or high > 0)


SATURATING = {"tanh", "sigmoid", "expit", "hardsigmoid", "softsign", "logsigmoid", "log_sigmoid", "erf", "relu6"}
CEILINGS = {"hardtanh": (2, "max_val"), "clamp": (2, "max"), "clip": (2, "max"), "clamp_max": (1, "max")}
HARDTANH = 1.0


@dataclass(frozen=True)
class Saturation:
    """A call of a function with a ceiling.

    Attributes:
        name: The function's plain name.
        number: The how manieth such call of a forward it is, counted from 0.
        rectified: Whether it also cuts off at zero, so that what is not above zero before it is nothing after it.
    """

    name: str
    number: int
    rectified: bool


class FindSaturation(TorchFunctionMode):
    """Finds, in one forward run inside, which tensors are what a function with a ceiling returned last."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[int, tuple[Tensor, Saturation]] = {}
        self._count = 0

    def of(self, tensor: Tensor) -> Saturation | None:
        """The call that a tensor came from, with nothing done to it since."""
        found = self._last.get(id(tensor))
        return found[1] if found else None

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[Any], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        name = plain_name(func)
        saturating = _is_saturating(name, args, given)
        activation = activation_of(name, func, args, given) if saturating else None
        result = func(*args, **given)
        if saturating:
            called = activation.name if activation else name
            rectified = activation is not None and activation.rectifier
            self._last[id(result)] = (result, Saturation(called, self._count, rectified))
            self._count += 1
        elif name not in KEEPING and "dropout" not in name:
            self._last.pop(id(result), None)  # the same tensor, overwritten
        return result


class BeforeSaturation(TorchFunctionMode):
    """Hands on what chosen calls of functions with a ceiling are given, before they are run.

    Args:
        tell: Called with the call's number and its subject, which may be overwritten right after.
    """

    def __init__(self, tell: Callable[[int, Tensor], None]) -> None:
        super().__init__()
        self._tell = tell
        self.count = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[Any], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        if _is_saturating(plain_name(func), args, given):
            self.count += 1
            self._tell(self.count - 1, _call_subject(args, given))
        return func(*args, **given)


def _is_saturating(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if "out" in kwargs or not isinstance(_call_subject(args, kwargs), Tensor):
        return False
    if name not in CEILINGS:
        return name in SATURATING
    place, word = CEILINGS[name]
    ceiling = args[place] if len(args) > place else kwargs.get(word, HARDTANH if name == "hardtanh" else None)
    return ceiling is not None


def _call_subject(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if args else kwargs.get("input", kwargs.get("self"))
