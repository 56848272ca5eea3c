"""Kernel distance: the unbiased squared MMD with a cubic kernel.

Bińkowski et al. 2018 (arXiv 1801.01401), section 4: k(x, y) = (x·y / d + 1)³. With Inception
features this is the KID. Averaged over random subsets, as torch-fidelity does and with its order
of random draws, so that the same features and seed give the same numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthray.metrics.base import Features, enough_rows, same_dim, some_rows
from synthray.metrics.sample import Sample, Subsample

SEED = 2020  # torch-fidelity's default


class KID:
    """Kernel distance, a `Metric` on a subsample.

    Args:
        sample: which rows it is computed from.
        subsets: number of random subsets.
        subset_size: rows in each, fewer if a data set has fewer.
        seed: of the choice of the subsets.
    """

    def __init__(
        self,
        sample: Subsample | None = None,
        *,
        subsets: int = 100,
        subset_size: int = 1_000,
        seed: int = SEED,
    ) -> None:
        self.sample = sample or Subsample()
        self.subsets = subsets
        self.subset_size = subset_size
        self.seed = seed

    def init(self) -> Sample | None:
        return self.sample.init()

    def update(self, state: Sample | None, features: Features) -> Sample | None:
        return self.sample.update(state, features)

    def merge(self, a: Sample | None, b: Sample | None) -> Sample | None:
        return self.sample.merge(a, b)

    def compute(self, real: Sample | None, fake: Sample | None) -> dict[str, float]:
        real = some_rows("kernel distance, real rows", real, 2)
        fake = some_rows("kernel distance, synthetic rows", fake, 2)
        mean, std = kernel_distance(
            real.features,
            fake.features,
            subsets=self.subsets,
            subset_size=self.subset_size,
            seed=self.seed,
        )
        return {"kernel": mean, "kernel_std": std}

    def note(self, rows: int) -> str | None:
        """What to tell about a distance whose smaller data set has that many rows."""
        if rows >= self.subset_size:
            return None
        return (
            f"Kernel distance from subsets of {rows:,} rows instead of {self.subset_size:,}: the "
            "smaller data set has no more. All subsets are then the same rows of that data set."
        )


def kernel_distance(
    real: NDArray[Any],
    fake: NDArray[Any],
    *,
    subsets: int = 100,
    subset_size: int = 1_000,
    seed: int = SEED,
) -> tuple[float, float]:
    """Mean and standard deviation (ddof 0) of the distance over random subsets.

    Unbiased, so values slightly below 0 are normal for equal distributions. Computed in float64,
    where torch-fidelity stays in the features' own precision.

    Args:
        real: [n, d].
        fake: [m, d].
        subsets: number of random subsets.
        subset_size: rows in each, at most min(n, m).
        seed: of the choice of the subsets.

    Raises:
        UsageError: fewer than two rows, or different dimensions.
    """
    same_dim("kernel distance", real.shape[1], fake.shape[1])
    size = min(subset_size, len(real), len(fake))
    enough_rows("kernel distance", size, 2)
    rng = np.random.RandomState(seed)
    values = np.empty(subsets)
    for i in range(subsets):
        x = real[rng.choice(len(real), size, replace=False)].astype(np.float64)
        y = fake[rng.choice(len(fake), size, replace=False)].astype(np.float64)
        values[i] = _mmd2(x, y)
    return float(values.mean()), float(values.std())


def _mmd2(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Unbiased squared MMD of two sets of m rows (Gretton et al. 2012, equation 3)."""
    m = len(x)
    kxx, kyy, kxy = _kernel(x, x), _kernel(y, y), _kernel(x, y)
    within = (kxx.sum() - np.trace(kxx) + kyy.sum() - np.trace(kyy)) / (m * (m - 1))
    return float(within - 2 * kxy.sum() / (m * m))


def _kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    k = x @ y.T
    k /= x.shape[1]
    k += 1.0
    cubed: NDArray[np.float64] = k * k * k  # several times faster than **3
    return cubed
