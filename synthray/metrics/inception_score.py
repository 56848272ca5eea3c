"""The Inception Score, from sums that cannot depend on the order of summation.

Salimans et al. 2016 (arXiv 1606.03498): exp(E KL(p(y|x) ‖ p(y))), per split of the rows, and the
mean over splits. Per split it needs only Σp, Σ p·log p and the number of rows, and these are kept
as integers in units of 2⁻⁴⁰: integer addition is exact, so any sharding gives the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthray.errors import UsageError
from synthray.metrics.base import Features, enough_rows

BITS = 40
# A chunk's int64 sum holds 2^63 / 2^40 = 8 million rows of p <= 1; this stays far below.
CHUNK = 65_536


@dataclass(frozen=True)
class ScoreSums:
    """Sums over rows, one entry per split.

    Attributes:
        rows: rows of the whole data set.
        counts: int64 [splits], rows seen.
        p: Python ints [splits, classes], sum of probabilities in units of 2^-40; [splits, 0]
            before the first row.
        plogp: Python ints [splits], sum over rows and classes of p·log p, same unit.
    """

    rows: int
    counts: NDArray[np.int64]
    p: NDArray[Any]
    plogp: NDArray[Any]


class InceptionScore:
    """Inception Score over `splits` contiguous ranges of row numbers, a `Metric`.

    Split k holds rows [k·N // splits, (k+1)·N // splits), as in torch-fidelity with
    `samples_shuffle=False`: generated rows are independent already. Rows sorted by class are not,
    and would score far too low; number such rows at random.

    Args:
        rows: rows of the whole data set, N.
        splits: number of ranges.
    """

    def __init__(self, rows: int, splits: int = 10) -> None:
        if splits < 1:
            raise UsageError(f"inception score: {splits} splits", "use at least 1 split")
        enough_rows("inception score", rows, splits)
        self.rows = rows
        self.splits = splits

    def init(self) -> ScoreSums:
        none = np.zeros(self.splits, dtype=np.int64)
        return ScoreSums(
            self.rows, none, np.zeros((self.splits, 0), dtype=object), none.astype(object)
        )

    def update(self, state: ScoreSums, features: Features) -> ScoreSums:
        if features.probabilities is None:
            raise UsageError(
                "inception score without probabilities", "use an extractor that classifies"
            )
        if len(features) and features.index.max() >= self.rows:
            raise UsageError(
                f"row number {features.index.max()} of a data set of {self.rows} rows",
                "give the metric the number of rows of the whole data set",
            )
        for start in range(0, len(features), CHUNK):
            part = slice(start, start + CHUNK)
            chunk = self._sums(features.index[part], features.probabilities[part])
            state = self.merge(state, chunk)
        return state

    def merge(self, a: ScoreSums, b: ScoreSums) -> ScoreSums:
        if a.rows != b.rows or len(a.counts) != len(b.counts):
            raise UsageError(
                f"inception score: states of {a.rows} rows in {len(a.counts)} splits and of "
                f"{b.rows} in {len(b.counts)}",
                "merge states of one data set",
            )
        if a.p.shape[1] == 0 or b.p.shape[1] == 0:
            return a if b.p.shape[1] == 0 else b
        if a.p.shape[1] != b.p.shape[1]:
            raise UsageError(
                f"inception score: {a.p.shape[1]} and {b.p.shape[1]} classes", "use one extractor"
            )
        return ScoreSums(a.rows, a.counts + b.counts, a.p + b.p, a.plogp + b.plogp)

    def compute(self, real: ScoreSums, fake: ScoreSums) -> dict[str, float]:
        """`score` and `score_std` (ddof 0) of `fake`; `real` plays no part in this metric."""
        mean, std = inception_score(fake)
        return {"score": mean, "score_std": std}

    def _sums(self, index: NDArray[np.int64], probabilities: NDArray[Any]) -> ScoreSums:
        p = np.ascontiguousarray(probabilities, dtype=np.float64)
        # log(1) where p is 0: 0·log 0 counts as 0.
        plogp = p * np.log(np.where(p > 0, p, 1.0))
        fixed_p = np.rint(np.ldexp(p, BITS)).astype(np.int64)
        fixed_plogp = np.rint(np.ldexp(plogp, BITS)).astype(np.int64)
        bounds = np.array([k * self.rows // self.splits for k in range(1, self.splits)])
        split = np.searchsorted(bounds, index, side="right")
        sums_p = np.zeros((self.splits, p.shape[1]), dtype=np.int64)
        sums_plogp = np.zeros(self.splits, dtype=np.int64)
        for k in np.unique(split):
            here = split == k
            sums_p[k] = fixed_p[here].sum(axis=0)
            sums_plogp[k] = fixed_plogp[here].sum()
        return ScoreSums(
            self.rows,
            np.bincount(split, minlength=self.splits).astype(np.int64),
            sums_p.astype(object),  # Python ints: no number of rows overflows them
            sums_plogp.astype(object),
        )


def inception_score(sums: ScoreSums) -> tuple[float, float]:
    """Mean and standard deviation (ddof 0) over the splits.

    Raises:
        UsageError: not every row was counted exactly once.
    """
    splits = len(sums.counts)
    expected = np.diff([k * sums.rows // splits for k in range(splits + 1)])
    if (sums.counts != expected).any():
        raise UsageError(
            f"inception score: {int(sums.counts.sum())} rows counted of {sums.rows}",
            "update with every row of the data set once, numbered from 0",
        )
    scores = np.empty(splits)
    for k in range(splits):
        n = int(sums.counts[k])
        marginal = sums.p[k].astype(np.float64) / (n * 2.0**BITS)
        conditional = float(sums.plogp[k]) / (n * 2.0**BITS)
        # mean KL = mean Σ p log p - Σ q log q, since the mean of p is q.
        entropy = float((marginal * np.log(np.where(marginal > 0, marginal, 1.0))).sum())
        scores[k] = np.exp(conditional - entropy)
    return float(scores.mean()), float(scores.std())


def score_note(rows: int, splits: int) -> str | None:
    """What a reader must know about a score from that many rows."""
    if rows // splits >= 5_000:
        return None
    return (
        f"Score from splits of {rows // splits:,} rows is biased downwards; published "
        "values use 5,000 rows a split (50,000 in all). Compare it with the floor only."
    )
