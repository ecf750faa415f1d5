"""What becomes of footprints in operations that only arrange places anew."""

from __future__ import annotations

from cnnviz.probing.field_calls import Call, Rule, grouped
from cnnviz.probing.footprint import Footprint, plain
from cnnviz.probing.joining import cat, joined

__all__ = ["VIEWS"]


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
