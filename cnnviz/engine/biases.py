"""Every bias of a network and the score's gradient there, from one forward and one backward.

A layer's bias is a number that it adds. A function that is not linear has one too, another at every place: what is left
of its value without its slope times what it is given, ``f(x) - f'(x) x``. It is 0 for a ReLU, 6 where a ReLU6 is
saturated, and ``-a b`` for a product of two things that both depend on the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node, get_gradient_edge
from torch.overrides import TorchFunctionMode

from cnnviz.core.layer import Arrangement
from cnnviz.engine.activations import plain_name, writes_in_place
from cnnviz.engine.arrangement import Arranger
from cnnviz.engine.calls.cuts import NO_GRADIENT
from cnnviz.engine.capture import differentiate
from cnnviz.engine.undisturbed import hookable_parts
from cnnviz.errors import ExplanationError

__all__ = ["FullGradients", "full_gradients"]

Biased = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear | nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True)
class FullGradients:
    """What a score adds up from.

    Attributes:
        inputs: Input times gradient ``(N, C, H, W)``.
        biases: For each call that has a bias, its own or an implicit one, that times the gradient in the call's own
            shape, and its arrangement; in the forward's order.
        scores: ``(N,)``.
        logits: ``(N, K)``.
    """

    inputs: Tensor
    biases: tuple[tuple[Tensor, Arrangement | None], ...]
    scores: Tensor
    logits: Tensor

    def missing(self) -> Tensor:
        """What is left of each score ``(N,)`` without all contributions; 0 unless there are terms of other kinds."""
        total = self.inputs.double().flatten(1).sum(dim=1)
        for bias, _ in self.biases:
            total = total + bias.double().flatten(1).sum(dim=1)
        return self.scores.double() - total


def full_gradients(
    module: nn.Module, forward: Callable[[Tensor], Tensor], inputs: Tensor, score: Callable[[Tensor], Tensor]
) -> FullGradients:
    """Run forward and backward, and multiply every bias with the score's gradient where it is added.

    Biases are found in the calls of functions, so that it does not matter which module makes them. A batch norm in
    evaluation mode adds ``beta - mean * gamma / sqrt(variance + epsilon)``; constants that are added count as they are;
    activation functions, norms, products and quotients have the bias that their tangent leaves.

    Args:
        module: The network, undisturbed.
        forward: From inputs to logits ``(N, K)``.
        inputs: ``(N, C, H, W)``.
        score: From logits to scores ``(N,)``.

    Raises:
        ExplanationError: If the network's backward fails, no gradient reaches the input, or a layer runs on another
            number of images.
    """
    arranger = Arranger(module, inputs.shape[2:])

    def observe(part: nn.Module, _inputs: Any, output: Any) -> None:
        arranger.observe(part, output, len(inputs))
        made_once = not isinstance(output, Tensor) or output.dim() == 0 or len(output) == 1
        if isinstance(part, Biased) and part.bias is not None and not made_once and len(output) != len(inputs):
            raise ExplanationError(
                f"This network runs layers on {len(output)} images or windows where {len(inputs)} were given, so that "
                "their biases belong to no one picture; use integrated gradients."
            )

    with torch.enable_grad(), ExitStack() as hooks:
        for part in hookable_parts(module).values():
            if part is not module:
                hooks.callback(part.register_forward_hook(observe, prepend=True).remove)
        leaf = inputs.detach().clone().requires_grad_()
        with _BiasRecorder(leaf, arranger) as recorder:
            logits = forward(leaf)
        scores = score(logits)
    (found,) = differentiate(scores, [leaf], torch.ones_like(scores))
    if found is None:
        raise ExplanationError(NO_GRADIENT)
    return FullGradients((leaf * found).detach(), recorder.terms, scores.detach(), logits.detach())


CURVED = {"relu6", "hardtanh", "hardswish", "hardsigmoid", "silu", "gelu", "mish", "softplus", "elu", "celu", "selu"}
CURVED |= {
    "sigmoid",
    "expit",
    "logsigmoid",
    "log_sigmoid",
    "tanh",
    "softsign",
    "tanhshrink",
    "hardshrink",
    "softshrink",
}
CURVED |= {"threshold", "clamp", "clip", "clamp_min", "clamp_max", "exp", "erf", "pow", "square", "sqrt", "sin", "cos"}
"""Functions of each element alone that are not positively homogeneous (ReLU, leaky ReLU and PReLU are)."""

MIXING = {"layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm", "softmax", "log_softmax"}
"""Functions of several elements together."""

WEIGHTED = {f"{kind}{n}d" for kind in ("conv", "conv_transpose") for n in (1, 2, 3)} | {"convolution", "linear"}
PRODUCTS = {"mul", "multiply", "rmul", "imul", "matmul", "rmatmul", "bmm", "mm"}
DEGREES = dict.fromkeys(WEIGHTED | PRODUCTS, (1, 1))
DEGREES |= dict.fromkeys(("div", "divide", "true_divide", "truediv", "itruediv"), (1, -1))
DEGREES |= {"rdiv": (-1, 1), "rtruediv": (-1, 1), "reciprocal": (-1, 0)}
"""Of products and quotients, of which degree they are in each operand."""

SUMS = {"add": (1, 1), "radd": (1, 1), "iadd": (1, 1)} | dict.fromkeys(("sub", "subtract", "isub"), (1, -1))
SUMS |= {"rsub": (-1, 1)}
"""Of sums and differences, the sign of each operand."""

BATCH_NORMS = {"batch_norm", "native_batch_norm_legit_no_training"}

Term: TypeAlias = tuple[Tensor, Arrangement | None]
Bias: TypeAlias = Callable[[Tensor], Tensor]
"""From what a call returned to the bias in it, which can be broadcast to that."""


class _BiasRecorder(TorchFunctionMode):
    """Finds the bias of every call of a forward that is run inside; in the backward, its term.

    Args:
        leaf: The picture.
        arranger: Told of every layer's output.
    """

    def __init__(self, leaf: Tensor, arranger: Arranger) -> None:
        super().__init__()
        self._depends, self._arranger, self._batch = _Dependence(leaf), arranger, len(leaf)
        self._found: dict[int, Term] = {}
        self._count = 0

    @property
    def terms(self) -> tuple[Term, ...]:
        """Bias times gradient of every call that the score depends on, in the forward's order."""
        return tuple(self._found[number] for number in sorted(self._found))

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[Any], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given, name = kwargs or {}, plain_name(func)
        bias = None if "out" in given else self._bias_of(name, func, args, given)
        output = func(*args, **given)
        value = output[0] if name in BATCH_NORMS and isinstance(output, tuple) else output
        if bias is not None and isinstance(value, Tensor) and value.requires_grad:
            self._watch(name, value, bias(value.detach()))
        return output

    def _bias_of(
        self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Bias | None:
        if name in CURVED:
            return _bias_of_curve(func, args, kwargs)
        if name in MIXING and args and isinstance(args[0], Tensor) and args[0].requires_grad:
            return _bias_of_mixture(func, args, kwargs)
        if name in BATCH_NORMS:
            return _bias_of_batch_norm(name, func, args, kwargs)
        if name in DEGREES:
            return self._bias_of_product(name, args, kwargs)
        return self._bias_of_sum(SUMS[name], args) if name in SUMS and not kwargs.get("alpha") else None

    def _bias_of_product(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Bias | None:
        """Euler's theorem: what is homogeneous of degree ``n`` is ``n`` times less than its slope says."""
        operands = (*args[:2], *([kwargs["weight"]] if len(args) < 2 and "weight" in kwargs else []))
        moving = [isinstance(one, Tensor) and self._depends(one) for one in operands]
        degree = sum(each for each, one in zip(DEGREES[name], moving, strict=False) if one)
        own = (args[2] if len(args) > 2 else kwargs.get("bias")) if name in WEIGHTED else None
        if not any(moving) or (degree == 1 and own is None):
            return None
        if own is None:
            return lambda value: (1 - degree) * value
        wide = own.detach() if name == "linear" else own.detach().reshape(-1, *[1] * (operands[1].dim() - 2))
        constant = torch.zeros_like(wide) if self._depends(own) else wide
        return (lambda _: constant) if degree == 1 else (lambda value: constant + (1 - degree) * (value - wide))

    def _bias_of_sum(self, signs: tuple[int, int], args: tuple[Any, ...]) -> Bias | None:
        """A constant that is added."""
        moving = [isinstance(one, Tensor) and self._depends(one) for one in args[:2]]
        if moving.count(True) != 1 or len(args) < 2:
            return None
        constant, sign = args[1 - moving.index(True)], signs[1 - moving.index(True)]
        held = constant.detach().clone() if isinstance(constant, Tensor) else constant
        return lambda value: torch.zeros_like(value) + sign * held

    def _watch(self, name: str, output: Tensor, bias: Tensor) -> None:
        """Multiply a bias with the gradient at an output, as that is now: it may be overwritten later."""
        if output.dim() == 0:  # one number of all pictures, such as the largest of all coordinates of boxes
            return
        arrangement = self._arranger.observe(_KINDS.get(name, _ANY), output, self._batch)
        number, self._count = self._count, self._count + 1
        if len(output) != self._batch:
            return

        def weigh(gradient: Tensor | None) -> None:
            if gradient is None:
                return
            self._found[number] = (gradient * bias).detach(), arrangement

        output.register_hook(weigh)  # type: ignore[no-untyped-call]


_ANY = nn.Identity()
_KINDS: Mapping[str, nn.Module] = {
    "linear": nn.Linear(1, 1, device="meta"),
    **{name: nn.BatchNorm2d(1, device="meta") for name in BATCH_NORMS | WEIGHTED - {"linear"}},
}
"""Modules as whose outputs those of functions are arranged."""


class _Dependence:
    """Tells which tensors of a forward are made from the picture, and not from weights alone."""

    def __init__(self, leaf: Tensor) -> None:
        self._known: dict[Node, bool] = {get_gradient_edge(leaf).node: True}

    def __call__(self, tensor: Tensor) -> bool:
        if not tensor.requires_grad:
            return False
        start = get_gradient_edge(tensor).node
        waiting = [start]
        while waiting:
            node = waiting[-1]
            before = [each for each, _ in node.next_functions if each is not None]
            unknown = [each for each in before if each not in self._known] if node not in self._known else []
            if not unknown:
                self._known.setdefault(node, any(self._known[each] for each in before))
                waiting.pop()
            waiting += unknown
        return self._known[start]


def _bias_of_curve(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Callable[[Tensor], Tensor] | None:
    """From a function's value to what is left of it without its slope times its subject."""
    name = "input" if "input" in kwargs else "self"
    subject = args[0] if args else kwargs.get(name)
    if not isinstance(subject, Tensor) or not subject.requires_grad:
        return None
    leaf = subject.detach().clone().requires_grad_()
    held = leaf.clone() if writes_in_place(func, args, kwargs) else leaf
    with torch.enable_grad():
        value = func(held, *args[1:], **kwargs) if args else func(**{**kwargs, name: held})
        (slope,) = torch.autograd.grad(value.sum(), leaf)
    linear = torch.where(leaf == 0, torch.zeros_like(slope), slope * leaf).detach()
    return lambda known: known - linear


def _bias_of_mixture(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Bias:
    """What is left of a function of several elements without its derivative along its subject."""
    subject = args[0].detach().clone().requires_grad_()
    with torch.enable_grad():
        found = func(subject, *args[1:], **kwargs)
        weights = torch.zeros_like(found, requires_grad=True)
        (back,) = torch.autograd.grad(found, subject, weights, create_graph=True)
        (along,) = torch.autograd.grad(back, weights, subject)
    return lambda value: value - along.detach()


def _bias_of_batch_norm(
    name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Bias | None:
    """What a batch norm makes of zero, unless it takes the statistics of the batch."""
    training = name == "batch_norm" and bool(args[5] if len(args) > 5 else kwargs.get("training"))
    subject = args[0] if args else kwargs.get("input")
    if training or not isinstance(subject, Tensor):
        return None
    nothing = subject.new_zeros(1, subject.shape[1], *[1] * (subject.dim() - 2))
    with torch.no_grad():
        found = func(nothing, *args[1:], **kwargs) if args else func(**{**kwargs, "input": nothing})
    shift: Tensor = found[0] if isinstance(found, tuple) else found
    return lambda _: shift
