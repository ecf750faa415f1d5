"""Layers that end in a function with a ceiling, and the values before it: at the ceiling all images are equal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from cnnviz.probing.spellings import KEEPING, activation_of, plain_name

__all__ = ["BeforeSaturation", "FindSaturation", "Saturation"]

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
        saturating = _saturates(name, args, given)
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
        if _saturates(plain_name(func), args, given):
            self.count += 1
            self._tell(self.count - 1, _subject(args, given))
        return func(*args, **given)


def _saturates(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if "out" in kwargs or not isinstance(_subject(args, kwargs), Tensor):
        return False
    if name not in CEILINGS:
        return name in SATURATING
    place, word = CEILINGS[name]
    ceiling = args[place] if len(args) > place else kwargs.get(word, HARDTANH if name == "hardtanh" else None)
    return ceiling is not None


def _subject(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if args else kwargs.get("input", kwargs.get("self"))
