"""Clusters: closed forms of the graph, its Laplacian and the eigengap, and scikit-learn as an oracle."""

from __future__ import annotations

import numpy as np
import pytest

from cnnviz.auditing.shortcuts import clusters
from cnnviz.auditing.shortcuts.clusters import cluster, eigengap, neighbour_graph, normalised_laplacian, shrink
from cnnviz.errors import MissingExtraError


def test_a_paths_laplacian_has_the_eigenvalues_0_1_and_2():
    path = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], float)
    assert np.allclose(np.linalg.eigvalsh(normalised_laplacian(path)), [0, 1, 2], atol=1e-12)


def test_two_cliques_have_two_eigenvalues_of_0_and_the_rest_at_n_over_n_less_1():
    clique = np.ones((4, 4)) - np.eye(4)
    both = np.block([[clique, np.zeros((4, 4))], [np.zeros((4, 4)), clique]])
    values = np.linalg.eigvalsh(normalised_laplacian(both))
    assert np.allclose(values, [0, 0] + [4 / 3] * 6, atol=1e-12)
    assert eigengap(values) == 2


@pytest.mark.parametrize(
    ("values", "fewest", "count"),
    [([0, 0.5, 0.6, 0.7], 1, 1), ([0, 0.1, 0.2, 0.9], 1, 3), ([0, 0.5, 0.6, 0.8], 2, 3), ([0, 0.2, 0.4], 1, 1)],
)
def test_the_largest_eigengap_counts(values, fewest, count):
    assert eigengap(np.array(values), fewest) == count


def test_neighbours_are_those_of_a_brute_force_search():
    rows = np.random.default_rng(0).normal(size=(30, 4))
    distances = np.linalg.norm(rows[:, None] - rows, axis=2) + np.diag(np.full(30, np.inf))
    wanted = np.zeros((30, 30))
    for row, near in enumerate(np.argsort(distances, axis=1)[:, :5]):
        wanted[row, near] = 1
    assert np.array_equal(neighbour_graph(rows), np.maximum(wanted, wanted.T))


def test_groups_that_lie_apart_are_found_and_ordered_by_size():
    rng = np.random.default_rng(1)
    truth = np.array([0] * 12 + [1] * 20 + [2] * 15)
    rows = np.eye(3)[truth] + rng.normal(scale=0.02, size=(47, 3))
    found = cluster(rows)
    assert found.count == 3
    assert np.array_equal(found.labels, np.array([2, 0, 1])[truth])
    assert np.allclose(found.eigenvalues[:3], 0, atol=1e-9)
    assert found.gap == pytest.approx(found.eigenvalues[3])
    assert found.gap > 0.1


@pytest.mark.filterwarnings("ignore:Graph is not fully connected")
def test_clusters_are_those_of_scikit_learns_spectral_clustering():
    from sklearn.cluster import SpectralClustering
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(2)
    rows = np.concatenate([rng.normal(at, 0.25, (25, 6)) for at in np.eye(6)[:3] * 4])
    found = cluster(rows)
    theirs = SpectralClustering(found.count, affinity="precomputed", random_state=0).fit(neighbour_graph(rows))
    assert found.count == 3
    assert adjusted_rand_score(found.labels, theirs.labels_) == 1


def test_few_maps_are_one_cluster_and_several_can_be_asked_for():
    rows = np.random.default_rng(3).normal(size=(9, 2))
    assert cluster(rows).count == 1
    assert not len(cluster(rows).eigenvalues)
    ring = np.array([(np.cos(a), np.sin(a)) for a in np.linspace(0, 2 * np.pi, 40, endpoint=False)])
    assert cluster(ring, fewest=2).count >= 2


def test_maps_are_averaged_rectified_and_of_length_1():
    maps = np.zeros((3, 4, 4), np.float32)
    maps[0, :2, :2] = [[1, 3], [np.nan, 4]]
    maps[1] = -1
    maps[2, 2:, 2:] = 7
    rows = shrink(maps, side=2)
    assert np.allclose(rows, [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]])
    assert np.allclose(shrink(maps)[0, [0, 1, 5]], np.array([1, 3, 4]) / np.sqrt(26))


def test_without_scikit_learn_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(clusters, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"cnnviz\[data\]"):
        cluster(np.zeros((12, 2)))
