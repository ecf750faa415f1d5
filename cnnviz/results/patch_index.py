"""The index of a data set's top-activating patches: what a scan found, without the pictures."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.atomic import read_record, write_record
from cnnviz.core.dimensions import Size
from cnnviz.errors import OutputError, UnknownNameError

__all__ = ["DECILES", "INDEX_FILE", "NO_IMAGE", "Failure", "LayerIndex", "PatchIndex", "Samples"]

INDEX_FILE = "index.safetensors"
NO_IMAGE = -1
"""In place of an image's number: there is none."""

DECILES = 10
LAYOUT = 1


@dataclass(frozen=True)
class Failure:
    """A picture that could not be read: its key, and a sentence.

    Attributes:
        key: The picture's.
        sentence: What kept it from being read.
        passing: Whether it may be read another time; then the next run tries it again.
    """

    key: str
    sentence: str
    passing: bool = False


@dataclass(frozen=True, eq=False)
class Samples:
    """Images drawn at random from every tenth of a unit's range, the lowest tenth first.

    Attributes:
        values: ``(C, 10, m)`` float32: the largest value in the image; NaN where there is no image.
        images: ``(C, 10, m)`` int64: the image's number; -1 where there are fewer.
        positions: ``(C, 10, m, 2)`` int32: row and column of that value; as many numbers as the layer's grid has.
    """

    values: NDArray[np.float32] = field(repr=False)
    images: NDArray[np.int64] = field(repr=False)
    positions: NDArray[np.int32] = field(repr=False)


@dataclass(frozen=True, eq=False)
class LayerIndex:
    """What was found for the units (channels) of one layer; an image counts by its largest value in the layer's map.

    Attributes:
        name: The layer's name.
        ranked: Which tensor was ranked, in words: the layer's output, or what its last, saturating function was given.
        grid: Rows and columns of the layer's map, of signals its length, of volumes slices, rows and columns; ones for
            a layer without places.
        values: ``(C, k)`` float32: largest values, the highest first (then the lowest number of the image); NaN where
            there are fewer images than k.
        images: ``(C, k)`` int64: numbers of the images, keys of ``PatchIndex.keys``; -1 where there are fewer.
        positions: ``(C, k, 2)`` int32: row and column of the value, the first of equal ones; -1 where there is none. As
            many numbers as the grid has.
        counts: ``(C,)`` int64: images that counted: all that could be read and gave the unit a finite value.
        active: ``(C,)`` int64: those among them whose value is above zero.
        means: ``(C,)`` float64: mean of the value over the images that counted; NaN where none did.
        quantiles: ``(C, Q)`` float64: the value at each of ``PatchIndex.levels``, to a thirty-second of itself.
        ties: ``(C,)`` int64: images whose value is exactly the largest.
        dead: ``(C,)`` bool: no image counted, none is above zero (ranked before a sigmoid or tanh: whatever the sign),
            or all of several images have one value.
        class_means: ``(C, K)`` float64: mean over the images of each class, NaN where none counted; None for a data set
            without classes.
        samples: Images at random from every tenth of the range, if they were asked for.
    """

    name: str
    ranked: str
    grid: Size
    values: NDArray[np.float32] = field(repr=False)
    images: NDArray[np.int64] = field(repr=False)
    positions: NDArray[np.int32] = field(repr=False)
    counts: NDArray[np.int64] = field(repr=False)
    active: NDArray[np.int64] = field(repr=False)
    means: NDArray[np.float64] = field(repr=False)
    quantiles: NDArray[np.float64] = field(repr=False)
    ties: NDArray[np.int64] = field(repr=False)
    dead: NDArray[np.bool_] = field(repr=False)
    class_means: NDArray[np.float64] | None = field(default=None, repr=False)
    samples: Samples | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.values)

    def ensure_sound(self, levels: int, classes: int | None) -> None:
        """Refuse arrays that do not go together, and places outside the layer.

        Args:
            levels: How many quantiles there are.
            classes: How many classes, or None.

        Raises:
            ValueError: If there is one.
        """
        units, k = self.values.shape
        expected: list[tuple[NDArray[Any], type, tuple[int, ...]]] = [
            *((each, np.int64, (units,)) for each in (self.counts, self.active, self.ties)),
            (self.means, np.float64, (units,)),
            (self.quantiles, np.float64, (units, levels)),
            (self.dead, np.bool_, (units,)),
        ]
        if self.class_means is not None:
            expected.append((self.class_means, np.float64, (units, -1 if classes is None else classes)))
        elif classes is not None:
            raise ValueError("class_means are missing")
        if any(held.dtype != kind or held.shape != shape for held, kind, shape in expected):
            raise ValueError("an array is of another shape or type")
        _ensure_within(self.values, self.images, self.positions, self.grid, (units, k))
        if self.samples is not None:
            most = self.samples.values.shape[-1]
            drawn = self.samples.values, self.samples.images, self.samples.positions
            _ensure_within(*drawn, self.grid, (units, DECILES, most))


def _ensure_within(
    values: NDArray[Any], images: NDArray[Any], positions: NDArray[Any], grid: Size, shape: tuple[int, ...]
) -> None:
    """Refuse values, numbers and places of another shape or type, and places outside a grid.

    Raises:
        ValueError: If there is one.
    """
    kinds = (values, np.float32, shape), (images, np.int64, shape), (positions, np.int32, (*shape, len(grid)))
    if min(shape) < 1 or any(held.dtype != kind or held.shape != wanted for held, kind, wanted in kinds):
        raise ValueError("an array is of another shape or type")
    shown = images != NO_IMAGE
    places = positions[shown]
    if not np.array_equal(shown, np.isfinite(values)) or (images[shown] < 0).any():
        raise ValueError("a value has no image, or an image no value")
    if (places < 0).any() or (places >= np.array(grid)).any():
        raise ValueError("a place lies outside the layer")


ARRAYS = tuple(each.name for each in fields(LayerIndex))[3:-2]
SAMPLED = tuple(each.name for each in fields(Samples))


@dataclass(frozen=True, eq=False)
class PatchIndex:
    """Where in a data set every unit of some layers responds most.

    Attributes:
        layers: What was found, by the layer's name, in the order that they were asked for.
        keys: Keys of the data set's pictures by number: of all that occur in the layers.
        classes: Names of the data set's classes; None for one without.
        class_counts: ``(K,)`` int64: pictures of each class that could be read; None without classes.
        levels: The quantiles' levels, between 0 and 1.
        images: How many pictures could be read.
        failures: Pictures that could not.
        manifest: What was asked, and of what: network, preprocessing, data set, blocks, threads, versions.
    """

    layers: Mapping[str, LayerIndex]
    keys: Mapping[int, str] = field(repr=False)
    classes: tuple[str, ...] | None
    class_counts: NDArray[np.int64] | None = field(repr=False)
    levels: tuple[float, ...]
    images: int
    failures: tuple[Failure, ...] = field(repr=False)
    manifest: Mapping[str, Any] = field(repr=False)

    @property
    def complete(self) -> bool:
        """Whether every picture that could not be read never can be."""
        return not any(failure.passing for failure in self.failures)

    def layer(self, name: str) -> LayerIndex:
        """What was found for one layer.

        Raises:
            UnknownNameError: If the index has none of that name.
        """
        if name not in self.layers:
            raise UnknownNameError("layer", name, self.layers, f"The index holds {', '.join(self.layers)}.")
        return self.layers[name]

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Write ``index.safetensors`` into a folder, whole or not at all; equal indexes give equal bytes.

        Raises:
            OutputError: If it cannot be written.
        """
        arrays: dict[str, NDArray[Any]] = {}
        for number, layer in enumerate(self.layers.values()):
            arrays |= {f"{number}.{name}": getattr(layer, name) for name in ARRAYS}
            if layer.class_means is not None:
                arrays[f"{number}.class_means"] = layer.class_means
            if layer.samples is not None:
                arrays |= {f"{number}.samples.{name}": getattr(layer.samples, name) for name in SAMPLED}
        if self.class_counts is not None:
            arrays["class_counts"] = self.class_counts
        path = Path(folder) / INDEX_FILE
        write_record(path, arrays, self._record())
        return path

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> PatchIndex:
        """The index that a folder holds.

        Raises:
            OutputError: If there is none, it is damaged, or of a later layout.
        """
        path = Path(folder) / INDEX_FILE
        if not path.is_file():
            raise OutputError(f"'{folder}' holds no index of patches ({INDEX_FILE}); a scan that is done writes one.")
        arrays, record = read_record(path)
        if record.get("layout") != LAYOUT:
            raise OutputError(f"'{path}' has layout {record.get('layout')}; this version reads {LAYOUT}.")
        try:
            return cls._of(arrays, record)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise OutputError(f"'{path}' is damaged, or not a file that cnnviz wrote.") from error

    @classmethod
    def _of(cls, arrays: Mapping[str, NDArray[Any]], record: Mapping[str, Any]) -> PatchIndex:
        layers = [_read_layer(number, told, arrays) for number, told in enumerate(record["layers"])]
        found = cls(
            layers=MappingProxyType({layer.name: layer for layer in layers}),
            keys=MappingProxyType({int(number): str(key) for number, key in record["keys"].items()}),
            classes=None if record["classes"] is None else tuple(map(str, record["classes"])),
            class_counts=arrays.get("class_counts"),
            levels=tuple(map(float, record["levels"])),
            images=int(record["images"]),
            failures=tuple(
                Failure(str(key), str(sentence), bool(passing)) for key, sentence, *passing in record["failures"]
            ),
            manifest=MappingProxyType(dict(record["manifest"])),
        )
        found.ensure_sound()
        return found

    def ensure_sound(self) -> None:
        """Refuse arrays that do not go together, places outside a layer, and images without a name.

        Raises:
            ValueError: If there is one.
        """
        classes = None if self.classes is None else len(self.classes)
        counted = None if self.class_counts is None else self.class_counts.shape
        if counted != (None if classes is None else (classes,)):
            raise ValueError("class_counts are not one for each class")
        for layer in self.layers.values():
            layer.ensure_sound(len(self.levels), classes)
            drawn = layer.images if layer.samples is None else np.append(layer.images, layer.samples.images)
            if not self.keys.keys() >= set(np.unique(drawn[drawn != NO_IMAGE]).tolist()):
                raise ValueError("an image has no name")

    def describe(self) -> dict[str, Any]:
        """What there is to say in short, as plain values."""
        return {
            "images": self.images,
            "failures": [{"key": each.key, "sentence": each.sentence} for each in self.failures],
            "layers": [
                {"layer": layer.name, "units": len(layer), "ranked": layer.ranked, "dead": int(layer.dead.sum())}
                for layer in self.layers.values()
            ],
            "manifest": dict(self.manifest),
        }

    def _record(self) -> dict[str, Any]:
        layers = self.layers.values()
        return {
            "layout": LAYOUT,
            "layers": [{"name": each.name, "ranked": each.ranked, "grid": list(each.grid)} for each in layers],
            "keys": {str(number): key for number, key in self.keys.items()},
            "classes": None if self.classes is None else list(self.classes),
            "levels": list(self.levels),
            "images": self.images,
            "failures": [[each.key, each.sentence, *([True] if each.passing else [])] for each in self.failures],
            "manifest": dict(self.manifest),
        }


def _read_layer(number: int, told: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> LayerIndex:
    sampled = {name: arrays.get(f"{number}.samples.{name}") for name in SAMPLED}
    held: dict[str, Any] = {name: arrays[f"{number}.{name}"] for name in ARRAYS}
    return LayerIndex(
        str(told["name"]),
        str(told["ranked"]),
        tuple(map(int, told["grid"])),
        **held,
        class_means=arrays.get(f"{number}.class_means"),
        samples=Samples(**sampled) if any(each is not None for each in sampled.values()) else None,  # type: ignore[arg-type]
    )
