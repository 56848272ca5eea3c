"""A quick look at samples while training goes on: coverage and distance on cheap features.

Not for reports: the features are the rows themselves, small. They tell collapse from health within
a fraction of a second, on any kind of row and without a network.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from synthray import rng
from synthray.errors import UsageError
from synthray.metrics.base import Features
from synthray.metrics.frechet import Frechet, frechet_distance
from synthray.metrics.prdc import precision_recall

SIDE = 8
"""Images are averaged down to this many pixels a side."""
DIMENSIONS = 32
"""Principal components kept of what is larger."""
MIN_ROWS = 40
MIN_DISTINCT = 20
"""Rows that differ, of those that others are compared with: fewer make no neighbourhoods."""


class QuickJudge:
    """Judges generated rows against fixed real ones.

    Features: rows of numbers as they are; images averaged to 8 x 8. Both are put on the principal
    components of the real rows, at most 32, and divided by the root of their total variance, so
    that distances of different data compare: noise without structure has about 1.

    Args:
        real: [n, *shape], n at least 40; half of them set the scene, and the other half the floor.
            Coverage counts rows that are equal once: a ball around one would have no radius.
        seed: of the split.

    Raises:
        UsageError: too few rows, or too few that differ.

    Attributes:
        rows: how many generated rows a score compares with as many real ones.
        floor: the scores of real rows against real rows.
    """

    def __init__(self, real: Tensor, seed: int = 0) -> None:
        if len(real) < MIN_ROWS:
            raise UsageError(
                f"quick scores: {len(real)} real rows are too few", f"give at least {MIN_ROWS}"
            )
        flat = _flat(real)
        self._mean = flat.mean(axis=0)
        _, scale, axes = np.linalg.svd(flat - self._mean, full_matrices=False)
        variance = float((scale**2).sum()) / len(flat)
        self._axes = axes[:DIMENSIONS].T / max(variance, 1e-12) ** 0.5
        order = rng.stream(seed, "quick").permutation(len(flat))
        self.rows = len(flat) // 2
        here = order[: self.rows]
        _, kept = np.unique(flat[here], axis=0, return_index=True)
        if len(kept) < MIN_DISTINCT:
            raise UsageError(
                f"quick scores: of {len(here)} real rows {len(kept)} differ",
                f"give at least {MIN_DISTINCT} that differ",
            )
        features = self._features(real)
        self._real, self._distinct = features[here], features[here[np.sort(kept)]]
        self.floor = self._compare(features[order[self.rows : 2 * self.rows]])

    def score(self, fake: Tensor) -> dict[str, float]:
        """Scores of generated rows [m, *shape]; m should be ``rows``.

        coverage, recall, precision: shares (Naeem et al. 2020, 2002.09797), 5 neighbours.
        distance: squared Fréchet distance in units of the real rows' total variance.
        Rows that are not finite have coverage 0 and an infinite distance.
        """
        if not torch.isfinite(fake).all():
            return {"coverage": 0.0, "recall": 0.0, "precision": 0.0, "distance": float("inf")}
        return self._compare(self._features(fake))

    def _compare(self, fake: np.ndarray) -> dict[str, float]:
        found = precision_recall(self._distinct, fake)
        metric = Frechet()
        states = [
            metric.update(metric.init(), Features(np.arange(len(x)), x)) for x in (self._real, fake)
        ]
        distance = frechet_distance(states[0], states[1])
        return {
            "coverage": found["coverage"],
            "recall": found["recall"],
            "precision": found["precision"],
            "distance": distance,
        }

    def _features(self, x: Tensor) -> np.ndarray:
        return (_flat(x) - self._mean) @ self._axes


def shrunk(x: Tensor) -> Tensor:
    """All that the judge sees of rows [n, *shape], on the CPU: images no larger than 8 x 8."""
    x = x.detach().float()
    if x.dim() == 4 and x.shape[-1] > SIDE:
        x = F.adaptive_avg_pool2d(x, SIDE)
    return x.cpu()


def _flat(x: Tensor) -> np.ndarray:
    """Rows as float64 vectors [n, d]."""
    flat: np.ndarray = shrunk(x).flatten(1).double().numpy()
    return flat
