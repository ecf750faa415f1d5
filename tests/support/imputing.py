"""ROAD's linear imputation as its paper writes it down: one equation for each missing pixel, solved directly."""

from __future__ import annotations

import numpy as np

WEIGHTS = {(down, across): 1 / 12 if down and across else 1 / 6
           for down in (-1, 0, 1) for across in (-1, 0, 1) if down or across}  # fmt: skip


def equations(picture: np.ndarray, missing: np.ndarray):
    """Rows, columns and values of the matrix's entries, and the right sides ``(missing pixels, C)``.

    Args:
        picture: ``(C, H, W)``.
        missing: ``(H, W)``.
    """
    count = missing.sum()
    number = np.pad(np.where(missing, np.cumsum(missing).reshape(missing.shape) - 1, -1), 1, constant_values=-2)
    around = np.pad(picture, ((0, 0), (1, 1), (1, 1)))
    rows, columns = (each + 1 for each in np.nonzero(missing))
    own, total, right = np.arange(count), np.zeros(count), np.zeros((count, len(picture)))
    entries = []
    for (down, across), weight in WEIGHTS.items():
        there = rows + down, columns + across
        other = number[there]
        total += weight * (other != -2)
        right += weight * np.where(other == -1, around[:, *there], 0).T
        entries.append((own[other >= 0], other[other >= 0], np.full((other >= 0).sum(), -weight)))
    entries.append((own, own, total))
    return *(np.concatenate(each) for each in zip(*entries, strict=True)), right


def impute_densely(picture: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """The picture with what is missing imputed."""
    rows, columns, values, right = equations(picture, missing)
    matrix = np.zeros((len(right), len(right)))
    matrix[rows, columns] = values
    return _filled(picture, missing, np.linalg.solve(matrix, right))


def impute_sparsely(picture: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """The same by SciPy's sparse direct solver."""
    from scipy.sparse import csc_matrix
    from scipy.sparse.linalg import splu

    rows, columns, values, right = equations(picture, missing)
    return _filled(picture, missing, splu(csc_matrix((values, (rows, columns)), shape=[len(right)] * 2)).solve(right))


def _filled(picture: np.ndarray, missing: np.ndarray, found: np.ndarray) -> np.ndarray:
    filled = picture.copy()
    filled[:, missing] = found.T
    return filled
