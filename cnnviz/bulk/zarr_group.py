"""The zarr 3 group that a store is once it is done: its arrays, and what is known of the pictures of each block."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.atomic import write_whole
from cnnviz.core.untrusted import parse_json
from cnnviz.errors import MissingExtraError, OutputError
from cnnviz.methods.scan.manifest import Manifest

__all__ = ["GROUP", "MAPS", "KnownBlock", "group_bytes", "load_zarr", "read_group", "write_arrays"]

GROUP: Final = "zarr.json"
MAPS: Final = "maps"
ROWS: Final = 65536
"""Pictures in a chunk of every array but the maps."""

DIMENSIONS: Final[Mapping[int, tuple[str, ...]]] = {
    1: ("sample",),
    2: ("row", "column"),
    3: ("slice", "row", "column"),
}
"""The dimensions of one map, by how many places the network's input has."""


def load_zarr() -> Any:
    """The library that reads and writes stores.

    Raises:
        MissingExtraError: If it is not installed, or is one of before version 3.
    """
    try:
        import zarr
    except ImportError as error:
        raise MissingExtraError("A store of maps (.zarr)", "data") from error
    if int(zarr.__version__.partition(".")[0]) < 3:
        raise MissingExtraError("A store of maps (.zarr)", "data")
    return zarr


def read_group(path: Path) -> dict[str, Any] | None:
    """The attributes of a finished store; None where there is no group.

    Raises:
        OutputError: If there is something else.
    """
    try:
        held = parse_json((path / GROUP).read_bytes())
        attributes = dict(held["attributes"])
        ours = held["node_type"] == "group" and isinstance(attributes["question"], dict)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        ours = False
    if not ours:
        raise OutputError(f"'{path}' is no store of maps that cnnviz wrote.")
    return attributes


@dataclass
class KnownBlock:
    """What is known of the pictures of one block, but for their maps.

    Attributes:
        images: ``(n,)``: numbers of those with a map.
        keys: The keys of all pictures of the block, in order.
        labels: Their classes in the data set, -1 for none.
        targets: What was explained, of those with a map.
        indices: ``(n,)``: the class of each target.
        scores: ``(n,)``.
        probabilities: ``(n,)``.
        shape: Of one map; None where there is none.
        about: What all maps have in common; None where there is none.
        checks: What there is to say.
        failures: Number and sentence of those without a map.
    """

    images: NDArray[np.int64]
    keys: list[str]
    labels: list[int]
    targets: list[str]
    indices: NDArray[np.int32]
    scores: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    shape: tuple[int, ...] | None
    about: dict[str, Any] | None
    checks: list[str]
    failures: list[tuple[int, str]]


def write_arrays(path: Path, manifest: Manifest, shape: tuple[int, ...], blocks: Iterable[KnownBlock]) -> None:
    """Write every array of a store but the maps, and what is to be said about these.

    Args:
        path: The store.
        manifest: What it is of.
        shape: Of one map.
        blocks: What is known of the pictures of every block, in order.
    """
    zarr, count = load_zarr(), manifest.images
    names = DIMENSIONS[int(manifest["places"])]
    dimensions = ("picture", *(["channel"] if len(shape) > len(names) else []), *names)
    chunks = (int(manifest["block"]), *shape)
    held: dict[str, Any] = {}
    zarr.create_array(
        store=zarr.storage.MemoryStore(held), shape=(count, *shape), chunks=chunks, dtype="float32",
        fill_value=np.nan, compressors=None, dimension_names=dimensions,
    )  # fmt: skip
    kinds: dict[str, tuple[Any, Any]] = {
        "keys": ("string", ""),
        "targets": ("string", ""),
        "indices": ("int32", -1),
        "scores": ("float64", np.nan),
        "probabilities": ("float64", np.nan),
        **({"labels": ("int32", -1)} if manifest["classes"] is not None else {}),
    }
    made = {
        name: zarr.create_array(
            store=str(path / name), shape=(count,), chunks=(min(ROWS, count),), dtype=kind, fill_value=fill,
            compressors=None, dimension_names=("picture",), overwrite=True, config={"write_empty_chunks": True},
        )
        for name, (kind, fill) in kinds.items()
    }  # fmt: skip
    for start, columns in _columns(manifest, blocks):
        for name, array in made.items():
            array[start : start + len(columns["keys"])] = columns[name]
    write_whole(path / MAPS / GROUP, held[GROUP].to_bytes())


def _columns(manifest: Manifest, blocks: Iterable[KnownBlock]) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
    """What is known of all pictures, a chunk's worth at a time, from which number on."""
    size = int(manifest["block"])
    rows: dict[str, list[Any]] = {}
    start = 0
    for number, part in enumerate(blocks):
        places = (part.images - number * size).tolist()
        for name, values in _spread(part, places).items():
            rows.setdefault(name, []).extend(values)
        last = number == manifest.shards - 1
        while len(rows["keys"]) >= ROWS or (last and rows["keys"]):
            yield start, {name: _as_array(name, each[:ROWS]) for name, each in rows.items()}
            rows = {name: each[ROWS:] for name, each in rows.items()}
            start += ROWS


def _spread(part: KnownBlock, places: Sequence[int]) -> dict[str, list[Any]]:
    """What a part says, of every picture of its block."""
    count = len(part.keys)
    found: dict[str, list[Any]] = {
        "keys": part.keys,
        "labels": part.labels,
        "targets": [""] * count,
        "indices": [-1] * count,
        "scores": [np.nan] * count,
        "probabilities": [np.nan] * count,
    }
    for row, place in enumerate(places):
        for name in ("targets", "indices", "scores", "probabilities"):
            found[name][place] = getattr(part, name)[row]
    return found


def _as_array(name: str, values: Sequence[Any]) -> NDArray[Any]:
    if name in ("keys", "targets"):
        return np.array(values, dtype=object)
    return np.array(values, dtype=np.int32 if name in ("indices", "labels") else np.float64)


def group_bytes(attributes: Mapping[str, Any]) -> bytes:
    """The document of a zarr group with these attributes."""
    zarr = load_zarr()
    held: dict[str, Any] = {}
    zarr.create_group(
        store=zarr.storage.MemoryStore(held), attributes=json.loads(json.dumps(attributes, sort_keys=True))
    )
    found: bytes = held[GROUP].to_bytes()
    return found
