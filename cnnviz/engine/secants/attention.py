"""Softmax, attention and norms, taken apart into sums, products and functions of one number."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from cnnviz.engine.secants.nodes import sloped, times
from cnnviz.engine.secants.pairs import PairedCall, Pairs

__all__ = ["PARTS", "multiply"]

DEGENERATE: Final = 1e-6
"""A baseline whose variance is so small beside the input's has none: a norm's scale is then held at the input's."""


def multiply(pairs: Pairs, one: Tensor, other: Tensor, *, whole: bool = False) -> Tensor:
    """A product of two tensors that have twins, number by number, the change shared by means.

    Args:
        pairs: The two forwards.
        one: The first factor.
        other: The second.
        whole: The first's change counts at the input's value of the second, the second's at the baseline's of the
            first, which is as exact.
    """
    a, b, twin_a, twin_b = one.detach(), other.detach(), pairs.twin(one), pairs.twin(other)
    with torch.no_grad(), torch._C.DisableTorchFunction():
        at_one, at_other = (twin_a, b) if whole else ((a + twin_a) / 2, (b + twin_b) / 2)
        value, twin = a * b, twin_a * twin_b
    return pairs.note(times(one, other, value, at_one, at_other), twin)


def _bound(function: Callable[..., Any], call: PairedCall) -> dict[str, Any]:
    """A call's arguments by name, as a function spells them."""
    held = inspect.signature(function).bind(*call.args, **call.kwargs)
    held.apply_defaults()
    return dict(held.arguments)


def _softmax(pairs: Pairs, call: PairedCall) -> Tensor | None:
    """``exp(x - m) / sum exp(x - m)``, m the larger of both forwards' maxima, which no change depends on."""
    subject = call.args[0] if call.args else call.kwargs["input"]
    dim = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else None)
    dtype = call.kwargs.get("dtype")
    if dim is None or not isinstance(subject, Tensor):
        return None
    with pairs:
        return softmax(pairs, subject if dtype is None else subject.to(dtype), dim)


def softmax(pairs: Pairs, subject: Tensor, dim: int) -> Tensor:
    """The softmax of a tensor that has a twin; inside the pairs' mode."""
    with torch.no_grad(), torch._C.DisableTorchFunction():
        most = torch.maximum(subject.amax(dim, keepdim=True), pairs.twin(subject).amax(dim, keepdim=True))
        most = most.masked_fill(most.isinf(), 0)
    raised = torch.exp(subject - most)
    return raised * torch.reciprocal(raised.sum(dim, keepdim=True))


def _log_softmax(pairs: Pairs, call: PairedCall) -> Tensor | None:
    subject = call.args[0] if call.args else call.kwargs["input"]
    dim = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else None)
    if dim is None or call.kwargs.get("dtype") is not None:
        return None
    with torch.no_grad(), torch._C.DisableTorchFunction():
        most = torch.maximum(subject.amax(dim, keepdim=True), pairs.twin(subject).amax(dim, keepdim=True))
    with pairs:
        held: Tensor = subject - most
        return held - torch.log(torch.exp(held).sum(dim, keepdim=True))


def _scaled(pairs: Pairs, centred: Tensor, dims: Sequence[int], eps: float) -> Tensor:
    """Centred values over the root of their mean square; inside the pairs' mode."""
    variance = (centred * centred).mean(tuple(dims), keepdim=True)
    root = torch.rsqrt(variance + eps)
    if not pairs.exact:
        return _hold_scale(pairs, centred, root)
    with torch.no_grad(), torch._C.DisableTorchFunction():
        bare = bool((pairs.twin(variance) < DEGENERATE * variance.detach()).any())
    if bare:
        pairs.counts["norm of a baseline without variance"] += 1
    return multiply(pairs, centred, root, whole=bare)


def _hold_scale(pairs: Pairs, centred: Tensor, root: Tensor) -> Tensor:
    """Centred values times a scale that counts as a constant, the input's."""
    with torch.no_grad(), torch._C.DisableTorchFunction():
        value, twin = centred * root, pairs.twin(centred) * pairs.twin(root)
        slope = root.detach().expand_as(value)
    return pairs.note(sloped(centred, value, slope), twin)


def _affine(value: Tensor, weight: Tensor | None, bias: Tensor | None, shape: Sequence[int] | None = None) -> Tensor:
    if weight is not None:
        value = value * (weight if shape is None else weight.reshape(shape))
    return value if bias is None else value + (bias if shape is None else bias.reshape(shape))


def _layer_norm(pairs: Pairs, call: PairedCall) -> Tensor:
    """``(x - mean) / sqrt(variance + eps)``, over the last dimensions."""
    names = ("input", "normalized_shape", "weight", "bias", "eps")
    held = dict(zip(names, call.args, strict=False)) | {k: v for k, v in call.kwargs.items() if k in names}
    subject, shape = held["input"], held["normalized_shape"]
    count = 1 if isinstance(shape, int) else len(shape)
    dims = range(-count, 0)
    with pairs:
        centred = subject - subject.mean(tuple(dims), keepdim=True)
        value = _scaled(pairs, centred, dims, float(held.get("eps", 1e-5)))
        return _affine(value, held.get("weight"), held.get("bias"))


def _rms_norm(pairs: Pairs, call: PairedCall) -> Tensor:
    names = ("input", "normalized_shape", "weight", "eps")
    held = dict(zip(names, call.args, strict=False)) | {k: v for k, v in call.kwargs.items() if k in names}
    subject, shape = held["input"], held["normalized_shape"]
    count = 1 if isinstance(shape, int) else len(shape)
    given = held.get("eps")
    eps = torch.finfo(subject.dtype).eps if given is None else float(given)
    with pairs:
        return _affine(_scaled(pairs, subject, range(-count, 0), eps), held.get("weight"), None)


def _group_norm(pairs: Pairs, call: PairedCall) -> Tensor:
    names = ("input", "num_groups", "weight", "bias", "eps")
    held = dict(zip(names, call.args, strict=False)) | {k: v for k, v in call.kwargs.items() if k in names}
    return _norm_of_groups(pairs, held["input"], int(held["num_groups"]), held)


def _instance_norm(pairs: Pairs, call: PairedCall) -> Tensor | None:
    held = _bound(functional.instance_norm, call)
    if not held["use_input_stats"]:
        return None
    return _norm_of_groups(pairs, held["input"], held["input"].shape[1], held)


def _norm_of_groups(pairs: Pairs, subject: Tensor, groups: int, held: Mapping[str, Any]) -> Tensor:
    with pairs:
        grouped = subject.reshape(len(subject), groups, -1)
        centred = grouped - grouped.mean(-1, keepdim=True)
        value = _scaled(pairs, centred, (-1,), float(held.get("eps", 1e-5))).reshape(subject.shape)
        shape = (1, -1, *(1,) * (subject.dim() - 2))
        return _affine(value, held.get("weight"), held.get("bias"), shape)


def _normalize(pairs: Pairs, call: PairedCall) -> Tensor | None:
    held = _bound(functional.normalize, call)
    if held["p"] != 2:
        return None
    subject, dim, eps = held["input"], held["dim"], held["eps"]
    with pairs:
        length: Tensor = (subject * subject).sum(dim, keepdim=True)
        return multiply(pairs, subject, torch.rsqrt(length.clamp_min(eps**2)))


def _attention(pairs: Pairs, call: PairedCall) -> Tensor | None:
    """``softmax(scale * q k^T + mask) v``."""
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    held = dict(zip(names, call.args, strict=False)) | dict(call.kwargs)
    if held.get("dropout_p"):
        return None
    query, key, value = held["query"], held["key"], held["value"]
    with pairs:
        if held.get("enable_gqa"):
            key, value = (each.repeat_interleave(query.size(-3) // each.size(-3), -3) for each in (key, value))
        scale = held.get("scale") or query.size(-1) ** -0.5
        mask = _mask(query, key, held.get("attn_mask"), causal=bool(held.get("is_causal")))
        return attend(pairs, query * scale, key, value, mask)


def attend(pairs: Pairs, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Attention with a mask that is added; inside the pairs' mode."""
    likeness = torch.matmul(query, key.transpose(-2, -1))
    likeness = likeness if mask is None else likeness + mask
    weights = softmax(pairs, likeness, -1) if pairs.has(likeness) else torch.softmax(likeness, -1)
    return torch.matmul(weights, value)


def _mask(query: Tensor, key: Tensor, mask: Tensor | None, *, causal: bool) -> Tensor | None:
    if causal:
        mask = torch.ones(query.size(-2), key.size(-2), dtype=torch.bool, device=query.device).tril()
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=query.dtype, device=query.device).masked_fill(~mask, -torch.inf)


def _heads(pairs: Pairs, call: PairedCall) -> Any:
    """``torch.nn.functional.multi_head_attention_forward``, as ``torch.nn.MultiheadAttention`` calls it."""
    held = _bound(functional.multi_head_attention_forward, call)
    unusual = ("bias_k", "bias_v", "key_padding_mask", "static_k", "static_v", "add_zero_attn")
    if any(held[name] is not None and held[name] is not False for name in unusual) or (
        held["training"] and held["dropout_p"]
    ):
        return None
    with pairs:
        query, key, value = (held[name] for name in ("query", "key", "value"))
        split = query.dim() == 2
        query, key, value = (each.unsqueeze(1) if split else each for each in (query, key, value))
        weights = _projections(held)
        biases = held["in_proj_bias"].chunk(3) if held["in_proj_bias"] is not None else (None,) * 3
        heads, width = held["num_heads"], query.size(-1) // held["num_heads"]
        made = [
            functional.linear(each, weight, bias).reshape(len(each), -1, width).transpose(0, 1)
            for each, weight, bias in zip((query, key, value), weights, biases, strict=True)
        ]
        mask = _mask(made[0], made[1], held["attn_mask"], causal=bool(held["is_causal"]) and held["attn_mask"] is None)
        likeness = torch.matmul(made[0] * width**-0.5, made[1].transpose(-2, -1))
        likeness = likeness if mask is None else likeness + mask
        shares = softmax(pairs, likeness, -1)
        mixed = torch.matmul(shares, made[2]).transpose(0, 1).reshape(len(query), -1, heads * width)
        out = functional.linear(mixed, held["out_proj_weight"], held["out_proj_bias"])
        shown = shares.reshape(-1, heads, *shares.shape[-2:]) if held["need_weights"] else None
        if shown is not None and held["average_attn_weights"]:
            shown = shown.mean(dim=1)
        return (out.squeeze(1) if split else out), shown


def _projections(held: Mapping[str, Any]) -> Sequence[Tensor]:
    if held["use_separate_proj_weight"]:
        return held["q_proj_weight"], held["k_proj_weight"], held["v_proj_weight"]
    return tuple(held["in_proj_weight"].chunk(3))


def _glu(pairs: Pairs, call: PairedCall) -> Tensor:
    held = _bound(functional.glu, call)
    with pairs:
        one, gate = held["input"].chunk(2, held["dim"])
        opened: Tensor = one * torch.sigmoid(gate)
        return opened


PARTS: Final[Mapping[str, Callable[[Pairs, PairedCall], Any]]] = {
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "normalize": _normalize,
    "scaled_dot_product_attention": _attention,
    "multi_head_attention_forward": _heads,
    "glu": _glu,
}
"""Functions that are taken apart; where a part gives None, the call is left to a path."""
