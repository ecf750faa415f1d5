"""Labels in doubt by the definition, near-duplicates that were put in, and evidence by closed form."""

from __future__ import annotations

import numpy as np
import pytest

from cnnviz.auditing.doubts import find_doubts, find_duplicates
from cnnviz.auditing.frame import FRAME, on_frame, overlap, spread_rows
from cnnviz.auditing.outcomes import Outcomes
from cnnviz.core.sample import Geometry


def outcomes_of(shares: np.ndarray, truth: np.ndarray, embeddings=None, prints=None, digests=None) -> Outcomes:
    """What a network with these probabilities would be counted as."""
    number, classes = shares.shape
    order = np.argsort(-shares, axis=1, kind="stable")
    held = np.take_along_axis(shares, order, axis=1)[:, :5]
    return Outcomes(
        np.arange(number), truth, order[:, :5], held.astype(np.float32),
        shares[np.arange(number), truth].astype(np.float32), (order == truth[:, None]).argmax(axis=1),
        np.arange(number), np.log(shares).astype(np.float32),
        np.zeros((number, 4), np.float16) if embeddings is None else embeddings,
        np.zeros((number, 256), np.float16) if prints is None else prints,
        np.array([f"{index}".encode() for index in range(number)]) if digests is None else digests,
        (), "layer", classes, 8,
    )  # fmt: skip


def test_labels_in_doubt_are_those_beside_the_diagonal_of_the_confident_joint():
    rng = np.random.default_rng(3)
    shares = rng.dirichlet(np.full(5, 0.4), 300)
    truth = np.where(rng.random(300) < 0.8, shares.argmax(axis=1), rng.integers(0, 5, 300))
    found = find_doubts(outcomes_of(shares, truth))
    low = shares.astype(np.float32)
    thresholds = np.array([low[truth == index, index].mean(dtype=np.float64) for index in range(5)])
    expected = {}
    for row in range(300):
        reached = [index for index in range(5) if low[row, index] >= thresholds[index]]
        if reached:
            named = max(reached, key=lambda index: low[row, index])
            if named != truth[row]:
                expected[row] = named
    assert found.thresholds == pytest.approx(thresholds)
    assert dict(zip(found.rows.tolist(), found.classes.tolist(), strict=True)) == expected
    assert len(expected) > 20
    assert (np.diff(found.margins) <= 0).all()


def test_a_class_with_one_picture_puts_no_label_in_doubt():
    shares = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]])
    assert len(find_doubts(outcomes_of(shares, np.array([0, 0, 1])))) == 0
    assert find_doubts(outcomes_of(shares, np.array([0, 1, 1]))).rows.tolist() == []


def prints_of(pictures: np.ndarray) -> np.ndarray:
    flat = pictures.reshape(len(pictures), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return (flat / np.linalg.norm(flat, axis=1, keepdims=True)).astype(np.float16)


def test_copies_across_classes_are_found_and_told_apart_by_their_kind():
    rng = np.random.default_rng(0)
    pictures = rng.normal(size=(12, 16, 16))
    pictures[6] = pictures[0]
    pictures[7] = pictures[1] + 0.02 * rng.normal(size=(16, 16))
    pictures[8] = pictures[2][:, ::-1]
    pictures[9] = pictures[3] + 0.5 * rng.normal(size=(16, 16))
    pictures[10] = pictures[4]
    embeddings = rng.normal(size=(12, 64))
    embeddings[9] = embeddings[3]
    embeddings[11] = embeddings[5]
    digests = np.array([bytes([1 + index]) for index in range(12)])
    digests[6], digests[10] = digests[0], digests[4]
    truth = np.array([0] * 6 + [1, 1, 1, 1, 0, 1])
    shares = np.full((12, 2), 0.5)
    found = find_duplicates(
        outcomes_of(shares, truth, (embeddings / 8).astype(np.float16), prints_of(pictures), digests)
    )
    assert [(each.kind, each.first, each.second) for each in found.pairs] == [
        ("identical", 0, 6), ("near copy", 1, 7), ("mirrored", 2, 8), ("alike", 3, 9),
    ]  # fmt: skip
    assert found.across == {"identical": 1, "near copy": 1, "mirrored": 1, "alike": 1}
    assert found.within == {"identical": 1, "near copy": 0, "mirrored": 0, "alike": 0}
    assert found.whole


def test_pictures_of_several_blocks_are_compared_too(monkeypatch):
    monkeypatch.setattr("cnnviz.auditing.doubts.AT_ONCE", 24)
    test_copies_across_classes_are_found_and_told_apart_by_their_kind()


def test_too_many_pictures_are_compared_within_their_answer(monkeypatch):
    monkeypatch.setattr("cnnviz.auditing.doubts.MOST_COMPARED", 3)
    prints = prints_of(np.random.default_rng(0).normal(size=(4, 16, 16))[[0, 0, 0, 1]])
    shares = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1]])
    found = find_duplicates(outcomes_of(shares, np.array([0, 1, 1, 0]), prints=prints))
    assert not found.whole
    assert [(each.first, each.second) for each in found.pairs] == [(0, 1)]


def test_evidence_keeps_its_sum_on_the_frame_of_the_picture():
    values = np.random.default_rng(0).random((7, 7)).astype(np.float32)
    inside = Geometry((300, 400), (224, 299), (40, 60, 150, 150))
    assert on_frame(values, inside).sum() == pytest.approx(float(values.sum()), rel=1e-6)
    padded = Geometry((100, 100), (10, 10), (-5, -5, 20, 20))
    even = np.ones((20, 20), np.float32)
    assert on_frame(even, padded).sum() == pytest.approx(100)


def test_a_cut_lies_on_the_frame_where_it_was_cut():
    """The right half of the picture, with all evidence in its top left pixel."""
    values = np.zeros((2, 2), np.float32)
    values[0, 0] = 1
    placed = on_frame(values, Geometry((80, 80), (4, 4), (0, 2, 2, 2)))
    rows, columns = np.nonzero(placed)
    assert (rows.min(), rows.max()) == (0, FRAME // 4 - 1)
    assert (columns.min(), columns.max()) == (FRAME // 2, FRAME // 2 + FRAME // 4 - 1)
    assert placed[placed > 0] == pytest.approx(1 / (FRAME // 4) ** 2)


def test_overlap_is_a_share_of_each_pixel():
    assert overlap(2, 4.0, (1.0, 5.0), 2).tolist() == [[0.5, 0.0], [0.5, 0.5]]


def test_rows_are_spread_over_the_classes():
    classes = np.array([0] * 90 + [1] * 6 + [2] * 2)
    rows = spread_rows(classes, 11, seed=0)
    assert np.bincount(classes[rows]).tolist() == [5, 4, 2]
    assert (np.diff(rows) > 0).all()
    assert spread_rows(classes, 1000, seed=0).tolist() == list(range(98))
