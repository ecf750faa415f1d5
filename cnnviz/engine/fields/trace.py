"""Receptive fields by running: a network's own forward carries along what every tensor sees of the input."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from functools import cache
from math import prod
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from cnnviz.core.dimensions import size_of
from cnnviz.core.field import Field
from cnnviz.core.layer import Arrangement
from cnnviz.engine.fields.call import LAYOUT, Call, tensors_in
from cnnviz.engine.fields.footprint import Dim, Footprint
from cnnviz.engine.fields.operations import UNRELATED, footprint_rule
from cnnviz.engine.fields.parts import part_of, read_part, write_part

__all__ = ["FieldTrace"]


class FieldTrace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode in which a forward of a network finds the receptive fields of everything it computes.

    Each tensor is followed by what its places see along each axis of the input: exactly, on this input, and as if
    neither the input nor any activation had an end. No operation is changed.

    Args:
        inputs: ``(N, C, ...)``, the tensor that the forward will start from.
    """

    def __init__(self, inputs: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._size = size_of(inputs)
        self._known: MutableMapping[Tensor, Footprint] = WeakTensorKeyDictionary()
        self._known[inputs] = Footprint.of_input(inputs.shape)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Skipping would import torch's compiler, which takes seconds, at the first use."""
        return False

    def of(self, tensor: Tensor | None, arrangement: Arrangement | None) -> Field | None:
        """The field of a layer's output; None if it is no tensor, or is not made from the input."""
        found = None if tensor is None else self._known.get(tensor)
        if tensor is None or found is None:
            return None
        if found.placed and _matches_arrangement(found, arrangement):
            spans = (axis.span(length) for axis, length in zip(found.axes.values(), self._size, strict=True))
            return Field(found.kind, self._size, found.because, tuple(spans))
        if found.kind in ("whole", "unknown"):
            return Field(found.kind, self._size, found.because)
        flat = arrangement is None and bool(found.labels([tensor.dim() - 1]))
        return Field("whole", self._size, "flattening") if flat else Field("unknown", self._size, LAYOUT)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        names, defaults = _arguments_of(func)
        given = defaults | dict(zip(names, args, strict=False)) | kwargs
        known = {id(each): found for each in tensors_in(given.values()) if (found := self._footprint_of(each))}
        outputs = tuple(tensors_in([output]))
        if known and outputs:
            name = func._schema.name.partition("::")[2].rstrip("_")
            self._record_outputs(func, Call(name, given, outputs, known))
        return output

    def _footprint_of(self, tensor: Tensor) -> Footprint | None:
        """A tensor's footprint; a view that was made before the image was written into its base sees a part of it."""
        found, base = self._known.get(tensor), tensor._base
        if found is not None or base is None or base not in self._known:
            return found
        part = part_of(tensor, base)
        return (part and read_part(self._known[base], part)) or self._known[base].lost("a view of what was written")

    def _record_outputs(self, func: Any, call: Call) -> None:
        for tensor, footprint in zip(call.outputs, _output_footprints(func, call), strict=False):
            before = self._known.get(tensor)
            if footprint is None:
                continue
            self._known[tensor] = footprint
            written = any(tensor is each for each in tensors_in(call.given.values()))
            if written and footprint is not before and tensor._base is not None:
                self._update_base(tensor, tensor._base, footprint, call.name)

    def _update_base(self, tensor: Tensor, base: Tensor, footprint: Footprint, name: str) -> None:
        """A part of a tensor was written: the tensor sees what it saw and what the part sees now."""
        why, part = f"{name} into a part", part_of(tensor, base)
        before = self._known.get(base)
        self._known[base] = (
            (before or footprint).lost(why) if part is None else write_part(part, footprint, before, name)
        )
        storage = base.untyped_storage()._cdata
        for other in list(self._known):
            if other is not tensor and other is not base and other.untyped_storage()._cdata == storage:
                self._known[other] = self._known[other].lost(why)


@cache
def _arguments_of(func: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Names and defaults of an operation's arguments."""
    arguments = func._schema.arguments
    return tuple(one.name for one in arguments), {one.name: one.default_value for one in arguments}


def _matches_arrangement(found: Footprint, arrangement: Arrangement | None) -> bool:
    """Whether a tensor's places are where its arrangement says, and no tokens are before them."""
    if arrangement is None or arrangement.prefix:
        return False
    if any(not all(atom.label for atom in dim if atom.size > 1) for dim in found.dims if _has_places(dim)):
        return False  # tokens in groups, not row by row
    return [tuple(atom.label for atom in dim if atom.label) for dim in found.dims[1:]] == _labels_of(found, arrangement)


def _labels_of(found: Footprint, arrangement: Arrangement) -> list[tuple[str, ...]]:
    """Which axes of places each dimension of one image has by its arrangement."""
    places: list[tuple[str, ...]] = [(label,) for label in found.axes]
    if arrangement.tokens:
        return [tuple(found.axes), ()]
    return [(), *places] if arrangement.channels_first else [*places, ()]


def _has_places(dim: Dim) -> bool:
    return any(atom.label for atom in dim)


def _output_footprints(func: Any, call: Call) -> Sequence[Footprint | None]:
    """The footprints of an operation's outputs."""
    rule = footprint_rule(func, call.name)
    first = call.source
    if all(footprint.kind == "whole" for _, footprint in call.tracked) and call.name not in UNRELATED:
        return [first for _ in call.outputs]
    try:
        found = rule(call) if rule else first.lost(call.name)
    except (IndexError, KeyError, TypeError, ValueError):
        found = first.lost(call.name)
    each = found if isinstance(found, list) else [found for _ in call.outputs]
    return [one and _check_dims(one, output, call) for one, output in zip(each, call.outputs, strict=True)]


def _check_dims(footprint: Footprint, output: Tensor, call: Call) -> Footprint:
    """A footprint whose dimensions are the output's; otherwise nothing is known."""
    sizes = tuple(prod(atom.size for atom in dim) for dim in footprint.dims)
    return footprint if not sizes or sizes == tuple(output.shape) else footprint.lost(call.name)
