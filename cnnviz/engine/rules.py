"""rules: guided backpropagation and deconvnet, on activation functions and not on modules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias
from weakref import ref

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from cnnviz.core.change import contextmanager
from cnnviz.engine.activations import (
    GATES,
    KEEPING,
    PRODUCTS,
    UNRULED,
    Activation,
    activation_of,
    plain_name,
    writes_in_place,
)
from cnnviz.errors import ExplanationError

__all__ = ["Coverage", "Rule", "ruled", "unseen_parts"]

Rule: TypeAlias = Literal["guided", "deconvnet"]

SELF_GATED = {"sigmoid": "silu", "expit": "silu", "hardsigmoid": "hardswish"}


@dataclass
class Coverage:
    """What a rule touched in one forward.

    Attributes:
        rule: The rule.
        activations: Calls of each activation function that got the rule.
        gates: How many products had a gate in them, which was held constant.
        unruled: Calls of nonlinear functions that keep their own derivative.
        pools: Calls of max pooling.
    """

    rule: Rule
    activations: Counter[str] = field(default_factory=Counter)
    gates: int = 0
    unruled: Counter[str] = field(default_factory=Counter)
    pools: int = 0

    def __str__(self) -> str:
        said = [f"{self.rule} rule applied to {_list_calls(self.activations) or 'no activation function'}"]
        said += [f"{self.gates} gates held constant"] if self.gates else []
        said += [f"{_list_calls(self.unruled)} left with their own derivative"] if self.unruled else []
        return ", ".join(said)


@contextmanager
def ruled(rule: Rule, *, needed: bool = True) -> Iterator[Coverage]:
    """Within it, every activation function that a forward calls passes gradients back by the rule.

    With incoming gradient ``R`` and an activation function ``f`` at ``x``::

        deconvnet:  max(R, 0), whatever x is
        guided:     max(f'(x), 0) * max(R, 0), where f' of ReLU, ReLU6 and other rectifiers is 1 for x > 0

    What the forward computes stays the same, bit for bit. ReLU, ReLU6, leaky ReLU, ELU, CELU, SELU, SiLU, GELU,
    Hardswish, Mish, Softplus, PReLU, threshold, ``clamp`` at zero and ``maximum`` with zero are seen, as modules and
    functions, in place and reused, and in exported graphs. The output of a sigmoid, hard sigmoid or softmax is
    constant for the gradient where it is multiplied with something else; ``x * sigmoid(x)`` is SiLU and gets the rule.
    Not seen are ``x[x < 0] = 0``, ``x * (x > 0)``, ``torch.where``, and code that is scripted.

    The backward is run outside.

    Args:
        rule: ``"guided"`` or ``"deconvnet"``.
        needed: Whether a forward without any activation function is refused.

    Raises:
        ExplanationError: On leaving, if the rule touched nothing.
    """
    mode = _RuleMode(rule)
    with mode:
        yield mode.coverage
    if needed and not mode.coverage.activations:
        raise ExplanationError(
            f"The {rule} rule touched nothing: this network calls no activation function that it knows, so the "
            "answer would be the plain gradient; use saliency."
        )


def unseen_parts(module: nn.Module) -> list[str]:
    """Names of parts whose insides no rule can see, because they are scripted."""
    return [name for name, part in module.named_modules() if name and isinstance(part, torch.jit.ScriptModule)]


@dataclass(frozen=True)
class _HeldGate:
    """A tensor between 0 and 1: the function that made it, and what of."""

    name: str
    function: Any
    source: ref[Tensor] | None


class _RuleMode(TorchFunctionMode):
    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.coverage = Coverage(rule)
        self.gates: MutableMapping[Tensor, _HeldGate] = WeakTensorKeyDictionary()

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = plain_name(func)
        if not torch.is_grad_enabled():
            return func(*args, **kwargs)
        self.coverage.pools += "max_pool" in name
        activation = activation_of(name, func, args, kwargs)
        if activation is None and name in PRODUCTS:
            activation, args = self._rule_product(func, args, kwargs)
        if activation is not None and activation.subject.requires_grad:
            self.coverage.activations[activation.name] += 1
            return _apply_rule(self.coverage.rule, activation)
        output = func(*args, **kwargs)
        self._track_gate(name, func, args, kwargs, output)
        return output

    def _rule_product(
        self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[Activation | None, tuple[Any, ...]]:
        """The activation that a product is (``x * sigmoid(x)``), or its arguments with a gate held constant."""
        if len(args) != 2 or not all(isinstance(each, Tensor) and each.requires_grad for each in args):
            return None, args
        gates = [self.gates.get(each) for each in args]
        place = 0 if gates[0] is None else 1
        gate, inplace = gates[1 - place], writes_in_place(func, args, kwargs)
        if gate is None or gates[place] is not None or (inplace and place == 1):
            return None, args
        if gate.name in SELF_GATED and gate.source is not None and gate.source() is args[place]:
            return _self_gated_activation(func, gate, args[place], place, inplace=inplace), args
        self.coverage.gates += 1
        return None, tuple(each if own is None else each.detach() for each, own in zip(args, gates, strict=True))

    def _track_gate(self, name: str, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        """Remember what is a gate, and count what keeps its own derivative."""
        if not isinstance(output, Tensor) or not output.requires_grad:
            return
        if name in UNRULED:
            self.coverage.unruled[name] += 1
        if name in GATES:
            source = args[0] if args else kwargs.get("input")
            kept = ref(source) if isinstance(source, Tensor) and source is not output else None
            self.gates[output] = _HeldGate(name, func, kept)
        elif name in KEEPING or name in PRODUCTS:
            live = [each for each in args if isinstance(each, Tensor) and each.requires_grad]
            gate = self.gates.get(live[0]) if len(live) == 1 or (live and name in KEEPING) else None
            if gate is not None:
                self.gates[output] = _HeldGate(gate.name, None, None)


class _RuledActivation(torch.autograd.Function):
    """An activation whose backward is ``slope * max(R, 0)``, or ``max(R, 0)`` without a slope."""

    @staticmethod
    def forward(ctx: Any, subject: Tensor, activation: Activation, slope: Tensor | None) -> Tensor:
        ctx.save_for_backward(slope)
        ctx.set_materialize_grads(False)
        return activation.function(subject)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, None, None]:
        if gradient is None:
            return None, None, None
        (slope,) = ctx.saved_tensors
        passed = gradient.clamp_min(0)
        return passed if slope is None else passed * slope, None, None


def _apply_rule(rule: Rule, activation: Activation) -> Tensor:
    subject = activation.subject.clone() if activation.inplace else activation.subject
    output: Tensor = _RuledActivation.apply(
        subject, activation, _positive_slope(activation) if rule == "guided" else None
    )
    return activation.subject.copy_(output) if activation.inplace else output


def _positive_slope(activation: Activation) -> Tensor:
    """The derivative of the activation function where it is positive, otherwise 0, in the subject's shape."""
    held = activation.subject.detach()
    if activation.rectifier:
        return held > 0
    leaf = held.clone().requires_grad_()
    (slope,) = torch.autograd.grad(activation.function(leaf).sum(), leaf)
    return slope.clamp_min(0)


def _self_gated_activation(func: Any, gate: _HeldGate, subject: Tensor, place: int, *, inplace: bool) -> Activation:
    def again(held: Tensor) -> Tensor:
        opened = gate.function(held)
        held = held.clone() if inplace else held
        found = func(held, opened) if place == 0 else func(opened, held)
        assert isinstance(found, Tensor)
        return found

    return Activation(SELF_GATED[gate.name], subject, again, rectifier=False, inplace=inplace)


def _list_calls(calls: Counter[str]) -> str:
    return ", ".join(f"{name} x{count}" for name, count in calls.most_common())
