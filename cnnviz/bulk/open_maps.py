"""open_maps: a store of maps, opened: each map with its key, its target and its score, read when it is asked for."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from cnnviz.bulk.map_store import KIND, PARTS, read_manifest
from cnnviz.bulk.zarr_group import GROUP, MAPS, load_zarr, read_group
from cnnviz.catalogue import proper_name
from cnnviz.core.field import Field, Span
from cnnviz.core.notebook import html_table, repr_line
from cnnviz.drawing.overlay import upsample
from cnnviz.errors import OutputError, UnknownNameError
from cnnviz.provenance import Provenance
from cnnviz.results.attribution import flattened

if TYPE_CHECKING:
    from cnnviz.core.dimensions import Size

__all__ = ["Maps", "StoredMap", "open_maps"]

COLUMNS: Final = ("keys", "targets", "indices", "scores", "probabilities")


@dataclass(frozen=True, eq=False)
class StoredMap:
    """One map of a store.

    Attributes:
        key: The picture's.
        values: float32, raw and signed, ``(h, w)``, or with channels first; NaN where the picture has none.
        target: What is explained, in words; empty where the picture has no map.
        index: The class that is explained; None where it is not one class.
        score: The target's score.
        probability: Of the target's class; None where it has none.
        size: Lengths of the network's input, of pictures height and width.
        rectified: Whether only positive values are shown.
        field: What the values' places see of the input; None for pixels, and where nothing is known.
        channels: Of attributions to pixels, how their channels become one map.
    """

    key: str
    values: NDArray[np.float32] = field(repr=False)
    target: str
    index: int | None
    score: float
    probability: float | None
    size: Size
    rectified: bool = False
    field: Field | None = field(default=None, repr=False)
    channels: Any = None

    @property
    def blank(self) -> bool:
        """Whether there is nothing to see: no positive value of a rectified map, only zeros, or no map."""
        shown = np.maximum(self.values, 0) if self.rectified else self.values
        return not bool(np.any(np.abs(shown[np.isfinite(shown)]) > 0))

    def upsampled(self) -> NDArray[np.float32]:
        """The map on the network's input grid, ``(H, W)`` float32, as a method's result has it.

        Rectified if the method is, channels as one map, each value at the centre of what its unit sees.
        """
        flat = self.values
        if self.channels is not None:
            return flattened(flat, self.channels)
        return upsample(np.maximum(flat, 0) if self.rectified else flat, self.size, self.field)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """The values."""
        return np.array(self.values, dtype=dtype, copy=True if copy is None else copy)


class Maps(Sequence[StoredMap]):
    """The maps of a data set in a store; a sequence of :class:`StoredMap`, read when they are asked for.

    Args:
        path: The store, finished.
        group: Its attributes.

    Attributes:
        path: Where it is.
        provenance: How the maps were made.
        failures: Key and sentence of every picture without a map.
    """

    def __init__(self, path: Path, group: Mapping[str, Any]) -> None:
        zarr = load_zarr()
        self.path = path
        try:
            self.provenance = Provenance.from_json(json.dumps({"cnnviz": group["cnnviz"]}))
            self.failures = tuple((str(key), str(sentence)) for _, key, sentence in group["failures"])
            self._without = {int(number) for number, _, _ in group["failures"]}
            self._about = dict(group["about"])
            self._classes = group["question"]["classes"]
            self._block = int(group["question"]["block"])
            self._field = _field_of(self._about["field"])
            self._arrays = {name: zarr.open_array(str(path / name), mode="r") for name in (*COLUMNS, MAPS)}
            labelled = (path / "labels" / GROUP).exists()
            self._labels = zarr.open_array(str(path / "labels"), mode="r") if labelled else None
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise OutputError(f"'{path}' is damaged: {error}.") from error
        self._ensure_whole()

    def _ensure_whole(self) -> None:
        """Refuse a store that lacks a chunk, or a part of one: what is missing reads as NaN, as if there were no map.

        Raises:
            OutputError: If it does.
        """
        count, axes = len(self), self.values.ndim - 1
        size = self.values.dtype.itemsize * math.prod(self.values.chunks)
        for number in range(-(-count // self._block)):
            some = range(number * self._block, min((number + 1) * self._block, count))
            chunk = self.path.joinpath(MAPS, "c", str(number), *["0"] * axes)
            there = chunk.exists() and chunk.stat().st_size == size
            if not there and not all(image in self._without for image in some):
                raise OutputError(f"'{self.path}' is damaged: the maps of {some.start} to {some.stop - 1} are missing.")
        if any(self._arrays[name].shape != (count,) for name in COLUMNS):
            raise OutputError(f"'{self.path}' is damaged: its arrays have several lengths.")

    @property
    def values(self) -> Any:
        """All maps as a zarr array ``(N, h, w)``, or with channels ``(N, C, H, W)``: a slice of it is a numpy array."""
        return self._arrays[MAPS]

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The key of every picture."""
        return tuple(map(str, self._arrays["keys"][:]))

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """What is explained of every picture, in words; empty where it has no map."""
        return tuple(map(str, self._arrays["targets"][:]))

    @cached_property
    def indices(self) -> NDArray[np.int32]:
        """``(N,)``: the class that is explained; -1 where it is not one class."""
        return np.asarray(self._arrays["indices"][:])

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """``(N,)``: the targets' scores; NaN where there is no map."""
        return np.asarray(self._arrays["scores"][:])

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """``(N,)``: of the targets' classes; NaN where there is none."""
        return np.asarray(self._arrays["probabilities"][:])

    @cached_property
    def labels(self) -> NDArray[np.int32] | None:
        """``(N,)``: the class of every picture in the data set, -1 for none; None for a data set without classes."""
        return None if self._labels is None else np.asarray(self._labels[:])

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the data set's classes; None where it has none."""
        return None if self._classes is None else tuple(map(str, self._classes))

    @property
    def layer(self) -> str | None:
        """The layer that was looked at, or None."""
        return self.provenance.layer

    @property
    def checks(self) -> tuple[str, ...]:
        """What the user should know about the maps."""
        return self.provenance.checks

    @property
    def used(self) -> int:
        """How many pictures have a map."""
        return len(self) - len(self.failures)

    def __len__(self) -> int:
        return int(self._arrays[MAPS].shape[0])

    @overload
    def __getitem__(self, index: int | str) -> StoredMap: ...
    @overload
    def __getitem__(self, index: slice) -> list[StoredMap]: ...
    def __getitem__(self, index: int | str | slice) -> StoredMap | list[StoredMap]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        row = self._row_of(index) if isinstance(index, str) else range(len(self))[index]
        return self._map(row, np.asarray(self.values[row], dtype=np.float32))

    def __iter__(self) -> Iterator[StoredMap]:
        for start in range(0, len(self), self._block):
            for row, values in enumerate(np.asarray(self.values[start : start + self._block]), start):
                yield self._map(row, values)

    def _row_of(self, key: str) -> int:
        try:
            return self._rows[key]
        except KeyError:
            raise UnknownNameError("picture", key, self.keys) from None

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.keys)}

    def _map(self, row: int, values: NDArray[np.float32]) -> StoredMap:
        share, index = float(self.probabilities[row]), int(self.indices[row])
        return StoredMap(
            self.keys[row],
            values,
            self.targets[row],
            None if index < 0 else index,
            float(self.scores[row]),
            None if np.isnan(share) else share,
            tuple(map(int, self._about["size"])),
            bool(self._about["rectified"]),
            self._field,
            self._about["channels"],
        )

    def describe(self) -> dict[str, Any]:
        """What there is to say without maps, as plain values."""
        return {
            "method": self.provenance.method,
            "data": self.provenance.images[0]["name"],
            "model": self.provenance.model.get("name"),
            "layer": self.layer,
            "pictures": len(self),
            "used": self.used,
            "shape": list(map(int, self.values.shape[1:])),
            "failures": [{"key": key, "reason": sentence} for key, sentence in self.failures],
            "checks": list(self.checks),
        }

    def _facts(self) -> dict[str, str]:
        told = self.describe()
        without = f"{len(self.failures)} without a map" if self.failures else ""
        facts = {
            "maps": f"{len(self)} of {' x '.join(map(str, told['shape']))}",
            "data set": str(told["data"]),
            "network": str(told["model"]),
            "layer": str(self.layer or ""),
            "pictures": without,
        }
        return {name: said for name, said in facts.items() if said}

    def __repr__(self) -> str:
        return repr_line("Maps", proper_name(self.provenance.method), *self._facts().values())

    def _repr_html_(self) -> str:
        return html_table(f"{proper_name(self.provenance.method)} maps", (), list(self._facts().items()))


def open_maps(path: str | os.PathLike[str]) -> Maps:
    """Open a store of maps that ``write_maps`` or ``cnnviz METHOD ... -o maps.zarr`` wrote.

    Args:
        path: The store.

    Returns:
        Its maps, read when they are asked for: ``maps[0]``, ``maps["cat.jpg"]``; with ``targets``, ``scores``,
        ``probabilities`` and ``provenance`` of all.

    Raises:
        OutputError: If there is none, it is unfinished or damaged, or lacks a chunk.
        MissingExtraError: If zarr is not installed: ``pip install 'cnnviz[data]'``.
    """
    where = Path(path)
    load_zarr()
    if not where.exists():
        raise OutputError(f"There is no store of maps '{where}'.")
    if not where.is_dir():
        raise OutputError(f"'{where}' is a file, and a store of maps is a folder, such as maps.zarr.")
    group = read_group(where)
    if group is None:
        _refuse_unfinished(where)
        raise OutputError(f"'{where}' is no store of maps that cnnviz wrote: there is no {GROUP} in it.")
    return Maps(where, group)


def _refuse_unfinished(path: Path) -> None:
    """Say of an unfinished store how far it has come.

    Raises:
        OutputError: If it is one.
    """
    manifest = read_manifest(path)
    if manifest is not None:
        there = sum(1 for _ in (path / PARTS).glob("part-*.safetensors"))
        raise OutputError(
            f"'{path}' is unfinished: {there} of {manifest.shards} blocks are there. The {KIND.noun} that wrote it "
            "goes on where it was when it is started again; parts of several jobs are joined by 'cnnviz merge'."
        )


def _field_of(held: Mapping[str, Any] | None) -> Field | None:
    """A field, of the plain values that it was written as."""
    if held is None:
        return None
    spans = [
        Span(**{**each, "seen": tuple(map(tuple, each["seen"])), "centres": each["centres"] and tuple(each["centres"])})
        for each in held["spans"]
    ]
    return Field(held["kind"], tuple(held["input"]), held["because"], tuple(spans))
