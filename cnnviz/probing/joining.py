"""Footprints that meet: sums, products and concatenations of branches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import TypeAlias

from cnnviz.probing.axes import Axis
from cnnviz.probing.footprint import TOKENS, Atom, Dim, Footprint, plain

__all__ = ["cat", "joined"]

Shape: TypeAlias = tuple[int, ...]
Branch: TypeAlias = tuple[Shape, Footprint]
FACTORS = {"mul", "div"}
DECIDING = {"whole": 0, "unknown": 1, "gated": 2, "spatial": 2}


def joined(branches: Sequence[Branch], shape: Shape, name: str) -> Footprint:
    """The result, of a shape, of an operation on single elements; what is smaller is broadcast.

    A factor that is the same at every place makes the result gated.
    """
    reference = max(branches, key=_places)
    shared = [branch for branch in branches if name in FACTORS and _is_shared(branch, reference, shape)]
    maps = [branch for branch in branches if not any(branch is one for one in shared)]
    found = _met([_broadcast(branch, shape, name) for branch in maps], name)
    return found.gated("a factor that all places share") if shared else found


def _places(branch: Branch) -> int:
    return prod(len(axis) for axis in branch[1].axes.values()) if branch[1].placed else 0


def _is_shared(branch: Branch, reference: Branch, shape: Shape) -> bool:
    """Whether a branch is the same at all places of another, with fewer places of its own."""
    (own, footprint), (wide, followed) = branch, reference
    if not followed.placed or (footprint.placed and _places(branch) >= _places(reference)):
        return False
    late = len(shape) - len(wide), len(shape) - len(own)
    dims = [at + late[0] - late[1] for at in range(len(wide)) if followed.labels([at])]
    return all(at < 0 or own[at] == 1 for at in dims)


def _broadcast(branch: Branch, shape: Shape, name: str) -> Footprint:
    own, footprint = branch
    if not footprint.dims:
        return footprint
    before = len(shape) - len(own)
    axes = dict(footprint.axes)
    dims: list[Dim] = [plain(size) for size in shape[:before]]
    for dim, old, size in zip(footprint.dims, own, shape[before:], strict=True):
        labels = [atom.label for atom in dim if atom.label]
        if old == size or not labels:
            dims.append(dim if old == size else plain(size))
        elif len(labels) == 1 and labels[0] in axes:
            axes[labels[0]] = axes[labels[0]].repeated(size)
            dims.append((Atom(labels[0], size),))
        else:
            return footprint.lost(name)
    return replace(footprint, dims=tuple(dims), axes=axes)


def _met(branches: Sequence[Footprint], name: str) -> Footprint:
    """Branches of one shape, element by element; the widest decides."""
    first, *rest = sorted(branches, key=lambda one: DECIDING[one.kind])
    for other in rest:
        if first.kind == "whole" or not first.dims:
            return first
        if _layout(first) != _layout(other):
            return first.lost(name)
        axes = {label: axis.joined(other.axes[label]) for label, axis in first.axes.items() if label in other.axes}
        gated = other if other.kind == "gated" and first.kind == "spatial" else first
        first = replace(first, kind=gated.kind, because=gated.because, axes=axes)
    return first


def _layout(footprint: Footprint) -> list[list[Atom]]:
    return [[atom for atom in dim if atom.label] for dim in footprint.dims]


def cat(branches: Sequence[tuple[Shape, Footprint | None]], dim: int, shape: Shape) -> Footprint:
    """Tensors put one after another; those without a footprint do not depend on the input."""
    tracked = [(own, footprint) for own, footprint in branches if footprint is not None]
    if any(footprint.kind == "whole" for _, footprint in tracked):
        return next(footprint for _, footprint in tracked if footprint.kind == "whole")
    if any(not footprint.dims for _, footprint in tracked):
        return next(footprint for _, footprint in tracked if not footprint.dims).lost("cat")
    labels = {label for _, footprint in tracked for label in footprint.labels([dim])}
    if not labels:
        wide = [footprint.arranged(_replaced(footprint.dims, dim, plain(shape[dim]))) for _, footprint in tracked]
        return _met(wide, "cat")
    if len(labels) == 1 and len(tracked) == len(branches):
        return _in_a_row([footprint for _, footprint in tracked], dim, next(iter(labels)))
    jumbled = _replaced(tracked[0][1].dims, dim, (Atom(TOKENS, shape[dim]),))
    return Footprint("unknown", "places and other tokens in a row", jumbled)


def _in_a_row(branches: Sequence[Footprint], dim: int, label: str) -> Footprint:
    """Maps put beside each other."""
    if any(not one.placed or one.dim_of(label) != dim for one in branches):
        return branches[0].lost("cat")
    axis = Axis.in_a_row([one.axes[label] for one in branches])
    dims = _replaced(branches[0].dims, dim, (Atom(label, len(axis)),))
    even = [replace(one, dims=dims, axes={**one.axes, label: axis}) for one in branches]
    return replace(_met(even, "cat"), dims=dims)


def _replaced(dims: Sequence[Dim], at: int, new: Dim) -> tuple[Dim, ...]:
    return (*dims[:at], new, *dims[at + 1 :])
