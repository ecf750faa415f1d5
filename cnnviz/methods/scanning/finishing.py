"""From shards to the index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cnnviz.errors import PictureError
from cnnviz.methods.scanning.manifest import Manifest
from cnnviz.methods.scanning.sampling import drawn_from_tenths
from cnnviz.probing.bins import quantiles
from cnnviz.probing.tally import Tally
from cnnviz.probing.topk import TopK
from cnnviz.results.patch_index import DECILES, NO_IMAGE, Failure, LayerIndex, PatchIndex, Samples

__all__ = ["finish"]

LEVELS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995)


def finish(tallies: Iterable[Tally], manifest: Manifest) -> PatchIndex:
    """The index of all that shards counted.

    Args:
        tallies: The shards in their order.
        manifest: What they are of.

    Raises:
        PictureError: If not one image could be read.
    """
    units = sum(layer["units"] for layer in manifest["layers"])
    total = Tally.empty(units, manifest["k"])
    for tally in tallies:
        total.absorb_tally(tally)
    failures = tuple(Failure(total.keys[image], sentence) for image, sentence in sorted(total.failures))
    if not total.images:
        raise PictureError(f"No picture of the data set could be used. The first: {failures[0].sentence}")
    layers = {layer.name: layer for layer in _layers(total, manifest)}
    classes = manifest["classes"]
    return PatchIndex(
        layers=MappingProxyType(layers),
        keys=MappingProxyType(_keys(layers.values(), total.keys)),
        classes=None if classes is None else tuple(classes),
        class_counts=None if classes is None else _class_counts(total, len(classes)),
        levels=LEVELS,
        images=total.images,
        failures=failures,
        manifest=manifest.held,
    )


def _layers(total: Tally, manifest: Manifest) -> Iterator[LayerIndex]:
    classes = manifest["classes"]
    class_means = None if classes is None else _class_means(total, len(classes))
    first = 0
    for layer in manifest["layers"]:
        some = slice(first, first + layer["units"])
        first = some.stop
        columns = layer["grid"][1]
        samples = drawn_from_tenths(total.sample, some, manifest["samples"], manifest["seed"])
        yield LayerIndex(
            name=layer["name"],
            ranked=layer["ranked"],
            grid=(layer["grid"][0], columns),
            values=np.where(total.top.held[some], total.top.values[some], np.float32(np.nan)),
            images=np.where(total.top.held[some], total.top.images[some], NO_IMAGE),
            positions=_positions(total.top.places[some], columns),
            counts=np.full(layer["units"], total.images, np.int64),
            active=total.active[some].copy(),
            means=total.sums[some] / total.images,
            quantiles=quantiles(total.histogram[some], total.lowest[some], total.highest[some], LEVELS),
            ties=total.ties[some].copy(),
            dead=_dead(total, some, signless=layer["signless"]),
            class_means=None if class_means is None else class_means[some],
            samples=None if samples is None else _samples(samples, columns),
        )


def _dead(total: Tally, some: slice, *, signless: bool) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = (total.lowest[some] == total.highest[some]) & (total.images > 1)
    return same if signless else same | np.equal(total.active[some], 0)


def _class_counts(total: Tally, classes: int) -> NDArray[np.int64]:
    return np.array([total.class_counts.get(label, 0) for label in range(classes)], np.int64)


def _class_means(total: Tally, classes: int) -> NDArray[np.float64]:
    means = np.full((len(total.sums), classes), np.nan)
    for label, sums in total.class_sums.items():
        means[:, label] = sums / total.class_counts[label]
    return means


def _samples(drawn: TopK, columns: int) -> Samples:
    shape = (len(drawn.values), DECILES, -1)
    values = np.where(drawn.held, drawn.values, np.float32(np.nan)).reshape(shape)
    images = np.where(drawn.held, drawn.images, NO_IMAGE).reshape(shape)
    return Samples(values, images, _positions(drawn.places, columns).reshape(*shape, 2))


def _positions(places: NDArray[np.int32], columns: int) -> NDArray[np.int32]:
    rows = np.stack([places // columns, places % columns], axis=-1).astype(np.int32)
    return np.where(places[..., None] < 0, np.int32(-1), rows)


def _keys(layers: Iterable[LayerIndex], keys: Mapping[int, str]) -> dict[int, str]:
    found: set[int] = set()
    for layer in layers:
        for images in (layer.images, layer.samples.images if layer.samples else layer.images[:0]):
            found.update(np.unique(images).tolist())
    return {number: keys[number] for number in sorted(found - {NO_IMAGE})}
