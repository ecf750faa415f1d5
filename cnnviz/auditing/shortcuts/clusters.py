"""Clusters of a class's maps: spectral embedding of a graph of neighbours, their number by the eigengap.

This is the recipe of spectral relevance analysis (Lapuschkin et al., 2019). It needs scikit-learn, the extra ``data``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import numpy as np

from cnnviz.errors import MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "FEWEST",
    "Clustering",
    "cluster",
    "eigengap",
    "neighbour_graph",
    "normalised_laplacian",
    "require_clustering",
    "shrink",
]

SIDE: Final = 16
"""Height and width that larger maps are averaged to."""

MOST_CLUSTERS: Final = 8
FEWEST: Final = 10
"""Pictures that are clustered; of fewer the whole class is the one cluster."""

FEWEST_NEIGHBOURS: Final = 5
STARTS: Final = 10
"""Random starts of k-means, the best of which counts."""


@dataclass(frozen=True, eq=False)
class Clustering:
    """What was found.

    Attributes:
        labels: ``(N,)``: the cluster of each map, from 0, the largest first.
        eigenvalues: The smallest of the normalised Laplacian, ascending, 0 to 2; empty where nothing was clustered.
    """

    labels: NDArray[np.int64]
    eigenvalues: NDArray[np.float64]

    @property
    def count(self) -> int:
        """How many clusters there are."""
        return int(self.labels.max()) + 1

    @property
    def gap(self) -> float:
        """The eigengap that tells their number: how far the eigenvalue after theirs is above the last of theirs."""
        return float(np.diff(self.eigenvalues)[self.count - 1]) if len(self.eigenvalues) > self.count else math.nan


def shrink(maps: NDArray[np.float32], side: int = SIDE) -> NDArray[np.float64]:
    """Positive evidence of maps as rows of length 1, the large ones averaged to fewer places.

    Args:
        maps: ``(N, H, W)``; what is negative, and no number, counts as 0.
        side: Most places across and down.

    Returns:
        ``(N, h w)``; a map without positive evidence is a row of zeros.
    """
    from torch import from_numpy
    from torch.nn.functional import adaptive_avg_pool2d

    positive = np.clip(np.nan_to_num(maps, nan=0.0, posinf=0.0, neginf=0.0), 0, None)
    size = min(side, maps.shape[1]), min(side, maps.shape[2])
    rows = adaptive_avg_pool2d(from_numpy(positive), size).flatten(1).numpy().astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0))


def require_clustering() -> None:
    """Refuse to go on without scikit-learn.

    Raises:
        MissingExtraError: If it is not installed.
    """
    if find_spec("sklearn") is None:
        raise MissingExtraError("Clustering", "data")


def neighbour_graph(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Which rows are among the nearest of each other: ``(N, N)``, symmetric, 1 or 0.

    Each has the natural logarithm of N neighbours, at least 5; two are joined if one of them is the other's neighbour.

    Args:
        rows: ``(N, D)``, N at least 2.

    Raises:
        MissingExtraError: If scikit-learn is not installed.
    """
    require_clustering()
    from sklearn.neighbors import kneighbors_graph

    near = min(len(rows) - 1, max(FEWEST_NEIGHBOURS, round(math.log(len(rows)))))
    one_way = np.asarray(kneighbors_graph(rows, near, include_self=False).toarray(), np.float64)
    return np.maximum(one_way, one_way.T)


def normalised_laplacian(graph: NDArray[np.float64]) -> NDArray[np.float64]:
    """``1 - D^-1/2 A D^-1/2`` of a graph's weights ``A`` with row sums ``D`` (von Luxburg, 2007), ``(N, N)``.

    Args:
        graph: ``(N, N)``, symmetric, no row without a positive weight.
    """
    degrees = np.sqrt(graph.sum(axis=1))
    return np.asarray(np.eye(len(graph)) - graph / np.outer(degrees, degrees))


def eigengap(eigenvalues: NDArray[np.float64], fewest: int = 1) -> int:
    """How many clusters there are: the number of eigenvalues below the largest gap, the first of several alike.

    Args:
        eigenvalues: Ascending, of the normalised Laplacian; more than ``fewest``.
        fewest: Clusters at least.
    """
    return int(np.diff(eigenvalues)[fewest - 1 :].argmax()) + fewest


def cluster(rows: NDArray[np.float64], *, fewest: int = 1, seed: int = 0) -> Clustering:
    """Cluster maps, or what channels add, by the eigengap.

    Args:
        rows: ``(N, D)``, as :func:`shrink` makes them of maps.
        fewest: Clusters at least.
        seed: Of k-means.

    Returns:
        The clusters, at most 8; one, if there are fewer than 10 rows.

    Raises:
        MissingExtraError: If scikit-learn is not installed.
    """
    if len(rows) < FEWEST:
        return Clustering(np.zeros(len(rows), np.int64), np.zeros(0))
    values, vectors = np.linalg.eigh(normalised_laplacian(neighbour_graph(rows)))
    eigenvalues = np.clip(values[: MOST_CLUSTERS + 1], 0, 2)
    number = eigengap(eigenvalues, fewest)
    if number == 1:
        return Clustering(np.zeros(len(rows), np.int64), eigenvalues)
    return Clustering(_by_size(_k_means(vectors[:, :number], number, seed)), eigenvalues)


def _k_means(vectors: NDArray[np.float64], number: int, seed: int) -> NDArray[np.int64]:
    from sklearn.cluster import KMeans

    found = KMeans(number, n_init=STARTS, random_state=seed).fit(vectors)
    return np.asarray(found.labels_, np.int64)


def _by_size(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same clusters, the largest as number 0."""
    _, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    ranks = np.argsort(np.argsort(-counts, kind="stable"), kind="stable")
    return np.asarray(ranks[numbers], np.int64)
