"""Column pair trends: how alike the associations of two columns are.

The definitions are those of SDMetrics (docs.sdv.dev/sdmetrics): `CorrelationSimilarity` with
Pearson's coefficient for two columns of numbers, `ContingencySimilarity` for all other pairs, with
numbers put into ten bins of equal width between the least and the largest of *each* table. A
missing category is a category; a missing number falls into the last bin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from synthray import rng
from synthray.metrics.tables.columns import Compared, Frame
from synthray.metrics.tables.shapes import mean_score

MAX_PAIRS = 5000
"""Pairs that are compared; of more, a random choice."""
STRONG_CORRELATION = 0.5
STRONG_ASSOCIATION = 0.3
"""A pair is strong whose real association is above; the defaults of SDMetrics 0.32."""
DENSE = 1 << 20
"""Cells of a contingency table up to which all are counted, the empty ones too."""


@dataclass(frozen=True)
class PairTrend:
    """How alike the association of two columns is in two tables.

    Attributes:
        a, b: the columns.
        measure: 'correlation similarity' or 'contingency similarity'.
        score: 1 for equal ones, 0 for opposite ones; NaN where a column of numbers is constant.
        real, other: Pearson's coefficient, or Cramér's V, in the two tables.
    """

    a: str
    b: str
    measure: str
    score: float
    real: float
    other: float

    @property
    def correlation(self) -> bool:
        return self.measure == "correlation similarity"

    @property
    def strong(self) -> bool:
        limit = STRONG_CORRELATION if self.correlation else STRONG_ASSOCIATION
        return abs(self.real) > limit


def pair_trends(real: Frame, other: Frame, seed: int = 0) -> list[PairTrend]:
    """Every pair of columns in two tables, up to `MAX_PAIRS` of them."""
    coded = [_codes(frame) for frame in (real, other)]
    found = []
    for a, b in chosen_pairs(real.columns, seed):
        if a.numeric and b.numeric:
            values = (
                _correlation(real[a.name], real[b.name]),
                _correlation(other[a.name], other[b.name]),
            )
            score, measure = 1.0 - abs(values[0] - values[1]) / 2, "correlation similarity"
        else:
            score, values = _contingency(*((codes[a.name], codes[b.name]) for codes in coded))
            measure = "contingency similarity"
        found.append(PairTrend(a.name, b.name, measure, score, values[0], values[1]))
    return found


def chosen_pairs(columns: Sequence[Compared], seed: int) -> list[tuple[Compared, Compared]]:
    """All pairs in their order, or a random `MAX_PAIRS` of them."""
    pairs = list(combinations(columns, 2))
    if len(pairs) <= MAX_PAIRS:
        return pairs
    chosen = rng.stream(seed, "pairs").choice(len(pairs), MAX_PAIRS, replace=False)
    return [pairs[i] for i in sorted(chosen)]


def trend_score(pairs: Sequence[PairTrend], strong: bool = False) -> float:
    """The mean similarity of all pairs, or of the strong ones; NaN if there are none."""
    return mean_score([pair.score for pair in pairs if pair.strong or not strong])


def correlation_distance(pairs: Sequence[PairTrend]) -> float:
    """The mean absolute difference of Pearson's coefficients of pairs of numbers."""
    return mean_score([abs(pair.real - pair.other) for pair in pairs if pair.correlation])


def contingency_distance(pairs: Sequence[PairTrend]) -> float:
    """The mean total variation distance of the contingency tables of all other pairs."""
    return mean_score([1.0 - pair.score for pair in pairs if not pair.correlation])


def _codes(frame: Frame) -> dict[str, tuple[NDArray[np.int64], int]]:
    """Codes from 0, and how many there can be, of every column."""
    coded = {}
    for column in frame.columns:
        x = frame[column.name]
        if column.numeric:
            edges = _edges(x[~np.isnan(x)])
            coded[column.name] = np.digitize(x, edges), len(edges) + 1
        else:
            coded[column.name] = x + 1, len(column.values) + 1
    return coded


def _edges(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The edges of ten bins; of two, where float64 has no ten numbers between the ends."""
    try:
        return np.histogram_bin_edges(x)
    except ValueError:
        return np.unique([x.min(), x.max()])


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Pearson's coefficient over rows that have both; NaN for constants."""
    both = ~(np.isnan(x) | np.isnan(y))
    # The columns as they are decide, as in SDMetrics.
    if any(len(np.unique(z[~np.isnan(z)])) < 2 for z in (x, y)) or both.sum() < 2:
        return math.nan
    x, y = x[both] - x[both].mean(), y[both] - y[both].mean()
    scale = float(np.linalg.norm(x)) * float(np.linalg.norm(y))
    return max(-1.0, min(1.0, float(x @ y) / scale)) if scale > 0 else math.nan


Coded = tuple[NDArray[np.int64], int]


def _contingency(
    real: tuple[Coded, Coded], other: tuple[Coded, Coded]
) -> tuple[float, tuple[float, float]]:
    """The similarity of two contingency tables, and Cramér's V of each."""
    width = real[1][1]
    cells = [a[0] * width + b[0] for a, b in (real, other)]
    if real[0][1] * width <= DENSE:
        counts = [np.bincount(cell, minlength=real[0][1] * width) for cell in cells]
        name = np.arange(real[0][1] * width)
    else:  # almost all empty
        name, index = np.unique(np.concatenate(cells), return_inverse=True)
        parts = np.split(index, [len(cells[0])])
        counts = [np.bincount(part, minlength=len(name)) for part in parts]
    shares = [count / count.sum() for count in counts]
    score = 1.0 - 0.5 * float(np.abs(shares[0] - shares[1]).sum())
    return score, (_cramer(counts[0], name, width), _cramer(counts[1], name, width))


def _cramer(counts: NDArray[np.int64], name: NDArray[np.int64], width: int) -> float:
    """Cramér's V, without a correction for bias; NaN where a column is constant."""
    filled = counts > 0
    count, (a, b) = counts[filled].astype(np.float64), np.divmod(name[filled], width)
    rows, columns = np.bincount(a, count), np.bincount(b, count)
    least = min(np.count_nonzero(rows), np.count_nonzero(columns)) - 1
    if least < 1:
        return math.nan
    phi = float((count * count / (rows[a] * columns[b])).sum()) - 1.0
    return math.sqrt(max(phi, 0.0) / least)
