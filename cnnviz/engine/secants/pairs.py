"""A forward of two inputs at once: every tensor and its twin, the same in the baseline's forward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from cnnviz.core.change import contextmanager
from cnnviz.engine.activations import plain_name

__all__ = ["PairedCall", "Pairs", "Rules", "paired"]

Value = TypeVar("Value")

WRITING = {"setitem", "iadd", "isub", "imul", "itruediv", "ifloordiv", "ipow", "iand", "ior"}
"""Operators that write to their first argument."""


ABOUT_GRADIENTS = {"register_hook", "retain_grad", "backward"}
"""Methods of a tensor that its twin, which has no gradient, is not asked."""


class PairedCall:
    """A call of a function of the network: its arguments, and the same with every tensor's twin.

    Attributes:
        name: The function's plain name.
        function: The function.
        args: Its arguments.
        kwargs: Its arguments by name.
        twin_args: The arguments in the baseline's forward.
        twin_kwargs: Likewise.
        inplace: Whether it writes to its first argument.
    """

    def __init__(self, pairs: Pairs, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        self.name, self.inplace = plain_name(function), _writes(function, kwargs)
        self.twin_args, self.twin_kwargs = pairs.twin(args), pairs.twin(kwargs)

    def run(self) -> Any:
        """What it gives for the input."""
        return self.function(*self.args, **self.kwargs)

    def run_twin(self) -> Any:
        """What it gives for the baseline."""
        with torch.no_grad(), torch._C.DisableTorchFunction():
            return self.function(*self.twin_args, **self.twin_kwargs)

    def run_selecting(self) -> Any:
        """What it gives for the baseline's numbers and the input's selection: its masks, indices and places."""
        args, kwargs = _selecting(self.args, self.twin_args), _selecting(self.kwargs, self.twin_kwargs)
        with torch.no_grad(), torch._C.DisableTorchFunction():
            return self.function(*args, **kwargs)


Rules = Callable[["Pairs", PairedCall], Any]
"""From a call to what it gives, with multipliers instead of derivatives and noted with its twin; or None."""


class Pairs(TorchFunctionMode):
    """A mode in which a forward of the input also makes the baseline's, function by function.

    Args:
        rules: How functions pass multipliers; those without a rule pass derivatives, as linear ones may.
        exact: Whether norms are taken apart; otherwise their scale is held at the input's.

    Attributes:
        exact: Likewise.
        counts: Calls by the rule they got.
        selected: Calls whose selection (of boxes, say) differs in the baseline's forward, and is the input's there too.
        pathwise: Calls of functions without a rule of their own.
        lost: Functions that got a tensor which comes from the input by a way that is not seen.
    """

    def __init__(self, rules: Rules, *, exact: bool = True) -> None:
        super().__init__()
        self._rules, self.exact = rules, exact
        self._twins: MutableMapping[Tensor, Tensor] = WeakTensorKeyDictionary()
        self.counts: Counter[str] = Counter()
        self.selected: Counter[str] = Counter()
        self.pathwise: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()

    def note(self, value: Value, twin: Any) -> Value:
        """Remember tensors' twins, also of those in containers; returns the value."""
        if isinstance(value, Tensor) and isinstance(twin, Tensor):
            if value is not twin:
                self._twins[value] = twin
        elif isinstance(value, (tuple, list)) and isinstance(twin, (tuple, list)):
            for one, other in zip(value, twin, strict=True):
                self.note(one, other)
        return value

    def has(self, value: Any) -> bool:
        """Whether a value is a tensor with a twin."""
        return isinstance(value, Tensor) and value in self._twins

    def twin(self, value: Any) -> Any:
        """A value as it is in the baseline's forward; what does not depend on the input is the same."""
        if isinstance(value, Tensor):
            return self._twins.get(value, value)
        if isinstance(value, (tuple, list)):
            made = [self.twin(each) for each in value]
            return type(value)(*made) if hasattr(value, "_fields") else type(value)(made)
        if isinstance(value, dict):
            return {key: self.twin(each) for key, each in value.items()}
        return value

    def _is_paired(self, value: Any) -> bool:
        if isinstance(value, (tuple, list)):
            return any(self._is_paired(each) for each in value)
        return self.has(value)

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if plain_name(func) in ABOUT_GRADIENTS:
            return func(*args, **kwargs)
        if not self._is_paired(args) and not self._is_paired(tuple(kwargs.values())):
            self._note_lost(func, args)
            return func(*args, **kwargs)
        if func is Tensor.__setitem__ or (_writes(func, kwargs) and args and isinstance(args[0], Tensor)):
            self._begin_twin(args[0])
        call = PairedCall(self, func, args, kwargs)
        found = self._rules(self, call) if torch.is_grad_enabled() else None
        if found is not None:
            return found
        return self._mirror(call)

    def _mirror(self, call: PairedCall) -> Any:
        """What a call gives, noted with its twin; of a selection, which differs in size, the input's holds for both."""
        try:
            twin, failed = call.run_twin(), False
        except (RuntimeError, IndexError, ValueError):
            if call.inplace:
                raise
            twin, failed = None, True
        value = call.run()
        if failed or not _alike(value, twin):
            self.selected[call.name] += 1
            twin = call.run_selecting()
            twin = twin if _alike(value, twin) else value
        return self.note(value, twin)

    def _begin_twin(self, subject: Tensor) -> None:
        """A tensor that is written to from here on has a twin of its own."""
        if subject not in self._twins:
            with torch.no_grad(), torch._C.DisableTorchFunction():
                self._twins[subject] = subject.detach().clone()

    def _note_lost(self, func: Any, args: tuple[Any, ...]) -> None:
        """Remember a function that gets a tensor which comes from the input, but whose making was not seen."""
        if any(isinstance(each, Tensor) and each.grad_fn is not None and self._descends(each) for each in args):
            self.lost[plain_name(func) or str(func)] += 1

    def _descends(self, tensor: Tensor) -> bool:
        """Whether the graph of a tensor leads to one that has a twin; weights have none."""
        left: list[Any] = [tensor.grad_fn]
        seen = set(left)
        while left:
            node = left.pop()
            variable = getattr(node, "variable", None)
            if variable is not None and variable in self._twins:
                return True
            following = {each for each, _ in node.next_functions if each is not None} - seen
            seen |= following
            left.extend(following)
        return False


def _writes(func: Any, kwargs: dict[str, Any]) -> bool:
    """Whether a call writes to its first argument."""
    name = str(getattr(func, "__name__", "")).partition(".")[0]
    marked = name.endswith("_") and not name.endswith("__")
    return marked or name.strip("_") in WRITING or kwargs.get("inplace") is True


def _alike(value: Any, twin: Any) -> bool:
    """Whether two outputs have tensors of the same shapes in the same places."""
    if isinstance(value, Tensor):
        return isinstance(twin, Tensor) and value.shape == twin.shape
    if isinstance(value, (tuple, list)):
        same = isinstance(twin, (tuple, list)) and len(value) == len(twin)
        return same and all(map(_alike, value, twin))
    return True


def _selecting(own: Any, twin: Any) -> Any:
    """A call's arguments, numbers from the baseline's forward and everything else from the input's."""
    if isinstance(own, Tensor):
        return twin if own.is_floating_point() else own
    if isinstance(own, (tuple, list)):
        made = [_selecting(one, other) for one, other in zip(own, twin, strict=True)]
        return type(own)(*made) if hasattr(own, "_fields") else type(own)(made)
    if isinstance(own, dict):
        return {key: _selecting(each, twin[key]) for key, each in own.items()}
    return own


@contextmanager
def paired(rules: Rules, inputs: Tensor, baseline: Tensor, *, exact: bool = True) -> Iterator[Pairs]:
    """Within it, a forward of the inputs is one of the baseline too, and gradients are multipliers between the two.

    Args:
        rules: How functions pass multipliers.
        inputs: ``(N, C, H, W)``, of which gradients are asked.
        baseline: In the same shape.
        exact: Whether norms are taken apart; otherwise their scale is held at the input's.
    """
    pairs = Pairs(rules, exact=exact)
    pairs.note(inputs, baseline.detach().clone())
    with pairs:
        yield pairs
