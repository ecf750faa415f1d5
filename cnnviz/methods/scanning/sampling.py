"""Random images, chosen by a hash of seed and number: the same ones whoever scans them and in whatever order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cnnviz.probing.topk import TopK
from cnnviz.results.patch_index import DECILES

__all__ = ["drawn_from_tenths", "sample_of"]

POOL = 10
"""How many times as many images are looked at as are shown."""

AT_ONCE = 1 << 16
GOLDEN, FIRST, SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def hashed(numbers: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """A hash of each number and the seed: SplitMix64 (Steele, Lea and Flood, 2014)."""
    with np.errstate(over="ignore"):
        start = np.array([seed], np.uint64) * FIRST
        mixed = (numbers.astype(np.uint64) + np.uint64(1)) * GOLDEN ^ start
        mixed = (mixed ^ (mixed >> np.uint64(30))) * FIRST
        mixed = (mixed ^ (mixed >> np.uint64(27))) * SECOND
        result: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return result


def sample_of(count: int, samples: int, seed: int) -> NDArray[np.int64]:
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
        kept = kept[np.lexsort((kept, hashed(kept, seed)))][:size]
    return np.sort(kept)


def drawn_from_tenths(
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
    chances = _chances(images, shape[1], seed)
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


def _chances(images: NDArray[np.int64], units: int, seed: int) -> NDArray[np.uint64]:
    """``(n, U)``: a hash of seed, image and unit."""
    both = hashed(images, seed)[:, None] ^ hashed(np.arange(units), seed + 1)[None]
    return hashed(both.view(np.int64), seed)
