"""What becomes of footprints in operations that choose some places along a dimension."""

from __future__ import annotations

from itertools import accumulate
from math import prod

import numpy as np
import torch

from cnnviz.probing.axes import Taps
from cnnviz.probing.field_calls import Call, Found, Rule, grouped
from cnnviz.probing.footprint import Dim, Footprint, plain
from cnnviz.probing.taps import chosen, slice_taps

__all__ = ["PLACES"]


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
