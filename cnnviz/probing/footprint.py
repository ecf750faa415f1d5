"""A tensor's footprint: which of its dimensions are places, and what each place sees of the input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import NamedTuple, TypeAlias

from cnnviz.core.field import Kind
from cnnviz.probing.axes import Axis, Taps

__all__ = ["ACROSS", "DOWN", "Atom", "Dim", "Footprint", "plain"]

DOWN, ACROSS, TOKENS = "y", "x", "tokens"


class Atom(NamedTuple):
    """A factor of a dimension: an axis of places, a jumble of tokens, or anything else (no label)."""

    label: str
    size: int


Dim: TypeAlias = tuple[Atom, ...]
"""A dimension as a product of factors, the slowest first."""


def plain(size: int) -> Dim:
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
    axes: Mapping[str, Axis] = field(default_factory=dict)

    @classmethod
    def of_input(cls, shape: Sequence[int]) -> Footprint:
        """The input ``(..., H, W)`` itself."""
        height, width = shape[-2:]
        dims = (*map(plain, shape[:-2]), (Atom(DOWN, height),), (Atom(ACROSS, width),))
        return cls("spatial", "", dims, {DOWN: Axis.of_pixels(height), ACROSS: Axis.of_pixels(width)})

    @property
    def placed(self) -> bool:
        """Whether places are followed down and across."""
        return len(self.axes) == 2

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
        return self.whole(because) if TOKENS in labels or {DOWN, ACROSS} <= labels else self.lost(because)

    def resampled(self, taps: Mapping[str, Taps], shape: Sequence[int]) -> Footprint:
        """An operation's output whose places read what the taps say; an axis without taps is read as it is."""
        axes = {label: axis.through(taps[label]) if label in taps else axis for label, axis in self.axes.items()}
        places = {self.dim_of(label): label for label in axes}
        dims = [(Atom(places[at], size),) if at in places else plain(size) for at, size in enumerate(shape)]
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
            dim = _take(atoms, size, axes, single=single)
            if dim is None:
                return self.lost(because)
            dims.append(dim)
        return replace(self, dims=(*dims[:-1], dims[-1] + tuple(atoms)) if atoms else tuple(dims), axes=axes)


def _take(atoms: list[Atom], size: int, axes: dict[str, Axis], *, single: bool) -> Dim | None:
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
