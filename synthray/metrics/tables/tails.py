"""How far numbers and dates lie: moments, quantiles and ends of columns, and how alike they are.

The Kolmogorov-Smirnov statistic sees how many rows are elsewhere, not how far away. The
1-Wasserstein distance sees both: it is the mean distance that the values of one column have to
move to become the other. Tables have been judged by it before (CTAB-GAN, 2102.08369), there in
units of the real range, which one outlier sets; here in those of the real values' mean distance
from their median, which is what a column has to move that holds nothing but the median.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthray.metrics.tables.columns import Compared, Frame


@dataclass(frozen=True)
class Spread:
    """Where the values of a column lie, missing ones aside; NaN where there are none.

    Attributes:
        mean, deviation: and standard deviation.
        least, low, median, high, greatest: quantiles 0, 1 %, 50 %, 99 % and 100 %, each one of the
            column's values.
    """

    mean: float
    deviation: float
    least: float
    low: float
    median: float
    high: float
    greatest: float


@dataclass(frozen=True)
class ColumnTails:
    """How far the values of one column lie in two tables.

    Attributes:
        column: one of numbers or dates.
        score: 1 for equal distributions, 0 for ones that are no nearer than the real median by
            itself; NaN where all cells are missing.
        real, other: the two tables; of dates in microseconds.
    """

    column: Compared
    score: float
    real: Spread
    other: Spread


def column_tails(real: Frame, other: Frame) -> list[ColumnTails]:
    """Every column of numbers and dates of ``other`` beside that of ``real``."""
    found = []
    for column in real.columns:
        if column.numeric:
            x, y = (_known(frame[column.name]) for frame in (real, other))
            found.append(ColumnTails(column, tail_similarity(x, y), spread(x), spread(y)))
    return found


def tail_similarity(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """1 minus the 1-Wasserstein distance of two samples over the mean distance of the first from
    its median, and at least 0; NaN without values.

    If the first is constant: 1 if the other has the same value throughout, else 0.
    """
    if not len(x) or not len(y):
        return math.nan
    middle = spread(x).median
    far = wasserstein(x, np.array([middle]))
    away = wasserstein(x, y)
    if not far:
        return float(not away)
    return max(0.0, 1.0 - away / far)


def wasserstein(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """The 1-Wasserstein distance of two samples: the area between their distribution functions."""
    both = np.sort(np.concatenate([x, y]))
    below = [np.searchsorted(np.sort(s), both[:-1], side="right") / len(s) for s in (x, y)]
    # Halves: numbers near the end of float64 have no difference.
    return 2 * float((np.abs(below[0] - below[1]) * np.diff(both / 2)).sum())


def spread(x: NDArray[np.float64]) -> Spread:
    """Of values without NaN."""
    if not len(x):
        return Spread(*[math.nan] * 7)
    largest = float(np.abs(x).max()) or 1.0
    scaled = x / largest  # squares of numbers near the end of float64 would overflow
    ends = np.quantile(x, [0, 0.01, 0.5, 0.99, 1], method="inverted_cdf")
    return Spread(float(scaled.mean()) * largest, float(scaled.std()) * largest, *ends.tolist())


def _known(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x[~np.isnan(x)]
