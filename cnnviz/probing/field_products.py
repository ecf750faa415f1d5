"""What becomes of footprints in products of matrices, softmax and attention."""

from __future__ import annotations

from cnnviz.probing.field_calls import Call, Found, Rule, grouped
from cnnviz.probing.footprint import ACROSS, DOWN, TOKENS, Footprint, plain

__all__ = ["PRODUCTS"]

FACTORS = {
    "addmm": ("mat1", "mat2"),
    "mm": ("self", "mat2"),
    "bmm": ("self", "mat2"),
    "baddbmm": ("batch1", "batch2"),
    "matmul": ("self", "other"),
    "linear": ("input", "weight"),
}


def _multiplied(call: Call) -> Footprint:
    """A product of matrices: the last dimension of the first is summed with the last but one of the second."""
    first, second = (call.of(argument) for argument in FACTORS[call.name])
    if first and second:
        return _paired(first, second)
    source = first or second
    if source is None or not source.dims:
        return source or call.source.lost(call.name)
    summed = len(source.dims) - (1 if first else 2)
    kept = source.arranged(plain(call.shape[at]) if at == summed else dim for at, dim in enumerate(source.dims))
    return source.mixed([summed], "a linear layer over all places") or kept


def _paired(first: Footprint, second: Footprint) -> Footprint:
    """Attention: every row with every column."""
    if "whole" in (first.kind, second.kind):
        return first if first.kind == "whole" else second
    if not first.dims or not second.dims:
        return (first if not first.dims else second).lost("attention")
    inner = first.labels([len(first.dims) - 2, len(first.dims) - 1]) | second.labels([len(second.dims) - 1])
    if TOKENS in inner or {DOWN, ACROSS} <= inner:
        return first.whole("attention")
    return first.lost("attention in windows")


def _softmax(call: Call) -> Footprint:
    source = call.source
    return (source.mixed([call.dim()], "attention") if source.dims else None) or source


def _attention(call: Call) -> Found:
    query = call.of("query")
    if query is None or not query.dims:
        found = call.source.lost("attention")
    else:
        labels = query.labels([len(query.dims) - 2])
        everywhere = TOKENS in labels or {DOWN, ACROSS} <= labels
        found = query.whole("attention") if everywhere else query.lost("attention in windows")
    return [found, *[None for _ in call.outputs[1:]]]


PRODUCTS: dict[str, Rule] = grouped(
    [
        (_multiplied, " ".join(FACTORS)),
        (_softmax, "softmax _softmax _log_softmax log_softmax"),
        (_attention, "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention"),
        (_attention, "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention"),
        (_attention, "_scaled_dot_product_fused_attention_overrideable scaled_dot_product_attention"),
    ]
)
"""Sums over all places, and of places with places."""
