"""Which function passes multipliers how.

Functions of one number pass their secant. Products of two tensors that both come from the input share the change by
means. Maxima share it between two winners. What adds up, moves or weighs with constants is linear and passes its
derivative. Whatever else is asked whether it is linear between input and baseline, and gets a path if it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from cnnviz.engine.activations import activation_of
from cnnviz.engine.secants import attention
from cnnviz.engine.secants.nodes import Function, bilinear, larger, path, secant_slope, sloped
from cnnviz.engine.secants.pairs import PairedCall, Pairs

__all__ = ["rescale"]

LINEAR: Final = {
    "add", "radd", "iadd", "sub", "rsub", "isub", "neg", "positive", "sum", "mean", "nanmean", "cumsum", "cat",
    "concat", "stack", "hstack", "vstack", "view", "view_as", "reshape", "reshape_as", "flatten", "unflatten",
    "permute", "transpose", "t", "movedim", "swapaxes", "swapdims", "squeeze", "unsqueeze", "expand", "expand_as",
    "broadcast_to", "repeat", "repeat_interleave", "tile", "contiguous", "clone", "to", "float", "double", "half",
    "bfloat16", "type", "type_as", "getitem", "select", "slice", "narrow", "chunk", "split", "tensor_split",
    "unbind", "index_select", "roll", "flip", "rot90", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle",
    "unfold", "fold", "im2col", "pad", "constant_pad_nd", "interpolate", "upsample", "grid_sampler", "avg_pool1d",
    "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "dropout",
    "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout", "detach", "requires_grad", "alias",
    "diagonal", "tril", "triu", "get", "set", "size", "dim", "numel", "stride", "is_contiguous",
    "is_floating_point", "is_complex", "data_ptr", "len", "format", "repr", "hash", "storage_offset", "new_zeros",
    "new_ones", "new_empty", "zeros_like", "ones_like", "empty_like", "is_same_size", "element_size",
    "register_hook", "backward", "item", "bool", "lift_fresh", "to_copy",
}  # fmt: skip
"""Functions whose derivative is the secant, whatever the values are, and those that give no values."""

WEIGHING: Final = {
    "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "convolution", "conv_tbc", "addmm", "addmv", "addbmm", "baddbmm", "bilinear", "mm", "mv", "bmm", "matmul",
    "rmatmul", "einsum", "dot", "inner", "outer", "tensordot", "addr", "kron",
}  # fmt: skip
"""Products that are linear in each of their tensors."""

NUMBERWISE: Final = {
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal", "square", "abs",
    "absolute", "sigmoid", "expit", "tanh", "hardsigmoid", "softsign", "logsigmoid", "log_sigmoid", "hardtanh",
    "clamp", "clip", "clamp_min", "clamp_max", "erf", "erfc", "sin", "cos", "tan", "asin", "acos", "atan", "arctan",
    "sinh", "cosh", "asinh", "acosh", "atanh", "hardshrink", "softshrink", "tanhshrink", "sign", "sgn", "round",
    "floor", "ceil", "trunc", "logit", "relu", "relu6", "leaky_relu", "elu", "celu", "selu", "rrelu", "silu",
    "gelu", "hardswish", "mish", "softplus", "prelu", "prelu_kernel", "threshold", "nan_to_num", "i0", "lgamma",
    "xlogy", "pow", "rpow", "float_power", "ipow", "div", "divide", "true_divide", "truediv", "itruediv",
    "rtruediv", "rdiv", "maximum", "minimum", "fmax", "fmin",
}  # fmt: skip
"""Functions of each number of one tensor, which pass their secant; those of two tensors where only one has a twin."""

MULTIPLYING: Final = {"mul", "multiply", "rmul", "imul"}
DIVIDING: Final = {"div", "divide", "true_divide", "truediv", "itruediv"}
ADDING: Final = {"addmm", "addmv", "addbmm", "baddbmm", "addr"}
POOLING: Final = {"max_pool1d": 1, "max_pool2d": 2, "max_pool3d": 3}
POOLING_WITH_PLACES: Final = {f"{name}_with_indices": places for name, places in POOLING.items()}
ADAPTIVE: Final = {f"adaptive_{name}": places for name, places in POOLING.items()}
ADAPTIVE_WITH_PLACES: Final = {f"{name}_with_indices": places for name, places in ADAPTIVE.items()}
POOLS: Final = {**POOLING, **POOLING_WITH_PLACES, **ADAPTIVE, **ADAPTIVE_WITH_PLACES}
LARGER_OF_TWO: Final = {"maximum", "minimum", "fmax", "fmin"}

SAME: Final = 1e-5
"""A function is linear between two points if it is at their middle what it is on the mean, to this share."""


def rescale(pairs: Pairs, call: PairedCall) -> Any:
    """DeepLIFT's rescale rule, function by function.

    Args:
        pairs: The two forwards.
        call: A function's call, with an argument that has a twin.

    Returns:
        What it gives, noted with its twin; None where derivatives are multipliers.
    """
    live = [each for each in _tensors(call.args, call.kwargs) if pairs.has(each) and each.requires_grad]
    if not live or call.kwargs.get("out") is not None:
        return None
    rule = _rule_for(call)
    return None if rule is None else rule(pairs, call)


def _rule_for(call: PairedCall) -> Rule | None:
    """How a function's multipliers are found; None where they are its derivatives."""
    if call.name in RULES:
        return RULES[call.name]
    if activation_of(call.name, call.function, call.args, call.kwargs) is not None:
        return _numberwise
    return None if call.name in LINEAR or _is_settled(call) else _unknown


def _in_parts(pairs: Pairs, call: PairedCall) -> Any:
    found = attention.PARTS[call.name](pairs, call)
    if found is None:
        return _by_path(pairs, call)
    pairs.counts[call.name] += 1
    return found


def _is_settled(call: PairedCall) -> bool:
    """Whether it is a batch norm with given statistics, which is linear."""
    if call.name != "batch_norm":
        return False
    training = call.kwargs.get("training", call.args[5] if len(call.args) > 5 else False)
    return training is False


def _tensors(*held: Any) -> list[Tensor]:
    found: list[Tensor] = []
    for each in held:
        if isinstance(each, Tensor):
            found.append(each)
        elif isinstance(each, (tuple, list)):
            found += _tensors(*each)
        elif isinstance(each, dict):
            found += _tensors(*each.values())
    return found


def _finish(pairs: Pairs, call: PairedCall, value: Any, twin: Any) -> Any:
    """A value that takes the place of a call's, which may have written to its first argument."""
    if not call.inplace:
        return pairs.note(value, twin)
    subject = call.args[0] if call.args else call.kwargs["input"]
    with torch.no_grad(), torch._C.DisableTorchFunction():
        pairs.twin(subject).copy_(twin)
    return subject.copy_(value)


def _numberwise(pairs: Pairs, call: PairedCall) -> Any:
    """The secant, number by number, of a function with one tensor that has a twin; two of these get a path."""
    live = [each for each in _tensors(call.args, call.kwargs) if pairs.has(each)]
    if len(live) != 1:
        return _by_path(pairs, call)
    subject, twin = live[0], pairs.twin(live[0])

    def function(other: Tensor) -> Any:
        return _with_floats(call, pairs, [other.clone() if call.inplace else other])

    value, twin_value = _both(function, subject, twin)
    if value.shape != subject.shape:
        return _by_path(pairs, call)
    slope = _slope(function, subject.detach(), twin, value, twin_value)
    pairs.counts[call.name] += 1
    held = subject.clone() if call.inplace else subject
    return _finish(pairs, call, sloped(held, value, slope), twin_value)


def _slope(function: Function, a: Tensor, b: Tensor, at_a: Tensor, at_b: Tensor) -> Tensor:
    if a.dtype not in (torch.float16, torch.bfloat16):
        return secant_slope(function, a, b, at_a, at_b)
    wide = (each.float() for each in (a, b, at_a, at_b))
    return secant_slope(function, *wide).to(at_a.dtype)


def _both(function: Function, subject: Tensor, twin: Tensor) -> tuple[Tensor, Tensor]:
    """A function of the input's tensor and of the baseline's, without gradient."""
    with torch.no_grad(), torch._C.DisableTorchFunction():
        return function(subject.detach()), function(twin)


def _product(pairs: Pairs, call: PairedCall) -> Any:
    """A product or a quotient, number by number."""
    if len(call.args) != 2 or call.kwargs:
        return None if not call.kwargs else _by_path(pairs, call)
    one, other = call.args
    if not pairs.has(other):
        return None
    if call.name in DIVIDING:
        if not pairs.has(one):
            return _numberwise(pairs, call)
        with pairs:
            other = torch.reciprocal(other)
    if not pairs.has(one):
        return None
    with pairs:
        held = one.clone() if call.inplace else one
    made = attention.multiply(pairs, held, other)
    pairs.counts["product"] += 1
    return made if not call.inplace else _finish(pairs, call, made, pairs.twin(made))


def _of_two(call: PairedCall) -> bool:
    return len(call.args) == 2 and isinstance(call.args[1], Tensor) and not call.kwargs


def _larger_of_two(pairs: Pairs, call: PairedCall) -> Any:
    """The larger or smaller of two tensors: one of them and a rectified difference."""
    one, other = (call.args[0], call.args[1]) if len(call.args) == 2 else (call.args[0], call.kwargs["other"])
    with pairs:
        if call.name in {"maximum", "max", "fmax"}:
            return other + torch.relu(one - other)
        return other - torch.relu(other - one)


def _weighing(pairs: Pairs, call: PairedCall) -> Any:
    """A product of tensors: linear where only one of them has a twin, else shared by means."""
    factors = [each for each in _tensors(call.args, call.kwargs) if pairs.has(each)]
    if len(factors) == 1:
        return None
    if len(factors) != 2 or call.inplace or (call.name in ADDING and pairs.has(call.args[0])):
        return _by_path(pairs, call)
    with torch.no_grad(), torch._C.DisableTorchFunction():
        value, twin = call.function(*call.args, **call.kwargs), call.run_twin()
        means = [(each.detach() + pairs.twin(each)) / 2 for each in factors]
    pairs.counts["product"] += 1
    return pairs.note(bilinear(factors, lambda *others: _with_floats(call, pairs, others), value, means), twin)


def _pooled(pairs: Pairs, call: PairedCall) -> Any:
    """Max pooling, by the places of both winners."""
    name = call.name
    places = POOLS[name]
    adaptive = name in ADAPTIVE or name in ADAPTIVE_WITH_PLACES
    subject = call.args[0] if call.args else call.kwargs["input"]
    pool = getattr(functional, f"{'adaptive_' if adaptive else ''}max_pool{places}d")
    settings = _pool_settings(call, adaptive=adaptive)
    with torch.no_grad(), torch._C.DisableTorchFunction():
        value, own = pool(subject.detach(), **settings, return_indices=True)
        twin, its = pool(pairs.twin(subject), **settings, return_indices=True)
    lead = subject.dim() - places
    made = larger((subject, pairs.twin(subject)), (value, twin), (own.flatten(lead), its.flatten(lead)))
    pairs.counts["max_pool"] += 1
    pairs.note(made, twin)
    both = name in POOLING_WITH_PLACES or name in ADAPTIVE_WITH_PLACES or call.kwargs.get("return_indices") is True
    return (made, pairs.note(own, its)) if both else made


def _pool_settings(call: PairedCall, *, adaptive: bool) -> dict[str, Any]:
    names = ["output_size"] if adaptive else ["kernel_size", "stride", "padding", "dilation", "ceil_mode"]
    given = dict(zip(names, call.args[1:], strict=False)) | {k: v for k, v in call.kwargs.items() if k in names}
    if not given.get("stride", True):
        given.pop("stride")
    return given


def _reduced(pairs: Pairs, call: PairedCall) -> Any:
    """The largest or smallest value along dimensions, or of all; of two tensors number by number."""
    if _of_two(call):
        return _larger_of_two(pairs, call)
    subject = call.args[0] if call.args else call.kwargs["input"]
    given = call.args[1:] if call.args else ()
    dims = given[0] if given else call.kwargs.get("dim")
    keep = given[1] if len(given) > 1 else call.kwargs.get("keepdim", False)
    every = range(subject.dim()) if dims is None or dims == () else [dims] if isinstance(dims, int) else dims
    chosen = sorted(each % subject.dim() for each in every)
    with pairs:
        sign = 1 if call.name in {"amax", "max"} else -1
        moved = subject.movedim(chosen, list(range(-len(chosen), 0))).flatten(-len(chosen))
        moved = moved if sign > 0 else -moved
    flat, twin = moved.detach(), pairs.twin(moved)
    with torch.no_grad(), torch._C.DisableTorchFunction():
        (value, own), (twin_value, its) = flat.max(dim=-1, keepdim=True), twin.max(dim=-1, keepdim=True)
    made = pairs.note(larger((moved, twin), (value, twin_value), (own, its)), twin_value)
    pairs.counts["max"] += 1
    with pairs:
        made = (made if sign > 0 else -made).squeeze(-1)
        for dim in chosen if keep else ():
            made = made.unsqueeze(dim)
    if call.name in {"max", "min"} and dims is not None:
        places = own.movedim(-1, chosen[0]) if keep else own.squeeze(-1)
        return getattr(torch.return_types, call.name)((made, places))
    return made


def _unknown(pairs: Pairs, call: PairedCall) -> Any:
    """A function without a rule: nothing where it is linear between input and baseline, otherwise a path."""
    factors = [each for each in _tensors(call.args, call.kwargs) if pairs.has(each) and each.is_floating_point()]
    with torch.no_grad(), torch._C.DisableTorchFunction():
        means = [(each.detach() + pairs.twin(each)) / 2 for each in factors]
        ends = _tensors(_with_floats(call, pairs, [each.detach().clone() for each in factors]))
        starts = _tensors(_with_floats(call, pairs, [pairs.twin(each).clone() for each in factors]))
        middle = _tensors(_with_floats(call, pairs, means))
    if [each.shape for each in ends] != [each.shape for each in starts]:  # a selection, which differs
        return None
    floats = [each for each in ends if each.is_floating_point()]
    if not floats or _is_linear(ends, starts, middle):
        return None
    return _by_path(pairs, call)


def _is_linear(ends: Sequence[Tensor], starts: Sequence[Tensor], middle: Sequence[Tensor]) -> bool:
    for end, start, held in zip(ends, starts, middle, strict=True):
        if not end.is_floating_point():
            continue
        most = torch.maximum(end.abs(), start.abs()).amax() if end.numel() else end.new_zeros(())
        if end.numel() and bool(((end + start) / 2 - held).abs().amax() > SAME * most):
            return False
    return True


def _with_floats(call: PairedCall, pairs: Pairs, others: Sequence[Tensor]) -> Any:
    """The same call with other tensors in the places of those numbers that have twins, in their order."""
    left = list(others)

    def swap(each: Any) -> Any:
        if isinstance(each, (tuple, list)):
            return type(each)(swap(one) for one in each)
        return left.pop(0) if pairs.has(each) and each.is_floating_point() else each

    args = tuple(swap(each) for each in call.args)
    return call.function(*args, **{key: swap(each) for key, each in call.kwargs.items()})


def _by_path(pairs: Pairs, call: PairedCall) -> Any:
    """The function's own integrated gradients."""
    factors = [each for each in _tensors(call.args, call.kwargs) if pairs.has(each) and each.is_floating_point()]

    def function(*points: Tensor) -> tuple[Tensor, ...]:
        held = [each.clone() for each in points] if call.inplace else points
        return tuple(_tensors(_with_floats(call, pairs, held)))

    with torch.no_grad(), torch._C.DisableTorchFunction():
        found = _with_floats(call, pairs, [each.detach().clone() for each in factors])
        twin = _with_floats(call, pairs, [pairs.twin(each).clone() for each in factors])
    values = _tensors(found)
    pairs.pathwise[call.name] += 1
    held = [each.clone() for each in factors] if call.inplace else factors
    made = list(path(function, held, [pairs.twin(each).clone() for each in factors], values))
    if isinstance(found, Tensor):
        return _finish(pairs, call, made[0], twin)
    return pairs.note(_refill(found, made), twin)


def _refill(found: Any, made: list[Tensor]) -> Any:
    if isinstance(found, Tensor):
        return made.pop(0)
    if isinstance(found, (tuple, list)):
        filled = [_refill(each, made) for each in found]
        return type(found)(filled) if not hasattr(found, "_fields") else type(found)(*filled)
    return found


Rule: TypeAlias = Callable[[Pairs, PairedCall], Any]

RULES: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(NUMBERWISE, _numberwise),
    **dict.fromkeys(MULTIPLYING | DIVIDING, _product),
    **dict.fromkeys(LARGER_OF_TWO, _larger_of_two),
    **dict.fromkeys(WEIGHING, _weighing),
    **dict.fromkeys(POOLS, _pooled),
    **dict.fromkeys(("amax", "amin", "max", "min"), _reduced),
    **dict.fromkeys(attention.PARTS, _in_parts),
}
