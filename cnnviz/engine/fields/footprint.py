"""A tensor's footprint: which of its dimensions are places, and what each place sees of the input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from math import prod
from typing import NamedTuple, TypeAlias

import numpy as np

from cnnviz.core.field import Kind
from cnnviz.engine.fields.axes import AxisCoverage
from cnnviz.engine.fields.reads import Reads

__all__ = ["Atom", "Dim", "Footprint", "concatenate", "join_branches", "plain_dim"]

AXES, TOKENS = ("z", "y", "x"), "tokens"


class Atom(NamedTuple):
    """A factor of a dimension: an axis of places, a jumble of tokens, or anything else (no label)."""

    label: str
    size: int


Dim: TypeAlias = tuple[Atom, ...]
"""A dimension as a product of factors, the slowest first."""


def plain_dim(size: int) -> Dim:
    """A dimension without places."""
    return (Atom("", size),)


@dataclass(frozen=True, eq=False)
class Footprint:
    """What a tensor's elements see of the input.

    Attributes:
        kind: As a field's.
        because: As a field's.
        dims: The tensor's dimensions; empty where they are not followed any more.
        axes: What the places along each axis see.
    """

    kind: Kind
    because: str = ""
    dims: tuple[Dim, ...] = ()
    axes: Mapping[str, AxisCoverage] = field(default_factory=dict)

    @classmethod
    def of_input(cls, shape: Sequence[int]) -> Footprint:
        """The input ``(N, C, ...)`` itself, with an axis of places for every further dimension."""
        size = dict(zip(AXES[len(AXES) + 2 - len(shape) :], shape[2:], strict=True))
        dims = (*map(plain_dim, shape[:2]), *((Atom(label, length),) for label, length in size.items()))
        return cls("spatial", "", dims, {label: AxisCoverage.of_pixels(length) for label, length in size.items()})

    @property
    def placed(self) -> bool:
        """Whether places are followed along every axis."""
        return bool(self.axes)

    def everywhere(self, labels: Set[str]) -> bool:
        """Whether these are all axes of places, or a jumble of tokens."""
        return TOKENS in labels or (self.placed and self.axes.keys() <= labels)

    def lost(self, because: str) -> Footprint:
        """Nothing known any more, because of an operation; of a whole footprint it still is."""
        if self.kind in ("whole", "unknown"):
            return replace(self, dims=())
        return Footprint("unknown", because)

    def whole(self, because: str) -> Footprint:
        """Everything mixed with everything."""
        return Footprint("whole", self.because if self.kind == "whole" else because)

    def gated(self, because: str) -> Footprint:
        """The rest of the image comes in through numbers that all places share."""
        return self if self.kind != "spatial" else replace(self, kind="gated", because=because)

    def arranged(self, dims: Iterable[Dim]) -> Footprint:
        """The same places in other dimensions."""
        return replace(self, dims=tuple(dims))

    def labels(self, dims: Iterable[int] | None = None) -> set[str]:
        """Which axes of places are in some dimensions (in all of them unless given)."""
        chosen = self.dims if dims is None else [self.dims[dim] for dim in dims]
        return {atom.label for dim in chosen for atom in dim if atom.label}

    def dim_of(self, label: str) -> int | None:
        """The dimension that is an axis of places and nothing else."""
        return next((at for at, dim in enumerate(self.dims) if [atom.label for atom in dim] == [label]), None)

    def mixed(self, dims: Iterable[int], because: str) -> Footprint | None:
        """What becomes of the elements when all of some dimensions are mixed; None if no places are."""
        labels = self.labels(dims)
        if not labels:
            return None
        return self.whole(because) if self.everywhere(labels) else self.lost(because)

    def resampled(self, reads: Mapping[str, Reads], shape: Sequence[int]) -> Footprint:
        """An operation's output whose places read these inputs along each axis; an axis without is kept."""
        axes = {label: axis.through(reads[label]) if label in reads else axis for label, axis in self.axes.items()}
        places = {self.dim_of(label): label for label in axes}
        dims = [(Atom(places[at], size),) if at in places else plain_dim(size) for at, size in enumerate(shape)]
        return replace(self, dims=tuple(dims), axes=axes)

    def reshaped(self, shape: Sequence[int], because: str) -> Footprint:
        """The same elements, row by row, in another shape; blocks of neighbouring places may become places."""
        if not self.dims or not prod(shape):
            return self.lost(because)
        atoms = [atom for dim in self.dims for atom in dim if atom.label or atom.size != 1]
        axes = dict(self.axes)
        dims = []
        for at, size in enumerate(shape):
            single = list(shape[at:]).count(1) <= sum(atom.size == 1 for atom in atoms)
            dim = _take_dim(atoms, size, axes, single=single)
            if dim is None:
                return self.lost(because)
            dims.append(dim)
        return replace(self, dims=(*dims[:-1], dims[-1] + tuple(atoms)) if atoms else tuple(dims), axes=axes)


def _take_dim(atoms: list[Atom], size: int, axes: dict[str, AxisCoverage], *, single: bool) -> Dim | None:
    """The next dimension out of what is left of the factors, one of them split where it must be.

    A dimension of one place takes an axis of one place if ``single``.
    """
    taken: list[Atom] = []
    left = size
    while left > 1 or (size == 1 and single and not taken and atoms and atoms[0].size == 1):
        if not atoms:
            return None
        atom = atoms.pop(0)
        if left % atom.size:
            if atom.label == TOKENS or atom.size % left:
                return None
            atoms.insert(0, Atom("", atom.size // left))
            if atom.label:
                axes[atom.label] = axes[atom.label].blocks(left)
            atom = Atom(atom.label, left)
        taken.append(atom)
        left //= atom.size
    return tuple(taken)


Shape: TypeAlias = tuple[int, ...]
Branch: TypeAlias = tuple[Shape, Footprint]
FACTORS = {"mul", "div"}
DECIDING = {"whole": 0, "unknown": 1, "gated": 2, "spatial": 2}


def join_branches(branches: Sequence[Branch], shape: Shape, name: str) -> Footprint:
    """The result, of a shape, of an operation on single elements; what is smaller is broadcast.

    A factor that is the same at every place makes the result gated.
    """
    reference = max(branches, key=_place_count)
    shared = [branch for branch in branches if name in FACTORS and _is_shared(branch, reference, shape)]
    maps = [branch for branch in branches if not any(branch is one for one in shared)]
    found = _merge_footprints([_broadcast_branch(branch, shape, name) for branch in maps], name)
    return found.gated("a factor that all places share") if shared else found


def _place_count(branch: Branch) -> int:
    return prod(len(axis) for axis in branch[1].axes.values()) if branch[1].placed else 0


def _is_shared(branch: Branch, reference: Branch, shape: Shape) -> bool:
    """Whether a branch is the same at all places of another, with fewer places of its own."""
    (own, footprint), (wide, followed) = branch, reference
    if not followed.placed or (footprint.placed and _place_count(branch) >= _place_count(reference)):
        return False
    late = len(shape) - len(wide), len(shape) - len(own)
    dims = [at + late[0] - late[1] for at in range(len(wide)) if followed.labels([at])]
    return all(at < 0 or own[at] == 1 for at in dims)


def _broadcast_branch(branch: Branch, shape: Shape, name: str) -> Footprint:
    own, footprint = branch
    if not footprint.dims:
        return footprint
    before = len(shape) - len(own)
    axes = dict(footprint.axes)
    dims: list[Dim] = [plain_dim(size) for size in shape[:before]]
    for dim, old, size in zip(footprint.dims, own, shape[before:], strict=True):
        labels = [atom.label for atom in dim if atom.label]
        if old == size or not labels:
            dims.append(dim if old == size else plain_dim(size))
        elif len(labels) == 1 and labels[0] in axes:
            axes[labels[0]] = axes[labels[0]].repeated(size)
            dims.append((Atom(labels[0], size),))
        else:
            return footprint.lost(name)
    return replace(footprint, dims=tuple(dims), axes=axes)


def _merge_footprints(branches: Sequence[Footprint], name: str) -> Footprint:
    """Branches of one shape, element by element; the widest decides."""
    first, *rest = sorted(branches, key=lambda one: DECIDING[one.kind])
    for other in rest:
        if first.kind == "whole" or not first.dims:
            return first
        if _labelled_atoms(first) != _labelled_atoms(other):
            return first.lost(name)
        axes = {label: axis.joined(other.axes[label]) for label, axis in first.axes.items() if label in other.axes}
        gated = other if other.kind == "gated" and first.kind == "spatial" else first
        first = replace(first, kind=gated.kind, because=gated.because, axes=axes)
    return first


def _labelled_atoms(footprint: Footprint) -> list[list[Atom]]:
    return [[atom for atom in dim if atom.label] for dim in footprint.dims]


def concatenate(branches: Sequence[tuple[Shape, Footprint | None]], dim: int, shape: Shape) -> Footprint:
    """Tensors put one after another; those without a footprint do not depend on the input."""
    tracked = [(own, footprint) for own, footprint in branches if footprint is not None]
    if any(footprint.kind == "whole" for _, footprint in tracked):
        return next(footprint for _, footprint in tracked if footprint.kind == "whole")
    if any(not footprint.dims for _, footprint in tracked):
        return next(footprint for _, footprint in tracked if not footprint.dims).lost("cat")
    labels = {label for _, footprint in tracked for label in footprint.labels([dim])}
    if not labels:
        wide = [
            footprint.arranged(_replace_dim(footprint.dims, dim, plain_dim(shape[dim]))) for _, footprint in tracked
        ]
        return _merge_footprints(wide, "cat")
    if len(labels) == 1 and all(footprint.placed for _, footprint in tracked):
        parts = [footprint if footprint is not None else own[dim] for own, footprint in branches]
        return _concatenate_places(parts, dim, next(iter(labels)))
    jumbled = _replace_dim(tracked[0][1].dims, dim, (Atom(TOKENS, shape[dim]),))
    return Footprint("unknown", "places and other tokens in a row", jumbled)


def _concatenate_places(parts: Sequence[Footprint | int], dim: int, label: str) -> Footprint:
    """Maps put beside each other, and between them so many places as are not made from the image."""
    maps = [one for one in parts if isinstance(one, Footprint)]
    if any(one.dim_of(label) != dim for one in maps):
        return maps[0].lost("cat")
    axis = AxisCoverage.concatenated([one.axes[label] for one in maps])
    if len(maps) < len(parts):
        axis = axis.through(
            _read_between(
                [one if isinstance(one, int) else len(one.axes[label]) for one in parts],
                [isinstance(one, int) for one in parts],
            )
        )
    dims = _replace_dim(maps[0].dims, dim, (Atom(label, len(axis)),))
    even = [replace(one, dims=dims, axes={**one.axes, label: axis}) for one in maps]
    return replace(_merge_footprints(even, "cat"), dims=dims)


def _read_between(lengths: Sequence[int], empty: Sequence[bool]) -> Reads:
    """Maps with places between them that read nothing; before the first and after the last they go on as padding."""
    first, last = list(empty).index(False), len(empty) - list(empty)[::-1].index(False)
    places, used, at = [], [], -sum(lengths[:first])
    for number, (length, nothing) in enumerate(zip(lengths, empty, strict=True)):
        between = nothing and first < number < last
        places.append(np.full(length, at) if between else np.arange(at, at + length))
        used.append(np.full(length, not between))
        at += 0 if between else length
    return Reads(np.concatenate(places)[:, None], np.concatenate(used)[:, None], 1.0)


def _replace_dim(dims: Sequence[Dim], at: int, new: Dim) -> tuple[Dim, ...]:
    return (*dims[:at], new, *dims[at + 1 :])
