"""What a scan counts is what counting everything at once gives, however the images are shared out."""

from __future__ import annotations

import numpy as np
import pytest

from cnnviz.engine.tally.tally import BlockPeaks, Tally

COUNT, UNITS = 24, 5


def peaks():
    """Few values, so that ties and zeros are many; the last unit is never above zero."""
    random = np.random.default_rng(2)
    values = random.integers(-2, 3, (COUNT, UNITS)).astype(np.float32)
    values[:, -1] = np.minimum(values[:, -1], 0)
    labels = random.integers(-1, 3, COUNT).astype(np.int32)
    return BlockPeaks(values, np.zeros((COUNT, UNITS), np.int32), np.arange(COUNT), labels, np.arange(COUNT) % 5 == 0)


def part(whole, rows):
    return BlockPeaks(
        whole.values[rows], whole.places[rows], whole.images[rows], whole.labels[rows], whole.sampled[rows]
    )


def tally(whole, *parts):
    found = Tally.empty(UNITS, 3)
    for rows in parts:
        found.absorb(part(whole, rows))
    found.keys = {image: f"{image}.png" for image in found.occurring()}
    return found


CUTS = {
    "at once": lambda whole: tally(whole, slice(0, COUNT)),
    "block by block": lambda whole: tally(whole, slice(0, 7), slice(7, 8), slice(8, COUNT)),
    "shard by shard": lambda whole: joined(whole, slice(0, 5), slice(5, 17), slice(17, COUNT)),
}


def joined(whole, *shards):
    found = Tally.empty(UNITS, 3)
    for rows in shards:
        found.absorb_tally(tally(whole, rows))
    return found


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_it_counts_what_there_is(cut):
    whole = peaks()
    found = cut(whole)
    assert found.images == COUNT
    assert found.highest.tolist() == whole.values.max(axis=0).tolist()
    assert found.lowest.tolist() == whole.values.min(axis=0).tolist()
    assert found.ties.tolist() == (whole.values == whole.values.max(axis=0)).sum(axis=0).tolist()
    assert found.active.tolist() == (whole.values > 0).sum(axis=0).tolist()
    assert found.active[-1] == 0
    assert found.sums.tolist() == whole.values.sum(axis=0).tolist()
    assert found.histogram.sum(axis=1).tolist() == [COUNT] * UNITS
    assert [number for number, _, _ in found.sample] == whole.images[whole.sampled].tolist()
    for label in range(3):
        rows = whole.labels == label
        assert found.class_counts[label] == rows.sum()
        assert found.class_sums[label].tolist() == whole.values[rows].sum(axis=0).tolist()
    assert set(found.class_counts) == {0, 1, 2}
    assert found.keys == {image: f"{image}.png" for image in found.occurring()}
