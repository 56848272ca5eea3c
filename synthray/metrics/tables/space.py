"""Rows as points: numbers standardised, categories one-hot, so that distances mean something.

A number counts as its distance from the real mean in real standard deviations. Two different
categories are 1 apart, as are a number and a missing one beside the number's own deviation. The
squared distance of rows is the sum over their columns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from synthray.metrics.tables.columns import Compared, Frame

MOST_CATEGORIES = 256
"""Categories of a column that are told apart, the most frequent; all others are one."""


class RowSpace:
    """The space of one evaluation.

    Args:
        real: the rows that set the scale.
    """

    def __init__(self, real: Frame) -> None:
        self._scales = {c.name: _scale(real[c.name]) for c in real.columns if c.numeric}

    def points(self, frame: Frame) -> NDArray[np.float64]:
        """float64 [rows, dimensions]; the same dimensions for all frames of one evaluation."""
        parts = []
        for column in frame.columns:
            if column.numeric:
                mean, deviation = self._scales[column.name]
                x = (frame[column.name] - mean) / deviation
                gone = np.isnan(x)
                parts.append(np.stack([np.where(gone, 0.0, x), gone], axis=1))
            else:
                parts.append(_one_hot(frame[column.name], column))
        return np.concatenate(parts, axis=1)


def nearest(
    points: NDArray[np.float64], among: NDArray[np.float64], k: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distances to the k nearest of ``among``, ascending, and which they are: [points, k] each."""
    from sklearn.neighbors import NearestNeighbors  # slow to import

    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(among)
    with threadpool_limits(limits=1):  # as everywhere: the same order of sums, no waiting
        index = search.kneighbors(points, return_distance=False)
    # Found by matrix products, which leave equal rows about 1e-7 apart: computed anew from the
    # differences, they are 0 apart.
    found = np.empty(index.shape)
    for j in range(k):
        found[:, j] = np.linalg.norm(points - among[index[:, j]], axis=1)
    order = np.argsort(found, axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(index, order, axis=1)


def _scale(x: NDArray[np.float64]) -> tuple[float, float]:
    known = x[~np.isnan(x)]
    if not len(known):
        return 0.0, 1.0
    # The deviation of equal numbers is not always 0 after rounding.
    constant = known.min() == known.max()
    return float(known.mean()), 1.0 if constant else float(known.std())


def _one_hot(codes: NDArray[np.int64], column: Compared) -> NDArray[np.float64]:
    width = min(len(column.values), MOST_CATEGORIES) + 2
    hot = np.zeros((len(codes), width))
    # Missing is -1, the last dimension; the rare ones share the one before.
    hot[np.arange(len(codes)), np.minimum(codes, width - 2)] = np.sqrt(0.5)
    return hot
