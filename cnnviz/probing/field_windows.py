"""What becomes of footprints in operations that read windows, sum places up, or share numbers among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

from torch import Tensor

from cnnviz.probing.axes import Taps
from cnnviz.probing.field_calls import LAYOUT, Call, Found, Rule, grouped
from cnnviz.probing.footprint import TOKENS, Atom, Dim, Footprint, plain
from cnnviz.probing.joining import joined
from cnnviz.probing.taps import READS

__all__ = ["WINDOWS"]


def _reads(call: Call) -> Footprint:
    source, name = call.source, call.name
    weight = call.given.get("weight")
    read, count = READS[name]
    if name == "convolution":
        count = weight.dim() - 2 if isinstance(weight, Tensor) else 0
    elif name == "constant_pad_nd":
        count = len(call.given["pad"]) // 2
    if source is call.of("weight"):
        return source.whole("weights made from the image")
    found = _through(call, read, count)
    return found.gated("weights made from the image") if call.of("weight") or call.of("bias") else found


def _through(call: Call, read: Any, count: int) -> Footprint:
    source, shape = call.source, call.shape
    if source.kind == "whole":
        return source
    taps: dict[str, Taps] = {}
    for label, axis in source.axes.items():
        dim = source.dim_of(label)
        if dim is None or len(source.dims) != len(shape):
            return source.lost(LAYOUT)
        at = dim - (len(shape) - count)
        if at >= 0:
            taps[label] = read(call.given, at, count, len(axis), shape[dim])
        elif call.name == "convolution":
            return source.lost(call.name)
    if "pool" in call.name and _takes_all(source, taps):
        return source.whole("global pooling")
    return source.resampled(taps, shape) if source.placed else source.lost(call.name)


def _takes_all(source: Footprint, taps: Mapping[str, Taps]) -> bool:
    """Whether a pool has one output for everything, of more than one place."""
    lengths = [len(axis) for axis in source.axes.values()]
    return (
        prod(lengths) > 1
        and bool(taps)
        and all(
            len(each.places) == 1 and int(((each.places >= 0) & (each.places < length) & each.used).sum()) == length
            for each, length in zip(taps.values(), lengths, strict=True)
        )
    )


def _reduced(call: Call) -> Found:
    source = call.source
    if "other" in call.given:
        return joined(call.tracked, call.shape, call.name)
    if not source.dims:
        return source
    given = call.given.get("dim")
    numbers = range(len(source.dims)) if given in (None, []) else [given] if isinstance(given, int) else given
    dims = {number % len(source.dims) for number in numbers or ()}
    kept = len(call.shape) == len(source.dims)
    labels = source.labels(dims)
    if labels == source.labels() and labels:
        return source.whole("global pooling")
    if len(labels) == 1 and kept and (label := next(iter(labels))) in source.axes:
        axes = {**source.axes, label: source.axes[label].together()}
        single = tuple(_single(dim) if at in dims else dim for at, dim in enumerate(source.dims))
        return replace(source, dims=single, axes=axes)
    if labels:
        return source.lost(call.name)
    rest = [(plain(1) if at in dims else dim) for at, dim in enumerate(source.dims) if kept or at not in dims]
    return source.arranged(rest)


def _single(dim: Dim) -> Dim:
    return tuple(Atom(atom.label, 1) for atom in dim if atom.label) or plain(1)


def _normed(call: Call) -> Footprint:
    """Statistics over places are numbers that all places share."""
    source, name = call.source, call.name
    if name == "native_layer_norm":
        count = len(call.given["normalized_shape"])
        inside = bool(source.dims) and bool(source.labels(range(len(source.dims) - count, len(source.dims))))
    else:
        inside = name == "native_group_norm" or bool(call.given.get("training", "legit" in name))
    found = source.gated("statistics of a norm") if inside else source
    return found.whole("attention") if inside and TOKENS in found.labels() else found


WINDOWS: dict[str, Rule] = {
    **dict.fromkeys(READS, _reads),
    **grouped(
        [
            (_normed, "native_batch_norm cudnn_batch_norm _native_batch_norm_legit _batch_norm_no_update"),
            (_normed, "_native_batch_norm_legit_no_training miopen_batch_norm batch_norm"),
            (_normed, "native_layer_norm native_group_norm _fused_rms_norm"),
            (_reduced, "mean sum amax amin max min prod std var var_mean logsumexp norm linalg_vector_norm any all"),
        ]
    ),
}
"""Convolutions, pools, resizing and padding; reductions; norms."""
