"""Operations that ran on footprints, and the rules that say what became of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import prod
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from cnnviz.engine.fields.axes import READS, Taps, chosen, slice_taps
from cnnviz.engine.fields.footprint import ACROSS, DOWN, TOKENS, Atom, Dim, Footprint, cat, joined, plain

__all__ = [
    "LAYOUT",
    "Call",
    "Found",
    "Rule",
    "grouped",
    "tensors_in",
    "PLACES",
    "PRODUCTS",
    "UNRELATED",
    "rule_of",
    "VIEWS",
    "WINDOWS",
]

LAYOUT = "its layout"


@dataclass(frozen=True)
class Call:
    """An operation that ran.

    Attributes:
        name: The operation's, without namespace and the mark of working in place.
        given: Its arguments by name, defaults included.
        outputs: The tensors that it returned.
        footprints: The footprints of its tensor arguments, by the tensor's identity.
    """

    name: str
    given: Mapping[str, Any]
    outputs: tuple[Tensor, ...]
    footprints: Mapping[int, Footprint]

    def of(self, argument: str) -> Footprint | None:
        """The footprint of an argument by name."""
        return self.footprints.get(id(self.given.get(argument)))

    @property
    def tracked(self) -> list[tuple[tuple[int, ...], Footprint]]:
        """Shape and footprint of every argument that has one."""
        return [
            (tuple(tensor.shape), self.footprints[id(tensor)])
            for tensor in tensors_in(self.given.values())
            if id(tensor) in self.footprints
        ]

    @property
    def source(self) -> Footprint:
        """The footprint of the first argument that has one."""
        return self.tracked[0][1]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the first output."""
        return tuple(self.outputs[0].shape)

    def dim(self, argument: str = "dim") -> int:
        """An argument that counts dimensions, from the front."""
        number, count = int(self.given[argument]), len(self.source.dims)
        return number % count if count else number


Found: TypeAlias = Footprint | list[Footprint | None]
Rule: TypeAlias = Callable[[Call], Found]


def tensors_in(values: Any) -> Iterator[Tensor]:
    """The tensors among arguments, also those in lists."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(value)


def grouped(rules: Sequence[tuple[Rule, str]]) -> dict[str, Rule]:
    """Rules by the operation's name.

    Args:
        rules: Each with the names of its operations, separated by spaces.
    """
    return {name: rule for rule, names in rules for name in names.split()}


def _sliced(call: Call) -> Footprint:
    start, step = call.given["start"] or 0, call.given["step"]
    length = call.given["self"].shape[call.dim()]
    start = max(start + length, 0) if start < 0 else min(start, length)
    return _along(call, call.source, call.dim(), slice_taps(start, step, call.shape[call.dim()]))


def _halved(call: Call) -> Footprint:
    dim = call.dim()
    return _along(call, call.source, dim, slice_taps(0, 1, call.shape[dim]))


def _along(call: Call, source: Footprint, dim: int, taps: Taps) -> Footprint:
    """Some places along a dimension."""
    count = len(taps.places)
    if not source.dims:
        return source
    labels = source.labels([dim])
    if not labels:
        return source.arranged(plain(count) if at == dim else each for at, each in enumerate(source.dims))
    label = next(iter(labels))
    if not source.placed or source.dim_of(label) != dim or not count:
        return source.lost(call.name)
    shape = [count if at == dim else prod(atom.size for atom in each) for at, each in enumerate(source.dims)]
    moved = source.resampled({label: taps}, shape)
    return moved.arranged(moved.dims[at] if at == dim else each for at, each in enumerate(source.dims))


def _split(call: Call) -> Found:
    source, dim = call.source, call.dim()
    sizes = [int(output.shape[dim]) for output in call.outputs]
    starts = [0, *accumulate(sizes)]
    return [_along(call, source, dim, slice_taps(start, 1, size)) for start, size in zip(starts, sizes, strict=False)]


def _unbound(call: Call) -> Found:
    source, dim = call.source, call.dim()
    if source.dims and source.labels([dim]):
        return [source.lost(call.name) for _ in call.outputs]
    return [source.arranged(each for at, each in enumerate(source.dims) if at != dim) for _ in call.outputs]


def _indexed(call: Call) -> Footprint:
    source = call.source
    if len(call.tracked) > 1 or source is not call.of("self"):
        return source.lost("places chosen by the image")
    if call.name == "index_select":
        dim, index = call.dim(), call.given["index"]
        return _along(call, source, dim, chosen(index.cpu().numpy()))
    indices = call.given["indices"]
    whole = [at for at, index in enumerate(indices) if index is None]
    flat = all(index is None or (index.dim() == 1 and index.dtype == torch.int64) for index in indices)
    if not source.dims or not flat or len(indices) - len(whole) != 1:
        return source.lost(call.name)
    dim = next(at for at, index in enumerate(indices) if index is not None)
    return _along(call, source, dim, chosen(indices[dim].cpu().numpy() % _length(source.dims[dim])))


def _length(dim: Dim) -> int:
    """Size of a dimension."""
    return prod(atom.size for atom in dim)


def _flipped(call: Call) -> Footprint:
    found = call.source
    for number in call.given["dims"] if found.dims else ():
        dim = number % len(found.dims)
        found = _along(call, found, dim, chosen(np.arange(_length(found.dims[dim]), dtype=np.int64)[::-1]))
    return found


def _rolled(call: Call) -> Footprint:
    source = call.source
    if not source.dims or not call.given["dims"]:
        return source.lost(call.name)
    return source.lost(call.name) if source.labels(call.given["dims"]) else source


PLACES: dict[str, Rule] = grouped(
    [
        (_sliced, "slice"),
        (_split, "split split_with_sizes chunk tensor_split"),
        (_unbound, "unbind select"),
        (_indexed, "index index_select"),
        (_flipped, "flip"),
        (_rolled, "roll"),
        (_halved, "glu"),
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


def _reshaped(call: Call) -> Footprint:
    return call.source.reshaped(call.shape, call.name)


def _permuted(call: Call) -> Footprint:
    dims = call.source.dims
    return call.source.arranged(dims[number] for number in call.given["dims"]) if dims else call.source


def _transposed(call: Call) -> Footprint:
    dims = list(call.source.dims)
    if not dims:
        return call.source
    first, second = (call.dim("dim0"), call.dim("dim1")) if "dim0" in call.given else (0, len(dims) - 1)
    dims[first], dims[second] = dims[second], dims[first]
    return call.source.arranged(dims)


def _unsqueezed(call: Call) -> Footprint:
    dims = list(call.source.dims)
    if dims:
        dims.insert(int(call.given["dim"]) % (len(dims) + 1), plain(1))
    return call.source.arranged(dims)


def _expanded(call: Call) -> Footprint:
    return joined(call.tracked[:1], call.shape, call.name)


def _strided(call: Call) -> Footprint:
    """Only a tensor whose strides are written anew, as those of dimensions of size 1 may be."""
    tensor = call.given["self"]
    same = (
        tuple(tensor.shape) == call.shape and tensor.is_contiguous() and call.given.get("storage_offset") in (None, 0)
    )
    return call.source if same else call.source.lost(call.name)


def _repeated(call: Call) -> Footprint:
    source, repeats = call.source, list(call.given["repeats"])
    added = len(repeats) - len(source.dims)
    if not source.dims or any(repeats[added + at] > 1 for at in range(len(source.dims)) if source.labels([at])):
        return source.lost(call.name)
    new = [plain(1)] * added
    sizes = call.shape
    return source.arranged(
        dim if any(atom.label for atom in dim) else plain(sizes[at]) for at, dim in enumerate([*new, *source.dims])
    )


def _glued(call: Call) -> Footprint:
    dim = call.dim() if call.source.dims else 0
    if call.name == "stack":
        dims = [fp.arranged([*fp.dims[:dim], plain(1), *fp.dims[dim:]]) if fp.dims else fp for _, fp in call.tracked]
        shapes = [(*shape[:dim], 1, *shape[dim:]) for shape, _ in call.tracked]
        return joined(list(zip(shapes, dims, strict=True)), call.shape, call.name)
    return cat([(tuple(each.shape), call.footprints.get(id(each))) for each in call.given["tensors"]], dim, call.shape)


VIEWS: dict[str, Rule] = grouped(
    [
        (_reshaped, "view _unsafe_view reshape _reshape_alias flatten unflatten squeeze view_copy"),
        (_permuted, "permute permute_copy"),
        (_transposed, "transpose t swapaxes"),
        (_unsqueezed, "unsqueeze"),
        (_expanded, "expand"),
        (_strided, "as_strided"),
        (_repeated, "repeat"),
        (_glued, "cat concat stack"),
    ]
)
"""Other shapes and orders of dimensions; copies side by side."""


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


def rule_of(func: Any, name: str) -> Rule | None:
    """What an operation does to footprints; None if that is not known."""
    if name in RULES:
        return RULES[name]
    return _elementwise if torch.Tag.pointwise in func.tags else None


def _elementwise(call: Call) -> Footprint:
    return joined(call.tracked, call.shape, call.name)


def _copied(call: Call) -> Footprint:
    source = call.of("src")
    return joined([(tuple(call.given["src"].shape), source)], call.shape, call.name) if source else call.source


def _same(call: Call) -> Footprint:
    return call.source


def _nothing(call: Call) -> Found:
    return [None for _ in call.outputs]


_ALIKE, _NEW = ("zeros", "ones", "empty", "full", "rand", "randn"), ("zeros", "ones", "empty", "full", "empty_strided")
UNRELATED = frozenset([*(f"{values}_like" for values in _ALIKE), *(f"new_{values}" for values in _NEW)])
"""Operations whose outputs have a tensor's shape, not its values."""

POINTWISE: dict[str, Rule] = {
    **dict.fromkeys(UNRELATED, _nothing),
    **grouped(
        [
            (_copied, "copy"),
            (_same, "channel_shuffle native_channel_shuffle lift_fresh alias detach contiguous native_dropout fill"),
            (_same, "dropout feature_dropout alpha_dropout _to_copy bernoulli masked_fill detach_copy zero"),
            (_same, "log_sigmoid_forward"),
            (_elementwise, "relu hardswish hardtanh hardsigmoid relu6 _prelu_kernel prelu rrelu threshold where clone"),
            (_elementwise, "batch_norm_elemt dequantize fake_quantize_per_tensor_affine"),
        ]
    ),
}
"""What leaves every place where it is, besides the operations that torch itself calls pointwise."""

RULES: dict[str, Rule] = {**WINDOWS, **POINTWISE, **VIEWS, **PLACES, **PRODUCTS}
"""Every operation that is known; one that torch calls pointwise is, too."""
