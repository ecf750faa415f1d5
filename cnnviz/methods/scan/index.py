"""The index: everything that the shards counted, added up, and random samples from every tenth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.dimensions import Size
from cnnviz.engine.tally.tally import Tally, TopK, quantiles
from cnnviz.errors import PictureError
from cnnviz.methods.scan.manifest import Manifest
from cnnviz.results.patch_index import DECILES, NO_IMAGE, Failure, LayerIndex, PatchIndex, Samples

__all__ = ["finish_index", "draw_from_tenths", "choose_sample"]

POOL = 10
"""How many times as many images are looked at as are shown."""

AT_ONCE = 1 << 16
GOLDEN, FIRST, SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def hash_numbers(numbers: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """A hash of each number and the seed: SplitMix64 (Steele, Lea and Flood, 2014)."""
    with np.errstate(over="ignore"):
        start = np.array([seed], np.uint64) * FIRST
        mixed = (numbers.astype(np.uint64) + np.uint64(1)) * GOLDEN ^ start
        mixed = (mixed ^ (mixed >> np.uint64(30))) * FIRST
        mixed = (mixed ^ (mixed >> np.uint64(27))) * SECOND
        result: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return result


def choose_sample(count: int, samples: int, seed: int) -> NDArray[np.int64]:
    """The numbers, ascending, of the images that samples are drawn from: those with the smallest hashes.

    Args:
        count: How many images there are.
        samples: How many are drawn from every tenth.
        seed: Another seed draws others.
    """
    size = samples * DECILES * POOL
    kept = np.zeros(0, np.int64)
    for start in range(0, count if size else 0, AT_ONCE):
        kept = np.concatenate([kept, np.arange(start, min(start + AT_ONCE, count))])
        kept = kept[np.lexsort((kept, hash_numbers(kept, seed)))][:size]
    return np.sort(kept)


def draw_from_tenths(
    sample: Sequence[tuple[int, NDArray[np.float32], NDArray[np.int32]]], units: slice, samples: int, seed: int
) -> TopK | None:
    """From every tenth of each unit's range over the sample, the images with the smallest hashes of number and unit.

    Args:
        sample: Number, values and places of every image of the sample.
        units: Which units.
        samples: How many from every tenth; with none, the answer is None.
        seed: Of the hashes.

    Returns:
        Entries ``(U, 10 * samples)``, the lowest tenth first, and in each the highest value first.
    """
    if not samples:
        return None
    images = np.array([number for number, _, _ in sample], np.int64)
    shape = len(images), units.stop - units.start
    values = np.array([each[units] for _, each, _ in sample], np.float32).reshape(shape)
    places = np.array([each[units] for _, _, each in sample], np.int32).reshape(shape)
    numbers = np.broadcast_to(images[:, None], shape)
    chances = _hash_pairs(images, shape[1], seed)
    found = TopK.empty(shape[1], DECILES * samples)
    order = np.lexsort((numbers, values), axis=0)
    bounds = np.linspace(0, len(images), DECILES + 1).round().astype(int)
    for tenth in range(DECILES):
        rows = order[bounds[tenth] : bounds[tenth + 1]]
        lucky = np.argsort(np.take_along_axis(chances, rows, axis=0), axis=0, kind="stable")[:samples]
        rows = np.take_along_axis(rows, lucky, axis=0)
        sinking = np.lexsort((images[rows], -np.take_along_axis(values, rows, axis=0)), axis=0)
        rows = np.take_along_axis(rows, sinking, axis=0)
        place = slice(tenth * samples, tenth * samples + len(rows))
        for held, given in ((found.values, values), (found.images, numbers), (found.places, places)):
            held[:, place] = np.take_along_axis(given, rows, axis=0).T
    return found


def _hash_pairs(images: NDArray[np.int64], units: int, seed: int) -> NDArray[np.uint64]:
    """``(n, U)``: a hash of seed, image and unit."""
    both = hash_numbers(images, seed)[:, None] ^ hash_numbers(np.arange(units), seed + 1)[None]
    return hash_numbers(both.view(np.int64), seed)


LEVELS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995)


def finish_index(tallies: Iterable[Tally], manifest: Manifest) -> PatchIndex:
    """The index of all that shards counted.

    Args:
        tallies: The shards in their order.
        manifest: What they are of.

    Raises:
        PictureError: If not one image could be read.
    """
    units = sum(layer["units"] for layer in manifest["layers"])
    several = iter(tallies)
    first = next(several)  # before there is room for all units: a damaged manifest may speak of any number of them
    total = Tally.empty(units, manifest["k"])
    for tally in chain([first], several):
        total.absorb_tally(tally)
    failures = tuple(
        Failure(total.keys[image], sentence, image in total.passing) for image, sentence in sorted(total.failures)
    )
    if not total.images:
        raise PictureError(f"No picture of the data set could be used. The first: {failures[0].sentence}")
    layers = {layer.name: layer for layer in _layer_indexes(total, manifest)}
    classes = manifest["classes"]
    return PatchIndex(
        layers=MappingProxyType(layers),
        keys=MappingProxyType(_keys_of_shown(layers.values(), total.keys)),
        classes=None if classes is None else tuple(classes),
        class_counts=None if classes is None else _count_classes(total, len(classes)),
        levels=LEVELS,
        images=total.images,
        failures=failures,
        manifest=manifest.held,
    )


def _layer_indexes(total: Tally, manifest: Manifest) -> Iterator[LayerIndex]:
    classes = manifest["classes"]
    class_means = None if classes is None else _average_classes(total, len(classes))
    first = 0
    for layer in manifest["layers"]:
        some = slice(first, first + layer["units"])
        first = some.stop
        grid = tuple(layer["grid"])
        samples = draw_from_tenths(total.sample, some, manifest["samples"], manifest["seed"])
        yield LayerIndex(
            name=layer["name"],
            ranked=layer["ranked"],
            grid=grid,
            values=np.where(total.top.held[some], total.top.values[some], np.float32(np.nan)),
            images=np.where(total.top.held[some], total.top.images[some], NO_IMAGE),
            positions=_lay_out_places(total.top.places[some], grid),
            counts=np.full(layer["units"], total.images, np.int64),
            active=total.active[some].copy(),
            means=total.sums[some] / total.images,
            quantiles=quantiles(total.histogram[some], total.lowest[some], total.highest[some], LEVELS),
            ties=total.ties[some].copy(),
            dead=_find_dead(total, some, signless=layer["signless"]),
            class_means=None if class_means is None else class_means[some],
            samples=None if samples is None else _lay_out_samples(samples, grid),
        )


def _find_dead(total: Tally, some: slice, *, signless: bool) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = (total.lowest[some] == total.highest[some]) & (total.images > 1)
    return same if signless else same | np.equal(total.active[some], 0)


def _count_classes(total: Tally, classes: int) -> NDArray[np.int64]:
    return np.array([total.class_counts.get(label, 0) for label in range(classes)], np.int64)


def _average_classes(total: Tally, classes: int) -> NDArray[np.float64]:
    means = np.full((len(total.sums), classes), np.nan)
    for label, sums in total.class_sums.items():
        means[:, label] = sums / total.class_counts[label]
    return means


def _lay_out_samples(drawn: TopK, grid: Size) -> Samples:
    shape = (len(drawn.values), DECILES, -1)
    values = np.where(drawn.held, drawn.values, np.float32(np.nan)).reshape(shape)
    images = np.where(drawn.held, drawn.images, NO_IMAGE).reshape(shape)
    return Samples(values, images, _lay_out_places(drawn.places, grid).reshape(*shape, len(grid)))


def _lay_out_places(places: NDArray[np.int32], grid: Size) -> NDArray[np.int32]:
    """A place for each number ``(...)`` that counts a map's places, ``(..., axes)``: of pictures row and column."""
    along = np.stack(np.unravel_index(places.clip(0), grid), axis=-1).astype(np.int32)
    return np.where(places[..., None] < 0, np.int32(-1), along)


def _keys_of_shown(layers: Iterable[LayerIndex], keys: Mapping[int, str]) -> dict[int, str]:
    found: set[int] = set()
    for layer in layers:
        for images in (layer.images, layer.samples.images if layer.samples else layer.images[:0]):
            found.update(np.unique(images).tolist())
    return {number: keys[number] for number in sorted(found - {NO_IMAGE})}
