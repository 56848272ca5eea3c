"""The Fréchet distance between two Gaussians fitted to features.

Heusel et al. 2017 (arXiv 1706.08500), equation 6:

    d² = |m₁ - m₂|² + tr(S₁ + S₂ - 2 (S₁^½ S₂ S₁^½)^½)

With Inception features this is the FID. States are moments and merge pairwise: Chan, Golub and
LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthray.metrics.base import Features, enough_rows, same_dim, some_rows

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """First and second moments of n rows.

    The mean is kept as `origin + offset`. The origin is one of the rows, so differences to it are
    exact where the spread is small beside the mean: with mean 1e4 and deviation 1e-2 a plain
    float64 mean would already lose the ninth digit of the distance after a few merges.

    Attributes:
        n: rows.
        origin: float64 [d].
        offset: float64 [d], the mean less the origin.
        m2: float64 [d, d], sum of outer products of the centred rows.
    """

    n: int
    origin: Array
    offset: Array
    m2: Array

    @property
    def mean(self) -> Array:
        """float64 [d]."""
        return self.origin + self.offset

    @property
    def covariance(self) -> Array:
        """float64 [d, d], unbiased (divided by n - 1), as `np.cov`."""
        enough_rows("covariance", self.n, 2)
        return self.m2 / (self.n - 1)


class Frechet:
    """Fréchet distance, a `Metric` whose state is `Moments` (None for no rows)."""

    def init(self) -> Moments | None:
        return None

    def update(self, state: Moments | None, features: Features) -> Moments | None:
        if len(features) == 0:
            return state
        x = features.features.astype(np.float64)
        origin = x[0].copy()
        x -= origin
        offset = x.mean(axis=0)
        x -= offset
        return self.merge(state, Moments(len(x), origin, offset, x.T @ x))

    def merge(self, a: Moments | None, b: Moments | None) -> Moments | None:
        if a is None or b is None:
            return a if b is None else b
        same_dim("Fréchet distance", len(a.origin), len(b.origin))
        n = a.n + b.n
        delta = (b.origin - a.origin) + (b.offset - a.offset)
        m2 = a.m2 + b.m2
        m2 += np.outer(delta, delta * (a.n * b.n / n))
        return Moments(n, a.origin, a.offset + delta * (b.n / n), m2)

    def compute(self, real: Moments | None, fake: Moments | None) -> dict[str, float]:
        return {"frechet": frechet_distance(real, fake)}


def frechet_distance(real: Moments | None, fake: Moments | None) -> float:
    """Squared Fréchet distance, in squared feature units, never below 0.

    The trace of the square root is the sum of the singular values of S₁^½ S₂^½: the same number
    as from the eigenvalues of S₁^½ S₂ S₁^½, but without taking square roots of rounding errors,
    which shows as soon as a covariance is nearly singular.

    Raises:
        UsageError: fewer than two rows, or different dimensions.
    """
    real = some_rows("Fréchet distance, real rows", real, 2)
    fake = some_rows("Fréchet distance, synthetic rows", fake, 2)
    same_dim("Fréchet distance", len(real.origin), len(fake.origin))
    delta = (fake.origin - real.origin) + (fake.offset - real.offset)
    s1, s2 = real.covariance, fake.covariance
    cross = np.linalg.svd(_factor(s1).T @ _factor(s2), compute_uv=False).sum()
    return max(0.0, float(delta @ delta + np.trace(s1) + np.trace(s2) - 2 * cross))


def frechet_note(n: int, dim: int) -> str | None:
    """What a reader must know about the bias of a distance from n rows of d dimensions.

    The estimate is biased upwards, by an amount that falls as 1/n (Chong and Forsyth 2020,
    arXiv 1911.07023). With n <= d the covariance is singular and the bias is most of the number.
    """
    if n <= dim:
        return (
            f"Fréchet distance from {n:,} rows with {dim:,} features: the covariance is singular, "
            "and most of the value is bias. Read only the ratio to the floor, or use more rows."
        )
    if n < 10 * dim:
        return (
            f"Fréchet distance from {n:,} rows with {dim:,} features is biased upwards. Compare "
            "it only with values from as many rows, such as the floor."
        )
    return None


def _factor(s: Array) -> Array:
    """[d, r] whose product with its own transpose is s; directions of mere rounding left out."""
    values, vectors = np.linalg.eigh(s)
    keep = values > 8 * len(s) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    scaled: Array = vectors[:, keep] * np.sqrt(values[keep])
    return scaled
