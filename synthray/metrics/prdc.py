"""Precision, recall, density and coverage, by balls around nearest neighbours.

Precision and recall: Kynkäänniemi et al. 2019 (arXiv 1904.06991). Density and coverage: Naeem et
al. 2020 (arXiv 2002.09797), equations 5 and 6. As in Naeem's package `prdc`: k = 5, the row
itself is not its own neighbour, and a point is inside a ball when strictly nearer than its radius.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthray.errors import UsageError
from synthray.metrics.base import Features, enough_rows, same_dim, some_rows
from synthray.metrics.sample import Sample, Subsample

# Rows per block of the distance matrix: 40 MB against 10,000 rows. A constant, not a setting, so
# that the order of summation inside a matrix product is always the same.
BLOCK = 512


class PRDC:
    """Precision, recall, density, coverage: a `Metric` on a subsample.

    Args:
        sample: which rows it is computed from.
        k: which nearest neighbour gives a ball its radius.
    """

    def __init__(self, sample: Subsample | None = None, *, k: int = 5) -> None:
        if k < 1:
            raise UsageError(f"k = {k} nearest neighbours", "use k of at least 1")
        self.sample = sample or Subsample()
        self.k = k

    def init(self) -> Sample | None:
        return self.sample.init()

    def update(self, state: Sample | None, features: Features) -> Sample | None:
        return self.sample.update(state, features)

    def merge(self, a: Sample | None, b: Sample | None) -> Sample | None:
        return self.sample.merge(a, b)

    def compute(self, real: Sample | None, fake: Sample | None) -> dict[str, float]:
        real = some_rows("precision and recall, real rows", real, self.k + 1)
        fake = some_rows("precision and recall, synthetic rows", fake, self.k + 1)
        return precision_recall(real.features, fake.features, k=self.k)


def precision_recall(real: NDArray[Any], fake: NDArray[Any], *, k: int = 5) -> dict[str, float]:
    """`precision`, `recall`, `density`, `coverage`: shares, though density may exceed 1.

    Distances are computed in float64 from rows centred on the real mean, which keeps
    |x|² - 2x·y + |y|² accurate for features far from the origin. For float64 features the counts
    equal those of `prdc`; for float32 features `prdc` rounds distances to float32, which can turn
    a comparison closer than 6e-8.

    Args:
        real: [n, d].
        fake: [m, d].
        k: which nearest neighbour gives a ball its radius; n and m must exceed it.

    Raises:
        UsageError: too few rows, or different dimensions.
    """
    same_dim("precision and recall", real.shape[1], fake.shape[1])
    enough_rows("precision and recall", min(len(real), len(fake)), k + 1)
    centre = real.mean(axis=0, dtype=np.float64)
    x = real.astype(np.float64) - centre
    y = fake.astype(np.float64) - centre
    radius_real, radius_fake = _radii(x, k), _radii(y, k)

    in_some_real_ball = np.zeros(len(y), dtype=bool)
    in_some_fake_ball = np.zeros(len(x), dtype=bool)
    covered = np.zeros(len(x), dtype=bool)
    memberships = 0
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        distance = _distances(x[rows], y)
        inside = distance < radius_real[rows, None]
        in_some_real_ball |= inside.any(axis=0)
        memberships += int(np.count_nonzero(inside))
        # A ball that holds any point holds the nearest one: coverage needs no minimum.
        covered[rows] = inside.any(axis=1)
        in_some_fake_ball[rows] = (distance < radius_fake[None, :]).any(axis=1)
    return {
        "precision": float(in_some_real_ball.mean()),
        "recall": float(in_some_fake_ball.mean()),
        "density": memberships / (k * len(y)),
        "coverage": float(covered.mean()),
    }


def _radii(x: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Distance of each row to its k-th nearest other row, [n]."""
    radii = np.empty(len(x))
    for start in range(0, len(x), BLOCK):
        stop = min(start + BLOCK, len(x))
        distance = _distances(x[start:stop], x)
        distance[np.arange(stop - start), np.arange(start, stop)] = 0.0  # itself, exactly
        distance.partition(k, axis=1)
        radii[start:stop] = distance[:, k]
    return radii


def _distances(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    squared = x @ y.T
    squared *= -2.0
    squared += np.einsum("ij,ij->i", x, x)[:, None]
    squared += np.einsum("ij,ij->i", y, y)[None, :]
    np.maximum(squared, 0.0, out=squared)
    root: NDArray[np.float64] = np.sqrt(squared, out=squared)
    return root
