"""What becomes of the footprints of tensors in each operation of torch: the rules, by family and by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnviz.engine.fields.call import LAYOUT, Call, FootprintRule, RuleOutput
from cnnviz.engine.fields.footprint import (
    TOKENS,
    Atom,
    Dim,
    Footprint,
    concatenate,
    join_branches,
    plain_dim,
)
from cnnviz.engine.fields.parts import Range, TensorPart, write_part
from cnnviz.engine.fields.reads import READ_RULES, Reads, read_indices, read_slice

__all__ = ["UNRELATED", "footprint_rule"]


def _rules_by_name(rules: Sequence[tuple[FootprintRule, str]]) -> dict[str, FootprintRule]:
    """Rules by the operation's name.

    Args:
        rules: Each with the names of its operations, separated by spaces.
    """
    return {name: rule for rule, names in rules for name in names.split()}


def _slice(call: Call) -> Footprint:
    start, step = call.given["start"] or 0, call.given["step"]
    length = call.given["self"].shape[call.dim()]
    start = max(start + length, 0) if start < 0 else min(start, length)
    return _resample_dim(call, call.source, call.dim(), read_slice(start, step, call.shape[call.dim()]))


def _scatter(call: Call) -> Footprint:
    """A slice, or one place along a dimension, written over in a copy of the whole, as graphs without writing do."""
    source, given, shape = call.of("src"), call.given, call.shape
    if source is None:
        return call.source
    at, single = int(given["dim"]) % len(shape), "index" in given
    ranges = [Range(0, 1, size, dim - (single and dim > at)) for dim, size in enumerate(shape)]
    if single:
        ranges[at] = Range(int(given["index"]) % shape[at], 1, 1, None)
    else:
        start, count = int(given.get("start") or 0), int(given["src"].shape[at])
        ranges[at] = Range(max(start + shape[at], 0) if start < 0 else start, given.get("step") or 1, count, at)
    return write_part(TensorPart(shape, tuple(ranges)), source, call.of("self"), call.name)


def _halve_channels(call: Call) -> Footprint:
    dim = call.dim()
    return _resample_dim(call, call.source, dim, read_slice(0, 1, call.shape[dim]))


def _resample_dim(call: Call, source: Footprint, dim: int, reads: Reads) -> Footprint:
    """Some places along a dimension."""
    count = len(reads.places)
    if not source.dims:
        return source
    labels = source.labels([dim])
    if not labels:
        return source.arranged(plain_dim(count) if at == dim else each for at, each in enumerate(source.dims))
    label = next(iter(labels))
    if not source.placed or source.dim_of(label) != dim or not count:
        return source.lost(call.name)
    shape = [count if at == dim else prod(atom.size for atom in each) for at, each in enumerate(source.dims)]
    moved = source.resampled({label: reads}, shape)
    return moved.arranged(moved.dims[at] if at == dim else each for at, each in enumerate(source.dims))


def _split(call: Call) -> RuleOutput:
    source, dim = call.source, call.dim()
    sizes = [int(output.shape[dim]) for output in call.outputs]
    starts = [0, *accumulate(sizes)]
    return [
        _resample_dim(call, source, dim, read_slice(start, 1, size)) for start, size in zip(starts, sizes, strict=False)
    ]


def _unbind(call: Call) -> RuleOutput:
    source, dim = call.source, call.dim()
    if source.dims and source.labels([dim]):
        return [source.lost(call.name) for _ in call.outputs]
    return [source.arranged(each for at, each in enumerate(source.dims) if at != dim) for _ in call.outputs]


def _index(call: Call) -> Footprint:
    source = call.source
    if len(call.tracked) > 1 or source is not call.of("self"):
        return source.lost("places chosen by the image")
    if call.name == "index_select":
        dim, index = call.dim(), call.given["index"]
        return _resample_dim(call, source, dim, read_indices(index.cpu().numpy()))
    indices = call.given["indices"]
    whole = [at for at, index in enumerate(indices) if index is None]
    flat = all(index is None or (index.dim() == 1 and index.dtype == torch.int64) for index in indices)
    if not source.dims or not flat or len(indices) - len(whole) != 1:
        return source.lost(call.name)
    dim = next(at for at, index in enumerate(indices) if index is not None)
    return _resample_dim(call, source, dim, read_indices(indices[dim].cpu().numpy() % _dim_size(source.dims[dim])))


def _dim_size(dim: Dim) -> int:
    """Size of a dimension."""
    return prod(atom.size for atom in dim)


def _flip(call: Call) -> Footprint:
    found = call.source
    for number in call.given["dims"] if found.dims else ():
        dim = number % len(found.dims)
        found = _resample_dim(
            call, found, dim, read_indices(np.arange(_dim_size(found.dims[dim]), dtype=np.int64)[::-1])
        )
    return found


def _roll(call: Call) -> Footprint:
    source = call.source
    if not source.dims or not call.given["dims"]:
        return source.lost(call.name)
    return source.lost(call.name) if source.labels(call.given["dims"]) else source


PLACES: dict[str, FootprintRule] = _rules_by_name(
    [
        (_slice, "slice"),
        (_scatter, "slice_scatter select_scatter"),
        (_split, "split split_with_sizes chunk tensor_split"),
        (_unbind, "unbind select"),
        (_index, "index index_select"),
        (_flip, "flip"),
        (_roll, "roll"),
        (_halve_channels, "glu"),
    ]
)
"""Slices, parts, choices by number, and places in another order."""


FACTORS = {
    "addmm": ("mat1", "mat2"),
    "mm": ("self", "mat2"),
    "bmm": ("self", "mat2"),
    "baddbmm": ("batch1", "batch2"),
    "matmul": ("self", "other"),
    "linear": ("input", "weight"),
}


def _multiply_matrices(call: Call) -> Footprint:
    """A product of matrices: the last dimension of the first is summed with the last but one of the second."""
    first, second = (call.of(argument) for argument in FACTORS[call.name])
    if first and second:
        return _pair_tokens(first, second)
    source = first or second
    if source is None or not source.dims:
        return source or call.source.lost(call.name)
    summed = len(source.dims) - (1 if first else 2)
    kept = source.arranged(plain_dim(call.shape[at]) if at == summed else dim for at, dim in enumerate(source.dims))
    return source.mixed([summed], "a linear layer over all places") or kept


def _pair_tokens(first: Footprint, second: Footprint) -> Footprint:
    """Attention: every row with every column."""
    if "whole" in (first.kind, second.kind):
        return first if first.kind == "whole" else second
    if not first.dims or not second.dims:
        return (first if not first.dims else second).lost("attention")
    inner = first.labels([len(first.dims) - 2, len(first.dims) - 1]) | second.labels([len(second.dims) - 1])
    if first.everywhere(inner):
        return first.whole("attention")
    return first.lost("attention in windows")


def _softmax(call: Call) -> Footprint:
    source = call.source
    return (source.mixed([call.dim()], "attention") if source.dims else None) or source


def _attention(call: Call) -> RuleOutput:
    query = call.of("query")
    if query is None or not query.dims:
        found = call.source.lost("attention")
    else:
        labels = query.labels([len(query.dims) - 2])
        found = query.whole("attention") if query.everywhere(labels) else query.lost("attention in windows")
    return [found, *[None for _ in call.outputs[1:]]]


PRODUCTS: dict[str, FootprintRule] = _rules_by_name(
    [
        (_multiply_matrices, " ".join(FACTORS)),
        (_softmax, "softmax _softmax _log_softmax log_softmax"),
        (_attention, "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention"),
        (_attention, "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention"),
        (_attention, "_scaled_dot_product_fused_attention_overrideable scaled_dot_product_attention"),
    ]
)
"""Sums over all places, and of places with places."""


def _reshape(call: Call) -> Footprint:
    return call.source.reshaped(call.shape, call.name)


def _permute(call: Call) -> Footprint:
    dims = call.source.dims
    return call.source.arranged(dims[number] for number in call.given["dims"]) if dims else call.source


def _transpose(call: Call) -> Footprint:
    dims = list(call.source.dims)
    if not dims:
        return call.source
    first, second = (call.dim("dim0"), call.dim("dim1")) if "dim0" in call.given else (0, len(dims) - 1)
    dims[first], dims[second] = dims[second], dims[first]
    return call.source.arranged(dims)


def _unsqueeze(call: Call) -> Footprint:
    dims = list(call.source.dims)
    if dims:
        dims.insert(int(call.given["dim"]) % (len(dims) + 1), plain_dim(1))
    return call.source.arranged(dims)


def _expand(call: Call) -> Footprint:
    return join_branches(call.tracked[:1], call.shape, call.name)


def _restride(call: Call) -> Footprint:
    """Only a tensor whose strides are written anew, as those of dimensions of size 1 may be."""
    tensor = call.given["self"]
    same = (
        tuple(tensor.shape) == call.shape and tensor.is_contiguous() and call.given.get("storage_offset") in (None, 0)
    )
    return call.source if same else call.source.lost(call.name)


def _repeat(call: Call) -> Footprint:
    source, repeats = call.source, list(call.given["repeats"])
    added = len(repeats) - len(source.dims)
    if not source.dims or any(repeats[added + at] > 1 for at in range(len(source.dims)) if source.labels([at])):
        return source.lost(call.name)
    new = [plain_dim(1)] * added
    sizes = call.shape
    return source.arranged(
        dim if any(atom.label for atom in dim) else plain_dim(sizes[at]) for at, dim in enumerate([*new, *source.dims])
    )


def _concatenate(call: Call) -> Footprint:
    dim = call.dim() if call.source.dims else 0
    if call.name == "stack":
        dim = int(call.given["dim"]) % (len(call.source.dims) + 1)
        shapes = [(*shape[:dim], 1, *shape[dim:]) for shape, _ in call.tracked]
        dims = [(*one.dims[:dim], plain_dim(1), *one.dims[dim:]) if one.dims else () for _, one in call.tracked]
        branches = [one.arranged(wider) for (_, one), wider in zip(call.tracked, dims, strict=True)]
        return join_branches(list(zip(shapes, branches, strict=True)), call.shape, call.name)
    tensors = [(tuple(each.shape), call.footprints.get(id(each))) for each in call.given["tensors"]]
    return concatenate(tensors, dim, call.shape)


VIEWS: dict[str, FootprintRule] = _rules_by_name(
    [
        (_reshape, "view _unsafe_view reshape _reshape_alias flatten unflatten squeeze view_copy"),
        (_permute, "permute permute_copy"),
        (_transpose, "transpose t swapaxes"),
        (_unsqueeze, "unsqueeze"),
        (_expand, "expand"),
        (_restride, "as_strided"),
        (_repeat, "repeat"),
        (_concatenate, "cat concat stack"),
    ]
)
"""Other shapes and orders of dimensions; copies side by side."""


def _read_windows(call: Call) -> Footprint:
    source, name = call.source, call.name
    weight = call.given.get("weight")
    read, count = READ_RULES[name]
    if name == "convolution":
        count = weight.dim() - 2 if isinstance(weight, Tensor) else 0
    elif name == "constant_pad_nd":
        count = len(call.given["pad"]) // 2
    if source is call.of("weight"):
        return source.whole("weights made from the image")
    found = _resample_windows(call, read, count)
    return found.gated("weights made from the image") if call.of("weight") or call.of("bias") else found


def _resample_windows(call: Call, read: Any, count: int) -> Footprint:
    source, shape = call.source, call.shape
    if source.kind == "whole":
        return source
    reads: dict[str, Reads] = {}
    for label, axis in source.axes.items():
        dim = source.dim_of(label)
        if dim is None or len(source.dims) != len(shape):
            return source.lost(LAYOUT)
        at = dim - (len(shape) - count)
        if at >= 0:
            reads[label] = read(call.given, at, count, len(axis), shape[dim])
        elif call.name == "convolution":
            return source.lost(call.name)
    if "pool" in call.name and _covers_everything(source, reads):
        return source.whole("global pooling")
    return source.resampled(reads, shape) if source.placed else source.lost(call.name)


def _covers_everything(source: Footprint, reads: Mapping[str, Reads]) -> bool:
    """Whether a pool has one output for everything, of more than one place."""
    lengths = [len(axis) for axis in source.axes.values()]
    return (
        prod(lengths) > 1
        and bool(reads)
        and all(
            len(each.places) == 1 and int(((each.places >= 0) & (each.places < length) & each.used).sum()) == length
            for each, length in zip(reads.values(), lengths, strict=True)
        )
    )


def _reduce(call: Call) -> RuleOutput:
    source = call.source
    if "other" in call.given:
        return join_branches(call.tracked, call.shape, call.name)
    if not source.dims:
        return source
    given = call.given.get("dim")
    numbers = range(len(source.dims)) if given in (None, []) else [given] if isinstance(given, int) else given
    dims = {number % len(source.dims) for number in numbers or ()}
    kept = len(call.shape) == len(source.dims)
    labels = source.labels(dims)
    if labels == source.labels() and labels:
        return source.whole("global pooling")
    if labels and kept and labels <= source.axes.keys():
        axes = {label: axis.together() if label in labels else axis for label, axis in source.axes.items()}
        single = tuple(_single_place(dim) if at in dims else dim for at, dim in enumerate(source.dims))
        return replace(source, dims=single, axes=axes)
    if labels:
        return source.lost(call.name)
    rest = [(plain_dim(1) if at in dims else dim) for at, dim in enumerate(source.dims) if kept or at not in dims]
    return source.arranged(rest)


def _single_place(dim: Dim) -> Dim:
    return tuple(Atom(atom.label, 1) for atom in dim if atom.label) or plain_dim(1)


def _normalise(call: Call) -> Footprint:
    """Statistics over places are numbers that all places share."""
    source, name = call.source, call.name
    if name == "native_layer_norm":
        count = len(call.given["normalized_shape"])
        inside = bool(source.dims) and bool(source.labels(range(len(source.dims) - count, len(source.dims))))
    else:
        inside = name == "native_group_norm" or bool(call.given.get("training", "legit" in name))
    found = source.gated("statistics of a norm") if inside else source
    return found.whole("attention") if inside and TOKENS in found.labels() else found


WINDOWS: dict[str, FootprintRule] = {
    **dict.fromkeys(READ_RULES, _read_windows),
    **_rules_by_name(
        [
            (_normalise, "native_batch_norm cudnn_batch_norm _native_batch_norm_legit _batch_norm_no_update"),
            (_normalise, "_native_batch_norm_legit_no_training miopen_batch_norm batch_norm"),
            (_normalise, "native_layer_norm native_group_norm _fused_rms_norm"),
            (_reduce, "mean sum amax amin max min prod std var var_mean logsumexp norm linalg_vector_norm any all"),
        ]
    ),
}
"""Convolutions, pools, resizing and padding; reductions; norms."""


def footprint_rule(func: Any, name: str) -> FootprintRule | None:
    """What an operation does to footprints; None if that is not known."""
    if name in RULES:
        return RULES[name]
    return _elementwise if torch.Tag.pointwise in func.tags else None


def _elementwise(call: Call) -> Footprint:
    return join_branches(call.tracked, call.shape, call.name)


def _copy_into(call: Call) -> Footprint:
    source = call.of("src")
    return join_branches([(tuple(call.given["src"].shape), source)], call.shape, call.name) if source else call.source


def _keep_places(call: Call) -> Footprint:
    return call.source


def _drop_footprints(call: Call) -> RuleOutput:
    return [None for _ in call.outputs]


_ALIKE, _NEW = ("zeros", "ones", "empty", "full", "rand", "randn"), ("zeros", "ones", "empty", "full", "empty_strided")
UNRELATED = frozenset([*(f"{values}_like" for values in _ALIKE), *(f"new_{values}" for values in _NEW)])
"""Operations whose outputs have a tensor's shape, not its values."""

POINTWISE: dict[str, FootprintRule] = {
    **dict.fromkeys(UNRELATED, _drop_footprints),
    **_rules_by_name(
        [
            (_copy_into, "copy"),
            (
                _keep_places,
                "channel_shuffle native_channel_shuffle lift_fresh alias detach contiguous native_dropout fill",
            ),
            (_keep_places, "dropout feature_dropout alpha_dropout _to_copy bernoulli masked_fill detach_copy zero"),
            (_keep_places, "log_sigmoid_forward"),
            (_elementwise, "relu hardswish hardtanh hardsigmoid relu6 _prelu_kernel prelu rrelu threshold where clone"),
            (_elementwise, "batch_norm_elemt dequantize fake_quantize_per_tensor_affine"),
        ]
    ),
}
"""What leaves every place where it is, besides the operations that torch itself calls pointwise."""

RULES: dict[str, FootprintRule] = {**WINDOWS, **POINTWISE, **VIEWS, **PLACES, **PRODUCTS}
"""Every operation that is known; one that torch calls pointwise is, too."""
